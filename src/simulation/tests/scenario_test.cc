#include "neap/simulation/scenario.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "neap/simulation/price_catalogue.h"
#include "tests/public_trace.h"
#include "tests/scenario_lab.h"

namespace neap::simulation {
namespace {

ScenarioLab good() {
  ScenarioLab lab;
  lab.nodes = "{name: own, site: hq, cpu: 8, memory: 64Gi, accelerators: {a100: 2}}";
  lab.workloads =
      "{name: t, resources: {cpu: 1, memory: 1Gi, accelerators: {a100: 1}}, generate: {jobs: 3, arrivals: "
      "{perHour: 1}, "
      "duration: {median: 1h}}}";
  return lab;
}

struct Refused {
  std::string what;  // replaced
  std::string by;
  std::string says;  // file, line and field among it
};

TEST(Scenario, refusals_name_file_line_field_and_what_to_write) {
  ASSERT_TRUE(good().read().has_value()) << good().read().error().message;
  const std::vector<Refused> cases{
      {"kind: Simulation", "kind: Simulator", "s.yaml: has no document of apiVersion"},
      {"site: hq, cpu", "site: moon, cpu",
       "spec.nodes: name site \"moon\" for own, which is no Site of this file"},
      {"cpu: 8,", "cpu: eight,", "s.yaml:6: spec.nodes[0].cpu: "},
      {"cpu: 8,", "cores: 8,", "s.yaml:6: spec.nodes[0].cores: is not known here; known are"},
      {"a100: 2}", "h100: 2}", "have h100 as owned capacity at hq, which has no price for it"},
      {"a100: 2}", "a100: 1.5}", "spec.nodes[0].accelerators: is \"1.5\"; write a whole number up to 64"},
      {"name: own,", "name: own, count: 0,", "spec.nodes[0].count: is \"0\"; write a whole number from 1"},
      {"name: own,", "name: own, count: 60000,", "write a whole number from 1 to 50000"},
      {"name: own,", "name: own, spot: {reclaimsPerHour: 1},",
       "spec.nodes[0].spot: is for capacityType spot"},
      {"name: own,", "name: own, capacityType: on-demand,",
       "have on-demand capacity at hq, which has no price"},
      {"name: own,", "name: own, failures: {repair: 1h},", "failures.mtbf: is missing"},
      {"name: t,", "name: t, queue: q,", "s.yaml:8: spec.workloads[0].queue: \"q\" is no Queue of this file"},
      {"jobs: 3,", "jobs: -3,",
       "s.yaml:8: spec.workloads[0].generate.jobs: is \"-3\"; write a whole number from 0"},
      {"jobs: 3,", "", "generate.jobs: is missing; write how many, or set spec.horizon"},
      {"median: 1h", "median: 0", "duration.median: is missing"},
      {"median: 1h", "median: 1h, sigma: .nan", "s.yaml:"},
      {"perHour: 1}", "perHour: 1e300}", "arrivals.perHour: is"},
      {"tier: private", "tier: secret", "s.yaml:"},
      {"tier: private", "tier: private, colour: red", "s.yaml:13: spec.colour: is not known here"},
      {"egressPerGB: 20000}\n---",
       "egressPerGB: 20000}\n---\napiVersion: neap.dev/v1\nkind: Model\nmetadata: {name: m}\nspec: {}\n---",
       "s.yaml:"},
  };
  for (const auto& one : cases) {
    auto text = good().text();
    const auto at = text.find(one.what);
    ASSERT_NE(at, std::string::npos) << one.what;
    text.replace(at, one.what.size(), one.by);
    const auto read = read_scenario(text, "s.yaml", [](const std::string&) { return std::string(); });
    ASSERT_FALSE(read.has_value()) << one.by;
    EXPECT_NE(read.error().to_string().find(one.says), std::string::npos) << one.by << "\n"
                                                                          << read.error().message;
  }
}

TEST(Scenario, hostile_texts_and_tables_are_refused_without_a_crash) {
  auto lab = good();
  lab.workloads = "{name: t, resources: {cpu: 1, accelerators: {a100: 1}}, csv: {path: jobs.csv}}";
  lab.files["jobs.csv"] = "num_gpu,submit_time,duration\n1,0,60000\n";
  ASSERT_TRUE(lab.read().has_value()) << lab.read().error().message;
  for (const std::string_view rows :
       {"", "\xff\xfe\x00\x01", "num_gpu\n1\n", "num_gpu,submit_time,duration\n1,0\n",
        "num_gpu,submit_time,duration\n0,0,1\n", "num_gpu,submit_time,duration\n1,-5,1\n",
        "num_gpu,submit_time,duration\n1,0,9223372036854775807\n", "num_gpu,submit_time,duration\n1e99,0,1\n",
        "num_gpu,submit_time,duration\n\"1,0,1\n",
        "num_gpu,submit_time,duration\n999999999999999999999,0,1\n"}) {
    lab.files["jobs.csv"] = rows;
    const auto read = lab.read();
    ASSERT_FALSE(read.has_value()) << rows;
    EXPECT_NE(read.error().message.find("jobs.csv"), std::string::npos) << read.error().message;
  }
  const auto refuses = [](const std::string& text) {
    return !read_scenario(text, "s.yaml", [](const std::string&) { return std::string(); }).has_value();
  };
  EXPECT_TRUE(refuses(
      "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
      "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: "
      "[*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"));
  EXPECT_TRUE(refuses(std::string(100'000, '[')));
  EXPECT_TRUE(refuses("apiVersion: neap.dev/v1\nkind: Simulation\nmetadata: [1]\nspec: 7\n"));
  EXPECT_TRUE(
      refuses("apiVersion: neap.dev/v1\nkind: Simulation\nmetadata: {name: x}\nspec: {nodes: {a: 1}, "
              "workloads: 3}\n"));
  EXPECT_TRUE(refuses("- 1\n---\n\"x\"\n---\nnull\n"));
}

TEST(Scenario, a_text_cut_or_bent_anywhere_is_read_or_refused) {
  const auto text = good().text();
  for (std::size_t at = 0; at < text.size(); at += 7) {
    for (const auto& bent : {text.substr(0, at), text.substr(0, at) + "]" + text.substr(at),
                             text.substr(0, at) + "-9" + text.substr(at)}) {
      const auto read = read_scenario(bent, "s.yaml", [](const std::string&) { return std::string(); });
      if (!read)
        EXPECT_NE(read.error().to_string().find("s.yaml"), std::string::npos) << read.error().to_string();
    }
  }
}

TEST(Scenario, limits_on_jobs_are_kept_while_they_are_drawn) {
  auto lab = good();
  lab.workloads =
      "{name: t, resources: {cpu: 1, accelerators: {a100: 1}}, generate: {jobs: 500, arrivals: {perHour: 1}, "
      "duration: {median: 1h}}}";
  EXPECT_TRUE(lab.read().has_value());
  EXPECT_FALSE(lab.read({.jobs_max = 400}).has_value());
}

TEST(Scenario, arrivals_follow_the_stated_rate_and_day) {
  auto lab = good();
  lab.spec = "  horizon: 2400h\n";
  lab.workloads =
      "{name: t, resources: {cpu: 1, accelerators: {a100: 1}}, generate: {arrivals: {perHour: 10, "
      "peakToTrough: 4, peakHour: 12}, "
      "duration: {distribution: exponential, mean: 30m}}}";
  const auto scenario = lab.read();
  ASSERT_TRUE(scenario.has_value()) << scenario.error().message;
  EXPECT_NEAR(double(scenario->jobs.size()), 24000, 600);
  double noon = 0, midnight = 0, work = 0;
  for (const auto& job : scenario->jobs) {
    const double hour = double(job.arrival_ms % (24 * kHourMs)) / double(kHourMs);
    noon += hour > 11 && hour < 13 ? 1 : 0;
    midnight += hour < 1 || hour > 23 ? 1 : 0;
    work += double(job.work_ms);
  }
  EXPECT_NEAR(noon / midnight, 4, 0.7);
  EXPECT_NEAR(work / double(scenario->jobs.size()), 30 * 60'000, 60'000);
}

TEST(Scenario, gangs_wider_than_a_member_are_split_evenly) {
  auto lab = good();
  lab.files["jobs.csv"] = "num_gpu,submit_time,duration\n12,0,1000\n8,0,1000\n";
  lab.workloads =
      "{name: t, resources: {cpu: 2, memory: 1Gi, accelerators: {a100: 1}}, csv: {path: jobs.csv}}";
  const auto scenario = lab.read();
  ASSERT_TRUE(scenario.has_value()) << scenario.error().message;
  EXPECT_EQ(scenario->jobs[0].replicas, 2);
  EXPECT_EQ(scenario->jobs[0].each.accelerators.value, 6000);
  EXPECT_EQ(scenario->jobs[0].each.cores.value, 12000);
  EXPECT_EQ(scenario->jobs[1].replicas, 1);
}

constexpr std::string_view kCatalogue =
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,"
    "AvailabilityZone\n"
    "p4,A100,8,96,1152,,32.0,8.0,east,e1\np4,A100,8,96,1152,,32.0,4.0,east,e2\np4,A100,8,96,1152,,99.0,,west,"
    "w1\n"
    "a2-highgpu-1g,,,12,85,,1.2,0.6,goog,g1\n,A100-80GB,1,,,,3.0,0.00,goog,g1\nvast,H100,1,8,64,,2.0,0.00,"
    "\"Denmark, DK\",\n";

TEST(PriceCatalogue, machines_are_priced_by_their_accelerators_and_zero_is_unknown) {
  const auto east = read_catalogue(kCatalogue, "c.csv", {.region = "east", .zone = {}, .models = {}});
  ASSERT_TRUE(east.has_value()) << east.error().message;
  EXPECT_EQ(east->on_demand.per_accelerator_hour.at("nvidia-a100").value, 4'000'000);
  EXPECT_EQ(east->spot.per_accelerator_hour.at("nvidia-a100").value, 500'000);
  const auto zone =
      read_catalogue(kCatalogue, "c.csv", {.region = "east", .zone = "e1", .models = {{"A100", "a100"}}});
  ASSERT_TRUE(zone.has_value());
  EXPECT_EQ(zone->spot.per_accelerator_hour.at("a100").value, 1'000'000);
  const auto west = read_catalogue(kCatalogue, "c.csv", {.region = "west", .zone = {}, .models = {}});
  EXPECT_TRUE(west->spot.per_accelerator_hour.empty());
  const auto goog = read_catalogue(kCatalogue, "c.csv", {.region = "goog", .zone = {}, .models = {}});
  EXPECT_EQ(goog->on_demand.per_core_hour.value, 100'000);
  EXPECT_EQ(goog->on_demand.per_accelerator_hour.at("nvidia-a100-80gb").value, 3'000'000);
  EXPECT_TRUE(goog->spot.per_accelerator_hour.empty());
  EXPECT_EQ(read_catalogue(kCatalogue, "c.csv", {.region = "Denmark, DK", .zone = {}, .models = {}})
                ->on_demand.per_accelerator_hour.at("nvidia-h100")
                .value,
            2'000'000);
  const auto nowhere = read_catalogue(kCatalogue, "c.csv", {.region = "moon", .zone = {}, .models = {}});
  EXPECT_NE(nowhere.error().message.find("c.csv: has no price in region moon"), std::string::npos);
}

TEST(PriceCatalogue, the_public_catalogues_are_read) {
  for (const auto& [file, region, model] : {std::tuple{"aws", "us-east-1", "nvidia-a100"},
                                            {"gcp", "us-central1", "nvidia-h100"},
                                            {"azure", "eastus", "nvidia-h100"},
                                            {"nebius", "eu-north1", "nvidia-h100"}}) {
    const auto text = read_public_trace(fmt::format("skypilot-catalog/{}.csv", file));
    if (text.empty()) GTEST_SKIP() << "NEAP_DATA has no skypilot-catalog";
    const auto rates = read_catalogue(text, file, {.region = region, .zone = {}, .models = {}});
    ASSERT_TRUE(rates.has_value()) << rates.error().message;
    ASSERT_TRUE(rates->on_demand.per_accelerator_hour.contains(model)) << file;
    EXPECT_GT(rates->on_demand.per_accelerator_hour.at(model).value, 500'000) << file;
  }
}

}  // namespace
}  // namespace neap::simulation
