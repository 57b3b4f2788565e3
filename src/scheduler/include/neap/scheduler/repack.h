// Making room for a task that has a seat nowhere: a few others move, or are set back to waiting where that
// puts clearly more of the accelerators to use.
//
// Invariants of a plan: (1) carried out in order, no step needs what is not free at that step: a task keeps
// its seat until it has the next one; (2) nothing leaves its seat that may not move, nothing leaves twice,
// and no more than the limit do; (3) after the last step the wanted seat is free; (4) with set-backs, the
// thousandths of devices in use rise by at least the stated gain. Threads: none; the board's owner.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "neap/scheduler/packing.h"

namespace neap::scheduler {

struct Resident {
  std::uint64_t id = 0;
  std::uint32_t shape = 0;
  Seat seat;
  // False: it stays where it is whatever it would free.
  bool may_move = true;
};

// What runs where, by node.
class ResidentTable {
 public:
  explicit ResidentTable(std::uint32_t nodes) : by_node_(nodes) {}

  void add(const Resident& resident) { by_node_[resident.seat.node].push_back(resident); }
  // Takes it off its node; nothing where it is not there.
  void remove(std::uint64_t id, std::uint32_t node);
  std::span<const Resident> on(std::uint32_t node) const { return by_node_[node]; }

 private:
  std::vector<std::vector<Resident>> by_node_;
};

struct Move {
  std::uint64_t id = 0;
  std::uint32_t shape = 0;
  Seat from;
  // None: set back to waiting.
  std::optional<Seat> to;
};

struct RoomPlan {
  std::vector<Move> moves;
  Seat seat;
};

struct RoomLimits {
  // Moves and set-backs together, for one task that wants in.
  std::size_t moves_max = 2;
  // Nodes on which a plan is tried to its end, the least disturbing first.
  std::size_t nodes_max = 16;
  // Thousandths of devices in use that a plan with set-backs must add; none: nothing is set back.
  std::optional<std::int64_t> set_back_gain_min;
};

// The moves after which a task of the shape has a seat, or none within the limits. The board is as before
// when this returns.
std::optional<RoomPlan> plan_room(PackingBoard& board, const ResidentTable& residents, std::uint32_t shape,
                                  const RoomLimits& limits);
// Carries a plan out on both; the wanted seat is not taken.
void carry_out(PackingBoard& board, ResidentTable& residents, const RoomPlan& plan);

// Limits inside a batch: nothing of it has started, so that little gain is reason enough.
inline constexpr RoomLimits kBatchLimits{.moves_max = 2, .nodes_max = 16, .set_back_gain_min = 50};

// Seats a batch as a whole and takes the seats: each task in the order given, then those left over, for which
// others of the batch may change or give up theirs. What was on the board before stays where it is. By
// position; none where a task got no seat.
std::vector<std::optional<Seat>> seat_batch(PackingBoard& board, std::span<const std::uint32_t> shapes,
                                            const RoomLimits& limits = kBatchLimits);

}  // namespace neap::scheduler
