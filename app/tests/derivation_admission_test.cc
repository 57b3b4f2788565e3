#include "derivation_admission.h"

#include <gtest/gtest.h>

#include "neap/auth/rbac.h"
#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"
#include "project_right.h"

namespace neap::app {
namespace {

Json object(std::string_view text) { return parse_json(text).value(); }

class DerivationRight : public testing::Test {
 protected:
  DerivationRight() {
    rbac_.set(object(R"({"kind":"Role","metadata":{"name":"kube","namespace":"team-a"},"rules":[
      {"verbs":["*"],"apiGroups":["apps","batch","ai.hybrid.io"],"resources":["*"]},
      {"verbs":["create","list"],"apiGroups":["neap.dev"],"resources":["trainingjobs","allocations"]}]})"));
    rbac_.set(object(R"({"kind":"RoleBinding","metadata":{"name":"kube","namespace":"team-a"},
      "roleRef":{"kind":"Role","name":"kube"},"subjects":[{"kind":"User","name":"alice"}]})"));
  }
  Status writes(std::string group, std::string resource, std::string_view after, std::string_view before = {},
                std::string user = "alice") {
    auto next = object(after);
    const auto last = before.empty() ? Json() : object(before);
    const auth::Identity who{.user = user, .groups = {user == "root" ? "system:masters" : "dev"}};
    auth::Attributes what;
    what.verb = before.empty() ? "create" : "update";
    what.group = std::move(group);
    what.resource = std::move(resource);
    what.namespace_ = "team-a";
    what.is_resource = true;
    io::SimWorld world(1);
    auto& machine = world.add_machine("hq");
    DerivationAdmission admission(rbac_);
    std::vector<std::string> warnings;
    Status out;
    TaskGroup tasks(machine.runtime().executor());
    tasks.spawn([](DerivationAdmission& a, apiserver::AdmissionRequest r, std::vector<std::string>& w,
                   Status& result) -> Task<void> {
      result = co_await a.admit(r, w);
    }(admission, {.who = who, .what = what, .before = before.empty() ? nullptr : &last, .after = &next},
                                   warnings, out));
    world.run_for(1min, [&] { return tasks.running() == 0; });
    return out;
  }
  auth::RbacAuthorizer rbac_;
};

TEST_F(DerivationRight, a_document_takes_the_right_to_create_what_it_becomes) {
  EXPECT_TRUE(writes("batch", "jobs", R"({"spec":{}})"));
  const auto refused = writes("apps", "deployments", R"({"spec":{}})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "derivation.right");
  EXPECT_NE(refused.error().message.find("inferenceservices"), std::string::npos) << refused.error().message;
  EXPECT_FALSE(writes("ai.hybrid.io", "deploymentstrategies", R"({"spec":{"workloadType":"Training"}})"));
  EXPECT_TRUE(writes("apps", "deployments", R"({"spec":{}})", {}, "root"));
  EXPECT_TRUE(writes("", "configmaps", R"({"data":{}})"));
}

TEST_F(DerivationRight, a_change_that_derives_nothing_new_is_free) {
  EXPECT_TRUE(writes("apps", "deployments", R"({"metadata":{"labels":{"a":"b"}},"spec":{"replicas":1}})",
                     R"({"metadata":{},"spec":{"replicas":1}})"));
  EXPECT_FALSE(writes("apps", "deployments", R"({"spec":{"replicas":2}})", R"({"spec":{"replicas":1}})"));
  EXPECT_FALSE(writes("apps", "deployments",
                      R"({"metadata":{"annotations":{"neap.dev/model":"m"}},"spec":{}})", R"({"spec":{}})"));
}

TEST_F(DerivationRight, answers_about_several_projects_hold_those_that_may_be_read) {
  const auth::Identity alice{.user = "alice", .groups = {"dev"}};
  ProjectRight right(rbac_, alice);
  EXPECT_TRUE(right.may_read("team-a"));
  EXPECT_FALSE(right.may_read("team-b"));
  EXPECT_FALSE(right.may_read_all());
  EXPECT_EQ(right.check("team-b").error().reason, "project.read");
  EXPECT_TRUE(ProjectRight(rbac_, {.user = "root", .groups = {"system:masters"}}).may_read_all());
}

}  // namespace
}  // namespace neap::app
