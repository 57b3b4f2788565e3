// Tide in the server: what services need is learned, what they do not need is lent, and it is back in time.
//
// 1. Demand is in replicas: the requests at once that replicas report, over what one of them takes. It is
// kept
//    for each place in steps of five minutes, for two weeks, in a ConfigMap of the service: a status that
//    large would travel to everybody who follows services, at every step.
// 2. A replica that is lent keeps its place in the service's status: it stops, the job it is lent to gets a
//    nomination for the place, and what the job leaves of it stays the replica's (limits.cc).
// 3. A loan ends at its time, when the forecast or the demand says so, or when the job has gone. Then the
//    place is nominated for the replica, and the job drains like any other victim.
// 4. Nothing is lent before two full days of demand are known, below a place's minReplicas, or during a
//    rollout.
// 5. In a tick few waiting jobs are asked whether a loan would do for them: the first in order always, and as
//    many of the others in turn, so that none waits behind those that no loan is for.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "internal/reconciler.h"
#include "neap/scheduler/tide.h"

namespace neap::controllers {

// Demand at one place of a service.
class PlaceDemand {
 public:
  static constexpr Duration kStep = std::chrono::minutes(5);
  static constexpr std::size_t kStepsMax = 14 * 288;

  // What is needed now. True when a step became history.
  bool observe(WallTime now, double replicas);
  // As text() wrote it; kDataLoss where it is something else.
  Status restore(std::string_view text);
  std::string text() const;
  // Null before the first step is known.
  const scheduler::DemandForecast* forecast() const { return forecast_ ? &*forecast_ : nullptr; }
  const scheduler::DemandHistory& history() const { return history_; }
  double in_use() const { return in_use_; }

 private:
  void append(WallTime step, double peak);

  scheduler::DemandHistory history_;
  std::optional<WallTime> step_;  // that is measured now
  double peak_ = 0, in_use_ = 0;
  std::optional<scheduler::DemandForecast> forecast_;
};

// In which order waiting jobs are asked: the highest priority first, then the oldest.
struct WaitingRank {
  int below_top = 0;  // the priority, negated
  WallTime since;
  ObjectKey job;
  friend auto operator<=>(const WaitingRank&, const WaitingRank&) = default;
};

// Kept by the leader from pass to pass; belongs to the loop's executor.
struct TideTable {
  struct Service {
    bool is_read = false;
    std::map<std::string, PlaceDemand> places;  // by the place's site, as the spec names it
  };
  std::map<ObjectKey, Service> services;
  // The last waiting job that was asked, beside the first in order, whether a loan would do for it.
  std::optional<WaitingRank> asked;
};

// Of the ConfigMap that keeps a service's demand; of a service whose name leaves no room, shortened, with a
// hash of the whole.
std::string tide_history_name(const std::string& service);

}  // namespace neap::controllers
