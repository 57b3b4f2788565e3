#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "internal/board.h"
#include "neap/scheduler/profiles.h"

namespace neap::scheduler {
namespace {

constexpr std::size_t kTypicalMax = 32;

// Thousandths of devices that the best choice leaves unused in the long run beyond what is so already;
// `chosen` receives it where asked.
double added_stranding(const Context& context, std::uint32_t node, const ReplicaResources& each,
                       std::vector<std::uint16_t>* chosen) {
  const Board& board = *context.board;
  const auto free = board.devices(node);
  std::array<std::int32_t, kDevicesMax> copy{};
  const std::size_t count = std::min(free.size(), kDevicesMax);
  std::copy_n(free.begin(), count, copy.begin());
  const std::span<const std::int32_t> view(copy.data(), count);
  const auto cores = board.cores_free[node];
  const auto model = board.classes[board.node_class[node]].model;
  const double before = context.stranding->compute(model, cores, view);
  const auto after = [&] { return context.stranding->compute(model, cores - each.cores.value, view); };
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
  const double relief = -added_stranding(context, node, each, nullptr) / 1000;
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

std::uint32_t count_slots(const Board& board, const ReplicaResources& each, std::uint32_t node) {
  constexpr std::int64_t kMost = 1'000'000;
  std::int64_t slots = kMost;
  if (each.cores.value > 0)
    slots = std::min(slots, std::max<std::int64_t>(0, board.cores_free[node]) / each.cores.value);
  if (each.memory.value > 0)
    slots = std::min(slots, std::max<std::int64_t>(0, board.memory_free[node]) / each.memory.value);
  if (const auto asked = each.accelerators.value; asked > 0 && slots > 0) {
    std::int64_t room = 0;
    for (const auto free : board.devices(node)) room += asked < 1000 ? free / asked : free == 1000;
    slots = std::min(slots, asked < 1000 ? room : room / (asked / 1000));
  }
  return std::uint32_t(slots);
}

std::vector<std::uint16_t> choose_devices(const Context& context, std::uint32_t node,
                                          const ReplicaResources& each) {
  std::vector<std::uint16_t> chosen;
  if (each.accelerators.value > 0) added_stranding(context, node, each, &chosen);
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
  const bool is_green = ask.request.cost_strategy == CostStrategy::kLowestCarbon;
  const auto w = is_green ? carbon_first(context.options->weights) : context.options->weights;
  const double cost_weight = ask.request.cost_strategy == CostStrategy::kCheapest ? w.cost * 3 : w.cost;
  parts.total = context.options->profile != Profile::kWeighted
                    ? profile_total(context, ask, node, parts) + parts.preference
                    : cost_weight * parts.cost + w.latency * parts.latency + w.gravity * parts.gravity +
                          w.fragmentation * parts.fragmentation + w.utilisation * parts.utilisation +
                          w.spread * parts.spread + w.carbon * parts.carbon + parts.preference;
  return parts;
}

StrandingTable make_stranding_table(const Board& board, std::span<const Request> requests) {
  std::map<std::tuple<std::string_view, std::int64_t, std::int64_t>, double> counts;
  for (const auto& request : requests)
    if (request.each.accelerators.value > 0 && request.replicas > 0)
      counts[{request.each.accelerator_model, request.each.accelerators.value, request.each.cores.value}] +=
          request.replicas;
  const auto kind = [](std::int64_t cores, std::int64_t milli, std::uint64_t models, double share) {
    const bool is_shared = milli < 1000;
    const auto devices = is_shared ? 1 : std::min<std::int64_t>(milli / 1000, std::int64_t(kDevicesMax));
    return TypicalTask{cores, std::int32_t(devices), std::int32_t(is_shared ? milli : 1000), models, share};
  };
  std::vector<TypicalTask> tasks;
  for (const auto& [key, count] : counts) {
    const auto& [name, milli, cores] = key;
    std::uint64_t models = name.empty() ? ~std::uint64_t(0) : 0;
    for (std::size_t m = 0; m < board.models.size(); ++m)
      if (board.models[m] == name) models |= std::uint64_t(1) << m;
    tasks.push_back(kind(cores, milli, models, count));
  }
  tasks = keep_typical(std::move(tasks), 1);
  if (tasks.size() > kTypicalMax) tasks.resize(kTypicalMax);
  // One request says little about what comes: halves and whole machines are always worth keeping usable.
  if (tasks.size() < 3)
    for (const std::int64_t milli : {500, 1000, 8000})
      tasks.push_back(kind(1000, milli, ~std::uint64_t(0), tasks.empty() ? 1.0 : tasks[0].share / 2));
  tasks = keep_typical(std::move(tasks), 1);
  std::vector<std::int64_t> supply(std::max<std::size_t>(1, board.models.size()), 0);
  for (std::uint32_t n = 0; n < board.nodes.size(); ++n)
    supply[board.classes[board.node_class[n]].model] += 1000 * std::int64_t(board.devices(n).size());
  return {tasks, supply};
}

}  // namespace neap::scheduler
