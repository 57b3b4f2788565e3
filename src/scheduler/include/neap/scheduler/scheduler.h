// The decision engine: one pure function from a snapshot and requests to a plan with reasons.
//
// Guards are asked first and never lose to a score. Gangs are placed whole or not at all. The same inputs
// give the same plan: ties go to the lower site name, then the lower node name.
//
// Thread safety: pure functions; distinct calls may run at once on one snapshot. Cost: O(nodes) to begin,
// then about O(nodes / 8) simple operations a replica for requests of a shape seen before (see README).
#pragma once

#include <cstdint>
#include <span>

#include "neap/scheduler/plan.h"
#include "neap/scheduler/request.h"
#include "neap/scheduler/snapshot.h"

namespace neap::scheduler {

// Shares of the total; need not sum to 1.
struct Weights {
  double cost = 0.35;
  double latency = 0.20;
  double gravity = 0.15;
  double fragmentation = 0.15;
  double utilisation = 0.10;
  double spread = 0.05;
  double carbon = 0;
};

// `load` is the share of serving capacity in use (0..1): above 0.7 weight moves from cost to latency, all of
// it at 1; a service that misses its objective counts as full load.
Weights adapt_weights(Weights base, double load, bool misses_objective);

// The weight of cost on carbon instead: what a request with CostStrategy::kLowestCarbon is scored by.
Weights carbon_first(Weights base);

// Which scorer orders the admitted places; see profiles.h.
enum class Profile : std::uint8_t { kWeighted, kHeadroom, kLatencyFirst, kTiered };

struct Options {
  WallTime now{};
  // Not used by any present rule: every tie is broken by name.
  std::uint64_t seed = 0;
  Weights weights;
  Profile profile = Profile::kWeighted;
  // Reasons for every node of every site, not only per site.
  bool explains_nodes = false;
  // Pending requests of distinct shape that get "what would make it fit"; each costs a few extra decisions.
  std::size_t suggestions_max = 4;
};

Plan decide(const Snapshot& snapshot, std::span<const Request> requests, const Options& options);

// The snapshot after a plan's placements: free capacity, queue usage and committed spend.
void apply_plan(Snapshot& snapshot, std::span<const Request> requests, const Plan& plan);
// Snapshot and request after a suggested change.
void apply_change(Snapshot& snapshot, Request& request, const Change& change);

}  // namespace neap::scheduler
