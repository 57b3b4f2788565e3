#include "neap/auth/rbac.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::auth {
namespace {

using Words = std::set<std::string, std::less<>>;

Words words(const Json& rule, std::string_view key) {
  Words out;
  if (const auto* list = find_path(rule, {key}); list && list->is_array())
    for (const auto& item : list->get_array())
      if (item.is_string()) out.emplace(std::string_view(item.get_string()));
  return out;
}
JsonArray to_array(const Words& words) {
  JsonArray out;
  for (const auto& word : words) out.emplace_back(word);
  return out;
}
bool has(const Words& words, std::string_view word) { return words.contains("*") || words.contains(word); }

bool labels_match(const Json& wanted, const Json& labels) {
  const auto* object = wanted.if_object();
  if (!object || object->empty()) return false;
  for (const auto& [key, value] : *object) {
    const auto* have = find_path(labels, {std::string_view(key)});
    if (!have || *have != value) return false;
  }
  return true;
}

// What everyone who is authenticated may do: see what the API is, and ask about themselves.
const std::set<std::string, std::less<>> kDiscoveryPaths{"/api",     "/api/*",    "/apis",     "/apis/*",
                                                         "/version", "/version/", "/healthz",  "/livez",
                                                         "/readyz",  "/openapi",  "/openapi/*"};
bool is_self_review(const Attributes& what) {
  return what.verb == "create" &&
         ((what.group == "authorization.k8s.io" &&
           (what.resource == "selfsubjectaccessreviews" || what.resource == "selfsubjectrulesreviews")) ||
          (what.group == "authentication.k8s.io" && what.resource == "selfsubjectreviews"));
}
bool path_matches(const std::set<std::string, std::less<>>& paths, std::string_view path) {
  for (const auto& pattern : paths)
    if (pattern == path ||
        (pattern.ends_with('*') && path.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1))))
      return true;
  return false;
}

}  // namespace

RbacAuthorizer::RbacAuthorizer() = default;

bool RbacAuthorizer::Rule::allows(const Attributes& what) const {
  if (what.verb == kOverrideVerb ? !verbs.contains(what.verb) : !has(verbs, what.verb)) return false;
  if (!what.is_resource) return path_matches(paths, what.path);
  if (!has(groups, what.group)) return false;
  const auto full = what.subresource.empty() ? what.resource : what.resource + "/" + what.subresource;
  if (!has(resources, full) && !(!what.subresource.empty() && resources.contains("*/" + what.subresource)))
    return false;
  return names.empty() || names.contains(what.name);
}

RbacAuthorizer::Role RbacAuthorizer::role_of(const Json& object) {
  Role role;
  if (const auto* rules = find_path(object, {"rules"}); rules && rules->is_array())
    for (const auto& rule : rules->get_array())
      role.rules.push_back({words(rule, "verbs"), words(rule, "apiGroups"), words(rule, "resources"),
                            words(rule, "resourceNames"), words(rule, "nonResourceURLs")});
  if (const auto* labels = find_path(object, {"metadata", "labels"})) role.labels = *labels;
  if (const auto* selectors = find_path(object, {"aggregationRule", "clusterRoleSelectors"});
      selectors && selectors->is_array())
    for (const auto& selector : selectors->get_array())
      if (const auto* match = find_path(selector, {"matchLabels"})) role.aggregates.push_back(*match);
  return role;
}

void RbacAuthorizer::set(const Json& object) {
  const auto kind = get_string(object, "kind");
  const auto* metadata = find_path(object, {"metadata"});
  if (!metadata) return;
  const Key key{std::string(get_string(*metadata, "namespace")), std::string(get_string(*metadata, "name"))};
  if (kind == "Role" || kind == "ClusterRole") {
    roles_.insert_or_assign(key, role_of(object));
  } else if (kind == "RoleBinding" || kind == "ClusterRoleBinding") {
    Binding binding;
    if (const auto* ref = find_path(object, {"roleRef"})) {
      binding.cluster_role = get_string(*ref, "kind") == "ClusterRole";
      binding.role = get_string(*ref, "name");
    }
    if (const auto* subjects = find_path(object, {"subjects"}); subjects && subjects->is_array())
      for (const auto& subject : subjects->get_array()) {
        const auto subject_kind = get_string(subject, "kind");
        if (subject_kind == "ServiceAccount")
          binding.subjects.push_back(
              {"User", fmt::format("system:serviceaccount:{}:{}", get_string(subject, "namespace"),
                                   get_string(subject, "name"))});
        else
          binding.subjects.push_back({std::string(subject_kind), std::string(get_string(subject, "name"))});
      }
    bindings_.insert_or_assign(key, std::move(binding));
  }
}

void RbacAuthorizer::erase(std::string_view kind, std::string_view namespace_, std::string_view name) {
  const Key key{std::string(namespace_), std::string(name)};
  if (kind == "Role" || kind == "ClusterRole") roles_.erase(key);
  if (kind == "RoleBinding" || kind == "ClusterRoleBinding") bindings_.erase(key);
}

bool RbacAuthorizer::is_bound(const Binding& binding, const Identity& who) {
  return std::ranges::any_of(binding.subjects, [&who](const Subject& subject) {
    return subject.kind == "User" ? subject.name == who.user
                                  : subject.kind == "Group" && is_member(who, subject.name);
  });
}

void RbacAuthorizer::collect(const Role& role, std::vector<const Rule*>& out) const {
  for (const auto& rule : role.rules) out.push_back(&rule);
  // One level, as an aggregated role holds no rules of its own to aggregate further.
  for (const auto& wanted : role.aggregates)
    for (const auto& [key, other] : roles_)
      if (key.first.empty() && &other != &role && labels_match(wanted, other.labels))
        for (const auto& rule : other.rules) out.push_back(&rule);
}

std::vector<std::pair<const RbacAuthorizer::Rule*, const std::string*>> RbacAuthorizer::rules_of(
    const Identity& who, std::string_view ns) const {
  std::vector<std::pair<const Rule*, const std::string*>> out;
  for (const auto& [key, binding] : bindings_) {
    if (!key.first.empty() && key.first != ns) continue;
    if (!is_bound(binding, who)) continue;
    // A ClusterRoleBinding can only name a ClusterRole; a RoleBinding's Role is of its own namespace.
    if (key.first.empty() && !binding.cluster_role) continue;
    const auto role = roles_.find({binding.cluster_role ? std::string() : key.first, binding.role});
    if (role == roles_.end()) continue;
    std::vector<const Rule*> rules;
    collect(role->second, rules);
    for (const auto* rule : rules) out.emplace_back(rule, &key.second);
  }
  return out;
}

Decision RbacAuthorizer::authorize(const Identity& who, const Attributes& what) const {
  if (is_member(who, kMastersGroup) && what.verb != kOverrideVerb) return {true, "member of system:masters"};
  if (is_member(who, kAuthenticatedGroup)) {
    if (!what.is_resource && what.verb == "get" && path_matches(kDiscoveryPaths, what.path))
      return {true, "discovery is open to everyone who is authenticated"};
    if (what.is_resource && is_self_review(what)) return {true, "everyone may ask about their own rights"};
  }
  // A ClusterRoleBinding holds everywhere, a RoleBinding only where the request names its namespace.
  for (const auto& [rule, binding] : rules_of(who, what.is_resource ? what.namespace_ : std::string_view()))
    if (rule->allows(what)) return {true, fmt::format("allowed by binding \"{}\"", *binding)};
  return {false, {}};
}

JsonArray RbacAuthorizer::rules_for(const Identity& who, std::string_view namespace_) const {
  JsonArray out;
  if (is_member(who, kMastersGroup)) {
    out.push_back(JsonObject{{"verbs", {"*"}}, {"apiGroups", {"*"}}, {"resources", {"*"}}});
    out.push_back(JsonObject{{"verbs", {"*"}}, {"nonResourceURLs", {"*"}}});
  }
  if (is_member(who, kAuthenticatedGroup)) {
    out.push_back(JsonObject{{"verbs", {"create"}},
                             {"apiGroups", {"authorization.k8s.io"}},
                             {"resources", {"selfsubjectaccessreviews", "selfsubjectrulesreviews"}}});
    out.push_back(JsonObject{{"verbs", {"create"}},
                             {"apiGroups", {"authentication.k8s.io"}},
                             {"resources", {"selfsubjectreviews"}}});
    out.push_back(JsonObject{{"verbs", {"get"}}, {"nonResourceURLs", to_array(kDiscoveryPaths)}});
  }
  for (const auto& [rule, binding] : rules_of(who, namespace_)) {
    if (!rule->paths.empty())
      out.push_back(JsonObject{{"verbs", to_array(rule->verbs)}, {"nonResourceURLs", to_array(rule->paths)}});
    if (!rule->resources.empty())
      out.push_back(JsonObject{{"verbs", to_array(rule->verbs)},
                               {"apiGroups", to_array(rule->groups)},
                               {"resources", to_array(rule->resources)},
                               {"resourceNames", to_array(rule->names)}});
  }
  return out;
}

}  // namespace neap::auth
