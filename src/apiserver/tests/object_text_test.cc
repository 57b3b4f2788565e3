#include "internal/object_text.h"

#include <gtest/gtest.h>

namespace neap::apiserver {
namespace {

Json parsed(std::string_view text) {
  auto out = parse_json(text);
  EXPECT_TRUE(out) << text;
  return out ? *std::move(out) : Json();
}

TEST(ObjectText, what_is_stored_begins_with_the_head_and_has_no_revision) {
  EXPECT_EQ(
      stored_text(parsed(
          R"({"status":{"a":"\"metadata\":{"},"metadata":{"resourceVersion":"7","name":"x"},"kind":"K","apiVersion":"v1"})")),
      R"({"apiVersion":"v1","kind":"K","metadata":{"name":"x"},"status":{"a":"\"metadata\":{"}})");
  EXPECT_EQ(stored_text(parsed(R"({"we\"ird":1,"metadata":{}})")), R"({"metadata":{},"we\"ird":1})");
}

TEST(ObjectText, a_write_is_none_when_only_the_revision_or_the_time_of_managers_differ) {
  const auto base =
      R"({"kind":"K","metadata":{"name":"x","managedFields":[{"manager":"a","time":"1"}]},"spec":{"n":1}})";
  const struct {
    const char* text;
    bool same, same_wish;
  } cases[] = {
      {R"({"kind":"K","metadata":{"name":"x","resourceVersion":"9","managedFields":[{"manager":"a","time":"2"}]},"spec":{"n":1}})",
       true, true},
      {R"({"kind":"K","metadata":{"name":"x","managedFields":[{"manager":"b","time":"1"}]},"spec":{"n":1}})",
       false, true},
      {R"({"kind":"K","metadata":{"name":"x","managedFields":[]},"spec":{"n":1}})", false, true},
      {R"({"kind":"K","metadata":{"name":"x"},"spec":{"n":1}})", false, true},
      {R"({"kind":"K","metadata":{"name":"x","labels":{},"managedFields":[{"manager":"a","time":"1"}]},"spec":{"n":1}})",
       false, true},
      {R"({"kind":"K","metadata":{"name":"x","managedFields":[{"manager":"a","time":"1"}]},"spec":{"n":1},"status":{}})",
       false, true},
      {R"({"kind":"K","metadata":{"name":"x","managedFields":[{"manager":"a","time":"1"}]},"spec":{"n":2}})",
       false, false},
      {R"({"kind":"K","metadata":{"name":"x","managedFields":[{"manager":"a","time":"1"}]}})", false, false},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(same_object(parsed(base), parsed(c.text)), c.same) << c.text;
    EXPECT_EQ(same_object(parsed(c.text), parsed(base)), c.same) << c.text;
    EXPECT_EQ(same_wish(parsed(base), parsed(c.text)), c.same_wish) << c.text;
  }
}

}  // namespace
}  // namespace neap::apiserver
