// The loop, and nodes that come and go.
#include "internal/replay.h"

namespace neap::simulation {

Result<RunReport> Replay::run() {
  schedule_first_events();
  while (true) {
    const auto next = next_time();
    if (!next || (scenario_.horizon_ms > 0 && *next >= scenario_.horizon_ms)) break;
    if (waits_for_nothing(*next)) break;
    advance(*next);
    NEAP_TRY_VOID(handle_events());
    // Who fell may find another place at once.
    for (bool again = true; again;) {
      made_room_ = false;
      NEAP_TRY_VOID(place_waiting());
      again = made_room_;
    }
    if (scenario_.drift.is_on && room_came_) NEAP_TRY_VOID(bring_home());
    room_came_ = false;
  }
  if (scenario_.horizon_ms > 0) advance(scenario_.horizon_ms);
  return finish();
}

void Replay::schedule_first_events() {
  for (std::uint32_t i = 0; i < scenario_.nodes.size(); ++i) {
    const auto& pool = world_.pool(i);
    if (pool.mtbf_ms > 0)
      post(1 + std::int64_t(draw_exponential(draw_, double(pool.mtbf_ms))), kDown, i, kFailure);
    if (!pool.trace.empty()) {
      if (!pool.trace.front()) set_away(i, true);
      post_trace_flip(i);
    } else if (pool.reclaims_per_hour > 0) {
      post_reclaim(i);
    }
  }
  services_.resize(scenario_.services.size());
  for (std::uint32_t i = 0; i < scenario_.services.size(); ++i)
    if (!scenario_.services[i].wanted.empty()) {
      post(0, kDemand, i, 0);
      ++demands_left_;
    }
  if (!scenario_.budgets.empty()) post(kHourMs, kBill, 0);
}

void Replay::post_reclaim(std::uint32_t node) {
  const auto& pool = world_.pool(node);
  const auto at =
      now_ms_ + 1 + std::int64_t(draw_exponential(draw_, double(kHourMs) / pool.reclaims_per_hour));
  if (pool.notice_ms > 0) post(std::max(now_ms_, at - pool.notice_ms), kNotice, node);
  post(at, kDown, node, kReclaim);
}

void Replay::post_trace_flip(std::uint32_t node) {
  const auto& pool = world_.pool(node);
  const auto ticks = std::int64_t(pool.trace.size());
  const auto first = now_ms_ / pool.trace_tick_ms;
  const auto value = pool.trace[std::size_t(first % ticks)];
  for (std::int64_t tick = first + 1; tick <= first + ticks; ++tick) {
    if (pool.trace[std::size_t(tick % ticks)] == value) continue;
    const auto at = tick * pool.trace_tick_ms;
    if (value && pool.notice_ms > 0) post(std::max(now_ms_, at - pool.notice_ms), kNotice, node);
    return post(at, value ? kDown : kUp, node, kReclaim);
  }
}

std::optional<std::int64_t> Replay::next_time() const {
  std::optional<std::int64_t> out;
  if (!events_.empty()) out = events_.top().at_ms;
  if (arrived_ < scenario_.jobs.size())
    out = std::min(out.value_or(INT64_MAX), scenario_.jobs[arrived_].arrival_ms);
  return out;
}

bool Replay::waits_for_nothing(std::int64_t next_ms) const {
  if (scenario_.horizon_ms > 0 || running_ > 0 || arrived_ < scenario_.jobs.size() || demands_left_ > 0)
    return false;
  if (queue_.empty()) return true;
  return next_ms - last_progress_ms_ > kIdleDaysMax * 24 * kHourMs;
}

void Replay::advance(std::int64_t to_ms) {
  world_.advance(to_ms);
  if (queues_.are_used()) queues_.advance(to_ms);
  series_.advance(to_ms,
                  {double(world_.own_used()), double(world_.own_capacity()), double(world_.rented_used()),
                   double(jobs_waiting_), double(replicas_wanted_), double(replicas_running_)});
  for (auto& service : services_) service.advance(to_ms);
  now_ms_ = to_ms;
}

Status Replay::handle_events() {
  while (!events_.empty() && events_.top().at_ms <= now_ms_) {
    const auto event = events_.top();
    events_.pop();
    NEAP_TRY_VOID(count_event());
    NEAP_TRY_VOID(handle(event));
  }
  for (; arrived_ < scenario_.jobs.size() && scenario_.jobs[arrived_].arrival_ms <= now_ms_; ++arrived_) {
    NEAP_TRY_VOID(count_event());
    last_progress_ms_ = now_ms_;
    drift_delay_.run_h += double(scenario_.jobs[arrived_].work_ms) / double(kHourMs);
    enqueue(add_work(Work::of(scenario_.jobs[arrived_], std::uint32_t(arrived_))));
  }
  return ok();
}

Status Replay::count_event() {
  if (++report_.events <= scenario_.events_max) return ok();
  return fail(Code::kResourceExhausted, "simulation.events",
              fmt::format("more than {} events come; set spec.horizon, or simulate fewer jobs",
                          scenario_.events_max));
}

Status Replay::handle(const Event& event) {
  switch (event.kind) {
    case kEnd:
      return works_[event.index].is_running(event.stamp) ? end_job(event.index) : ok();
    case kUp:
      return bring_up(event.index, event.stamp);
    case kDown:
      return take_down(event.index, event.stamp);
    case kNotice:
      if (world_.is_ready(event.index)) world_.set_ready(event.index, true, true);
      noticed_ms_[event.index] = now_ms_;
      return ok();
    case kDemand:
      return follow_demand(event.index, event.stamp);
    case kBill:
      for (const auto index : running_set_) NEAP_TRY_VOID(bill(works_[index]));
      everything_may_fit_ = true;
      post(now_ms_ + kHourMs, kBill, 0);
      return ok();
    case kWake:
      everything_may_fit_ = true;
      return ok();
  }
  return ok();
}

void Replay::set_away(std::uint32_t node, bool is_away) {
  auto& away = away_[node];
  away = is_away ? away | 2 : away & ~2;
  world_.set_ready(node, away == 0);
}

Status Replay::bring_up(std::uint32_t node, std::uint32_t why) {
  auto& away = away_[node];
  away &= ~(why == kFailure ? 1 : 2);
  world_.set_ready(node, away == 0);
  everything_may_fit_ = room_came_ = true;
  const auto& pool = world_.pool(node);
  if (why == kFailure)
    post(now_ms_ + 1 + std::int64_t(draw_exponential(draw_, double(pool.mtbf_ms))), kDown, node, kFailure);
  else if (!pool.trace.empty())
    post_trace_flip(node);
  else
    post_reclaim(node);
  return ok();
}

Status Replay::take_down(std::uint32_t node, std::uint32_t why) {
  const auto& pool = world_.pool(node);
  const bool was_noticed = why == kReclaim && noticed_ms_.contains(node);
  const auto notice_ms = was_noticed ? now_ms_ - noticed_ms_[node] : 0;
  noticed_ms_.erase(node);
  away_[node] |= why == kFailure ? 1 : 2;
  for (const auto index : std::vector(on_node_[node].begin(), on_node_[node].end())) {
    const auto& terms = terms_of(works_[index]);
    const bool saves = was_noticed && notice_ms >= terms.checkpoint_write_ms &&
                       terms.request.interruption == scheduler::InterruptionClass::kCheckpointed;
    ++(why == kFailure ? report_.failures : report_.reclaims);
    NEAP_TRY_VOID(interrupt(index, saves, why == kFailure ? "failed" : "reclaimed"));
  }
  world_.set_ready(node, false);
  if (why == kFailure)
    post(now_ms_ + std::max<std::int64_t>(1, pool.repair_ms), kUp, node, kFailure);
  else if (!pool.trace.empty())
    post_trace_flip(node);
  else
    post(now_ms_ + 1 + std::int64_t(draw_exponential(draw_, double(pool.absence_ms))), kUp, node, kReclaim);
  return ok();
}

}  // namespace neap::simulation
