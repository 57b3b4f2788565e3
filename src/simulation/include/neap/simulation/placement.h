// How much of a cluster's accelerators ends up allocated when a list of tasks arrives in random order and
// nobody leaves: the published experiment of FGD (USENIX ATC 2023), through the engine that packs in
// production.
//
// Every class has the same arrivals, the same rules of what fits, and the same measure; they differ in what
// the engine may do:
//   online    each arrival is seated at once or never; known are the kinds of work that usually come
//   batched   arrivals are seated `window` at a time, as a whole; what is seated stays
//   repacked  online, and an arrival without a seat may have a few others moved or set back to waiting
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "neap/base/result.h"
#include "neap/scheduler/repack.h"
#include "neap/simulation/openb.h"

namespace neap::simulation {

enum class PlacementClass : std::uint8_t { kOnline, kBatched, kRepacked };

struct PlacementOptions {
  // Demand that arrives over all accelerators of the cluster, in (0, 10]; the list is repeated at random up
  // to it, and kept whole where it asks for more.
  double ratio = 1.3;
  std::uint64_t seed = 42;
  PlacementClass placement_class = PlacementClass::kOnline;
  scheduler::PackingRule rule = scheduler::PackingRule::kNeap;
  // kBatched: arrivals seated together; 0: all of them.
  std::size_t window = 0;
  // kRepacked.
  scheduler::RoomLimits room{.set_back_gain_min = 100};
};

struct PlacementResult {
  std::size_t arrived = 0;
  // Tasks that hold a seat at the end.
  std::size_t placed = 0;
  // Tasks that changed their seat, and tasks that lost it, each time they did.
  std::size_t moved = 0, set_back = 0;
  // By load in percent of the cluster's accelerators, rounded: mean percentage allocated over the arrivals at
  // that load. An arrival of a batch reads what is allocated once its batch is seated.
  std::map<int, double> allocated_percent;
};

Result<PlacementResult> replay_placement(const OpenbTrace& trace, const PlacementOptions& options);

}  // namespace neap::simulation
