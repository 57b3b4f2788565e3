// Numbers that nobody means: stored before the border refused them, or said by a peer. They stay with whom
// they are of; everybody else's work goes on. Under UBSan no sum of them may overflow.
#include "internal/reconciler.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using api::TrainingJob;

// As it was stored before there were bounds.
const api::KindTable& kinds_without_bounds() {
  static const auto* table = [] {
    auto* out = new api::KindTable(api::KindTable::standard());
    for (const auto& kind : out->all())
      const_cast<api::KindEntry&>(kind).validate = [](const Json&) {
        return std::vector<api::FieldProblem>();
      };
    return out;
  }();
  return *table;
}

class HostileNumbers : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster.add_site("hq");
    cluster.add_node("n1", "hq", 8);
    cluster.add_site("cloud", api::Tier::kPublic);
  }
  void create(std::string_view group, std::string_view version, std::string_view plural,
              const std::string& project, Json document) {
    const client::ResourcePath path{.group = std::string(group),
                                    .version = std::string(version),
                                    .plural = std::string(plural),
                                    .namespace_ = project,
                                    .name = {},
                                    .subresource = {}};
    const auto made = cluster.wait(cluster.client().create({}, path, std::move(document), {}));
    ASSERT_TRUE(made) << made.error().to_string();
  }
  void add_class(const std::string& name, std::int64_t value) {
    create("scheduling.k8s.io", "v1", "priorityclasses", {},
           Json{{"apiVersion", "scheduling.k8s.io/v1"},
                {"kind", "PriorityClass"},
                {"metadata", {{"name", name}}},
                {"value", value}});
  }
  void add_job(const std::string& name, JsonObject spec) {
    spec["command"] = JsonArray{"/usr/bin/train"};
    JsonObject document{{"apiVersion", "neap.dev/v1"}, {"kind", "TrainingJob"}};
    document["metadata"] = JsonObject{{"name", name}, {"namespace", "default"}};
    document["spec"] = std::move(spec);
    create("neap.dev", "v1", "trainingjobs", "default", Json(std::move(document)));
  }
  void expect_that_others_run() {
    cluster.create(cluster.job("plain", 1, 1));
    cluster.pass(2min);
    EXPECT_EQ(cluster.get<TrainingJob>("plain").status.phase, "Reserved");
  }
  Cluster cluster{Options{}, kinds_without_bounds()};
};

TEST_F(HostileNumbers, times_durations_and_amounts_of_one_job_leave_the_others_alone) {
  const JsonObject everything{{"cpu", "9P"}, {"memory", "7Ei"}, {"accelerators", {{"A100", "9P"}}}};
  int i = 0;
  for (const auto* strategy : {"SpotPreemptible", "PrivateFirst"})
    for (const auto* deadline : {"0001-01-01T00:00:00Z", "1700-01-01T00:00:00Z", "9999-12-31T23:59:59Z"})
      for (const auto* resources : {"all", "some"}) {
        JsonObject spec{{"deadline", deadline},
                        {"expectedDuration", "2500000h"},
                        {"replicas", 100'000},
                        {"costStrategy", strategy},
                        {"checkpoint", {{"intervalSteps", INT64_MAX}}}};
        if (std::string_view(resources) == "all")
          spec["resources"] = everything;
        else
          spec["resources"] = JsonObject{{"cpu", "1"}};
        add_job(fmt::format("absurd-{}", ++i), std::move(spec));
      }
  cluster.pass(2min);
  for (const auto& [key, job] : cluster.loop().state().all<TrainingJob>()) {
    EXPECT_EQ(job.status.phase, "Pending") << key.name;
    EXPECT_FALSE(job.status.message.empty()) << key.name;
  }
  expect_that_others_run();
}

TEST_F(HostileNumbers, queues_priorities_links_and_leases_may_say_anything) {
  add_class("lowest", INT32_MIN);
  add_class("lower", INT64_MIN);
  add_class("highest", INT64_MAX);
  create("neap.dev", "v1", "queues", {},
         Json{{"apiVersion", "neap.dev/v1"},
              {"kind", "Queue"},
              {"metadata", {{"name", "slow"}}},
              {"spec", {{"ageing", "2500000h"}, {"reservationAfter", "2500000h"}, {"weight", INT64_MAX}}}});
  create("neap.dev", "v1", "links", {},
         Json{{"apiVersion", "neap.dev/v1"},
              {"kind", "Link"},
              {"metadata", {{"name", "far"}}},
              {"spec", {{"from", "hq"}, {"to", "cloud"}, {"bandwidthMbps", INT64_MAX}, {"rttMs", 1e300}}}});
  create("coordination.k8s.io", "v1", "leases", "neap-node-lease",
         Json{{"apiVersion", "coordination.k8s.io/v1"},
              {"kind", "Lease"},
              {"metadata", {{"name", "n1"}, {"namespace", "neap-node-lease"}}},
              {"spec", {{"leaseDurationSeconds", INT64_MAX}, {"renewTime", "2026-01-01T00:00:00Z"}}}});
  const auto huge = JsonObject{{"memory", "7Ei"}};
  for (const auto* name : {"lowest", "lower", "highest"})
    add_job(name, {{"priorityClass", name}, {"queue", "slow"}, {"replicas", 100'000}, {"resources", huge}});
  add_job("modest", {{"priorityClass", "lower"}, {"queue", "slow"}, {"resources", {{"cpu", "1"}}}});
  cluster.pass(2min);
  EXPECT_EQ(cluster.get<TrainingJob>("modest").status.phase, "Reserved");
  expect_that_others_run();
}

TEST_F(HostileNumbers, what_an_agent_says_of_its_steps_and_seconds_is_bounded) {
  auto job = cluster.job("run", 1, 1);
  job.spec.expectedDuration = 2h;
  job.spec.deadline = cluster.runtime().clock().wall() + 10h;
  job.spec.checkpoint.intervalSteps = 1;
  cluster.create(job);
  cluster.pass();
  const auto member = member_name("run", cluster.get<TrainingJob>("run").status.epoch, 0);
  cluster.set_phase(member, "Prepared");
  cluster.set_phase(member, "Running");
  cluster.set_status<api::Allocation>(member, [](auto& a) {
    a.status.runSeconds = 1e300;
    a.status.firstStep = 0;
    a.status.step = INT64_MAX;
    a.status.checkpoint = {.step = INT64_MAX, .digest = {}, .phase = "Durable", .size = {}};
  });
  cluster.pass(5min);
  expect_that_others_run();
}

}  // namespace
}  // namespace neap::controllers
