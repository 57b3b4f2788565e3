#include "neap/scheduler/cluster_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

Allocation make_allocation(std::string name, std::string node, int cores, int milli,
                           std::vector<std::uint16_t> devices) {
  return {.name = std::move(name),
          .node = std::move(node),
          .queue = "q",
          .cores = {cores * 1000},
          .memory = {kGiB},
          .accelerators = {milli},
          .devices = std::move(devices)};
}

TEST(ClusterTable, free_capacity_is_what_allocations_leave) {
  ClusterTable table;
  table.upsert_allocation(make_allocation("a", "n", 2, 500, {1}));  // before its node
  table.upsert_node(make_node("n", "hq", 8, 16, 2));
  table.upsert_queue({.name = "q", .cores_limit = {9000}});
  const auto& node = table.snapshot().nodes.at(0);
  EXPECT_EQ(node.cores_free, MilliCores{6000});
  EXPECT_EQ(node.devices_free[1], 500);
  EXPECT_EQ(table.snapshot().queues[0].cores_used, MilliCores{2000});
  table.upsert_allocation(make_allocation("a", "n", 3, 2000, {0, 1}));
  EXPECT_EQ(node.cores_free, MilliCores{5000});
  EXPECT_EQ(node.devices_free[0], 0);
  table.remove_allocation("a");
  table.remove_allocation("a");
  EXPECT_EQ(node.cores_free, MilliCores{8000});
  EXPECT_EQ(table.snapshot().queues[0].cores_used, MilliCores{0});
}

TEST(ClusterTable, the_snapshot_depends_on_the_last_event_of_each_thing_and_not_on_their_order) {
  std::mt19937 random(5);
  const auto describe = [](const ClusterTable& table) {
    std::map<std::string, std::string> out;
    for (const auto& node : table.snapshot().nodes) {
      auto& text = out[node.name] =
          std::to_string(node.cores_free.value) + "/" + std::to_string(node.memory_free.value);
      for (const auto free : node.devices_free) text += "," + std::to_string(free);
    }
    return out;
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<std::function<void(ClusterTable&)>> last;
    for (int n = 0; n < 5; ++n)
      last.push_back(
          [n](ClusterTable& t) { t.upsert_node(make_node("n" + std::to_string(n), "hq", 16, 64, 4)); });
    for (int a = 0; a < 12; ++a) {
      const auto node = "n" + std::to_string(random() % 5);
      const int cores = int(random() % 4);
      last.push_back([=](ClusterTable& t) {
        t.upsert_allocation(
            make_allocation("a" + std::to_string(a), node, cores, 250, {std::uint16_t(a % 4)}));
      });
    }
    ClusterTable one, other;
    for (auto& event : last) event(one);
    // Stale versions of allocations first, then the last events in any order.
    for (int a = 0; a < 12; ++a)
      other.upsert_allocation(make_allocation("a" + std::to_string(a), "n0", 9, 1000, {0}));
    std::shuffle(last.begin(), last.end(), random);
    for (auto& event : last) event(other);
    EXPECT_EQ(describe(one), describe(other));
    other.remove_node("n2");
    EXPECT_EQ(other.snapshot().nodes.size(), 4u);
    other.upsert_node(make_node("n2", "hq", 16, 64, 4));
    EXPECT_EQ(describe(one), describe(other));
  }
}

}  // namespace
}  // namespace neap::scheduler
