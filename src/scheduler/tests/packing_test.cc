#include "neap/scheduler/packing.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

namespace neap::scheduler {
namespace {

// Draws as the library's distributions would, but the same everywhere.
int draw(std::mt19937& random, int bound) { return int(random() % unsigned(bound)); }

std::vector<TypicalTask> make_typical() {
  return {{4000, 1, 500, 1, 0.3},   {8000, 1, 1000, ~0ull, 0.3},  {2000, 1, 250, ~0ull, 0.15},
          {32000, 8, 1000, 2, 0.1}, {8000, 2, 1000, ~0ull, 0.05}, {6000, 0, 0, ~0ull, 0.1}};
}

// F as the paper defines it, term by term.
double fragments_by_definition(std::span<const TypicalTask> tasks, std::uint32_t model, std::int64_t cores,
                               std::span<const std::int32_t> free) {
  double sum = 0;
  for (const auto& task : tasks) {
    double total = 0, too_small = 0;
    int fitting = 0;
    for (const auto device : free) {
      total += device;
      fitting += device >= task.milli;
      if (device < task.milli) too_small += device;
    }
    const bool can_run =
        task.devices > 0 && (task.models >> model & 1) != 0 && fitting >= task.devices && cores >= task.cores;
    sum += task.share * (can_run ? too_small : total);
  }
  return sum;
}

std::vector<std::int32_t> draw_devices(std::mt19937& random) {
  std::vector<std::int32_t> free(std::size_t(draw(random, 9)));
  for (auto& device : free) device = draw(random, 3) == 0 ? 1000 : draw(random, 1001);
  return free;
}

TEST(Fragmentation, table_is_the_definition) {
  const auto typical = make_typical();
  const FragmentationTable table(typical, 2);
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const auto free = draw_devices(random);
    const auto cores = draw(random, 40'000);
    const auto model = std::uint32_t(draw(random, 2));
    EXPECT_NEAR(table.fragments(model, cores, free), fragments_by_definition(typical, model, cores, free),
                1e-6);
  }
}

TEST(Fragmentation, keeps_the_shortest_prefix_of_the_most_frequent_kinds) {
  const auto kept = keep_typical({{1, 0, 0, 1, 5}, {2, 0, 0, 1, 90}, {3, 0, 0, 1, 5}}, 0.95);
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[0].cores, 2);
  EXPECT_EQ(kept[1].cores, 1);
  EXPECT_DOUBLE_EQ(kept[0].share + kept[1].share, 1);
  EXPECT_TRUE(keep_typical({}, 0.95).empty());
}

TEST(Stranding, counts_devices_that_the_free_cores_cannot_feed) {
  const std::vector<TypicalTask> typical{{10'000, 1, 1000, ~0ull, 1}};
  const std::vector<std::int64_t> supply{8000};
  const StrandingTable table(typical, supply);
  const std::vector<std::int32_t> four{1000, 1000, 1000, 1000};
  // F sees room for the next task in both; only one of them has room for the four after it.
  EXPECT_DOUBLE_EQ(table.compute(0, 40'000, four), 0);
  EXPECT_DOUBLE_EQ(table.compute(0, 20'000, four), 2000);
}

TEST(Stranding, keeps_free_work_off_models_that_other_work_is_tied_to) {
  const std::vector<TypicalTask> typical{{1000, 1, 1000, ~0ull, 0.8}, {1000, 1, 1000, 2, 0.2}};
  std::vector<PackingNode> nodes(2, PackingNode{64'000, 64'000, 100, 1, {1000, 1000}});
  nodes[1].model = 0;
  PackingBoard board(nodes, typical, PackingRule::kNeap);
  EXPECT_EQ(board.find_seat(board.shape_of({1000, 0, 1, 1000, ~0ull}))->node, 1u);
  EXPECT_EQ(board.find_seat(board.shape_of({1000, 0, 1, 1000, 2}))->node, 0u);
}

TEST(Packing, a_shared_task_fills_the_device_it_completes) {
  std::vector<PackingNode> nodes(1, PackingNode{64'000, 64'000, 100, 0, {1000, 500, 750}});
  for (const auto rule : {PackingRule::kBestFit, PackingRule::kGradient, PackingRule::kNeap}) {
    PackingBoard board(nodes, make_typical(), rule);
    EXPECT_EQ(board.find_seat(board.shape_of({2000, 0, 1, 500, 1}))->devices, 2u) << int(rule);
  }
}

TEST(Packing, ties_go_to_the_node_given_first) {
  std::vector<PackingNode> nodes(3, PackingNode{64'000, 64'000, 100, 0, {1000, 1000}});
  nodes[0].cores = 0;
  for (const auto rule : {PackingRule::kBestFit, PackingRule::kGradient, PackingRule::kNeap}) {
    PackingBoard board(nodes, make_typical(), rule);
    const auto shape = board.shape_of({2000, 0, 1, 1000, 1});
    EXPECT_EQ(board.find_seat(shape), (Seat{1, 1})) << int(rule);
    EXPECT_EQ(board.find_seat(shape, 1), (Seat{2, 1})) << int(rule);
  }
}

TEST(Packing, every_limit_of_a_node_holds) {
  const std::vector<PackingNode> nodes{{4000, 10, 1, 0, {1000, 600}}};
  PackingBoard board(nodes, make_typical(), PackingRule::kNeap);
  const auto seats = [&](const PackingTask& task) {
    return board.find_seat(board.shape_of(task)).has_value();
  };
  EXPECT_TRUE(seats({4000, 10, 1, 1000, 1}));
  EXPECT_FALSE(seats({4001, 10, 1, 1000, 1}));
  EXPECT_FALSE(seats({4000, 11, 1, 1000, 1}));
  EXPECT_FALSE(seats({4000, 10, 2, 1000, 1}));
  EXPECT_FALSE(seats({4000, 10, 1, 1000, 2}));
  EXPECT_FALSE(seats({4000, 10, 1, 1000, 0}));
  const auto small = board.shape_of({1, 1, 0, 0, 0});
  board.take(small, *board.find_seat(small));
  EXPECT_FALSE(board.find_seat(small).has_value()) << "the node takes one task";
}

struct Held {
  std::uint32_t shape = 0;
  Seat seat;
};

std::vector<PackingNode> draw_nodes(std::mt19937& random) {
  std::vector<PackingNode> nodes(12);
  for (auto& node : nodes)
    node = {1000 * draw(random, 65), draw(random, 200), 1 + draw(random, 12), std::uint32_t(draw(random, 2)),
            std::vector<std::int32_t>(std::size_t(draw(random, 9)), 1000)};
  return nodes;
}
PackingTask draw_task(std::mt19937& random) {
  PackingTask task{500 * draw(random, 20), draw(random, 20), 0, 0, std::uint64_t(1 + draw(random, 3))};
  task.devices = draw(random, 4) == 0 ? 0 : draw(random, 4) == 0 ? 1 + draw(random, 4) : 1;
  task.milli = task.devices == 0 ? 0 : task.devices > 1 ? 1000 : 1 + draw(random, 1000);
  return task;
}

// Whatever is taken and given back, in any order: nothing is held twice, and what was remembered about each
// node is what a board that never saw the history says.
TEST(PackingProperty, nothing_is_booked_twice_and_remembered_scores_are_fresh_ones) {
  for (const auto rule : {PackingRule::kBestFit, PackingRule::kGradient, PackingRule::kNeap}) {
    std::mt19937 random(7 + unsigned(rule));
    for (int world = 0; world < 12; ++world) {
      const auto nodes = draw_nodes(random);
      PackingBoard board(nodes, make_typical(), rule);
      std::vector<Held> held;
      for (int step = 0; step < 150; ++step) {
        if (!held.empty() && draw(random, 3) == 0) {
          const auto at = std::size_t(draw(random, int(held.size())));
          board.give_back(held[at].shape, held[at].seat);
          held.erase(held.begin() + std::ptrdiff_t(at));
          continue;
        }
        const auto task = draw_task(random);
        const auto shape = board.shape_of(task);
        const auto seat = board.find_seat(shape);
        auto now = nodes;
        for (const auto& each : held) {
          const auto& taken = board.task(each.shape);
          auto& node = now[each.seat.node];
          node.cores -= taken.cores;
          node.memory -= taken.memory;
          --node.tasks;
          for (std::size_t d = 0; d < node.devices.size(); ++d)
            if (each.seat.devices >> d & 1) node.devices[d] -= taken.milli;
        }
        std::int64_t free_milli = 0;
        for (const auto& node : now) {
          ASSERT_GE(node.cores, 0);
          ASSERT_GE(node.memory, 0);
          ASSERT_GE(node.tasks, 0);
          for (const auto device : node.devices) {
            ASSERT_GE(device, 0);
            free_milli += device;
          }
        }
        ASSERT_EQ(board.free_milli(), free_milli);
        // Supply is that of the whole nodes either way: devices are counted, not what is free of them.
        PackingBoard fresh(now, make_typical(), rule);
        ASSERT_EQ(fresh.find_seat(fresh.shape_of(task)), seat);
        if (!seat) continue;
        ASSERT_EQ(std::popcount(seat->devices), task.devices);
        board.take(shape, *seat);
        held.push_back({shape, *seat});
      }
    }
  }
}

}  // namespace
}  // namespace neap::scheduler
