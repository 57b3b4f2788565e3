// Optional values, quantities, zones, positions and limits of the extensions. The specification's own cases
// run in tests/peers; here stands what they do not ask.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "neap/policy/cel.h"
#include "neap/policy/environment.h"

namespace neap::policy {
namespace {

using ::testing::HasSubstr;

std::string run(std::string_view text, const Json& variables = JsonObject{}, Budget budget = {}) {
  auto program = compile(text);
  if (!program) return "compile " + program.error().reason;
  auto value = evaluate(*program, Activation(variables), budget);
  return value ? value->to_text() : value.error().reason;
}

struct Case {
  std::string_view text, expected;
};

void check(std::initializer_list<Case> cases, const Json& variables = JsonObject{}) {
  for (const auto& c : cases) EXPECT_EQ(run(c.text, variables), c.expected) << c.text;
}

TEST(CelExtension, optional_values_stand_in_for_what_may_be_missing) {
  const Json variables = parse_json(R"({"task": {"labels": {"team": "x"}, "sizes": [1, 2]}})").value();
  check({{"task.?labels.?team.orValue('none')", "x"},
         {"task.?labels.?nothing.orValue('none')", "none"},
         {"task.?gone.labels.hasValue()", "false"},
         {"task.sizes[?5].hasValue()", "false"},
         {"task.sizes[?1].optMap(n, n * 10).value()", "20"},
         {"optional.none().value()", "cel.no_value"},
         {"optional.of(1).or(optional.of(1 / 0)).value()", "1"},
         {"[?task.?gone, ?optional.of(3)]", "[3]"},
         {"{?'a': task.?gone, 'b': 1}", "{\"b\":1}"},
         {"optional.of(1) == optional.of(1.0)", "true"},
         {"type(optional.none()) == optional_type", "true"},
         {"[?1]", "cel.no_such_overload"}},
        variables);
}

TEST(CelExtension, quantities_compare_by_value_whatever_their_suffix) {
  check({{"quantity('1Gi') == quantity('1024Mi')", "true"},
         {"quantity('1Gi').isGreaterThan(quantity('1G'))", "true"},
         {"quantity('500m').compareTo(quantity('0.5'))", "0"},
         {"quantity('1.5e3').asInteger()", "1500"},
         {"quantity('50k').add(20)", "50020"},
         {"quantity('1Ki').sub(quantity('24'))", "1k"},
         {"quantity('-5').sign()", "-1"},
         {"quantity('100m').isInteger()", "false"},
         {"quantity('100m').asInteger()", "cel.conversion"},
         {"quantity('1.1').asApproximateFloat()", "1.1"},
         {"quantity('1Mi') < quantity('1Gi')", "true"},
         {"quantity(2048)", "2Ki"},
         {"quantity('0.0000000001')", "1n"},
         {"isQuantity('10Qi') || isQuantity('') || isQuantity('-') || isQuantity('1.2.3')", "false"},
         {"quantity('8Ei').add(quantity('8Ei'))", "cel.overflow"},
         {"quantity('9e99')", "cel.conversion"},
         {"quantity('1e-99')", "1n"},
         {"quantity('x')", "cel.conversion"}});
}

TEST(CelExtension, named_zones_follow_their_summer_time) {
  check({{"timestamp('2026-03-29T00:59:59Z').getHours('Europe/Berlin')", "1"},
         {"timestamp('2026-03-29T01:00:00Z').getHours('Europe/Berlin')", "3"},
         {"timestamp('2026-10-25T00:59:59Z').getHours('Europe/Berlin')", "2"},
         {"timestamp('2026-10-25T01:00:00Z').getHours('Europe/Berlin')", "2"},
         {"timestamp('2006-11-03T12:00:00Z').getHours('America/New_York')", "7"},
         {"timestamp('2007-11-03T12:00:00Z').getHours('America/New_York')", "8"},
         {"timestamp('2026-01-15T12:00:00Z').getHours('Australia/Sydney')", "23"},
         {"timestamp('2026-07-15T12:00:00Z').getHours('Australia/Sydney')", "22"},
         {"timestamp('2026-07-15T12:00:00Z').getMinutes('Asia/Kathmandu')", "45"},
         {"timestamp('2026-07-15T12:00:00Z').getHours('Asia/Shanghai')", "20"},
         {"timestamp('2100-07-15T12:00:00Z').getHours('Europe/London')", "13"},
         {"timestamp('2026-07-15T12:00:00Z').getHours('Europe/Atlantis')", "cel.conversion"},
         {"timestamp('1970-07-15T12:00:00Z').getHours('Europe/London')", "cel.conversion"},
         {"timestamp('1970-07-15T12:00:00Z').getHours('UTC')", "12"}});
}

TEST(CelExtension, macros_with_two_variables_walk_lists_and_maps) {
  check(
      {{"[5, 6].transformList(i, v, v - i)", "[5,5]"},
       {"{'a': 1, 'b': 2}.transformMap(k, v, v > 1, k + '!')", "{\"b\":\"b!\"}"},
       {"[1, 2].transformMapEntry(i, v, {string(v): i})", "{\"1\":0,\"2\":1}"},
       {"[1, 2].transformMapEntry(i, v, {}) == {}", "true"},
       {"[1, 1].transformMapEntry(i, v, {v: i})", "cel.index"},
       {"[1].all(i, i, i < 1)", "compile cel.syntax"},
       {"cel.bind(x, 3, x * x)", "9"},
       {"cel.block([[1].exists(x, [2].exists(y, y > x)), [3].all(z, cel.index(0) && z == 3)], cel.index(1))",
        "true"},
       {"cel.index(0)", "compile cel.syntax"},
       {"cel.block([cel.index(0)], 1)", "compile cel.syntax"}});
}

TEST(CelExtension, values_have_a_json_form) {
  const auto json = [](std::string_view text) {
    return neap::to_text(evaluate(compile(text).value(), Activation()).value().to_json());
  };
  EXPECT_EQ(json("[b'hi', 1u, 20ms, timestamp('2026-11-22T00:00:00Z'), int, quantity('1Gi')]"),
            R"(["aGk=",1,"0.02s","2026-11-22T00:00:00Z","int","1Gi"])");
  EXPECT_EQ(json("[0.0 / 0.0, -1.0 / 0.0]"), R"(["NaN","-Infinity"])");
  EXPECT_EQ(json("[optional.none(), optional.of(2)]"), "[null,2]");
  EXPECT_EQ(json("{1: 'a', true: 'b'}"), R"({"1":"a","true":"b"})");
}

TEST(CelCheck, finds_the_type_of_an_expression) {
  Environment environment;
  environment.variable("labels", "map(string, string)")
      .variable("sizes", "list(int)")
      .variable("a.b", "uint");
  const auto type = [&](std::string_view text) {
    const auto program = compile(text, environment);
    return program ? to_text(program->type()) : program.error().reason;
  };
  EXPECT_EQ(type("labels.filter(k, labels[k] == 'x')"), "list(string)");
  EXPECT_EQ(type("sizes.map(s, [s])"), "list(list(int))");
  EXPECT_EQ(type("labels[?'x'].orValue('')"), "string");
  EXPECT_EQ(type("math.greatest(1, 2)"), "int");
  EXPECT_EQ(type("a.b"), "uint");
  EXPECT_EQ(type("[1, 'x']"), "list(dyn)");
  EXPECT_EQ(type("size(sizes) + labels['x']"), "cel.type_error");
  EXPECT_EQ(type("sizes && true"), "cel.type_error");
  EXPECT_EQ(type("nothing"), "cel.type_error");
  EXPECT_EQ(type("1 + 1u"), "cel.type_error");
  EXPECT_EQ(type("'x'.all(c, true)"), "cel.type_error");
}

TEST(CelCheck, a_rule_with_a_misspelt_field_is_refused_where_it_stands) {
  const auto refused = [](std::string_view text) { return compile(text, placement_environment()).error(); };
  const auto error = refused("task.type == 'training'\n  && task.gpu_demnad > 8");
  EXPECT_EQ(error.reason, "cel.type_error");
  EXPECT_THAT(error.message, HasSubstr("line 2, column 11: task has no field 'gpu_demnad'; it has "));
  EXPECT_THAT(error.message, HasSubstr("gpu_demand"));
  EXPECT_THAT(error.message, HasSubstr("\n            ^"));
  EXPECT_EQ(refused("task.latency_requirement < 20").reason, "cel.type_error");
  EXPECT_TRUE(compile("task.latency_requirement < 20ms && now < task.deadline", placement_environment()));
}

TEST(CelCheck, places_count_characters_not_bytes) {
  const auto error = compile("'\xC3\xA9\xC3\xA9' + ?").error();
  const auto place = find_place(error.message).value();
  EXPECT_EQ(place.line, 1u);
  EXPECT_EQ(place.column, 8u);
  EXPECT_FALSE(find_place("no place"));
}

TEST(CelCheck, types_that_would_grow_without_bound_become_dyn) {
  std::string text = "x";
  for (int i = 0; i < 60; ++i) text = "cel.bind(x, {1: x, '2': [x]}, " + text + ")";
  const auto program = compile("cel.bind(x, 1, " + text + ")", Environment());
  ASSERT_TRUE(program) << program.error().message;
  // Free parameters, each then bound to a map of the next one twice.
  std::string chain = "p0";
  for (int i = 0; i < 40; ++i)
    chain = "cel.bind(q" + std::to_string(i) + ", [p" + std::to_string(i) + ", {p" + std::to_string(i + 1) +
            ": p" + std::to_string(i + 1) + "}], " + chain + ")";
  for (int i = 0; i <= 40; ++i) chain = "cel.bind(p" + std::to_string(i) + ", [][0], " + chain + ")";
  EXPECT_TRUE(compile(chain, Environment()));
  std::string nested(100, '['), closing(100, ']');
  EXPECT_TRUE(compile(nested + closing, Environment()));
}

TEST(CelBudget, long_work_is_charged_where_it_is_done) {
  const Json variables = JsonObject{{"s", std::string(100'000, 'a')}, {"t", std::string(50'000, 'a') + "b"}};
  const Budget small{.steps_max = 20'000};
  EXPECT_EQ(run("s.contains(t)", variables, small), "cel.budget");
  EXPECT_EQ(run("s.indexOf(t)", variables, small), "cel.budget");
  EXPECT_EQ(run("s.replace('a', s)", variables, small), "cel.budget");
  EXPECT_EQ(run("s.split('')", variables, small), "cel.budget");
  EXPECT_EQ(run("'%s%s%s%s%s'.format([s, s, s, s, s])", variables, small), "cel.budget");
  EXPECT_EQ(run("size(s)", variables, small), "100000");
}

TEST(CelBudget, the_static_cost_is_an_upper_bound_for_lists_of_the_assumed_size) {
  JsonArray numbers;
  for (int i = 0; i < 100; ++i) numbers.push_back(i);
  const Json variables = JsonObject{{"l", numbers}, {"m", JsonObject{{"k", 1}}}};
  for (const std::string_view text :
       {"l.all(x, x < 200)", "l.map(x, x + 1).filter(x, x > 3)", "l.exists(x, l.exists(y, x + y == 197))",
        "3 in l && l == l", "m.k == 1 ? size(l) : 2", "l.transformList(i, v, i == v)", "'abc'.contains('b')",
        "cel.bind(x, l, x.all(y, y in x))"}) {
    const auto program = compile(text).value();
    EXPECT_TRUE(evaluate(program, Activation(variables), {.steps_max = program.static_cost() + 1})) << text;
  }
}

// A grammar's worth of random expressions: whatever compiles also evaluates, to a value or an error.
class Generator {
 public:
  explicit Generator(std::uint32_t seed) : random_(seed) {}
  std::string expression(int depth) {
    if (depth <= 0)
      return pick({"1", "2u", "0.5", "'a'", "b'x'", "true", "null", "[]", "{}", "20ms", "v", "w.x", "now",
                   "quantity('1Gi')", "optional.none()", "int"});
    const auto sub = [&] { return expression(depth - 1); };
    switch (random_() % 12) {
      case 0:
        return "(" + sub() +
               pick({" + ", " - ", " * ", " / ", " % ", " == ", " < ", " in ", " && ", " || "}) + sub() + ")";
      case 1:
        return "(" + sub() + " ? " + sub() + " : " + sub() + ")";
      case 2:
        return "[" + sub() + ", ?" + sub() + "]";
      case 3:
        return "{" + sub() + ": " + sub() + ", ?'k': " + sub() + "}";
      case 4:
        return sub() + pick({".all", ".exists", ".exists_one", ".map", ".filter", ".optMap"}) + "(v, " +
               sub() + ")";
      case 5:
        return sub() + pick({".transformList", ".transformMap", ".transformMapEntry"}) + "(v, i, " + sub() +
               ")";
      case 6:
        return sub() + pick({".size()", ".trim()", ".reverse()", ".hasValue()", ".getHours('Asia/Tokyo')",
                             ".x", ".?y", ".join('-')", ".sign()"});
      case 7:
        return pick({"size", "string", "int", "dyn", "type", "math.abs", "optional.of", "duration",
                     "quantity"}) +
               "(" + sub() + ")";
      case 8:
        return sub() + pick({"[", "[?"}) + sub() + "]";
      case 9:
        return "cel.bind(v, " + sub() + ", " + sub() + ")";
      case 10:
        return "cel.block([" + sub() + ", " + sub() + "], [cel.index(1), cel.index(0), " + sub() + "])";
      default:
        return pick({"!", "-"}) + sub();
    }
  }

 private:
  std::string pick(std::initializer_list<const char*> choices) {
    return choices.begin()[random_() % choices.size()];
  }
  std::mt19937 random_;
};

TEST(CelCheck, a_value_has_the_type_that_the_checker_found) {
  Environment environment;
  environment.variable("v", "int").variable("w", "map(string, int)").variable("now", "timestamp");
  const Json variables = parse_json(R"({"v": 3, "w": {"x": 7}})").value();
  Activation activation(variables);
  activation.bind("now", Value::timestamp(TimeSpan{1'800'000'000, 0}));
  Generator generator(11);
  int compiled = 0, typed = 0;
  for (int i = 0; i < 6'000; ++i) {
    const auto text = generator.expression(1 + i % 4);
    (void)compile(text);
    const auto program = compile(text, environment);
    if (!program) continue;
    ++compiled;
    const auto value = evaluate(*program, activation, {.steps_max = 20'000});
    if (!value) continue;
    const auto type = to_text(program->type());
    if (type.find("dyn") != std::string::npos || type.find('(') != std::string::npos) continue;
    ++typed;
    const std::string kind(kind_name(value->kind()));
    const std::string wanted = type == "null"        ? "null_type"
                               : type == "timestamp" ? "google.protobuf.Timestamp"
                               : type == "duration"  ? "google.protobuf.Duration"
                                                     : type;
    EXPECT_EQ(kind, wanted) << text;
  }
  EXPECT_GT(compiled, 200);
  EXPECT_GT(typed, 100);
}

}  // namespace
}  // namespace neap::policy
