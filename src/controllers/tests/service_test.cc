#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::InferenceService;

class Service : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster.add_site("shop-1", api::Tier::kEdge);
    cluster.add_site("shop-2", api::Tier::kEdge);
    cluster.add_node("press-1", "shop-1", 2);
    cluster.add_node("press-2", "shop-2", 2);
    for (const auto* name : {"v1", "v2"}) {
      api::ModelVersion version;
      version.metadata.name = name;
      version.metadata.namespace_ = "default";
      version.spec.model = "inspector";
      version.spec.repository = "default/inspector";
      version.spec.manifestDigest = "sha256:" + std::string(64, name[1]);
      version.spec.file = "model.onnx";
      version.spec.level = api::DataLevel::kL3;
      cluster.create(version);
    }
    InferenceService service;
    service.metadata.name = "inspect";
    service.metadata.namespace_ = "default";
    service.spec.model = "inspector";
    service.spec.modelVersion = "v1";
    service.spec.places = {{.site = "shop-1"}, {.site = "shop-2"}};
    service.spec.resources.cpu = MilliCores{500};
    cluster.create(service);
    cluster.pass();
  }
  InferenceService service() { return cluster.get<InferenceService>("inspect"); }
  void serve(const std::string& allocation, const std::string& version) {
    cluster.set_status<Allocation>(allocation, [&](auto& a) {
      a.status.phase = "Running";
      a.status.servingVersion = version;
    });
    cluster.pass();
  }
  void complete_first_rollout() {
    serve("inspect-shop-1-0", "v1");
    serve("inspect-shop-2-0", "v1");
    ASSERT_EQ(service().status.phase, "Complete");
  }
  void roll_out(const std::string& version) {
    cluster.set_spec<InferenceService>("inspect", [&](auto& s) { s.spec.modelVersion = version; });
    cluster.pass();
  }
  Cluster cluster;
};

TEST_F(Service, the_first_version_goes_to_the_canary_place_alone_and_then_everywhere) {
  EXPECT_TRUE(cluster.find<Allocation>("inspect-shop-1-0"));
  EXPECT_FALSE(cluster.find<Allocation>("inspect-shop-2-0"));
  serve("inspect-shop-1-0", "v1");
  EXPECT_TRUE(cluster.find<Allocation>("inspect-shop-2-0"));
  serve("inspect-shop-2-0", "v1");
  EXPECT_EQ(service().status.phase, "Complete");
  EXPECT_EQ(service().status.activeVersion, "v1");
}

TEST_F(Service, a_budget_at_lower_concurrency_keeps_places_at_their_fewest_replicas) {
  complete_first_rollout();
  cluster.set_spec<InferenceService>("inspect", [](auto& s) {
    s.spec.places[0].replicas = 2;
    s.spec.places[0].minReplicas = 1;
  });
  cluster.pass();
  ASSERT_TRUE(cluster.find<Allocation>("inspect-shop-1-1"));
  api::Budget budget;
  budget.metadata.name = "monthly";
  budget.metadata.namespace_ = "default";
  budget.spec.limit = "10";
  budget.spec.hard = false;
  budget.spec.ladder = {{.percent = 50, .action = api::BudgetAction::kLowerConcurrency}};
  cluster.spending().amount = MoneyMicros{6'000'000};
  cluster.create(budget);
  cluster.pass();
  EXPECT_FALSE(cluster.find<Allocation>("inspect-shop-1-1"));
  EXPECT_TRUE(cluster.find<Allocation>("inspect-shop-1-0"));
  EXPECT_TRUE(cluster.find<Allocation>("inspect-shop-2-0")) << "a place that states no least is left alone";
  cluster.set_spec<api::Budget>("monthly", [](auto& b) { b.spec.limit = "100"; });
  cluster.pass();
  EXPECT_TRUE(cluster.find<Allocation>("inspect-shop-1-1"));
}

TEST_F(Service, a_new_version_is_compared_on_live_requests_before_it_answers_any) {
  complete_first_rollout();
  roll_out("v2");
  const auto canary = cluster.get<Allocation>("inspect-shop-1-0");
  EXPECT_EQ(canary.spec.serve->modelVersion, "v1");
  EXPECT_EQ(canary.spec.serve->shadowModelVersion, "v2");
  EXPECT_EQ(cluster.get<Allocation>("inspect-shop-2-0").spec.serve->shadowModelVersion, "");
  cluster.set_status<Allocation>("inspect-shop-1-0", [](auto& a) {
    a.status.shadow = {.requests = 60, .agreed = 59, .errors = 0, .labelled = 0, .correct = 0};
    a.status.conditions = {{.type = "ShadowReady", .status = "True", .reason = "v2"}};
  });
  cluster.pass();
  EXPECT_EQ(cluster.get<Allocation>("inspect-shop-2-0").spec.serve->modelVersion, "v2");
  serve("inspect-shop-1-0", "v2");
  serve("inspect-shop-2-0", "v2");
  EXPECT_EQ(service().status.phase, "Complete");
  EXPECT_EQ(service().status.previousVersion, "v1");
}

TEST_F(Service, a_version_that_disagrees_is_rolled_back_and_not_tried_again) {
  complete_first_rollout();
  roll_out("v2");
  cluster.set_status<Allocation>("inspect-shop-1-0", [](auto& a) {
    a.status.shadow = {.requests = 60, .agreed = 20, .errors = 0, .labelled = 0, .correct = 0};
    a.status.conditions = {{.type = "ShadowReady", .status = "True", .reason = "v2"}};
  });
  cluster.pass();
  EXPECT_EQ(service().status.phase, "RolledBack");
  EXPECT_EQ(service().status.rolledBackVersion, "v2");
  cluster.pass(1min);
  EXPECT_EQ(service().status.phase, "RolledBack");
  for (const auto* name : {"inspect-shop-1-0", "inspect-shop-2-0"}) {
    EXPECT_EQ(cluster.get<Allocation>(name).spec.serve->modelVersion, "v1");
    EXPECT_EQ(cluster.get<Allocation>(name).spec.serve->shadowModelVersion, "");
  }
}

TEST_F(Service, a_version_that_does_not_verify_is_rolled_back_with_the_reason) {
  complete_first_rollout();
  roll_out("v2");
  cluster.set_status<Allocation>("inspect-shop-1-0", [](auto& a) {
    a.status.conditions = {{.type = "ModelRefused",
                            .status = "True",
                            .reason = "v2",
                            .message = "the signature does not verify",
                            .observedGeneration = a.metadata.generation}};
  });
  cluster.pass();
  EXPECT_EQ(service().status.phase, "RolledBack");
  EXPECT_THAT(service().status.message, ::testing::HasSubstr("signature"));
}

TEST_F(Service, a_refusal_of_an_earlier_attempt_does_not_end_this_one) {
  complete_first_rollout();
  const auto refuse = [&](std::int64_t behind) {
    cluster.set_status<Allocation>("inspect-shop-1-0", [behind](auto& a) {
      a.status.conditions = {{.type = "ModelRefused",
                              .status = "True",
                              .reason = "v2",
                              .message = "the signature does not verify",
                              .observedGeneration = a.metadata.generation - behind}};
    });
    cluster.pass();
  };
  roll_out("v2");
  refuse(1);
  EXPECT_EQ(service().status.phase, "Staging");
  refuse(0);
  EXPECT_EQ(service().status.phase, "RolledBack");
}

TEST_F(Service, a_first_version_that_is_put_right_goes_on) {
  cluster.set_status<Allocation>("inspect-shop-1-0", [](auto& a) {
    a.status.conditions = {{.type = "ModelRefused",
                            .status = "True",
                            .reason = "v1",
                            .message = "the bytes are not what the digest says",
                            .observedGeneration = a.metadata.generation}};
  });
  cluster.pass();
  EXPECT_EQ(service().status.phase, "RolledBack");
  cluster.pass(1min);
  EXPECT_EQ(service().status.phase, "RolledBack");
  EXPECT_THAT(service().status.message, ::testing::HasSubstr("digest"));
  cluster.set_status<Allocation>("inspect-shop-1-0", [](auto& a) { a.status.conditions = {}; });
  serve("inspect-shop-1-0", "v1");
  cluster.pass();
  complete_first_rollout();
  EXPECT_EQ(service().status.phase, "Complete");
  EXPECT_EQ(service().status.rolledBackVersion, "");
}

}  // namespace
}  // namespace neap::controllers
