// Deadlines in the server, on simulated time: the test plays agents and a cloud that takes spot away.
#include <random>

#include "internal/reconciler.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kStepSeconds = 60;

class DeadlineTest : public ::testing::Test {
 protected:
  DeadlineTest() {
    api::Site site;
    site.metadata.name = "cloud";
    site.spec.tier = api::Tier::kPublic;
    site.spec.jurisdiction = "DE";
    for (const auto& [type, price] :
         {std::pair{api::CapacityType::kOnDemand, 1'000'000}, {api::CapacityType::kSpot, 300'000}})
      site.spec.prices.push_back(
          {.capacityType = type, .perCoreHour = {price}, .perGiBHour = {}, .perAcceleratorHour = {}});
    cluster.create(site);
    cluster.add_node("od-1", "cloud", 4);
    cluster.set_spec<api::Node>("od-1", [](auto& n) { n.spec.capacityType = api::CapacityType::kOnDemand; });
    cluster.add_node("spot-1", "cloud", 4);
    cluster.set_spec<api::Node>("spot-1", [](auto& n) { n.spec.capacityType = api::CapacityType::kSpot; });
    cluster.pass();
  }
  void submit(std::int64_t steps, Duration deadline) {
    auto job = cluster.job("train", 1, 4);
    job.spec.expectedDuration = std::chrono::seconds(steps * kStepSeconds);
    job.spec.checkpoint.intervalSteps = 5;
    job.spec.deadline = now() + std::chrono::duration_cast<WallTime::duration>(deadline);
    steps_ = steps;
    cluster.create(job);
    cluster.pass();
  }
  WallTime now() { return cluster.runtime().clock().wall(); }
  api::TrainingJob job() { return cluster.get<api::TrainingJob>("train"); }
  void offer_spot(bool is_there) {
    if (is_there == has_spot_) return;
    has_spot_ = is_there;
    cluster.set_status<api::Node>("spot-1", [&](auto& n) {
      n.status.conditions = {{.type = "Ready",
                              .status = is_there ? "True" : "Unknown",
                              .reason = is_there ? "AgentRuns" : "Gone"}};
    });
    const auto seen = cluster.find<api::TrainingJob>("train");
    if (is_there || !seen || seen->status.capacityType != "spot" || seen->status.epoch == 0) return;
    const auto name = member_name("train", seen->status.epoch, 0);
    if (const auto member = cluster.find<api::Allocation>(name); member && !is_ended(*member))
      cluster.set_status<api::Allocation>(name, [](auto& a) { a.status.phase = "Released"; });
  }
  // A minute of the agents' life.
  void minute() {
    const auto begin = now();
    const auto seen = job();
    const auto name = member_name("train", std::max<std::int64_t>(1, seen.status.epoch), 0);
    if (auto member = cluster.find<api::Allocation>(name); member && !is_ended(*member)) {
      if (member->status.phase == "Reserved") cluster.set_phase(name, "Prepared");
      member = cluster.find<api::Allocation>(name);
      if (member->status.phase == "Prepared" && member->spec.committedEpoch == seen.status.epoch)
        cluster.set_phase(name, "Running");
      else if (member->status.phase == "Running")
        cluster.set_status<api::Allocation>(name, [&](auto& a) { work(a); });
    }
    cluster.pass(std::max<Duration>(Duration{}, std::chrono::duration_cast<Duration>(
                                                    begin + std::chrono::seconds(kStepSeconds) - now())));
  }
  void work(api::Allocation& a) {
    auto& s = a.status;
    s.runSeconds += double(kStepSeconds);
    if (s.firstStep < 0) s.firstStep = a.spec.process->resume.step + 1;
    s.step = s.step < 0 ? s.firstStep : s.step + 1;
    (job().status.capacityType == "spot" ? on_spot_ : on_demand_) += 1;
    const bool stops = a.spec.desired == "Stop";
    if (stops || (s.step + 1) % 5 == 0) {
      s.checkpoint.step = s.step;
      s.checkpoint.phase = "Durable";
    }
    if (stops) s.phase = "Released";
    if (s.step + 1 >= steps_) s.phase = "Succeeded";
  }

  Cluster cluster;
  std::int64_t steps_ = 0;
  int on_spot_ = 0, on_demand_ = 0;
  bool has_spot_ = true;
};

TEST_F(DeadlineTest, a_job_says_until_when_it_may_stay_on_spot) {
  submit(60, std::chrono::hours(4));
  const auto placed = job();
  EXPECT_EQ(placed.status.capacityType, "spot");
  EXPECT_THAT(placed.status.message, HasSubstr("were it taken away and none came back, on-demand from "));
  EXPECT_THAT(to_text(placed.status.explanation), HasSubstr("keeps the deadline"));
}

TEST_F(DeadlineTest, without_time_for_a_reclaim_it_takes_what_nobody_takes_away) {
  submit(60, std::chrono::minutes(64));
  const auto placed = job();
  EXPECT_EQ(placed.status.capacityType, "on-demand");
  EXPECT_THAT(placed.status.message, HasSubstr("is sure to keep the deadline"));
}

TEST_F(DeadlineTest, it_waits_for_spot_as_long_as_on_demand_still_keeps_the_deadline) {
  offer_spot(false);
  cluster.pass(30s);
  submit(60, std::chrono::hours(6));
  auto waits = job();
  EXPECT_EQ(waits.status.phase, "Pending");
  EXPECT_THAT(waits.status.message, HasSubstr("waits for spot until"));
  for (int i = 0; i < 6 * 60 && job().status.phase != "Succeeded"; ++i) minute();
  const auto done = job();
  ASSERT_EQ(done.status.phase, "Succeeded") << done.status.message;
  EXPECT_LE(*done.status.finishedAt, *done.spec.deadline);
  EXPECT_EQ(on_spot_, 0);
}

TEST_F(DeadlineTest, any_place_is_taken_where_on_demand_has_no_room) {
  cluster.set_status<api::Node>("od-1", [](auto& n) { n.status.allocatable.cpu = MilliCores{1000}; });
  submit(60, std::chrono::minutes(66));
  EXPECT_EQ(job().status.capacityType, "spot");
}

TEST_F(DeadlineTest, work_that_must_not_be_interrupted_is_not_planned) {
  auto plain = cluster.job("plain", 1, 1);
  plain.spec.expectedDuration = std::chrono::hours(1);
  plain.spec.interruption = api::InterruptionClass::kNever;
  plain.spec.deadline = now() + std::chrono::hours(6);
  cluster.create(plain);
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("plain").status.capacityType, "on-demand");
}

class DeadlineProperty : public DeadlineTest, public ::testing::WithParamInterface<unsigned> {};

TEST_P(DeadlineProperty, no_reclaim_makes_a_job_late_that_could_be_in_time) {
  std::mt19937 random(GetParam());
  const auto roll = [&](int n) { return int(random() % unsigned(n)); };
  const std::int64_t steps = 90 + roll(40);
  submit(steps, std::chrono::seconds(steps * kStepSeconds + (20 + roll(60)) * 60));
  int left = 5 + roll(40);
  for (int i = 0; i < 300 && job().status.phase != "Succeeded"; ++i) {
    if (--left <= 0) {
      offer_spot(!has_spot_);
      left = 1 + roll(has_spot_ ? 40 : 15);
    }
    minute();
  }
  const auto done = job();
  ASSERT_EQ(done.status.phase, "Succeeded") << done.status.message;
  EXPECT_LE(*done.status.finishedAt, *done.spec.deadline)
      << done.status.runs.size() << " runs, " << on_spot_ << " minutes on spot, " << on_demand_
      << " on demand";
  EXPECT_GT(on_spot_, 0);
  RecordProperty("runs", int(done.status.runs.size()));
  RecordProperty("minutes_on_spot", on_spot_);
  RecordProperty("minutes_on_demand", on_demand_);
}
INSTANTIATE_TEST_SUITE_P(Seeds, DeadlineProperty, ::testing::Range(1u, 25u));

}  // namespace
}  // namespace neap::controllers
