#include "internal/run_queues.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::simulation {
namespace {

using scheduler::Amounts;
using scheduler::kModelAxes;
using scheduler::kNoLimit;

std::vector<const api::Queue*> pointers(const std::vector<api::Queue>& queues) {
  std::vector<const api::Queue*> out;
  for (const auto& queue : queues) out.push_back(&queue);
  return out;
}

// All nodes count, also those that are away: shares are of what there is, not of what is up.
scheduler::ShareTree tree_of(const Scenario& scenario) {
  const auto queues = pointers(scenario.queues);
  auto models = scheduler::models_named(queues);
  Amounts capacity(kModelAxes + models.size(), 0);
  for (const auto& [node, pool] : scenario.nodes) {
    const auto milli = 1000 * std::int64_t(node.devices_free.size());
    capacity[scheduler::kCoresAxis] += node.cores_allocatable.value;
    capacity[scheduler::kMemoryAxis] += node.memory_allocatable.value;
    capacity[scheduler::kAcceleratorsAxis] += milli;
    if (const auto found = std::ranges::find(models, node.accelerator_model); found != models.end())
      capacity[kModelAxes + std::size_t(found - models.begin())] += milli;
  }
  return scheduler::make_share_tree(queues, std::move(models), std::move(capacity));
}

}  // namespace

RunQueues::RunQueues(const Scenario& scenario)
    : tree_(tree_of(scenario)), rules_(scheduler::turn_rules(pointers(scenario.queues))) {
  for (const auto& queue : scenario.queues) {
    queues_.emplace(queue.metadata.name, &queue);
    counts_[queue.metadata.name].report.parent = queue.spec.parent;
  }
  for (const auto& queue : scenario.queues)
    if (const auto parent = counts_.find(queue.spec.parent); parent != counts_.end())
      parent->second.has_children = true;
  counts_[""];
  for (auto& [name, count] : counts_) {
    count.report.name = name;
    count.held.assign(tree_.axes(), 0);
  }
}

Amounts RunQueues::amounts_of(const Work& work) const {
  auto out = tree_.amounts_of(work.each.cores.value, work.each.memory.value, work.each.accelerator_model,
                              work.each.accelerators.value);
  for (auto& amount : out) amount *= work.replicas;
  return out;
}

// Ageing raises all that wait alike, so its order among them does not change with time.
RunQueues::LineKey RunQueues::key_of(const std::string& queue, const Work& work, int priority,
                                     std::uint32_t index) const {
  const auto found = queues_.find(queue);
  if (found != queues_.end() && found->second->spec.order == api::QueueOrder::kFifo)
    return {0, work.waiting_since_ms, index};
  const auto ageing_ms =
      found == queues_.end()
          ? 0
          : std::chrono::duration_cast<std::chrono::milliseconds>(found->second->spec.ageing).count();
  if (ageing_ms <= 0) return {-std::int64_t(priority), work.waiting_since_ms, index};
  return {0, work.waiting_since_ms - priority * ageing_ms, index};
}

void RunQueues::enter(const std::string& queue, const Work& work, int priority, std::uint32_t index) {
  counts_[queue].line.insert(key_of(queue, work, priority, index));
}

void RunQueues::leave(const std::string& queue, const Work& work, int priority, std::uint32_t index) {
  counts_[queue].line.erase(key_of(queue, work, priority, index));
}

std::vector<std::uint32_t> RunQueues::first(std::int64_t of_each) const {
  std::vector<std::uint32_t> out;
  for (const auto& [name, count] : counts_) {
    auto left = of_each;
    for (auto at = count.line.begin(); at != count.line.end() && left > 0; ++at, --left)
      out.push_back(std::get<2>(*at));
  }
  return out;
}

Status RunQueues::charge(const std::string& queue, const Work& work) {
  const auto amounts = amounts_of(work);
  tree_.charge(queue, amounts);
  for (auto name = queue; counts_.contains(name);) {
    auto& count = counts_.at(name);
    const auto found = queues_.find(name);
    const auto quota = tree_.quota(name);
    for (std::size_t axis = 0; axis < amounts.size(); ++axis) {
      count.held[axis] += amounts[axis];
      if (found == queues_.end() || quota[axis] >= kNoLimit) continue;
      const auto& spec = found->second->spec;
      auto limit = quota[axis];
      if (!spec.parent.empty()) {
        if (!spec.borrowingLimit) continue;
        const std::optional<std::int64_t> more[]{
            spec.borrowingLimit->cpu ? std::optional(spec.borrowingLimit->cpu->value) : std::nullopt,
            spec.borrowingLimit->memory ? std::optional(spec.borrowingLimit->memory->value) : std::nullopt,
            spec.borrowingLimit->accelerators ? std::optional(spec.borrowingLimit->accelerators->value)
                                              : std::nullopt};
        if (axis >= kModelAxes || !more[axis]) continue;
        limit += *more[axis];
      }
      if (amounts[axis] > 0 && count.held[axis] > limit)
        return fail(
            Code::kInternal, "simulation.invariant",
            fmt::format("queue {} holds {} where {} is its limit; this is a defect of the engine: "
                        "report the scenario and its seed",
                        name, tree_.amount_text(axis, count.held[axis]), tree_.amount_text(axis, limit)));
    }
    if (found == queues_.end()) break;
    name = found->second->spec.parent;
    if (name.empty()) break;
  }
  return ok();
}

void RunQueues::release(const std::string& queue, const Work& work) {
  const auto amounts = amounts_of(work);
  tree_.release(queue, amounts);
  for (auto name = queue; counts_.contains(name);) {
    auto& held = counts_.at(name).held;
    for (std::size_t axis = 0; axis < amounts.size(); ++axis) held[axis] -= amounts[axis];
    const auto found = queues_.find(name);
    if (found == queues_.end() || found->second->spec.parent.empty()) break;
    name = found->second->spec.parent;
  }
}

void RunQueues::advance(std::int64_t now_ms) {
  const auto passed = double(now_ms - now_ms_);
  now_ms_ = now_ms;
  if (passed <= 0) return;
  for (auto& [name, count] : counts_) {
    constexpr auto kAxis = scheduler::kAcceleratorsAxis;
    if (std::ranges::all_of(count.held, [](auto amount) { return amount == 0; })) continue;
    count.accelerators_ms += double(count.held[kAxis]) / 1000 * passed;
    count.borrowed_ms += double(tree_.borrowed(name)[kAxis]) / 1000 * passed;
    count.share_ms += tree_.dominant_share(name) * passed;
  }
}

void RunQueues::count_wait(const std::string& queue, double seconds, bool is_waiting) {
  auto& count = counts_[queue];
  count.waits_s.push_back(seconds);
  if (is_waiting) ++count.report.waiting;
}

void RunQueues::report(RunReport& out) {
  const double all = double(std::max<std::int64_t>(now_ms_, 1));
  for (auto& [name, count] : counts_) {
    auto& line = count.report;
    if (name.empty() && count.waits_s.empty() && line.placements == 0) continue;
    line.accelerator_h = count.accelerators_ms / double(kHourMs);
    line.borrowed_h = count.borrowed_ms / double(kHourMs);
    line.share = count.share_ms / all;
    line.wait_s = spread_of(std::move(count.waits_s));
    line.is_leaf = !count.has_children;
    out.backfilled += line.backfilled;
    out.given_back += line.gave_back;
    if (line.is_leaf) out.borrowed_h += line.borrowed_h;
    out.queues.push_back(line);
  }
}

}  // namespace neap::simulation
