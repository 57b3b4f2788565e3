#include "neap/scheduler/repack.h"

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <numeric>

namespace neap::scheduler {
namespace {

// Choices of tasks on one device are tried in full up to this many tasks.
constexpr std::size_t kOnDeviceMax = 10;

// What it would take; less is better.
struct Disturbance {
  std::int64_t set_back_milli = 0;
  std::size_t tasks = 0;
  std::int64_t milli = 0;
  friend auto operator<=>(const Disturbance&, const Disturbance&) = default;
  Disturbance& operator+=(const Disturbance& other) {
    set_back_milli += other.set_back_milli;
    tasks += other.tasks;
    milli += other.milli;
    return *this;
  }
};

struct Clearing {
  std::uint32_t node = 0;
  std::vector<const Resident*> leaving;
  Disturbance disturbance;
};

class RoomPlanner {
 public:
  RoomPlanner(PackingBoard& board, const ResidentTable& residents, std::uint32_t shape,
              const RoomLimits& limits)
      : board_(board), residents_(residents), shape_(shape), limits_(limits), task_(board.task(shape)) {}

  std::optional<RoomPlan> plan() {
    std::vector<Clearing> clearings;
    for (std::uint32_t n = 0; n < board_.nodes(); ++n)
      if (auto clearing = clear(n)) clearings.push_back(std::move(*clearing));
    const auto tried = std::min(limits_.nodes_max, clearings.size());
    std::partial_sort(clearings.begin(), clearings.begin() + std::ptrdiff_t(tried), clearings.end(),
                      [](const Clearing& a, const Clearing& b) {
                        return a.disturbance != b.disturbance ? a.disturbance < b.disturbance
                                                              : a.node < b.node;
                      });
    for (std::size_t i = 0; i < tried; ++i)
      if (auto plan = try_out(clearings[i])) return plan;
    return std::nullopt;
  }

 private:
  static std::int64_t milli_of(const PackingTask& task) { return std::int64_t(task.devices) * task.milli; }
  const PackingTask& held(const Resident& resident) const { return board_.task(resident.shape); }

  // Thousandths that setting tasks back may cost at most; below zero: none at all.
  std::int64_t set_back_max() const {
    return limits_.set_back_gain_min ? milli_of(task_) - *limits_.set_back_gain_min : -1;
  }
  bool has_other_seat(const Resident& resident) {
    if (resident.shape >= seats_.size()) seats_.resize(resident.shape + 1, Known::kNot);
    auto& known = seats_[resident.shape];
    if (known == Known::kNot)
      known = board_.count_nodes_with_room(resident.shape) > 0 ? Known::kYes : Known::kNo;
    return known == Known::kYes;
  }
  bool can_leave(const Resident& resident) {
    if (!resident.may_move) return false;
    return has_other_seat(resident) || milli_of(held(resident)) <= set_back_max();
  }
  Disturbance disturbance_of(const Resident& resident) {
    const auto milli = milli_of(held(resident));
    return {has_other_seat(resident) ? 0 : milli, 1, milli};
  }
  bool is_within(const Disturbance& disturbance) const {
    return disturbance.tasks <= limits_.moves_max &&
           (disturbance.set_back_milli == 0 || disturbance.set_back_milli <= set_back_max());
  }

  // The least disturbing tasks on device `d` whose leaving frees enough of it.
  bool clear_device(std::uint32_t n, std::uint32_t d, Clearing& clearing) {
    const auto missing = task_.milli - board_.devices(n)[d];
    if (missing <= 0) return true;
    std::array<const Resident*, kOnDeviceMax> here{};
    std::array<Disturbance, kOnDeviceMax> each;
    std::size_t count = 0;
    std::int64_t all = 0;
    for (const auto& resident : residents_.on(n)) {
      if (resident.seat.devices != std::uint64_t(1) << d || count == kOnDeviceMax) continue;
      if (!can_leave(resident)) continue;
      here[count] = &resident;
      each[count] = disturbance_of(resident);
      all += each[count++].milli;
    }
    if (all < missing) return false;
    std::uint32_t best = 0;
    Disturbance least;
    for (std::uint32_t set = 1; set < 1u << count; ++set) {
      if (std::size_t(std::popcount(set)) > limits_.moves_max) continue;
      Disturbance sum;
      for (auto left = set; left != 0; left &= left - 1) sum += each[std::size_t(std::countr_zero(left))];
      if (sum.milli < missing || !is_within(sum) || (best != 0 && sum >= least)) continue;
      best = set;
      least = sum;
    }
    for (auto left = best; left != 0; left &= left - 1)
      clearing.leaving.push_back(here[std::size_t(std::countr_zero(left))]);
    clearing.disturbance += least;
    return best != 0;
  }

  bool clear_devices(Clearing& clearing) {
    if (task_.devices == 0) return true;
    std::vector<Clearing> options;
    for (std::uint32_t d = 0; d < board_.devices(clearing.node).size(); ++d) {
      Clearing option{clearing.node, {}, {}};
      if (clear_device(clearing.node, d, option)) options.push_back(std::move(option));
    }
    if (options.size() < std::size_t(task_.devices)) return false;
    std::vector<std::size_t> order(options.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::ranges::sort(order, {}, [&](std::size_t at) { return std::pair(options[at].disturbance, at); });
    order.resize(std::size_t(task_.devices));
    for (const auto at : order) {
      const auto& option = options[at];
      clearing.leaving.insert(clearing.leaving.end(), option.leaving.begin(), option.leaving.end());
      clearing.disturbance += option.disturbance;
    }
    return is_within(clearing.disturbance);
  }

  // Adds tasks until cores and memory suffice: the least disturbing that does it alone, else the largest.
  bool clear_host(Clearing& clearing) {
    auto cores = task_.cores - board_.cores(clearing.node);
    auto memory = task_.memory - board_.memory(clearing.node);
    for (const auto* resident : clearing.leaving) {
      cores -= held(*resident).cores;
      memory -= held(*resident).memory;
    }
    while (cores > 0 || memory > 0) {
      const Resident* best = nullptr;
      bool best_suffices = false;
      for (const auto& resident : residents_.on(clearing.node)) {
        const auto& task = held(resident);
        const bool helps = (cores > 0 && task.cores > 0) || (memory > 0 && task.memory > 0);
        if (!helps || !can_leave(resident) ||
            std::find(clearing.leaving.begin(), clearing.leaving.end(), &resident) != clearing.leaving.end())
          continue;
        const bool suffices = task.cores >= cores && task.memory >= memory;
        const auto is_larger = [&](const PackingTask& other) {
          return cores > 0 ? task.cores > other.cores : task.memory > other.memory;
        };
        if (best == nullptr || suffices > best_suffices ||
            (suffices == best_suffices &&
             (suffices ? disturbance_of(resident) < disturbance_of(*best) : is_larger(held(*best))))) {
          best = &resident;
          best_suffices = suffices;
        }
      }
      if (best == nullptr) return false;
      cores -= held(*best).cores;
      memory -= held(*best).memory;
      clearing.leaving.push_back(best);
      clearing.disturbance += disturbance_of(*best);
      if (!is_within(clearing.disturbance)) return false;
    }
    return true;
  }

  std::optional<Clearing> clear(std::uint32_t n) {
    if (task_.devices > 0 && (task_.models >> board_.model(n) & 1) == 0) return std::nullopt;
    Clearing clearing{n, {}, {}};
    if (!clear_devices(clearing) || !clear_host(clearing)) return std::nullopt;
    return clearing;
  }

  // Carries the moves out on the board to see what seat each gets, then takes them back.
  std::optional<RoomPlan> try_out(const Clearing& clearing) {
    RoomPlan plan;
    std::int64_t set_back_milli = 0;
    for (const auto* resident : clearing.leaving) {
      const auto to = board_.find_seat(resident->shape, clearing.node);
      if (to)
        board_.take(resident->shape, *to);
      else
        set_back_milli += milli_of(held(*resident));
      board_.give_back(resident->shape, resident->seat);
      plan.moves.push_back({resident->id, resident->shape, resident->seat, to});
    }
    const bool sets_back = std::any_of(plan.moves.begin(), plan.moves.end(),
                                       [](const Move& move) { return !move.to.has_value(); });
    const auto seat = board_.find_seat_on(shape_, clearing.node);
    for (auto move = plan.moves.rbegin(); move != plan.moves.rend(); ++move) {
      board_.take(move->shape, move->from);
      if (move->to) board_.give_back(move->shape, *move->to);
    }
    if (!seat || (sets_back && set_back_milli > set_back_max())) return std::nullopt;
    plan.seat = *seat;
    return plan;
  }

  enum class Known : std::uint8_t { kNot, kYes, kNo };

  PackingBoard& board_;
  const ResidentTable& residents_;
  std::uint32_t shape_;
  const RoomLimits& limits_;
  const PackingTask task_;
  // By shape: has any node room for it. It may be the task's own: a hint, the trial decides.
  std::vector<Known> seats_;
};

}  // namespace

void ResidentTable::remove(std::uint64_t id, std::uint32_t node) {
  std::erase_if(by_node_[node], [&](const Resident& resident) { return resident.id == id; });
}

std::optional<RoomPlan> plan_room(PackingBoard& board, const ResidentTable& residents, std::uint32_t shape,
                                  const RoomLimits& limits) {
  return RoomPlanner(board, residents, shape, limits).plan();
}

void carry_out(PackingBoard& board, ResidentTable& residents, const RoomPlan& plan) {
  for (const auto& move : plan.moves) {
    if (move.to) board.take(move.shape, *move.to);
    board.give_back(move.shape, move.from);
    residents.remove(move.id, move.from.node);
    if (move.to) residents.add({move.id, move.shape, *move.to, true});
  }
}

std::vector<std::optional<Seat>> seat_batch(PackingBoard& board, std::span<const std::uint32_t> shapes,
                                            const RoomLimits& limits) {
  std::vector<std::optional<Seat>> seats(shapes.size());
  ResidentTable batch(board.nodes());
  const auto settle = [&](std::size_t at, const Seat& seat) {
    board.take(shapes[at], seat);
    batch.add({at, shapes[at], seat, true});
    seats[at] = seat;
  };
  std::vector<std::size_t> left_over;
  for (std::size_t at = 0; at < shapes.size(); ++at) {
    if (const auto seat = board.find_seat(shapes[at]))
      settle(at, *seat);
    else if (board.task(shapes[at]).devices > 0)
      left_over.push_back(at);
  }
  for (const auto at : left_over) {
    auto plan = plan_room(board, batch, shapes[at], limits);
    if (!plan) continue;
    carry_out(board, batch, *plan);
    for (const auto& move : plan->moves) seats[std::size_t(move.id)] = move.to;
    settle(at, plan->seat);
  }
  return seats;
}

}  // namespace neap::scheduler
