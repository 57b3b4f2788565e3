#include <algorithm>
#include <numeric>

#include "internal/engine.h"

namespace neap::scheduler {

bool charge(std::map<std::string, Queue>& queues, std::vector<ProjectBudget>& budgets, const Request& request,
            const Decision& decision) {
  const auto count =
      std::int64_t(decision.is_placed ? decision.placements.size() : decision.preemption->placements.size());
  if (const auto queue = queues.find(request.queue); queue != queues.end()) {
    queue->second.cores_used.value += request.each.cores.value * count;
    queue->second.memory_used.value += request.each.memory.value * count;
    queue->second.accelerators_used.value += request.each.accelerators.value * count;
  }
  bool is_changed = count_job(budgets, request);
  if (!decision.cost_per_hour) return is_changed;
  for (auto& budget : budgets)
    if (budget.budget.project == request.project) {
      budget.state.committed.value +=
          compute_cost(request, decision, budget.open_ended).value + decision.egress_cost.value;
      is_changed = true;
    }
  return is_changed;
}

Plan decide(const Snapshot& snapshot, std::span<const Request> requests, const Options& options) {
  Engine engine(snapshot, requests, options);
  Plan plan;
  plan.currency = snapshot.prices.currency();
  plan.decisions.resize(requests.size());
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return requests[a].priority != requests[b].priority ? requests[a].priority > requests[b].priority : a < b;
  });
  for (const auto i : order) plan.decisions[i] = engine.place(requests[i]);
  return plan;
}

void apply_plan(Snapshot& snapshot, std::span<const Request> requests, const Plan& plan) {
  std::unordered_map<std::string, Node*> nodes;
  for (auto& node : snapshot.nodes) nodes[node.name] = &node;
  std::map<std::string, Queue> queues;
  for (const auto& queue : snapshot.queues) queues[queue.name] = queue;
  for (std::size_t i = 0; i < plan.decisions.size() && i < requests.size(); ++i) {
    const auto& decision = plan.decisions[i];
    if (!decision.is_placed && !decision.preemption) continue;
    const auto& each = requests[i].each;
    // What is held for a preemptor is not free either, as far as it is free at all.
    const auto least = [&](std::int64_t free) {
      return decision.is_placed ? free : std::max<std::int64_t>(0, free);
    };
    for (const auto& placement : decision.is_placed ? decision.placements : decision.preemption->placements) {
      const auto found = nodes.find(placement.node);
      if (found == nodes.end()) continue;
      auto& node = *found->second;
      node.cores_free.value = least(node.cores_free.value - each.cores.value);
      node.memory_free.value = least(node.memory_free.value - each.memory.value);
      for (const auto device : placement.devices)
        if (device < node.devices_free.size())
          node.devices_free[device] = std::int32_t(least(
              node.devices_free[device] - each.accelerators.value / std::int64_t(placement.devices.size())));
    }
    charge(queues, snapshot.budgets, requests[i], decision);
  }
  for (auto& queue : snapshot.queues) queue = queues.at(queue.name);
}

}  // namespace neap::scheduler
