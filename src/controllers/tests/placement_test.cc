#include "internal/placement.h"

#include <gtest/gtest.h>

#include "tests/fixture.h"

namespace neap::controllers {
namespace {

// One public site with one idle node.
class PlacementTest : public ::testing::Test {
 protected:
  PlacementTest() : machine_(world_.add_machine("hq")), client_(machine_.runtime()) {
    api::Site site;
    site.metadata.name = "cloud-a";
    site.spec.tier = api::Tier::kPublic;
    state_.all<api::Site>()[{"", "cloud-a"}] = site;
    api::Node node;
    node.metadata.name = "cloud-a-1";
    node.spec.site = "cloud-a";
    node.status.allocatable.cpu = MilliCores{4000};
    node.status.allocatable.memory = Bytes{8LL << 30};
    api::set_condition(node.status.conditions,
                       {.type = "Ready", .status = "True", .reason = "Heartbeat", .message = {}},
                       machine_.runtime().clock().wall());
    state_.all<api::Node>()[{"", "cloud-a-1"}] = node;
    job_.metadata.name = "train";
    job_.metadata.namespace_ = "team";
    job_.spec.resources.cpu = MilliCores{1000};
  }
  void add_rule(std::string project, std::string condition) {
    api::SchedulingPolicy policy;
    policy.metadata.name = "house-rules";
    policy.spec.rules.push_back(
        {.name = "stay", .condition = std::move(condition), .action = "forbid(public)"});
    state_.all<api::SchedulingPolicy>()[{project, "house-rules"}] = policy;
  }
  void add_data_policy(std::string project, std::string effect) {
    api::DataPolicy policy;
    policy.metadata.name = "borders";
    policy.spec.rules.push_back({.name = "rule-" + project, .level = api::DataLevel::kL2, .effect = effect});
    state_.all<api::DataPolicy>()[{project, "borders"}] = policy;
  }
  Placement place(ResolvedInputs inputs = {}) {
    const RecordSink decisions = [](Json) -> Task<Status> { co_return ok(); };
    Reservations reserved;
    const Pass pass{machine_.runtime(), client_, publisher_, decisions, options_, state_, reserved, {}};
    return place_job(pass, job_, inputs);
  }

  io::SimWorld world_{5};
  io::SimMachine& machine_;
  client::FakeResourceClient client_;
  NoPublisher publisher_;
  Options options_;
  ClusterState state_;
  api::TrainingJob job_;
};

TEST_F(PlacementTest, a_rule_that_does_not_compile_makes_work_of_its_project_wait_and_is_named) {
  EXPECT_TRUE(place().placed) << place().message;
  add_rule("other", "task.type ==");
  EXPECT_TRUE(place().placed) << "another project's rule";
  add_rule("team", "task.type ==");
  const auto placement = place();
  EXPECT_FALSE(placement.placed);
  EXPECT_NE(placement.message.find("\"stay\""), std::string::npos) << placement.message;
  EXPECT_NE(placement.message.find("house-rules"), std::string::npos) << placement.message;
}

TEST_F(PlacementTest, the_default_projects_data_policy_counts_only_where_the_project_has_none) {
  ResolvedInputs inputs;
  inputs.level = api::DataLevel::kL2;
  inputs.home = "hq";
  inputs.bytes = 1000;
  add_data_policy("default", "allow");
  EXPECT_TRUE(place(inputs).placed) << place(inputs).message;
  add_data_policy("team", "deny");
  EXPECT_FALSE(place(inputs).placed);
}

}  // namespace
}  // namespace neap::controllers
