// Queue: what its status says after a round.
#include "internal/queueing.h"

namespace neap::controllers {
Task<Status> reconcile_queues(const Pass& pass, const QueueRound& round) {
  Status first_error;
  for (const auto& [key, queue] : pass.state.all<api::Queue>()) {
    const auto found = round.queues.find(key.name);
    if (found == round.queues.end() || queue.metadata.deletionTimestamp) continue;
    const auto& standing = found->second;
    auto next = queue;
    next.status = {.used = standing.used,
                   .borrowed = standing.borrowed,
                   .sharePercent = standing.share_percent,
                   .running = standing.running,
                   .waiting = standing.waiting,
                   .waitingFor = standing.waiting_for,
                   .next = standing.next,
                   .message = standing.problem,
                   .reservedFrom = standing.reserved_from};
    if (same_object(next, queue)) continue;
    auto status = co_await write_status(pass, std::move(next));
    if (!status && first_error) first_error = fail(std::move(status).error(), "queue/" + key.name);
  }
  co_return first_error;
}

}  // namespace neap::controllers
