#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "internal/board.h"
#include "neap/scheduler/profiles.h"

namespace neap::scheduler {
namespace {

constexpr std::size_t kTypicalMax = 6;

// Thousandths of accelerators of a node that this kind of work cannot use (FGD's F_n(m)).
double fragment_of(const TypicalTask& task, std::int64_t cores, std::int64_t memory,
                   std::span<const std::int32_t> free) {
  double total = 0, usable = 0;
  std::int32_t whole = 0;
  for (const auto device : free) {
    total += device;
    whole += device == 1000;
    if (task.accelerators < 1000 && device >= task.accelerators) usable += device;
    if (task.accelerators >= 1000 && device == 1000) usable += 1000;
  }
  if (cores < task.cores || memory < task.memory) return total;
  if (task.accelerators >= 1000 && whole * 1000 < task.accelerators) return total;
  return total - usable;
}

double fragments(const Context& context, std::int64_t cores, std::int64_t memory,
                 std::span<const std::int32_t> free) {
  double sum = 0;
  for (const auto& task : context.typical) sum += task.share * fragment_of(task, cores, memory, free);
  return sum;
}

// Fragmentation added by the best choice of devices; `chosen` receives it where asked.
double added_fragments(const Context& context, std::uint32_t node, const ReplicaResources& each,
                       std::vector<std::uint16_t>* chosen) {
  const Board& board = *context.board;
  const auto free = board.devices(node);
  std::array<std::int32_t, kDevicesMax> copy{};
  const std::size_t count = std::min(free.size(), kDevicesMax);
  std::copy_n(free.begin(), count, copy.begin());
  const std::span<const std::int32_t> view(copy.data(), count);
  const auto cores = board.cores_free[node], memory = board.memory_free[node];
  const double before = fragments(context, cores, memory, view);
  const auto after = [&] {
    return fragments(context, cores - each.cores.value, memory - each.memory.value, view);
  };
  const auto asked = std::int32_t(each.accelerators.value);
  if (asked >= 1000) {
    std::int32_t left = asked / 1000;
    for (std::size_t i = 0; i < count && left > 0; ++i) {
      if (copy[i] != 1000) continue;
      copy[i] = 0;
      --left;
      if (chosen) chosen->push_back(std::uint16_t(i));
    }
    return after() - before;
  }
  double best = std::numeric_limits<double>::infinity();
  std::size_t best_at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (copy[i] < asked || std::find(copy.begin(), copy.begin() + std::ptrdiff_t(i), copy[i]) !=
                               copy.begin() + std::ptrdiff_t(i))
      continue;
    copy[i] -= asked;
    // Between equal ones the fuller device.
    const double added = after() - before + double(copy[i]) * 1e-6;
    copy[i] += asked;
    if (added < best) {
      best = added;
      best_at = i;
    }
  }
  if (chosen) chosen->push_back(std::uint16_t(best_at));
  return best;
}

double fragmentation_score(const Context& context, std::uint32_t node, const ReplicaResources& each) {
  const auto free = context.board->devices(node);
  if (each.accelerators.value == 0) {
    // Work without accelerators keeps off nodes whose accelerators would be stranded.
    if (free.empty()) return 100;
    std::int64_t total = 0;
    for (const auto device : free) total += device;
    return 100 - 100 * double(total) / (1000 * double(free.size()));
  }
  const double relief = -added_fragments(context, node, each, nullptr) / 1000;
  return 50 * (1 + relief / (1 + std::fabs(relief)));
}

double profile_total(const Context& context, const Ask& ask, std::uint32_t node, const ScoreParts& parts) {
  const Board& board = *context.board;
  ProfileInput in;
  in.tier = board.sites[board.classes[board.node_class[node]].site]->tier;
  in.free_cores = double(board.cores_free[node]) / 1000;
  in.asked_cores = double(ask.request.each.cores.value) / 1000;
  for (const auto device : board.devices(node)) in.free_accelerators += double(device) / 1000;
  in.latency_ms = parts.rtt ? to_seconds(*parts.rtt) * 1000 : 0;
  in.is_latency_critical = ask.request.latency_max.has_value();
  in.cost_per_hour = parts.cost_per_hour ? double(parts.cost_per_hour->value) / 1e6 : 0;
  // The profile divides bytes by bandwidth; both cancel into the seconds already known.
  in.bytes = parts.transfer_seconds;
  in.bandwidth = std::isfinite(parts.transfer_seconds) ? 1 : 0;
  switch (context.options->profile) {
    case Profile::kHeadroom:
      return score_headroom(in);
    case Profile::kLatencyFirst:
      return score_latency_first(in);
    default:
      return score_tiered(in);
  }
}

}  // namespace

bool fits_devices(std::span<const std::int32_t> free, std::int64_t asked) {
  if (asked < 1000)
    return std::any_of(free.begin(), free.end(), [&](std::int32_t device) { return device >= asked; });
  std::int64_t whole = 0;
  for (const auto device : free) whole += device == 1000 ? 1000 : 0;
  return whole >= asked;
}

std::vector<std::uint16_t> choose_devices(const Context& context, std::uint32_t node,
                                          const ReplicaResources& each) {
  std::vector<std::uint16_t> chosen;
  if (each.accelerators.value > 0) added_fragments(context, node, each, &chosen);
  return chosen;
}

ScoreParts score_node(const Context& context, const Ask& ask, std::uint32_t node) {
  const Board& board = *context.board;
  const auto& each = ask.request.each;
  ScoreParts parts = ask.class_verdicts[board.node_class[node]].parts;
  const auto& held = *board.nodes[node];
  const auto fullness = [](std::int64_t free, std::int64_t asked, std::int64_t all) {
    return all > 0 ? 1 - double(free - asked) / double(all) : 1.0;
  };
  parts.utilisation =
      50 * (fullness(board.cores_free[node], each.cores.value, held.cores_allocatable.value) +
            fullness(board.memory_free[node], each.memory.value, held.memory_allocatable.value));
  parts.fragmentation = fragmentation_score(context, node, each);
  parts.spread = 100;
  parts.preference += node_preference(context, ask, node);
  const auto& w = context.options->weights;
  const double cost_weight = ask.request.cost_strategy == CostStrategy::kCheapest ? w.cost * 3 : w.cost;
  parts.total = context.options->profile != Profile::kWeighted
                    ? profile_total(context, ask, node, parts) + parts.preference
                    : cost_weight * parts.cost + w.latency * parts.latency + w.gravity * parts.gravity +
                          w.fragmentation * parts.fragmentation + w.utilisation * parts.utilisation +
                          w.spread * parts.spread + parts.preference;
  return parts;
}

std::vector<TypicalTask> find_typical_tasks(std::span<const Request> requests) {
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, double> counts;
  for (const auto& request : requests)
    if (request.each.accelerators.value > 0 && request.replicas > 0)
      counts[{request.each.accelerators.value, request.each.cores.value, request.each.memory.value}] +=
          request.replicas;
  std::vector<TypicalTask> tasks;
  for (const auto& [key, count] : counts)
    tasks.push_back({std::get<1>(key), std::get<2>(key),
                     std::int32_t(std::min<std::int64_t>(std::get<0>(key), 1'000'000)), count});
  std::sort(tasks.begin(), tasks.end(), [](const TypicalTask& a, const TypicalTask& b) {
    return std::tuple(-a.share, a.accelerators, a.cores, a.memory) <
           std::tuple(-b.share, b.accelerators, b.cores, b.memory);
  });
  if (tasks.size() > kTypicalMax) tasks.resize(kTypicalMax);
  // One request says little about what comes: halves and whole machines are always worth keeping usable.
  if (tasks.size() < 3)
    for (const std::int32_t size : {500, 1000, 8000})
      tasks.push_back({1000, 0, size, tasks.empty() ? 1.0 : tasks[0].share / 2});
  double sum = 0;
  for (const auto& task : tasks) sum += task.share;
  for (auto& task : tasks) task.share /= sum;
  return tasks;
}

}  // namespace neap::scheduler
