#include "neap/scheduler/queue_documents.h"

#include <algorithm>
#include <optional>
#include <set>

namespace neap::scheduler {
namespace {

Amounts to_amounts(const api::QueueQuota& quota, const std::vector<std::string>& models) {
  const auto stated = [](std::int64_t value) { return value > 0 ? value : kUnstated; };
  Amounts out{stated(quota.cpu.value), stated(quota.memory.value), stated(quota.accelerators.value)};
  for (const auto& model : models) {
    const auto it = quota.acceleratorModels.find(model);
    out.push_back(it == quota.acceleratorModels.end() ? kUnstated : stated(it->second.value));
  }
  return out;
}

Amounts to_amounts(const std::optional<api::QueueLimit>& limit, const std::vector<std::string>& models) {
  Amounts out(kModelAxes + models.size(), kNoLimit);
  if (!limit) return out;
  if (limit->cpu) out[kCoresAxis] = limit->cpu->value;
  if (limit->memory) out[kMemoryAxis] = limit->memory->value;
  if (limit->accelerators) out[kAcceleratorsAxis] = limit->accelerators->value;
  for (std::size_t i = 0; i < models.size(); ++i)
    if (const auto it = limit->acceleratorModels.find(models[i]); it != limit->acceleratorModels.end())
      out[kModelAxes + i] = it->second.value;
  return out;
}

}  // namespace

std::vector<std::string> models_named(QueueDocuments queues) {
  std::set<std::string> out;
  for (const auto* queue : queues) {
    for (const auto& [model, amount] : queue->spec.quota.acceleratorModels) out.insert(model);
    for (const auto* limit : {&queue->spec.borrowingLimit, &queue->spec.lendingLimit})
      if (*limit)
        for (const auto& [model, amount] : (*limit)->acceleratorModels) out.insert(model);
  }
  return {out.begin(), out.end()};
}

ShareTree make_share_tree(QueueDocuments queues, std::vector<std::string> models, Amounts capacity) {
  std::vector<ShareQueue> out(1);
  for (const auto* queue : queues)
    out.push_back({.name = queue->metadata.name,
                   .parent = queue->spec.parent,
                   .quota = to_amounts(queue->spec.quota, models),
                   .weight = queue->spec.weight,
                   .borrowing_max = to_amounts(queue->spec.borrowingLimit, models),
                   .lending_max = to_amounts(queue->spec.lendingLimit, models),
                   .is_fifo = queue->spec.order == api::QueueOrder::kFifo,
                   .ageing = queue->spec.ageing});
  return {std::move(models), std::move(capacity), std::move(out)};
}

std::map<std::string, TurnRules, std::less<>> turn_rules(QueueDocuments queues) {
  std::map<std::string, TurnRules, std::less<>> out;
  for (const auto* queue : queues)
    out.emplace(queue->metadata.name, TurnRules{.backfill = queue->spec.backfill,
                                                .reservation_after = queue->spec.reservationAfter,
                                                .reservations = queue->spec.reservations,
                                                .is_root = queue->spec.parent.empty()});
  return out;
}

std::string default_queue(QueueDocuments queues, std::string_view project) {
  std::string for_all;
  for (const auto* queue : queues)
    for (const auto& one : queue->spec.defaultForProjects) {
      if (one == project) return queue->metadata.name;
      if (one == "*" && for_all.empty()) for_all = queue->metadata.name;
    }
  return for_all;
}

}  // namespace neap::scheduler
