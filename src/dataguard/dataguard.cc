#include "neap/dataguard/dataguard.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::dataguard {
namespace {

std::string_view tier_name(api::Tier tier) {
  switch (tier) {
    case api::Tier::kPrivate:
      return "private";
    case api::Tier::kPublic:
      return "public";
    case api::Tier::kEdge:
      return "edge";
  }
  return "unknown";
}

bool names(const std::vector<std::string>& list, std::string_view value) {
  return list.empty() ||
         std::ranges::any_of(list, [&](const std::string& entry) { return entry == value || entry == "*"; });
}

bool matches(const api::DataRule& rule, const Place& from, const Place& to, Level level,
             std::string_view purpose) {
  return rule.level == level && names(rule.fromSites, from.site.str()) &&
         names(rule.toSites, to.site.str()) && names(rule.toTiers, tier_name(to.tier)) &&
         names(rule.toJurisdictions, to.jurisdiction) && names(rule.purposes, purpose);
}

std::unexpected<Error> refused(std::string_view reason, const ExportRequest& r, std::string_view why) {
  return fail(Code::kPermissionDenied, fmt::format("dataguard.export.{}", reason),
              fmt::format("{} data may not go from {} to {} for \"{}\": {}", level_name(r.data.level),
                          r.source.site.str(), r.destination.site.str(), r.purpose, why));
}

}  // namespace

std::string_view level_name(Level level) {
  switch (level) {
    case Level::kL1:
      return "L1";
    case Level::kL2:
      return "L2";
    case Level::kL3:
      return "L3";
  }
  return "L1";
}

Result<Level> parse_level(std::string_view text) {
  if (text == "L1") return Level::kL1;
  if (text == "L2") return Level::kL2;
  if (text == "L3") return Level::kL3;
  return fail(Code::kInvalidArgument, "dataguard.level.unknown",
              fmt::format("\"{}\" is no data level; write L1, L2 or L3", text.substr(0, 32)));
}

Level strictest(Level a, Level b) { return std::min(a, b); }

Classification join(const Classification& a, const Classification& b) {
  Classification out;
  out.level = strictest(a.level, b.level);
  out.strict = a.strict || b.strict;
  if (!a.declassified_by.empty() && a.declassified_by == b.declassified_by)
    out.declassified_by = a.declassified_by;
  return out;
}

void DataPolicyTable::append(const api::DataPolicySpec& policy) {
  for (const auto& rule : policy.rules) (rule.effect == "strict" ? strict_ : rules_).push_back(rule);
}

void DataPolicyTable::inherit(const DataPolicyTable& other) {
  if (!rules_.empty()) return;
  rules_ = other.rules_;
  strict_.insert(strict_.end(), other.strict_.begin(), other.strict_.end());
}

bool DataPolicyTable::is_strict(const SiteName& site) const {
  return std::ranges::any_of(strict_, [&](const auto& rule) { return names(rule.fromSites, site.str()); });
}

Verdict DataPolicyTable::judge(const Place& source, const Place& destination, const Classification& data,
                               std::string_view purpose) const {
  // An unnamed place is nowhere, so it is not the same place as another unnamed one.
  if (!source.site.empty() && source.site == destination.site)
    return {true, "builtin.same-site", "the data stays at its site", ""};
  if (data.strict)
    return {false, "builtin.strict", "its location is Strict: nothing made from it leaves", ""};
  for (const api::DataRule& rule : strict_)
    if (names(rule.fromSites, source.site.str()))
      return {false, rule.name,
              fmt::format("rule {} keeps everything made at {} there", rule.name, source.site.str()), ""};
  std::string declassify;
  for (const api::DataRule& rule : rules_) {
    if (!matches(rule, source, destination, data.level, purpose)) continue;
    if (declassify.empty()) declassify = rule.declassify;
    if (data.level == Level::kL1) continue;
    if (rule.effect == "allow") {
      if (!rule.declassify.empty() && data.declassified_by != rule.declassify)
        return {false, rule.name,
                fmt::format("rule {} asks for declassification {} first", rule.name, rule.declassify),
                rule.declassify};
      return {true, rule.name, fmt::format("rule {} allows it", rule.name), ""};
    }
    return {false, rule.name, fmt::format("rule {} denies it", rule.name), rule.declassify};
  }
  switch (data.level) {
    case Level::kL1:
      return {false, "builtin.l1", "L1 data never leaves its site", ""};
    case Level::kL2:
      return {false, "builtin.l2", "no rule allows it; name the destination in an allow rule of a DataPolicy",
              declassify};
    case Level::kL3:
      return {true, "builtin.l3", "public data leaves unless a rule denies it", ""};
  }
  return {false, "builtin.unknown", "its level is not known", ""};
}

Status ExportPermit::check_time(WallTime now) const {
  if (now < request_.expires) return {};
  return fail(Code::kPermissionDenied, "dataguard.permit.expired",
              fmt::format("the permit under {} ended at {}; ask for a new one", rule_,
                          format_rfc3339(request_.expires)));
}

Status ExportPermit::check(WallTime now, const SiteName& destination, const crypto::Digest& content,
                           Bytes size) const {
  NEAP_TRY_VOID(check_time(now));
  if (destination != request_.destination.site)
    return fail(
        Code::kPermissionDenied, "dataguard.permit.destination",
        fmt::format("the permit is for {}, not for {}", request_.destination.site.str(), destination.str()));
  if (request_.content && *request_.content != content)
    return fail(
        Code::kPermissionDenied, "dataguard.permit.content",
        fmt::format("the permit is for {}, not for {}", request_.content->to_string(), content.to_string()));
  if (request_.bytes_max.value > 0 && size > request_.bytes_max)
    return fail(Code::kPermissionDenied, "dataguard.permit.bytes",
                fmt::format("{} bytes exceed the permit's {}", size.value, request_.bytes_max.value));
  return {};
}

Result<ExportPermit> permit_export(const ExportRequest& request, const DataPolicyTable& table) {
  if (request.source.site.empty() || request.destination.site.empty())
    return refused("place", request, "source and destination must be named sites");
  if (!request.content && request.bytes_max.value <= 0)
    return refused("content", request, "a permit names the digest of the content or a bound on its bytes");
  const Verdict verdict = table.judge(request.source, request.destination, request.data, request.purpose);
  if (!verdict.allowed) {
    const std::string help =
        verdict.declassify.empty() ? "" : fmt::format("; a derivative made by {} may go", verdict.declassify);
    return refused(request.data.level == Level::kL1 ? "l1"
                   : request.data.strict            ? "strict"
                                                    : "denied",
                   request, verdict.reason + help);
  }
  const bool leaves = request.source.site != request.destination.site;
  if (leaves && request.data.level != Level::kL3) {
    if (!request.encrypted) return refused("plain", request, "it leaves only encrypted");
    if (!request.logged) return refused("unlogged", request, "it leaves only when the export is recorded");
  }
  return ExportPermit(request, verdict.rule);
}

}  // namespace neap::dataguard
