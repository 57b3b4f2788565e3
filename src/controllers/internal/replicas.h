// The replicas of a service: which should stand where, which of them ask for a place, and which may be
// spared.
//
// 1. A replica's allocation is named after service, place and its index at the place; it is one replica
//    whatever node it stands on.
// 2. At most `replicas - minReplicas` of a place may be spared, those of the highest index first.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "internal/reconciler.h"

namespace neap::controllers {

struct Replica {
  const api::ServicePlace* place = nullptr;
  std::int64_t index = 0;  // over all places
  std::string name, site;
  const api::Allocation* allocation = nullptr;  // newest that is not ended
};
// Its place works for others; one for which these make room again counts as back.
bool is_lent(const api::InferenceService& service, const std::string& allocation);
// In the order of places. `may_be_lowered`: fewer where a budget lowers concurrency.
std::vector<Replica> all_replicas(const Pass& pass, const api::InferenceService& service,
                                  bool may_be_lowered = true);
// Without those that are lent.
std::vector<Replica> wanted_replicas(const Pass& pass, const api::InferenceService& service);

// The version each replica should answer with, and the shadow of the canary, for the rollout's phase.
struct ReplicaTarget {
  std::string version, shadow;
  bool create = true;
};
bool is_canary(const api::InferenceService& service, const Replica& replica);
ReplicaTarget target_of(const api::InferenceService& service, const Replica& replica);

// Fewest that stay at a place whatever others need.
inline std::int64_t least_replicas(const api::ServicePlace& place) {
  return place.minReplicas.value_or(place.replicas);
}

// It has no allocation, and nothing stands in the way of one: the rollout wants it now, what ended under its
// name is gone, and none was made a moment ago. Those whose place others make room at are not among them.
std::vector<Replica> replicas_without_place(const Pass& pass, const api::InferenceService& service);
// Those at a place that have an allocation and do not stop.
std::int64_t replicas_at(const Pass& pass, const api::InferenceService& service,
                         const api::ServicePlace& place);
// Allocations of replicas that may be stopped for others; none of them stops already.
std::set<ObjectKey> spare_replicas(const Pass& pass, const api::InferenceService& service);
// Since when some replica has no place.
WallTime waiting_since(const Pass& pass, const api::InferenceService& service);

}  // namespace neap::controllers
