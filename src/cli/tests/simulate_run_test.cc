#include <gtest/gtest.h>

#include "neap/base/json.h"
#include "tests/cli_lab.h"

namespace neap::cli {
namespace {

constexpr std::string_view kScenario = R"(apiVersion: neap.dev/v1
kind: Simulation
metadata: {name: small}
spec:
  nodes:
  - {name: own, site: hq, cpu: 8, memory: 64Gi, accelerators: {a100: 2}}
  workloads:
  - name: t
    project: lab
    resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}
    csv: {format: muri, path: jobs.csv}
---
apiVersion: neap.dev/v1
kind: Site
metadata: {name: hq}
spec: {tier: private, jurisdiction: DE, prices: [{capacityType: owned, perAcceleratorHour: {a100: 1000000}}]}
)";

TEST(SimulateRun, reads_files_beside_the_scenario_and_prints_one_object_or_a_table) {
  CliLab lab;
  lab.environment.clear();
  lab.write("/w/s.yaml", kScenario);
  lab.write("/w/jobs.csv", "num_gpu,submit_time,duration\n2,0,7200000\n1,1800000,3600000\n");
  const auto json = lab.run({"simulate", "run", "-f", "/w/s.yaml", "--json"});
  ASSERT_EQ(json.status, 0) << json.err;
  const auto value = parse_json(json.out);
  ASSERT_TRUE(value) << json.out;
  EXPECT_EQ(value->at("jobs").at("ended").as_int64(), 2);
  EXPECT_EQ(value->at("cost").at("total_micros").as_int64(), 5'000'000);
  EXPECT_EQ(lab.run({"simulate", "run", "-f", "/w/s.yaml", "--json"}).out, json.out);
  const auto table = lab.run({"simulate", "run", "-f", "/w/s.yaml"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_NE(table.out.find("project lab"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("5.00 USD"), std::string::npos) << table.out;
}

TEST(SimulateRun, compares_files_and_placings_and_writes_a_page) {
  CliLab lab;
  lab.environment.clear();
  lab.write("/w/a.yaml", kScenario);
  std::string twice(kScenario);
  twice.replace(twice.find("a100: 2}"), 8, "a100: 4}");
  lab.write("/w/b.yaml", twice);
  lab.write("/w/jobs.csv", "num_gpu,submit_time,duration\n2,0,7200000\n1,1800000,3600000\n");
  const auto json =
      lab.run({"simulate", "run", "--compare", "/w/a.yaml", "/w/b.yaml", "--json", "--html", "/w/out.html"});
  ASSERT_EQ(json.status, 0) << json.err;
  const auto value = parse_json(json.out);
  ASSERT_TRUE(value) << json.out;
  EXPECT_EQ(value->at("runs").as_array().size(), 2u);
  EXPECT_DOUBLE_EQ(value->at("ratios").at("utilisation").at(1).as_double(), 0.75);  // 5 of 8 over 5 of 6
  EXPECT_EQ(lab.files().read_file("/w/out.html").value().find("<!doctype html>"), 0u);
  const auto table = lab.run({"simulate", "run", "-f", "/w/a.yaml", "--policy", "hybrid,private"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_NE(table.out.find("small (private)"), std::string::npos) << table.out;
  const auto nowhere = lab.run({"simulate", "run", "-f", "/w/a.yaml", "--policy", "public"});
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_NE(nowhere.err.find("has no public node"), std::string::npos) << nowhere.err;
}

TEST(SimulateRun, says_which_file_line_and_field_is_wrong) {
  CliLab lab;
  lab.environment.clear();
  lab.write("/w/s.yaml", kScenario);
  EXPECT_NE(lab.run({"simulate", "run", "-f", "/w/s.yaml"}).err.find("jobs.csv"), std::string::npos);
  lab.write("/w/jobs.csv", "num_gpu,submit_time,duration\n2,0,x\n");
  const auto row = lab.run({"simulate", "run", "-f", "/w/s.yaml"});
  EXPECT_EQ(row.status, 1);
  EXPECT_NE(row.err.find("jobs.csv:2: column `duration` is `x`"), std::string::npos) << row.err;
  std::string bad(kScenario);
  bad.replace(bad.find("cpu: 8"), 6, "cpu: x");
  lab.write("/w/s.yaml", bad);
  const auto field = lab.run({"simulate", "run", "-f", "/w/s.yaml"});
  EXPECT_NE(field.err.find("/w/s.yaml:6: spec.nodes[0].cpu"), std::string::npos) << field.err;
  EXPECT_EQ(lab.run({"simulate", "run"}).status, 2);
}

}  // namespace
}  // namespace neap::cli
