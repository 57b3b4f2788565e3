#include <algorithm>

#include "internal/queueing.h"
#include "neap/base/saturate.h"
#include "neap/scheduler/queue_documents.h"

namespace neap::controllers {
namespace {

using scheduler::Amounts;
using scheduler::ShareTree;

std::vector<const api::Queue*> documents_of(const ClusterState& state) {
  std::vector<const api::Queue*> out;
  for (const auto& [key, queue] : state.all<api::Queue>()) out.push_back(&queue);
  return out;
}

}  // namespace

std::vector<std::string> models_named(const ClusterState& state) {
  return scheduler::models_named(documents_of(state));
}

std::map<std::string, scheduler::TurnRules, std::less<>> turn_rules(const ClusterState& state) {
  return scheduler::turn_rules(documents_of(state));
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

std::string queue_of(const ClusterState& state, const api::TrainingJob& job) {
  const auto& named = job.spec.queue;
  const bool is_lenient = named == "default" || job.metadata.labels.contains("neap.dev/pod-group");
  if (!named.empty() && (!is_lenient || state.find<api::Queue>("", named))) return named;
  return scheduler::default_queue(documents_of(state), job.metadata.namespace_);
}

std::string queue_of(const ClusterState& state, const api::InferenceService& service) {
  return service.spec.queue.empty()
             ? scheduler::default_queue(documents_of(state), service.metadata.namespace_)
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
                 : std::max<std::int64_t>(1,
                                          add_saturated(used[axis], std::max<std::int64_t>(0, more[axis])));
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
    const auto add = [&](std::size_t axis, std::int64_t amount) {
      capacity[axis] = add_saturated(capacity[axis], amount);
    };
    add(scheduler::kCoresAxis, there.cpu.value);
    add(scheduler::kMemoryAxis, there.memory.value);
    for (const auto& [model, amount] : there.accelerators) {
      add(scheduler::kAcceleratorsAxis, amount.value);
      if (const auto it = std::ranges::find(models, model); it != models.end())
        add(scheduler::kModelAxes + std::size_t(it - models.begin()), amount.value);
    }
  }
  auto tree = scheduler::make_share_tree(documents_of(pass.state), models, std::move(capacity));
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
