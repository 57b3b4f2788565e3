#include "neap/policy/cel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "neap/policy/environment.h"

namespace neap::policy {
namespace {

using ::testing::HasSubstr;

std::string run(std::string_view text, const Json& variables = JsonObject{}) {
  auto program = compile(text);
  if (!program) return "compile " + program.error().reason;
  auto value = evaluate(*program, Activation(variables));
  return value ? value->to_text() : value.error().reason;
}

struct Case {
  std::string_view text, expected;
};

void check(std::initializer_list<Case> cases, const Json& variables = JsonObject{}) {
  for (const auto& c : cases) EXPECT_EQ(run(c.text, variables), c.expected) << c.text;
}

TEST(Cel, literals_and_arithmetic_follow_the_language_definition) {
  check({{"1 + 2 * 3", "7"},
         {"(1 + 2) * 3", "9"},
         {"7 / 2", "3"},
         {"-7 / 2", "-3"},
         {"-7 % 3", "-1"},
         {"7.0 / 2.0", "3.5"},
         {"1u + 2u", "3u"},
         {"0x1F", "31"},
         {"1e3", "1000"},
         {"'a' + \"b\"", "ab"},
         {"[1] + [2, 3]", "[1,2,3]"},
         {"-9223372036854775808", "-9223372036854775808"},
         {"- -1", "1"},
         {"'\\u00e9\\n\\x41\\101'", "\xC3\xA9\nAA"},
         {"r'\\n'", "\\n"},
         {"'''a\n'b'''", "a\n'b"},
         {"b'\\xff' == b'\\377'", "true"},
         {"{'a': 1}['a']", "1"},
         {"{1: 'x', true: 'y'}[1u]", "x"},
         {"[10, 20][1.0]", "20"},
         {"true ? 1 : 2", "1"},
         {"1 // comment\n + 1", "2"}});
}

TEST(Cel, integers_never_wrap) {
  check({{"9223372036854775807 + 1", "cel.overflow"},
         {"-9223372036854775808 - 1", "cel.overflow"},
         {"-(-9223372036854775808)", "cel.overflow"},
         {"-9223372036854775808 / -1", "cel.overflow"},
         {"0u - 1u", "cel.overflow"},
         {"1 / 0", "cel.divide_by_zero"},
         {"1 % 0", "cel.divide_by_zero"},
         {"5000000000 * 5000000000", "cel.overflow"},
         {"int(1e30)", "cel.overflow"},
         {"uint(-1)", "cel.overflow"},
         {"9223372036854775808", "compile cel.syntax"},
         {"1 + 1u", "cel.no_such_overload"},
         {"1 + 1.0", "cel.no_such_overload"}});
}

TEST(Cel, comparisons_work_across_number_types) {
  check({{"1 == 1.0", "true"},
         {"1u == 1", "true"},
         {"1 < 1.5", "true"},
         {"9223372036854775807 < 9223372036854775809.0e1", "true"},
         {"-1 < 0u", "true"},
         {"[1, 2] == [1.0, 2u]", "true"},
         {"{'a': 1} == {'a': 1.0}", "true"},
         {"1 == '1'", "false"},
         {"'a' < 'b'", "true"},
         {"1 < 'a'", "cel.no_such_overload"},
         {"0.0/0.0 == 0.0/0.0", "false"},
         {"null == null", "true"},
         {"2 in [1, 2]", "true"},
         {"'k' in {'k': 0}", "true"},
         {"type(1) == int && type(type) == type", "true"}});
}

TEST(Cel, an_operand_that_decides_absorbs_the_other_sides_error) {
  check({{"true || 1 / 0 > 0", "true"},
         {"1 / 0 > 0 || true", "true"},
         {"false && 1 / 0 > 0", "false"},
         {"1 / 0 > 0 && false", "false"},
         {"1 / 0 > 0 || false", "cel.divide_by_zero"},
         {"1 || true", "true"},
         {"1 && true", "cel.no_such_overload"},
         {"[1, 0].exists(x, 1 / x == 1)", "true"},
         {"[0, 1].all(x, 1 / x == 5)", "false"},
         {"[0].all(x, 1 / x == 5)", "cel.divide_by_zero"},
         {"missing || true", "true"}});
}

TEST(Cel, macros_bind_their_variable_and_shadow) {
  check({{"[1, 2, 3].all(x, x > 0)", "true"},
         {"[1, 2, 3].exists_one(x, x == 2)", "true"},
         {"[1, 2, 3].map(x, x * 2)", "[2,4,6]"},
         {"[1, 2, 3].map(x, x > 1, x * 10)", "[20,30]"},
         {"[1, 2, 3].filter(x, x % 2 == 1)", "[1,3]"},
         {"{'a': 1, 'b': 2}.all(k, k in ['a', 'b'])", "true"},
         {"[[1], [2, 3]].map(x, x.map(x, x + 1))", "[[2],[3,4]]"},
         {"[1, 2].exists(x, [3].exists(y, x + y == 5))", "true"},
         {"[1].map(1, 2)", "compile cel.syntax"}});
}

TEST(Cel, functions_convert_and_search) {
  check({{"size('h\xC3\xA9llo')", "5"},
         {"'abc'.size() + [1].size()", "4"},
         {"'abc'.startsWith('ab') && 'abc'.endsWith('bc')", "true"},
         {"'abc'.contains('x')", "false"},
         {"'v1.22'.matches('^v[0-9]+')", "true"},
         {"matches('a', '(')", "compile cel.syntax"},
         {"'a'.matches('(' + '')", "cel.regex"},
         {"int('42') + int(3.9)", "45"},
         {"string(1.5) + string(true)", "1.5true"},
         {"double('1e2')", "100"},
         {"int('4 2')", "cel.conversion"},
         {"bool('true')", "true"},
         {"min(3, 1, 2) + max([4, 9])", "10"},
         {"duration('1h30m') == 90m", "true"},
         {"string(duration('1.5s'))", "1.5s"},
         {"duration('-1s') < duration('0')", "true"},
         {"timestamp('2026-11-22T20:50:54Z') + 1h > timestamp('2026-11-22T21:00:00Z')", "true"},
         {"timestamp('2026-11-22T23:00:00Z').getHours('+08:00')", "7"},
         {"timestamp('2026-02-30T00:00:00Z')", "cel.conversion"},
         {"timestamp('9999-12-31T23:59:59Z') + 1s", "cel.overflow"},
         {"timestamp('1969-12-31T23:59:59.5Z').getMilliseconds()", "500"},
         {"timestamp('2026-11-22T00:00:00Z').getDayOfWeek()", "0"},
         {"'AbC'.lowerAscii()", "abc"}});
}

TEST(Cel, documents_may_write_and_or_not_in_capitals_and_durations_with_units) {
  const Json task = parse_json(R"({"task": {"type": "inference", "gpu_demand": 16}})").value();
  check({{"task.type == 'inference' AND NOT task.gpu_demand < 8", "true"},
         {"task.type == 'x' OR task.gpu_demand > 8", "true"},
         {"20ms < 1s", "true"},
         {"1.5s == 1500ms", "true"},
         {"1h30m - 30m == 1h", "true"}},
        task);
  const auto program = compile("task.type == 'inference' AND task.latency_requirement < 20ms").value();
  class Task final : public ObjectView {
   public:
    bool find(std::string_view member, Value& out) const override {
      if (member == "type")
        out = Value::borrowed_string("inference");
      else if (member == "latency_requirement")
        out = Value::duration(Duration(10ms));
      else
        return false;
      return true;
    }
  } view;
  Activation activation;
  activation.bind("task", Value::borrowed(view));
  EXPECT_TRUE(evaluate_condition(program, activation).value());
}

TEST(Cel, fields_that_are_absent_are_errors_unless_asked_for_with_has) {
  const Json variables =
      parse_json(R"({"task": {"labels": {"team": "x"}, "list": [1, 2], "none": null}})").value();
  check({{"task.missing", "cel.no_such_field"},
         {"has(task.missing)", "false"},
         {"has(task.labels.team)", "true"},
         {"task.labels['team']", "x"},
         {"task.labels['y']", "cel.no_such_key"},
         {"task.list[2]", "cel.index"},
         {"task.list[-1]", "cel.index"},
         {"nothing", "cel.no_such_variable"},
         {"task.list.team", "cel.no_such_overload"},
         {"task.none == null", "true"}},
        variables);
}

TEST(Cel, a_syntax_error_shows_line_column_and_a_caret) {
  const auto error = compile("task.type ==\n  == 'a'").error();
  EXPECT_EQ(error.reason, "cel.syntax");
  EXPECT_THAT(error.message, HasSubstr("line 2, column 3"));
  EXPECT_THAT(error.message, HasSubstr("\n    == 'a'\n    ^"));
  for (const std::string_view bad :
       {"",      "1 +",   "(1",    "[1",         "{1",        "a.",    "a = b",     "'x",
        "1 2",   "f(1)",  "a.f()", "x{}",        "20parsecs", "a & b", "has(a)",    "\xFF",
        "'\\q'", "while", "1.5.5", "[1].all(x)", "a ? b",     "`x",    "'\xC0\x80'"})
    EXPECT_EQ(compile(bad).error().reason, "cel.syntax") << bad;
}

TEST(Cel, hostile_expressions_meet_limits_not_the_stack) {
  EXPECT_EQ(compile(std::string(100'000, '(')).error().reason, "cel.too_large");
  EXPECT_EQ(compile(std::string(50'000, '(')).error().reason, "cel.too_deep");
  EXPECT_EQ(compile(std::string(50'000, '[')).error().reason, "cel.too_deep");
  EXPECT_FALSE(compile(std::string(50'000, '!') + "true").has_value());
  EXPECT_FALSE(compile("a" + std::string(60'000, '.')).has_value());
  std::string chain = "1";
  for (int i = 0; i < 5000; ++i) chain += "+1";
  EXPECT_EQ(compile(chain).error().reason, "cel.too_deep");
  std::string ors = "false";
  for (int i = 0; i < 5000; ++i) ors += "||false";
  EXPECT_EQ(run(ors), "false");
  std::string nested = "1";
  for (int i = 0; i < 8; ++i) nested = "l.map(x" + std::to_string(i) + ", " + nested + ")";
  EXPECT_EQ(compile(nested).error().reason, "cel.too_costly");
}

TEST(Cel, evaluation_stops_when_its_budget_is_spent) {
  JsonArray numbers;
  for (int i = 0; i < 1000; ++i) numbers.push_back(i);
  const Json variables = JsonObject{{"l", numbers}};
  const auto program = compile("l.map(a, l.map(b, l.map(c, a + b + c)))").value();
  EXPECT_EQ(evaluate(program, Activation(variables)).error().reason, "cel.budget");
  // Each step doubles the printed size while the value itself is shared.
  std::string doubling = "[[1]]";
  for (int i = 0; i < 60; ++i) doubling += ".map(x, [x, x])";
  EXPECT_EQ(run(doubling), "cel.budget");
  EXPECT_EQ(run(doubling + " == " + doubling), "cel.budget");
}

TEST(Cel, random_bytes_and_mutations_never_crash_it) {
  std::mt19937 random(7);
  const std::string seed =
      "task.type == 'training' AND [1, 2.5, b'x'].exists(v, v in {1: 20ms}) ? has(a.b) : -1u % 3";
  for (int i = 0; i < 20'000; ++i) {
    std::string text = seed;
    for (int k = 0; k < 1 + int(random() % 6); ++k) {
      const auto at = random() % text.size();
      if (random() % 3 == 0)
        text.erase(at, 1 + random() % 4);
      else if (random() % 2)
        text[at] = char(random());
      else
        text.insert(at, 1, seed[random() % seed.size()]);
      if (text.empty()) text = "x";
    }
    const auto program = compile(text);
    if (program) (void)evaluate(*program, Activation());
  }
}

TEST(Cel, a_member_of_a_types_name_is_an_error_and_ends) {
  const auto dotted = parse_json(R"({"a.b": 1})").value();  // names with dots are looked for
  for (const auto checking : {Checking::kNone, Checking::kNames}) {
    const auto program = compile("int.max > 1", Environment(checking));
    if (program) EXPECT_FALSE(evaluate(*program, Activation(dotted)));
  }
}

TEST(Cel, programs_tell_which_variables_they_read) {
  const auto program = compile("task.a == 1 && [1].exists(site, site == 1)").value();
  EXPECT_TRUE(program.references("task"));
  EXPECT_FALSE(program.references("site"));
  EXPECT_GT(program.static_cost(), 3u);
}

}  // namespace
}  // namespace neap::policy
