// policy eval: tries an expression on variables, without a server.
#include <fmt/format.h>

#include "internal/commands.h"
#include "internal/output.h"
#include "neap/policy/cel.h"

namespace neap::cli {

Task<Result<int>> run_policy_eval(Session& session, PolicyEvalOptions options) {
  Json variables = JsonObject{};
  if (!options.variables_file.empty()) {
    NEAP_CO_TRY(const auto text, session.runtime().files().read_file(options.variables_file, 4u << 20));
    auto parsed = parse_json(text);
    if (!parsed) co_return fail(std::move(parsed).error(), options.variables_file);
    if (!parsed->is_object())
      co_return fail(
          Code::kInvalidArgument, "cli.policy.variables",
          fmt::format("{} is not a JSON object; write {{\"task\": {{...}}}}", options.variables_file));
    variables = *std::move(parsed);
  }
  NEAP_CO_TRY(const auto program, policy::compile(options.expression));
  const policy::Activation activation(variables);
  NEAP_CO_TRY(const auto value, policy::evaluate(program, activation));
  session.print(to_pretty_text(value.to_json()) + "\n");
  co_return 0;
}

}  // namespace neap::cli
