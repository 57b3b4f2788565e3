// Running work that makes room for work of a higher priority.
#include "internal/replay.h"

namespace neap::simulation {

bool Replay::may_end_others(const std::vector<std::uint32_t>& batch) const {
  if (!has_priorities_) return false;
  int highest = INT32_MIN;
  for (const auto index : batch) highest = std::max(highest, terms_of(works_[index]).request.priority);
  return std::ranges::any_of(running_set_, [&](std::uint32_t index) {
    return !works_[index].is_service() && terms_of(works_[index]).request.priority < highest;
  });
}

std::vector<scheduler::RunningGang> Replay::running_gangs() const {
  std::vector<scheduler::RunningGang> out;
  for (const auto index : running_set_) {
    const auto& work = works_[index];
    if (work.is_service() && (!queues_.are_used() || !is_spare(index))) continue;
    const auto& terms = terms_of(work);
    scheduler::RunningGang gang;
    gang.owner = work.name;
    gang.project = terms.request.project;
    gang.queue = terms.request.queue;
    gang.priority = terms.request.priority;
    gang.interruption =
        work.is_service() ? scheduler::InterruptionClass::kRestartable : terms.request.interruption;
    gang.is_preemptible = !queues_.are_used() || work.started_ms < now_ms_;
    if (!work.is_service()) gang.unsaved_seconds = double(reached_of(work) - kept_of(work)) / 1000;
    for (const auto& held : work.held)
      gang.members.push_back({.node = world_.node(held.node).name,
                              .cores = work.each.cores,
                              .memory = work.each.memory,
                              .accelerators = work.each.accelerators,
                              .devices = held.devices});
    out.push_back(std::move(gang));
  }
  return out;
}

Status Replay::make_room(std::uint32_t index, const scheduler::Request& request,
                         const scheduler::Decision& decision) {
  const auto& preemption = *decision.preemption;
  for (const auto& victim : preemption.victims) {
    const auto found = std::ranges::find_if(
        running_set_, [&](std::uint32_t running) { return works_[running].name == victim.owner; });
    if (found == running_set_.end()) continue;  // an earlier request of this plan ended it
    const auto fallen = *found;
    ++report_.preemptions;
    if (queues_.are_used()) ++queues_.tally(terms_of(works_[fallen]).request.queue).preempted;
    NEAP_TRY_VOID(interrupt(fallen, false, "preempted"));
    works_[fallen].reason = victim.sentence;
    made_room_ = true;
  }
  auto placed = decision;
  placed.is_placed = true;
  placed.placements = preemption.placements;
  MoneyMicros hourly;
  for (const auto& place : placed.placements) {
    const auto node = world_.index_of(place.node);
    const auto price = scenario_.prices.compute_hourly(
        place.site, *finops::parse_capacity_type(policy::capacity_type_name(place.capacity_type)),
        {request.each.cores, request.each.memory, world_.node(node).accelerator_model,
         request.each.accelerators});
    if (price) hourly += *price;
  }
  placed.cost_per_hour = hourly;
  return start(index, request, placed, 0);
}

}  // namespace neap::simulation
