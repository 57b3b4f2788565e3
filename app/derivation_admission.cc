#include "derivation_admission.h"

#include <fmt/format.h>

namespace neap::app {
namespace {

// Plural of the neap.dev kind that a document becomes; empty: none.
std::string_view derived_kind(const auth::Attributes& what, const Json& document) {
  if (what.group == "ai.hybridcloud" && what.resource == "schedulingpolicies") return "schedulingpolicies";
  if (what.group == "apps" && what.resource == "deployments") return "inferenceservices";
  if (what.group == "batch" && what.resource == "jobs") return "trainingjobs";
  if (what.group != "ai.hybrid.io" || what.resource != "deploymentstrategies") return {};
  const auto* spec = find_path(document, {"spec"});
  return spec && get_string(*spec, "workloadType") == "Inference" ? "inferenceservices"
                                                                  : "deploymentstrategies";
}

bool is_same(const Json& before, const Json& after, std::initializer_list<std::string_view> path) {
  const auto *a = find_path(before, path), *b = find_path(after, path);
  return a && b ? *a == *b : !a && !b;
}

}  // namespace

Task<Status> DerivationAdmission::admit(apiserver::AdmissionRequest request, std::vector<std::string>&) {
  const auto& what = request.what;
  if (!request.after || (!what.subresource.empty() && what.subresource != "scale")) co_return ok();
  const auto plural = derived_kind(what, *request.after);
  if (plural.empty()) co_return ok();
  if (request.before && is_same(*request.before, *request.after, {"spec"}) &&
      is_same(*request.before, *request.after, {"metadata", "annotations"}))
    co_return ok();
  auth::Attributes wanted;
  wanted.is_resource = true;
  wanted.verb = "create";
  wanted.group = "neap.dev";
  wanted.version = "v1";
  wanted.resource = plural;
  wanted.namespace_ = what.namespace_;
  const auto decision = authorizer_.authorize(request.who, wanted);
  if (decision.allowed) co_return ok();
  co_return fail(
      Code::kPermissionDenied, "derivation.right",
      fmt::format("{} of {} become {} of neap.dev here, and {} may not create those in {}; ask for that "
                  "right",
                  what.resource, what.group, plural, request.who.user, what.namespace_));
}

}  // namespace neap::app
