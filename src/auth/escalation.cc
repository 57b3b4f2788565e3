// Nobody hands out rights they do not have: what a role may say and what a binding may give, judged as
// Kubernetes does ("Privilege escalation prevention and bootstrapping" of its RBAC reference).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "neap/auth/rbac.h"

namespace neap::auth {
namespace {

using Words = std::set<std::string, std::less<>>;

constexpr std::string_view kRbacGroup = "rbac.authorization.k8s.io";
constexpr std::size_t kGrantsMax = 20'000;  // verb times group times resource times name, of one role
constexpr std::size_t kNamedMax = 8;

bool is_same(const Json* before, const Json& after, std::string_view key) {
  const auto* a = before ? find_path(*before, {key}) : nullptr;
  const auto* b = find_path(after, {key});
  return before && (a && b ? *a == *b : !a && !b);
}
Decision refuse(std::string reason) { return {false, std::move(reason)}; }

bool holds(const Words& words, std::string_view word) { return words.contains("*") || words.contains(word); }
bool holds_resource(const Words& words, std::string_view resource) {
  if (holds(words, resource)) return true;
  const auto slash = resource.find('/');
  return slash != std::string_view::npos && words.contains(fmt::format("*{}", resource.substr(slash)));
}
bool holds_path(const Words& words, std::string_view path) {
  return std::ranges::any_of(words, [path](std::string_view own) {
    return own == path || (own.ends_with('*') && path.starts_with(own.substr(0, own.size() - 1)));
  });
}
std::string quoted(const Words& words) { return fmt::format("[\"{}\"]", fmt::join(words, "\",\"")); }

}  // namespace

std::size_t RbacAuthorizer::Rule::grants() const {
  return verbs.size() *
         (groups.size() * resources.size() * std::max<std::size_t>(1, names.size()) + paths.size());
}

std::string RbacAuthorizer::Rule::to_string() const {
  if (resources.empty()) return fmt::format("{{NonResourceURLs:{}, Verbs:{}}}", quoted(paths), quoted(verbs));
  return fmt::format("{{APIGroups:{}, Resources:{}{}, Verbs:{}}}", quoted(groups), quoted(resources),
                     names.empty() ? "" : ", ResourceNames:" + quoted(names), quoted(verbs));
}

// One rule with one word of each kind at a time, so that several rules together can cover a wider one.
void RbacAuthorizer::Rule::split(std::vector<Rule>& out) const {
  for (const auto& verb : verbs) {
    for (const auto& path : paths) out.push_back({{verb}, {}, {}, {}, {path}});
    for (const auto& group : groups)
      for (const auto& resource : resources) {
        if (names.empty()) out.push_back({{verb}, {group}, {resource}, {}, {}});
        for (const auto& name : names) out.push_back({{verb}, {group}, {resource}, {name}, {}});
      }
  }
}

bool RbacAuthorizer::Rule::covers(const Rule& one) const {
  const auto& verb = *one.verbs.begin();
  if (verb == kOverrideVerb ? !verbs.contains(verb) : !holds(verbs, verb)) return false;
  if (!one.paths.empty()) return holds_path(paths, *one.paths.begin());
  return holds(groups, *one.groups.begin()) && holds_resource(resources, *one.resources.begin()) &&
         (names.empty() || (!one.names.empty() && names.contains(*one.names.begin())));
}

Decision RbacAuthorizer::check_covered(const Identity& who, std::string_view ns,
                                       const std::vector<const Rule*>& wanted) const {
  std::size_t grants = 0;
  for (const auto* rule : wanted) grants += rule->grants();
  if (grants > kGrantsMax)
    return refuse(
        fmt::format("the role names {} single rights, and at most {} are compared with one's own; "
                    "write it with fewer words or as several roles",
                    grants, kGrantsMax));
  const auto own = rules_of(who, ns);
  std::vector<Rule> asked;
  for (const auto* rule : wanted) rule->split(asked);
  std::string missing;
  std::size_t count = 0;
  for (const auto& rule : asked) {
    if (std::ranges::any_of(own, [&rule](const auto& mine) { return mine.first->covers(rule); })) continue;
    if (++count <= kNamedMax) missing += "\n" + rule.to_string();
  }
  if (count == 0) return {true, "all of these rights are held"};
  if (count > kNamedMax) missing += fmt::format("\nand {} more", count - kNamedMax);
  return refuse(
      fmt::format("user \"{}\" (groups={}) is attempting to grant RBAC permissions not currently held:{}",
                  who.user, who.groups, missing));
}

Decision RbacAuthorizer::check_role(const Identity& who, const Attributes& what, const Json* before,
                                    const Json& after) const {
  if (is_same(before, after, "rules") && is_same(before, after, "aggregationRule"))
    return {true, "no right is added"};
  auto escalate = what;
  escalate.verb = "escalate";
  if (auto decision = authorize(who, escalate); decision.allowed) return decision;
  auto role = role_of(after);
  // What it will come to hold depends on labels that others set.
  const Rule everything{{"*"}, {"*"}, {"*"}, {}, {}}, every_path{{"*"}, {}, {}, {}, {"*"}};
  std::vector<const Rule*> wanted;
  for (const auto& rule : role.rules) wanted.push_back(&rule);
  if (const auto* aggregation = find_path(after, {"aggregationRule"}); aggregation && !aggregation->is_null())
    wanted = {&everything, &every_path};
  return check_covered(who, what.namespace_, wanted);
}

Decision RbacAuthorizer::check_binding(const Identity& who, const Attributes& what, const Json* before,
                                       const Json& after) const {
  if (is_same(before, after, "roleRef") && is_same(before, after, "subjects"))
    return {true, "nobody is given a right"};
  const auto* ref = find_path(after, {"roleRef"});
  const bool of_cluster = ref && get_string(*ref, "kind") == "ClusterRole";
  const std::string name(ref ? get_string(*ref, "name") : std::string_view());
  auto bind = what;
  bind.verb = "bind";
  bind.resource = of_cluster ? "clusterroles" : "roles";
  bind.name = name;
  if (auto decision = authorize(who, bind); decision.allowed) return decision;
  const auto role = roles_.find({of_cluster ? std::string() : what.namespace_, name});
  if (role == roles_.end())
    return refuse(
        fmt::format("{} \"{}\" is not there, so it cannot be told whether its rights are held; "
                    "create it first",
                    bind.resource, name));
  std::vector<const Rule*> wanted;
  collect(role->second, wanted);
  return check_covered(who, what.namespace_, wanted);
}

Decision RbacAuthorizer::authorize_object(const Identity& who, const Attributes& what, const Json* before,
                                          const Json* after) const {
  const bool writes = what.verb == "create" || what.verb == "update" || what.verb == "patch";
  if (!writes || !after || what.group != kRbacGroup || !what.subresource.empty() ||
      is_member(who, kMastersGroup))
    return {true, {}};
  if (what.resource == "roles" || what.resource == "clusterroles")
    return check_role(who, what, before, *after);
  if (what.resource == "rolebindings" || what.resource == "clusterrolebindings")
    return check_binding(who, what, before, *after);
  return {true, {}};
}

}  // namespace neap::auth
