// The tide over simulated days: a job works at night on what a service does not need, and the service never
// has less than it needs.
#include <cmath>
#include <set>

#include "internal/tide.h"
#include "neap/scheduler/plan.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::InferenceService;
using api::TrainingJob;
using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using ::testing::HasSubstr;

TEST(PlaceDemand, keeps_steps_of_five_minutes_for_two_weeks_and_over_restarts) {
  PlaceDemand demand;
  const WallTime begin{days(20000)};
  for (int minute = 0; minute < 16 * 24 * 60; ++minute)
    demand.observe(begin + minutes(minute), minute % 1440 < 600 ? 1.5 : 4);
  EXPECT_LE(demand.history().peak.size(), PlaceDemand::kStepsMax);
  EXPECT_GE(demand.history().peak.size(), PlaceDemand::kStepsMax - 288);
  ASSERT_TRUE(demand.forecast());
  EXPECT_TRUE(demand.forecast()->is_ready());
  PlaceDemand again;
  ASSERT_TRUE(again.restore(demand.text()));
  EXPECT_EQ(again.history().start, demand.history().start);
  EXPECT_EQ(again.history().peak, demand.history().peak);
  EXPECT_EQ(again.text(), demand.text());
  // A server that was away for three hours takes the day before for them.
  const auto before = again.history().peak.size();
  const auto later = begin + days(16) + hours(3);
  again.observe(later, 1.5);
  again.observe(later + minutes(5), 1.5);
  EXPECT_EQ(again.history().start + PlaceDemand::kStep * std::int64_t(again.history().peak.size()),
            later + minutes(5));
  EXPECT_LE(again.history().peak.size(), PlaceDemand::kStepsMax);
  EXPECT_GE(again.history().peak.size(), before + 37 - 288);
  for (const auto* bad : {"", "now", "2026-01-01T00:00:00Z 5m !!", "2026-01-01T00:01:00Z 5m AAA=",
                          "1700-01-01T00:00:00Z 5m AAA=", "2261-01-01T00:00:00Z 5m AAA="})
    EXPECT_FALSE(PlaceDemand().restore(bad)) << bad;
}

class TideTest : public ::testing::Test {
 protected:
  TideTest() : cluster(Options{.tick = 30s, .settle = 20ms, .resync = 10min}) {}
  void SetUp() override {
    cluster.add_site("hq");
    for (const auto* node : {"g1", "g2", "g3"}) {
      cluster.add_node(node, "hq", 8);
      cluster.set_status<api::Node>(
          node, [](auto& n) { n.status.allocatable.accelerators["A100"] = MilliAccelerators{2000}; });
    }
    api::ModelVersion version;
    version.metadata.name = "v1";
    version.metadata.namespace_ = "default";
    version.spec.model = "inspector";
    version.spec.repository = "default/inspector";
    version.spec.manifestDigest = "sha256:" + std::string(64, '1');
    version.spec.file = "model.onnx";
    version.spec.level = api::DataLevel::kL3;
    cluster.create(version);
    InferenceService service;
    service.metadata.name = "inspect";
    service.metadata.namespace_ = "default";
    service.spec.model = "inspector";
    service.spec.modelVersion = "v1";
    service.spec.places = {{.site = "hq", .replicas = 6, .role = "active", .minReplicas = 2}};
    service.spec.resources.cpu = MilliCores{1000};
    service.spec.resources.accelerators["A100"] = MilliAccelerators{1000};
    service.spec.limits.maxConcurrency = 10;
    service.spec.tide = api::TideSpec{.takeBack = minutes(15), .reserve = 1};
    cluster.create(service);
    began_ = cluster.runtime().clock().wall();
  }
  // Replicas needed: one at night, five by day, an hour and a half between.
  static double needed(WallTime at) {
    const double hour = double((at.time_since_epoch() % days(1)) / minutes(1)) / 60;
    if (hour < 6.5 || hour >= 21.5) return 1;
    if (hour < 8) return 1 + 4 * (hour - 6.5) / 1.5;
    if (hour < 20) return 5;
    return 5 - 4 * (hour - 20) / 1.5;
  }
  WallTime now() { return cluster.runtime().clock().wall(); }
  const ClusterState& state() { return cluster.loop().state(); }
  int answering() {
    int out = 0;
    for (const auto& [key, a] : state().all<Allocation>())
      out += a.spec.ownerKind == "InferenceService" && a.status.phase == "Running" ? 1 : 0;
    return out;
  }
  int working() {
    int out = 0;
    for (const auto& [key, a] : state().all<Allocation>())
      out += a.spec.ownerKind == "TrainingJob" && a.status.phase == "Running" ? 1 : 0;
    return out;
  }
  // The agents: whatever is asked takes them two minutes.
  void act(const Allocation& a) {
    const auto& name = a.metadata.name;
    if (is_ended(a)) return;
    const auto since = seen_.try_emplace(name + a.metadata.uid + a.spec.desired + a.status.phase, now());
    const bool is_time = now() - since.first->second >= minutes(2);
    std::string next = a.status.phase;
    if (a.spec.desired == "Stop")
      next = is_time ? "Released" : next;
    else if (a.spec.serve)
      next = a.status.phase == "Reserved" && is_time ? "Running" : next;
    else if (a.status.phase == "Reserved")
      next = "Prepared";
    else if (a.status.phase == "Prepared" && a.spec.committedEpoch == a.spec.epoch)
      next = "Running";
    const double concurrency =
        std::round(needed(now()) * 100 / std::max(1, answering())) / 10;  // ten are one replica
    const auto* told = find_path(a.status.metrics, {"concurrency"});
    const bool is_new =
        a.spec.serve && a.status.phase == "Running" && (!told || told->to_number<double>() != concurrency);
    if (next == a.status.phase && !is_new) return;
    cluster.set_status<Allocation>(name, [&](auto& one) {
      one.status.phase = next;
      if (one.spec.serve && next == "Running") {
        one.status.servingVersion = "v1";
        one.status.metrics = JsonObject{{"concurrency", concurrency}};
      } else if (next == "Released" && one.spec.process) {
        one.status.checkpoint = {.step = 1000 * one.spec.epoch,
                                 .digest = "sha256:" + std::string(64, 'a'),
                                 .phase = "Durable",
                                 .size = {1}};
      }
    });
  }
  void pass_time(Duration time, const std::function<void()>& each = {}) {
    for (const auto end = now() + time; now() < end;) {
      std::vector<Allocation> all;
      for (const auto& [key, a] : state().all<Allocation>()) all.push_back(a);
      for (const auto& a : all) act(a);
      cluster.pass(minutes(1));
      if (each) each();
    }
  }
  void pass_until(Duration since_begin, const std::function<void()>& each = {}) {
    pass_time(began_ + since_begin - now(), each);
  }
  InferenceService service() { return cluster.get<InferenceService>("inspect"); }
  TrainingJob job() { return cluster.get<TrainingJob>("night"); }
  std::vector<std::string> events(const std::string& reason) {
    const client::ResourcePath path{.group = "",
                                    .version = "v1",
                                    .plural = "events",
                                    .namespace_ = "default",
                                    .name = {},
                                    .subresource = {}};
    std::vector<std::string> out;
    const auto list = cluster.wait(cluster.client().list({}, path, {}));
    EXPECT_TRUE(list);
    for (const auto& item : list->at("items").get_array())
      if (get_string(item, "reason") == reason) out.emplace_back(get_string(item, "message"));
    return out;
  }

  Cluster cluster;
  WallTime began_{};
  std::map<std::string, WallTime> seen_;
};

TEST_F(TideTest, a_job_works_at_night_on_lent_accelerators_and_is_gone_before_the_morning) {
  pass_until(minutes(30));
  ASSERT_EQ(answering(), 6);
  auto asked = cluster.job("night", 3, 1);
  asked.spec.resources.accelerators["A100"] = MilliAccelerators{1000};
  cluster.create(asked);
  double least_spare = 100;
  int most_working = 0;
  const auto watch = [&] {
    least_spare = std::min(least_spare, answering() - needed(now()));
    most_working = std::max(most_working, working());
  };
  // Two days of learning: whatever waits, nothing is lent.
  pass_until(days(2), watch);
  EXPECT_EQ(most_working, 0);
  EXPECT_EQ(answering(), 6);
  EXPECT_THAT(to_text(service().status.explanation), HasSubstr("of 2 full days of demand are known"));

  pass_until(days(2) + hours(3), watch);
  EXPECT_EQ(working(), 3) << job().status.message << to_text(service().status.explanation);
  EXPECT_EQ(answering(), 3);
  const auto lending = service();
  ASSERT_EQ(lending.status.loans.size(), 3u);
  EXPECT_EQ(lending.status.loans[0].job, "default/night");
  ASSERT_TRUE(lending.status.loans[0].until);
  EXPECT_GT(*lending.status.loans[0].until, began_ + days(2) + hours(4));
  EXPECT_LT(*lending.status.loans[0].until, began_ + days(2) + hours(7));
  EXPECT_THAT(to_text(lending.status.explanation),
              HasSubstr("lends 3 replicas at hq to default/night until"));
  EXPECT_THAT(scheduler::render_explanation(lending.status.explanation), HasSubstr("tide: lends 3 replicas"));

  // A server that starts anew knows what it had learned.
  cluster.start();
  pass_until(days(2) + hours(9), watch);
  EXPECT_EQ(working(), 0);
  EXPECT_EQ(answering(), 6);
  EXPECT_TRUE(service().status.loans.empty());
  EXPECT_TRUE(service().status.nominations.empty());
  EXPECT_EQ(job().status.phase, "Pending");
  EXPECT_EQ(job().status.runs.at(0).reason, "Preempted");
  EXPECT_THAT(to_text(service().status.explanation), HasSubstr("lends nothing now"));

  pass_until(days(3) + hours(3), watch);
  EXPECT_EQ(working(), 3) << "and the next night again";
  const auto nights = job().status.runs.size();
  EXPECT_GE(nights, 2u);
  for (int i = 0; i < 3; ++i)
    cluster.set_status<Allocation>(fmt::format("night-e{}-{}", nights, i),
                                   [](auto& a) { a.status.phase = "Succeeded"; });
  pass_time(minutes(10), watch);
  EXPECT_EQ(job().status.phase, "Succeeded");
  EXPECT_EQ(answering(), 6) << "what no job uses goes back at once";
  EXPECT_TRUE(service().status.loans.empty());
  EXPECT_GE(least_spare, 0) << "the service was short of replicas";
  EXPECT_EQ(most_working, 3);
  EXPECT_EQ(events("Lends").size(), nights);
  EXPECT_FALSE(events("TakesBack").empty());
  EXPECT_EQ(events("RunsOnLoan").size(), nights);
}

TEST_F(TideTest, a_job_that_fits_gets_its_loan_however_many_before_it_fit_nothing) {
  pass_until(days(2) + hours(1));
  for (int i = 0; i < 11; ++i) {
    auto misfit = cluster.job(fmt::format("misfit-{:02}", i), 1, 1);
    misfit.spec.resources.accelerators["H200"] = MilliAccelerators{1000};
    cluster.create(misfit);
  }
  cluster.pass(minutes(1));
  auto asked = cluster.job("night", 3, 1);
  asked.spec.resources.accelerators["A100"] = MilliAccelerators{1000};
  cluster.create(asked);
  pass_time(minutes(30));
  EXPECT_EQ(working(), 3) << job().status.message << to_text(service().status.explanation);
  ASSERT_FALSE(service().status.loans.empty());
  EXPECT_EQ(service().status.loans[0].job, "default/night");
}

TEST(TideHistory, has_a_name_of_its_own_however_long_the_service_s_is) {
  EXPECT_EQ(tide_history_name("inspect"), "neap-tide-inspect");
  EXPECT_EQ(tide_history_name(std::string(243, 'a')), "neap-tide-" + std::string(243, 'a'));
  std::set<std::string> seen;
  for (const auto& name : {std::string(253, 'a'), std::string(252, 'a') + "b", std::string(244, 'a'),
                           std::string(225, 'a') + "." + std::string(27, 'b'),
                           std::string(224, 'a') + "-." + std::string(27, 'b'),
                           std::string(226, 'a') + ".c" + std::string(25, 'd')}) {
    const auto given = tide_history_name(name);
    EXPECT_LE(given.size(), 253u);
    EXPECT_EQ(given, tide_history_name(name));
    EXPECT_TRUE(seen.insert(given).second) << given;
    Json map{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", given}}}};
    EXPECT_EQ(api::to_sentences(api::KindTable::standard().find("", "v1", "configmaps")->validate(map)), "")
        << given;
  }
}

TEST_F(TideTest, what_must_not_be_interrupted_gets_nothing_on_loan) {
  auto asked = cluster.job("night", 1, 1);
  asked.spec.resources.accelerators["A100"] = MilliAccelerators{1000};
  asked.spec.interruption = api::InterruptionClass::kNever;
  pass_until(minutes(30));
  cluster.create(asked);
  int most_working = 0;
  pass_until(days(2) + hours(4), [&] { most_working = std::max(most_working, working()); });
  EXPECT_EQ(most_working, 0);
  EXPECT_TRUE(service().status.loans.empty());
}

}  // namespace
}  // namespace neap::controllers
