// May it go there? Levels, the policy table, and the permit without which nothing is sent.
//
// 1. L1 never leaves its site; no rule can change that.
// 2. What belongs to a Strict location never leaves it in any form, derived or not: said by the dataset, or
//    by a rule with effect strict, which is asked before all others wherever it stands.
// 3. L2 leaves only where a rule allows, only encrypted and only logged.
// 4. L3 leaves unless a rule denies.
// 5. An ExportPermit can be made by permit_export alone, is moved and never copied, and names one
//    source, one destination and one content (by digest or by a bound on its bytes).
// Pure: no clock, no I/O; thread-safe. First rule that matches decides, as api/data.h says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/data.h"
#include "neap/base/id.h"
#include "neap/base/quantity.h"
#include "neap/base/result.h"
#include "neap/base/time.h"
#include "neap/crypto/digest.h"

namespace neap::dataguard {

using Level = api::DataLevel;
std::string_view level_name(Level level);  // "L1"
Result<Level> parse_level(std::string_view text);

// What data is made from several sources has the strictest of their levels. `declassified_by` is set only
// by a declassification (declassify.h) and shows why a level is lower than its sources'.
struct Classification {
  Level level = Level::kL1;
  bool strict = false;  // belongs to a Strict location, or was made from such data
  std::string declassified_by;
};
Level strictest(Level a, Level b);
Classification join(const Classification& a, const Classification& b);

struct Place {
  SiteName site;
  api::Tier tier = api::Tier::kPrivate;
  std::string jurisdiction;
  std::string domain;  // owner; empty when not known
};

struct ExportRequest {
  Place source;
  Place destination;
  Classification data;
  std::string purpose;     // train, infer, store, learn, serve
  bool encrypted = false;  // the caller will seal it on the way
  bool logged = false;     // the caller will record what leaves
  // Which bytes: the digest of the content, or at most so many of a stream whose digest is not known yet.
  std::optional<crypto::Digest> content;
  Bytes bytes_max;
  WallTime expires{};
};

struct Verdict {
  bool allowed = false;
  std::string rule;        // name of the rule or "builtin.*"
  std::string reason;      // one sentence
  std::string declassify;  // a declassification that would make an exportable derivative; may be empty
};

// Rules of all policies that hold for a project, in order.
class DataPolicyTable {
 public:
  DataPolicyTable() = default;
  explicit DataPolicyTable(std::vector<api::DataRule> rules) { append({std::move(rules)}); }
  void append(const api::DataPolicySpec& policy);
  // Adds the rules of `other` where this table has no ordinary ones: a project without a policy of its own
  // follows another's, and strict rules alone are no policy.
  void inherit(const DataPolicyTable& other);
  // For explanations and placement: the same answer permit_export acts on, without encryption and log.
  Verdict judge(const Place& source, const Place& destination, const Classification& data,
                std::string_view purpose) const;
  // Allow and deny rules, in order.
  const std::vector<api::DataRule>& rules() const { return rules_; }
  // True where a strict rule keeps everything made at this site there.
  bool is_strict(const SiteName& site) const;

 private:
  std::vector<api::DataRule> rules_, strict_;
};

class ExportPermit {
 public:
  ExportPermit(ExportPermit&&) noexcept = default;
  ExportPermit& operator=(ExportPermit&&) noexcept = default;
  ExportPermit(const ExportPermit&) = delete;
  ExportPermit& operator=(const ExportPermit&) = delete;

  const ExportRequest& request() const { return request_; }
  const std::string& rule() const { return rule_; }
  // kPermissionDenied `dataguard.permit.expired` / `.content` / `.bytes` / `.destination` when what is about
  // to be sent is not what was permitted.
  Status check(WallTime now, const SiteName& destination, const crypto::Digest& content, Bytes size) const;
  Status check_time(WallTime now) const;

 private:
  friend Result<ExportPermit> permit_export(const ExportRequest& request, const DataPolicyTable& table);
  ExportPermit(ExportRequest request, std::string rule)
      : request_(std::move(request)), rule_(std::move(rule)) {}
  ExportRequest request_;
  std::string rule_;
};

// kPermissionDenied `dataguard.export.*` with the rule that refused and what would help.
Result<ExportPermit> permit_export(const ExportRequest& request, const DataPolicyTable& table);

}  // namespace neap::dataguard
