// Room for a waiting gang: who moves, who never does, and that nothing is given twice on the way.
#include "neap/scheduler/gang_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

using ::testing::HasSubstr;

RunningWorld make_cluster(int nodes, int devices = 8) {
  RunningWorld world;
  auto& project = world.projects["vision"];
  project.sites = {{"hq", Tier::kPrivate, "DE", {}, {}, 1}};
  for (int i = 0; i < nodes; ++i)
    world.nodes.push_back(make_node("n" + std::to_string(i), "hq", 64, 512, devices));
  return world;
}

Node& node_at(RunningWorld& world, const std::string& name) {
  return *std::ranges::find(world.nodes, name, &Node::name);
}

// False where the nodes have no room for it.
bool run(RunningWorld& world, const std::string& owner, const std::vector<std::string>& nodes, int devices,
         double unsaved = 0, const std::string& stays = {}) {
  Tenant tenant;
  tenant.gang.owner = owner;
  tenant.gang.project = "vision";
  tenant.gang.unsaved_seconds = unsaved;
  tenant.request = make_request(owner, devices, devices, devices * 1000);
  tenant.request.replicas = int(nodes.size());
  tenant.stays = stays;
  auto before = world.nodes;
  for (const auto& name : nodes) {
    auto& node = node_at(world, name);
    RunningMember member{name, {1000 * devices}, {devices * kGiB}, {1000 * devices}, {}};
    for (std::size_t d = 0; d < node.devices_free.size() && int(member.devices.size()) < devices; ++d)
      if (node.devices_free[d] == 1000) {
        node.devices_free[d] = 0;
        member.devices.push_back(std::uint16_t(d));
      }
    if (int(member.devices.size()) < devices || node.cores_free.value < 1000 * devices) {
      world.nodes = std::move(before);
      return false;
    }
    node.cores_free -= member.cores;
    node.memory_free -= member.memory;
    tenant.gang.members.push_back(std::move(member));
  }
  world.tenants.push_back(std::move(tenant));
  return true;
}

Request make_waiting(int replicas, int devices) {
  auto request = make_request("wide", devices, devices, devices * 1000);
  request.replicas = replicas;
  return request;
}

GangRoomAnswer plan(RunningWorld& world, const Request& waiting, GangRoomLimits limits = {}) {
  return plan_gang_room(world, waiting, limits, make_options());
}

std::set<std::string> movers(const RunningWorld& world, const GangRoomAnswer& answer) {
  std::set<std::string> out;
  if (answer.room)
    for (const auto& move : answer.room->moves) out.insert(world.tenants[move.tenant].gang.owner);
  return out;
}

TEST(GangRoom, one_small_job_goes_where_a_hole_is_and_a_whole_node_is_free) {
  auto world = make_cluster(2);
  run(world, "p/a", {"n0"}, 4);
  run(world, "p/b", {"n1"}, 4, 10);
  const auto answer = plan(world, make_waiting(1, 8));
  ASSERT_TRUE(answer.room) << answer.why;
  EXPECT_EQ(movers(world, answer), std::set<std::string>{"p/a"}) << "nothing of it is done again";
  EXPECT_EQ(answer.room->moves[0].to.at(0).node, "n1");
  EXPECT_EQ(answer.room->places.at(0).node, "n0");
  EXPECT_DOUBLE_EQ(answer.room->lost_work, 0);
}

TEST(GangRoom, who_stays_is_moved_around_and_the_reason_is_kept_where_nothing_helps) {
  auto world = make_cluster(2);
  run(world, "p/a", {"n0"}, 4, 0, "it has no checkpoint");
  run(world, "p/b", {"n1"}, 4, 10);
  auto answer = plan(world, make_waiting(1, 8));
  EXPECT_EQ(movers(world, answer), std::set<std::string>{"p/b"});
  world.tenants[1].stays = "its queue says so";
  answer = plan(world, make_waiting(1, 8));
  EXPECT_FALSE(answer.room);
  EXPECT_THAT(answer.why, HasSubstr("nothing that runs may move for it; hq: asks 8 "));
}

TEST(GangRoom, nobody_moves_for_who_fits_nor_for_a_lower_priority) {
  auto world = make_cluster(3);
  run(world, "p/a", {"n0"}, 4);
  EXPECT_TRUE(plan(world, make_waiting(1, 8)).is_free_already);
  run(world, "p/b", {"n1"}, 4);
  run(world, "p/c", {"n2"}, 4);
  ASSERT_TRUE(plan(world, make_waiting(1, 8)).room);
  for (auto& tenant : world.tenants) tenant.gang.priority = 5;
  EXPECT_FALSE(plan(world, make_waiting(1, 8)).room);
}

TEST(GangRoom, who_has_no_other_place_is_named_and_another_is_tried) {
  auto world = make_cluster(3);
  run(world, "p/five", {"n0"}, 5);
  run(world, "p/six", {"n1"}, 6, 1);
  run(world, "p/rest", {"n1"}, 2, 1);
  run(world, "p/three", {"n2"}, 3, 400);
  auto answer = plan(world, make_waiting(1, 8));
  ASSERT_TRUE(answer.room) << answer.why;
  EXPECT_EQ(movers(world, answer), std::set<std::string>{"p/five"}) << "to the five devices free on n2";
  world.tenants[3].request.each.accelerators = {3000};
  run(world, "p/more", {"n2"}, 2, 400);
  // Three on n0 and three on n2 are free: only p/three would go, to n0, and p/more has no place left.
  answer = plan(world, make_waiting(1, 8));
  EXPECT_FALSE(answer.room);
  EXPECT_THAT(answer.why, HasSubstr("would have to move and cannot"));
  EXPECT_FALSE(answer.stuck.empty());
}

TEST(GangRoom, limits_of_moves_and_of_work_set_back_hold) {
  auto world = make_cluster(2);
  run(world, "p/a", {"n0"}, 2, 100);
  run(world, "p/b", {"n0"}, 2, 100);
  run(world, "p/c", {"n1"}, 4, 1000);
  EXPECT_EQ(movers(world, plan(world, make_waiting(1, 8))), (std::set<std::string>{"p/a", "p/b"}));
  EXPECT_THAT(plan(world, make_waiting(1, 8), {.moves_max = 1}).why, HasSubstr("2 moves"));
  EXPECT_THAT(plan(world, make_waiting(1, 8), {.lost_work_max = 399}).why, HasSubstr("400 device seconds"));
}

TEST(GangRoom, a_move_stays_at_its_site_on_its_kind_of_capacity_and_within_its_rules) {
  auto world = make_cluster(2);
  run(world, "p/a", {"n0"}, 4);
  run(world, "p/b", {"n1"}, 4, 0, "stays");
  auto other = world;
  node_at(other, "n1").capacity_type = CapacityType::kSpot;
  EXPECT_FALSE(plan(other, make_waiting(1, 8)).room) << "owned capacity is not changed for spot";
  other = world;
  other.projects["vision"].sites.push_back({"lab", Tier::kPrivate, "DE", {}, {}, 1});
  node_at(other, "n1").site = "lab";
  EXPECT_FALSE(plan(other, make_waiting(1, 8)).room) << "nothing leaves its site";
  other = world;
  other.tenants[0].request.excluded_nodes = {"n1"};
  EXPECT_FALSE(plan(other, make_waiting(1, 8)).room);
  EXPECT_TRUE(plan(world, make_waiting(1, 8)).room);
}

// What is held of a node: thousandths of each device, cores, memory.
struct Held {
  std::int64_t cores = 0, memory = 0;
  std::map<int, std::int64_t> devices;
};
using Held_by_node = std::map<std::string, Held>;

void add(Held_by_node& held, const std::string& node, const ReplicaResources& each,
         const std::vector<std::uint16_t>& devices) {
  auto& at = held[node];
  at.cores += each.cores.value;
  at.memory += each.memory.value;
  for (const auto d : devices) at.devices[d] += each.accelerators.value / std::int64_t(devices.size());
}

std::string overbooked(const RunningWorld& world, const Held_by_node& held) {
  for (const auto& node : world.nodes)
    if (const auto at = held.find(node.name); at != held.end()) {
      if (at->second.cores > node.cores_allocatable.value ||
          at->second.memory > node.memory_allocatable.value)
        return node.name;
      for (const auto& [device, milli] : at->second.devices)
        if (milli > 1000) return node.name;
    }
  return {};
}

RunningWorld make_random(unsigned seed, Request& waiting) {
  std::mt19937 random(seed);
  const auto pick = [&](int n) { return int(random() % unsigned(n)); };
  auto world = make_cluster(3 + pick(8));
  world.projects["other"] = world.projects["vision"];
  for (auto& node : world.nodes) {
    if (pick(6) == 0) node.capacity_type = CapacityType::kSpot;
    if (pick(12) == 0) node.is_ready = false;
  }
  for (int i = 12 + pick(16); i > 0; --i) {
    std::vector<std::string> nodes;
    for (int m = pick(4) == 0 ? 2 : 1; m > 0; --m)
      nodes.push_back("n" + std::to_string(pick(int(world.nodes.size()))));
    if (!run(world, "p/" + std::to_string(i), nodes, 1 + pick(4), pick(600), pick(4) == 0 ? "stays" : ""))
      continue;
    auto& tenant = world.tenants.back();
    if (pick(3) == 0) tenant.gang.project = tenant.request.project = "other";
    tenant.gang.priority = pick(3);
    if (pick(6) == 0) tenant.gang.interruption = InterruptionClass::kNever;
    if (pick(5) == 0) tenant.request.excluded_nodes = {"n1"};
  }
  waiting = make_waiting(pick(3) ? 1 : 2, 3 + pick(6));
  waiting.priority = pick(3);
  return world;
}

// Every moment of a plan: whichever of the moves were made, and after the last one the waiting gang.
void check_moments(const RunningWorld& world, const Request& waiting, const GangRoom& room) {
  for (unsigned done = 0; done < 1u << room.moves.size(); ++done) {
    Held_by_node held;
    for (std::size_t t = 0; t < world.tenants.size(); ++t) {
      const auto& tenant = world.tenants[t];
      const auto move = std::ranges::find(room.moves, t, &Relocation::tenant);
      if (move != room.moves.end() && (done >> (move - room.moves.begin()) & 1) != 0)
        for (const auto& place : move->to) add(held, place.node, tenant.request.each, place.devices);
      else
        for (const auto& member : tenant.gang.members)
          add(held, member.node, tenant.request.each, member.devices);
    }
    ASSERT_EQ(overbooked(world, held), "") << "with moves " << done;
    if (done + 1 < 1u << room.moves.size()) continue;
    for (const auto& place : room.places) add(held, place.node, waiting.each, place.devices);
    ASSERT_EQ(overbooked(world, held), "") << "with the waiting gang in its place";
  }
}

void check_movers(const RunningWorld& world, const Request& waiting, const GangRoom& room) {
  std::set<std::size_t> moved;
  for (const auto& move : room.moves) {
    const auto& tenant = world.tenants.at(move.tenant);
    EXPECT_TRUE(moved.insert(move.tenant).second) << "nobody moves twice";
    EXPECT_EQ(tenant.stays, "");
    EXPECT_NE(tenant.gang.interruption, InterruptionClass::kNever);
    EXPECT_LE(tenant.gang.priority, waiting.priority);
    EXPECT_EQ(move.to.size(), tenant.gang.members.size());
    const auto type = std::ranges::find(world.nodes, tenant.gang.members[0].node, &Node::name)->capacity_type;
    for (const auto& place : move.to) {
      const auto& node = *std::ranges::find(world.nodes, place.node, &Node::name);
      EXPECT_TRUE(node.is_ready);
      EXPECT_EQ(node.capacity_type, type);
      EXPECT_EQ(std::ranges::count(tenant.request.excluded_nodes, place.node), 0);
    }
  }
}

TEST(GangRoomProperty, nothing_moves_that_may_not_and_nothing_is_given_twice_at_any_moment) {
  int rooms = 0, several = 0;
  for (unsigned seed = 1; seed <= 600; ++seed) {
    SCOPED_TRACE(seed);
    Request waiting;
    auto world = make_random(seed, waiting);
    const auto before = world;
    const auto answer = plan(world, waiting);
    for (std::size_t n = 0; n < world.nodes.size(); ++n)
      ASSERT_EQ(world.nodes[n].devices_free, before.nodes[n].devices_free) << "the world is as before";
    ASSERT_EQ(answer.room.has_value(), !answer.is_free_already && answer.why.empty());
    if (!answer.room) continue;
    ++rooms;
    several += answer.room->moves.size() > 1;
    ASSERT_EQ(int(answer.room->places.size()), waiting.replicas);
    check_movers(world, waiting, *answer.room);
    check_moments(world, waiting, *answer.room);
  }
  EXPECT_GT(rooms, 60) << "the worlds say something";
  EXPECT_GT(several, 10);
}

TEST(GangRoomProperty, the_same_world_gives_the_same_plan_and_the_waiting_gang_starts_after_it) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Request waiting;
    auto world = make_random(seed, waiting);
    const auto answer = plan(world, waiting), again = plan(world, waiting);
    ASSERT_EQ(answer.room.has_value(), again.room.has_value());
    if (!answer.room) continue;
    ASSERT_EQ(movers(world, answer), movers(world, again));
    // Carried out, and decided by the engine as it would be then.
    for (std::size_t m = 0; m < answer.room->moves.size(); ++m) {
      const auto& move = answer.room->moves[m];
      ASSERT_EQ(move.to.size(), again.room->moves[m].to.size());
      for (std::size_t i = 0; i < move.to.size(); ++i)
        ASSERT_EQ(move.to[i].node, again.room->moves[m].to[i].node);
      const auto& tenant = world.tenants[move.tenant];
      const auto shift = [&](const std::string& name, const std::vector<std::uint16_t>& devices, int sign) {
        auto& node = node_at(world, name);
        node.cores_free.value += sign * tenant.request.each.cores.value;
        node.memory_free.value += sign * tenant.request.each.memory.value;
        for (const auto d : devices) node.devices_free[d] += sign * 1000;
      };
      for (const auto& member : tenant.gang.members) shift(member.node, member.devices, 1);
      for (const auto& place : move.to) shift(place.node, place.devices, -1);
    }
    auto now = world.projects.at("vision");
    now.nodes = world.nodes;
    ASSERT_TRUE(decide_one(now, waiting).is_placed);
  }
}

}  // namespace
}  // namespace neap::scheduler
