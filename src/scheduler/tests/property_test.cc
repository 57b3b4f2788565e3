// Safety properties over random worlds.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

struct RandomCase {
  Snapshot world;
  std::vector<Request> requests;
};

RandomCase make_case(unsigned seed) {
  std::mt19937 random(seed);
  const auto pick = [&](int n) { return int(random() % unsigned(n)); };
  RandomCase out;
  out.world = make_world();
  out.world.nodes.clear();
  const char* sites[] = {"edge-1", "hq", "cloud-a", "cloud-b"};
  for (int i = 0; i < 4 + pick(30); ++i) {
    const int site = pick(4);
    auto node =
        make_node("n" + std::to_string(i), sites[site], 4 + pick(60), 8 + pick(120), pick(2) ? pick(9) : 0,
                  site < 2               ? CapacityType::kOwned
                  : site == 3 || pick(2) ? CapacityType::kSpot
                                         : CapacityType::kOnDemand);
    node.is_ready = pick(10) > 0;
    node.is_reclaimed = pick(15) == 0;
    if (pick(3) == 0 && !node.accelerator_model.empty()) node.accelerator_model = "nvidia-t4";
    if (pick(8) == 0) node.taints = {{"dedicated", "x", pick(2) == 0}};
    for (auto& device : node.devices_free)
      if (pick(5) == 0) device = pick(1001);
    out.world.nodes.push_back(std::move(node));
  }
  if (pick(3) == 0) out.world.queues = {{.name = "q", .cores_limit = {20'000}, .accelerators_limit = {4000}}};
  if (pick(2) == 0) {
    const auto action = finops::BudgetAction(int(finops::BudgetAction::kSpotOnly) + pick(3));
    out.world.budgets = {{{.name = "b", .project = "vision", .limit = {5'000'000}, .ladder = {{60, action}}},
                          {{std::int64_t(pick(5'000'000))}, {}},
                          std::chrono::hours(1),
                          pick(3)}};
  }
  if (pick(3) == 0)
    out.world.rules.push_back(policy::make_rule("r1", "task.gpu_demand > 4", "schedule_to(public)").value());
  if (pick(3) == 0)
    out.world.rules.push_back(policy::make_rule("r2", "node.load > 0.5", "forbid(private)").value());
  for (int i = 0; i < 1 + pick(40); ++i) {
    constexpr int kMilli[] = {0, 0, 250, 500, 1000, 2000, 4000};
    auto request = make_request("j" + std::to_string(i), pick(12), pick(20), kMilli[pick(7)]);
    request.replicas = pick(4) ? 1 : 1 + pick(5);
    request.priority = pick(3);
    if (pick(3) == 0) request.replicas_min = 1 + pick(request.replicas);
    if (pick(3) == 0) request.each.accelerator_model = pick(2) ? "nvidia-a100" : "nvidia-t4";
    if (!request.each.accelerator_model.empty() && pick(3) == 0)
      request.accelerator_alternatives = {"nvidia-a100", "nvidia-t4"};
    if (pick(2)) request.queue = "q";
    if (pick(4) == 0) request.interruption = InterruptionClass::kNever;
    if (pick(3) == 0)
      request.data = {{.dataset = "d",
                       .level = DataLevel(1 + pick(3)),
                       .home_site = sites[pick(4)],
                       .jurisdiction = pick(2) ? "DE" : "US",
                       .size = {std::int64_t(pick(1'000'000'000))},
                       .is_strict = pick(6) == 0}};
    if (pick(5) == 0) {
      request.latency_max = std::chrono::milliseconds(5 + pick(50));
      request.consumer_site = "edge-1";
    }
    request.may_span_sites = pick(6) == 0;
    request.spreads_nodes = pick(5) == 0;
    if (pick(8) == 0) request.excluded_nodes = {"n" + std::to_string(pick(10))};
    out.requests.push_back(std::move(request));
  }
  return out;
}

const Node& node_of(const Snapshot& world, const std::string& name) {
  return *std::find_if(world.nodes.begin(), world.nodes.end(), [&](const Node& n) { return n.name == name; });
}
const Site& site_of(const Snapshot& world, const std::string& name) {
  return *std::find_if(world.sites.begin(), world.sites.end(), [&](const Site& s) { return s.name == name; });
}

// Re-checks what the guards promise, without using them.
void check_placement(const Snapshot& world, const Request& request, const Placement& placement) {
  const Node& node = node_of(world, placement.node);
  const Site& site = site_of(world, placement.site);
  EXPECT_EQ(node.site, placement.site);
  EXPECT_TRUE(node.is_ready);
  EXPECT_FALSE(node.is_reclaimed);
  if (request.each.accelerators.value > 0) EXPECT_TRUE(request.takes_model(node.accelerator_model));
  EXPECT_EQ(std::count(request.excluded_nodes.begin(), request.excluded_nodes.end(), node.name), 0);
  for (const auto& taint : node.taints) EXPECT_FALSE(taint.is_hard);
  if (request.interruption == InterruptionClass::kNever) EXPECT_NE(node.capacity_type, CapacityType::kSpot);
  for (const auto& input : request.data) {
    if (input.level == DataLevel::kL1 || input.is_strict) EXPECT_EQ(site.name, input.home_site);
    if (input.level == DataLevel::kL2)
      EXPECT_TRUE(site.tier != Tier::kPublic &&
                  (site.name == input.home_site || site.jurisdiction == input.jurisdiction));
  }
  if (request.latency_max && site.name != "edge-1") {
    const auto link = std::find_if(world.links.begin(), world.links.end(),
                                   [&](const Link& l) { return l.from == site.name && l.to == "edge-1"; });
    EXPECT_LE(link->rtt, *request.latency_max);
  }
  for (const auto& rule : world.rules)
    if (rule.name == "r1" && request.each.accelerators.value * request.replicas > 4000)
      EXPECT_EQ(site.tier, Tier::kPublic);
}

TEST(SchedulerProperties, nothing_is_given_twice_gangs_are_atomic_and_guards_hold) {
  for (unsigned seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    const auto c = make_case(seed);
    auto options = make_options();
    options.suggestions_max = 0;
    const auto plan = decide(c.world, c.requests, options);
    for (std::size_t i = 0; i < c.requests.size(); ++i) {
      const auto& decision = plan.decisions[i];
      const auto& request = c.requests[i];
      const auto members = decision.placements.size();
      if (decision.is_placed && request.replicas_min > 0)
        EXPECT_TRUE(members >= std::size_t(request.replicas_min) && members <= std::size_t(request.replicas));
      else
        EXPECT_EQ(members, decision.is_placed ? std::size_t(request.replicas) : 0u);
      EXPECT_EQ(decision.is_placed, !decision.pending.has_value());
      if (!decision.is_placed) EXPECT_FALSE(decision.pending->sentence.empty());
      std::set<std::string> sites, nodes;
      for (const auto& placement : decision.placements) {
        check_placement(c.world, request, placement);
        sites.insert(placement.site);
        nodes.insert(placement.node);
      }
      if (!request.may_span_sites) EXPECT_LE(sites.size(), 1u);
      if (request.spreads_nodes) EXPECT_EQ(nodes.size(), decision.placements.size());
      for (const auto& site : decision.sites) EXPECT_TRUE(site.refusal.has_value() || site.score.has_value());
    }
    Snapshot after = c.world;
    apply_plan(after, c.requests, plan);
    for (const auto& node : after.nodes) {
      EXPECT_GE(node.cores_free.value, 0);
      EXPECT_GE(node.memory_free.value, 0);
      for (const auto free : node.devices_free) EXPECT_GE(free, 0);
    }
    for (const auto& queue : after.queues) {
      EXPECT_LE(queue.cores_used, queue.cores_limit);
      EXPECT_LE(queue.accelerators_used, queue.accelerators_limit);
    }
    for (const auto& budget : after.budgets)
      EXPECT_LE(budget.state.committed + budget.state.spent,
                std::max(budget.budget.limit, c.world.budgets[0].state.spent));
  }
}

TEST(SchedulerProperties, the_same_inputs_give_the_same_plan_whatever_the_order_of_nodes) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    auto c = make_case(seed);
    const auto options = make_options();
    const auto first = to_text(to_json(decide(c.world, c.requests, options)));
    EXPECT_EQ(first, to_text(to_json(decide(c.world, c.requests, options))));
    std::reverse(c.world.sites.begin(), c.world.sites.end());
    auto shuffled = c;
    auto no_hints = options;
    no_hints.suggestions_max = 0;
    std::mt19937 random(seed);
    std::shuffle(shuffled.world.nodes.begin(), shuffled.world.nodes.end(), random);
    EXPECT_EQ(to_text(to_json(decide(c.world, c.requests, no_hints))),
              to_text(to_json(decide(shuffled.world, c.requests, no_hints))));
  }
}

TEST(SchedulerProperties, cached_scores_agree_with_deciding_one_request_at_a_time) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    auto c = make_case(seed);
    for (auto& request : c.requests) {
      request.priority = 0;
      // The mix of work shapes fragmentation scores, so one shape only.
      request.each = c.requests[0].each;
    }
    auto options = make_options();
    options.suggestions_max = 0;
    const auto together = decide(c.world, c.requests, options);
    Snapshot world = c.world;
    for (std::size_t i = 0; i < c.requests.size(); ++i) {
      const auto alone = decide(world, std::span(&c.requests[i], 1), options);
      EXPECT_EQ(alone.decisions[0].is_placed, together.decisions[i].is_placed);
      ASSERT_EQ(alone.decisions[0].placements.size(), together.decisions[i].placements.size());
      for (std::size_t r = 0; r < alone.decisions[0].placements.size(); ++r)
        EXPECT_EQ(alone.decisions[0].placements[r].node, together.decisions[i].placements[r].node);
      apply_plan(world, std::span(&c.requests[i], 1), alone);
    }
  }
}

TEST(SchedulerProperties, every_suggested_change_really_admits_the_request) {
  int suggested = 0;
  for (unsigned seed = 0; seed < 250; ++seed) {
    SCOPED_TRACE(seed);
    auto c = make_case(seed);
    for (const auto& request : c.requests) {
      const auto decision = decide_one(c.world, request);
      if (decision.is_placed) continue;
      for (const auto& change : decision.would_fit) {
        Snapshot changed = c.world;
        auto asked = request;
        apply_change(changed, asked, change);
        EXPECT_TRUE(decide_one(changed, asked).is_placed) << change.sentence;
        ++suggested;
      }
    }
  }
  EXPECT_GT(suggested, 100);
}

}  // namespace
}  // namespace neap::scheduler
