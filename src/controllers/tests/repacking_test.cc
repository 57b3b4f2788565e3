// What `neap plan --repack` says of a world at rest: who would move where at which cost, and who stays and
// why.
#include "internal/repacking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using ::testing::HasSubstr;

// Two nodes of eight accelerators at one site, each half taken; a job that wants a whole one.
class RepackPlanTest : public ::testing::Test {
 protected:
  RepackPlanTest() : machine_(world_.add_machine("hq")), client_(machine_.runtime()) {
    api::Site site;
    site.metadata.name = "hq";
    site.spec.tier = api::Tier::kPrivate;
    site.spec.prices = {{.capacityType = api::CapacityType::kOwned,
                         .perCoreHour = {},
                         .perGiBHour = {},
                         .perAcceleratorHour = {{"A100", MoneyMicros{1'000'000}}}}};
    state_.all<api::Site>()[{"", "hq"}] = site;
    for (const auto* name : {"n0", "n1"}) {
      api::Node node;
      node.metadata.name = name;
      node.spec.site = "hq";
      node.status.allocatable.cpu = MilliCores{64'000};
      node.status.allocatable.memory = Bytes{512LL << 30};
      node.status.allocatable.accelerators["A100"] = MilliAccelerators{8000};
      api::set_condition(node.status.conditions,
                         {.type = "Ready", .status = "True", .reason = "AgentRuns", .message = {}}, now());
      state_.all<api::Node>()[{"", name}] = node;
    }
    submit("wide", 8, "vision");
    run("first", "n0", 4, "vision");
    run("second", "n1", 4, "vision");
  }
  WallTime now() { return machine_.runtime().clock().wall(); }
  api::TrainingJob& job(const std::string& name, const std::string& project = "vision") {
    return state_.all<api::TrainingJob>()[{project, name}];
  }
  void submit(const std::string& name, int devices, const std::string& project) {
    auto& made = job(name, project);
    made.metadata.name = name;
    made.metadata.namespace_ = project;
    made.spec.command = {"run"};
    made.spec.resources.cpu = MilliCores{1000};
    made.spec.resources.accelerators["A100"] = MilliAccelerators{devices * 1000};
  }
  // A run of an hour that has saved all but its last step of ten.
  void run(const std::string& name, const std::string& node, int devices, const std::string& project) {
    submit(name, devices, project);
    auto& made = job(name, project);
    made.status.phase = "Running";
    made.status.site = "hq";
    made.status.epoch = made.status.committedEpoch = 1;
    made.status.checkpoint = {.step = 8, .digest = "sha256:00", .phase = "Durable", .size = Bytes{1LL << 30}};
    api::RunRecord record;
    record.epoch = 1;
    record.firstStep = 0;
    record.lastStep = 9;
    record.nodes = {node};
    record.startedAt = now() - std::chrono::hours(1);
    made.status.runs = {record};
    api::Allocation held;
    held.metadata.name = member_name(name, 1, 0);
    held.metadata.namespace_ = project;
    held.spec.node = node;
    held.spec.site = "hq";
    held.spec.ownerKind = "TrainingJob";
    held.spec.ownerName = name;
    held.spec.epoch = 1;
    held.spec.resources = made.spec.resources;
    held.status.phase = "Running";
    state_.all<api::Allocation>()[{project, held.metadata.name}] = held;
  }
  Result<Json> ask(const std::string& name, const MayRead& may_read = {}) {
    const RecordSink decisions = [](Json) -> Task<Status> { co_return ok(); };
    const Pass pass{machine_.runtime(), client_, publisher_, decisions, options_, state_, reserved_, {}};
    return repack_plan(pass, "vision", name, may_read);
  }
  Json plan_for(const std::string& name, const MayRead& may_read = {}) {
    const auto answer = ask(name, may_read);
    EXPECT_TRUE(answer) << answer.error().to_string();
    return answer ? answer->at("plans").at(0) : Json(JsonObject{});
  }
  static std::string why_stays(const Json& plan, std::string_view what) {
    for (const auto& one : plan.at("stays").as_array())
      if (get_string(one, "what") == what) return std::string(get_string(one, "why"));
    return "(moves)";
  }

  io::SimWorld world_{5};
  io::SimMachine& machine_;
  client::FakeResourceClient client_;
  NoPublisher publisher_;
  Options options_;
  ClusterState state_;
  Reservations reserved_;
};

TEST_F(RepackPlanTest, says_who_moves_where_what_is_done_again_fetched_and_paid) {
  job("second").status.runs[0].lastStep = 13;  // more unsaved than the other
  const auto plan = plan_for("wide");
  ASSERT_EQ(get_string(plan, "state"), "moves") << to_text(plan);
  ASSERT_EQ(plan.at("moves").as_array().size(), 1u);
  const auto& move = plan.at("moves").at(0);
  EXPECT_EQ(get_string(move, "job"), "vision/first");
  EXPECT_EQ(to_text(move.at("from")), R"(["n0"])");
  EXPECT_EQ(to_text(move.at("to")), R"(["n1"])");
  EXPECT_EQ(to_text(plan.at("nodes")), R"(["n0"])");
  EXPECT_EQ(get_int(move, "checkpointStep"), 8);
  EXPECT_DOUBLE_EQ(move.at("setBackSeconds").to_number<double>(), 360) << "one step of ten in an hour";
  EXPECT_DOUBLE_EQ(move.at("setBackDeviceSeconds").to_number<double>(), 1440);
  EXPECT_EQ(get_int(move, "bytes"), 1LL << 30);
  EXPECT_EQ(get_int(move, "costMicros"), 400'000) << "four devices for a tenth of an hour";
}

TEST_F(RepackPlanTest, each_that_may_not_move_says_why_and_without_any_there_is_no_plan) {
  const auto stays = [&](auto change) {
    const auto before = state_;
    change(job("second"));
    job("first").spec.interruption = api::InterruptionClass::kNever;
    const auto plan = plan_for("wide");
    EXPECT_EQ(get_string(plan, "state"), "none") << to_text(plan);
    EXPECT_EQ(why_stays(plan, "vision/first"), "its interruption is never");
    auto why = why_stays(plan, "vision/second");
    state_ = before;
    return why;
  };
  EXPECT_THAT(stays([](auto& j) { j.status.checkpoint.phase = "Sealed"; }),
              HasSubstr("no durable checkpoint"));
  EXPECT_THAT(stays([](auto& j) { j.spec.suspend = true; }), HasSubstr("being stopped"));
  EXPECT_THAT(stays([](auto& j) { j.status.phase = "Draining"; }), HasSubstr("it is Draining"));
  EXPECT_THAT(stays([&](auto& j) { j.spec.deadline = now() + 24h; }), HasSubstr("its deadline"));
  EXPECT_THAT(stays([](auto& j) { j.status.nomination = api::Nomination{}; }), HasSubstr("moves already"));
  EXPECT_THAT(stays([](auto& j) { j.spec.allowedSites = {"nowhere"}; }),
              HasSubstr("could not be placed again"));
  EXPECT_THAT(stays([&](auto&) {
                run("third", "n0", 2, "vision");
                job("third").spec.interruption = api::InterruptionClass::kNever;
              }),
              HasSubstr("no other place at its site"));
}

TEST_F(RepackPlanTest, replicas_stay_and_a_priority_above_stays) {
  api::InferenceService service;
  service.metadata.name = "ask";
  service.metadata.namespace_ = "vision";
  service.spec.places = {{.site = "hq", .replicas = 1}};
  state_.all<api::InferenceService>()[{"vision", "ask"}] = service;
  auto& held = state_.all<api::Allocation>()[{"vision", "first-e1-0"}];
  auto replica = held;
  state_.all<api::TrainingJob>().set({"vision", "first"}, nullptr);
  state_.all<api::Allocation>().set({"vision", "first-e1-0"}, nullptr);
  replica.metadata.name = "ask-hq-0";
  replica.spec.ownerKind = "InferenceService";
  replica.spec.ownerName = "ask";
  state_.all<api::Allocation>()[{"vision", "ask-hq-0"}] = replica;
  auto plan = plan_for("wide");
  EXPECT_EQ(get_string(plan, "state"), "moves");
  EXPECT_THAT(why_stays(plan, "vision/ask"), HasSubstr("minReplicas"));
  state_.documents[std::string(kPriorityClasses.key)].insert_or_assign(
      ObjectKey{"", "high"},
      std::make_shared<const Json>(Json{{"metadata", {{"name", "high"}}}, {"value", 10}}));
  job("second").spec.priorityClass = "high";
  plan = plan_for("wide");
  EXPECT_EQ(get_string(plan, "state"), "none");
  EXPECT_EQ(why_stays(plan, "vision/second"), "its priority 10 is above 0");
}

TEST_F(RepackPlanTest, without_a_name_all_that_wait_and_a_whole_node_are_planned_for) {
  const auto answer = ask("");
  ASSERT_TRUE(answer) << answer.error().to_string();
  const auto& plans = answer->at("plans").as_array();
  ASSERT_EQ(plans.size(), 2u);
  EXPECT_EQ(get_string(plans[0], "for"), "vision/wide");
  EXPECT_EQ(get_string(plans[1], "for"), "a whole node of 8 A100");
  EXPECT_EQ(get_string(plans[1], "state"), "moves");
}

TEST_F(RepackPlanTest, names_of_projects_that_may_not_be_read_are_left_out) {
  state_.all<api::TrainingJob>().set({"vision", "first"}, nullptr);
  state_.all<api::Allocation>().set({"vision", "first-e1-0"}, nullptr);
  run("secret", "n0", 4, "other");
  job("second").spec.interruption = api::InterruptionClass::kNever;
  const auto plan = plan_for("wide", [](const std::string& project) { return project == "vision"; });
  EXPECT_EQ(get_string(plan, "state"), "moves") << to_text(plan);
  EXPECT_EQ(to_text(plan).find("secret"), std::string::npos) << to_text(plan);
}

TEST_F(RepackPlanTest, what_it_cannot_plan_for_is_refused_in_words) {
  EXPECT_EQ(ask("absent").error().reason, "repack.job");
  EXPECT_EQ(ask("first").error().reason, "repack.placed");
  job("wide").spec.resources.accelerators["A100"] = MilliAccelerators{4000};
  EXPECT_EQ(get_string(plan_for("wide"), "state"), "free");
  job("wide").spec.resources.accelerators["A100"] = MilliAccelerators{9000};
  EXPECT_EQ(get_string(plan_for("wide"), "state"), "none");
}

}  // namespace
}  // namespace neap::controllers
