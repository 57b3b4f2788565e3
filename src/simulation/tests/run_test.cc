#include "neap/simulation/run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/scenario_lab.h"

namespace neap::simulation {
namespace {

// Three jobs on two accelerators, worked out by hand: A holds both for 2 h; B (from 0:30, 1 h) and C (from
// 1:00, 3 h) begin when it ends.
constexpr std::string_view kThreeJobs =
    "num_gpu,submit_time,duration\n2,0,7200000\n1,1800000,3600000\n1,3600000,10800000\n";

TEST(SimulateRun, a_small_scenario_gives_the_figures_computed_by_hand) {
  ScenarioLab lab;
  lab.files["jobs.csv"] = kThreeJobs;
  lab.nodes =
      "{name: own, site: hq, cpu: 8, memory: 64Gi, accelerators: {a100: 2}, hardware: {price: \"43830\", "
      "years: 1}}";
  lab.workloads =
      "{name: t, project: lab, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, csv: {path: "
      "jobs.csv}}";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->arrived, 3u);
  EXPECT_EQ(report->ended, 3u);
  EXPECT_DOUBLE_EQ(report->simulated_h, 5);
  EXPECT_DOUBLE_EQ(report->jct_s.mean, 10200);
  EXPECT_DOUBLE_EQ(report->jct_s.p50, 9000);
  EXPECT_DOUBLE_EQ(report->jct_s.p99, 14400);
  EXPECT_DOUBLE_EQ(report->wait_s.mean, 3000);
  EXPECT_DOUBLE_EQ(report->accelerators_own.share(), 0.8);
  EXPECT_EQ(report->cost.total.value, 8'000'000);  // 8 accelerator-hours at 1
  EXPECT_EQ(report->cost.by_project.at("lab").value, 8'000'000);
  EXPECT_EQ(report->ownership.hardware.value, 25'000'000);  // 5 of 8766 hours
  EXPECT_EQ(report->ownership.total.value, 25'000'000);
  EXPECT_EQ(report->timeline.size(), 3u);
}

TEST(SimulateRun, sums_carbon_where_a_site_states_it_and_names_the_others) {
  ScenarioLab lab;
  lab.files["jobs.csv"] = kThreeJobs;
  lab.nodes = "{name: own, site: hq, cpu: 8, memory: 64Gi, accelerators: {a100: 2}}";
  lab.workloads =
      "{name: t, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, csv: {path: jobs.csv}}";
  const auto silent = lab.run();
  ASSERT_TRUE(silent.has_value()) << silent.error().message;
  EXPECT_TRUE(silent->cost.carbon_kg_by_site.empty());
  EXPECT_EQ(silent->cost.carbon_unknown, (std::vector<std::string>{"hq"}));
  EXPECT_EQ(find_path(to_json(*silent), {"cost", "carbon_kg"}), nullptr);
  lab.own_prices += ", carbonIntensity: 500";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  // Eight hours of an A100 (400 W) and of a core (5 W) each.
  EXPECT_NEAR(report->cost.carbon_kg_by_site.at("hq"), 8 * 0.405 * 0.5, 1e-9);
  EXPECT_TRUE(report->cost.carbon_unknown.empty());
}

TEST(SimulateRun, a_reclaimed_job_loses_what_its_checkpoint_does_not_hold) {
  ScenarioLab lab;
  lab.files["spot.txt"] = "z 0 3600 0 1101\n";
  lab.files["jobs.csv"] = "num_gpu,submit_time,duration\n1,0,10800000\n";
  lab.nodes =
      "{name: s, site: cloud, capacityType: spot, cpu: 8, memory: 64Gi, accelerators: {a100: 1}, spot: "
      "{trace: spot.txt}}";
  lab.workloads =
      "{name: t, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, checkpoint: {interval: 90m}, "
      "restart: 6m, csv: {path: jobs.csv}}";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->reclaims, 1);
  EXPECT_DOUBLE_EQ(report->lost_work_h, 0.5);
  EXPECT_DOUBLE_EQ(report->jct_s.mean, 4.6 * 3600);  // 2 h, 1 h away, 6 min, 1.5 h
  EXPECT_EQ(report->cost.total.value, 1'800'000);    // 3.6 h at 0.5
  EXPECT_EQ(report->ownership.rented.value, 1'800'000);
}

TEST(SimulateRun, inputs_that_leave_their_site_are_billed_once_and_take_the_link_s_time) {
  ScenarioLab lab;
  lab.files["jobs.csv"] = "num_gpu,submit_time,duration\n1,0,3600000\n";
  lab.nodes =
      "{name: c, site: cloud, capacityType: on-demand, cpu: 8, memory: 64Gi, accelerators: {a100: 1}}";
  lab.workloads =
      "{name: t, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, data: {home: hq, size: "
      "\"900000000000\"}, csv: {path: jobs.csv}}";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->ownership.egress.value, 18'000'000);  // 900 GB at 0.02
  // 900 GB at 1 GB/s are 15 min, rented too: 1.25 h at 4.
  EXPECT_DOUBLE_EQ(report->jct_s.mean, 4500);
  EXPECT_EQ(report->ownership.rented.value, 5'000'000);
  EXPECT_EQ(report->cost.total.value, 23'000'000);
}

TEST(SimulateRun, l1_data_never_leaves_and_the_job_that_waits_for_it_says_so) {
  ScenarioLab lab;
  lab.files["jobs.csv"] = "num_gpu,submit_time,duration\n1,0,3600000\n";
  lab.nodes =
      "{name: c, site: cloud, capacityType: on-demand, cpu: 8, memory: 64Gi, accelerators: {a100: 1}}";
  lab.workloads =
      "{name: t, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, data: {home: hq, level: L1}, "
      "csv: {path: jobs.csv}}";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->waiting, 1u);
  ASSERT_EQ(report->waiting_jobs.size(), 1u);
  EXPECT_NE(report->waiting_jobs[0].reason.find("L1"), std::string::npos) << report->waiting_jobs[0].reason;
  EXPECT_EQ(report->cost.total.value, 0);
}

TEST(SimulateRun, a_service_has_the_replicas_that_its_stated_rate_asks_for) {
  ScenarioLab lab;
  // Each request is 1000/1000 + 100/200 = 1.5 s of a replica; 200 in 10 minutes at half use ask for exactly
  // 1, 600 for 3.
  std::string csv = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  for (int i = 0; i < 200; ++i)
    csv += fmt::format("2023-11-16 18:{:02}:{:02}.1000000,1000,100\n", i / 60, i % 60);
  for (int i = 0; i < 600; ++i)
    csv += fmt::format("2023-11-16 18:{:02}:{:02}.5000000,1000,100\n", 11 + i / 100, i % 100 * 6 / 10);
  lab.files["llm.csv"] = csv;
  lab.nodes = "{name: own, site: hq, cpu: 8, memory: 64Gi, accelerators: {a100: 2}}";
  lab.workloads =
      "{name: chat, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, requests: {interval: 10m, "
      "csv: {path: llm.csv}, "
      "serviceRate: {prefillTokensPerSecond: 1000, decodeTokensPerSecond: 200, utilisation: 0.5}}}";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  ASSERT_EQ(report->services.size(), 1u);
  EXPECT_DOUBLE_EQ(report->services[0].requests, 800);
  EXPECT_EQ(report->services[0].replicas_max, 3);
  EXPECT_NEAR(report->services[0].wanted_h, 4.0 / 6, 1e-9);
  EXPECT_NEAR(report->services[0].short_h, 1.0 / 6, 1e-9);  // two accelerators for three
  EXPECT_EQ(report->cost.total.value, 500'000);             // half a replica-hour at 1
}

TEST(SimulateRun, hard_budgets_hold_and_who_waits_for_one_says_so) {
  ScenarioLab lab;
  lab.nodes = "{name: own, site: hq, count: 4, cpu: 64, memory: 64Gi, accelerators: {a100: 8}}";
  lab.workloads =
      "{name: t, project: lab, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, generate: {jobs: "
      "60, "
      "arrivals: {perHour: 20}, duration: {distribution: fixed, value: 2h}}}";
  lab.spec = "  horizon: 24h\n";
  lab.documents =
      "---\napiVersion: neap.dev/v1\nkind: Budget\nmetadata: {name: b, namespace: lab}\nspec: {period: "
      "month, limit: \"50\"}\n";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->ended, 25u);  // 2 each of 50
  EXPECT_EQ(report->cost.total.value, 50'000'000);
  EXPECT_EQ(report->waiting, 35u);
  ASSERT_FALSE(report->waiting_jobs.empty());
  EXPECT_NE(report->waiting_jobs[0].reason.find("budget"), std::string::npos)
      << report->waiting_jobs[0].reason;
}

TEST(SimulateRun, work_of_a_higher_priority_takes_the_place_and_the_victim_goes_on_from_its_checkpoint) {
  ScenarioLab lab;
  lab.files["low.csv"] = "num_gpu,submit_time,duration\n2,0,14400000\n";
  lab.files["high.csv"] = "num_gpu,submit_time,duration\n2,4500000,3600000\n";
  lab.nodes = "{name: own, site: hq, cpu: 8, memory: 64Gi, accelerators: {a100: 2}}";
  lab.workloads =
      "{name: low, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, checkpoint: {interval: 30m}, "
      "csv: {path: low.csv}}\n"
      "  - {name: high, priority: 10, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, csv: {path: "
      "high.csv}}";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->preemptions, 1);
  EXPECT_DOUBLE_EQ(report->lost_work_h, 0.25);  // from 1:00 to 1:15
  EXPECT_EQ(report->ended, 2u);
  ASSERT_EQ(report->jct_sorted_s.size(), 2u);
  EXPECT_DOUBLE_EQ(report->jct_sorted_s[0], 3600);         // at once
  EXPECT_DOUBLE_EQ(report->jct_sorted_s[1], 5.25 * 3600);  // 1:15, 1 h away, 3 h left
  EXPECT_EQ(report->cost.total.value, 10'500'000);         // both accelerators for 5.25 h
}

// Everything at once, over seeds: what must hold whatever is drawn.
class SimulateRunProperties : public testing::TestWithParam<int> {};

ScenarioLab everything(int seed) {
  ScenarioLab lab;
  lab.spec = fmt::format("  seed: {}\n  horizon: 120h\n  drift: {{}}\n  burst: {{waitHoursPerGpuHour: {}}}\n",
                         seed, seed % 2 ? 0.076 : 0.0);
  lab.nodes =
      "{name: own, site: hq, count: 3, cpu: 64, memory: 512Gi, accelerators: {a100: 8}, failures: {mtbf: "
      "60h, repair: 3h}}\n"
      "  - {name: dem, site: cloud, capacityType: on-demand, count: 2, cpu: 64, memory: 512Gi, accelerators: "
      "{a100: 8}, startup: 4m}\n"
      "  - {name: spot, site: cloud, capacityType: spot, count: 3, cpu: 64, memory: 512Gi, accelerators: "
      "{a100: 8}, "
      "spot: {reclaimsPerHour: 0.2, absence: 50m, notice: 2m}}";
  lab.workloads =
      "{name: t, project: lab, queue: q, resources: {cpu: 2, memory: 8Gi, accelerators: {a100: 1}}, "
      "checkpoint: {interval: 20m, size: 5Gi}, "
      "restart: 2m, costStrategy: SpotPreemptible, deadline: {factor: 2, slack: 2h}, data: {home: hq, size: "
      "10Gi}, generate: {"
      "arrivals: {perHour: 7, peakToTrough: 4}, duration: {median: 40m, sigma: 1.4}, accelerators: {\"0.5\": "
      "1, \"1\": 4, \"8\": 1, \"16\": 0.3}}}\n"
      "  - {name: r, project: other, interruption: restartable, resources: {cpu: 2, memory: 8Gi, "
      "accelerators: {a100: 1}}, generate: {"
      "arrivals: {perHour: 3}, duration: {distribution: pareto, minimum: 10m, alpha: 1.2}}}\n"
      "  - {name: chat, project: serve, priority: 9, resources: {cpu: 2, memory: 8Gi, accelerators: {a100: "
      "1}}, requests: {serviceRate: {"
      "prefillTokensPerSecond: 5000, decodeTokensPerSecond: 800}, generate: {peakPerSecond: 20, "
      "troughPerSecond: 2}}}";
  lab.documents =
      "---\napiVersion: neap.dev/v1\nkind: Queue\nmetadata: {name: q}\nspec: {quota: {accelerators: "
      "\"40\"}}\n";
  return lab;
}

TEST_P(SimulateRunProperties, jobs_are_conserved_money_adds_up_and_the_seed_fixes_every_byte) {
  const auto lab = everything(GetParam());
  const auto report = lab.run();
  // A double booking or parts that do not sum to the total end the run with an error.
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_GT(report->arrived, 500u);
  EXPECT_EQ(report->arrived, report->ended + report->running + report->waiting);
  EXPECT_EQ(report->waiting_jobs.size(), report->waiting);
  for (const auto& job : report->waiting_jobs) EXPECT_FALSE(job.reason.empty());
  for (const auto* parts : {&report->cost.by_project, &report->cost.by_team, &report->cost.by_site,
                            &report->cost.by_capacity_type, &report->cost.by_kind}) {
    std::int64_t sum = 0;
    for (const auto& [key, amount] : *parts) sum += amount.value;
    EXPECT_EQ(sum, report->cost.total.value);
  }
  EXPECT_LE(report->accelerators_own.share(), 1);
  EXPECT_GT(report->reclaims + report->failures, 0);
  for (const auto& point : report->series) EXPECT_LE(point.own_used, point.own_capacity + 1e-9);
  const auto again = lab.run();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(to_text(to_json(*report)), to_text(to_json(*again)));
}
INSTANTIATE_TEST_SUITE_P(Seeds, SimulateRunProperties, testing::Range(1, 5));

TEST(SimulateRun, another_seed_is_another_world) {
  EXPECT_NE(to_text(to_json(*everything(1).run())), to_text(to_json(*everything(2).run())));
}

TEST(SimulateRun, a_variant_keeps_to_its_places_and_says_when_there_are_none) {
  auto scenario = everything(1).read();
  ASSERT_TRUE(scenario.has_value());
  scenario->horizon_ms = 30 * kHourMs;
  ASSERT_TRUE(restrict_places(*scenario, Placing::kPrivate).has_value());
  const auto report = run_scenario(*scenario);
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_EQ(report->ownership.rented.value, 0);
  EXPECT_EQ(report->accelerators_rented.used, 0);
  EXPECT_FALSE(restrict_places(*scenario, Placing::kPublic).has_value());
}

}  // namespace
}  // namespace neap::simulation
