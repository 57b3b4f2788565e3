#include "neap/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "neap/scheduler/profiles.h"
#include "tests/world.h"

namespace neap::scheduler {
namespace {

using ::testing::HasSubstr;

policy::PolicyRule rule(std::string_view name, std::string_view condition, std::string_view action) {
  return policy::make_rule(name, condition, action).value();
}

TEST(Scheduler, prefers_the_cheaper_site_when_data_may_leave) {
  auto request = make_request("train", 4, 16, 1000);
  request.each.accelerator_model = "nvidia-a100";
  const auto decision = decide_one(make_world(), request);
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(decision.placements[0].site, "cloud-b");
  EXPECT_EQ(format_money(*decision.cost_per_hour), "0.756000");
  EXPECT_EQ(code_at(decision, "edge-1"), "accelerator.kind");
  EXPECT_EQ(decision.placements[0].devices.size(), 1u);
}

TEST(Scheduler, data_levels_bind_places_before_any_price) {
  struct Case {
    DataInput input;
    std::string_view edge, hq, cloud_a, cloud_b;
  };
  const std::string dl = "data.level", dj = "data.jurisdiction";
  const std::vector<Case> cases{
      {{.dataset = "d", .level = DataLevel::kL1, .home_site = "hq"}, dl, "", dl, dl},
      {{.dataset = "d", .level = DataLevel::kL1}, dl, dl, dl, dl},
      {{.dataset = "d", .level = DataLevel::kL2, .home_site = "hq", .jurisdiction = "DE"}, "", "", dl, dl},
      {{.dataset = "d", .level = DataLevel::kL2, .home_site = "edge-1", .jurisdiction = "FR"},
       "",
       dj,
       dl,
       dl},
      {{.dataset = "d", .level = DataLevel::kL3, .home_site = "hq"}, "", "", "", ""},
      {{.dataset = "d", .level = DataLevel::kL3, .home_site = "hq", .is_strict = true},
       "data.strict",
       "",
       "data.strict",
       "data.strict"},
      {{.dataset = "d", .level = DataLevel::kL3, .allowed_sites = {"cloud-b"}},
       "data.sites",
       "data.sites",
       "data.sites",
       ""},
      {{.dataset = "d", .level = DataLevel::kL1, .home_site = "hq", .allowed_sites = {"cloud-b"}},
       dl,
       "data.sites",
       dl,
       dl},
  };
  for (const auto& c : cases) {
    auto request = make_request("r");
    request.data = {c.input};
    const auto decision = decide_one(make_world(), request);
    EXPECT_EQ(code_at(decision, "edge-1"), c.edge);
    EXPECT_EQ(code_at(decision, "hq"), c.hq);
    EXPECT_EQ(code_at(decision, "cloud-a"), c.cloud_a);
    EXPECT_EQ(code_at(decision, "cloud-b"), c.cloud_b);
  }
}

TEST(Scheduler, the_data_policies_that_transfers_obey_bind_placement_too) {
  auto world = make_world();
  api::DataRule allow;
  allow.name = "train-in-cloud-a";
  allow.toSites = {"cloud-a"};
  allow.purposes = {"train"};
  allow.effect = "allow";
  world.data_policies = dataguard::DataPolicyTable({allow});
  auto request = make_request("r");
  request.data = {{.dataset = "d", .level = DataLevel::kL2, .home_site = "hq", .jurisdiction = "DE"}};
  const auto decision = decide_one(world, request);
  EXPECT_EQ(code_at(decision, "hq"), "");
  EXPECT_EQ(code_at(decision, "cloud-a"), "");
  EXPECT_EQ(code_at(decision, "edge-1"), "data.level");
  EXPECT_EQ(code_at(decision, "cloud-b"), "data.level");
  request.kind = TaskKind::kInference;
  EXPECT_EQ(code_at(decide_one(world, request), "cloud-a"), "data.level");
  request.data[0].level = DataLevel::kL1;
  request.kind = TaskKind::kTraining;
  EXPECT_EQ(code_at(decide_one(world, request), "cloud-a"), "data.level");
}

TEST(Scheduler, a_hybridcloud_policy_forces_its_priority_class_to_the_edge) {
  auto world = make_world();
  world.rules = policy::rules_from_hybridcloud_policy(
                    parse_json(R"j({"apiVersion": "ai.hybridcloud/v1", "kind": "SchedulingPolicy",
    "spec": {"priorityClass": "critical-realtime", "constraints": [{"type": "Latency", "threshold": "10ms", "action": "ForceEdge"},
    {"type": "Cost", "threshold": "spot-price-low", "action": "PreemptibleCloud"}]}})j")
                        .value())
                    .value();
  auto request = make_request("r");
  request.priority_class = "critical-realtime";
  const auto decision = decide_one(world, request);
  EXPECT_EQ(decision.placements.at(0).site, "edge-1");
  EXPECT_EQ(code_at(decision, "hq"), "policy.forbidden");
  request.priority_class = "batch";
  EXPECT_EQ(code_at(decide_one(world, request), "hq"), "");
}

TEST(Scheduler, a_latency_requirement_refuses_places_too_far_from_the_consumer) {
  auto request = make_request("serve");
  request.kind = TaskKind::kInference;
  request.interruption = InterruptionClass::kNever;
  request.latency_max = 10ms;
  request.consumer_site = "edge-1";
  const auto decision = decide_one(make_world(), request);
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(decision.placements[0].site, "edge-1");
  EXPECT_EQ(code_at(decision, "hq"), "");
  EXPECT_EQ(code_at(decision, "cloud-a"), "latency.too_far");
  EXPECT_THAT(reason_at(decision, "cloud-a").refusal->sentence, HasSubstr("25.0 ms, above the 10.0 ms"));
  auto world = make_world();
  world.links.clear();
  EXPECT_EQ(code_at(decide_one(world, request), "hq"), "latency.too_far");
}

TEST(Scheduler, policy_rules_require_forbid_and_prefer_by_name) {
  auto world = make_world();
  world.rules = {
      rule("realtime", "task.type == 'inference' AND task.latency_requirement < 20ms",
           "schedule_to(edge_cluster)"),
      rule("big", "task.type == 'training' AND task.gpu_demand > 8", "schedule_to(public_cloud_gpu_pool)"),
      rule("no-us", "data.level != 'L3' || task.project == 'vision'", "forbid(cloud-b)"),
      rule("cheap", "price.spot < price.spot_median_30d", "prefer(spot, 40)")};
  auto serve = make_request("serve");
  serve.kind = TaskKind::kInference;
  serve.latency_max = 15ms;
  serve.consumer_site = "edge-1";
  const auto served = decide_one(world, serve);
  EXPECT_EQ(served.placements.at(0).site, "edge-1");
  EXPECT_EQ(code_at(served, "hq"), "policy.required");
  EXPECT_THAT(reason_at(served, "hq").refusal->sentence, HasSubstr("realtime"));

  auto train = make_request("train", 4, 8, 1000);
  train.replicas = 10;
  const auto trained = decide_one(world, train);
  EXPECT_EQ(code_at(trained, "hq"), "policy.required");
  EXPECT_EQ(code_at(trained, "cloud-b"), "policy.forbidden");
  ASSERT_TRUE(trained.is_placed);
  EXPECT_EQ(trained.placements.at(0).site, "cloud-a");
  // 40 points for spot outweigh everything: the eight spot devices go first.
  EXPECT_EQ(trained.placements.at(0).node, "ca-spot");
}

TEST(Scheduler, a_guard_that_cannot_be_evaluated_refuses) {
  auto world = make_world();
  world.rules = {rule("broken", "int(task.type) > 3", "forbid(hq)")};
  const auto decision = decide_one(world, make_request("r"));
  EXPECT_FALSE(decision.is_placed);
  EXPECT_EQ(code_at(decision, "hq"), "policy.error");
  ASSERT_FALSE(decision.would_fit.empty());
  EXPECT_EQ(decision.would_fit[0].kind, ChangeKind::kDropRule);
}

TEST(Scheduler, rules_over_nodes_read_versions_and_load) {
  auto world = make_world();
  world.nodes[1].versions["driver"] = "550.54";
  world.rules = {
      rule("drivers",
           "task.gpu_demand > 0 && !(has(node.versions.driver) && node.versions.driver.startsWith('550'))",
           "forbid(private)"),
      rule("roomy", "node.cpu_free > 30.0", "prefer(hq, 90)")};
  auto request = make_request("train", 1, 1, 1000);
  request.pinned_site = "hq";
  const auto decision = decide_one(world, request);
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(decision.placements[0].node, "hq-a");
  EXPECT_GT(decision.score, 90);
  EXPECT_EQ(reason_at(decision, "hq").nodes_refused[std::size_t(Guard::kPolicyForbidden)], 1u);
}

TEST(Scheduler, work_that_must_not_be_interrupted_never_lands_on_spot) {
  auto request = make_request("serve", 1, 1, 1000);
  request.interruption = InterruptionClass::kNever;
  const auto decision = decide_one(make_world(), request);
  EXPECT_EQ(code_at(decision, "cloud-b"), "interruption.never_on_spot");
  EXPECT_EQ(reason_at(decision, "cloud-a").nodes_admitted, 1u);
  EXPECT_NE(decision.placements.at(0).capacity_type, CapacityType::kSpot);
}

TEST(Scheduler, nodes_that_are_down_reclaimed_excluded_tainted_or_unlabelled_are_refused_with_their_reason) {
  auto world = make_world();
  world.nodes[1].is_ready = false;
  world.nodes[2].is_reclaimed = true;
  world.nodes[3].taints = {{"dedicated", "infra", true}};
  auto request = make_request("r", 1, 1, 1000);
  request.excluded_nodes = {"ca-spot"};
  request.node_selector = {{"zone", "x"}};
  world.nodes[3].labels = {{"zone", "x"}};
  auto options = make_options();
  options.explains_nodes = true;
  const auto decision = decide_one(world, request, options);
  EXPECT_FALSE(decision.is_placed);
  std::map<std::string, std::string> codes;
  for (const auto& site : decision.sites)
    for (const auto& node : site.nodes) codes[node.node] = guard_code(node.refusal->guard);
  EXPECT_EQ(codes["hq-a"], "node.not_ready");
  EXPECT_EQ(codes["hq-b"], "node.reclaimed");
  EXPECT_EQ(codes["ca-od"], "taint.not_tolerated");
  EXPECT_EQ(codes["ca-spot"], "node.excluded");
  EXPECT_EQ(codes["cb-spot"], "node.selector");
  request.tolerations = {"dedicated"};
  EXPECT_EQ(decide_one(world, request).placements.at(0).node, "ca-od");
}

TEST(Scheduler, refusals_for_room_say_asked_free_and_total) {
  const auto decision = decide_one(make_world(), make_request("r", 200, 1));
  EXPECT_EQ(code_at(decision, "hq"), "fit.cores");
  EXPECT_THAT(reason_at(decision, "hq").refusal->sentence,
              HasSubstr("asks 200 cores; hq-a has 32 free of 32"));
  ASSERT_FALSE(decision.would_fit.empty()) << "no node is as large, one that is would do";
  EXPECT_THAT(decision.would_fit[0].sentence, HasSubstr("add 1 node of 200 cores"));
  auto rare = make_request("r", 1, 1, 2000);
  rare.each.accelerator_model = "H900";
  const auto other = decide_one(make_world(), rare);
  EXPECT_EQ(code_at(other, "hq"), "accelerator.kind");
  ASSERT_FALSE(other.would_fit.empty());
  EXPECT_THAT(other.would_fit.back().sentence, HasSubstr("accelerators H900 at "));
  EXPECT_EQ(code_at(decide_one(make_world(), make_request("r", 1, 1000)), "hq"), "fit.memory");
  EXPECT_EQ(code_at(decide_one(make_world(), make_request("r", 1, 1, 5000)), "hq"), "fit.accelerators");
}

TEST(Scheduler, gangs_are_placed_whole_in_one_site_or_not_at_all) {
  auto request = make_request("gang", 4, 8, 4000);
  request.replicas = 3;
  request.each.accelerator_model = "nvidia-a100";
  const auto decision = decide_one(make_world(), request);
  ASSERT_TRUE(decision.is_placed);
  ASSERT_EQ(decision.placements.size(), 3u);
  for (const auto& placement : decision.placements) EXPECT_EQ(placement.site, "cloud-a");
  EXPECT_EQ(code_at(decision, "hq"), "gang.no_room");
  EXPECT_THAT(reason_at(decision, "hq").refusal->sentence, HasSubstr("2 of the gang's 3"));

  request.replicas = 7;
  const auto refused = decide_one(make_world(), request);
  EXPECT_FALSE(refused.is_placed);
  EXPECT_TRUE(refused.placements.empty());
  request.may_span_sites = true;
  EXPECT_TRUE(decide_one(make_world(), request).is_placed);
}

TEST(Scheduler, a_gang_may_ask_for_one_replica_at_each_named_site_and_for_distinct_nodes) {
  auto request = make_request("spread");
  request.replicas = 2;
  request.spread_sites = {"edge-1", "hq"};
  auto decision = decide_one(make_world(), request);
  ASSERT_TRUE(decision.is_placed);
  EXPECT_EQ(decision.placements[0].site, "edge-1");
  EXPECT_EQ(decision.placements[1].site, "hq");
  request.spread_sites = {"edge-1"};
  EXPECT_EQ(decide_one(make_world(), request).pending->guard, Guard::kRequest);
  request.spread_sites.clear();
  request.spreads_nodes = true;
  request.pinned_site = "hq";
  decision = decide_one(make_world(), request);
  ASSERT_TRUE(decision.is_placed);
  EXPECT_NE(decision.placements[0].node, decision.placements[1].node);
  request.replicas = 3;
  EXPECT_FALSE(decide_one(make_world(), request).is_placed);
}

TEST(Scheduler, fractions_share_a_device_and_whole_requests_need_whole_devices) {
  auto world = make_world();
  std::vector<Request> requests;
  for (int i = 0; i < 4; ++i) requests.push_back(make_request("f" + std::to_string(i), 1, 1, 500));
  for (auto& request : requests) request.pinned_site = "hq";
  const auto plan = decide(world, requests, make_options());
  std::map<std::pair<std::string, int>, int> used;
  for (const auto& decision : plan.decisions)
    ++used[{decision.placements.at(0).node, decision.placements[0].devices.at(0)}];
  EXPECT_EQ(used.size(), 2u);  // two devices, both full: nothing is fragmented
  auto odd = make_request("odd", 1, 1, 1500);
  EXPECT_EQ(decide_one(world, odd).pending->guard, Guard::kRequest);
}

TEST(Scheduler, work_without_accelerators_keeps_off_accelerator_nodes) {
  auto world = make_world();
  world.nodes.push_back(make_node("hq-cpu", "hq", 32, 128));
  auto request = make_request("cpu", 2, 2);
  request.pinned_site = "hq";
  EXPECT_EQ(decide_one(world, request).placements.at(0).node, "hq-cpu");
}

TEST(Scheduler, deadlines_count_the_time_to_move_data) {
  auto request = make_request("r", 1, 1, 1000);
  request.data = {{.dataset = "d", .home_site = "hq", .size = {100'000'000'000}}};  // 1000 s over 100 MB/s
  request.duration_estimate = 600s;
  request.deadline = make_options().now + 1200s;
  const auto decision = decide_one(make_world(), request);
  EXPECT_EQ(decision.placements.at(0).site, "hq");
  EXPECT_EQ(code_at(decision, "cloud-b"), "deadline.infeasible");
  EXPECT_THAT(reason_at(decision, "cloud-b").refusal->sentence,
              HasSubstr("needs 1600 s (1000 s of it to move data)"));
  request.data[0].present_at = {"cloud-b"};
  EXPECT_EQ(code_at(decide_one(make_world(), request), "cloud-b"), "");
}

TEST(Scheduler, egress_and_data_gravity_keep_work_near_large_data) {
  auto request = make_request("r", 1, 1, 1000);
  request.duration_estimate = 3600s;
  EXPECT_EQ(decide_one(make_world(), request).placements.at(0).site, "cloud-b");
  request.data = {{.dataset = "d", .home_site = "hq", .size = {200'000'000'000}}};
  const auto decision = decide_one(make_world(), request);
  EXPECT_EQ(decision.placements.at(0).site, "hq");
  EXPECT_EQ(format_money(reason_at(decision, "cloud-b").score->egress_cost), "10.000000");
}

TEST(Scheduler, quota_and_budget_refuse_and_say_what_would_help) {
  auto world = make_world();
  world.queues = {{.name = "q", .cores_limit = {4000}, .cores_used = {3000}}};
  auto request = make_request("r", 2, 1);
  request.queue = "q";
  const auto over_quota = decide_one(world, request);
  EXPECT_EQ(over_quota.pending->guard, Guard::kQuota);
  EXPECT_THAT(over_quota.pending->sentence, HasSubstr("asks 2 cores, 3 used of 4"));
  ASSERT_EQ(over_quota.would_fit.size(), 1u);
  EXPECT_EQ(over_quota.would_fit[0].cores, MilliCores{1000});

  world = make_world();
  finops::Budget budget{.name = "b",
                        .project = "vision",
                        .limit = {1'000'000},
                        .ladder = {{80, finops::BudgetAction::kSpotOnly}}};
  world.budgets = {{budget, {{900'000}, {}}}};
  auto costly = make_request("r", 1, 1, 2000);
  const auto over_budget = decide_one(world, costly);
  EXPECT_FALSE(over_budget.is_placed);
  EXPECT_EQ(code_at(over_budget, "hq"), "budget.exceeded");
  ASSERT_FALSE(over_budget.would_fit.empty());
  EXPECT_EQ(over_budget.would_fit[0].kind, ChangeKind::kRaiseBudget);
  auto cheap = make_request("r");
  cheap.pinned_site = "cloud-a";
  const auto spot_only = decide_one(world, cheap);
  EXPECT_EQ(spot_only.placements.at(0).node, "ca-spot");
  EXPECT_EQ(reason_at(spot_only, "cloud-a").nodes_refused[std::size_t(Guard::kBudget)], 1u);
}

TEST(Scheduler, a_plan_holds_work_back_from_spot_from_what_is_bought_and_from_public_places) {
  auto request = make_request("r", 1, 1, 1000);
  request.pinned_site = "cloud-a";
  request.held_back = "spot is enough until noon";
  request.spot_use = SpotUse::kOnly;
  EXPECT_EQ(decide_one(make_world(), request).placements.at(0).node, "ca-spot");
  request.spot_use = SpotUse::kNever;
  EXPECT_EQ(decide_one(make_world(), request).placements.at(0).node, "ca-od");
  request.stays_private = true;
  const auto waits = decide_one(make_world(), request);
  EXPECT_FALSE(waits.is_placed);
  EXPECT_EQ(code_at(waits, "cloud-a"), "plan.held_back");
  EXPECT_THAT(waits.pending->sentence, HasSubstr("spot is enough until noon"));
}

TEST(Scheduler, private_first_takes_a_private_place_though_a_public_one_is_cheaper) {
  auto request = make_request("r", 1, 1, 1000);
  EXPECT_EQ(decide_one(make_world(), request).placements.at(0).site, "cloud-b");
  request.cost_strategy = CostStrategy::kPrivateFirst;
  EXPECT_EQ(decide_one(make_world(), request).placements.at(0).site, "hq");
}

TEST(Scheduler, one_plan_never_spends_a_budget_or_a_quota_twice) {
  auto world = make_world();
  world.queues = {{.name = "q", .accelerators_limit = {3000}}};
  finops::Budget budget{.name = "b", .project = "other", .limit = {2'000'000}};
  world.budgets = {{budget, {}}};
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(make_request("q" + std::to_string(i), 1, 1, 1000));
    requests.back().queue = "q";
    requests.push_back(make_request("b" + std::to_string(i), 1, 1, 1000));
    requests.back().project = "other";
    requests.back().pinned_site = "cloud-b";
  }
  const auto plan = decide(world, requests, make_options());
  int from_queue = 0, from_budget = 0;
  for (std::size_t i = 0; i < requests.size(); ++i)
    (requests[i].queue == "q" ? from_queue : from_budget) += plan.decisions[i].is_placed;
  EXPECT_EQ(from_queue, 3);
  EXPECT_EQ(from_budget, 2);  // 0.711 each of 2.0
}

TEST(Scheduler, higher_priority_is_placed_first_and_answers_come_in_the_order_asked) {
  Snapshot world = make_world();
  world.nodes = {make_node("hq-a", "hq", 4, 16)};
  auto low = make_request("low", 4, 1), high = make_request("high", 4, 1);
  high.priority = 10;
  const std::vector<Request> requests{low, high};
  const auto plan = decide(world, requests, make_options());
  EXPECT_EQ(plan.decisions[0].request, "low");
  EXPECT_FALSE(plan.decisions[0].is_placed);
  EXPECT_TRUE(plan.decisions[1].is_placed);
}

TEST(Scheduler, explanations_are_data_and_words_with_numbers) {
  auto request = make_request("train", 4, 16, 1000);
  request.data = {{.dataset = "faces",
                   .level = DataLevel::kL2,
                   .home_site = "hq",
                   .jurisdiction = "DE",
                   .size = {1'000'000'000}}};
  const auto decision = decide_one(make_world(), request);
  const auto words = render_explanation(to_json(decision, "EUR"));
  EXPECT_THAT(words, HasSubstr("hq chosen: 1.328 EUR/h"));
  EXPECT_THAT(
      words, HasSubstr("cloud-a refused: dataset faces is L2 and does not go to a public site [data.level]"));
  EXPECT_THAT(
      words,
      HasSubstr("edge-1 refused: asks an accelerator and the node has no accelerator [accelerator.kind]"));
  EXPECT_FALSE(render_explanation(JsonObject{}).empty());
  EXPECT_FALSE(
      render_explanation(
          parse_json(R"j({"sites": [1, {"refusal": 2, "nodesRefused": {"x": "y"}}], "placed": true})j")
              .value())
          .empty());
}

TEST(Scheduler, requests_that_make_no_sense_are_refused_as_values) {
  for (const int replicas : {0, -1, 1'000'000}) {
    auto request = make_request("r");
    request.replicas = replicas;
    EXPECT_EQ(decide_one(make_world(), request).pending->guard, Guard::kRequest);
  }
  auto request = make_request("r");
  request.each.cores = {-1};
  EXPECT_EQ(decide_one(make_world(), request).pending->guard, Guard::kRequest);
  request = make_request("r");
  request.pinned_site = "atlantis";
  EXPECT_EQ(decide_one(make_world(), request).pending->guard, Guard::kRequest);
  EXPECT_FALSE(decide_one(Snapshot{}, make_request("r")).is_placed);
}

TEST(SchedulerProfiles, the_published_scorers_give_their_printed_examples) {
  ProfileInput edge{.tier = Tier::kEdge,
                    .free_accelerators = 4,
                    .is_latency_critical = true,
                    .cost_per_hour = 0.5,
                    .bytes = 500e6,
                    .bandwidth = 50e6};
  EXPECT_DOUBLE_EQ(score_tiered(edge), 100);
  ProfileInput cloud{.tier = Tier::kPublic,
                     .free_accelerators = 8,
                     .is_latency_critical = true,
                     .cost_per_hour = 2.0,
                     .bytes = 500e6,
                     .bandwidth = 1000e6};
  EXPECT_DOUBLE_EQ(score_tiered(cloud), 10);
  edge.bandwidth = 49e6;
  EXPECT_DOUBLE_EQ(score_tiered(edge), 80);
  EXPECT_DOUBLE_EQ(score_headroom({.free_cores = 8, .asked_cores = 2, .latency_ms = 5, .cost_per_hour = 1.5}),
                   4 + 2 - 1.5);
  EXPECT_DOUBLE_EQ(score_latency_first({.free_cores = 6,
                                        .free_accelerators = 2,
                                        .latency_ms = 9,
                                        .is_latency_critical = true,
                                        .cost_per_hour = 3}),
                   4 + 100 - 3);
}

TEST(SchedulerProfiles, a_profile_orders_places_but_never_overrides_a_guard) {
  auto request = make_request("serve");
  request.kind = TaskKind::kInference;
  request.latency_max = 100ms;
  request.consumer_site = "edge-1";
  auto options = make_options();
  options.profile = Profile::kTiered;
  EXPECT_EQ(decide_one(make_world(), request, options).placements.at(0).site, "edge-1");
  request.data = {{.dataset = "d", .level = DataLevel::kL1, .home_site = "hq"}};
  EXPECT_EQ(decide_one(make_world(), request, options).placements.at(0).site, "hq");
}

TEST(SchedulerProfiles, at_a_peak_weight_moves_from_cost_to_latency) {
  const Weights base;
  const auto quiet = adapt_weights(base, 0.5, false), peak = adapt_weights(base, 0.95, false),
             missed = adapt_weights(base, 0.1, true);
  EXPECT_DOUBLE_EQ(quiet.cost, base.cost);
  EXPECT_LT(peak.cost, base.cost);
  EXPECT_DOUBLE_EQ(peak.cost + peak.latency, base.cost + base.latency);
  EXPECT_DOUBLE_EQ(missed.cost, 0);
}

TEST(Scheduler, keeps_work_that_runs_anywhere_off_a_model_that_other_work_is_tied_to) {
  Snapshot world;
  world.sites = {{"hq", Tier::kPrivate, "DE", {}, {}, 1}};
  world.nodes = {make_node("a", "hq", 32, 128, 4), make_node("b", "hq", 32, 128, 4)};
  world.nodes[0].accelerator_model = "t4";
  std::vector<Request> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(make_request("r" + std::to_string(i), 4, 4, 1000));
    if (i > 0) requests.back().each.accelerator_model = "t4";
  }
  auto options = make_options();
  options.weights = {
      .cost = 0, .latency = 0, .gravity = 0, .fragmentation = 1, .utilisation = 0, .spread = 0};
  const auto plan = decide(world, requests, options);
  EXPECT_EQ(plan.decisions[0].placements.at(0).node, "b") << "a is first by name, and wanted by the others";
  EXPECT_EQ(plan.decisions[3].placements.at(0).node, "a");
}

}  // namespace
}  // namespace neap::scheduler
