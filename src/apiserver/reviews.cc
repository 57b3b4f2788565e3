// SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview (authorization.k8s.io/v1) and
// SelfSubjectReview (authentication.k8s.io/v1): questions that are answered and not stored.
#include <fmt/format.h>

#include "internal/rest.h"

namespace neap::apiserver {
namespace {

auth::Attributes attributes_of(const Json& spec) {
  auth::Attributes what;
  if (const auto* resource = find_path(spec, {"resourceAttributes"}); resource && resource->is_object()) {
    what.is_resource = true;
    what.verb = get_string(*resource, "verb");
    what.group = get_string(*resource, "group");
    what.version = get_string(*resource, "version");
    what.resource = get_string(*resource, "resource");
    what.subresource = get_string(*resource, "subresource");
    what.namespace_ = get_string(*resource, "namespace");
    what.name = get_string(*resource, "name");
  } else if (const auto* path = find_path(spec, {"nonResourceAttributes"})) {
    what.verb = get_string(*path, "verb");
    what.path = get_string(*path, "path");
  }
  return what;
}

Json access_status(const auth::Decision& decision) {
  JsonObject status{{"allowed", decision.allowed}};
  if (!decision.reason.empty()) status["reason"] = decision.reason;
  return status;
}

}  // namespace

Json user_info(const auth::Identity& who) {
  JsonArray groups;
  for (const auto& group : who.groups) groups.emplace_back(group);
  JsonObject out{{"username", who.user}, {"groups", std::move(groups)}};
  if (!who.uid.empty()) out["uid"] = who.uid;
  // As Kubernetes names them, where a Pod stands for what is an Allocation here.
  if (who.bound && who.bound->kind == "Allocation")
    out["extra"] =
        JsonObject{{"authentication.kubernetes.io/pod-name", JsonArray{boost::json::string(who.bound->name)}},
                   {"authentication.kubernetes.io/pod-uid", JsonArray{boost::json::string(who.bound->uid)}}};
  return out;
}

Outcome<void> check_review(const Request& request) {
  const auto& kind = *request.kind;
  if (!kind.kind.ends_with("AccessReview")) return {};
  const auto* spec = find_path(request.body, {"spec"});
  const auto has = [&](std::string_view name) {
    const auto* found = spec ? find_path(*spec, {name}) : nullptr;
    return found && found->is_object();
  };
  std::vector<api::FieldProblem> problems;
  if (has("resourceAttributes") == has("nonResourceAttributes"))
    problems.push_back({"spec.resourceAttributes",
                        "exactly one of nonResourceAttributes or resourceAttributes must be specified",
                        false});
  const auto* groups = spec ? find_path(*spec, {"groups"}) : nullptr;
  const bool names_group = groups && groups->is_array() && !groups->get_array().empty();
  if (kind.kind == "SubjectAccessReview" && !names_group && (!spec || get_string(*spec, "user").empty()))
    problems.push_back({"spec.user", "at least one of user or group must be specified", false});
  if (problems.empty()) return {};
  return invalid(kind, "", problems);
}

Json answer_review(const Request& request, const auth::Authorizer& authorizer) {
  const auto& kind = *request.kind;
  Json out = request.body.is_object() ? request.body : Json(JsonObject());
  auto& members = out.get_object();
  members["apiVersion"] = kind.api_version();
  members["kind"] = kind.kind;
  sub_object(members, "metadata");
  const Json spec = members.contains("spec") ? members["spec"] : Json(JsonObject());
  if (kind.kind == "SelfSubjectAccessReview") {
    members["status"] = access_status(authorizer.authorize(request.who, attributes_of(spec)));
  } else if (kind.kind == "SubjectAccessReview") {
    auth::Identity who{
        .user = std::string(get_string(spec, "user")), .groups = {}, .node = {}, .authenticated = true};
    if (const auto* groups = find_path(spec, {"groups"}); groups && groups->is_array())
      for (const auto& group : groups->get_array())
        if (group.is_string()) who.groups.emplace_back(std::string_view(group.get_string()));
    if (auth::is_member(who, auth::kNodesGroup)) who = auth::identity_of_certificate(who.user, who.groups);
    members["status"] = access_status(authorizer.authorize(who, attributes_of(spec)));
  } else if (kind.kind == "SelfSubjectRulesReview") {
    JsonArray resources, paths;
    for (auto& rule : authorizer.rules_for(request.who, get_string(spec, "namespace")))
      (find_path(rule, {"nonResourceURLs"}) ? paths : resources).push_back(std::move(rule));
    members["status"] = JsonObject{{"resourceRules", std::move(resources)},
                                   {"nonResourceRules", std::move(paths)},
                                   {"incomplete", false}};
  } else {
    members["status"] = JsonObject{{"userInfo", user_info(request.who)}};
  }
  return out;
}

}  // namespace neap::apiserver
