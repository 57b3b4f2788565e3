// Services that follow demand, and running work that comes home.
#include "internal/replay.h"

namespace neap::simulation {

Status Replay::follow_demand(std::uint32_t index, std::uint32_t interval) {
  const auto& service = scenario_.services[index];
  auto& state = services_[index];
  const auto wanted = interval < service.wanted.size() ? service.wanted[interval] : 0;
  replicas_wanted_ += wanted - state.wanted;
  state.wanted = wanted;
  last_progress_ms_ = now_ms_;
  // Waiting ones go first, then the newest: what was placed last was placed worst.
  while (std::int32_t(state.waiting.size() + state.running.size()) > wanted) {
    const bool is_waiting = !state.waiting.empty();
    const auto gone = is_waiting ? state.waiting.back() : state.running.back();
    if (is_waiting) {
      state.waiting.pop_back();
      unqueue(gone);
    } else {
      NEAP_TRY_VOID(leave(gone, "ended"));
    }
    works_[gone].state = Work::State::kEnded;
    state.spare.push_back(gone);
  }
  while (std::int32_t(state.waiting.size() + state.running.size()) < wanted) {
    std::uint32_t one = 0;
    if (!state.spare.empty()) {
      one = state.spare.back();
      state.spare.pop_back();
      works_[one].arrival_ms = now_ms_;
    } else {
      one = add_work(Work::of(service, index,
                              fmt::format("{}-{}", scenario_.workloads[service.workload].name, state.made++),
                              now_ms_));
    }
    enqueue(one);
    state.waiting.push_back(one);
  }
  if (interval < service.wanted.size())
    post(std::int64_t(interval + 1) * service.interval_ms, kDemand, index, interval + 1);
  else
    --demands_left_;
  return ok();
}

Status Replay::bring_home() {
  if (!has_public_ || own_sites_.empty()) return ok();
  for (bool goes_on = true; goes_on && world_.own_used() < world_.own_capacity();) {
    NEAP_TRY(goes_on, bring_one_home());
  }
  return ok();
}

Result<bool> Replay::bring_one_home() {
  std::vector<std::uint32_t> away;
  std::vector<scheduler::CloudRun> runs;
  for (const auto index : running_set_) {
    const auto& work = works_[index];
    if (work.is_service() || std::ranges::find(own_sites_, work.site) != own_sites_.end()) continue;
    if (terms_of(work).request.interruption == scheduler::InterruptionClass::kNever) continue;
    away.push_back(index);
    runs.push_back(
        {.gpus = int(std::max<std::int64_t>(1, work.each.accelerators.value * work.replicas / 1000)),
         .left_h = double(work.end_ms - now_ms_) / double(kHourMs),
         .ran_h = double(now_ms_ - work.started_ms) / double(kHourMs)});
  }
  scheduler::BurstRule rule;
  rule.home_left_min_h = scenario_.drift.left_min_h;
  rule.home_ran_min_h = scenario_.drift.ran_min_h;
  rule.move_h = scenario_.drift.move_h;
  std::size_t tried = 0;
  for (const auto at : scheduler::order_homecoming(runs, rule, drift_delay_)) {
    if (tried++ == kHomecomingsTried) break;
    NEAP_TRY(const bool moved, try_home(away[at]));
    if (!moved) continue;
    drift_delay_.lost_h += rule.move_h;
    return true;
  }
  return false;
}

Result<bool> Replay::try_home(std::uint32_t index) {
  const auto request = request_of(works_[index], true);
  show_project(request.project);
  options_.now = wall();
  const auto plan = scheduler::decide(world_.snapshot(), std::span(&request, 1), options_);
  ++report_.decisions;
  if (!plan.decisions.front().is_placed) return false;
  auto& work = works_[index];
  // It stops with a checkpoint: nothing is lost but the time of the move.
  work.saved_ms = reached_of(work);
  NEAP_TRY_VOID(leave(index, "moved"));
  work.state = Work::State::kMoving;
  NEAP_TRY_VOID(
      start(index, request, plan.decisions.front(), std::int64_t(scenario_.drift.move_h * double(kHourMs))));
  ++report_.moves;
  return true;
}

}  // namespace neap::simulation
