// One input as an expression: read, checked and evaluated in all three ways of checking. Nothing may crash,
// hang or read the clock: the same program gives the same answer twice, within its budget.
#include <cstdlib>

#include "neap/policy/cel.h"
#include "neap/policy/environment.h"

namespace neap::policy {
namespace {

std::string answer(const Program& program, const Activation& activation) {
  const auto value = evaluate(program, activation, {.steps_max = 20'000});
  return value ? value->to_text() : value.error().message;
}

void run(std::string_view text) {
  static const Json variables =
      parse_json(R"({"v": 3, "s": "text", "l": [1, 2.5, "x", null], "m": {"k": {"n": 1}}, "a.b": true})")
          .value();
  static const std::vector<Environment> environments = [] {
    Environment typed;
    typed.variable("v", "int").variable("s", "string").variable("l", "list(dyn)").variable("a.b", "bool");
    typed.variable("m", "map(string, map(string, int))").container("a");
    return std::vector<Environment>{Environment(Checking::kNone), Environment(Checking::kNames), typed};
  }();
  const Activation activation(variables);
  const CompileLimits limits{.text_bytes_max = 4096, .nodes_max = 2000};
  for (const auto& environment : environments) {
    const auto program = compile(text, environment, limits);
    if (!program) continue;
    if (answer(*program, activation) != answer(*program, activation)) std::abort();
    if (to_text(program->type()).empty()) std::abort();
  }
}

}  // namespace
}  // namespace neap::policy

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  neap::policy::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
