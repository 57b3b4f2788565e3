// Work of a higher priority takes the place of work of a lower one, through to the end.
#include "internal/preemption.h"

#include <map>

#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::TrainingJob;

class PreemptionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster.add_site("hq");
    cluster.add_node("hq-1", "hq", 4);
    cluster.add_node("hq-2", "hq", 4);
    add_class("urgent", 1000, {});
    add_class("patient", 1000, "Never");
    cluster.pass();
  }
  void add_class(const std::string& name, int value, const std::string& policy,
                 const std::string& preemptible = {}) {
    const client::ResourcePath path{.group = "scheduling.k8s.io",
                                    .version = "v1",
                                    .plural = "priorityclasses",
                                    .namespace_ = {},
                                    .name = {},
                                    .subresource = {}};
    JsonObject metadata{{"name", name}};
    if (!preemptible.empty()) metadata["annotations"] = JsonObject{{"neap.dev/preemptible", preemptible}};
    JsonObject document{{"apiVersion", "scheduling.k8s.io/v1"}, {"kind", "PriorityClass"}, {"value", value}};
    document["metadata"] = std::move(metadata);
    if (!policy.empty()) document["preemptionPolicy"] = policy;
    const auto made = cluster.wait(cluster.client().create({}, path, Json(std::move(document)), {}));
    ASSERT_TRUE(made) << made.error().to_string();
  }
  TrainingJob job(const std::string& name) { return cluster.get<TrainingJob>(name); }
  void start(const std::string& name, std::int64_t replicas, std::int64_t cores,
             const std::string& priority = {}, std::int64_t least = 0) {
    auto made = cluster.job(name, replicas, cores);
    made.spec.priorityClass = priority;
    made.spec.minReplicas = least;
    cluster.create(made);
    cluster.pass();
  }
  void prepare_and_run(const std::string& name, int epoch, int replicas) {
    for (int i = 0; i < replicas; ++i)
      cluster.set_phase(fmt::format("{}-e{}-{}", name, epoch, i), "Prepared");
    for (int i = 0; i < replicas; ++i) cluster.set_phase(fmt::format("{}-e{}-{}", name, epoch, i), "Running");
  }
  void report(const std::string& member, std::int64_t step, std::int64_t saved) {
    cluster.set_status<Allocation>(member, [&](auto& a) {
      a.status.firstStep = 0;
      a.status.step = step;
      a.status.checkpoint.step = saved;
      a.status.checkpoint.phase = "Durable";
      a.status.checkpoint.digest = "sha256:" + std::string(64, 'a');
    });
    cluster.pass();
  }
  Cluster cluster;
};

TEST_F(PreemptionTest,
       the_victim_drains_to_its_checkpoint_the_other_runs_and_the_victim_goes_on_where_it_was) {
  start("long", 1, 4);
  start("fresh", 1, 4);
  prepare_and_run("long", 1, 1);
  prepare_and_run("fresh", 1, 1);
  cluster.pass(60s);
  report("long-e1-0", 100, 10);   // most of a minute would be done again
  report("fresh-e1-0", 100, 99);  // a step of it
  start("now", 1, 4, "urgent");
  const auto waiting = job("now");
  EXPECT_EQ(waiting.status.phase, "Pending");
  ASSERT_TRUE(waiting.status.nomination) << waiting.status.message;
  const auto held_on = job("fresh").status.runs[0].nodes[0];
  EXPECT_EQ(waiting.status.nomination->nodes, std::vector<std::string>{held_on});
  EXPECT_EQ(waiting.status.message, "waits for default/fresh to make room at hq");
  cluster.pass();
  EXPECT_EQ(job("fresh").status.phase, "Draining");
  EXPECT_EQ(job("long").status.phase, "Running");
  const auto drained = job("fresh");
  const auto* condition = api::find_condition(drained.status.conditions, "Preempted");
  ASSERT_TRUE(condition);
  EXPECT_NE(condition->message.find("default/now of priority 1000, above its own 0"), std::string::npos)
      << condition->message;
  EXPECT_EQ(cluster.get<Allocation>("fresh-e1-0").spec.desired, "Stop")
      << "its agent stops it at a checkpoint";
  EXPECT_FALSE(cluster.find<Allocation>("now-e1-0")) << "not before it has gone";

  // A little one that would fit into what the victim leaves may not take what is held.
  start("sneaky", 1, 2);
  report("fresh-e1-0", 104, 104);
  cluster.set_phase("fresh-e1-0", "Released");
  cluster.pass();
  EXPECT_EQ(job("fresh").status.runs[0].reason, "Preempted");
  EXPECT_EQ(job("fresh").status.phase, "Pending");
  EXPECT_EQ(job("sneaky").status.phase, "Pending");
  EXPECT_EQ(cluster.get<Allocation>("now-e1-0").spec.node, held_on);
  EXPECT_FALSE(job("now").status.nomination);
  prepare_and_run("now", 1, 1);
  cluster.set_phase("now-e1-0", "Succeeded");
  EXPECT_EQ(job("now").status.phase, "Succeeded");

  cluster.pass();
  ASSERT_TRUE(cluster.find<Allocation>("fresh-e2-0"));
  EXPECT_EQ(cluster.get<Allocation>("fresh-e2-0").spec.process->resume.step, 104) << "no step is lost";
  prepare_and_run("fresh", 2, 1);
  EXPECT_EQ(api::find_condition(job("fresh").status.conditions, "Preempted")->status, "False");
  cluster.set_phase("fresh-e2-0", "Succeeded");
  EXPECT_EQ(job("fresh").status.phase, "Succeeded");
  EXPECT_EQ(job("long").status.interruptions, 0);
}

TEST_F(PreemptionTest, work_of_the_same_priority_waits_its_turn) {
  start("first", 2, 4, "urgent");
  start("second", 1, 4, "urgent");
  EXPECT_EQ(job("second").status.phase, "Pending");
  EXPECT_FALSE(job("second").status.nomination);
}

TEST_F(PreemptionTest, what_must_not_be_interrupted_makes_room_only_if_its_class_says_so) {
  add_class("movable", 1, {}, "true");
  auto never = cluster.job("never", 1, 4);
  never.spec.interruption = api::InterruptionClass::kNever;
  cluster.create(never);
  auto movable = never;
  movable.metadata.name = "movable";
  movable.spec.priorityClass = "movable";
  cluster.create(movable);
  cluster.pass();
  start("patient", 1, 4, "patient");
  EXPECT_FALSE(job("patient").status.nomination);
  EXPECT_EQ(find_path(job("patient").status.explanation, {"preemption"}), nullptr);
  start("now", 1, 4, "urgent");
  ASSERT_TRUE(job("now").status.nomination);
  ASSERT_EQ(job("now").status.nomination->victims.size(), 1u);
  EXPECT_EQ(job("now").status.nomination->victims[0].job, "default/movable");
}

TEST_F(PreemptionTest, nobody_ends_for_a_gang_that_would_not_fit_afterwards) {
  start("small", 2, 4);
  prepare_and_run("small", 1, 2);
  start("now", 3, 4, "urgent");
  EXPECT_FALSE(job("now").status.nomination);
  EXPECT_EQ(job("small").status.phase, "Running");
  EXPECT_NE(find_path(job("now").status.explanation, {"noPreemption"}), nullptr);
}

TEST_F(PreemptionTest, an_elastic_gang_goes_on_with_fewer_members) {
  start("elastic", 2, 4, {}, 1);
  EXPECT_EQ(job("elastic").status.runs[0].nodes.size(), 2u);
  prepare_and_run("elastic", 1, 2);
  start("now", 1, 4, "urgent");
  ASSERT_TRUE(job("now").status.nomination);
  cluster.pass();
  for (const auto* member : {"elastic-e1-0", "elastic-e1-1"}) cluster.set_phase(member, "Released");
  cluster.pass();
  EXPECT_EQ(job("elastic").status.runs.at(1).nodes.size(), 1u);
  EXPECT_EQ(cluster.get<Allocation>("elastic-e2-0").spec.process->worldSize, 1);
  EXPECT_TRUE(cluster.find<Allocation>("now-e1-0"));
}

TEST_F(PreemptionTest, a_leader_that_starts_again_keeps_the_place_that_is_held) {
  start("a", 1, 4);
  start("b", 1, 4);
  start("now", 1, 4, "urgent");
  ASSERT_TRUE(job("now").status.nomination);
  const auto victim = job("now").status.nomination->victims[0];
  const auto name = victim.job.substr(victim.job.find('/') + 1);
  cluster.start();
  cluster.pass();
  cluster.set_phase(name + "-e1-0", "Released");
  cluster.pass();
  EXPECT_TRUE(cluster.find<Allocation>("now-e1-0"));
  EXPECT_FALSE(cluster.find<Allocation>(name + "-e2-0"));
}

TEST_F(PreemptionTest, a_place_is_held_while_the_victim_of_another_still_stands_on_its_node) {
  // One node, two halves, a victim on each, and two that wait for them.
  cluster.set_spec<api::Node>("hq-2", [](auto& node) { node.spec.unschedulable = true; });
  start("left", 1, 2);
  start("right", 1, 2);
  prepare_and_run("left", 1, 1);
  prepare_and_run("right", 1, 1);
  start("first", 1, 2, "urgent");
  start("second", 1, 2, "urgent");
  ASSERT_TRUE(job("first").status.nomination);
  ASSERT_TRUE(job("second").status.nomination);
  const auto victim = job("first").status.nomination->victims.at(0).job;
  const auto gone = victim.substr(victim.find('/') + 1);
  const std::string stays = gone == "left" ? "right" : "left";
  cluster.set_phase(gone + "-e1-0", "Released");
  cluster.pass();
  // A job that comes now finds both halves taken.
  start("sneaky", 1, 2, "urgent");
  EXPECT_FALSE(job("sneaky").status.nomination);
  if (job("first").status.phase == "Pending") {
    EXPECT_TRUE(job("first").status.nomination) << "its own victim has gone, the other's holds the node";
    EXPECT_EQ(job("first").status.message, "waits for default/" + stays + " to make room at hq");
  }
  cluster.set_phase(stays + "-e1-0", "Released");
  cluster.pass();
  EXPECT_EQ(job("first").status.phase, "Reserved");
  EXPECT_EQ(job("second").status.phase, "Reserved");
  EXPECT_EQ(job("sneaky").status.phase, "Pending");
}

TEST_F(PreemptionTest, a_suspended_job_holds_no_place_and_nobody_ends_for_it) {
  start("a", 2, 4);
  prepare_and_run("a", 1, 2);
  start("now", 1, 4, "urgent");
  ASSERT_TRUE(job("now").status.nomination);
  TrainingJob suspended = job("now");
  suspended.spec.suspend = true;
  EXPECT_EQ(nomination_of(suspended), nullptr);
}

TEST_F(PreemptionTest, members_of_a_job_share_the_block_it_asks_for) {
  for (const auto* node : {"hq-1", "hq-2"})
    cluster.set_spec<api::Node>(node, [&](auto& n) { n.metadata.labels["topology.neap.dev/block"] = node; });
  cluster.pass();
  auto large = cluster.job("large", 2, 3);
  large.spec.topology = api::TopologySpec{.level = "block"};
  cluster.create(large);
  cluster.pass();
  EXPECT_EQ(job("large").status.phase, "Pending");
  EXPECT_NE(job("large").status.message.find("no block has room for 2 replicas together: the most is 1"),
            std::string::npos)
      << job("large").status.message;
  auto gang = cluster.job("gang", 2, 2);
  gang.spec.topology = api::TopologySpec{.level = "block"};
  cluster.create(gang);
  cluster.pass();
  const auto placed = job("gang");
  ASSERT_EQ(placed.status.runs.size(), 1u);
  EXPECT_EQ(placed.status.runs[0].nodes[0], placed.status.runs[0].nodes[1]);
}

}  // namespace
}  // namespace neap::controllers
