#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::TrainingJob;

class Training : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster.add_site("hq");
    cluster.add_node("hq-1", "hq", 4);
    cluster.pass();
  }
  std::string phase(const std::string& job) { return cluster.get<TrainingJob>(job).status.phase; }
  void prepare_and_run(const std::string& job, int epoch, int replicas) {
    for (int i = 0; i < replicas; ++i) cluster.set_phase(fmt::format("{}-e{}-{}", job, epoch, i), "Prepared");
    for (int i = 0; i < replicas; ++i) cluster.set_phase(fmt::format("{}-e{}-{}", job, epoch, i), "Running");
  }
  Cluster cluster;
};

TEST_F(Training, a_gang_is_committed_only_when_all_its_members_are_prepared) {
  cluster.create(cluster.job("gang", 2, 2));
  cluster.pass();
  EXPECT_EQ(phase("gang"), "Reserved");
  EXPECT_EQ(cluster.decisions().size(), 1u) << "the decision is recorded with its reasons";
  cluster.set_phase("gang-e1-0", "Prepared");
  EXPECT_EQ(phase("gang"), "Reserved");
  EXPECT_EQ(cluster.get<Allocation>("gang-e1-0").spec.committedEpoch, 0);
  cluster.set_phase("gang-e1-1", "Prepared");
  EXPECT_EQ(phase("gang"), "Running");
  for (const auto* name : {"gang-e1-0", "gang-e1-1"})
    EXPECT_EQ(cluster.get<Allocation>(name).spec.committedEpoch, 1);
}

TEST_F(Training, a_gang_succeeds_when_all_its_members_have) {
  cluster.create(cluster.job("gang", 2, 2));
  cluster.pass();
  prepare_and_run("gang", 1, 2);
  cluster.set_phase("gang-e1-0", "Succeeded");
  EXPECT_EQ(phase("gang"), "Running");
  cluster.set_phase("gang-e1-1", "Succeeded");
  EXPECT_EQ(phase("gang"), "Succeeded");
}

TEST_F(Training, a_new_epoch_waits_for_every_member_of_the_old_one) {
  cluster.create(cluster.job("gang", 2, 1));
  cluster.pass();
  prepare_and_run("gang", 1, 2);
  cluster.set_phase("gang-e1-0", "Released", "reclaimed");
  EXPECT_EQ(phase("gang"), "Draining");
  EXPECT_EQ(cluster.get<Allocation>("gang-e1-1").spec.desired, "Stop");
  EXPECT_FALSE(cluster.find<Allocation>("gang-e2-0"));
  cluster.set_phase("gang-e1-1", "Released");
  EXPECT_TRUE(cluster.find<Allocation>("gang-e2-0"));
  EXPECT_EQ(cluster.get<TrainingJob>("gang").status.interruptions, 1);
}

TEST_F(Training, it_goes_on_from_the_newest_durable_checkpoint) {
  cluster.create(cluster.job("gang", 1, 1));
  cluster.pass();
  prepare_and_run("gang", 1, 1);
  cluster.set_status<Allocation>("gang-e1-0", [](auto& a) {
    a.status.checkpoint.step = 40;
    a.status.checkpoint.phase = "Durable";
    a.status.checkpoint.digest = "sha256:" + std::string(64, 'a');
    a.status.firstStep = 0;
    a.status.step = 43;
  });
  cluster.pass();
  cluster.set_phase("gang-e1-0", "Released");
  EXPECT_EQ(cluster.get<Allocation>("gang-e2-0").spec.process->resume.step, 40);
}

TEST_F(Training, it_gives_up_after_the_failures_it_may_have) {
  auto job = cluster.job("gang", 1, 1);
  job.spec.backoffLimit = 1;
  cluster.create(job);
  cluster.pass();
  prepare_and_run("gang", 1, 1);
  cluster.set_phase("gang-e1-0", "Failed", "exit code 1");
  prepare_and_run("gang", 2, 1);
  cluster.set_phase("gang-e2-0", "Failed", "exit code 1");
  EXPECT_EQ(phase("gang"), "Failed");
  EXPECT_THAT(cluster.get<TrainingJob>("gang").status.message, ::testing::HasSubstr("exit code 1"));
}

TEST_F(Training, a_job_that_lost_too_much_quality_fails_and_says_by_how_much) {
  auto job = cluster.job("small", 1, 1);
  job.spec.gates = {
      {.metric = "accuracy_int8", .baseline = "accuracy_teacher", .maxDropPoints = 1.0, .minimum = 0}};
  cluster.create(job);
  cluster.pass();
  prepare_and_run("small", 1, 1);
  cluster.set_status<Allocation>("small-e1-0", [](auto& a) {
    a.status.phase = "Succeeded";
    a.status.metrics = Json{{"accuracy_int8", 0.92}, {"accuracy_teacher", 0.95}};
  });
  cluster.pass();
  EXPECT_EQ(phase("small"), "Failed");
  EXPECT_THAT(cluster.get<TrainingJob>("small").status.message, ::testing::HasSubstr("3.00 points below"));
}

TEST_F(Training, two_jobs_of_one_moment_do_not_get_the_same_cores) {
  cluster.create(cluster.job("one", 2, 2));
  cluster.create(cluster.job("two", 1, 2));
  cluster.pass();
  std::int64_t held = 0;
  for (const auto* name : {"one-e1-0", "one-e1-1", "two-e1-0"})
    if (const auto a = cluster.find<Allocation>(name)) held += a->spec.resources.cpu.value;
  EXPECT_LE(held, 4000);
  const auto& waits = phase("one") == "Pending" ? "one" : "two";
  EXPECT_FALSE(cluster.get<TrainingJob>(waits).status.message.empty());
}

TEST_F(Training, a_node_whose_clock_is_wrong_is_not_lost) {
  cluster.renew("hq-1", "2001-01-01T00:00:00.000000Z");
  cluster.create(cluster.job("gang", 1, 1));
  cluster.pass();
  prepare_and_run("gang", 1, 1);
  EXPECT_EQ(phase("gang"), "Running");
}

TEST_F(Training, a_lost_nodes_member_is_released_and_told_to_stop) {
  cluster.add_node("hq-2", "hq", 4);
  cluster.renew("hq-1", "2026-01-01T00:00:01.000000Z");
  cluster.create(cluster.job("gang", 1, 4));
  cluster.pass();
  const auto node = cluster.get<Allocation>("gang-e1-0").spec.node;
  if (node != "hq-1") GTEST_SKIP() << "the scheduler chose the other node";
  prepare_and_run("gang", 1, 1);
  cluster.pass(40s);
  const auto lost = cluster.get<Allocation>("gang-e1-0");
  EXPECT_EQ(lost.status.phase, "Released");
  EXPECT_EQ(lost.spec.desired, "Stop");
  EXPECT_EQ(cluster.get<Allocation>("gang-e2-0").spec.node, "hq-2");
}

TEST_F(Training, what_an_older_epoch_brings_back_is_told_to_stop) {
  cluster.create(cluster.job("gang", 1, 1));
  cluster.pass();
  prepare_and_run("gang", 1, 1);
  cluster.set_phase("gang-e1-0", "Released");
  ASSERT_TRUE(cluster.find<Allocation>("gang-e2-0"));
  cluster.set_phase("gang-e1-0", "Prepared");
  EXPECT_EQ(cluster.get<Allocation>("gang-e1-0").spec.desired, "Stop");
}

TEST_F(Training, a_leader_that_starts_again_goes_on_with_the_same_epoch) {
  cluster.create(cluster.job("gang", 2, 1));
  cluster.pass();
  cluster.start();
  cluster.pass();
  prepare_and_run("gang", 1, 2);
  EXPECT_EQ(phase("gang"), "Running");
  EXPECT_EQ(cluster.get<TrainingJob>("gang").status.epoch, 1);
}

// By count, not by time: a pass must not cost in proportion to what did not change.
TEST(ManyJobs, a_pass_looks_at_what_changed) {
  constexpr int kJobs = 5000;
  Cluster cluster;
  cluster.add_site("hq");
  cluster.add_node("hq-1", "hq", kJobs + 1);
  for (int i = 0; i < kJobs; ++i) {
    auto job = cluster.job(fmt::format("job-{}", i), 1, 1);
    job.spec.resources.memory = Bytes{1};
    cluster.create(std::move(job));
  }
  cluster.pass(35s);
  ASSERT_EQ(cluster.decisions().size(), std::size_t(kJobs));
  EXPECT_EQ(cluster.get<TrainingJob>(fmt::format("job-{}", kJobs - 1)).status.phase, "Reserved");
  // Just after everything was looked at: the next time is half a minute away.
  auto looked_at = cluster.loop().jobs_looked_at();
  for (int waited = 0; cluster.loop().jobs_looked_at() < looked_at + kJobs && waited < 60; ++waited)
    cluster.pass(1s);
  looked_at = cluster.loop().jobs_looked_at();
  cluster.pass(10s);
  EXPECT_EQ(cluster.loop().jobs_looked_at(), looked_at) << "nothing changed";
  cluster.set_phase("job-7-e1-0", "Prepared");
  EXPECT_GT(cluster.loop().jobs_looked_at(), looked_at);
  EXPECT_LE(cluster.loop().jobs_looked_at(), looked_at + 6) << "one job went on";
  EXPECT_EQ(cluster.get<TrainingJob>("job-7").status.phase, "Running");
}

TEST_F(Training, a_job_that_waits_for_room_goes_on_when_there_is_some) {
  cluster.create(cluster.job("first", 1, 4));
  cluster.pass();
  prepare_and_run("first", 1, 1);
  cluster.create(cluster.job("second", 1, 4));
  cluster.pass();
  EXPECT_EQ(phase("second"), "Pending");
  cluster.set_phase("first-e1-0", "Succeeded");
  EXPECT_EQ(phase("second"), "Reserved") << "without waiting for everything to be looked at";
}

TEST_F(Training, a_gang_that_does_not_get_ready_is_taken_back_in_time) {
  cluster.create(cluster.job("gang", 1, 1));
  cluster.pass();
  cluster.pass(Options{}.prepare_timeout + 1s);
  EXPECT_EQ(phase("gang"), "Draining");
}

TEST_F(Training, only_the_leading_loop_writes_and_a_new_leader_begins_with_what_is_there) {
  cluster.loop().lead(false);
  cluster.create(cluster.job("gang", 2, 2));
  cluster.pass();
  EXPECT_EQ(phase("gang"), "Pending");
  EXPECT_FALSE(cluster.find<Allocation>("gang-e1-0"));
  EXPECT_EQ(cluster.loop().state().all<TrainingJob>().size(), 1u) << "it follows all the same";
  cluster.loop().lead(true);
  cluster.pass();
  EXPECT_EQ(phase("gang"), "Reserved");
  cluster.loop().lead(false);
  for (const auto* name : {"gang-e1-0", "gang-e1-1"}) cluster.set_phase(name, "Prepared");
  EXPECT_EQ(phase("gang"), "Reserved");
  cluster.loop().lead(true);
  cluster.pass();
  EXPECT_EQ(phase("gang"), "Running");
  EXPECT_FALSE(cluster.find<Allocation>("gang-e2-0")) << "nothing is placed twice";
}

}  // namespace
}  // namespace neap::controllers
