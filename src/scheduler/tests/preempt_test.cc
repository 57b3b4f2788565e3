// Who makes room for whom.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

// One site; each node has 8 accelerators, all held by what run() puts there.
Snapshot make_site(int nodes, int per_block = 0) {
  Snapshot world;
  world.sites = {{"hq", Tier::kPrivate, "DE", {}, {}, 1}};
  for (int i = 0; i < nodes; ++i) {
    auto node = make_node("n" + std::to_string(i), "hq", 64, 512, 8);
    if (per_block > 0) node.topology[2] = "b" + std::to_string(i / per_block);
    world.nodes.push_back(std::move(node));
  }
  return world;
}

Node& node_at(Snapshot& world, const std::string& name) {
  return *std::ranges::find(world.nodes, name, &Node::name);
}

// A gang with one member of `devices` accelerators on each of the nodes, as far as they are free.
RunningGang& run(Snapshot& world, std::string owner, const std::vector<std::string>& nodes, int devices,
                 int priority, double unsaved) {
  RunningGang gang;
  gang.owner = std::move(owner);
  gang.priority = priority;
  gang.unsaved_seconds = unsaved;
  for (const auto& name : nodes) {
    auto& node = node_at(world, name);
    RunningMember member{name, {1000 * devices}, {devices * kGiB}, {1000 * devices}, {}};
    for (std::size_t d = 0; d < node.devices_free.size() && int(member.devices.size()) < devices; ++d)
      if (node.devices_free[d] == 1000) {
        node.devices_free[d] = 0;
        member.devices.push_back(std::uint16_t(d));
      }
    EXPECT_EQ(int(member.devices.size()), devices) << name;
    node.cores_free -= member.cores;
    node.memory_free -= member.memory;
    gang.members.push_back(std::move(member));
  }
  world.running.push_back(std::move(gang));
  return world.running.back();
}

Request make_urgent(int replicas, int devices, int priority = 10) {
  auto request = make_request("urgent", devices, devices, devices * 1000);
  request.replicas = replicas;
  request.priority = priority;
  return request;
}
std::set<std::string> victims_of(const Decision& decision) {
  std::set<std::string> out;
  if (decision.preemption)
    for (const auto& victim : decision.preemption->victims) out.insert(victim.owner);
  return out;
}

TEST(Preemption, the_least_lost_work_falls_and_both_sides_are_told) {
  auto world = make_site(3);
  run(world, "p/long", {"n0"}, 8, 0, 5000);
  run(world, "p/fresh", {"n1"}, 8, 0, 30);
  run(world, "p/higher", {"n2"}, 8, 10, 0);
  const auto decision = decide_one(world, make_urgent(1, 8));
  EXPECT_FALSE(decision.is_placed);
  ASSERT_TRUE(decision.preemption);
  EXPECT_EQ(victims_of(decision), std::set<std::string>{"p/fresh"});
  EXPECT_EQ(decision.preemption->placements.at(0).node, "n1");
  EXPECT_DOUBLE_EQ(decision.preemption->lost_work, 240);
  EXPECT_EQ(
      decision.preemption->victims[0].sentence,
      "ends for vision/urgent of priority 10, above its own 0: 240 device seconds since its last durable "
      "checkpoint are repeated");
  const auto words = render_explanation(to_json(decision, "EUR"));
  EXPECT_NE(words.find("makes room: starts on n1 once p/fresh (priority 0) has made room"), std::string::npos)
      << words;
}

TEST(Preemption, nobody_falls_where_there_is_room_without_it) {
  auto world = make_site(2);
  run(world, "p/one", {"n0"}, 8, 0, 0);
  const auto decision = decide_one(world, make_urgent(1, 8));
  EXPECT_TRUE(decision.is_placed);
  EXPECT_FALSE(decision.preemption);
}

TEST(Preemption, never_work_of_equal_or_higher_priority_nor_what_must_not_be_interrupted) {
  auto world = make_site(2);
  run(world, "p/equal", {"n0"}, 8, 10, 0);
  auto& never = run(world, "p/never", {"n1"}, 8, 0, 0);
  never.interruption = InterruptionClass::kNever;
  auto decision = decide_one(world, make_urgent(1, 8));
  EXPECT_FALSE(decision.preemption);
  EXPECT_FALSE(decision.no_preemption.empty());
  world.running[1].never_may_fall = true;
  EXPECT_EQ(victims_of(decide_one(world, make_urgent(1, 8))), std::set<std::string>{"p/never"});
  auto patient = make_urgent(1, 8);
  patient.may_preempt = false;
  EXPECT_FALSE(decide_one(world, patient).preemption);
}

TEST(Preemption, nobody_falls_when_the_whole_gang_does_not_fit_afterwards) {
  auto world = make_site(3);
  run(world, "p/a", {"n0"}, 8, 0, 0);
  run(world, "p/b", {"n1"}, 8, 0, 0);
  run(world, "p/c", {"n2"}, 8, 50, 0);
  const auto decision = decide_one(world, make_urgent(3, 8));
  EXPECT_FALSE(decision.preemption);
  EXPECT_EQ(decision.no_preemption,
            "ending all running work that may end for it would not make room for all of it");
}

TEST(Preemption, it_frees_one_block_and_not_nodes_here_and_there) {
  auto world = make_site(8, 4);
  // The cheapest work lies scattered over both blocks; b1 alone can be freed whole.
  for (int i = 0; i < 4; ++i)
    run(world, "p/cheap" + std::to_string(i), {"n" + std::to_string(2 * i)}, 8, 0, 1);
  for (const int i : {1, 3}) run(world, "p/fixed" + std::to_string(i), {"n" + std::to_string(i)}, 8, 99, 0);
  for (const int i : {5, 7}) run(world, "p/dear" + std::to_string(i), {"n" + std::to_string(i)}, 8, 0, 900);
  auto gang = make_urgent(4, 8);
  gang.topology = TopologyAsk{};
  const auto decision = decide_one(world, gang);
  ASSERT_TRUE(decision.preemption);
  EXPECT_EQ(victims_of(decision), (std::set<std::string>{"p/cheap2", "p/cheap3", "p/dear5", "p/dear7"}));
  gang.topology = {};
  gang.may_span_sites = false;
  EXPECT_EQ(victims_of(decide_one(world, gang)),
            (std::set<std::string>{"p/cheap0", "p/cheap1", "p/cheap2", "p/cheap3"}));
}

TEST(Preemption, a_gang_falls_whole_and_its_whole_loss_counts) {
  auto world = make_site(4);
  run(world, "p/wide", {"n0", "n1", "n2"}, 8, 0, 10);  // 240 device seconds
  run(world, "p/narrow", {"n3"}, 8, 0, 20);            // 160
  EXPECT_EQ(victims_of(decide_one(world, make_urgent(1, 8))), std::set<std::string>{"p/narrow"});
  world.running[1].unsaved_seconds = 40;
  const auto decision = decide_one(world, make_urgent(1, 8));
  EXPECT_EQ(victims_of(decision), std::set<std::string>{"p/wide"});
  EXPECT_EQ(decision.preemption->victims[0].members, 3);
  EXPECT_EQ(decision.preemption->victims[0].members_kept, 0);
}

TEST(Preemption, an_elastic_gang_shrinks_where_enough_of_it_stays) {
  auto world = make_site(4);
  run(world, "p/elastic", {"n0", "n1", "n2", "n3"}, 8, 0, 1).members_min = 2;
  auto decision = decide_one(world, make_urgent(2, 8));
  ASSERT_TRUE(decision.preemption);
  EXPECT_EQ(decision.preemption->victims[0].members_kept, 2);
  EXPECT_EQ(decision.preemption->victims[0].members, 2);
  decision = decide_one(world, make_urgent(3, 8));
  ASSERT_TRUE(decision.preemption);
  EXPECT_EQ(decision.preemption->victims[0].members_kept, 0);
}

TEST(Preemption, a_queue_takes_back_what_it_lent_whatever_the_priority) {
  auto world = make_site(1);
  run(world, "p/borrower", {"n0"}, 8, 100, 0).reclaimable_by = {"lender"};
  auto request = make_urgent(1, 8, 0);
  EXPECT_FALSE(decide_one(world, request).preemption);
  request.queue = "lender";
  const auto decision = decide_one(world, request);
  ASSERT_TRUE(decision.preemption);
  EXPECT_NE(decision.preemption->victims[0].sentence.find("which takes back what it lent"),
            std::string::npos);
}

TEST(Preemption, the_place_is_held_and_what_is_freed_beside_it_is_not_free_yet) {
  auto world = make_site(1);
  run(world, "p/a", {"n0"}, 8, 0, 0);
  std::vector<Request> requests{make_urgent(1, 4, 10), make_urgent(1, 4, 5), make_urgent(1, 1, 0)};
  requests[1].id = "second";
  requests[2].id = "third";
  const auto plan = decide(world, requests, make_options());
  EXPECT_TRUE(plan.decisions[0].preemption);
  EXPECT_FALSE(plan.decisions[1].is_placed);
  EXPECT_FALSE(plan.decisions[1].preemption) << "its victim has fallen for another already";
  EXPECT_FALSE(plan.decisions[2].is_placed);
}

TEST(Preemption, a_policy_is_asked_before_anybody_falls) {
  auto world = make_site(1);
  run(world, "p/a", {"n0"}, 8, 0, 0);
  world.rules.push_back(policy::make_rule("r", "task.gpu_demand > 4", "forbid(private)").value());
  EXPECT_FALSE(decide_one(world, make_urgent(1, 8)).preemption);
  world.nodes[0].taints = {{"dedicated", "x", true}};
  world.rules.clear();
  EXPECT_FALSE(decide_one(world, make_urgent(1, 8)).preemption);
}

struct Case {
  Snapshot world;
  std::vector<Request> requests;
};

Case make_case(unsigned seed) {
  std::mt19937 random(seed);
  const auto pick = [&](int n) { return int(random() % unsigned(n)); };
  Case out;
  const int nodes = 2 + pick(7);
  out.world = make_site(nodes, pick(2) ? 1 + pick(4) : 0);
  if (pick(4) == 0) out.world.nodes[0].taints = {{"dedicated", "x", true}};
  for (int g = 0; g < 3 + pick(10); ++g) {
    std::vector<std::string> at;
    const int devices = 1 + pick(8);
    for (int m = 0; m < 1 + pick(3); ++m) {
      const auto& node = out.world.nodes[std::size_t(pick(nodes))];
      if (std::count(node.devices_free.begin(), node.devices_free.end(), 1000) >= devices &&
          std::ranges::find(at, node.name) == at.end())
        at.push_back(node.name);
    }
    if (at.empty()) continue;
    auto& gang = run(out.world, "p/g" + std::to_string(g), at, devices, pick(4), pick(100));
    if (pick(5) == 0) gang.interruption = InterruptionClass::kNever;
    if (pick(6) == 0) gang.is_preemptible = false;
    if (pick(3) == 0) gang.members_min = 1;
  }
  for (int r = 0; r < 1 + pick(4); ++r) {
    auto request = make_urgent(pick(2) ? 1 : 1 + pick(4), 1 + pick(8), pick(5));
    request.id = "r" + std::to_string(r);
    request.spreads_nodes = pick(5) == 0;
    if (pick(3) == 0) request.topology = TopologyAsk{TopologyLevel::kBlock, pick(2) == 0, 0};
    if (request.replicas > 2 && pick(3) == 0) request.replicas_min = 2;
    out.requests.push_back(std::move(request));
  }
  return out;
}

void give_back(Snapshot& world, const RunningMember& member) {
  auto& node = node_at(world, member.node);
  node.cores_free += member.cores;
  node.memory_free += member.memory;
  for (const auto device : member.devices)
    node.devices_free[device] +=
        std::int32_t(member.accelerators.value / std::int64_t(member.devices.size()));
}

TEST(PreemptionProperties, nobody_falls_in_vain_nor_for_less_and_what_was_promised_fits_when_they_have_gone) {
  int preemptions = 0;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(seed);
    const auto c = make_case(seed);
    auto options = make_options();
    options.suggestions_max = 0;
    const auto plan = decide(c.world, c.requests, options);
    EXPECT_EQ(to_text(to_json(plan)), to_text(to_json(decide(c.world, c.requests, options))));
    Snapshot after = c.world;
    std::set<std::string> fallen;
    for (std::size_t i = 0; i < c.requests.size(); ++i) {
      const auto& decision = plan.decisions[i];
      const auto& request = c.requests[i];
      EXPECT_FALSE(decision.is_placed && decision.preemption);
      if (!decision.preemption) continue;
      ++preemptions;
      EXPECT_FALSE(decision.preemption->victims.empty());
      EXPECT_GE(int(decision.preemption->placements.size()),
                request.replicas_min > 0 ? request.replicas_min : request.replicas);
      for (const auto& victim : decision.preemption->victims) {
        const auto gang = std::ranges::find(c.world.running, victim.owner, &RunningGang::owner);
        ASSERT_NE(gang, c.world.running.end());
        EXPECT_TRUE(fallen.insert(victim.owner).second) << "falls once";
        EXPECT_LT(gang->priority, request.priority);
        EXPECT_TRUE(gang->is_preemptible);
        EXPECT_NE(gang->interruption, InterruptionClass::kNever);
        EXPECT_TRUE(victim.members_kept == 0 || victim.members_kept >= gang->members_min);
        for (const auto& member : gang->members) give_back(after, member);
      }
      std::set<std::string> blocks, nodes;
      for (const auto& placement : decision.preemption->placements) {
        const auto& node = node_at(after, placement.node);
        EXPECT_TRUE(node.taints.empty());
        blocks.insert(node.topology[2]);
        nodes.insert(placement.node);
      }
      if (request.topology && request.topology->is_required && request.replicas > 1)
        EXPECT_EQ(blocks.size(), 1u);
      if (request.spreads_nodes) EXPECT_EQ(nodes.size(), decision.preemption->placements.size());
    }
    // Everybody's place at once, after all who fall have gone.
    for (std::size_t i = 0; i < c.requests.size(); ++i) {
      const auto& decision = plan.decisions[i];
      const auto& each = c.requests[i].each;
      for (const auto& placement :
           decision.preemption ? decision.preemption->placements : decision.placements) {
        auto& node = node_at(after, placement.node);
        node.cores_free -= each.cores;
        node.memory_free -= each.memory;
        for (const auto device : placement.devices)
          node.devices_free[device] -=
              std::int32_t(each.accelerators.value / std::int64_t(placement.devices.size()));
      }
    }
    for (const auto& node : after.nodes) {
      EXPECT_GE(node.cores_free.value, 0);
      EXPECT_GE(node.memory_free.value, 0);
      for (const auto free : node.devices_free) EXPECT_GE(free, 0);
    }
    // What needs nobody to fall fits beside all that runs.
    Snapshot now = c.world;
    for (std::size_t i = 0; i < c.requests.size(); ++i)
      for (const auto& placement : plan.decisions[i].placements)
        for (const auto device : placement.devices)
          EXPECT_EQ(node_at(now, placement.node).devices_free[device], 1000);
  }
  EXPECT_GT(preemptions, 300);
}

// Every set of victims on every node, for one replica.
double least_loss(const Snapshot& world, const Request& request) {
  double best = std::numeric_limits<double>::infinity();
  const auto gangs = world.running.size();
  for (std::uint32_t set = 1; set < (1u << gangs); ++set) {
    double lost = 0;
    bool allowed = true;
    Snapshot after = world;
    for (std::size_t g = 0; g < gangs && allowed; ++g) {
      if (!(set >> g & 1)) continue;
      const auto& gang = world.running[g];
      allowed = gang.priority < request.priority && gang.is_preemptible &&
                gang.interruption != InterruptionClass::kNever;
      lost += gang.lost_work();
      for (const auto& member : gang.members) give_back(after, member);
    }
    if (!allowed || lost >= best) continue;
    after.running.clear();
    if (decide_one(after, request,
                   [] {
                     auto o = make_options();
                     o.suggestions_max = 0;
                     return o;
                   }())
            .is_placed)
      best = lost;
  }
  return best;
}

TEST(PreemptionProperties, the_loss_is_near_the_least_that_any_set_of_victims_has) {
  double ours = 0, least = 0;
  int compared = 0, exact = 0;
  for (unsigned seed = 0; seed < 260; ++seed) {
    SCOPED_TRACE(seed);
    auto c = make_case(seed);
    if (c.world.running.size() > 9) continue;
    const auto decision = decide_one(c.world, c.requests[0]);
    if (decision.is_placed) continue;
    auto gang = c.requests[0];
    if (gang.replicas_min > 0) gang.replicas = gang.replicas_min, gang.replicas_min = 0;
    const double best = least_loss(c.world, gang);
    EXPECT_EQ(decision.preemption.has_value(), best < std::numeric_limits<double>::infinity());
    if (!decision.preemption) continue;
    ++compared;
    EXPECT_GE(decision.preemption->lost_work, best - 1e-9);
    exact += decision.preemption->lost_work <= best + 1e-9;
    ours += decision.preemption->lost_work;
    least += best;
  }
  RecordProperty("compared", compared);
  RecordProperty("exact", exact);
  EXPECT_GT(compared, 30);
  EXPECT_GE(exact * 10, compared * 9);
  EXPECT_LE(ours, least * 1.1);
}

}  // namespace
}  // namespace neap::scheduler
