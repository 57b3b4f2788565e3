// Runs the CEL specification's conformance cases (build/deps/cel-spec/cases.json, written by
// tools/bootstrap_cel_spec.sh) through the policy module, and holds docs/reference/cel.md to what it found.
//
// Usage: neap_cel_conformance CASES.json PAGE.md [--update]
// Exit status: 0 all cases agree and the page is current; 1 otherwise; 77 the cases were not fetched.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "internal/functions.h"
#include "neap/base/json.h"
#include "neap/policy/cel.h"
#include "neap/policy/environment.h"

namespace neap::policy {
namespace {

using K = Value::Kind;

std::string text_of(const Json& json) {
  return json.is_string() ? std::string(json.get_string()) : neap::to_text(json);
}

Value computed(const std::string& expression) {
  auto program = compile(expression);
  auto value = program ? evaluate(*program, Activation()) : std::unexpected(program.error());
  if (!value) {
    std::cerr << "cannot read a value of the cases: " << expression << "\n";
    std::exit(1);
  }
  return *std::move(value);
}

Value read_value(const Json& json) {
  const auto& member = *json.as_object().begin();
  const std::string kind(member.key());
  const Json& held = member.value();
  if (kind == "null") return {};
  if (kind == "bool") return Value::boolean(held.as_bool());
  if (kind == "int") return Value::integer(std::strtoll(text_of(held).c_str(), nullptr, 10));
  if (kind == "uint") return Value::unsigned_integer(std::strtoull(text_of(held).c_str(), nullptr, 10));
  if (kind == "double") return Value::real(std::strtod(text_of(held).c_str(), nullptr));
  if (kind == "string") return Value::string(text_of(held));
  if (kind == "bytes") return computed(fmt::format("base64.decode('{}')", text_of(held)));
  if (kind == "duration" || kind == "timestamp")
    return computed(fmt::format("{}('{}')", kind, text_of(held)));
  if (kind == "type") {
    auto name = text_of(held);
    return computed(name);
  }
  if (kind == "list") {
    std::vector<Value> elements;
    for (const auto& element : held.as_array()) elements.push_back(read_value(element));
    return Value::list(std::move(elements));
  }
  Value::MapEntries entries;
  for (const auto& entry : held.as_array())
    entries.emplace_back(read_value(entry.as_array()[0]), read_value(entry.as_array()[1]));
  return Value::map(std::move(entries));
}

// Stricter than CEL's ==: 1 and 1.0 differ, NaN equals itself, -0.0 and 0.0 differ.
bool is_same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case K::kDouble:
      return std::isnan(a.as_double()) ? std::isnan(b.as_double())
                                       : a.as_double() == b.as_double() &&
                                             std::signbit(a.as_double()) == std::signbit(b.as_double());
    case K::kList:
      if (a.size() != b.size()) return false;
      for (std::size_t i = 0; i < a.size(); ++i)
        if (!is_same(a.element(i), b.element(i))) return false;
      return true;
    case K::kMap: {
      if (a.size() != b.size()) return false;
      for (std::size_t i = 0; i < a.size(); ++i) {
        bool found = false;
        for (std::size_t k = 0; k < b.size() && !found; ++k)
          found =
              is_same(a.entry(i).first, b.entry(k).first) && is_same(a.entry(i).second, b.entry(k).second);
        if (!found) return false;
      }
      return true;
    }
    default:
      return a.to_text() == b.to_text();
  }
}

Environment read_environment(const Json& test) {
  Environment out(get_bool(test, "check") ? Checking::kTypes : Checking::kNone);
  out.container(get_string(test, "container"));
  if (const auto* variables = find_path(test, {"variables"}))
    for (const auto& variable : variables->as_object())
      out.variable(std::string_view(variable.key()), std::string_view(variable.value().as_string()));
  if (const auto* functions = find_path(test, {"functions"}))
    for (const auto& function : functions->as_array()) {
      FunctionDeclaration declared{.name = std::string(get_string(function, "name")),
                                   .is_member = get_bool(function, "member"),
                                   .parameters = {},
                                   .result = parse_type(get_string(function, "result")).value()};
      for (const auto& parameter : function.at("parameters").as_array())
        declared.parameters.push_back(parse_type(text_of(parameter)).value());
      out.function(std::move(declared));
    }
  return out;
}

// Empty where the case holds, else what went wrong.
std::string run_case(const Json& test) {
  const auto& expect = test.at("expect");
  const auto kind = get_string(expect, "kind");
  auto program = compile(get_string(test, "expr"),
                         kind == "accept" ? Environment(Checking::kNone) : read_environment(test));
  if (kind == "accept") return program ? "" : program.error().message;
  if (kind == "refuse") return program ? "compiles, though cel-go refuses it" : "";
  if (!program) {
    if (kind == "error" && !get_bool(expect, "checks")) return {};
    return "does not compile: " + program.error().message;
  }
  if (kind == "type") {
    if (to_text(program->type()) != get_string(expect, "type"))
      return fmt::format("has type {}, not {}", to_text(program->type()), get_string(expect, "type"));
    if (!find_path(expect, {"value"})) return {};
  }
  Activation activation;
  std::deque<std::string> names;
  if (const auto* bindings = find_path(test, {"bindings"}))
    for (const auto& binding : bindings->as_object())
      activation.bind(names.emplace_back(binding.key()), read_value(binding.value()));
  const auto value = evaluate(*program, activation);
  if (kind == "error") return value ? "gives " + value->to_text() + " instead of an error" : "";
  if (!value) return value.error().message;
  const Value wanted = read_value(expect.at("value"));
  return is_same(*value, wanted) ? "" : fmt::format("gives {}, not {}", value->to_text(), wanted.to_text());
}

struct SuiteCount {
  int passed = 0;
  std::vector<std::string> failed;
  // Reason -> names.
  std::map<std::string, std::vector<std::string>> skipped;
};

std::string one_line(std::string_view text, std::size_t limit) {
  std::string out;
  for (const char c : text) out += c == '\n' || c == '\t' || c == '|' || c == '`' ? ' ' : c;
  if (out.size() > limit) out = out.substr(0, limit - 3) + "...";
  return out;
}

std::string functions_table() {
  std::string out = "| function | type |\n|---|---|\n";
  for (const auto& overload : builtin_overloads()) {
    std::string parameters;
    for (std::size_t i = overload.is_member ? 1 : 0; i < overload.parameters.size(); ++i)
      parameters += (parameters.empty() ? "" : ", ") + to_text(overload.parameters[i]);
    out += fmt::format("| `{}{}({}{})` | `{}` |\n",
                       overload.is_member ? to_text(overload.parameters[0]) + "." : "", overload.name,
                       parameters, overload.is_variadic ? "..." : "", to_text(overload.result));
  }
  return out;
}

std::string make_page(const std::map<std::string, SuiteCount>& suites) {
  int passed = 0, failed = 0, skipped = 0;
  std::string table = "| file | run | agree | skipped |\n|---|---:|---:|---:|\n", list;
  for (const auto& [name, suite] : suites) {
    int left_out = 0;
    for (const auto& [reason, names] : suite.skipped) left_out += int(names.size());
    const int wrong = int(suite.failed.size());
    table += fmt::format("| {} | {} | {} | {} |\n", name, suite.passed + wrong, suite.passed, left_out);
    passed += suite.passed;
    failed += wrong;
    skipped += left_out;
    if (suite.skipped.empty()) continue;
    list += fmt::format("\n### {}\n\n", name);
    for (const auto& [reason, names] : suite.skipped) {
      list += fmt::format("- needs {}:", reason);
      for (std::size_t i = 0; i < names.size(); ++i) list += fmt::format("{} {}", i ? "," : "", names[i]);
      list += "\n";
    }
  }
  return fmt::format(
      R"(# The policy language

<!-- Generated by tests/peers/cel_conformance.cc; run it with --update to write this page again. -->

Conditions of scheduling policies are CEL expressions: the whole language, without protobuf messages, and the
extensions below. `AND`, `OR`, `NOT` in capitals and durations with a unit (`20ms`, `1h30m`) are legal beside it.
`neap policy eval --expr CEL --vars FILE.json` tries an expression. JSON has no durations and times: text is read as
one in members that are one in placement rules (`"10ms"` as `task.latency_requirement`); other text stays text.

## Conformance

Cases of the CEL specification v0.25.1 (npm package `@bufbuild/cel-spec` 0.6.1) and cel-go's own tests of its parser
and its checker: {} run, {} agree, {} need a protobuf message and are skipped. Every case is
checked against its declared types before it runs unless the case says otherwise; the test fails where a case that is
not listed here fails.

{}
## Functions

Operators, `has()` and the macros `all`, `exists`, `exists_one`/`existsOne`, `filter`, `map` (with one or two variables),
`transformList`, `transformMap`, `transformMapEntry`, `optMap`, `optFlatMap`, `cel.bind`, `cel.block` come with the
language. Functions, with A and B for any type:

{}
## Limits

| limit | value | beyond it |
|---|---|---|
| text | {} bytes | `cel.too_large` |
| parts of an expression | {} | `cel.too_large` |
| nesting | {} | `cel.too_deep` |
| static worst-case cost, lists of unknown length taken as {} elements | {} steps | `cel.too_costly` |
| steps of one evaluation | {} | `cel.budget` |

Named time zones come from a table in the program (IANA 2025b) and answer for times from 2000 on; earlier times in a
named zone are `cel.conversion`. UTC and fixed offsets have no limit.

## Skipped cases
{})",
      passed + failed, passed, skipped, table, functions_table(), CompileLimits{}.text_bytes_max,
      CompileLimits{}.nodes_max, CompileLimits{}.depth_max, CompileLimits{}.list_size_assumed,
      CompileLimits{}.cost_max, Budget{}.steps_max, list);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

int run(const std::string& cases_file, const std::string& page_file, bool update) {
  const auto text = read_file(cases_file);
  if (text.empty()) {
    std::cout << "SKIPPED: " << cases_file << " is not there; run tools/bootstrap_cel_spec.sh\n";
    return 77;
  }
  const auto cases = parse_json(text).value();
  std::map<std::string, SuiteCount> suites;
  int failed = 0, types = 0, types_agree = 0;
  for (const auto& test : cases.as_array()) {
    const auto path = std::string(get_string(test, "suite"));
    auto& suite = suites[path.substr(0, path.find('/'))];
    const auto slash = path.find('/');
    const auto name = (slash == std::string::npos ? "" : path.substr(slash + 1) + "/") +
                      one_line(get_string(test, "name"), 80);
    if (const auto reason = get_string(test, "skip"); !reason.empty()) {
      suite.skipped[std::string(reason)].push_back(name);
      continue;
    }
    const auto wrong = run_case(test);
    if (wrong.empty()) {
      ++suite.passed;
    } else {
      ++failed;
      suite.failed.push_back(name);
      std::cout << "FAILED " << path << "/" << name << ": " << get_string(test, "expr") << "\n  " << wrong
                << std::endl;
    }
    if (const auto type = get_string(test, "goType"); !type.empty()) {
      const auto program = compile(get_string(test, "expr"), read_environment(test));
      ++types;
      const auto ours = program ? to_text(program->type()) : "none";
      types_agree += ours == type;
      if (ours != type)
        std::cout << "type of " << get_string(test, "expr") << ": " << ours << ", cel-go finds " << type
                  << "\n";
    }
  }
  const auto page = make_page(suites);
  std::cout << fmt::format("{} failed; types as cel-go finds them: {} of {}\n", failed, types_agree, types);
  if (update) {
    std::ofstream(page_file, std::ios::binary) << page;
  } else if (read_file(page_file) != page) {
    std::cout << page_file << " is not what was found; run this with --update and read the difference\n";
    return 1;
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace neap::policy

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: " << argv[0] << " CASES.json PAGE.md [--update]\n";
    return 2;
  }
  return neap::policy::run(argv[1], argv[2], argc > 3 && std::string_view(argv[3]) == "--update");
}
