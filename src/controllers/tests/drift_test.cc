// Private first in the server, on simulated time: out when waiting is not worth it, home when that saves, and
// no flapping.
#include "internal/reconciler.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using ::testing::HasSubstr;

class DriftTest : public ::testing::Test {
 protected:
  DriftTest() {
    add_priced("hq", api::Tier::kPrivate, api::CapacityType::kOwned, 10'000);
    add_priced("cloud", api::Tier::kPublic, api::CapacityType::kOnDemand, 50'000);
    cluster.add_node("own-1", "hq", 64);
    cluster.add_node("rent-1", "cloud", 256);
    cluster.set_spec<api::Node>("rent-1",
                                [](auto& n) { n.spec.capacityType = api::CapacityType::kOnDemand; });
    cluster.pass();
  }
  void add_priced(const std::string& name, api::Tier tier, api::CapacityType type, std::int64_t price) {
    api::Site site;
    site.metadata.name = name;
    site.spec.tier = tier;
    site.spec.jurisdiction = "DE";
    site.spec.prices = {
        {.capacityType = type, .perCoreHour = {price}, .perGiBHour = {}, .perAcceleratorHour = {}}};
    cluster.create(site);
  }
  void submit(const std::string& name, std::int64_t cores, int hours_long) {
    auto job = cluster.job(name, 1, cores);
    job.spec.costStrategy = "PrivateFirst";
    job.spec.expectedDuration = std::chrono::hours(hours_long);
    job.spec.checkpoint.intervalSteps = 1;
    cluster.create(job);
    cluster.pass();
  }
  api::TrainingJob job(const std::string& name) { return cluster.get<api::TrainingJob>(name); }
  void let_run(const std::string& name) {
    const auto member = member_name(name, job(name).status.epoch, 0);
    cluster.set_phase(member, "Prepared");
    cluster.set_phase(member, "Running");
    ASSERT_EQ(job(name).status.phase, "Running");
  }
  // A step of an hour's work, kept in a checkpoint.
  void hour(const std::vector<std::string>& running) {
    cluster.pass(1h);
    for (const auto& name : running) {
      const auto member = member_name(name, job(name).status.epoch, 0);
      cluster.set_status<api::Allocation>(member, [](auto& a) {
        auto& s = a.status;
        s.runSeconds += 3600;
        if (s.firstStep < 0) s.firstStep = a.spec.process->resume.step + 1;
        s.step = s.step < 0 ? s.firstStep : s.step + 1;
        s.checkpoint.step = s.step;
        s.checkpoint.phase = "Durable";
      });
    }
    cluster.pass();
  }
  void end(const std::string& name) {
    cluster.set_phase(member_name(name, job(name).status.epoch, 0), "Succeeded");
    cluster.pass();
  }

  Cluster cluster;
};

TEST_F(DriftTest, private_capacity_is_taken_first_though_it_waits_for_it_a_while) {
  submit("first", 48, 1);
  ASSERT_EQ(job("first").status.site, "hq");
  let_run("first");
  // 64 cores for 40 hours are worth 160 device hours, more than 12 hours of waiting.
  submit("second", 64, 40);
  const auto waits = job("second");
  EXPECT_EQ(waits.status.phase, "Pending");
  EXPECT_THAT(to_text(waits.status.explanation), HasSubstr("plan.held_back"));
  EXPECT_THAT(to_text(waits.status.explanation),
              HasSubstr("stays with private capacity: a place is expected at"));
  hour({"first"});
  end("first");
  EXPECT_EQ(job("second").status.site, "hq");
}

TEST_F(DriftTest, a_burst_goes_out_comes_home_and_stays) {
  submit("long", 48, 6);
  let_run("long");
  submit("wide", 64, 70);  // worth 21 h; the place comes in 6
  ASSERT_EQ(job("wide").status.phase, "Pending");
  submit("burst", 32, 40);  // worth 6 h, and it would wait for both
  const auto out = job("burst");
  ASSERT_EQ(out.status.site, "cloud") << out.status.message;
  EXPECT_THAT(out.status.message, HasSubstr("goes out"));
  let_run("burst");
  for (int i = 0; i < 3; ++i) hour({"long", "burst"});
  EXPECT_EQ(job("burst").status.epoch, 1) << "there is no private room";
  cluster.set_spec<api::TrainingJob>("wide", [](auto& j) { j.spec.suspend = true; });
  end("long");
  cluster.pass(2min);
  const auto leaves = job("burst");
  ASSERT_EQ(leaves.status.phase, "Draining") << leaves.status.message;
  EXPECT_THAT(leaves.status.message, HasSubstr("moves home to hq from cloud"));
  submit("late", 64, 150);  // worth 45 h
  EXPECT_EQ(job("late").status.phase, "Pending") << "the place at home is held";
  cluster.set_phase("burst-e1-0", "Released");
  cluster.pass();
  const auto home = job("burst");
  ASSERT_EQ(home.status.site, "hq") << home.status.message;
  EXPECT_EQ(home.status.runs.front().reason, "Moved");
  EXPECT_EQ(home.status.interruptions, 0);
  let_run("burst");
  cluster.set_spec<api::TrainingJob>("late", [](auto& j) { j.spec.suspend = true; });
  for (int i = 0; i < 10; ++i) hour({"burst"});
  EXPECT_EQ(job("burst").status.epoch, 2) << "it does not flap";
}

TEST_F(DriftTest, short_work_that_would_wait_goes_out_at_once_and_what_is_nearly_done_stays_there) {
  submit("long", 64, 30);
  let_run("long");
  submit("short", 16, 2);
  ASSERT_EQ(job("short").status.site, "cloud");
  let_run("short");
  hour({"long", "short"});
  end("long");
  cluster.pass(5min);
  EXPECT_EQ(job("short").status.epoch, 1) << "what is left is not worth the move";
}

}  // namespace
}  // namespace neap::controllers
