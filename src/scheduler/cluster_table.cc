#include "neap/scheduler/cluster_table.h"

#include <algorithm>

namespace neap::scheduler {
namespace {

void replace_or_add(auto& list, auto value, auto same) {
  const auto found = std::find_if(list.begin(), list.end(), same);
  if (found == list.end())
    list.push_back(std::move(value));
  else
    *found = std::move(value);
}

}  // namespace

void ClusterTable::upsert_node(Node node) {
  const auto name = node.name;
  const auto found = node_at_.find(name);
  if (found == node_at_.end()) {
    node_at_[name] = snapshot_.nodes.size();
    snapshot_.nodes.push_back(std::move(node));
  } else {
    snapshot_.nodes[found->second] = std::move(node);
  }
  refresh_node(name);
}

void ClusterTable::remove_node(const std::string& name) {
  const auto found = node_at_.find(name);
  if (found == node_at_.end()) return;
  const auto at = found->second;
  node_at_.erase(found);
  if (at + 1 != snapshot_.nodes.size()) {
    snapshot_.nodes[at] = std::move(snapshot_.nodes.back());
    node_at_[snapshot_.nodes[at].name] = at;
  }
  snapshot_.nodes.pop_back();
}

void ClusterTable::upsert_allocation(Allocation allocation) {
  remove_allocation(allocation.name);
  const auto name = allocation.name, node = allocation.node;
  charge_queue(allocation, 1);
  allocations_on_[node].insert(name);
  allocations_[name] = std::move(allocation);
  refresh_node(node);
}

void ClusterTable::remove_allocation(const std::string& name) {
  const auto found = allocations_.find(name);
  if (found == allocations_.end()) return;
  charge_queue(found->second, -1);
  const auto node = found->second.node;
  const auto on = allocations_on_.find(node);
  on->second.erase(name);
  if (on->second.empty()) allocations_on_.erase(on);
  allocations_.erase(found);
  refresh_node(node);
}

void ClusterTable::refresh_node(const std::string& name) {
  const auto at = node_at_.find(name);
  if (at == node_at_.end()) return;
  Node& node = snapshot_.nodes[at->second];
  node.cores_free = node.cores_allocatable;
  node.memory_free = node.memory_allocatable;
  std::fill(node.devices_free.begin(), node.devices_free.end(), 1000);
  const auto on = allocations_on_.find(name);
  if (on == allocations_on_.end()) return;
  for (const auto& held_name : on->second) {
    const auto& held = allocations_.at(held_name);
    node.cores_free.value = std::max<std::int64_t>(0, node.cores_free.value - held.cores.value);
    node.memory_free.value = std::max<std::int64_t>(0, node.memory_free.value - held.memory.value);
    for (const auto device : held.devices)
      if (device < node.devices_free.size()) {
        auto& free = node.devices_free[device];
        free = std::int32_t(
            std::max<std::int64_t>(0, free - held.accelerators.value / std::int64_t(held.devices.size())));
      }
  }
}

void ClusterTable::charge_queue(const Allocation& allocation, int sign) {
  if (allocation.queue.empty()) return;
  auto& used = usage_[allocation.queue];
  used.cores_used.value += sign * allocation.cores.value;
  used.memory_used.value += sign * allocation.memory.value;
  used.accelerators_used.value += sign * allocation.accelerators.value;
  for (auto& queue : snapshot_.queues) {
    if (queue.name != allocation.queue) continue;
    queue.cores_used = used.cores_used;
    queue.memory_used = used.memory_used;
    queue.accelerators_used = used.accelerators_used;
  }
}

void ClusterTable::upsert_site(Site site) {
  replace_or_add(snapshot_.sites, site, [&](const Site& s) { return s.name == site.name; });
}
void ClusterTable::remove_site(const std::string& name) {
  std::erase_if(snapshot_.sites, [&](const Site& s) { return s.name == name; });
}
void ClusterTable::upsert_link(Link link) {
  replace_or_add(snapshot_.links, link,
                 [&](const Link& l) { return l.from == link.from && l.to == link.to; });
}
void ClusterTable::upsert_queue(Queue queue) {
  const auto& used = usage_[queue.name];
  queue.cores_used = used.cores_used;
  queue.memory_used = used.memory_used;
  queue.accelerators_used = used.accelerators_used;
  replace_or_add(snapshot_.queues, queue, [&](const Queue& q) { return q.name == queue.name; });
}
const Allocation* ClusterTable::find_allocation(const std::string& name) const {
  const auto found = allocations_.find(name);
  return found == allocations_.end() ? nullptr : &found->second;
}

}  // namespace neap::scheduler
