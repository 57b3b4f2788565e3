// What queues and budgets count, for the scheduler's snapshot and for their own status.
//
// 1. What was promised counts like what is held: two requests of one pass cannot both get the last of it.
// 2. Committed is price x time still expected. A job with an expectedDuration counts what of it is not billed
//    yet. Work that states none counts to the period's end under a hard budget, an hour ahead otherwise; so
//    do jobs that run longer than they said, an hour ahead.
// 3. Times are taken by the full minute, so that a picture that did not change gives the same amounts.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "internal/reconciler.h"
#include "neap/scheduler/scheduler.h"

namespace neap::controllers {

// Collecting and other work of the platform itself.
inline constexpr Duration kShortWork = std::chrono::hours(1);

// Points into the picture and the reservations it was made from.
struct Holding {
  std::string_view project, node, owner_kind, owner_name;
  const api::Resources* resources;
  const api::Allocation* allocation = nullptr;  // null: promised
  bool is_nominated = false;                    // promised once others have made room
  // Those of its node that count as its own; filled with the snapshot, empty where they cannot be told.
  std::vector<std::uint16_t> devices = {};
  // Where `resources` is no object's own.
  std::shared_ptr<const api::Resources> kept = {};
};
// Allocations that are not ended, and what is promised to ones that the picture does not show yet: by this
// leader a moment ago, or by an epoch that was planned before a restart. `owners` ask for a new place: what
// they were promised before does not count.
using Owners =
    std::set<std::string, std::less<>>;  // "KIND/NAMESPACE/NAME", or "Replica/NAMESPACE/ALLOCATION"
std::vector<Holding> holdings_of(const Pass& pass, const Owners& owners);

// `placement.budget`, `budget.amount` where it cannot be judged.
Result<scheduler::ProjectBudget> budget_of(const Pass& pass, const api::Budget& budget,
                                           const std::vector<Holding>& holdings,
                                           const finops::PriceBook& prices);
// Those of one project. `placement.budget` where a hard budget cannot be judged: it may be the one that keeps
// work from starting.
Result<std::vector<scheduler::ProjectBudget>> budgets_of(const Pass& pass, const std::string& project,
                                                         const std::vector<Holding>& holdings,
                                                         const finops::PriceBook& prices);
// The budget that stops this job now; null where there is none, or the job could not go on from where it is.
const api::Budget* pausing_budget(const Pass& pass, const api::TrainingJob& job);
// Whether a budget keeps the project's services at their fewest replicas now.
bool is_lowered(const Pass& pass, const std::string& project);

}  // namespace neap::controllers
