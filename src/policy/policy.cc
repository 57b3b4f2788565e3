#include "neap/policy/policy.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <set>

#include "neap/policy/environment.h"

namespace neap::policy {
namespace {

constexpr std::array<std::string_view, 3> kTierNames{"edge", "private", "public"};
constexpr std::array<std::string_view, 4> kCapacityNames{"owned", "reserved", "on-demand", "spot"};
constexpr std::array<std::string_view, 3> kEffectNames{"require", "forbid", "prefer"};
constexpr std::size_t kRulesMax = 1000;
constexpr double kPreferWeightDefault = 10;

char fold(char c) {
  if (c == '_') return '-';
  return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
}
bool same_word(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (fold(a[i]) != fold(b[i])) return false;
  return true;
}
bool contains_word(std::string_view text, std::string_view word) {
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i)
    if (i == text.size() || fold(text[i]) == '-') {
      if (same_word(text.substr(start, i - start), word)) return true;
      start = i + 1;
    }
  return false;
}
std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\n'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\n'))
    text.remove_suffix(1);
  return text;
}
std::string_view unquoted(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && (text.front() == '\'' || text.front() == '"') && text.back() == text.front())
    return text.substr(1, text.size() - 2);
  return text;
}

bool label_matches(const SiteFacts& site, std::string_view word) {
  const auto equals = word.find('=');
  for (const auto& [key, held] : site.labels) {
    if (equals == std::string_view::npos ? same_word(held, word)
                                         : key == word.substr(0, equals) && held == word.substr(equals + 1))
      return true;
  }
  return false;
}

std::string refuse_unknown_fields(const JsonObject& object, std::initializer_list<std::string_view> known) {
  for (const auto& member : object) {
    bool found = false;
    for (const auto name : known) found |= std::string_view(member.key()) == name;
    if (!found) return std::string(member.key());
  }
  return {};
}

std::unexpected<Error> bad_field(std::string_view where, std::string_view what) {
  return fail(Code::kInvalidArgument, "policy.field.invalid", fmt::format("{}: {}", where, what));
}
std::unexpected<Error> unknown_field(std::string_view where, std::string_view field, std::string_view known) {
  return fail(
      Code::kInvalidArgument, "policy.field.unknown",
      fmt::format("{} has a field \"{}\" that means nothing there; fields are {}", where, field, known));
}

// A CEL string literal of any text.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace

std::string_view tier_name(Tier tier) { return kTierNames[std::size_t(tier)]; }
std::optional<Tier> parse_tier(std::string_view text) {
  for (std::size_t i = 0; i < kTierNames.size(); ++i)
    if (kTierNames[i] == text) return Tier(i);
  return {};
}
std::string_view capacity_type_name(CapacityType type) { return kCapacityNames[std::size_t(type)]; }
std::optional<CapacityType> parse_capacity_type(std::string_view text) {
  for (std::size_t i = 0; i < kCapacityNames.size(); ++i)
    if (same_word(kCapacityNames[i], text)) return CapacityType(i);
  return {};
}
std::string_view effect_name(Effect effect) { return kEffectNames[std::size_t(effect)]; }

ResolvedTarget resolve_target(std::string_view word, std::span<const SiteFacts> sites) {
  ResolvedTarget out{TargetMeaning::kUnknown, std::vector<bool>(sites.size(), false)};
  const auto mark = [&](TargetMeaning meaning, auto matches) {
    if (out.meaning != TargetMeaning::kUnknown) return;
    for (std::size_t i = 0; i < sites.size(); ++i)
      if (matches(sites[i])) {
        out.sites[i] = true;
        out.meaning = meaning;
      }
  };
  word = trim(word);
  if (word.empty()) {
    out.meaning = TargetMeaning::kAnything;
    out.sites.assign(sites.size(), true);
    return out;
  }
  mark(TargetMeaning::kName, [&](const SiteFacts& site) { return same_word(site.name, word); });
  mark(TargetMeaning::kAlias, [&](const SiteFacts& site) {
    for (const auto& alias : site.aliases)
      if (same_word(alias, word)) return true;
    return false;
  });
  mark(TargetMeaning::kLabel, [&](const SiteFacts& site) { return label_matches(site, word); });
  if (out.meaning != TargetMeaning::kUnknown) return out;
  for (std::size_t t = 0; t < kTierNames.size(); ++t) {
    if (!contains_word(word, kTierNames[t])) continue;
    // Also where no such site exists: a rule that asks for the edge must not mean anything else then.
    out.meaning = TargetMeaning::kTierWord;
    for (std::size_t i = 0; i < sites.size(); ++i)
      if (sites[i].tier == Tier(t)) out.sites[i] = true;
  }
  return out;
}

Result<PolicyRule> make_rule(std::string_view name, std::string_view condition, std::string_view action) {
  PolicyRule rule;
  rule.name = name;
  rule.action = action;
  auto compiled = compile(condition, placement_environment());
  if (!compiled)
    return fail(std::move(compiled).error(), fmt::format("reading the condition of rule \"{}\"", name));
  rule.condition = *std::move(compiled);

  const auto text = trim(action);
  const auto open = text.find('(');
  const auto bad = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, "policy.action.syntax",
                fmt::format("rule \"{}\": the action \"{}\" {}; write schedule_to(PLACE), forbid(PLACE), "
                            "prefer(PLACE, POINTS) or avoid(PLACE)",
                            name, action, why));
  };
  if (open == std::string_view::npos || text.back() != ')') return bad("has no (PLACE)");
  const auto verb = trim(text.substr(0, open));
  auto place = text.substr(open + 1, text.size() - open - 2);
  std::optional<double> points;
  if (const auto comma = place.rfind(','); comma != std::string_view::npos) {
    const std::string number(trim(place.substr(comma + 1)));
    char* end = nullptr;
    points = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0' || !std::isfinite(*points) || std::fabs(*points) > 1e6)
      return bad("has points that are no number up to a million");
    place = place.substr(0, comma);
  }
  rule.target = unquoted(place);
  if (rule.target.empty()) return bad("names no place");
  if (rule.target.find_first_of("()") != std::string::npos) return bad("nests parentheses");
  if (verb == "schedule_to" || verb == "require") {
    rule.effect = Effect::kRequire;
  } else if (verb == "forbid" || verb == "never") {
    rule.effect = Effect::kForbid;
  } else if (verb == "prefer" || verb == "avoid") {
    rule.effect = Effect::kPrefer;
    rule.weight = points.value_or(kPreferWeightDefault) * (verb == "avoid" ? -1 : 1);
  } else {
    return bad(fmt::format("begins with \"{}\"", verb));
  }
  if (points && rule.effect != Effect::kPrefer) return bad("has points, which only a preference takes");
  if (rule.target == "*") rule.target.clear();
  if (const auto type = parse_capacity_type(rule.target)) {
    rule.capacity_type = type;
    rule.target.clear();
  }
  return rule;
}

Result<std::vector<PolicyRule>> rules_from_policy_list(const Json& document) {
  constexpr std::string_view kWhere = "the policy list";
  const auto* top = document.if_object();
  const auto* list = top ? top->if_contains("SchedulingPolicy") : nullptr;
  if (!list || !list->is_array())
    return bad_field(kWhere, "needs the top key SchedulingPolicy with a list of {name, condition, action}");
  if (const auto field = refuse_unknown_fields(*top, {"SchedulingPolicy"}); !field.empty())
    return unknown_field(kWhere, field, "SchedulingPolicy");
  if (list->get_array().size() > kRulesMax)
    return bad_field(kWhere, fmt::format("more than {} rules", kRulesMax));
  std::vector<PolicyRule> rules;
  std::set<std::string> names;
  for (const auto& entry : list->get_array()) {
    const auto where = fmt::format("rule {} of the policy list", rules.size() + 1);
    if (!entry.is_object()) return bad_field(where, "is not an object with name, condition and action");
    if (const auto field = refuse_unknown_fields(entry.get_object(), {"name", "condition", "action"});
        !field.empty())
      return unknown_field(where, field, "name, condition, action");
    for (const std::string_view field : {"name", "condition", "action"})
      if (get_string(entry, field).empty())
        return bad_field(where, fmt::format("\"{}\" is missing or no text", field));
    NEAP_TRY(auto rule, make_rule(get_string(entry, "name"), get_string(entry, "condition"),
                                  get_string(entry, "action")));
    if (!names.insert(rule.name).second)
      return bad_field(where,
                       fmt::format("the name \"{}\" is taken by an earlier rule; rename one", rule.name));
    rules.push_back(std::move(rule));
  }
  return rules;
}

namespace {

Status add_hybridcloud_constraint(const Json& constraint, std::string_view prefix, std::string_view selects,
                                  std::vector<PolicyRule>& rules) {
  if (!constraint.is_object()) return bad_field(prefix, "is not an object with type, threshold and action");
  if (const auto field = refuse_unknown_fields(constraint.get_object(), {"type", "threshold", "action"});
      !field.empty())
    return unknown_field(prefix, field, "type, threshold, action");
  const auto type = get_string(constraint, "type"), action = get_string(constraint, "action");
  const auto threshold = get_string(constraint, "threshold");
  if (type == "Latency" && action == "ForceEdge") {
    // By tier and not by the word: some site may be called "edge".
    NEAP_TRY(auto edge, make_rule(fmt::format("{}/ForceEdge", prefix),
                                  fmt::format("{} && site.tier != 'edge'", selects), "forbid(*)"));
    rules.push_back(std::move(edge));
    if (threshold.empty()) return ok();
    NEAP_TRY(const auto limit, parse_duration(threshold));
    NEAP_TRY(auto far,
             make_rule(fmt::format("{}/Latency", prefix),
                       fmt::format("{} && has(site.rtt) && site.rtt > {}", selects, format_duration(limit)),
                       "forbid(*)"));
    rules.push_back(std::move(far));
    return ok();
  }
  if (type == "Cost" && action == "PreemptibleCloud") {
    std::string cheap = "price.spot < price.spot_median_30d";
    if (threshold != "spot-price-low") {
      const std::string number(threshold);
      char* end = nullptr;
      const double limit = std::strtod(number.c_str(), &end);
      if (number.empty() || *end != '\0' || !(limit > 0) || !std::isfinite(limit))
        return bad_field(prefix, "threshold of Cost is \"spot-price-low\" or a price per hour");
      cheap = fmt::format("price.spot < double({})", quoted(number));
    }
    NEAP_TRY(auto spot, make_rule(fmt::format("{}/PreemptibleCloud", prefix),
                                  fmt::format("{} && {}", selects, cheap), "prefer(spot, 20)"));
    rules.push_back(std::move(spot));
    return ok();
  }
  return bad_field(
      prefix, fmt::format("type \"{}\" with action \"{}\" is not known; use Latency with ForceEdge or Cost "
                          "with PreemptibleCloud",
                          type, action));
}

}  // namespace

Result<std::vector<PolicyRule>> rules_from_hybridcloud_policy(const Json& document) {
  const auto* meta_name = find_path(document, {"metadata", "name"});
  const std::string name =
      meta_name && meta_name->is_string() ? std::string(meta_name->get_string()) : "policy";
  if (get_string(document, "apiVersion") != "ai.hybridcloud/v1" ||
      get_string(document, "kind") != "SchedulingPolicy")
    return bad_field(name, "is not an ai.hybridcloud/v1 SchedulingPolicy");
  const auto* spec = find_path(document, {"spec"});
  if (!spec || !spec->is_object()) return bad_field(name, "has no spec");
  if (const auto field = refuse_unknown_fields(spec->get_object(), {"priorityClass", "constraints"});
      !field.empty())
    return unknown_field(fmt::format("{}: spec", name), field, "priorityClass, constraints");
  const auto priority = get_string(*spec, "priorityClass");
  if (priority.empty()) return bad_field(name, "spec.priorityClass is missing, so nothing is selected");
  const auto* constraints = find_path(*spec, {"constraints"});
  if (!constraints || !constraints->is_array())
    return bad_field(name, "spec.constraints is missing or no list");
  if (constraints->get_array().size() > kRulesMax) return bad_field(name, "has too many constraints");
  const auto selects = fmt::format("task.priority_class == {}", quoted(priority));
  std::vector<PolicyRule> rules;
  std::size_t at = 0;
  for (const auto& constraint : constraints->get_array())
    NEAP_TRY_VOID(add_hybridcloud_constraint(constraint, fmt::format("{}[{}]", name, at++), selects, rules));
  return rules;
}

}  // namespace neap::policy
