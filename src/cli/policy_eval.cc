// policy eval: tries an expression on variables, without a server.
#include <fmt/format.h>

#include "internal/commands.h"
#include "internal/output.h"
#include "neap/policy/cel.h"

namespace neap::cli {
namespace {

Result<policy::Value> evaluate_text(const std::string& expression, const Json& variables) {
  NEAP_TRY(const auto program, policy::compile(expression));
  return policy::evaluate(program, policy::Activation(variables));
}

// {"error": {"reason", "line", "column", "message"}}; places count from 1, 0 where the error has none.
Json error_object(const Error& error) {
  const auto place = policy::find_place(error.message).value_or(policy::Place{});
  return JsonObject{{"error", JsonObject{{"reason", error.reason},
                                         {"line", place.line},
                                         {"column", place.column},
                                         {"message", error.message}}}};
}

}  // namespace

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
  auto value = evaluate_text(options.expression, variables);
  if (!value) {
    if (!options.json) co_return fail(std::move(value).error());
    session.print(to_text(error_object(value.error())) + "\n");
    co_return 1;
  }
  session.print((options.json ? to_text(value->to_json()) : to_pretty_text(value->to_json())) + "\n");
  co_return 0;
}

}  // namespace neap::cli
