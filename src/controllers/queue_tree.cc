#include <algorithm>
#include <set>

#include "internal/queueing.h"

namespace neap::controllers {
namespace {

using scheduler::Amounts;
using scheduler::ShareTree;

Amounts to_amounts(const api::QueueQuota& quota, const std::vector<std::string>& models) {
  const auto stated = [](std::int64_t value) { return value > 0 ? value : scheduler::kUnstated; };
  Amounts out{stated(quota.cpu.value), stated(quota.memory.value), stated(quota.accelerators.value)};
  for (const auto& model : models) {
    const auto it = quota.acceleratorModels.find(model);
    out.push_back(it == quota.acceleratorModels.end() ? scheduler::kUnstated : stated(it->second.value));
  }
  return out;
}

Amounts to_amounts(const std::optional<api::QueueLimit>& limit, const std::vector<std::string>& models) {
  Amounts out(scheduler::kModelAxes + models.size(), scheduler::kNoLimit);
  if (!limit) return out;
  if (limit->cpu) out[scheduler::kCoresAxis] = limit->cpu->value;
  if (limit->memory) out[scheduler::kMemoryAxis] = limit->memory->value;
  if (limit->accelerators) out[scheduler::kAcceleratorsAxis] = limit->accelerators->value;
  for (std::size_t i = 0; i < models.size(); ++i)
    if (const auto it = limit->acceleratorModels.find(models[i]); it != limit->acceleratorModels.end())
      out[scheduler::kModelAxes + i] = it->second.value;
  return out;
}

}  // namespace

std::vector<std::string> models_named(const ClusterState& state) {
  std::set<std::string> out;
  for (const auto& [key, queue] : state.all<api::Queue>()) {
    for (const auto& [model, amount] : queue.spec.quota.acceleratorModels) out.insert(model);
    for (const auto* limit : {&queue.spec.borrowingLimit, &queue.spec.lendingLimit})
      if (*limit)
        for (const auto& [model, amount] : (*limit)->acceleratorModels) out.insert(model);
  }
  return {out.begin(), out.end()};
}

Amounts amounts_of(const ShareTree& tree, const api::Resources& resources) {
  auto out = tree.amounts_of(resources.cpu.value, resources.memory.value, {}, 0);
  for (const auto& [model, amount] : resources.accelerators) {
    const auto more = tree.amounts_of(0, 0, model, amount.value);
    for (std::size_t axis = 0; axis < out.size(); ++axis) out[axis] += more[axis];
  }
  return out;
}

api::QueueQuota to_quota(const Amounts& amounts, const std::vector<std::string>& models) {
  api::QueueQuota out{.cpu = {amounts[scheduler::kCoresAxis]},
                      .memory = {amounts[scheduler::kMemoryAxis]},
                      .accelerators = {amounts[scheduler::kAcceleratorsAxis]},
                      .acceleratorModels = {}};
  for (std::size_t i = 0; i < models.size(); ++i)
    if (const auto amount = amounts[scheduler::kModelAxes + i]; amount > 0)
      out.acceleratorModels[models[i]] = {amount};
  return out;
}

namespace {

std::string default_queue_of(const ClusterState& state, const std::string& project) {
  std::string for_all;
  for (const auto& [key, queue] : state.all<api::Queue>())
    for (const auto& one : queue.spec.defaultForProjects) {
      if (one == project) return key.name;
      if (one == "*" && for_all.empty()) for_all = key.name;
    }
  return for_all;
}

}  // namespace

std::string queue_of(const ClusterState& state, const api::TrainingJob& job) {
  const auto& named = job.spec.queue;
  const bool is_lenient = named == "default" || job.metadata.labels.contains("neap.dev/pod-group");
  if (!named.empty() && (!is_lenient || state.find<api::Queue>("", named))) return named;
  return default_queue_of(state, job.metadata.namespace_);
}

std::string queue_of(const ClusterState& state, const api::InferenceService& service) {
  return service.spec.queue.empty() ? default_queue_of(state, service.metadata.namespace_)
                                    : service.spec.queue;
}

std::vector<scheduler::Queue> queues_of(const Pass& pass, const std::vector<Holding>& holdings) {
  std::vector<scheduler::Queue> out;
  if (pass.state.all<api::Queue>().empty()) return out;
  const auto tree = share_tree(pass, holdings);
  for (const auto& [key, queue] : pass.state.all<api::Queue>()) {
    const auto used = tree.used(key.name), more = tree.reachable(key.name);
    // A limit of 0 would be none.
    const auto limit = [&](std::size_t axis) {
      return more[axis] >= scheduler::kNoLimit
                 ? 0
                 : std::max<std::int64_t>(1, used[axis] + std::max<std::int64_t>(0, more[axis]));
    };
    out.push_back({.name = key.name,
                   .cores_limit = {limit(scheduler::kCoresAxis)},
                   .cores_used = {used[scheduler::kCoresAxis]},
                   .memory_limit = {limit(scheduler::kMemoryAxis)},
                   .memory_used = {used[scheduler::kMemoryAxis]},
                   .accelerators_limit = {limit(scheduler::kAcceleratorsAxis)},
                   .accelerators_used = {used[scheduler::kAcceleratorsAxis]}});
  }
  return out;
}

ShareTree share_tree(const Pass& pass, const std::vector<Holding>& holdings) {
  const auto models = models_named(pass.state);
  Amounts capacity(scheduler::kModelAxes + models.size(), 0);
  for (const auto& [key, node] : pass.state.all<api::Node>()) {
    const auto& there = node.status.allocatable;
    capacity[scheduler::kCoresAxis] += there.cpu.value;
    capacity[scheduler::kMemoryAxis] += there.memory.value;
    for (const auto& [model, amount] : there.accelerators) {
      capacity[scheduler::kAcceleratorsAxis] += amount.value;
      if (const auto it = std::ranges::find(models, model); it != models.end())
        capacity[scheduler::kModelAxes + std::size_t(it - models.begin())] += amount.value;
    }
  }
  // What names no queue stands beside the roots, without a limit.
  std::vector<scheduler::ShareQueue> queues(1);
  for (const auto& [key, queue] : pass.state.all<api::Queue>())
    queues.push_back({.name = key.name,
                      .parent = queue.spec.parent,
                      .quota = to_amounts(queue.spec.quota, models),
                      .weight = queue.spec.weight,
                      .borrowing_max = to_amounts(queue.spec.borrowingLimit, models),
                      .lending_max = to_amounts(queue.spec.lendingLimit, models),
                      .is_fifo = queue.spec.order == api::QueueOrder::kFifo,
                      .ageing = queue.spec.ageing});
  ShareTree tree(models, std::move(capacity), std::move(queues));
  const auto charge = [&](const auto* owner, const Holding& holding) {
    if (owner) tree.charge(queue_of(pass.state, *owner), amounts_of(tree, *holding.resources));
  };
  for (const auto& holding : holdings) {
    const std::string project(holding.project), name(holding.owner_name);
    if (holding.owner_kind == "TrainingJob")
      charge(pass.state.find<api::TrainingJob>(project, name), holding);
    else if (holding.owner_kind == "InferenceService")
      charge(pass.state.find<api::InferenceService>(project, name), holding);
  }
  return tree;
}

}  // namespace neap::controllers
