// The bridge between API objects and the decision engine: snapshot, requests, and what to do with a plan.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "internal/limits.h"
#include "internal/reconciler.h"
#include "internal/replicas.h"
#include "neap/dataguard/dataguard.h"
#include "neap/scheduler/scheduler.h"

namespace neap::controllers {

scheduler::InterruptionClass to_scheduler(api::InterruptionClass value);

struct Placement {
  bool placed = false;
  std::vector<std::string> nodes;  // per replica; with victims: once these have gone
  std::vector<scheduler::Victim> victims;
  std::string site, capacity_type;
  std::string message;  // one sentence: why there, or why it waits
  Json explanation;     // the reason tree
};

// Strictest level and total bytes of what a job reads; an error says which input is missing.
struct ResolvedInputs {
  std::vector<api::ArtifactRef> files;
  api::DataLevel level = api::DataLevel::kL3;
  std::int64_t bytes = 0;
  std::vector<std::string> stored_at;
  std::string home, jurisdiction;
  bool strict = false;
};
Result<ResolvedInputs> resolve_inputs(const Pass& pass, const api::TrainingJob& job);

// As at the border: a project without a policy of its own follows the default project's.
dataguard::DataPolicyTable data_policies_of(const ClusterState& state, const std::string& project);

// A place's word for "wherever policy and price say".
inline constexpr std::string_view kAnySite = "*";

// The world as a decision about work of `project` sees it; what `owners` were promised counts as free. A rule
// that does not compile is an error, not a rule less: it may be the one that keeps work in. `with_running`:
// what could make room is in it.
Result<scheduler::Snapshot> snapshot_of(const Pass& pass, const std::string& project, const Owners& owners,
                                        bool with_running = false);
Placement placement_of(const scheduler::Decision& decision, const std::string& currency);
// What a member of the job holds on that node: of several accelerators that would do, the node's.
api::Resources resources_on(const ClusterState& state, const api::TrainingJob& job, const std::string& node);
// An error says what the object names and nothing has.
Result<scheduler::Request> request_of(const Pass& pass, const api::TrainingJob& job,
                                      const ResolvedInputs& inputs);
// The same, held back where its deadline or PrivateFirst says so; where it waits for a time, the error says
// until when (`plan.waits`).
Result<scheduler::Request> job_request(const Pass& pass, const api::TrainingJob& job,
                                       const ResolvedInputs& inputs);
Result<scheduler::Request> replica_request(const Pass& pass, const api::InferenceService& service,
                                           const api::ServicePlace& place, std::int64_t replica);

struct WaitingJob {
  const api::TrainingJob* job = nullptr;
  ResolvedInputs inputs;
};
// Of one project, decided together on one snapshot: by priority, then in this order, each seeing what those
// before it were given. What the jobs were promised earlier counts as free.
std::vector<Placement> place_jobs(const Pass& pass, std::span<const WaitingJob> jobs);
Placement place_job(const Pass& pass, const api::TrainingJob& job, const ResolvedInputs& inputs);
// Replicas of one service, decided together on one snapshot; what is held for them counts as free. All of
// them have a nomination, or none.
std::vector<Placement> place_replicas(const Pass& pass, const api::InferenceService& service,
                                      std::span<const Replica> replicas);
// The allocation that collects a dataset's part where it lies; metadata and owner are the caller's.
Result<api::Allocation> collect_allocation(const Pass& pass, const api::Dataset& dataset,
                                           const api::DataSource& source, const api::CollectStage& stage,
                                           const std::string& version);
api::DatasetVersion merge_parts(api::ObjectMeta meta, const api::Dataset& dataset,
                                const api::CollectStage& stage, std::vector<api::DatasetPart> parts,
                                const std::string& stored_at);

}  // namespace neap::controllers
