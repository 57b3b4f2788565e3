#include "neap/simulation/placement.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

#include "neap/simulation/sample.h"
#include "tests/public_trace.h"

namespace neap::simulation {
namespace {

using scheduler::PackingRule;

constexpr std::string_view kNodes =
    "sn,cpu_milli,memory_mib,gpu,model\na,64000,1000,4,G2\nb,64000,1000,4,T4\nc,32000,1000,2,G2\n";
constexpr std::string_view kTaskColumns = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n";

Result<OpenbTrace> read(std::string_view nodes, const std::string& rows) {
  const auto tasks = std::string(kTaskColumns) + rows;
  return read_openb({nodes, "nodes.csv"}, {tasks, "tasks.csv"});
}
std::string why_refused(std::string_view nodes, const std::string& rows) {
  const auto trace = read(nodes, rows);
  return trace ? "accepted" : trace.error().message;
}

OpenbTrace make_trace() {
  std::string rows;
  for (int i = 0; i < 40; ++i)
    rows += fmt::format("p{:03},{},10,{},{},{}\n", i, 1000 * (1 + i % 7), i % 5 == 0 ? 0 : 1,
                        i % 3 == 0 ? 1000 : 200 + 100 * (i % 6), i % 11 == 0 ? "T4|H9" : "");
  return read(kNodes, rows).value();
}

TEST(Openb, reads_models_fractions_and_tasks_for_cores_alone) {
  const auto trace =
      read(kNodes, "b,1000,1,1,250,T4|H9\na,2000,1,0,0,\nc,1,1,1,1000,H9\nd,1,1,2,1000,\n").value();
  EXPECT_EQ(trace.devices_milli, 10'000);
  EXPECT_EQ(trace.models, (std::vector<std::string>{"G2", "T4"}));
  ASSERT_EQ(trace.tasks.size(), 4u);
  EXPECT_EQ(trace.tasks[0].name, "a");
  EXPECT_EQ(trace.tasks[0].task.devices, 0);
  EXPECT_EQ(trace.tasks[1].task.milli, 250);
  EXPECT_EQ(trace.tasks[1].task.models, 2u) << "T4 alone: no node has H9";
  EXPECT_EQ(trace.tasks[2].task.models, 0u);
  EXPECT_EQ(trace.tasks[3].task.models, ~0ull);
}

TEST(Openb, names_the_line_of_what_no_machine_or_task_can_be) {
  EXPECT_NE(why_refused(kNodes, "a,1,1,1,1000,\nb,1,1,2,500,\n").find("tasks.csv:3: gpu_milli is 500"),
            std::string::npos);
  EXPECT_NE(why_refused(kNodes, "a,-1,1,1,1000,\n").find("tasks.csv:2: cpu_milli is -1"), std::string::npos);
  EXPECT_NE(why_refused(kNodes, "a,1,1,1,0,\n").find("tasks.csv:2: gpu_milli is 0"), std::string::npos);
  EXPECT_NE(why_refused(kNodes, "a,1,1,65,1000,\n").find("num_gpu is 65"), std::string::npos);
  EXPECT_NE(
      why_refused(kNodes, "a,1,99999999999999999999,1,1000,\n").find("tasks.csv:2: column `memory_mib`"),
      std::string::npos);
  EXPECT_NE(why_refused(kNodes, "a,1,1,one,1000,\n").find("tasks.csv:2: column `num_gpu` is `one`"),
            std::string::npos);
  EXPECT_NE(why_refused(kNodes, "").find("tasks.csv has no task"), std::string::npos);
  const std::string good = "a,1,1,1,1000,\n";
  EXPECT_NE(
      why_refused("sn,cpu_milli,memory_mib,gpu,model\na,1,1,900,G2\n", good).find("nodes.csv:2: gpu is 900"),
      std::string::npos);
  EXPECT_NE(
      why_refused("sn,cpu_milli,memory_mib,gpu,model\na,1,1,0,\n", good).find("no node with an accelerator"),
      std::string::npos);
  EXPECT_NE(why_refused("sn,cpu_milli,gpu,model\na,1,1,G2\n", good).find("no column `memory_mib`"),
            std::string::npos);
}

TEST(Placement, the_same_seed_gives_the_same_run_and_another_seed_another) {
  const auto trace = make_trace();
  for (const auto placement_class :
       {PlacementClass::kOnline, PlacementClass::kBatched, PlacementClass::kRepacked}) {
    PlacementOptions options;
    options.placement_class = placement_class;
    const auto first = replay_placement(trace, options).value();
    const auto second = replay_placement(trace, options).value();
    EXPECT_EQ(first.placed, second.placed);
    EXPECT_EQ(first.allocated_percent, second.allocated_percent);
    EXPECT_GT(first.arrived, first.placed);
    options.seed = 43;
    EXPECT_NE(replay_placement(trace, options).value().allocated_percent, first.allocated_percent);
  }
}

TEST(Placement, load_grows_to_the_ratio_and_no_further) {
  const auto trace = make_trace();
  const auto result = replay_placement(trace, {.ratio = 3}).value();
  EXPECT_GE(result.allocated_percent.rbegin()->first, 290);
  EXPECT_LE(result.allocated_percent.rbegin()->first, 300);
  for (const auto& [load, percent] : result.allocated_percent) {
    EXPECT_LE(percent, 100);
    EXPECT_LE(percent, load + 1);
  }
}

TEST(Placement, refuses_a_ratio_that_is_none) {
  const auto trace = make_trace();
  for (const double ratio : {0.0, -1.0, 11.0, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_FALSE(replay_placement(trace, {.ratio = ratio}).has_value());
}

TEST(Placement, work_for_cores_alone_arrives_once) {
  const auto trace = read(kNodes, "a,1000,1,0,0,\nb,1000,1,0,0,\n").value();
  EXPECT_EQ(replay_placement(trace, {}).value().arrived, 2u);
}

TEST(Placement, only_a_repacked_run_moves_anything) {
  const auto trace = make_trace();
  for (const auto placement_class : {PlacementClass::kOnline, PlacementClass::kBatched}) {
    const auto result = replay_placement(trace, {.placement_class = placement_class}).value();
    EXPECT_EQ(result.moved + result.set_back, 0u);
  }
  PlacementOptions options{.ratio = 3, .placement_class = PlacementClass::kRepacked};
  const auto repacked = replay_placement(trace, options).value();
  EXPECT_GT(repacked.moved + repacked.set_back, 0u);
  options.room.set_back_gain_min.reset();
  EXPECT_EQ(replay_placement(trace, options).value().set_back, 0u);
}

// Short form of bench/placement_table.py: few seeds of one list, so the margins are wider.
TEST(PlacementOpenb, yardsticks_meet_their_published_means_and_each_class_of_ours_its_target) {
  const auto nodes = read_public_trace("openb/openb_node_list_gpu_node.csv"),
             tasks = read_public_trace("openb/openb_pod_list_default.csv");
  if (nodes.empty() || tasks.empty()) GTEST_SKIP() << "NEAP_DATA is not set or has no openb";
  const auto trace = read_openb({nodes, "nodes"}, {tasks, "tasks"}).value();
  ASSERT_EQ(trace.nodes.size(), 1213u);
  ASSERT_EQ(trace.devices_milli, 6'212'000);
  const auto mean_at_130 = [&](PlacementOptions options, int seeds) {
    std::vector<double> percent;
    for (int seed = 0; seed < seeds; ++seed) {
      options.seed = std::uint64_t(1000 + seed);
      percent.push_back(replay_placement(trace, options).value().allocated_percent.at(130));
    }
    return mean(percent);
  };
  EXPECT_NEAR(mean_at_130({.rule = PackingRule::kBestFit}, 5), 93.08, 0.25);
  EXPECT_NEAR(mean_at_130({.rule = PackingRule::kGradient}, 5), 95.39, 0.25);
  EXPECT_GE(mean_at_130({}, 5), 95.6);
  EXPECT_GE(mean_at_130({.placement_class = PlacementClass::kBatched}, 2), 97.5);
  EXPECT_GE(mean_at_130({.placement_class = PlacementClass::kRepacked}, 1), 97.5);
}

}  // namespace
}  // namespace neap::simulation
