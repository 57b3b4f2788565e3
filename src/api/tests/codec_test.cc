#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "neap/api/codec.h"

namespace neap::api {
namespace {

std::string read(std::string_view text, const YamlLimits& limits = {}) {
  const auto parsed = parse_yaml(text, limits);
  if (!parsed) return parsed.error().reason;
  std::string out;
  for (const auto& document : *parsed) out += (out.empty() ? "" : "|") + to_text(document);
  return out;
}

TEST(Yaml, reads_scalars_as_kubectl_does) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"a: yes", R"({"a":true})"},
      {"a: Off", R"({"a":false})"},
      {"a: n", R"({"a":false})"},
      {"a: 'yes'", R"({"a":"yes"})"},
      {"a: yEs", R"({"a":"yEs"})"},
      {"a: ~", R"({"a":null})"},
      {"a:", R"({"a":null})"},
      {"a: 0x1F", R"({"a":31})"},
      {"a: 0o17", R"({"a":15})"},
      {"a: 0777", R"({"a":511})"},
      {"a: 0b101", R"({"a":5})"},
      {"a: 1_000", R"({"a":1000})"},
      {"a: -12", R"({"a":-12})"},
      {"a: +3", R"({"a":3})"},
      {"a: 1.5", R"({"a":1.5E0})"},
      {"a: .5", R"({"a":5E-1})"},
      {"a: 1e3", R"({"a":1E3})"},
      {"a: 2026-11-22", R"({"a":"2026-11-22"})"},
      {"a: 1:30", R"({"a":"1:30"})"},
      {"a: 10ms", R"({"a":"10ms"})"},
      {"a: 1.2.3", R"({"a":"1.2.3"})"},
      {"a: \"\"", R"({"a":""})"},
      {"a: !!str 12", R"({"a":"12"})"},
      {"a: !!int \"12\"", R"({"a":12})"},
      {"on: 1", R"({"true":1})"},
      {"1: b", R"({"1":"b"})"},
      {"a: 9223372036854775808", R"({"a":9223372036854775808})"},
      {"- a\n- {b: [c]}", R"(["a",{"b":["c"]}])"},
      {"a: |\n  x\n  y\n", R"({"a":"x\ny\n"})"},
      {"a: &x {b: 1}\nc: *x", R"({"a":{"b":1},"c":{"b":1}})"},
      {"a: 1\n---\nb: 2\n---\n# only a comment\n", R"({"a":1}|{"b":2})"},
      {"{\"a\": [1, 2.0, null]}", R"({"a":[1,2E0,null]})"},
      {"{a: b}", R"({"a":"b"})"},
      {"\xef\xbb\xbf"
       "a: 1",
       R"({"a":1})"},
      {"", ""},
      {"# nothing\n", ""},
  };
  for (const auto& [text, json] : cases) EXPECT_EQ(read(text), json) << text;
}

TEST(Yaml, refuses_hostile_and_ambiguous_documents_with_a_reason) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"a: 1\na: 2", "yaml.key.duplicate"},
      {"{\"a\":1,\"a\":2}", "json.key.duplicate"},
      {"a: {b: 1, b: 2}", "yaml.key.duplicate"},
      {"yes: 1\n'true': 2", "yaml.key.duplicate"},
      {"b: &b {x: 1}\na:\n  <<: *b", "yaml.merge_key"},
      {"a: !!binary AAAA", "yaml.tag"},
      {"a: !ruby/object:Gem x", "yaml.tag"},
      {"a: !!int twelve", "yaml.syntax"},
      {"a: *nobody", "yaml.syntax"},
      {"a: &a [*a]", "yaml.syntax"},
      {"? [a, b]\n: c", "yaml.syntax"},
      {"a: .inf", "yaml.number"},
      {"a: 1e999", "yaml.number"},
      {"a: [1", "yaml.syntax"},
      {"a: \"\xff\xfe\"", "yaml.syntax"},
      {"a: \t b\n\tc: d", "yaml.syntax"},
      {std::string_view("a: \0b", 5), "yaml.syntax"},
      {"%YAML 9.9\n---\na: 1", "yaml.syntax"},
  };
  for (const auto& [text, reason] : cases) EXPECT_EQ(read(text), reason) << text;
}

TEST(Yaml, names_line_and_column) {
  const auto parsed = parse_yaml("a: 1\nb: 2\na: 3\n");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().message,
            "the YAML document has the key \"a\" twice in one mapping; remove one (line 3, column 1)");
}

TEST(Yaml, stops_bombs_while_they_are_small) {
  std::string laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'j'; ++c) {
    laughs += fmt::format("{0}: &{0} [", c);
    for (int i = 0; i < 10; ++i) laughs += fmt::format("*{},", char(c - 1));
    laughs += "]\n";
  }
  EXPECT_EQ(read(laughs), "yaml.nodes");
  std::string fat = "a: &a \"" + std::string(1 << 20, 'x') + "\"\nb: [";
  for (int i = 0; i < 1000; ++i) fat += "*a,";
  EXPECT_EQ(read(fat + "]"), "yaml.bytes");
  EXPECT_EQ(read(std::string(100'000, '[')), "yaml.depth");
  std::string nested;
  for (int i = 0; i < 200; ++i) nested += std::string(std::size_t(i), ' ') + "- \n";
  EXPECT_EQ(read(nested), "yaml.depth");
  EXPECT_EQ(read("a: 1", {.bytes_max = 3}), "yaml.too_large");
  EXPECT_EQ(read("a: [1, 2, 3]", {.nodes_max = 4}), "yaml.nodes");
  EXPECT_EQ(read("--- 1\n--- 2\n--- 3\n", {.documents_max = 2}), "yaml.documents");
}

TEST(Yaml, what_is_written_reads_back_equal) {
  const std::string_view texts[] = {"",
                                    " ",
                                    "a",
                                    "a b",
                                    " a",
                                    "a ",
                                    "yes",
                                    "No",
                                    "null",
                                    "~",
                                    "1",
                                    "1.0",
                                    "0x10",
                                    "1e3",
                                    ".inf",
                                    "-",
                                    "- a",
                                    "a: b",
                                    "a:",
                                    ":a",
                                    "#a",
                                    "a #b",
                                    "'",
                                    "\"",
                                    "a\nb",
                                    "a\nb\n",
                                    "a\nb\n\n",
                                    "\n",
                                    "\na",
                                    " a\nb",
                                    "a \nb",
                                    "a\n b",
                                    "a\tb\nc",
                                    "\t",
                                    "\r\n",
                                    "---",
                                    "...",
                                    "--- a",
                                    "[a",
                                    "{a",
                                    "*a",
                                    "&a",
                                    "!a",
                                    "|",
                                    ">",
                                    "%a",
                                    "@a",
                                    "`a",
                                    "?",
                                    "? a",
                                    "<<",
                                    "=",
                                    "2026-11-22",
                                    "a,b",
                                    "\x7f",
                                    "\x01",
                                    "\xc2\x85",
                                    "\xe2\x80\xa8",
                                    "\xef\xbb\xbf",
                                    "\xef\xbf\xbe",
                                    "\xf0\x9f\x98\x80",
                                    "schr\xc3\xb6"
                                    "der",
                                    "sha256:abc",
                                    "host:8080",
                                    "$(x)",
                                    "a;b",
                                    "1:30",
                                    "-1",
                                    "+1",
                                    "1_0",
                                    "0777",
                                    "y"};
  for (const auto text : texts) {
    const JsonObject inner{{boost::json::string_view(text.data(), text.size()),
                            boost::json::string_view(text.data(), text.size())}};
    const Json document =
        JsonObject{{"k", boost::json::string_view(text.data(), text.size())},
                   {"l", JsonArray{boost::json::string_view(text.data(), text.size()), JsonArray{inner}}},
                   {"m", inner}};
    const auto written = to_yaml(document);
    const auto again = parse_yaml(written);
    ASSERT_TRUE(again) << written << again.error().to_string();
    ASSERT_EQ(again->size(), 1u) << written;
    EXPECT_EQ(again->front(), document) << written;
  }
  const Json odd =
      JsonObject{{std::string(2000, 'k'), JsonObject{{"a", 1.0},
                                                     {"b", 1e300},
                                                     {"c", -0.25},
                                                     {"d", JsonArray{}},
                                                     {"e", JsonObject{}},
                                                     {"f", nullptr},
                                                     {"g", std::numeric_limits<std::uint64_t>::max()}}}};
  const auto again = parse_yaml(to_yaml(odd));
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(again->front(), odd);
}

TEST(Yaml, random_texts_survive_writing_and_random_bytes_never_crash_reading) {
  std::mt19937 random(7);  // a fixed seed: the same texts every time
  const std::string_view alphabet = "ab \n:-#'\"{}[],&*!|>%@`?=\t~01.<";
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (auto n = random() % 12; n > 0; --n) text += alphabet[random() % alphabet.size()];
    const Json document = JsonObject{{"a", JsonArray{boost::json::string(text)}},
                                     {boost::json::string(text), boost::json::string(text)}};
    const auto again = parse_yaml(to_yaml(document));
    ASSERT_TRUE(again) << to_yaml(document) << again.error().to_string();
    EXPECT_EQ(again->front(), document) << to_yaml(document);
    (void)parse_yaml(text);
  }
}

TEST(MergePatch, follows_rfc_7386) {
  const std::tuple<std::string_view, std::string_view, std::string_view> cases[] = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {R"({"a":"b"})", R"({"a":null})", R"({})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {R"(["a","b"])", R"(["c"])", R"(["c"])"},
      {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
      {R"([1,2])", R"({"a":"b","c":null})", R"({"a":"b"})"},
      {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"}};
  for (const auto& [before, patch, after] : cases) {
    Json target = parse_json(before).value();
    merge_patch(target, parse_json(patch).value());
    EXPECT_EQ(target, parse_json(after).value()) << patch;
  }
}

std::string patched(std::string_view target_text, std::string_view operations) {
  Json target = parse_json(target_text).value();
  const Json before = target;
  const auto done = json_patch(target, parse_json(operations).value());
  if (done) return to_text(target);
  EXPECT_EQ(target, before) << "a failed patch must change nothing";
  return done.error().message;
}

TEST(JsonPatch, follows_rfc_6902) {
  EXPECT_EQ(patched(R"({"a":[1,3]})",
                    R"([{"op":"add","path":"/a/1","value":2},{"op":"add","path":"/a/-","value":4}])"),
            R"({"a":[1,2,3,4]})");
  EXPECT_EQ(patched(R"({"a/b":{"m~n":1}})", R"([{"op":"replace","path":"/a~1b/m~0n","value":2}])"),
            R"({"a/b":{"m~n":2}})");
  EXPECT_EQ(patched(R"({"a":1,"b":2})", R"([{"op":"remove","path":"/a"}])"), R"({"b":2})");
  EXPECT_EQ(patched(R"({"a":1})",
                    R"([{"op":"move","from":"/a","path":"/b"},{"op":"copy","from":"/b","path":"/c"}])"),
            R"({"b":1,"c":1})");
  EXPECT_EQ(patched(R"({"a":1})", R"([{"op":"test","path":"/a","value":1.0}])"), R"({"a":1})");
}
TEST(JsonPatch, names_the_operation_that_failed_and_changes_nothing) {
  EXPECT_EQ(
      patched(R"({"a":1})", R"([{"op":"add","path":"/b","value":1},{"op":"test","path":"/a","value":2}])"),
      "operation 1 of the JSON patch: the value at \"/a\" is not the one tested for");
  EXPECT_EQ(patched(R"({"a":[1]})", R"([{"op":"add","path":"/a/5","value":1}])"),
            "operation 0 of the JSON patch: nothing is at \"/a/5\"");
  EXPECT_EQ(patched(R"({"a":[1]})", R"([{"op":"replace","path":"/a/01","value":1}])"),
            "operation 0 of the JSON patch: nothing is at \"/a/01\"");
  EXPECT_EQ(patched(R"({"a":{"b":1}})", R"([{"op":"move","from":"/a","path":"/a/b"}])"),
            "operation 0 of the JSON patch: a value cannot be moved into itself");
  EXPECT_EQ(patched(R"({})", R"({"op":"add"})"), "a JSON patch must be a list of operations");
  EXPECT_EQ(patched(R"({})", R"([7])"),
            "operation 0 of the JSON patch: \"path\" is required and must be a string");
}
TEST(JsonPatch, doubling_by_copies_ends_early) {
  std::string operations = R"([{"op":"add","path":"/a","value":["0123456789"]})";
  for (int i = 0; i < 60; ++i) operations += R"(,{"op":"copy","from":"/a","path":"/a/-"})";
  EXPECT_NE(patched("{}", operations + "]").find("copies more than"), std::string::npos);
}

TEST(Selectors, match_labels_as_kubernetes_does) {
  const Json object =
      parse_json(R"({"metadata":{"name":"x","labels":{"a":"1","b":"2","x.io/y":"z"}}})").value();
  const std::pair<std::string_view, bool> cases[] = {{"", true},
                                                     {"a=1", true},
                                                     {"a==1,b=2", true},
                                                     {"a=2", false},
                                                     {"a!=2", true},
                                                     {"c!=2", true},
                                                     {"a", true},
                                                     {"!a", false},
                                                     {"!c", true},
                                                     {"a in (0, 1)", true},
                                                     {"a notin (1)", false},
                                                     {"c notin (1)", true},
                                                     {"c in (1)", false},
                                                     {"x.io/y=z", true},
                                                     {" a = 1 , b ", true},
                                                     {"a in (1),b notin (3),!c", true},
                                                     {"b>1", true},
                                                     {"b > +1,b<3", true},
                                                     {"b>2", false},
                                                     {"b<2", false},
                                                     {"c<2", false},
                                                     {"x.io/y>-9223372036854775808", false}};
  for (const auto& [text, wanted] : cases) {
    const auto selector = LabelSelector::parse(text);
    ASSERT_TRUE(selector) << text << selector.error().to_string();
    EXPECT_EQ(selector->matches(object), wanted) << text;
  }
  for (const auto text : {"a=1,", ",", "a in 1", "a in (1", "=1", "a like b", "a=1 b=2", "a>", "a>x", "a>1.5",
                          "a<9223372036854775808", "a>=1"})
    EXPECT_FALSE(LabelSelector::parse(text)) << text;
  EXPECT_NE(LabelSelector::parse("a in (1").error().message.find("position 8"), std::string::npos);
}
TEST(Selectors, match_only_allowed_fields) {
  const Json object =
      parse_json(R"({"metadata":{"name":"x"},"spec":{"node":"n,1","held":true,"count":3}})").value();
  const std::vector<std::string> allowed{"spec.node", "spec.held", "spec.count", "status.phase"};
  const std::pair<std::string_view, bool> cases[] = {
      {"metadata.name=x", true},      {"metadata.name!=x", false}, {"spec.node=n\\,1,metadata.name==x", true},
      {"spec.held=true", true},       {"spec.count=3", true},      {"status.phase=", true},
      {"status.phase!=Running", true}};
  for (const auto& [text, wanted] : cases) {
    const auto selector = FieldSelector::parse(text, allowed);
    ASSERT_TRUE(selector) << text;
    EXPECT_EQ(selector->matches(object), wanted) << text;
  }
  EXPECT_EQ(FieldSelector::parse("spec.secret=1", allowed).error().reason, "api.selector.field");
  EXPECT_FALSE(FieldSelector::parse("metadata.name", allowed));
  EXPECT_EQ(FieldSelector::parse("metadata.name=x,spec.node!=y", allowed)->required_value("metadata.name"),
            "x");
  EXPECT_EQ(FieldSelector::parse("metadata.name=x,spec.node!=y", allowed)->required_value("spec.node"),
            std::nullopt);
}

TEST(StatusObject, keeps_code_and_reason_across_the_wire) {
  for (int i = 1; i <= 16; ++i) {
    const Error error{Code(i), "quota.gpu.exceeded", "spec.gpu: too many; wait", {}};
    const Json status = status_object(error, "trainingjobs", "j", "neap.dev");
    const Error back = error_of_status(status, int(get_int(status, "code")));
    EXPECT_EQ(back.code, error.code);
    EXPECT_EQ(back.reason, error.reason);
    EXPECT_EQ(back.message, error.message);
  }
}
TEST(StatusObject, speaks_kubernetes) {
  const Json status =
      status_object({Code::kAborted, "store.conflict", "somebody was faster", {}}, "sites", "s", "neap.dev");
  EXPECT_EQ(get_string(status, "reason"), "Conflict");
  EXPECT_EQ(get_int(status, "code"), 409);
  const Json invalid = status_object(
      {Code::kFailedPrecondition, "api.object.invalid", "spec.a: is required; spec.b: must be 1; or 2", {}});
  const auto& causes = invalid.at("details").at("causes").as_array();
  ASSERT_EQ(causes.size(), 2u);
  EXPECT_EQ(get_string(causes[1], "field"), "spec.b");
  EXPECT_EQ(get_string(causes[1], "message"), "must be 1; or 2");
  EXPECT_EQ(
      error_of_status(parse_json(R"({"reason":"Expired","code":410,"message":"too old"})").value(), 410).code,
      Code::kOutOfRange);
  EXPECT_EQ(error_of_status(parse_json("{}").value(), 503).code, Code::kUnavailable);
}

}  // namespace
}  // namespace neap::api
