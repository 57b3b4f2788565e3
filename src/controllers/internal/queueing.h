// Queues: whose turn it is, who waits and for what, what is kept for whom, and which running jobs give back
// what they borrowed.
//
// 1. Where there is a Queue, every waiting TrainingJob and replica of a service is decided here, in turn,
//    over all projects; without one nothing is.
// 2. A job's queue is the one it names, else the one that its project's jobs wait in, else none: unlimited.
//    A queue that does not exist, or cannot be judged, lets nothing start.
// 3. A job that waited long enough gets a reservation: of quota where quota is short, of a place where
//    that is. Those after it in turn start only where they delay neither.
// 4. A running job gives back only what its queue borrowed, to a job within the quota of its own. Replicas
//    do so down to their place's minReplicas, and all of them where their class may fall; those that cannot
//    be asked start within quota or not at all.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "internal/placement.h"
#include "neap/scheduler/admission_round.h"

namespace neap::controllers {

// One queue after a round.
struct QueueStanding {
  std::string problem, next;
  std::map<std::string, std::int64_t> waiting_for;
  std::int64_t waiting = 0, running = 0;
  std::optional<WallTime> reserved_from;
  api::QueueQuota used, borrowed;
  double share_percent = 0;
};

struct QueueRound {
  bool is_made = false;
  // Of each job that asks for a place and was decided: where, or why not.
  std::map<ObjectKey, Placement> placements;
  // Running jobs that stop, and why.
  std::map<ObjectKey, std::string> reclaimed;
  // The same of replicas, by allocation.
  std::map<ObjectKey, Placement> replicas;
  std::map<ObjectKey, std::string> reclaimed_replicas;
  std::map<std::string, QueueStanding> queues;
};

// Whether queues decide who starts. Without them a round is not made.
bool has_queues(const ClusterState& state);
QueueRound plan_queues(const Pass& pass);
bool has_no_place(const api::TrainingJob& job);
WallTime waiting_since(const api::TrainingJob& job);
// Jobs that wait, and no place is held for.
Owners waiting_owners(const Pass& pass);
// It is not suspended, nor was it placed a moment ago: the picture may be older than what this leader wrote,
// and a second plan would promise other nodes under the same names.
bool asks_for_place(const Pass& pass, const api::TrainingJob& job);
// The queue a job waits in; empty: none. A name that only a document of another tool gave, or "default", is
// none where no queue has it: such documents do not say what it is.
std::string queue_of(const ClusterState& state, const api::TrainingJob& job);
std::string queue_of(const ClusterState& state, const api::InferenceService& service);
// The queues with what is held now; work that names none stands in one named "", without a limit.
scheduler::ShareTree share_tree(const Pass& pass, const std::vector<Holding>& holdings);
// What decide() may give each queue now: its use and what it could still have.
std::vector<scheduler::Queue> queues_of(const Pass& pass, const std::vector<Holding>& holdings);
// Accelerator models that some queue's quota or limit names: the axes of that tree after the third.
std::vector<std::string> models_named(const ClusterState& state);
std::map<std::string, scheduler::TurnRules, std::less<>> turn_rules(const ClusterState& state);
scheduler::Amounts amounts_of(const scheduler::ShareTree& tree, const api::Resources& resources);
api::QueueQuota to_quota(const scheduler::Amounts& amounts, const std::vector<std::string>& models);
Task<Status> reconcile_queues(const Pass& pass, const QueueRound& round);

}  // namespace neap::controllers
