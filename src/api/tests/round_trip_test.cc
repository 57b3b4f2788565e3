// Every kind of neap.dev/v1: an object with every member set survives JSON and YAML, and validates.
#include <gtest/gtest.h>

#include "internal/json_visitor.h"
#include "neap/api/codec.h"
#include "neap/api/kind.h"
#include "neap/api/resource.h"

namespace neap::api {
namespace {

struct Filler;
template <class T>
struct FillVisitor {
  T& object;
  Filler& filler;
  template <class M>
  void field(std::string_view name, M T::* member, std::string_view, const FieldOptions& options = {});
};

struct Filler {
  int counter = 1;
  int keys = 0;

  template <class T>
  void fill(T& value, const FieldOptions& options) {
    using namespace internal;
    ++counter;
    if constexpr (std::is_same_v<T, std::string>) {
      if (options.pattern.empty())
        value = "text-" + std::to_string(counter);
      else if (options.pattern.starts_with("sha256:"))
        value = "sha256:" + std::string(64, 'a');
      else
        value = options.pattern.substr(options.pattern.rfind('|') + 1);
    } else if constexpr (std::is_same_v<T, bool>) {
      value = !value;
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      value = std::min<std::int64_t>(counter, options.maximum);
    } else if constexpr (std::is_same_v<T, double>) {
      value = counter + 0.25;
    } else if constexpr (std::is_same_v<T, Json>) {
      value = JsonObject{{"answer", counter}, {"list", JsonArray{1, "two", nullptr}}};
    } else if constexpr (is_quantity<T>) {
      value.value = counter * 1500 + 1;
    } else if constexpr (std::is_same_v<T, Duration>) {
      value = std::chrono::milliseconds(counter);
    } else if constexpr (std::is_same_v<T, WallTime>) {
      value =
          WallTime{} + std::chrono::seconds(1'700'000'000 + counter) + std::chrono::milliseconds(counter % 2);
    } else if constexpr (std::is_enum_v<T>) {
      value = EnumNames<T>::names.back().first;
    } else if constexpr (is_optional<T>) {
      fill(value.emplace(), options);
    } else if constexpr (is_list<T>) {
      value.resize(2);
      for (auto& element : value) fill(element, {});
    } else if constexpr (is_map<T>) {
      fill(value["first"], {});
      fill(value["second"], {});
    } else {
      FillVisitor<T> visitor{value, *this};
      T::describe(visitor);
    }
  }
};

template <class T>
template <class M>
void FillVisitor<T>::field(std::string_view name, M T::* member, std::string_view,
                           const FieldOptions& options) {
  filler.fill(object.*member, options);
  if constexpr (std::is_enum_v<M>)  // key of a list: two entries need two values
    if (name == "capacityType") object.*member = EnumNames<M>::names[std::size_t(filler.keys++) % 4].first;
}

template <class T>
class RoundTrip : public testing::Test {};
using AllKinds =
    testing::Types<Site, Link, Node, Dataset, DatasetVersion, DataPolicy, SchedulingPolicy, TrainingJob,
                   Allocation, Model, ModelVersion, InferenceService, DeploymentStrategy, Budget, Queue>;
TYPED_TEST_SUITE(RoundTrip, AllKinds);

TYPED_TEST(RoundTrip, keeps_every_member_through_json_and_yaml_and_is_valid) {
  TypeParam object;
  Filler filler;
  filler.fill(object.metadata, {});
  filler.fill(object.spec, {});
  filler.fill(object.status, {});
  object.metadata.name = "full";
  object.metadata.labels = {{"team", "vision"}};
  const Json written = to_json(object);
  const auto read = from_json<TypeParam>(written);
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(to_json(*read), written);

  const auto yaml = parse_yaml(to_yaml(written));
  ASSERT_TRUE(yaml) << yaml.error().to_string() << to_yaml(written);
  ASSERT_EQ(yaml->size(), 1u);
  EXPECT_EQ(yaml->front(), written) << to_yaml(written);

  const auto* entry = KindTable::standard().find("neap.dev", "v1", KindOf<TypeParam>::plural);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(to_sentences(entry->validate(written)), "");
  EXPECT_EQ(to_sentences(entry->validate_update(written, written)), "");
}

TYPED_TEST(RoundTrip, an_object_of_defaults_reads_back_equal_and_defaulting_it_changes_nothing_typed) {
  TypeParam object;
  object.metadata.name = "empty";
  const Json written = to_json(object);
  const auto read = from_json<TypeParam>(written);
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(to_json(*read), written);
  Json bare = JsonObject{{"apiVersion", "neap.dev/v1"},
                         {"kind", written.at("kind")},
                         {"metadata", JsonObject{{"name", "empty"}}},
                         {"spec", JsonObject{}}};
  KindTable::standard().find("neap.dev", "v1", KindOf<TypeParam>::plural)->apply_defaults(bare);
  const auto defaulted = from_json<TypeParam>(bare);
  ASSERT_TRUE(defaulted) << defaulted.error().to_string();
  EXPECT_EQ(to_json(*defaulted), written);
}

TEST(JsonMapping, leaves_out_what_says_nothing) {
  TrainingJob job;
  job.metadata.name = "j";
  job.spec.command = {"true"};
  job.status.phase = "Pending";
  const Json json = to_json(job);
  EXPECT_EQ(to_text(json.at("metadata")), R"({"name":"j"})");
  EXPECT_EQ(to_text(json.at("status")), R"({"phase":"Pending"})");
  EXPECT_FALSE(json.at("spec").as_object().contains("checkpoint"));
  EXPECT_EQ(json.at("spec").at("replicas"), 1);
}

TEST(JsonMapping, a_cleared_member_whose_default_says_something_is_written) {
  Site site;
  site.spec.provider = "";
  const auto read = from_json<Site>(to_json(site));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->spec.provider, "");
}

TEST(JsonMapping, errors_name_the_exact_path) {
  const auto bad = [](std::string_view spec) {
    const auto parsed = parse_json(fmt::format(R"({{"spec":{}}})", spec));
    const auto read = from_json<TrainingJob>(parsed.value());
    return read ? std::string("read") : read.error().message;
  };
  EXPECT_EQ(bad(R"({"replicas":"three"})"), "spec.replicas: must be an integer of 64 bits, is \"three\"");
  EXPECT_EQ(bad(R"({"inputs":[{"name":"a"},{"name":7}]})"), "spec.inputs[1].name: must be a string, is 7");
  EXPECT_EQ(bad(R"({"resources":{"accelerators":{"A100":-1}}})").substr(0, 33),
            "spec.resources.accelerators.A100:");
  EXPECT_EQ(
      bad(R"({"interruption":"sometimes"})"),
      "spec.interruption: must be one of \"never\", \"checkpointed\", \"restartable\", is \"sometimes\"");
  EXPECT_EQ(bad("[]"), "spec: must be an object, is a list");
  EXPECT_FALSE(from_json<TrainingJob>(Json("text")));
  EXPECT_FALSE(from_json<TrainingJob>(JsonObject{{"kind", "Site"}}));
}

TEST(Conditions, the_transition_time_moves_only_with_the_status) {
  std::vector<Condition> conditions;
  const WallTime start{std::chrono::seconds(100)};
  set_condition(conditions, {.type = "Ready", .status = "True", .reason = "A", .message = ""}, start);
  set_condition(conditions, {.type = "Ready", .status = "True", .reason = "B", .message = ""}, start + 5s);
  ASSERT_EQ(conditions.size(), 1u);
  EXPECT_EQ(find_condition(conditions, "Ready")->reason, "B");
  EXPECT_EQ(*find_condition(conditions, "Ready")->lastTransitionTime, start);
  set_condition(conditions, {.type = "Ready", .status = "False", .reason = "C", .message = ""},
                start + 7500ms);
  EXPECT_EQ(*find_condition(conditions, "Ready")->lastTransitionTime, start + 7s);
  EXPECT_EQ(find_condition(conditions, "Other"), nullptr);
}

}  // namespace
}  // namespace neap::api
