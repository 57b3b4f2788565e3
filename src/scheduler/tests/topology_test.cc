// Gangs in islands, racks and blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

// One site of `blocks` x `racks` x `nodes`, each of 8 accelerators; `used` of them taken on the first nodes.
Snapshot make_pod(int blocks, int racks, int nodes) {
  Snapshot world;
  world.sites = {{"hq", Tier::kPrivate, "DE", {}, {}, 1}};
  for (int b = 0; b < blocks; ++b)
    for (int r = 0; r < racks; ++r)
      for (int n = 0; n < nodes; ++n) {
        auto node =
            make_node("n" + std::to_string(b) + std::to_string(r) + std::to_string(n), "hq", 64, 512, 8);
        node.labels = {{"topology.neap.dev/block", "b" + std::to_string(b)},
                       {"topology.neap.dev/rack", "b" + std::to_string(b) + "r" + std::to_string(r)}};
        node.topology = topology_of(node.labels);
        world.nodes.push_back(std::move(node));
      }
  return world;
}

Node& node_at(Snapshot& world, const std::string& name) {
  return *std::ranges::find(world.nodes, name, &Node::name);
}
void use(Snapshot& world, const std::string& name, int devices) {
  auto& node = node_at(world, name);
  for (int i = 0; i < devices; ++i) node.devices_free[std::size_t(i)] = 0;
}
Request make_gang(int replicas, std::optional<TopologyAsk> topology, int devices = 8) {
  auto request = make_request("gang", 4, 16, devices * 1000);
  request.replicas = replicas;
  request.topology = topology;
  return request;
}
std::set<std::string> domains_of(Snapshot& world, const std::vector<Placement>& placements,
                                 TopologyLevel level) {
  std::set<std::string> out;
  for (const auto& p : placements) out.insert(node_at(world, p.node).topology[std::size_t(level)]);
  return out;
}

TEST(Topology, reads_our_labels_first_and_those_of_providers_after_them) {
  const auto of = topology_of({{"cloud.google.com/gce-topology-block", "g"},
                               {"topology.neap.dev/block", "ours"},
                               {"topology.kubernetes.io/rack", "r7"},
                               {"nvidia.com/gpu.clique", "uuid.3"}});
  EXPECT_EQ(of, (Topology{"uuid.3", "r7", "ours"}));
  EXPECT_EQ(topology_of({{"zone", "a"}}), Topology{});
}

TEST(Topology, a_gang_takes_the_tightest_block_that_holds_it) {
  auto world = make_pod(3, 1, 4);
  use(world, "n000", 8);  // b0 has room for 3, b1 for 2, b2 for 4
  use(world, "n100", 8);
  use(world, "n101", 1);
  const auto decision = decide_one(world, make_gang(3, TopologyAsk{}));
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(domains_of(world, decision.placements, TopologyLevel::kBlock), std::set<std::string>{"b0"});
}

TEST(Topology, what_is_required_is_not_traded_for_anything_and_the_words_name_what_is_missing) {
  auto world = make_pod(3, 1, 4);
  for (const auto* name : {"n000", "n100", "n200"}) use(world, name, 1);
  const auto decision = decide_one(world, make_gang(4, TopologyAsk{}));
  ASSERT_FALSE(decision.is_placed);
  EXPECT_EQ(code_at(decision, "hq"), "topology.no_room");
  EXPECT_EQ(reason_at(decision, "hq").refusal->sentence,
            "no block has room for 4 replicas together: the most is 3 in block b0, 1 short");
  const auto preferred =
      decide_one(world, make_gang(4, TopologyAsk{.level = TopologyLevel::kBlock, .is_required = false}));
  EXPECT_TRUE(preferred.is_placed);
}

TEST(Topology, what_is_preferred_goes_from_rack_to_block_to_site) {
  auto world = make_pod(2, 2, 2);
  const TopologyAsk rack{.level = TopologyLevel::kRack, .is_required = false};
  auto in_rack = decide_one(world, make_gang(2, rack));
  EXPECT_EQ(domains_of(world, in_rack.placements, TopologyLevel::kRack).size(), 1u);
  auto in_block = decide_one(world, make_gang(4, rack));
  EXPECT_EQ(domains_of(world, in_block.placements, TopologyLevel::kBlock).size(), 1u);
  auto in_site = decide_one(world, make_gang(8, rack));
  EXPECT_TRUE(in_site.is_placed);
}

TEST(Topology, a_gang_that_asks_nothing_prefers_one_block) {
  auto world = make_pod(4, 1, 4);
  use(world, "n000", 8);
  const auto decision = decide_one(world, make_gang(4, {}));
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(domains_of(world, decision.placements, TopologyLevel::kBlock).size(), 1u);
}

TEST(Topology, slices_share_a_rack_each_and_whole_ones_are_counted) {
  auto world = make_pod(2, 2, 3);  // four racks of three nodes: each holds one slice of two
  const TopologyAsk slices{.level = TopologyLevel::kRack, .is_required = true, .slice_replicas = 2};
  const auto decision = decide_one(world, make_gang(8, slices));
  ASSERT_TRUE(decision.is_placed);
  for (std::size_t i = 0; i < 8; i += 2)
    EXPECT_EQ(node_at(world, decision.placements[i].node).topology[1],
              node_at(world, decision.placements[i + 1].node).topology[1]);
  const auto too_many = decide_one(world, make_gang(10, slices));
  ASSERT_FALSE(too_many.is_placed);
  EXPECT_EQ(reason_at(too_many, "hq").refusal->sentence,
            "has room for 8 replicas in slices of 2 that share a rack, 2 short of 10");
  EXPECT_EQ(decide_one(world, make_gang(7, slices)).pending->guard, Guard::kRequest);
}

TEST(Topology, a_node_without_an_island_is_one) {
  auto world = make_pod(1, 1, 3);
  const TopologyAsk island{.level = TopologyLevel::kIsland};
  const auto four = decide_one(world, make_gang(4, island, 2));
  ASSERT_TRUE(four.is_placed);
  for (const auto& placement : four.placements) EXPECT_EQ(placement.node, four.placements[0].node);
  EXPECT_FALSE(decide_one(world, make_gang(5, island, 2)).is_placed);
  for (auto& node : world.nodes) node.topology[0] = "nvl72";
  EXPECT_TRUE(decide_one(world, make_gang(5, island, 2)).is_placed);
}

TEST(Topology, where_no_node_says_its_block_a_required_one_names_the_label) {
  auto world = make_world();
  const auto decision = decide_one(world, make_gang(2, TopologyAsk{}, 1));
  ASSERT_FALSE(decision.is_placed);
  EXPECT_EQ(reason_at(decision, "hq").refusal->sentence,
            "no node says in which block it is (label topology.neap.dev/block)");
}

TEST(Topology, small_work_goes_where_a_block_is_in_use_already) {
  auto world = make_pod(3, 1, 4);
  use(world, "n200", 8);
  const auto decision = decide_one(world, make_request("small", 1, 1, 1000));
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(node_at(world, decision.placements[0].node).topology[2], "b2");
}

TEST(ElasticGang, takes_as_many_as_fit_between_its_bounds_and_never_fewer) {
  auto world = make_pod(1, 1, 4);
  use(world, "n000", 1);
  auto gang = make_gang(6, {});
  EXPECT_FALSE(decide_one(world, gang).is_placed);
  gang.replicas_min = 2;
  const auto decision = decide_one(world, gang);
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(decision.placements.size(), 3u);
  gang.replicas_min = 4;
  EXPECT_EQ(reason_at(decide_one(world, gang), "hq").refusal->sentence,
            "has room for 3 replicas, and the gang needs at least 4 of its 6");
  gang.replicas_min = 1;
  world.queues = {{.name = "q", .accelerators_limit = {16'000}}};
  gang.queue = "q";
  EXPECT_EQ(decide_one(world, gang).placements.size(), 2u) << "nor more than its queue has left";
}

TEST(TopologyProperties,
     what_is_required_holds_in_every_random_world_and_is_refused_only_where_it_cannot_be) {
  int placed = 0, refused = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto pick = [&](int n) { return int(random() % unsigned(n)); };
    auto world = make_pod(1 + pick(4), 1 + pick(3), 1 + pick(4));
    for (auto& node : world.nodes) {
      for (auto& free : node.devices_free)
        if (pick(3) == 0) free = 0;
      if (pick(6) == 0) node.topology = {};
    }
    const auto level = pick(2) ? TopologyLevel::kRack : TopologyLevel::kBlock;
    const int slice = pick(3) == 0 ? 1 + pick(3) : 0;
    auto gang = make_gang((1 + pick(6)) * std::max(1, slice), TopologyAsk{level, true, slice}, 1 + pick(4));
    if (gang.replicas == 1) continue;
    const auto decision = decide_one(world, gang);
    const int size = slice > 0 ? slice : gang.replicas;
    std::map<std::string, int> room;
    for (const auto& node : world.nodes) {
      int whole = 0;
      for (const auto free : node.devices_free) whole += free == 1000;
      if (const auto& name = node.topology[std::size_t(level)]; !name.empty())
        room[name] += whole / int(gang.each.accelerators.value / 1000);
    }
    int groups = 0;
    for (const auto& [name, slots] : room) groups += slots / size;
    EXPECT_EQ(decision.is_placed, groups >= gang.replicas / size);
    ++(decision.is_placed ? placed : refused);
    for (std::size_t i = 0; i < decision.placements.size(); ++i)
      EXPECT_EQ(node_at(world, decision.placements[i].node).topology[std::size_t(level)],
                node_at(world, decision.placements[i / std::size_t(size) * std::size_t(size)].node)
                    .topology[std::size_t(level)]);
    // Monotone: what it says would make it fit does.
    for (const auto& change : decision.would_fit) {
      auto changed = world;
      auto asked = gang;
      apply_change(changed, asked, change);
      EXPECT_TRUE(decide_one(changed, asked).is_placed) << change.sentence;
    }
  }
  EXPECT_GT(placed, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace neap::scheduler
