#include "neap/dataguard/declassify.h"

#include <gtest/gtest.h>

namespace neap::dataguard {
namespace {

TEST(Declassify, masks_every_field_of_a_record_and_lowers_the_level) {
  const auto out = declassify(
      R"({"id":7,"inspector":"王小明","note":"call 13812345678 or a@b.com","phone":"5550132","nested":{"list":["11010519491231002X",13812345678]},"score":0.4532015112830366})"
      "\n",
      {});
  ASSERT_TRUE(out) << out.error().to_string();
  EXPECT_EQ(
      out->records,
      R"({"id":7,"inspector":"<PERSON_NAME>","note":"call <CN_MOBILE> or <EMAIL>","phone":"<PHONE>","nested":{"list":["<CN_RESIDENT_ID>","<CN_MOBILE>"]},"score":4.532015112830366E-1})"
      "\n");
  EXPECT_EQ(out->classification.level, Level::kL3);
  EXPECT_EQ(out->classification.declassified_by, "mask-identifiers-v1");
  EXPECT_EQ(out->report.records_masked, 1U);
  EXPECT_EQ(out->report.identifiers_masked, 6U);
  EXPECT_EQ(out->report.by_type.at("CN_MOBILE"), 2U);
}

TEST(Declassify, drops_l1_records_and_counts_them) {
  const auto out = declassify(
      "{\"level\":\"L1\",\"secret\":\"recipe\"}\n{\"level\":\"L2\",\"a\":1}\n{\"level\":7}\n{\"level\":"
      "\"L3\",\"a\":2}",
      {});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->records, "{\"level\":\"L2\",\"a\":1}\n{\"level\":\"L3\",\"a\":2}\n");
  EXPECT_EQ(out->report.records, 4U);
  EXPECT_EQ(out->report.records_kept_home, 2U);
  EXPECT_EQ(out->records.find("recipe"), std::string::npos);
}

TEST(Declassify, gives_the_same_for_every_split_of_the_input) {
  const std::string text =
      "{\"a\":\"13812345678\"}\n\n{\"b\":\"x\"}\r\n{\"level\":\"L1\"}\n{\"c\":\"a@b.com\"}";
  const auto whole = declassify(text, {});
  ASSERT_TRUE(whole);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    auto one = Declassifier::create({});
    ASSERT_TRUE(one);
    std::string out;
    one->feed(std::string_view(text).substr(0, cut), out);
    one->feed(std::string_view(text).substr(cut), out);
    one->finish(out);
    ASSERT_EQ(out, whole->records) << cut;
  }
}

TEST(Declassify, refuses_what_it_cannot_read) {
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  const auto out = declassify(
      "not json\n[1]\n{\"a\":\"\xFF\xFE\"}\n{\"a\":1,\"a\":2}\n{\"a\":" + deep + "}\n{\"ok\":1}\n", {});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->records, "{\"ok\":1}\n");
  EXPECT_EQ(out->report.records_refused, 5U);
}

TEST(Declassify, refuses_a_line_of_a_hundred_megabytes_without_keeping_it) {
  auto one = Declassifier::create({});
  ASSERT_TRUE(one);
  std::string out;
  const std::string piece(1u << 20, 'x');
  one->feed("{\"a\":\"", out);
  for (int i = 0; i < 100; ++i) one->feed(piece, out);
  one->feed("\"}\n{\"b\":1}\n", out);
  one->finish(out);
  EXPECT_EQ(out, "{\"b\":1}\n");
  EXPECT_EQ(one->report().records_refused, 1U);
}

TEST(Declassify, masks_keys_and_refuses_keys_that_would_collide) {
  const auto out = declassify("{\"13812345678\":1}\n{\"13812345678\":1,\"13912345678\":2}\n", {});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->records, "{\"<CN_MOBILE>\":1}\n");
  EXPECT_EQ(out->report.records_refused, 1U);
}

TEST(Declassify, reads_escaped_identifiers_as_what_they_are) {
  const auto out = declassify("{\"a\":\"\\u0031381234\\u0035678\"}\n", {});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->records, "{\"a\":\"<CN_MOBILE>\"}\n");
}

TEST(Declassify, knows_its_rules_by_name) {
  EXPECT_EQ(declassify("", {.name = "trust-me"}).error().reason, "dataguard.declassify.rule");
  EXPECT_EQ(declassify("", {.source_level = Level::kL1}).error().reason, "dataguard.declassify.rule");
  EXPECT_TRUE(declassify("", {.strict = true})->classification.strict);
}

TEST(Declassify, masks_who_did_something_in_free_text) {
  const auto done = declassify(
      "{\"note\":\"dent, confirmed by Wei Zhang (ok); by hand; 已由林海涛确认; 由李伟检查; 由于光线\"}\n",
      {});
  ASSERT_TRUE(done.has_value()) << done.error().to_string();
  for (const auto* name : {"Wei Zhang", "林海涛", "李伟"})
    EXPECT_EQ(done->records.find(name), std::string::npos) << name << " in " << done->records;
  for (const auto* word : {"by hand", "由于光线", "确认", "检查"})
    EXPECT_NE(done->records.find(word), std::string::npos) << word << " in " << done->records;
}

TEST(Declassify, a_name_known_from_a_field_is_masked_in_any_text_of_the_dataset) {
  const auto done = declassify(
      "{\"level\":\"L2\",\"inspector_name\":\"Jiayi Feng\",\"note\":\"fine\"}\n"
      "{\"level\":\"L1\",\"inspector_name\":\"林海涛\",\"note\":\"stays\"}\n"
      "{\"level\":\"L2\",\"inspector_name\":\"Wu\",\"note\":\"dent, seen by Jiayi Feng; 已由林海涛确认; "
      "Jiayi Fengs wu\"}\n",
      {});
  ASSERT_TRUE(done.has_value()) << done.error().to_string();
  EXPECT_EQ(done->records.find("林海涛"), std::string::npos) << done->records;
  EXPECT_EQ(done->records.find("by Jiayi Feng;"), std::string::npos) << done->records;
  // Not a whole word, and a name too short to tell from a word: left alone.
  EXPECT_NE(done->records.find("Jiayi Fengs wu"), std::string::npos) << done->records;
}

}  // namespace
}  // namespace neap::dataguard
