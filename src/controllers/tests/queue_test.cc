// Queues through the control loop: who starts, who waits for what, and who gives back.
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::HasSubstr;

class QueueTest : public ::testing::Test {
 protected:
  QueueTest() {
    cluster.add_site("hq");
    for (const auto* node : {"n1", "n2"}) cluster.add_node(node, "hq", 8);
    keep_leases();
  }
  void keep_leases() {
    ++renewals_;
    for (const auto* node : {"n1", "n2"})
      cluster.renew(node, fmt::format("2026-01-01T{:02}:{:02}:00Z", renewals_ / 60 % 24, renewals_ % 60));
  }
  void pass_time(Duration time) {
    for (auto gone = Duration{}; gone < time; gone += 10s) {
      keep_leases();
      cluster.pass(10s);
    }
  }
  void add_queue(const std::string& name, std::int64_t cores, const std::string& parent = "all",
                 const std::function<void(api::QueueSpec&)>& change = {}) {
    api::Queue queue;
    queue.metadata.name = name;
    queue.spec.quota.cpu = MilliCores{cores * 1000};
    queue.spec.parent = parent;
    if (change) change(queue.spec);
    cluster.create(queue);
  }
  void add_job(const std::string& name, const std::string& queue, std::int64_t replicas, std::int64_t cores,
               Duration takes = {}) {
    auto job = cluster.job(name, replicas, cores);
    job.spec.queue = queue;
    job.spec.expectedDuration = takes;
    cluster.create(job);
    cluster.pass();
  }
  void let_run(const std::string& job, std::int64_t replicas = 1, std::int64_t epoch = 1) {
    for (const auto* phase : {"Prepared", "Running"})
      for (std::int64_t i = 0; i < replicas; ++i) {
        keep_leases();
        cluster.set_phase(member_of(job, i, epoch), phase);
      }
    ASSERT_EQ(phase_of(job), "Running");
  }
  static std::string member_of(const std::string& job, std::int64_t replica = 0, std::int64_t epoch = 1) {
    return fmt::format("{}-e{}-{}", job, epoch, replica);
  }
  std::string phase_of(const std::string& job) { return cluster.get<api::TrainingJob>(job).status.phase; }
  std::string why(const std::string& job) {
    const auto status = cluster.get<api::TrainingJob>(job).status;
    return status.message + to_text(status.explanation);
  }
  api::QueueStatus queue(const std::string& name) { return cluster.get<api::Queue>(name).status; }

  Cluster cluster;
  int renewals_ = 0;
};

TEST_F(QueueTest, one_team_borrows_all_and_the_other_gets_its_quota_back_from_a_checkpoint) {
  add_queue("all", 0, "");
  add_queue("vision", 8);
  add_queue("speech", 8);
  add_job("kept", "vision", 1, 8);
  add_job("borrowed", "vision", 1, 8);
  let_run("kept");
  let_run("borrowed");
  EXPECT_EQ(queue("vision").borrowed.cpu.value, 8000);
  EXPECT_EQ(queue("vision").sharePercent, 100);
  cluster.set_status<api::Allocation>(member_of("borrowed"), [](auto& a) {
    a.status.checkpoint = {
        .step = 40, .digest = "sha256:" + std::string(64, 'a'), .phase = "Durable", .size = {1}};
    a.status.firstStep = 0;
    a.status.step = 41;
  });
  cluster.set_status<api::Allocation>(member_of("kept"), [](auto& a) {
    a.status.firstStep = 0;
    a.status.step = 90;
  });
  keep_leases();
  cluster.pass();
  add_job("mine", "speech", 1, 8);
  EXPECT_EQ(phase_of("mine"), "Pending");
  EXPECT_THAT(why("mine"), HasSubstr("within its quota and lent to queue vision"));
  EXPECT_THAT(why("mine"), HasSubstr("waits until default/borrowed has stopped"));
  EXPECT_EQ(cluster.get<api::Allocation>(member_of("borrowed")).spec.desired, "Stop") << "it loses one step";
  EXPECT_EQ(cluster.get<api::Allocation>(member_of("kept")).spec.desired, "Run");
  EXPECT_THAT(why("borrowed"),
              HasSubstr("stops at checkpoint step 40: gives back what queue vision borrowed"));
  EXPECT_EQ(queue("speech").waitingFor.at("reclaim"), 1);
  const auto& told = cluster.decisions().back();
  EXPECT_EQ(told.at("object"), "trainingjob/default/borrowed");
  EXPECT_THAT(to_text(told), HasSubstr("job default/mine of queue speech has a right to it"));
  keep_leases();
  cluster.set_phase(member_of("borrowed"), "Released");
  EXPECT_EQ(phase_of("mine"), "Reserved");
  EXPECT_EQ(phase_of("borrowed"), "Pending");
  EXPECT_THAT(why("borrowed"), HasSubstr("queue vision: asks 8 cores"));
  let_run("mine");
  keep_leases();
  cluster.set_phase(member_of("mine"), "Succeeded");
  cluster.pass();
  ASSERT_EQ(phase_of("borrowed"), "Reserved");
  const auto again = cluster.get<api::Allocation>(member_of("borrowed", 0, 2));
  EXPECT_EQ(again.spec.process->resume.step, 40);
  let_run("borrowed", 1, 2);
}

TEST_F(QueueTest, nobody_is_stopped_in_vain) {
  add_queue("all", 0, "");
  add_queue("vision", 4);
  add_queue("speech", 12);
  add_job("small", "vision", 1, 6);
  let_run("small");
  // Within its quota, but no node has 12 cores however many stop.
  add_job("huge", "speech", 1, 12);
  pass_time(30s);
  EXPECT_EQ(phase_of("huge"), "Pending");
  EXPECT_EQ(phase_of("small"), "Running");
}

TEST_F(QueueTest, a_job_of_a_queue_that_does_not_exist_waits_and_says_so) {
  add_job("lost", "nowhere", 1, 1);
  EXPECT_EQ(phase_of("lost"), "Pending");
  EXPECT_THAT(why("lost"), HasSubstr("queue nowhere does not exist; create it"));
  add_queue("nowhere", 0, "");
  cluster.pass();
  EXPECT_EQ(phase_of("lost"), "Reserved");
}

TEST_F(QueueTest, a_queue_that_is_above_itself_lets_nothing_start_and_says_why) {
  add_queue("a", 4, "b");
  add_queue("b", 4, "a");
  add_job("stuck", "a", 1, 1);
  add_job("free", "", 1, 1);
  EXPECT_THAT(why("stuck"), HasSubstr("above itself"));
  EXPECT_THAT(queue("a").message, HasSubstr("correct spec.parent"));
  EXPECT_EQ(queue("a").waitingFor.at("other"), 1);
  EXPECT_EQ(phase_of("free"), "Reserved");
}

TEST_F(QueueTest, a_project_has_a_queue_for_jobs_that_name_none) {
  add_queue("everyone", 2, "", [](auto& q) { q.defaultForProjects = {"*"}; });
  add_queue("ours", 4, "", [](auto& q) { q.defaultForProjects = {"default"}; });
  add_job("first", "", 1, 3);
  add_job("second", "", 1, 3);
  EXPECT_EQ(phase_of("first"), "Reserved");
  EXPECT_THAT(why("second"), HasSubstr("queue ours: asks 3 cores; it holds 3 cores of its quota of 4 cores"));
  EXPECT_THAT(why("second"), HasSubstr("raise the quota of queue ours by 2 cores"));
  EXPECT_EQ(queue("ours").next, "default/second");
  EXPECT_EQ(queue("ours").waitingFor.at("quota"), 1);
}

TEST_F(QueueTest, a_place_is_kept_for_a_wide_gang_and_short_jobs_use_the_time_until_then) {
  add_queue("q", 0, "", [](auto& q) { q.reservationAfter = minutes(1); });
  add_job("long", "q", 1, 6, hours(2));
  let_run("long");
  add_job("gang", "q", 2, 8, hours(1));
  add_job("early", "q", 1, 1);
  EXPECT_EQ(phase_of("early"), "Reserved") << "no place is kept yet";
  let_run("early");
  cluster.set_phase(member_of("early"), "Succeeded");
  pass_time(minutes(2));
  EXPECT_THAT(why("gang"), HasSubstr("a place is kept from 2"));
  EXPECT_TRUE(queue("q").reservedFrom);
  add_job("endless", "q", 1, 2);
  EXPECT_EQ(phase_of("endless"), "Pending");
  EXPECT_THAT(why("endless"), HasSubstr("would delay default/gang, for which a place is kept from"));
  add_job("brief", "q", 1, 2, minutes(30));
  EXPECT_EQ(phase_of("brief"), "Reserved");
  EXPECT_EQ(queue("q").waitingFor.at("turn"), 1);
}

TEST_F(QueueTest, quota_is_kept_for_a_wide_job_that_small_ones_would_starve) {
  add_queue("q", 8, "", [](auto& q) { q.reservationAfter = minutes(1); });
  add_job("small-1", "q", 1, 2, hours(1));
  add_job("small-2", "q", 1, 2, hours(2));
  let_run("small-1");
  let_run("small-2");
  add_job("wide", "q", 1, 8, hours(1));
  pass_time(minutes(2));
  add_job("small-3", "q", 1, 2, hours(3));
  EXPECT_THAT(why("small-3"), HasSubstr("would delay default/wide, for which quota is kept from 2"));
  add_job("small-4", "q", 1, 2, minutes(20));
  EXPECT_EQ(phase_of("small-4"), "Reserved");
  for (const auto* done : {"small-1", "small-2"}) {
    keep_leases();
    cluster.set_phase(member_of(done), "Succeeded");
  }
  let_run("small-4");
  cluster.set_phase(member_of("small-4"), "Succeeded");
  EXPECT_EQ(phase_of("wide"), "Reserved");
  EXPECT_EQ(phase_of("small-3"), "Pending");
}

TEST_F(QueueTest, without_backfill_nothing_passes_the_first) {
  add_queue("q", 8, "", [](auto& q) { q.backfill = false; });
  add_job("running", "q", 1, 4);
  add_job("first", "q", 1, 8);
  add_job("later", "q", 1, 1);
  EXPECT_THAT(why("first"), HasSubstr("queue q: asks 8 cores"));
  EXPECT_THAT(why("later"), HasSubstr("queue q: waits its turn"));
  EXPECT_THAT(why("later"), HasSubstr(R"("position":"2")"));
}

TEST_F(QueueTest, what_is_not_used_goes_by_weight) {
  add_queue("all", 16, "");
  add_queue("heavy", 0, "all", [](auto& q) { q.weight = 3; });
  add_queue("light", 0, "all");
  // Everything comes at once: a control loop that starts later sees it in one picture.
  add_queue("gate", 1, "");
  for (int i = 0; i < 16; ++i)
    for (const auto* team : {"heavy", "light"}) {
      auto job = cluster.job(fmt::format("{}-{:02}", team, i), 1, 1);
      job.spec.queue = team;
      job.spec.suspend = true;
      cluster.create(job);
    }
  cluster.stop();
  for (int i = 0; i < 16; ++i)
    for (const auto* team : {"heavy", "light"})
      cluster.set_spec<api::TrainingJob>(fmt::format("{}-{:02}", team, i),
                                         [](auto& j) { j.spec.suspend = false; });
  cluster.start();
  cluster.pass();
  EXPECT_EQ(queue("heavy").running, 12);
  EXPECT_EQ(queue("light").running, 4);
  EXPECT_EQ(queue("light").waiting, 12);
  EXPECT_EQ(queue("all").used.cpu.value, 16'000);
}

TEST_F(QueueTest, within_a_queue_a_higher_priority_takes_the_place_of_a_lower_one) {
  const client::ResourcePath path{.group = "scheduling.k8s.io",
                                  .version = "v1",
                                  .plural = "priorityclasses",
                                  .namespace_ = {},
                                  .name = {},
                                  .subresource = {}};
  JsonObject document{{"apiVersion", "scheduling.k8s.io/v1"}, {"kind", "PriorityClass"}, {"value", 1000}};
  document["metadata"] = JsonObject{{"name", "urgent"}};
  ASSERT_TRUE(cluster.wait(cluster.client().create({}, path, Json(std::move(document)), {})));
  add_queue("q", 100, "");
  for (const auto* name : {"one", "two"}) {
    add_job(name, "q", 1, 8);
    let_run(name);
  }
  auto urgent = cluster.job("urgent", 1, 8);
  urgent.spec.queue = "q";
  urgent.spec.priorityClass = "urgent";
  cluster.create(urgent);
  keep_leases();
  cluster.pass();
  const auto nomination = cluster.get<api::TrainingJob>("urgent").status.nomination;
  ASSERT_TRUE(nomination);
  ASSERT_EQ(nomination->victims.size(), 1u);
  const auto victim = nomination->victims[0].job.substr(std::string("default/").size());
  EXPECT_EQ(cluster.get<api::Allocation>(member_of(victim)).spec.desired, "Stop");
  // What comes meanwhile does not get the place that is held.
  add_job("small", "q", 1, 2);
  EXPECT_EQ(phase_of("small"), "Pending");
  keep_leases();
  cluster.set_phase(member_of(victim), "Released");
  pass_time(10s);
  EXPECT_EQ(phase_of("urgent"), "Reserved");
  EXPECT_EQ(phase_of("small"), "Pending");
  EXPECT_EQ(phase_of(victim), "Pending");
}

TEST_F(QueueTest, work_that_is_never_interrupted_waits_rather_than_borrow) {
  add_queue("all", 0, "");
  add_queue("vision", 4);
  add_queue("speech", 8);
  auto job = cluster.job("final", 1, 6);
  job.spec.queue = "vision";
  job.spec.interruption = api::InterruptionClass::kNever;
  cluster.create(job);
  cluster.pass();
  EXPECT_THAT(why("final"), HasSubstr("could not give that back"));
}

}  // namespace
}  // namespace neap::controllers
