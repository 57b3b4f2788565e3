// The examples as they are shipped, and the public traces as they are published.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "neap/simulation/comparison.h"
#include "tests/public_trace.h"
#include "tests/scenario_lab.h"

namespace neap::simulation {
namespace {

std::string read_example(const std::string& name) {
  const char* root = std::getenv("NEAP_SOURCE_DIR");
  if (root == nullptr) return {};
  std::ifstream file(std::string(root) + "/examples/simulation/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

Result<RunReport> run_example(const std::string& text, const std::string& name,
                              Placing placing = Placing::kHybrid) {
  NEAP_TRY(auto scenario, read_scenario(text, name, [](const std::string& path) -> Result<std::string> {
             return fail(Code::kNotFound, "test.absent", path);
           }));
  NEAP_TRY_VOID(restrict_places(scenario, placing));
  return run_scenario(scenario);
}

TEST(SimulationExamples, the_two_sites_serve_without_a_gap_and_keep_their_deadlines) {
  const auto text = read_example("two-sites.yaml");
  if (text.empty()) GTEST_SKIP() << "NEAP_SOURCE_DIR is not set: run through ctest";
  const auto hybrid = run_example(text, "two-sites.yaml");
  ASSERT_TRUE(hybrid.has_value()) << hybrid.error().to_string();
  EXPECT_GT(hybrid->ended, 900u);
  EXPECT_EQ(hybrid->late, 0u);
  EXPECT_EQ(hybrid->waiting, 0u);
  ASSERT_EQ(hybrid->services.size(), 1u);
  EXPECT_LT(hybrid->services[0].short_h, 0.01 * hybrid->services[0].wanted_h);
  const auto rented = run_example(text, "two-sites.yaml", Placing::kPublic);
  ASSERT_TRUE(rented.has_value()) << rented.error().to_string();
  EXPECT_LT(hybrid->ownership.total, rented->ownership.total);
  EXPECT_TRUE(payback_years(*hybrid, *rented).has_value());
}

TEST(SimulationExamples, the_mixed_load_keeps_the_cluster_used_and_its_services_served) {
  auto text = read_example("mixed-load.yaml");
  if (text.empty()) GTEST_SKIP() << "NEAP_SOURCE_DIR is not set: run through ctest";
  const std::string horizon = "horizon: 336h";
  text.replace(text.find(horizon), horizon.size(), "horizon: 72h");
  const auto report = run_example(text, "mixed-load.yaml");
  ASSERT_TRUE(report.has_value()) << report.error().to_string();
  EXPECT_GT(report->accelerators_own.share(), 0.8);  // three of fourteen days: the queue builds up first
  for (const auto& service : report->services)
    EXPECT_LT(service.short_h, 0.01 * service.wanted_h) << service.name;
}

TEST(SimulationExamples, the_shared_queues_lend_and_take_back_and_short_jobs_pass_wide_ones) {
  auto text = read_example("shared-queues.yaml");
  if (text.empty()) GTEST_SKIP() << "NEAP_SOURCE_DIR is not set: run through ctest";
  const std::string horizon = "horizon: 168h";
  text.replace(text.find(horizon), horizon.size(), "horizon: 48h");
  const auto report = run_example(text, "shared-queues.yaml");
  ASSERT_TRUE(report.has_value()) << report.error().to_string();
  ASSERT_EQ(report->queues.size(), 4u);
  EXPECT_GT(report->borrowed_h, 0);
  EXPECT_GT(report->given_back, 0);
  EXPECT_GT(report->backfilled, 0);
  for (const auto& queue : report->queues)
    if (queue.name == "batch") EXPECT_LE(queue.share, 24.0 / 64 + 1e-9) << "all of it borrowed";
}

TEST(SimulationExamples, the_reference_company_is_read) {
  const auto text = read_example("reference-company.yaml");
  if (text.empty()) GTEST_SKIP() << "NEAP_SOURCE_DIR is not set: run through ctest";
  const auto scenario =
      read_scenario(text, "reference-company.yaml", [](const std::string&) { return std::string(); });
  ASSERT_TRUE(scenario.has_value()) << scenario.error().to_string();
  EXPECT_GT(scenario->jobs.size(), 100'000u);
}

TEST(SimulationTraces, recorded_training_and_inference_share_a_cluster) {
  ScenarioLab lab;
  lab.files["philly.csv"] = read_public_trace("muri-philly/trace3.csv");
  lab.files["conv.csv"] = read_public_trace("azure-llm-2023/AzureLLMInferenceTrace_conv.csv");
  if (lab.files["philly.csv"].empty() || lab.files["conv.csv"].empty())
    GTEST_SKIP() << "NEAP_DATA is not set or has no traces";
  lab.spec = "  horizon: 600h\n";
  lab.nodes = "{name: own, site: hq, count: 12, cpu: 96, memory: 1Ti, accelerators: {a100: 8}}";
  lab.workloads =
      "{name: t, resources: {cpu: 4, memory: 16Gi, accelerators: {a100: 1}}, csv: {path: philly.csv}}\n"
      "  - {name: chat, priority: 9, resources: {cpu: 4, memory: 16Gi, accelerators: {a100: 1}}, requests: "
      "{interval: 5m, repeat: true, "
      "csv: {path: conv.csv}, serviceRate: {prefillTokensPerSecond: 9000, decodeTokensPerSecond: 1400}}}";
  const auto report = lab.run();
  ASSERT_TRUE(report.has_value()) << report.error().to_string();
  EXPECT_GT(report->ended, 25u);
  // 19,366 requests an hour, give or take the recording's last, shorter interval.
  EXPECT_NEAR(report->services[0].requests, 600 * 19'366.0, 0.02 * 600 * 19'366.0);
  EXPECT_GT(report->services[0].replicas_max, 1);
}

TEST(SimulationTraces, a_recorded_cluster_takes_its_recorded_tasks_and_prices_come_from_a_catalogue) {
  ScenarioLab lab;
  lab.files["nodes.csv"] = read_public_trace("openb/openb_node_list_gpu_node.csv");
  lab.files["pods.csv"] = read_public_trace("openb/openb_pod_list_gpuspec20.csv");
  lab.files["aws.csv"] = read_public_trace("skypilot-catalog/aws.csv");
  lab.files["cost.csv"] = read_public_trace("egress-matrix/cost.csv");
  for (const auto& [name, text] : lab.files)
    if (text.empty()) GTEST_SKIP() << "NEAP_DATA is not set or has no " << name;
  lab.spec =
      "  prices:\n  - {site: cloud, region: us-east-1, models: {A100: a100}, csv: {path: aws.csv}}\n"
      "  egress: {path: cost.csv, sites: {hq: \"azure:eastus\", cloud: \"aws:us-east-1\"}}\n";
  lab.own_prices = "[]";
  lab.nodes = "{name: own, site: hq, csv: {format: openb, path: nodes.csv}}";
  lab.workloads = "{name: t, csv: {format: openb, path: pods.csv, limit: 150}}";
  const auto scenario = lab.read();
  ASSERT_TRUE(scenario.has_value()) << scenario.error().to_string();
  EXPECT_EQ(scenario->nodes.size(), 1213u);
  EXPECT_EQ(scenario->prices.find_egress("cloud", "hq")->value, 90'000);
  EXPECT_EQ(scenario->prices.find_rates("cloud", finops::CapacityType::kOnDemand)
                ->per_accelerator_hour.count("a100"),
            1u);
  const auto report = run_scenario(*scenario);
  ASSERT_TRUE(report.has_value()) << report.error().to_string();
  EXPECT_EQ(report->waiting, 0u);
  EXPECT_EQ(report->ended, report->arrived);
}

}  // namespace
}  // namespace neap::simulation
