// Services among jobs: their replicas in queues, and who makes room for whom.
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::InferenceService;
using api::TrainingJob;
using ::testing::HasSubstr;

class ServiceQueue : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster.add_site("hq");
    for (const auto* node : {"n1", "n2"}) cluster.add_node(node, "hq", 8);
    keep_leases();
    api::ModelVersion version;
    version.metadata.name = "v1";
    version.metadata.namespace_ = "default";
    version.spec.model = "inspector";
    version.spec.repository = "default/inspector";
    version.spec.manifestDigest = "sha256:" + std::string(64, '1');
    version.spec.file = "model.onnx";
    version.spec.level = api::DataLevel::kL3;
    cluster.create(version);
  }
  void keep_leases() {
    ++renewals_;
    for (const auto* node : {"n1", "n2"})
      cluster.renew(node, fmt::format("2026-01-01T{:02}:{:02}:00Z", renewals_ / 60 % 24, renewals_ % 60));
  }
  void pass() {
    keep_leases();
    cluster.pass();
  }
  void add_queue(const std::string& name, std::int64_t cores, const std::string& parent = {},
                 const std::string& project = {}) {
    api::Queue queue;
    queue.metadata.name = name;
    queue.spec.quota.cpu = MilliCores{cores * 1000};
    queue.spec.parent = parent;
    if (!project.empty()) queue.spec.defaultForProjects = {project};
    cluster.create(queue);
  }
  void add_class(const std::string& name, int value, const std::string& preemptible = {}) {
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
    const auto made = cluster.wait(cluster.client().create({}, path, Json(std::move(document)), {}));
    ASSERT_TRUE(made) << made.error().to_string();
  }
  void add_service(std::int64_t replicas, std::int64_t cores, const std::string& queue,
                   std::optional<std::int64_t> least = {}, const std::string& priority = {}) {
    InferenceService out;
    out.metadata.name = "inspect";
    out.metadata.namespace_ = "default";
    out.spec.model = "inspector";
    out.spec.modelVersion = "v1";
    out.spec.places = {{.site = "hq", .replicas = replicas, .role = "active", .minReplicas = least}};
    out.spec.resources.cpu = MilliCores{cores * 1000};
    out.spec.resources.memory = Bytes{1 << 20};
    out.spec.queue = queue;
    out.spec.priorityClass = priority;
    cluster.create(out);
    pass();
    serve_all();
  }
  void serve_all() {
    for (int round = 0; round < 2; ++round) {
      for (std::int64_t i = 0; i < 8; ++i)
        if (const auto a = cluster.find<Allocation>(replica(i)); a && a->status.phase == "Reserved")
          cluster.set_status<Allocation>(replica(i), [](auto& one) {
            one.status.phase = "Running";
            one.status.servingVersion = "v1";
          });
      pass();
    }
  }
  void add_job(const std::string& name, const std::string& queue, std::int64_t cores,
               const std::string& priority = {}) {
    auto job = cluster.job(name, 1, cores);
    job.spec.queue = queue;
    job.spec.priorityClass = priority;
    cluster.create(job);
    pass();
  }
  void let_run(const std::string& job) {
    for (const auto* phase : {"Prepared", "Running"}) {
      keep_leases();
      cluster.set_phase(job + "-e1-0", phase);
    }
    ASSERT_EQ(phase_of(job), "Running");
  }
  static std::string replica(std::int64_t index) { return fmt::format("inspect-hq-{}", index); }
  bool stands(std::int64_t index) {
    const auto a = cluster.find<Allocation>(replica(index));
    return a && a->spec.desired == "Run" && !is_ended(*a);
  }
  std::int64_t standing() {
    std::int64_t out = 0;
    for (std::int64_t i = 0; i < 8; ++i) out += stands(i) ? 1 : 0;
    return out;
  }
  std::string phase_of(const std::string& job) { return cluster.get<TrainingJob>(job).status.phase; }
  InferenceService service() { return cluster.get<InferenceService>("inspect"); }
  std::string why() { return service().status.message + to_text(service().status.explanation); }
  std::string why(const std::string& job) {
    const auto status = cluster.get<TrainingJob>(job).status;
    return status.message + to_text(status.explanation);
  }
  api::QueueStatus queue(const std::string& name) { return cluster.get<api::Queue>(name).status; }

  Cluster cluster;
  int renewals_ = 0;
};

TEST_F(ServiceQueue, replicas_count_against_the_queue_of_their_project_and_wait_for_its_quota) {
  add_queue("all", 0);
  add_queue("serving", 4, "all", "default");
  add_queue("rest", 12, "all");
  add_service(3, 2, "");
  EXPECT_EQ(standing(), 2);
  EXPECT_EQ(queue("serving").used.cpu.value, 4000);
  EXPECT_EQ(queue("serving").running, 2);
  EXPECT_EQ(queue("serving").waiting, 1);
  EXPECT_EQ(queue("serving").waitingFor.at("quota"), 1);
  EXPECT_EQ(queue("serving").next, "default/inspect-hq-2");
  EXPECT_THAT(why(), HasSubstr("queue serving")) << "it may not borrow what it could not give back";
  const auto waiting = service();
  const auto* placed = api::find_condition(waiting.status.conditions, "Placed");
  ASSERT_TRUE(placed);
  EXPECT_EQ(placed->status, "False");
  EXPECT_EQ(placed->message, "2 of 3 replicas have a place");
  cluster.set_spec<api::Queue>("serving", [](auto& q) { q.spec.quota.cpu = MilliCores{6000}; });
  pass();
  EXPECT_EQ(standing(), 3);
}

TEST_F(ServiceQueue, a_service_whose_queue_does_not_exist_waits_and_says_so) {
  add_service(1, 2, "absent");
  EXPECT_EQ(standing(), 0);
  EXPECT_THAT(service().status.message, HasSubstr("queue absent does not exist"));
  add_queue("absent", 8);
  pass();
  EXPECT_EQ(standing(), 1);
}

TEST_F(ServiceQueue, replicas_above_the_least_borrow_and_are_given_back_and_no_more_than_those) {
  add_queue("all", 0);
  add_queue("serving", 4, "all");
  add_queue("batch", 12, "all");
  add_service(4, 4, "serving", 1);
  ASSERT_EQ(standing(), 4);
  EXPECT_EQ(queue("serving").borrowed.cpu.value, 12000);
  add_job("mine", "batch", 8);
  EXPECT_THAT(why("mine"), HasSubstr("waits until")) << why("mine");
  EXPECT_TRUE(stands(0));
  EXPECT_EQ(standing(), 2) << "two of four cores each, and not the one that stays";
  EXPECT_EQ(cluster.get<Allocation>(replica(3)).spec.desired, "Stop");
  EXPECT_EQ(queue("batch").waitingFor.at("reclaim"), 1);
  bool is_recorded = false;
  for (const auto& record : cluster.decisions())
    is_recorded =
        is_recorded ||
        to_text(record).find("gives back what queue serving borrowed: job default/mine") != std::string::npos;
  EXPECT_TRUE(is_recorded);
  for (std::int64_t i = 1; i < 4; ++i)
    if (!stands(i)) cluster.set_phase(replica(i), "Released");
  pass();
  EXPECT_EQ(phase_of("mine"), "Reserved") << why("mine");
  EXPECT_EQ(standing(), 2) << "they wait for quota";
  EXPECT_EQ(queue("serving").waiting, 2);
  let_run("mine");
  keep_leases();
  cluster.set_phase("mine-e1-0", "Succeeded");
  pass();
  EXPECT_EQ(standing(), 4);
}

TEST_F(ServiceQueue, a_job_makes_room_for_a_service_of_a_higher_priority) {
  add_class("live", 1000);
  add_job("a", "", 8);
  add_job("b", "", 8);
  let_run("a");
  let_run("b");
  add_service(1, 4, "", {}, "live");
  ASSERT_EQ(service().status.nominations.size(), 1u) << why();
  const auto held = service().status.nominations.at(replica(0));
  EXPECT_THAT(service().status.message, HasSubstr("to make room at hq"));
  const auto victim = held.victims.at(0).job.substr(std::string("default/").size());
  EXPECT_EQ(phase_of(victim), "Draining");
  EXPECT_FALSE(cluster.find<Allocation>(replica(0)));
  // What is held is nobody else's.
  add_job("sneaky", "", 8);
  keep_leases();
  cluster.set_phase(victim + "-e1-0", "Released");
  pass();
  EXPECT_EQ(phase_of("sneaky"), "Pending");
  ASSERT_TRUE(stands(0));
  EXPECT_EQ(cluster.get<Allocation>(replica(0)).spec.node, held.nodes.at(0));
  EXPECT_TRUE(service().status.nominations.empty());
  const auto made_room = cluster.get<TrainingJob>(victim);
  EXPECT_EQ(made_room.status.runs.at(0).reason, "Preempted");
  const auto* told = api::find_condition(made_room.status.conditions, "Preempted");
  ASSERT_TRUE(told);
  EXPECT_THAT(told->message, HasSubstr("default/inspect/0 of priority 1000, above its own 0"));
}

TEST_F(ServiceQueue, spare_replicas_make_room_for_a_job_of_a_higher_priority_and_come_back_after_it) {
  add_class("urgent", 1000);
  add_service(4, 4, "", 2);
  ASSERT_EQ(standing(), 4);
  add_job("now", "", 4, "urgent");
  pass();
  EXPECT_EQ(standing(), 3);
  for (std::int64_t i = 0; i < 4; ++i)
    if (!stands(i)) cluster.set_phase(replica(i), "Released");
  pass();
  ASSERT_EQ(phase_of("now"), "Reserved") << why("now");
  let_run("now");
  EXPECT_EQ(standing(), 3);
  keep_leases();
  cluster.set_phase("now-e1-0", "Succeeded");
  pass();
  pass();
  EXPECT_EQ(standing(), 4);
}

TEST_F(ServiceQueue, replicas_that_stay_make_room_for_nobody) {
  add_class("urgent", 1000);
  add_service(2, 8, "");
  ASSERT_EQ(standing(), 2);
  add_job("now", "", 8, "urgent");
  pass();
  EXPECT_EQ(standing(), 2);
  EXPECT_FALSE(cluster.get<TrainingJob>("now").status.nomination);
}

TEST_F(ServiceQueue, all_replicas_that_are_missing_are_placed_in_one_pass) {
  add_service(8, 2, "");
  EXPECT_EQ(standing(), 8);
  EXPECT_EQ(service().status.phase, "Complete");
}

}  // namespace
}  // namespace neap::controllers
