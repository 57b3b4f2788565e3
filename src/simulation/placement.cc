#include "neap/simulation/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <tuple>
#include <vector>

#include "neap/simulation/sample.h"

namespace neap::simulation {
namespace {

using scheduler::PackingBoard;
using scheduler::PackingTask;

// Kinds that together are this part of the list are known beforehand, as in the published runs.
constexpr double kTypicalShare = 0.95;
constexpr std::size_t kArrivalsMax = 5'000'000;

std::int64_t milli_of(const PackingTask& task) { return std::int64_t(task.devices) * task.milli; }

std::vector<scheduler::TypicalTask> find_typical(const OpenbTrace& trace) {
  std::map<std::tuple<std::int64_t, std::int32_t, std::int32_t, std::uint64_t>, double> counts;
  for (const auto& [name, task] : trace.tasks)
    counts[{task.cores, task.devices, task.milli, task.models}] += 1;
  std::vector<scheduler::TypicalTask> kinds;
  for (const auto& [key, count] : counts)
    kinds.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), std::get<3>(key), count});
  return keep_typical(std::move(kinds), kTypicalShare);
}

// The list in random order, then draws from it until the next would pass the ratio.
Result<std::vector<const PackingTask*>> draw_arrivals(const OpenbTrace& trace, double ratio, Draw& draw) {
  std::vector<const PackingTask*> arrivals;
  std::int64_t asked = 0;
  for (const auto& [name, task] : trace.tasks) {
    arrivals.push_back(&task);
    asked += milli_of(task);
  }
  draw.shuffle(std::span(arrivals));
  if (asked == 0) return arrivals;
  const double limit = ratio * double(trace.devices_milli);
  for (;;) {
    const PackingTask& next = trace.tasks[draw.below(trace.tasks.size())].task;
    asked += milli_of(next);
    if (double(asked) > limit) return arrivals;
    if (arrivals.size() >= kArrivalsMax)
      return fail(Code::kResourceExhausted, "simulation.placement",
                  fmt::format("the load needs more than {} arrivals; lower --ratio or take a list with more "
                              "accelerator work",
                              kArrivalsMax));
    arrivals.push_back(&next);
  }
}

class Replay {
 public:
  Replay(const OpenbTrace& trace, std::span<const scheduler::PackingNode> nodes,
         const PlacementOptions& options)
      : options_(options),
        devices_milli_(trace.devices_milli),
        board_(nodes, find_typical(trace), options.rule),
        residents_(board_.nodes()) {}

  PlacementResult run(std::span<const PackingTask* const> arrivals) {
    result_.arrived = arrivals.size();
    std::vector<std::uint32_t> shapes;
    for (const auto* task : arrivals) shapes.push_back(board_.shape_of(*task));
    const bool is_batched = options_.placement_class == PlacementClass::kBatched;
    const auto window = std::max<std::size_t>(1, !is_batched            ? 1
                                                 : options_.window == 0 ? arrivals.size()
                                                                        : options_.window);
    for (std::size_t begin = 0; begin < shapes.size(); begin += window) {
      const auto count = std::min(window, shapes.size() - begin);
      if (is_batched) {
        const auto seats = seat_batch(board_, std::span(shapes).subspan(begin, count));
        result_.placed +=
            std::size_t(std::ranges::count_if(seats, [](const auto& s) { return s.has_value(); }));
      } else {
        seat(begin, shapes[begin]);
      }
      for (const auto* task : arrivals.subspan(begin, count)) record(*task);
    }
    for (auto& [load, sum] : result_.allocated_percent) sum /= double(seen_[load]);
    return result_;
  }

 private:
  void seat(std::uint64_t id, std::uint32_t shape) {
    const bool repacks = options_.placement_class == PlacementClass::kRepacked;
    auto seat = board_.find_seat(shape);
    // Nothing is moved for work that no accelerator waits for.
    if (!seat && repacks && board_.task(shape).devices > 0) seat = make_room(shape);
    if (!seat) return;
    board_.take(shape, *seat);
    ++result_.placed;
    if (repacks) residents_.add({id, shape, *seat, true});
  }
  std::optional<scheduler::Seat> make_room(std::uint32_t shape) {
    const auto plan = plan_room(board_, residents_, shape, options_.room);
    if (!plan) return std::nullopt;
    for (const auto& move : plan->moves) {
      ++(move.to ? result_.moved : result_.set_back);
      if (!move.to) --result_.placed;
    }
    carry_out(board_, residents_, *plan);
    return plan->seat;
  }
  void record(const PackingTask& task) {
    arrived_milli_ += milli_of(task);
    const auto load = int(std::lround(100.0 * double(arrived_milli_) / double(devices_milli_)));
    result_.allocated_percent[load] +=
        100.0 * double(devices_milli_ - board_.free_milli()) / double(devices_milli_);
    ++seen_[load];
  }

  const PlacementOptions& options_;
  std::int64_t devices_milli_;
  PackingBoard board_;
  scheduler::ResidentTable residents_;
  std::int64_t arrived_milli_ = 0;
  std::map<int, std::size_t> seen_;
  PlacementResult result_;
};

}  // namespace

Result<PlacementResult> replay_placement(const OpenbTrace& trace, const PlacementOptions& options) {
  if (!(options.ratio > 0 && options.ratio <= 10))
    return fail(Code::kInvalidArgument, "simulation.placement",
                fmt::format("the ratio is {}; it must be above 0 and at most 10", options.ratio));
  Draw draw(options.seed);
  // The order of nodes only breaks ties; it is drawn so that no list profits from how its file is sorted.
  auto nodes = trace.nodes;
  draw.shuffle(std::span(nodes));
  NEAP_TRY(const auto arrivals, draw_arrivals(trace, options.ratio, draw));
  return Replay(trace, nodes, options).run(arrivals);
}

}  // namespace neap::simulation
