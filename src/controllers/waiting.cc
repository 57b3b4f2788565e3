// Which work asks for a place, since when, and whether queues decide about it.
#include <algorithm>

#include "internal/preemption.h"
#include "internal/queueing.h"

namespace neap::controllers {

WallTime waiting_since(const api::TrainingJob& job) {
  for (const auto& run : job.status.runs)
    if (run.epoch == job.status.epoch && run.endedAt) return *run.endedAt;
  return job.metadata.creationTimestamp.value_or(WallTime{});
}

bool has_no_place(const api::TrainingJob& job) {
  const auto& phase = job.status.phase;
  return phase != "Reserved" && phase != "Running" && phase != "Draining" && phase != "Succeeded" &&
         phase != "Failed";
}

bool asks_for_place(const Pass& pass, const api::TrainingJob& job) {
  return has_no_place(job) && !job.metadata.deletionTimestamp && !job.spec.suspend &&
         !pass.reserved.is_written(
             {job.metadata.namespace_, member_name(job.metadata.name, job.status.epoch + 1, 0)});
}

Owners waiting_owners(const Pass& pass) {
  Owners out;
  for (const auto& [key, job] : pass.state.all<api::TrainingJob>())
    if (asks_for_place(pass, job) && !nomination_of(job))
      out.insert("TrainingJob/" + key.namespace_ + "/" + key.name);
  return out;
}

bool has_queues(const ClusterState& state) {
  return !state.all<api::Queue>().empty() ||
         std::ranges::any_of(state.all<api::InferenceService>(),
                             [](const auto& entry) { return !entry.second.spec.queue.empty(); }) ||
         std::ranges::any_of(state.all<api::TrainingJob>(), [&](const auto& entry) {
           return !entry.second.spec.queue.empty() && !queue_of(state, entry.second).empty() &&
                  has_no_place(entry.second);
         });
}

}  // namespace neap::controllers
