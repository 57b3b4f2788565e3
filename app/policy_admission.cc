#include "policy_admission.h"

#include <fmt/format.h>

#include "neap/api/resource.h"
#include "neap/policy/policy.h"

namespace neap::app {
namespace {

Status check_rules(const Json& object) {
  const auto* rules = find_path(object, {"spec", "rules"});
  if (!rules || !rules->is_array()) return ok();  // the schema has spoken about that
  std::size_t at = 0;
  for (const auto& rule : rules->get_array()) {
    const auto made = policy::make_rule(get_string(rule, "name"), get_string(rule, "condition"),
                                        get_string(rule, "action"));
    if (!made) {
      const auto* field = made.error().reason == "policy.action.syntax" ? "action" : "condition";
      return fail(Code::kInvalidArgument, made.error().reason,
                  fmt::format("spec.rules[{}].{}: {}", at, field, made.error().message));
    }
    ++at;
  }
  return ok();
}

Status check_hybridcloud(const Json& object) {
  const auto rules = policy::rules_from_hybridcloud_policy(object);
  if (rules) return ok();
  return fail(Code::kInvalidArgument, rules.error().reason, "spec: " + rules.error().message);
}

}  // namespace

Task<Status> PolicyAdmission::admit(apiserver::AdmissionRequest request, std::vector<std::string>&) {
  const auto& what = request.what;
  if (!request.after || what.resource != "schedulingpolicies" || !what.subresource.empty()) co_return ok();
  if (what.group == api::kGroup) co_return check_rules(*request.after);
  if (what.group == "ai.hybridcloud") co_return check_hybridcloud(*request.after);
  co_return ok();
}

}  // namespace neap::app
