// Work: waiting, placed, billed, ended, interrupted.
#include "internal/replay.h"

namespace neap::simulation {

void Replay::enqueue(std::uint32_t index) {
  auto& work = works_[index];
  work.state = Work::State::kWaiting;
  work.waiting_since_ms = now_ms_;
  work.kept_from_ms = -1;
  const auto wait_ms = burst_wait_ms(work);
  work.own_until_ms = now_ms_ + wait_ms;
  if (wait_ms > 0) post(work.own_until_ms, kWake, 0);
  queue_.insert(key_of(index));
  if (queues_.are_used()) {
    queues_.enter(terms_of(work).request.queue, work, terms_of(work).request.priority, index);
    work.reason = "waits its turn";
  }
  fresh_.push_back(index);
  if (!work.is_service()) ++jobs_waiting_;
}

void Replay::unqueue(std::uint32_t index) {
  const auto& work = works_[index];
  queue_.erase(key_of(index));
  if (queues_.are_used())
    queues_.leave(terms_of(work).request.queue, work, terms_of(work).request.priority, index);
}

std::int64_t Replay::burst_wait_ms(const Work& work) const {
  if (scenario_.wait_h_per_gpu_hour <= 0 || !has_public_ || own_sites_.empty() || work.is_service()) return 0;
  const double gpus = double(work.each.accelerators.value) * work.replicas / 1000;
  const double hours = double(work.work_ms - work.saved_ms) / double(kHourMs);
  return std::int64_t(std::min(scenario_.wait_h_per_gpu_hour * gpus * hours, 24.0 * 365) * double(kHourMs));
}

scheduler::Request Replay::request_of(const Work& work, bool own_only) const {
  auto out = terms_of(work).request;
  out.id = work.name;
  out.replicas = work.replicas;
  out.each = work.each;
  if (out.replicas > 1 && work.is_service()) out.replicas = 1;
  if (work.deadline_ms >= 0) out.deadline = scenario_.start + std::chrono::milliseconds(work.deadline_ms);
  if (!work.is_service() && terms_of(work).knows_durations)
    out.duration_estimate =
        std::chrono::milliseconds(std::max<std::int64_t>(1, work.work_ms - work.saved_ms));
  for (auto& input : out.data) input.present_at = work.copies;
  if (own_only) {
    scheduler::DataInput stay;
    stay.dataset = "of work that waits for own capacity";
    stay.allowed_sites = own_sites_;
    out.data.push_back(std::move(stay));
  }
  return out;
}

std::string Replay::shape_of(const Work& work, bool own_only) const {
  return fmt::format("{}/{}/{}/{}/{}/{}/{}/{}", work.workload, own_only, work.replicas, work.each.cores.value,
                     work.each.memory.value, work.each.accelerators.value, work.each.accelerator_model,
                     fmt::join(work.copies, ","));
}

Status Replay::place_waiting() {
  if (queues_.are_used()) return place_in_queues();
  std::vector<std::uint32_t> candidates;
  if (everything_may_fit_) {
    for (const auto& key : queue_) {
      if (std::int64_t(candidates.size()) >= scenario_.considered_max) break;
      candidates.push_back(std::get<2>(key));
    }
  } else {
    std::ranges::sort(fresh_, {}, [&](auto index) { return key_of(index); });
    candidates = fresh_;
  }
  fresh_.clear();
  everything_may_fit_ = false;
  std::set<std::string> refused;
  std::vector<std::uint32_t> batch;
  std::vector<std::string> shapes;
  for (std::size_t at = 0; at < candidates.size();) {
    batch.clear();
    shapes.clear();
    for (; at < candidates.size() && batch.size() < kBatch; ++at) {
      const auto& work = works_[candidates[at]];
      if (work.state != Work::State::kWaiting) continue;
      auto shape = shape_of(work, now_ms_ < work.own_until_ms);
      if (refused.contains(shape)) continue;
      if (!batch.empty() && terms_of(work).request.project != terms_of(works_[batch.front()]).request.project)
        break;
      batch.push_back(candidates[at]);
      shapes.push_back(std::move(shape));
    }
    if (batch.empty()) continue;
    NEAP_TRY(const auto plan, decide(batch));
    for (std::size_t i = 0; i < batch.size(); ++i)
      if (works_[batch[i]].state == Work::State::kWaiting && !scheduler::depends_on_time(plan.decisions[i]))
        refused.insert(shapes[i]);
  }
  return ok();
}

void Replay::show_project(const std::string& project) {
  if (!scenario_.rules.empty() && project != shown_project_) {
    const auto found = scenario_.rules.find(project);
    world_.table().set_rules(found == scenario_.rules.end() ? std::vector<policy::PolicyRule>{}
                                                            : found->second);
  }
  shown_project_ = project;
  if (scenario_.budgets.empty()) return;
  std::vector<scheduler::ProjectBudget> budgets;
  for (const auto& budget : scenario_.budgets)
    if (budget.project == project) budgets.push_back(state_of(budget));
  world_.table().set_budgets(std::move(budgets));
}

scheduler::ProjectBudget Replay::state_of(const finops::Budget& budget) const {
  scheduler::ProjectBudget out{.budget = budget, .state = {}};
  const auto period = finops::compute_period(budget.period, wall());
  if (budget.is_hard) out.open_ended = std::chrono::duration_cast<Duration>(period.end - wall());
  const auto open_ms = std::chrono::duration_cast<std::chrono::milliseconds>(out.open_ended).count();
  out.state.spent = money_.spent(budget.project, period.start, period.end);
  for (const auto index : running_set_) {
    const auto& work = works_[index];
    if (terms_of(work).request.project != budget.project) continue;
    if (!work.is_service()) ++out.jobs_running;
    const bool is_known = !work.is_service() && terms_of(work).knows_durations;
    const auto left = is_known ? std::max<std::int64_t>(0, work.end_ms - now_ms_) : open_ms;
    const auto cost = finops::multiply_divide(work.hourly.value, now_ms_ - work.billed_ms + left, 1, kHourMs);
    out.state.committed.value += cost ? std::min<std::int64_t>(*cost, INT64_MAX / 4096) : INT64_MAX / 4096;
  }
  return out;
}

Result<scheduler::Plan> Replay::decide(const std::vector<std::uint32_t>& batch) {
  std::vector<scheduler::Request> requests;
  for (const auto index : batch)
    requests.push_back(request_of(works_[index], now_ms_ < works_[index].own_until_ms));
  show_project(requests.front().project);
  options_.now = wall();
  auto plan = [&] {
    if (!may_end_others(batch)) return scheduler::decide(world_.snapshot(), requests, options_);
    auto world = world_.snapshot();
    world.running = running_gangs();
    return scheduler::decide(world, requests, options_);
  }();
  report_.decisions += std::int64_t(requests.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto& decision = plan.decisions[i];
    if (!decision.is_placed) {
      works_[batch[i]].reason = decision.pending ? decision.pending->sentence : "no place fits";
      if (decision.preemption) NEAP_TRY_VOID(make_room(batch[i], requests[i], decision));
      continue;
    }
    NEAP_TRY_VOID(start(batch[i], requests[i], decision, 0));
  }
  return plan;
}

Status Replay::start(std::uint32_t index, const scheduler::Request& request,
                     const scheduler::Decision& decision, std::int64_t move_ms) {
  auto& work = works_[index];
  ++work.epoch;
  ++report_.placements;
  last_progress_ms_ = now_ms_;
  std::int64_t startup_ms = 0;
  work.held.clear();
  for (const auto& place : decision.placements) {
    const auto node = world_.index_of(place.node);
    if (world_.is_empty(node)) startup_ms = std::max(startup_ms, world_.pool(node).startup_ms);
    NEAP_TRY(auto held, world_.hold(work.allocation(place.replica), request, place));
    on_node_[node].insert(index);
    work.held.push_back(std::move(held));
    work.replica_of.push_back(place.replica);
  }
  const auto& first = decision.placements.front();
  const auto from = work.site;
  work.site = first.site;
  work.capacity_type = first.capacity_type;
  work.hourly = decision.cost_per_hour.value_or(MoneyMicros{});
  NEAP_TRY(const auto transfer_ms, bring_data(work, decision, from));
  unqueue(index);
  if (queues_.are_used()) {
    NEAP_TRY_VOID(queues_.charge(request.queue, work));
    ++queues_.tally(request.queue).placements;
  }
  if (work.state == Work::State::kWaiting && !work.is_service()) --jobs_waiting_;
  if (work.state == Work::State::kWaiting) work.waited_ms += now_ms_ - work.waiting_since_ms;
  work.state = Work::State::kRunning;
  ++running_;
  running_set_.insert(index);
  const auto restart_ms = work.epoch > 1 && move_ms == 0 ? terms_of(work).restart_ms : 0;
  work.started_ms = work.billed_ms = now_ms_;
  work.productive_ms = now_ms_ + startup_ms + transfer_ms + restart_ms + move_ms;
  if (work.is_service()) {
    std::erase(services_[work.service].waiting, index);
    services_[work.service].running.push_back(index);
    ++replicas_running_;
    // A replica that still starts serves nobody.
    services_[work.service].short_ms += double(work.productive_ms - now_ms_);
  } else {
    work.end_ms = work.productive_ms + work.work_ms - work.saved_ms;
    post(work.end_ms, kEnd, index, work.epoch);
  }
  return ok();
}

Result<std::int64_t> Replay::bring_data(Work& work, const scheduler::Decision& decision,
                                        const std::string& from) {
  const auto& request = terms_of(work).request;
  const finops::Attribution owner{request.project, request.team, request.model};
  if (!from.empty() && from != work.site && work.saved_ms > 0)
    NEAP_TRY_VOID(money_.charge(finops::TransferUsage{.owner = owner,
                                                      .transfer = work.name + "-checkpoint",
                                                      .from_site = from,
                                                      .to_site = work.site,
                                                      .moved = terms_of(work).checkpoint_size},
                                wall()));
  if (std::ranges::find(work.copies, work.site) != work.copies.end()) return 0;
  bool moved = false;
  for (const auto& input : request.data) {
    if (input.home_site.empty() || input.home_site == work.site || input.size.value == 0) continue;
    moved = true;
    NEAP_TRY_VOID(money_.charge(finops::TransferUsage{.owner = owner,
                                                      .transfer = work.name + "-" + input.dataset,
                                                      .from_site = input.home_site,
                                                      .to_site = work.site,
                                                      .moved = input.size},
                                wall()));
  }
  if (!moved) return 0;
  work.copies.push_back(work.site);
  for (const auto& site : decision.sites)
    if (site.is_chosen && site.score)
      return std::int64_t(std::clamp(site.score->transfer_seconds, 0.0, 1e8) * 1000);
  return 0;
}

Status Replay::bill(Work& work) {
  const auto passed = now_ms_ - work.billed_ms;
  work.billed_ms = now_ms_;
  const auto& request = terms_of(work).request;
  for (std::size_t i = 0; i < work.held.size(); ++i)
    NEAP_TRY_VOID(money_.charge(
        finops::AllocationUsage{
            .owner = {request.project, request.team, request.model},
            .allocation = work.allocation(work.replica_of[i]),
            .site = world_.node(work.held[i].node).site,
            .capacity_type = *finops::parse_capacity_type(
                policy::capacity_type_name(world_.pool(work.held[i].node).capacity_type)),
            .held = {work.each.cores, work.each.memory,
                     work.each.accelerators.value > 0 ? world_.node(work.held[i].node).accelerator_model
                                                      : std::string(),
                     work.each.accelerators},
            .milliseconds = passed},
        wall()));
  return ok();
}

Status Replay::leave(std::uint32_t index, std::string_view why) {
  auto& work = works_[index];
  NEAP_TRY_VOID(bill(work));
  note_segment(work, why);
  for (std::size_t i = 0; i < work.held.size(); ++i) {
    world_.release(work.allocation(work.replica_of[i]), work.each, work.held[i]);
    on_node_[work.held[i].node].erase(index);
  }
  if (queues_.are_used()) queues_.release(terms_of(work).request.queue, work);
  work.held.clear();
  work.replica_of.clear();
  --running_;
  running_set_.erase(index);
  if (work.is_service()) {
    auto& service = services_[work.service];
    std::erase(service.running, index);
    --replicas_running_;
  }
  everything_may_fit_ = room_came_ = true;
  return ok();
}

void Replay::note_segment(const Work& work, std::string_view why) {
  if (work.is_service() || work.job >= kTimelineJobs || report_.timeline.size() >= kTimelineSegments) return;
  std::vector<std::string> nodes;
  for (const auto& held : work.held) nodes.push_back(world_.node(held.node).name);
  report_.timeline.push_back({.job = work.name,
                              .project = terms_of(work).request.project,
                              .site = work.site,
                              .capacity_type = std::string(policy::capacity_type_name(work.capacity_type)),
                              .nodes = std::move(nodes),
                              .from_h = double(work.started_ms) / double(kHourMs),
                              .to_h = double(now_ms_) / double(kHourMs),
                              .end = std::string(why)});
}

Status Replay::end_job(std::uint32_t index) {
  NEAP_TRY_VOID(leave(index, "ended"));
  auto& work = works_[index];
  work.state = Work::State::kEnded;
  work.end_ms = now_ms_;
  last_progress_ms_ = now_ms_;
  return ok();
}

std::int64_t Replay::reached_of(const Work& work) const {
  return std::min(work.work_ms, work.saved_ms + std::max<std::int64_t>(0, now_ms_ - work.productive_ms));
}

std::int64_t Replay::kept_of(const Work& work) const {
  const auto& terms = terms_of(work);
  if (terms.request.interruption != scheduler::InterruptionClass::kCheckpointed ||
      terms.checkpoint_interval_ms <= 0)
    return 0;
  return work.saved_ms +
         (reached_of(work) - work.saved_ms) / terms.checkpoint_interval_ms * terms.checkpoint_interval_ms;
}

Status Replay::interrupt(std::uint32_t index, bool saves_all, std::string_view why) {
  auto& work = works_[index];
  if (work.is_service()) {
    NEAP_TRY_VOID(leave(index, why));
    enqueue(index);
    services_[work.service].waiting.push_back(index);
    return ok();
  }
  const auto reached = reached_of(work);
  const auto kept = saves_all ? reached : kept_of(work);
  const double lost_h = double(reached - kept) / double(kHourMs);
  report_.lost_work_h += lost_h;
  if (queues_.are_used()) queues_.tally(terms_of(work).request.queue).lost_work_h += lost_h;
  work.saved_ms = kept;
  NEAP_TRY_VOID(leave(index, why));
  enqueue(index);
  return ok();
}

}  // namespace neap::simulation
