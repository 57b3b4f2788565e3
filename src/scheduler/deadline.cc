#include "neap/scheduler/deadline.h"

#include <algorithm>
#include <cmath>

namespace neap::scheduler {

std::int64_t pending_after(const DeadlineJob& job, const DeadlineProgress& now, Capacity choice) {
  if (choice.tier == Capacity::Tier::kNone) return 0;
  return choice == now.held ? now.pending_s : job.changeover_s;
}

bool keeps_deadline(const DeadlineJob& job, const DeadlineProgress& now, Capacity choice) {
  const auto pending = pending_after(job, now, choice);
  const bool is_running = choice.tier != Capacity::Tier::kNone;
  const auto done = now.done_s + (is_running ? std::max<std::int64_t>(job.tick_s - pending, 0) : 0);
  const auto left_s = job.work_s - done;
  const auto ticks = (job.deadline_s - now.elapsed_s) / job.tick_s - 1;
  if (left_s <= 0) return ticks >= 0;
  // What already runs on-demand goes on; anything else must be able to start on-demand in the next tick.
  const auto owed = choice.tier == Capacity::Tier::kOnDemand ? std::max<std::int64_t>(pending - job.tick_s, 0)
                                                             : job.changeover_s;
  return ticks >= (left_s + owed + job.tick_s - 1) / job.tick_s;
}

}  // namespace neap::scheduler
