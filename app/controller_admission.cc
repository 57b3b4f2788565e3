#include "controller_admission.h"

#include <fmt/format.h>

#include "neap/auth/rbac.h"

namespace neap::app {
namespace {

bool is_same(const Json* before, const Json& after, std::initializer_list<std::string_view> path) {
  if (!before) return false;
  const auto *a = find_path(*before, path), *b = find_path(after, path);
  return a && b ? *a == *b : !a && !b;
}

// What of the request only controllers write; empty: nothing.
std::string_view guarded_part(const apiserver::AdmissionRequest& request) {
  const auto& what = request.what;
  if (what.group != "neap.dev" || !request.after) return {};
  const bool is_allocation = what.resource == "allocations";
  if (!is_allocation && what.resource != "trainingjobs" && what.resource != "inferenceservices") return {};
  if (what.subresource == "status")
    return is_same(request.before, *request.after, {"status"}) ? std::string_view() : "status";
  if (!is_allocation) return {};
  if (!request.before) return "an Allocation";
  if (!is_same(request.before, *request.after, {"spec"})) return "spec";
  if (!is_same(request.before, *request.after, {"metadata", "ownerReferences"}))
    return "metadata.ownerReferences";
  if (!is_same(request.before, *request.after, {"metadata", "finalizers"})) return "metadata.finalizers";
  if (!is_same(request.before, *request.after, {"metadata", "labels", "team"})) return "the label team";
  if (!is_same(request.before, *request.after, {"metadata", "labels", "model"})) return "the label model";
  return {};
}

}  // namespace

Task<Status> ControllerAdmission::admit(apiserver::AdmissionRequest request, std::vector<std::string>&) {
  const auto& who = request.who;
  // Of agents the node authorizer has judged each write.
  if (who.user == auth::kControllersUser || who.user == auth::kUpkeepUser || !who.node.empty())
    co_return ok();
  const auto part = guarded_part(request);
  if (part.empty()) co_return ok();
  auto wanted = request.what;
  wanted.verb = auth::kOverrideVerb;
  if (authorizer_.authorize(who, wanted).allowed) co_return ok();
  const auto resource = wanted.subresource.empty()
                            ? wanted.resource
                            : fmt::format("{}/{}", wanted.resource, wanted.subresource);
  co_return fail(
      Code::kPermissionDenied, "controllers.own",
      fmt::format("{} of {} is written by the controllers and agents only, as it says what was decided and "
                  "runs; change the spec of the job or service instead. To mend one by hand, {} needs the "
                  "verb \"{}\" on {} of neap.dev in a role that names this verb (\"*\" does not hold it)",
                  part, wanted.resource, who.user, auth::kOverrideVerb, resource));
}

}  // namespace neap::app
