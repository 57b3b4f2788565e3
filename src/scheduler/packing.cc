#include "neap/scheduler/packing.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace neap::scheduler {
namespace {

constexpr std::int32_t kDevice = 1000;
constexpr std::int32_t kNoRoom = INT32_MIN;
// Falls closer than this, in thousandths of a device, count as equal; then the first node wins, and nodes
// further down stay whole.
constexpr double kStep = 20;
// The log of changes is dropped beyond this; every shape is then evaluated anew.
constexpr std::size_t kChangesMax = 1 << 20;

std::vector<std::int64_t> supply_of(std::span<const PackingNode> nodes) {
  std::vector<std::int64_t> supply(1, 0);
  for (const auto& node : nodes) {
    if (node.model >= supply.size()) supply.resize(node.model + 1, 0);
    supply[node.model] += kDevice * std::int64_t(node.devices.size());
  }
  return supply;
}

}  // namespace

PackingBoard::PackingBoard(std::span<const PackingNode> nodes, std::span<const TypicalTask> typical,
                           PackingRule rule)
    : rule_(rule), table_(typical, supply_of(nodes)) {
  for (const auto& node : nodes) {
    cores_.push_back(node.cores);
    memory_.push_back(node.memory);
    tasks_.push_back(node.tasks);
    model_.push_back(node.model);
    device_begin_.push_back(std::uint32_t(device_.size()));
    const auto count = std::min(node.devices.size(), kPackingDevicesMax);
    device_.insert(device_.end(), node.devices.begin(), node.devices.begin() + std::ptrdiff_t(count));
  }
  device_begin_.push_back(std::uint32_t(device_.size()));
  for (const auto free : device_) free_milli_ += free;
  for (std::uint32_t n = 0; n < nodes.size(); ++n) value_.push_back(value_of(n, cores_[n], devices(n)));
}

std::uint32_t PackingBoard::shape_of(const PackingTask& task) {
  for (std::uint32_t s = 0; s < shapes_.size(); ++s)
    if (shapes_[s].task == task) return s;
  shapes_.push_back({task, {}, 0, 0});
  return std::uint32_t(shapes_.size() - 1);
}

bool PackingBoard::has_room(const PackingTask& task, std::uint32_t node) const {
  if (cores_[node] < task.cores || memory_[node] < task.memory || tasks_[node] < 1) return false;
  if (task.devices == 0) return true;
  if ((task.models >> model_[node] & 1) == 0) return false;
  std::int32_t fitting = 0;
  for (const auto free : devices(node)) fitting += free >= task.milli;
  return fitting >= task.devices;
}

double PackingBoard::value_of(std::uint32_t node, std::int64_t cores,
                              std::span<const std::int32_t> free) const {
  if (rule_ == PackingRule::kNeap) return table_.compute(model_[node], cores, free);
  return table_.fragmentation().fragments(model_[node], cores, free);
}

std::int32_t PackingBoard::rate(const PackingTask& task, std::uint32_t node,
                                std::span<const std::int32_t> after) const {
  const double fall = value_[node] - value_of(node, cores_[node] - task.cores, after);
  return std::int32_t(rule_ == PackingRule::kGradient ? std::floor(100 / (1 + std::exp(-fall / kDevice)))
                                                      : std::floor(fall / kStep));
}

// The published BestFit: nodes against the largest node of its cluster, devices by what is left.
PackingBoard::Choice PackingBoard::choose_fullest(const PackingTask& task, std::uint32_t node) const {
  const auto free = devices(node);
  std::int64_t total = 0;
  std::array<std::uint32_t, kPackingDevicesMax> order;
  std::size_t fitting = 0;
  for (std::uint32_t d = 0; d < free.size(); ++d) {
    total += free[d];
    if (free[d] >= task.milli) order[fitting++] = d;
  }
  const auto wanted = std::min(fitting, std::size_t(task.devices));
  std::partial_sort(
      order.begin(), order.begin() + std::ptrdiff_t(wanted), order.begin() + std::ptrdiff_t(fitting),
      [&](std::uint32_t a, std::uint32_t b) { return free[a] != free[b] ? free[a] < free[b] : a < b; });
  const double left = 0.5 * double(cores_[node] - task.cores) / 128'000 +
                      0.5 * double(total - std::int64_t(task.devices) * task.milli) / 8000;
  Choice choice{std::int32_t(100 * (1 - left)), 0};
  for (std::size_t i = 0; i < wanted; ++i) choice.devices |= std::uint64_t(1) << order[i];
  return choice;
}

PackingBoard::Choice PackingBoard::choose(const PackingTask& task, std::uint32_t node) const {
  if (rule_ == PackingRule::kBestFit) return choose_fullest(task, node);
  const auto free = devices(node);
  std::array<std::int32_t, kPackingDevicesMax> copy;
  std::copy(free.begin(), free.end(), copy.begin());
  const std::span<const std::int32_t> after(copy.data(), free.size());
  Choice best{kNoRoom, 0};
  if (task.devices != 1 || task.milli == kDevice) {
    std::int32_t left = task.devices;
    for (std::size_t d = 0; d < free.size() && left > 0; ++d) {
      if (free[d] < task.milli) continue;
      best.devices |= std::uint64_t(1) << d;
      copy[d] -= task.milli;
      --left;
    }
    best.score = rate(task, node, after);
    return best;
  }
  for (std::size_t d = 0; d < free.size(); ++d) {
    if (free[d] < task.milli || std::find(free.begin(), free.begin() + std::ptrdiff_t(d), free[d]) !=
                                    free.begin() + std::ptrdiff_t(d))
      continue;
    copy[d] -= task.milli;
    const std::int32_t score = rate(task, node, after);
    copy[d] += task.milli;
    if (score > best.score) best = {score, std::uint64_t(1) << d};
  }
  return best;
}

void PackingBoard::refresh(Shape& shape) {
  const auto evaluate = [&](std::uint32_t n) {
    shape.nodes_with_room -= shape.score[n] != kNoRoom;
    shape.score[n] = has_room(shape.task, n) ? choose(shape.task, n).score : kNoRoom;
    shape.nodes_with_room += shape.score[n] != kNoRoom;
  };
  if (shape.score.empty() || changes_.size() - shape.changes_read > nodes()) {
    shape.score.assign(nodes(), kNoRoom);
    shape.nodes_with_room = 0;
    for (std::uint32_t n = 0; n < nodes(); ++n) evaluate(n);
  } else {
    for (auto at = shape.changes_read; at < changes_.size(); ++at) evaluate(changes_[at]);
  }
  shape.changes_read = changes_.size();
}

std::uint32_t PackingBoard::count_nodes_with_room(std::uint32_t shape) {
  refresh(shapes_[shape]);
  return shapes_[shape].nodes_with_room;
}

std::optional<Seat> PackingBoard::find_seat(std::uint32_t shape, std::uint32_t but) {
  if (count_nodes_with_room(shape) == 0) return std::nullopt;
  auto& score = shapes_[shape].score;
  std::int32_t kept = kNoRoom;
  if (but < score.size()) std::swap(kept, score[but]);
  // Two passes, because a scan for the value alone is done many nodes at a time.
  std::int32_t best = kNoRoom;
  for (const auto each : score) best = std::max(best, each);
  const auto node = std::uint32_t(std::find(score.begin(), score.end(), best) - score.begin());
  if (but < score.size()) score[but] = kept;
  if (best == kNoRoom) return std::nullopt;
  return Seat{node, choose(shapes_[shape].task, node).devices};
}

std::optional<Seat> PackingBoard::find_seat_on(std::uint32_t shape, std::uint32_t node) const {
  const auto& task = shapes_[shape].task;
  if (!has_room(task, node)) return std::nullopt;
  return Seat{node, choose(task, node).devices};
}

void PackingBoard::apply(std::uint32_t shape, const Seat& seat, int sign) {
  const auto& task = shapes_[shape].task;
  const auto n = seat.node;
  cores_[n] += sign * task.cores;
  memory_[n] += sign * task.memory;
  tasks_[n] -= sign < 0 ? 1 : -1;
  for (auto left = seat.devices; left != 0; left &= left - 1)
    device_[device_begin_[n] + std::uint32_t(std::countr_zero(left))] += sign * task.milli;
  free_milli_ += sign * std::int64_t(std::popcount(seat.devices)) * task.milli;
  value_[n] = value_of(n, cores_[n], devices(n));
  if (changes_.size() >= kChangesMax) {
    changes_.clear();
    for (auto& known : shapes_) known = {known.task, {}, 0, 0};
  }
  changes_.push_back(n);
}

double PackingBoard::compute_fragments() const {
  double sum = 0;
  for (std::uint32_t n = 0; n < nodes(); ++n)
    sum += table_.fragmentation().fragments(model_[n], cores_[n], devices(n));
  return sum;
}

}  // namespace neap::scheduler
