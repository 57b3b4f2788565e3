#include "neap/scheduler/repack.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace neap::scheduler {
namespace {

const std::vector<TypicalTask> kTypical{
    {4000, 1, 500, ~0ull, 0.4}, {8000, 1, 1000, ~0ull, 0.4}, {6000, 0, 0, ~0ull, 0.2}};

struct Running {
  PackingBoard board;
  ResidentTable residents;
  explicit Running(const std::vector<PackingNode>& nodes)
      : board(nodes, kTypical, PackingRule::kNeap), residents(board.nodes()) {}
  void start(std::uint64_t id, const PackingTask& task, Seat seat, bool may_move = true) {
    const auto shape = board.shape_of(task);
    board.take(shape, seat);
    residents.add({id, shape, seat, may_move});
  }
  std::optional<RoomPlan> plan(const PackingTask& task, const RoomLimits& limits) {
    return plan_room(board, residents, board.shape_of(task), limits);
  }
};

const PackingTask kWhole{8000, 1, 1, 1000, ~0ull};
const PackingTask kHalf{4000, 1, 1, 500, ~0ull};
const PackingTask kMost{4000, 1, 1, 800, ~0ull};
const PackingTask kCores{30'000, 1, 0, 0, ~0ull};

TEST(Repack, two_halves_on_two_devices_become_one_and_free_the_other) {
  Running running({{32'000, 100, 100, 0, {1000}}, {32'000, 100, 100, 0, {1000}}});
  running.start(1, kHalf, {0, 1});
  running.start(2, kHalf, {1, 1});
  const auto plan = running.plan(kWhole, {});
  ASSERT_TRUE(plan.has_value());
  ASSERT_EQ(plan->moves.size(), 1u);
  ASSERT_TRUE(plan->moves[0].to.has_value());
  EXPECT_EQ(plan->seat.node, plan->moves[0].from.node);
  EXPECT_EQ(running.board.free_milli(), 1000) << "planning changes nothing";
  carry_out(running.board, running.residents, *plan);
  EXPECT_EQ(running.board.devices(plan->seat.node)[0], 1000);
  EXPECT_EQ(running.board.devices(1 - plan->seat.node)[0], 0);
}

TEST(Repack, work_for_cores_makes_way_for_an_accelerator_it_stranded) {
  Running running({{32'000, 100, 100, 0, {1000}}, {32'000, 100, 100, 0, {}}});
  running.start(1, kCores, {0, 0});
  const auto plan = running.plan(kWhole, {});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->seat, (Seat{0, 1}));
  EXPECT_EQ(plan->moves.at(0).to, (Seat{1, 0}));
}

TEST(Repack, never_moves_what_may_not_move) {
  Running running({{32'000, 100, 100, 0, {1000}}, {32'000, 100, 100, 0, {1000}}});
  running.start(1, kHalf, {0, 1}, false);
  running.start(2, kHalf, {1, 1}, false);
  EXPECT_FALSE(running.plan(kWhole, {.set_back_gain_min = 1}).has_value());
}

TEST(Repack, sets_back_only_for_the_stated_gain) {
  Running running({{32'000, 100, 100, 0, {1000}}});
  running.start(1, kMost, {0, 1});
  EXPECT_FALSE(running.plan(kWhole, {}).has_value());
  EXPECT_FALSE(running.plan(kWhole, {.set_back_gain_min = 201}).has_value());
  const auto plan = running.plan(kWhole, {.set_back_gain_min = 200});
  ASSERT_TRUE(plan.has_value());
  EXPECT_FALSE(plan->moves.at(0).to.has_value());
}

TEST(Repack, keeps_to_the_number_of_moves) {
  Running running({{32'000, 100, 100, 0, {1000}}, {32'000, 100, 100, 0, {1000, 1000}}});
  const PackingTask third{1000, 1, 1, 300, ~0ull};
  for (std::uint64_t id = 0; id < 3; ++id) running.start(id, third, {0, 1});
  running.start(8, kMost, {1, 1});
  running.start(9, {1000, 1, 1, 100, ~0ull}, {1, 2});
  EXPECT_FALSE(running.plan({1000, 1, 2, 1000, ~0ull}, {.moves_max = 1}).has_value());
  EXPECT_TRUE(running.plan(kWhole, {.moves_max = 1}).has_value()) << "the small one leaves";
}

TEST(Repack, a_batch_is_seated_as_a_whole_and_leaves_what_runs_alone) {
  const std::vector<PackingNode> nodes{{32'000, 100, 100, 0, {1000}}, {32'000, 100, 100, 0, {1000}}};
  Running running(nodes);
  running.start(7, kMost, {0, 1});
  const std::vector<std::uint32_t> batch{running.board.shape_of(kMost), running.board.shape_of(kWhole)};
  const auto seats = seat_batch(running.board, batch);
  EXPECT_FALSE(seats.at(0).has_value()) << "the whole one uses the device better";
  EXPECT_EQ(seats.at(1), (Seat{1, 1}));
  EXPECT_EQ(running.board.devices(0)[0], 200);
  EXPECT_EQ(running.board.free_milli(), 200);
}

PackingTask draw_task(std::mt19937& random) {
  const auto below = [&](unsigned bound) { return int(random() % bound); };
  PackingTask task{500 * below(16), below(20), 0, 0, std::uint64_t(1 + below(3))};
  task.devices = below(4) == 0 ? 0 : below(5) == 0 ? 1 + below(3) : 1;
  task.milli = task.devices == 0 ? 0 : task.devices > 1 ? 1000 : 100 * (1 + below(10));
  return task;
}

// Walks a plan step by step against amounts counted apart from the board.
void check_plan(const std::vector<PackingNode>& nodes, const std::map<std::uint64_t, Resident>& running,
                const PackingBoard& board, const RoomPlan& plan, const PackingTask& wanted,
                const RoomLimits& limits) {
  auto now = nodes;
  const auto hold = [&](const PackingTask& task, const Seat& seat, int sign) {
    auto& node = now[seat.node];
    node.cores -= sign * task.cores;
    node.memory -= sign * task.memory;
    node.tasks -= sign;
    ASSERT_TRUE(node.cores >= 0 && node.memory >= 0 && node.tasks >= 0);
    if (task.devices > 0) ASSERT_TRUE(task.models >> node.model & 1);
    for (std::size_t d = 0; d < node.devices.size(); ++d) {
      if (seat.devices >> d & 1) node.devices[d] -= sign * task.milli;
      ASSERT_GE(node.devices[d], 0) << "held twice";
    }
  };
  for (const auto& [id, resident] : running) hold(board.task(resident.shape), resident.seat, 1);
  ASSERT_LE(plan.moves.size(), limits.moves_max);
  std::set<std::uint64_t> left;
  std::int64_t set_back = 0;
  bool sets_back = false;
  for (const auto& move : plan.moves) {
    const auto& resident = running.at(move.id);
    ASSERT_TRUE(resident.may_move);
    ASSERT_EQ(resident.seat, move.from);
    ASSERT_TRUE(left.insert(move.id).second) << "leaves twice";
    const auto& task = board.task(resident.shape);
    if (move.to) hold(task, *move.to, 1);
    hold(task, move.from, -1);
    if (move.to) continue;
    sets_back = true;
    set_back += std::int64_t(task.devices) * task.milli;
  }
  hold(wanted, plan.seat, 1);
  if (!sets_back) return;
  ASSERT_TRUE(limits.set_back_gain_min.has_value());
  ASSERT_GE(std::int64_t(wanted.devices) * wanted.milli - set_back, *limits.set_back_gain_min);
}

TEST(RepackProperty, the_seats_of_a_batch_add_up) {
  std::mt19937 random(5);
  for (int world = 0; world < 40; ++world) {
    std::vector<PackingNode> nodes(5);
    for (auto& node : nodes)
      node = {1000 * int(8 + random() % 40), int(20 + random() % 100), 10, std::uint32_t(random() % 2),
              std::vector<std::int32_t>(random() % 5, 1000)};
    Running running(nodes);
    PackingBoard again(nodes, kTypical, PackingRule::kNeap);
    for (int batch = 0; batch < 4; ++batch) {
      std::vector<std::uint32_t> shapes;
      for (int i = 0; i < 15; ++i) shapes.push_back(running.board.shape_of(draw_task(random)));
      const auto seats = seat_batch(running.board, shapes);
      ASSERT_EQ(seats.size(), shapes.size());
      for (std::size_t at = 0; at < seats.size(); ++at) {
        if (!seats[at]) continue;
        const auto& task = running.board.task(shapes[at]);
        const auto shape = again.shape_of(task);
        ASSERT_TRUE(again.find_seat_on(shape, seats[at]->node).has_value());
        for (std::size_t d = 0; d < nodes[seats[at]->node].devices.size(); ++d)
          if (seats[at]->devices >> d & 1) {
            ASSERT_GE(again.devices(seats[at]->node)[d], task.milli);
          }
        again.take(shape, *seats[at]);
      }
      ASSERT_EQ(again.free_milli(), running.board.free_milli());
    }
  }
}

TEST(RepackProperty, every_step_of_every_plan_is_valid) {
  std::mt19937 random(3);
  int with_moves = 0, with_set_backs = 0;
  for (int world = 0; world < 60; ++world) {
    std::vector<PackingNode> nodes(6);
    for (auto& node : nodes)
      node = {1000 * int(8 + random() % 40), int(20 + random() % 100), 10, std::uint32_t(random() % 2),
              std::vector<std::int32_t>(random() % 5, 1000)};
    Running running(nodes);
    std::map<std::uint64_t, Resident> known;
    RoomLimits limits;
    limits.moves_max = 1 + random() % 3;
    if (world % 2 == 0) limits.set_back_gain_min = 100;
    for (std::uint64_t id = 0; id < 80; ++id) {
      const auto task = draw_task(random);
      const auto shape = running.board.shape_of(task);
      auto seat = running.board.find_seat(shape);
      if (!seat) {
        const auto free_before = running.board.free_milli();
        const auto plan = plan_room(running.board, running.residents, shape, limits);
        ASSERT_EQ(running.board.free_milli(), free_before);
        if (!plan) continue;
        check_plan(nodes, known, running.board, *plan, task, limits);
        if (HasFatalFailure()) return;
        carry_out(running.board, running.residents, *plan);
        for (const auto& move : plan->moves) {
          ++(move.to ? with_moves : with_set_backs);
          if (move.to)
            known[move.id].seat = *move.to;
          else
            known.erase(move.id);
        }
        seat = plan->seat;
      }
      const bool may_move = random() % 3 != 0;
      running.board.take(shape, *seat);
      running.residents.add({id, shape, *seat, may_move});
      known[id] = {id, shape, *seat, may_move};
    }
  }
  EXPECT_GT(with_moves, 20);
  EXPECT_GT(with_set_backs, 20);
}

}  // namespace
}  // namespace neap::scheduler
