#include "neap/auth/audit_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace neap::auth {
namespace {

using namespace std::string_view_literals;
using Words = std::vector<std::string>;

constexpr std::array kLevels{"None"sv, "Metadata"sv, "Request"sv, "RequestResponse"sv};
constexpr std::array kPolicyMembers{"apiVersion"sv, "kind"sv,  "metadata"sv,
                                    "omitStages"sv, "rules"sv, "omitManagedFields"sv};
constexpr std::array kRuleMembers{"level"sv,      "users"sv,           "userGroups"sv,
                                  "verbs"sv,      "resources"sv,       "namespaces"sv,
                                  "omitStages"sv, "nonResourceURLs"sv, "omitManagedFields"sv};
constexpr std::size_t kRulesMax = 1000;

std::unexpected<Error> wrong(std::string message) {
  return fail(Code::kInvalidArgument, "auth.audit.policy", std::move(message));
}

Result<Words> words(const Json& object, std::string_view key) {
  Words out;
  const auto* list = find_path(object, {key});
  if (!list || list->is_null()) return out;
  if (!list->is_array()) return wrong(fmt::format("{} must be a list of words", key));
  for (const auto& item : list->get_array()) {
    if (!item.is_string()) return wrong(fmt::format("{} must be a list of words", key));
    out.emplace_back(std::string_view(item.get_string()));
  }
  return out;
}

Status check_members(const Json& value, const auto& known, std::string_view where) {
  if (!value.is_object()) return wrong(fmt::format("{} must be an object", where));
  for (const auto& [key, member] : value.get_object())
    if (std::ranges::find(known, std::string_view(key)) == known.end())
      return wrong(fmt::format("{} has no member \"{}\"", where, std::string_view(key)));
  return ok();
}

bool holds(const Words& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}
bool holds_or_all(const Words& words, std::string_view word) {
  return words.empty() || holds(words, "*") || holds(words, word);
}

// "pods", "pods/log", "pods/*", "*/status", "*".
bool names_resource(std::string_view pattern, const Attributes& what) {
  if (pattern == "*") return true;
  const auto slash = pattern.find('/');
  if (slash == pattern.npos) return what.subresource.empty() && pattern == what.resource;
  const auto resource = pattern.substr(0, slash), sub = pattern.substr(slash + 1);
  return (resource == "*" || resource == what.resource) &&
         (sub == what.subresource || (sub == "*" && !what.subresource.empty()));
}

bool path_fits(std::string_view pattern, std::string_view path) {
  if (pattern.ends_with('*')) return path.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == path;
}

}  // namespace

std::string_view audit_level_name(AuditLevel level) { return kLevels[std::size_t(level)]; }

bool carries_secrets(const Attributes& what) {
  return (what.group.empty() && (what.resource == "secrets" ||
                                 (what.resource == "serviceaccounts" && what.subresource == "token"))) ||
         (what.group == "authentication.k8s.io" && what.resource == "tokenreviews");
}

bool AuditPolicy::Rule::matches(const Identity& who, const Attributes& what) const {
  if (!users.empty() && !holds(users, who.user)) return false;
  if (!groups.empty() &&
      std::ranges::none_of(groups, [&](const auto& group) { return is_member(who, group); }))
    return false;
  if (!holds_or_all(verbs, what.verb)) return false;
  if (!what.is_resource) {
    if (!resources.empty() || !namespaces.empty()) return false;
    return paths.empty() ||
           std::ranges::any_of(paths, [&](const auto& p) { return path_fits(p, what.path); });
  }
  if (!paths.empty()) return false;
  if (!namespaces.empty() && !holds(namespaces, what.namespace_)) return false;
  return resources.empty() || std::ranges::any_of(resources, [&](const Resources& one) {
           if (one.group != "*" && one.group != what.group) return false;
           if (!one.names.empty() && !holds(one.names, what.name)) return false;
           return one.resources.empty() ||
                  std::ranges::any_of(one.resources, [&](const auto& p) { return names_resource(p, what); });
         });
}

Result<AuditPolicy::Rule> AuditPolicy::read_rule(const Json& value, bool omits_managed_fields) {
  NEAP_TRY_VOID(check_members(value, kRuleMembers, "a rule"));
  Rule out;
  const auto level = std::ranges::find(kLevels, get_string(value, "level"));
  if (level == kLevels.end()) return wrong("level must be None, Metadata, Request or RequestResponse");
  out.level = AuditLevel(level - kLevels.begin());
  NEAP_TRY(out.users, words(value, "users"));
  NEAP_TRY(out.groups, words(value, "userGroups"));
  NEAP_TRY(out.verbs, words(value, "verbs"));
  NEAP_TRY(out.namespaces, words(value, "namespaces"));
  NEAP_TRY(out.paths, words(value, "nonResourceURLs"));
  out.omits_managed_fields = get_bool(value, "omitManagedFields", omits_managed_fields);
  if (const auto* list = find_path(value, {"resources"}); list && list->is_array())
    for (const auto& item : list->get_array()) {
      NEAP_TRY_VOID(
          check_members(item, std::array{"group"sv, "resources"sv, "resourceNames"sv}, "resources[]"));
      Resources one;
      one.group = get_string(item, "group");
      NEAP_TRY(one.resources, words(item, "resources"));
      NEAP_TRY(one.names, words(item, "resourceNames"));
      out.resources.push_back(std::move(one));
    }
  if (!out.paths.empty() && !out.resources.empty())
    return wrong("a rule is about resources or about nonResourceURLs, not both");
  return out;
}

Result<AuditPolicy> AuditPolicy::parse(const Json& document) {
  NEAP_TRY_VOID(check_members(document, kPolicyMembers, "the policy"));
  if (get_string(document, "apiVersion") != "audit.k8s.io/v1" || get_string(document, "kind") != "Policy")
    return wrong("the policy must be of apiVersion audit.k8s.io/v1 and kind Policy");
  const auto* rules = find_path(document, {"rules"});
  if (!rules || !rules->is_array() || rules->get_array().empty() || rules->get_array().size() > kRulesMax)
    return wrong(fmt::format("rules must be a list of 1 to {} rules", kRulesMax));
  AuditPolicy out;
  for (const auto& value : rules->get_array()) {
    auto rule = read_rule(value, get_bool(document, "omitManagedFields"));
    if (!rule) return wrong(fmt::format("rules[{}]: {}", out.rules_.size(), rule.error().message));
    out.rules_.push_back(*std::move(rule));
  }
  return out;
}

const AuditPolicy::Rule* AuditPolicy::rule_for(const Identity& who, const Attributes& what) const {
  const auto at = std::ranges::find_if(rules_, [&](const Rule& rule) { return rule.matches(who, what); });
  return at == rules_.end() ? nullptr : &*at;
}

AuditLevel AuditPolicy::level_of(const Identity& who, const Attributes& what) const {
  const auto* rule = rule_for(who, what);
  const auto level = rule ? rule->level : AuditLevel::kNone;
  return carries_secrets(what) ? std::min(level, AuditLevel::kMetadata) : level;
}

bool AuditPolicy::omits_managed_fields(const Identity& who, const Attributes& what) const {
  const auto* rule = rule_for(who, what);
  return rule && rule->omits_managed_fields;
}

}  // namespace neap::auth
