#include "priority_admission.h"

#include <fmt/format.h>

#include <set>

namespace neap::app {
namespace {

using Names = std::set<std::string, std::less<>>;

constexpr std::string_view kClassGroup = "scheduling.k8s.io";

// Kinds whose field of that name selects work instead of being work.
bool is_work(const auth::Attributes& what) {
  return what.group != kClassGroup && what.resource != "schedulingpolicies";
}

// Wherever a template stands in a spec: jobs of strategies and CronJobs, pods of Deployments.
void collect(const Json& value, Names& out) {
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      const bool is_name = key == "priorityClass" || key == "priorityClassName";
      if (is_name && member.is_string() && !member.get_string().empty())
        out.emplace(std::string_view(member.get_string()));
      else
        collect(member, out);
    }
  } else if (const auto* array = value.if_array()) {
    for (const auto& item : *array) collect(item, out);
  }
}

Names names_in(const Json* object) {
  Names out;
  if (const auto* spec = object ? find_path(*object, {"spec"}) : nullptr) collect(*spec, out);
  return out;
}

}  // namespace

Task<Status> PriorityAdmission::check(const apiserver::AdmissionRequest& request, std::string name) {
  auth::Attributes use;
  use.is_resource = true;
  use.verb = "use";
  use.group = kClassGroup;
  use.version = "v1";
  use.resource = "priorityclasses";
  use.namespace_ = request.what.namespace_;
  use.name = name;
  if (authorizer_.authorize(request.who, use).allowed) co_return ok();
  NEAP_CO_TRY(const auto found, co_await find_class_(name));
  if (found && (get_int(*found, "value") <= 0 || get_bool(*found, "globalDefault"))) co_return ok();
  const auto why =
      found ? fmt::format("is worth {}, so its work goes before that of others", get_int(*found, "value"))
            : std::string("is not there, so what it will be worth is not known");
  co_return fail(
      Code::kPermissionDenied, "priority.use",
      fmt::format("PriorityClass \"{}\" {}, and {} may not use it in project \"{}\": leave it out, or ask an "
                  "administrator for the verb \"use\" on priorityclasses of {} with resourceNames [\"{}\"]",
                  name, why, request.who.user, use.namespace_, kClassGroup, name));
}

Task<Status> PriorityAdmission::admit(apiserver::AdmissionRequest request, std::vector<std::string>&) {
  if (!request.after || !is_work(request.what) || request.what.subresource == "status") co_return ok();
  const auto known = names_in(request.before);
  for (const auto& name : names_in(request.after))
    if (!known.contains(name)) NEAP_CO_TRY_VOID(co_await check(request, name));
  co_return ok();
}

}  // namespace neap::app
