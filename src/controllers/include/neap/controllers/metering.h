// Metering: what allocations held and what bytes crossed, as bill lines in the usage ledger.
//
// 1. The ledger is the truth: what was billed is read back at start, so a restart bills nothing twice.
// 2. An allocation is billed from its own monotonic runSeconds, in increments, at the price of the moment;
//    a transfer once, by its id.
// 3. A line is counted only after the ledger has taken it. Sums are sums of lines.
// Belongs to one executor.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "neap/base/task.h"
#include "neap/base/time.h"
#include "neap/controllers/cluster_state.h"
#include "neap/controllers/spending.h"
#include "neap/finops/report.h"

namespace neap::controllers {

class Metering final : public Spending {
 public:
  // Appends one entry to the usage ledger; durable when it returns.
  using Append = std::function<Task<Status>(Json)>;
  Metering(Append append, const Clock& clock) : append_(std::move(append)), clock_(clock) {}

  // One entry read back from the ledger, and when it was written there.
  Status restore(const Json& entry, WallTime at);
  // Lines count in the day they were written.
  MoneyMicros spent(const std::string& project, WallTime start, WallTime end) const override;
  finops::Outlook outlook(const std::string& project, const finops::PeriodBounds& period,
                          WallTime now) const override;
  std::int64_t billed_milliseconds(const std::string& allocation_uid) const override;
  // Bills what allocations have held since the last time.
  Task<Status> bill_allocations(const ClusterState& state);
  // No-op for a transfer id that was billed, and inside one site.
  Task<Status> bill_transfer(const ClusterState& state, finops::TransferUsage usage);
  const std::vector<finops::UsageLine>& lines() const { return lines_; }
  // {"currency","total_micros","lines":[{project,team,model,kind,micros}],"all_public_micros",
  //  "all_private_micros","outlook":[{project,so_far_micros,expected_micros,low_micros,high_micros}] (this
  //  month), "anomalies":[{project,day,amount_micros,expected_micros,cause,sentence}] (two weeks),
  //  "usage":[...]}; an empty project means all that `may_read` names (unset: every one).
  using MayRead = std::function<bool(const std::string&)>;
  Result<Json> report(const ClusterState& state, std::string_view project,
                      const MayRead& may_read = {}) const;

 private:
  void count(const finops::UsageLine& line, std::int64_t day);
  void report_trends(JsonObject& out, std::string_view project, const MayRead& may_read) const;
  Task<Status> record(std::vector<finops::UsageLine> lines, std::string billed_key,
                      std::int64_t billed_until);

  Append append_;
  const Clock& clock_;
  std::vector<finops::UsageLine> lines_;
  std::map<std::string, std::int64_t> billed_ms_;  // allocation uid
  struct ProjectSpend {
    finops::DailySpend daily;
    std::map<std::string, finops::DailySpend> parts;  // "site hq", "model defect", "team quality"
  };
  std::map<std::string, ProjectSpend, std::less<>> spend_;  // by project
  std::set<std::string> transfers_;
};

Json to_json(const finops::UsageLine& line);
Result<finops::UsageLine> usage_line_from_json(const Json& value);

}  // namespace neap::controllers
