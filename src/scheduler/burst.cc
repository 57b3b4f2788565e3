#include "neap/scheduler/burst.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>

namespace neap::scheduler {

std::optional<NodePool::Place> NodePool::take(int gpus) {
  if (gpus <= gpus_per_node_) {
    auto best = free_.end();
    for (auto node = free_.begin(); node != free_.end(); ++node)
      if (*node >= gpus && (best == free_.end() || *node < *best)) best = node;
    if (best == free_.end()) return std::nullopt;
    *best -= gpus;
    return Place{{static_cast<std::size_t>(best - free_.begin())}, gpus};
  }
  const auto wanted = static_cast<std::size_t>((gpus - 1) / gpus_per_node_ + 1);
  Place place{{}, gpus_per_node_};
  for (std::size_t node = 0; node < free_.size() && place.nodes.size() < wanted; ++node)
    if (free_[node] == gpus_per_node_) place.nodes.push_back(node);
  if (place.nodes.size() < wanted) return std::nullopt;
  for (const auto node : place.nodes) free_[node] = 0;
  return place;
}

std::optional<NodePool::Place> NodePool::take_sparing(int gpus, int alike_gpus) {
  const auto has_room = [&](int room) { return room >= gpus && room < gpus_per_node_; };
  const auto whole = static_cast<std::size_t>(std::ranges::count(free_, gpus_per_node_));
  const bool may_break_in = 4 * whole > free_.size() || 2 * alike_gpus >= gpus_per_node_;
  if (gpus < gpus_per_node_ && !may_break_in && std::ranges::none_of(free_, has_room)) return std::nullopt;
  return take(gpus);
}

void NodePool::give_back(const Place& place) {
  for (const auto node : place.nodes) free_[node] += place.gpus_each;
}

std::vector<double> forecast_starts_h(NodePool pool, std::span<const PrivateRun> runs,
                                      std::span<const WaitingGang> queue) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<double> starts(queue.size(), kNever);
  std::vector<NodePool::Place> places;
  using End = std::pair<double, std::size_t>;  // when, index into places
  std::priority_queue<End, std::vector<End>, std::greater<>> ends;
  for (const auto& run : runs) {
    ends.emplace(run.left_h, places.size());
    places.push_back(run.place);
  }
  std::vector<std::size_t> waiting(queue.size());
  std::iota(waiting.begin(), waiting.end(), std::size_t{0});
  for (double now = 0;;) {
    std::erase_if(waiting, [&](std::size_t gang) {
      auto place = pool.take(queue[gang].gpus);
      if (!place) return false;
      starts[gang] = now;
      ends.emplace(now + queue[gang].run_h, places.size());
      places.push_back(std::move(*place));
      return true;
    });
    if (waiting.empty() || ends.empty()) return starts;
    now = ends.top().first;
    while (!ends.empty() && ends.top().first <= now) {
      pool.give_back(places[ends.top().second]);
      ends.pop();
    }
  }
}

std::vector<std::size_t> choose_bursts(const NodePool& pool, std::span<const PrivateRun> runs,
                                       std::span<const WaitingGang> queue, const BurstRule& rule) {
  std::vector<WaitingGang> staying(queue.begin(), queue.end());
  std::vector<std::size_t> index(queue.size());
  std::iota(index.begin(), index.end(), std::size_t{0});
  std::vector<std::size_t> leaving;
  while (!staying.empty()) {
    const auto starts = forecast_starts_h(pool, runs, staying);
    auto last = staying.size();
    while (last > 0) {
      const auto& gang = staying[last - 1];
      const double worth_h = rule.wait_h_per_gpu_hour * gang.gpus * gang.run_h;
      if (gang.waited_h + starts[last - 1] > worth_h + 1e-9) break;
      --last;
    }
    if (last == 0) break;
    leaving.push_back(index[last - 1]);
    staying.erase(staying.begin() + static_cast<std::ptrdiff_t>(last - 1));
    index.erase(index.begin() + static_cast<std::ptrdiff_t>(last - 1));
  }
  std::ranges::sort(leaving);
  return leaving;
}

double home_saved_min(const BurstRule& rule, const DriftDelay& delay) {
  const double allowed_h = rule.home_delay_share * delay.run_h;
  const double used = allowed_h > 0 ? delay.lost_h / allowed_h : 0;
  return rule.home_worth * rule.move_h * std::pow(5, used);
}

std::vector<std::size_t> order_homecoming(std::span<const CloudRun> runs, const BurstRule& rule,
                                          const DriftDelay& delay) {
  const double saved_min = home_saved_min(rule, delay);
  std::vector<std::size_t> order;
  for (std::size_t run = 0; run < runs.size(); ++run)
    if (runs[run].left_h > rule.home_left_min_h && runs[run].ran_h > rule.home_ran_min_h &&
        runs[run].left_h * runs[run].gpus >= saved_min)
      order.push_back(run);
  std::ranges::sort(order, {},
                    [&](std::size_t run) { return std::pair(-runs[run].left_h * runs[run].gpus, run); });
  return order;
}

}  // namespace neap::scheduler
