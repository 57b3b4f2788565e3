// Who makes room for whom, between a decision and its effect.
//
// 1. A pending job that decide() found victims for keeps a nomination in its status: the nodes it will get.
//    They count as held from then on, so nobody else is placed there. A job that moves home keeps one while
//    it drains.
// 2. A job that reads its own current epoch in a nomination drains as for any other interruption: its agents
//    stop it at a checkpoint. Its next epoch is not meant any more.
// 3. The nominated job is placed once the victims have gone, and whoever else was told to leave its nodes;
//    where that fails, because a node was lost meanwhile, the nomination is dropped and decided anew.
// 4. Replicas of services are nominated like jobs, each for itself, in the status of their service. Those
//    above their place's minReplicas, and those whose class may fall, make room like jobs: a victim of epoch
//    kReplica is named after its allocation.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "internal/limits.h"
#include "internal/placement.h"

namespace neap::controllers {

struct Priority {
  int value = 0;
  bool may_preempt = true;
  // Work of this class makes room even if it must not be interrupted.
  bool never_may_fall = false;
};
// Of the PriorityClass of that name, or the one that is the default; 0 where there is none.
Priority priority_of(const ClusterState& state, const std::string& priority_class);

// Jobs that hold what `holdings` says, as the scheduler weighs them.
std::vector<scheduler::RunningGang> running_of(const Pass& pass, const std::vector<Holding>& holdings);

// Null where there is none that counts.
const api::Nomination* nomination_of(const api::TrainingJob& job);

inline constexpr std::int64_t kReplica = -1;

struct Claim {
  std::string claimant;  // "project/name" of a job, or of a replica's allocation
  const api::NominationVictim* victim;
};
// By what is to make room: jobs, and allocations of replicas.
struct Claims {
  std::map<ObjectKey, Claim> jobs, replicas;
};
Claims claims_of(const Pass& pass);
// The claim on the job's current epoch.
const Claim* find_claim(const Claims& claims, const api::TrainingJob& job);

// What becomes of a pending job that was not placed: it keeps, drops or gets a nomination.
Task<Status> nominate(const Pass& pass, api::TrainingJob& job, const Placement& placement);
// The same for a replica of a service, by the name of its allocation; the service's message says what it
// waits for.
Task<Status> nominate(const Pass& pass, api::InferenceService& service, const std::string& allocation,
                      const Placement& placement);
// Says on the victim why it ends.
Task<Status> note_preempted(const Pass& pass, api::TrainingJob& job, const Claim& claim);

}  // namespace neap::controllers
