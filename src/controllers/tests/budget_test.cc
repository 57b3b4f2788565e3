// Budgets and queues: what is admitted, what is said, and what stops.
#include <random>

#include "internal/placement.h"
#include "neap/controllers/metering.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

constexpr std::int64_t kCoreHour = 500'000;

api::Site priced_site(const std::string& name, api::CapacityType type) {
  api::Site site;
  site.metadata.name = name;
  site.spec.tier = api::Tier::kPublic;
  site.spec.jurisdiction = "DE";
  site.spec.prices = {
      {.capacityType = type, .perCoreHour = {kCoreHour}, .perGiBHour = {}, .perAcceleratorHour = {}}};
  return site;
}

api::Budget budget_of(std::string limit, std::vector<api::BudgetStep> ladder = {}) {
  api::Budget budget;
  budget.metadata.name = "monthly";
  budget.metadata.namespace_ = "default";
  budget.spec.limit = std::move(limit);
  budget.spec.ladder = std::move(ladder);
  return budget;
}

class BudgetTest : public ::testing::Test {
 protected:
  BudgetTest() {
    cluster.create(priced_site("cloud", api::CapacityType::kOnDemand));
    cluster.add_node("vm-1", "cloud", 16);
    cluster.set_spec<api::Node>("vm-1", [](auto& n) { n.spec.capacityType = api::CapacityType::kOnDemand; });
    cluster.renew("vm-1", "2026-01-01T00:00:00Z");
  }
  // 2 cores for an hour: 1.0.
  api::TrainingJob hour_job(const std::string& name) {
    auto job = cluster.job(name, 1, 2);
    job.spec.expectedDuration = std::chrono::hours(1);
    return job;
  }
  void let_run(const std::string& job) {
    const auto member = job + "-e1-0";
    cluster.set_phase(member, "Prepared");
    cluster.set_phase(member, "Running");
    ASSERT_EQ(cluster.get<api::TrainingJob>(job).status.phase, "Running");
  }
  void keep_leases() { cluster.renew("vm-1", fmt::format("2026-01-01T00:00:{:02}Z", ++renewals_ % 60)); }
  JsonArray events() {
    const client::ResourcePath path{.group = "",
                                    .version = "v1",
                                    .plural = "events",
                                    .namespace_ = "default",
                                    .name = {},
                                    .subresource = {}};
    const auto list = cluster.wait(cluster.client().list({}, path, {}));
    EXPECT_TRUE(list) << list.error().to_string();
    return list ? list->at("items").get_array() : JsonArray{};
  }
  api::Budget budget() { return cluster.get<api::Budget>("monthly"); }

  Cluster cluster;
  int renewals_ = 0;
};

TEST_F(BudgetTest, two_jobs_of_one_pass_do_not_both_get_what_is_left_for_one) {
  cluster.create(budget_of("1.5"));
  cluster.create(hour_job("first"));
  cluster.create(hour_job("second"));
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("first").status.phase, "Reserved");
  const auto second = cluster.get<api::TrainingJob>("second");
  EXPECT_EQ(second.status.phase, "Pending");
  EXPECT_THAT(to_text(second.status.explanation), ::testing::HasSubstr("budget monthly"));
  EXPECT_THAT(to_text(second.status.explanation), ::testing::HasSubstr("1.000000 committed"));
  EXPECT_THAT(to_text(second.status.explanation), ::testing::HasSubstr("raise budget monthly by"));
  EXPECT_EQ(budget().status.committed, "1.000000");
  EXPECT_EQ(budget().status.percentUsed, 66);
  EXPECT_EQ(budget().status.action, "none");
  cluster.set_spec<api::Budget>("monthly", [](auto& b) { b.spec.limit = "2"; });
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("second").status.phase, "Reserved");
}

TEST_F(BudgetTest, work_without_a_duration_counts_to_the_periods_end_under_a_hard_budget_only) {
  cluster.create(budget_of("2"));
  cluster.create(cluster.job("endless", 1, 2));
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("endless").status.phase, "Pending");
  cluster.set_spec<api::Budget>("monthly", [](auto& b) { b.spec.hard = false; });
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("endless").status.phase, "Reserved");
  EXPECT_EQ(budget().status.committed, "1.000000");
}

TEST_F(BudgetTest, pause_stops_what_has_a_durable_checkpoint_and_nothing_else) {
  cluster.create(budget_of("10", {{.percent = 90, .action = api::BudgetAction::kPause}}));
  cluster.create(hour_job("saved"));
  cluster.create(hour_job("unsaved"));
  cluster.pass();
  let_run("saved");
  let_run("unsaved");
  cluster.set_status<api::Allocation>("saved-e1-0", [](auto& a) {
    a.status.checkpoint.step = 40;
    a.status.checkpoint.phase = "Durable";
  });
  keep_leases();
  cluster.pass();
  EXPECT_EQ(cluster.get<api::Allocation>("saved-e1-0").spec.desired, "Run");
  cluster.spending().amount = MoneyMicros{8'500'000};
  keep_leases();
  cluster.pass(5s);
  EXPECT_EQ(budget().status.action, "pause");
  EXPECT_EQ(cluster.get<api::Allocation>("saved-e1-0").spec.desired, "Stop");
  EXPECT_EQ(cluster.get<api::Allocation>("unsaved-e1-0").spec.desired, "Run");
  EXPECT_EQ(cluster.get<api::TrainingJob>("unsaved").status.phase, "Running");
  cluster.set_phase("saved-e1-0", "Released");
  EXPECT_EQ(cluster.get<api::TrainingJob>("saved").status.phase, "Pending") << "nothing new is admitted";
  const auto told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(to_text(told[0]), ::testing::HasSubstr("action pause"));
  keep_leases();
  cluster.set_spec<api::Budget>("monthly", [](auto& b) { b.spec.limit = "100"; });
  cluster.pass(5s);
  EXPECT_EQ(cluster.get<api::TrainingJob>("saved").status.phase, "Reserved");
}

TEST_F(BudgetTest, spot_only_buys_no_more_on_demand_capacity) {
  cluster.create(budget_of("10", {{.percent = 50, .action = api::BudgetAction::kSpotOnly}}));
  cluster.spending().amount = MoneyMicros{6'000'000};
  cluster.create(hour_job("dear"));
  cluster.pass();
  const auto job = cluster.get<api::TrainingJob>("dear");
  EXPECT_EQ(job.status.phase, "Pending");
  EXPECT_THAT(to_text(job.status.explanation), ::testing::HasSubstr("no longer bought"));
  EXPECT_EQ(budget().status.action, "spot-only");
  cluster.set_spec<api::Site>("cloud",
                              [](auto& s) { s.spec.prices[0].capacityType = api::CapacityType::kSpot; });
  cluster.set_spec<api::Node>("vm-1", [](auto& n) { n.spec.capacityType = api::CapacityType::kSpot; });
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("dear").status.phase, "Reserved");
}

TEST_F(BudgetTest, cheaper_accelerator_waits_for_the_cheapest_that_would_do_and_bills_what_it_got) {
  cluster.set_spec<api::Site>("cloud", [](auto& s) {
    s.spec.prices[0].capacityType = api::CapacityType::kSpot;
    s.spec.prices[0].perAcceleratorHour = {{"A100", {3'000'000}}, {"T4", {400'000}}};
  });
  for (const auto& [name, model] : {std::pair{"gpu-a100", "A100"}, {"gpu-t4", "T4"}}) {
    cluster.add_node(name, "cloud", 8);
    cluster.set_spec<api::Node>(name, [](auto& n) { n.spec.capacityType = api::CapacityType::kSpot; });
    cluster.set_status<api::Node>(name, [&](auto& n) {
      n.status.capacity.accelerators = n.status.allocatable.accelerators = {{model, {1000}}};
    });
  }
  cluster.create(budget_of("100", {{.percent = 50, .action = api::BudgetAction::kCheaperAccelerator}}));
  cluster.spending().amount = MoneyMicros{60'000'000};
  auto job = hour_job("learns");
  job.spec.resources.accelerators = {{"A100", {1000}}};
  cluster.create(job);
  cluster.pass();
  const auto waits = cluster.get<api::TrainingJob>("learns");
  EXPECT_EQ(waits.status.phase, "Pending");
  EXPECT_THAT(to_text(waits.status.explanation), ::testing::HasSubstr("the work names no other model"));
  EXPECT_THAT(to_text(waits.status.explanation), ::testing::HasSubstr("allow T4 as well"));
  EXPECT_EQ(budget().status.action, "cheaper-accelerator");
  cluster.set_spec<api::TrainingJob>("learns", [](auto& j) { j.spec.acceleratorAlternatives = {"T4"}; });
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("learns").status.phase, "Reserved");
  const auto member = cluster.get<api::Allocation>("learns-e1-0");
  EXPECT_EQ(member.spec.node, "gpu-t4");
  EXPECT_TRUE(member.spec.resources.accelerators.contains("T4")) << "what it holds is what is billed";
  EXPECT_EQ(budget().status.committed, "1.400000") << "two cores and a T4 for an hour";
}

TEST_F(BudgetTest, lower_concurrency_starts_one_job_beside_another_and_elastic_gangs_at_their_least) {
  cluster.create(budget_of("100", {{.percent = 50, .action = api::BudgetAction::kLowerConcurrency}}));
  cluster.set_spec<api::Site>("cloud",
                              [](auto& s) { s.spec.prices[0].capacityType = api::CapacityType::kSpot; });
  cluster.set_spec<api::Node>("vm-1", [](auto& n) { n.spec.capacityType = api::CapacityType::kSpot; });
  cluster.spending().amount = MoneyMicros{60'000'000};
  auto gang = cluster.job("gang", 4, 2);
  gang.spec.minReplicas = 2;
  gang.spec.expectedDuration = std::chrono::hours(1);
  cluster.create(gang);
  cluster.create(hour_job("next"));
  cluster.create(hour_job("third"));
  cluster.pass();
  const auto smaller = cluster.get<api::TrainingJob>("gang");
  ASSERT_EQ(smaller.status.phase, "Reserved");
  EXPECT_EQ(smaller.status.runs.back().nodes.size(), 2u);
  EXPECT_THAT(to_text(smaller.status.explanation), ::testing::HasSubstr("starts with 2 of its 4 replicas"));
  EXPECT_EQ(cluster.get<api::TrainingJob>("next").status.phase, "Reserved");
  const auto third = cluster.get<api::TrainingJob>("third");
  EXPECT_EQ(third.status.phase, "Pending");
  EXPECT_THAT(to_text(third.status.explanation),
              ::testing::HasSubstr("2 jobs of project default hold a place"));
  EXPECT_THAT(to_text(third.status.explanation), ::testing::HasSubstr("wait until 1 of the 2 jobs"));
  let_run("next");
  keep_leases();
  cluster.set_phase("next-e1-0", "Succeeded");
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("third").status.phase, "Reserved");
}

TEST_F(BudgetTest, a_budget_that_cannot_be_judged_keeps_work_waiting_and_says_why) {
  auto budget = budget_of("10");
  budget.spec.currency = "CNY";
  cluster.create(budget);
  cluster.create(hour_job("waits"));
  cluster.pass();
  const auto job = cluster.get<api::TrainingJob>("waits");
  EXPECT_EQ(job.status.phase, "Pending");
  EXPECT_THAT(job.status.message, ::testing::HasSubstr("it is in CNY"));
  EXPECT_THAT(cluster.get<api::Budget>("monthly").status.message, ::testing::HasSubstr("not kept"));
  cluster.set_spec<api::Budget>("monthly", [](auto& b) { b.spec.currency = "USD"; });
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("waits").status.phase, "Reserved");
  ASSERT_EQ(cluster.get<api::Budget>("monthly").status.action, "none");
  cluster.set_spec<api::Budget>("monthly", [](auto& b) { b.spec.currency = "EUR"; });
  cluster.pass();
  EXPECT_THAT(cluster.get<api::Budget>("monthly").status.message, ::testing::HasSubstr("it is in EUR"));
  const auto told = events();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(get_string(told[0].at("metadata"), "name").starts_with("monthly.not-kept."));
}

TEST_F(BudgetTest, a_queue_holds_no_more_than_its_quota_over_all_projects_and_says_so) {
  api::Queue queue;
  queue.metadata.name = "night";
  queue.spec.quota.cpu = MilliCores{3000};
  cluster.create(queue);
  for (const auto* name : {"one", "two"}) {
    auto job = hour_job(name);
    job.spec.queue = "night";
    cluster.create(job);
  }
  cluster.create(hour_job("elsewhere"));
  cluster.pass();
  EXPECT_EQ(cluster.get<api::TrainingJob>("one").status.phase, "Reserved");
  EXPECT_EQ(cluster.get<api::TrainingJob>("elsewhere").status.phase, "Reserved");
  const auto two = cluster.get<api::TrainingJob>("two");
  EXPECT_EQ(two.status.phase, "Pending");
  EXPECT_THAT(to_text(two.status.explanation), ::testing::HasSubstr("queue night: asks 2"));
  EXPECT_THAT(to_text(two.status.explanation), ::testing::HasSubstr("raise the quota of queue night"));
  const auto seen = cluster.get<api::Queue>("night");
  EXPECT_EQ(seen.status.used.cpu.value, 2000);
  EXPECT_EQ(seen.status.running, 1);
  EXPECT_EQ(seen.status.waiting, 1);
}

// Random work on simulated days, billed by the real metering; placed, promised and held at random moments.
class SpendingProperty : public ::testing::TestWithParam<unsigned> {
 protected:
  static constexpr Duration kTick = std::chrono::minutes(5);
  SpendingProperty() : machine_(world_.add_machine("hq")), client_(machine_.runtime()), random_(GetParam()) {
    state_.all<api::Site>()[{"", "cloud"}] = priced_site("cloud", api::CapacityType::kOnDemand);
    api::Node node;
    node.metadata.name = "vm-1";
    node.spec.site = "cloud";
    node.spec.capacityType = api::CapacityType::kOnDemand;
    node.status.allocatable.cpu = MilliCores{64'000};
    node.status.allocatable.memory = Bytes{64LL << 30};
    node.status.conditions = {{.type = "Ready", .status = "True", .reason = "AgentRuns"}};
    state_.all<api::Node>()[{"", "vm-1"}] = node;
    auto budget = budget_of("20");
    budget.spec.period = "day";
    state_.all<api::Budget>()[{"default", "monthly"}] = budget;
  }
  int roll(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  Pass pass() {
    return {machine_.runtime(), client_, publisher_, decisions_, options_, state_, reserved_, {}, &metering_};
  }
  Duration left_of_day() {
    const auto now = machine_.runtime().clock().wall();
    return std::chrono::duration_cast<Duration>(finops::compute_period(finops::BudgetPeriod::kDay, now).end -
                                                now);
  }
  void submit() {
    api::TrainingJob job;
    job.metadata.name = fmt::format("job-{}", ++jobs_);
    job.metadata.namespace_ = "default";
    job.spec.resources.cpu = MilliCores{roll(1, 4) * 500};
    const Duration runs = std::min<Duration>(std::chrono::minutes(roll(1, 400)), left_of_day());
    if (roll(0, 3) > 0) job.spec.expectedDuration = runs;
    state_.all<api::TrainingJob>()[key_of(job)] = job;
    const auto placed = place_job(pass(), job, {});
    if (!placed.placed) {
      ++refused_;
      return;
    }
    ++placed_;
    api::Allocation member;
    member.metadata.name = member_name(job.metadata.name, 1, 0);
    member.metadata.uid = member.metadata.name;
    member.metadata.namespace_ = "default";
    member.spec.node = placed.nodes.front();
    member.spec.site = "cloud";
    member.spec.ownerKind = "TrainingJob";
    member.spec.ownerName = job.metadata.name;
    member.spec.resources = job.spec.resources;
    member.status.phase = "Reserved";
    runs_[key_of(member)] = runs;
    reserved_.add(key_of(member), {.node = "vm-1",
                                   .owner = "TrainingJob/default/" + job.metadata.name,
                                   .resources = job.spec.resources,
                                   .made = {}});
    promised_.push_back(std::move(member));
  }
  void tick() {
    world_.run_for(kTick);
    for (const auto& [key, seen] : state_.all<api::Allocation>()) {
      if (is_ended(seen)) continue;
      auto& member = state_.all<api::Allocation>()[key];
      member.status.phase = "Running";
      const double until = to_seconds(runs_.at(key));
      member.status.runSeconds = std::min(until, member.status.runSeconds + to_seconds(kTick));
      if (member.status.runSeconds >= until) member.status.phase = "Succeeded";
    }
    std::erase_if(promised_, [&](const auto& member) {
      if (roll(0, 1) == 0) return false;
      state_.all<api::Allocation>()[key_of(member)] = member;
      return true;
    });
    reserved_.settle(state_, {});
    if (roll(0, 2) == 0) return;  // bills late
    std::optional<Status> billed;
    TaskGroup group(machine_.runtime().executor());
    group.spawn([](Task<Status> task, std::optional<Status>& out) -> Task<void> {
      out.emplace(co_await std::move(task));
    }(metering_.bill_allocations(state_), billed));
    world_.run_for(std::chrono::seconds(1), [&] { return billed && group.running() == 0; });
    ASSERT_TRUE(billed && *billed);
  }

  io::SimWorld world_{5};
  io::SimMachine& machine_;
  client::FakeResourceClient client_;
  NoPublisher publisher_;
  const RecordSink decisions_ = [](Json) -> Task<Status> { co_return ok(); };
  Options options_;
  ClusterState state_;
  Reservations reserved_;
  Metering metering_{[](Json) -> Task<Status> { co_return ok(); }, machine_.runtime().clock()};
  std::mt19937 random_;
  std::vector<api::Allocation> promised_;
  std::map<ObjectKey, Duration> runs_;
  int jobs_ = 0, placed_ = 0, refused_ = 0;
};

TEST_P(SpendingProperty, no_day_spends_more_than_a_hard_budget) {
  for (int i = 0; i < 2 * 24 * 12; ++i) {
    if (roll(0, 2) == 0) submit();
    ASSERT_NO_FATAL_FAILURE(tick());
    const auto now = machine_.runtime().clock().wall();
    const auto day = finops::compute_period(finops::BudgetPeriod::kDay, now);
    ASSERT_LE(metering_.spent("default", day.start, day.end).value, 20'000'000) << "tick " << i;
  }
  EXPECT_GT(placed_, 5);
  EXPECT_GT(refused_, 5);
}
INSTANTIATE_TEST_SUITE_P(Seeds, SpendingProperty, ::testing::Range(1u, 13u));

}  // namespace
}  // namespace neap::controllers
