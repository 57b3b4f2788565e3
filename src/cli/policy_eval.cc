// policy eval: tries an expression on variables, without a server.
#include <fmt/format.h>

#include <map>

#include "internal/commands.h"
#include "internal/output.h"
#include "neap/base/time.h"
#include "neap/policy/cel.h"
#include "neap/policy/environment.h"

namespace neap::cli {
namespace {

// JSON has no durations and times: "10ms" is one where placement rules have one, as in
// task.latency_requirement. Text that is none stays text.
policy::Value typed_value(const Json& value, const policy::Type* type) {
  if (!type || !value.is_string()) return policy::Value::borrowed(value);
  const std::string_view text = value.get_string();
  if (type->kind == policy::Type::Kind::kDuration)
    if (const auto duration = parse_duration(text)) return policy::Value::duration(*duration);
  if (type->kind == policy::Type::Kind::kTimestamp)
    if (const auto time = parse_rfc3339(text)) return policy::Value::timestamp(*time);
  return policy::Value::borrowed(value);
}

policy::Value typed_object(const JsonObject& object,
                           const std::map<std::string, policy::Type, std::less<>>& fields) {
  policy::Value::MapEntries out;
  for (const auto& [key, value] : object) {
    const auto field = fields.find(std::string_view(key));
    out.emplace_back(policy::Value::borrowed_string(key),
                     typed_value(value, field == fields.end() ? nullptr : &field->second));
  }
  return policy::Value::map(std::move(out));
}

Result<policy::Value> evaluate_text(const std::string& expression, const Json& variables) {
  NEAP_TRY(const auto program, policy::compile(expression));
  const auto& environment = policy::placement_environment();
  policy::Activation activation(variables);
  for (const auto& [name, value] : variables.get_object()) {
    if (const auto* fields = environment.find_object(name); fields && value.is_object())
      activation.bind(name, typed_object(value.get_object(), *fields));
    else if (const auto* type = environment.find_variable(name))
      activation.bind(name, typed_value(value, type));
  }
  return policy::evaluate(program, activation);
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
