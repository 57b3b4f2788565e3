// Queues decide who starts, in rounds, as in the server.
#include "internal/replay.h"

namespace neap::simulation {

// What the server's controllers show a round, of a run.
struct Replay::QueueWorld final : scheduler::RoundWorld {
  explicit QueueWorld(Replay& of) : replay(of) {}
  Result<scheduler::Snapshot> snapshot(const std::string& project) override {
    replay.show_project(project);
    auto out = replay.world_.snapshot();
    out.running = replay.running_gangs();
    return out;
  }
  Result<scheduler::BackfillBoard::ProjectRules> rules(const std::string& project) override {
    replay.show_project(project);
    const auto& world = replay.world_.snapshot();
    return scheduler::BackfillBoard::ProjectRules{
        .rules = world.rules, .budgets = world.budgets, .data_policies = world.data_policies};
  }
  Replay& replay;
};

bool Replay::is_spare(std::uint32_t index) const {
  const auto& work = works_[index];
  const auto& running = services_[work.service].running;
  const auto at = std::ranges::find(running, index);
  return at != running.end() && at - running.begin() >= scenario_.services[work.service].replicas_min;
}

bool Replay::may_give_back(std::uint32_t index) const {
  const auto& work = works_[index];
  // What has just started is left alone until time has passed, as nothing stops at once in the server: a
  // moment comes to an end.
  if (work.started_ms == now_ms_) return false;
  return work.is_service() ? is_spare(index)
                           : terms_of(work).request.interruption != scheduler::InterruptionClass::kNever;
}

scheduler::HeldWork Replay::held_work(std::uint32_t index) const {
  const auto& work = works_[index];
  const auto& terms = terms_of(work);
  scheduler::HeldWork out{.work = {.id = work.name,
                                   .queue = terms.request.queue,
                                   .amounts = queues_.amounts_of(work),
                                   .priority = terms.request.priority,
                                   .may_end = may_give_back(index)},
                          .parts = {},
                          .ends = {}};
  if (!work.is_service()) {
    auto devices = work.each.accelerators.value * work.replicas;
    if (devices == 0) devices = work.each.cores.value / 16 * work.replicas;
    out.work.lost = double(reached_of(work) - kept_of(work)) / 1000 * double(devices) / 1000;
    if (terms.knows_durations)
      out.ends = scheduler::expected_end(scenario_.start + std::chrono::milliseconds(work.productive_ms),
                                         std::chrono::milliseconds(work.end_ms - work.productive_ms), wall());
  }
  for (const auto& held : work.held)
    out.parts.push_back({.node = world_.node(held.node).name,
                         .cores = work.each.cores,
                         .memory = work.each.memory,
                         .accelerators = work.each.accelerators,
                         .devices = held.devices,
                         .ends = out.ends});
  return out;
}

scheduler::RoundInput Replay::round_of(const std::vector<std::uint32_t>& waiting) {
  options_.now = wall();
  scheduler::RoundInput out{
      .tree = queues_.tree(), .rules = queues_.rules(), .waiting = {}, .running = {}, .options = options_};
  for (const auto index : running_set_) out.running.push_back(held_work(index));
  out.waiting.reserve(waiting.size());
  std::map<std::uint32_t, std::int64_t> standing_or_asked;
  for (const auto index : waiting) {
    const auto& work = works_[index];
    const auto& terms = terms_of(work);
    const bool own_only = now_ms_ < work.own_until_ms;
    bool may_borrow = terms.request.interruption != scheduler::InterruptionClass::kNever;
    if (work.is_service()) {
      const auto [count, is_new] = standing_or_asked.try_emplace(work.service);
      if (is_new) count->second = std::int64_t(services_[work.service].running.size());
      may_borrow = count->second++ >= scenario_.services[work.service].replicas_min;
    }
    out.waiting.push_back(
        {.work = {.id = work.name,
                  .queue = terms.request.queue,
                  .amounts = queues_.amounts_of(work),
                  .priority = terms.request.priority,
                  .since = scenario_.start + std::chrono::milliseconds(work.waiting_since_ms),
                  .may_borrow = may_borrow},
         .request = request_of(work, own_only),
         .shape = fmt::format("{}/{}", shape_of(work, own_only), may_borrow),
         .is_replica = work.is_service()});
  }
  return out;
}

Status Replay::place_in_queues() {
  if (!everything_may_fit_ && fresh_.empty()) return ok();
  everything_may_fit_ = false;
  fresh_.clear();
  const auto waiting = queues_.first(scenario_.considered_max);
  if (waiting.empty()) return ok();
  const std::vector<std::uint32_t> running(running_set_.begin(), running_set_.end());
  QueueWorld world(*this);
  auto input = round_of(waiting);
  const auto round = scheduler::run_round(std::move(input), world);
  report_.decisions += std::int64_t(round.decisions);
  std::set<std::size_t> claimants;
  for (const auto& turn : round.turns) NEAP_TRY_VOID(take_turn(waiting[turn.index], turn));
  for (const auto& back : round.given_back) {
    const auto index = running[back.running];
    if (works_[index].state != Work::State::kRunning) continue;  // made room before
    ++queues_.tally(terms_of(works_[index]).request.queue).gave_back;
    if (claimants.insert(back.claimant).second)
      ++queues_.tally(terms_of(works_[waiting[back.claimant]]).request.queue).took_back;
    NEAP_TRY_VOID(interrupt(index, false, "gave back"));
    works_[index].reason = back.sentence;
    made_room_ = true;
  }
  if (round.cut_at && round.starts > 0) everything_may_fit_ = made_room_ = true;
  return ok();
}

Status Replay::take_turn(std::uint32_t index, const scheduler::Turn& turn) {
  auto& work = works_[index];
  auto& tally = queues_.tally(terms_of(work).request.queue);
  if (turn.reserved_from && turn.decision && work.kept_from_ms < 0) {
    ++tally.reserved;
    work.kept_from_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(*turn.reserved_from - scenario_.start).count();
  }
  if (turn.waits_for != scheduler::WaitsFor::kNothing) {
    work.reason = !turn.decision           ? turn.sentence
                  : turn.decision->pending ? turn.decision->pending->sentence
                                           : "no place fits";
    if (!turn.note.empty()) work.reason += "; " + turn.note;
    return turn.makes_room ? make_room(index, request_of(work, now_ms_ < work.own_until_ms), *turn.decision)
                           : ok();
  }
  const auto request = request_of(work, now_ms_ < work.own_until_ms);
  // A place on a node that an earlier one makes room on may be short of what nobody had counted.
  if (!world_.can_hold(request.each, turn.decision->placements)) {
    work.reason = "its place is needed by work that others made room for";
    everything_may_fit_ = true;
    return ok();
  }
  if (!turn.borrows.empty()) ++tally.borrowed;
  if (turn.is_backfilled) ++tally.backfilled;
  if (work.kept_from_ms >= 0 && now_ms_ > work.kept_from_ms) ++tally.reserved_late;
  return start(index, request, *turn.decision, 0);
}

}  // namespace neap::simulation
