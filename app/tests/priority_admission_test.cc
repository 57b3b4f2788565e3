#include "priority_admission.h"

#include "tests/admission_fixture.h"

namespace neap::app {
namespace {

class PriorityRight : public AdmissionTest {
 protected:
  static Task<Result<std::optional<Json>>> find(std::string name) {
    if (name == "urgent") co_return object_of(R"({"value":1000})");
    if (name == "whenever") co_return object_of(R"({"value":-10})");
    if (name == "usual") co_return object_of(R"({"value":5,"globalDefault":true})");
    if (name == "lost") co_return fail(Code::kUnavailable, "store.away", "the store is away");
    co_return std::optional<Json>();
  }
  std::string refusal(const Write& write) {
    const auto done = admitted(admission_, write);
    return done ? "" : done.error().reason;
  }
  static Write job(const std::string& name, const std::string& user = "alice") {
    return {"neap.dev", "trainingjobs", "", R"({"spec":{"priorityClass":")" + name + "\"}}", "", user};
  }
  PriorityAdmission admission_{rbac_, find};
};

TEST_F(PriorityRight, an_editor_of_a_project_does_not_outrank_other_projects) {
  grant("alice", R"({"verbs":["create","update","patch"],"apiGroups":["*"],"resources":["*"]})");
  EXPECT_EQ(refusal(job("urgent")), "priority.use");
  EXPECT_EQ(refusal(job("not-there-yet")), "priority.use") << "it may come, and be worth anything";
  EXPECT_EQ(refusal(job("whenever")), "");
  EXPECT_EQ(refusal(job("usual")), "") << "what counts for everybody";
  EXPECT_EQ(refusal(job("lost")), "store.away");
  EXPECT_EQ(refusal({"neap.dev", "trainingjobs", "", R"({"spec":{}})"}), "");
  EXPECT_EQ(refusal(job("urgent", "root")), "");
  const auto said = admitted(admission_, job("urgent"));
  for (const auto* word : {"\"urgent\" is worth 1000", "alice", "team-a", "\"use\""})
    EXPECT_NE(said.error().message.find(word), std::string::npos) << said.error().message;
}

TEST_F(PriorityRight, the_right_is_to_one_class_in_one_project) {
  grant(
      "alice",
      R"({"verbs":["use"],"apiGroups":["scheduling.k8s.io"],"resources":["priorityclasses"],"resourceNames":["urgent"]})");
  EXPECT_EQ(refusal(job("urgent")), "");
  auto elsewhere = job("urgent");
  elsewhere.namespace_ = "team-b";
  EXPECT_EQ(refusal(elsewhere), "priority.use");
  EXPECT_EQ(refusal(job("not-there-yet")), "priority.use");
}

TEST_F(PriorityRight, it_is_asked_wherever_work_names_a_class_and_only_when_it_is_new) {
  const std::string pod = R"({"spec":{"template":{"spec":{"priorityClassName":"urgent"}}}})";
  const std::string cron = R"({"spec":{"jobTemplate":)" + pod + "}}";
  EXPECT_EQ(refusal({"apps", "deployments", "", pod}), "priority.use");
  EXPECT_EQ(refusal({"batch", "jobs", "", pod}), "priority.use");
  EXPECT_EQ(refusal({"batch", "cronjobs", "", cron}), "priority.use");
  EXPECT_EQ(
      refusal({"ai.hybrid.io", "deploymentstrategies", "", R"({"spec":{"priorityClassName":"urgent"}})"}),
      "priority.use");
  EXPECT_EQ(refusal({"neap.dev", "deploymentstrategies", "",
                     R"({"spec":{"stages":[{"training":{"priorityClass":"urgent"}}]}})"}),
            "priority.use");
  // It selects work there.
  EXPECT_EQ(refusal({"ai.hybridcloud", "schedulingpolicies", "", R"({"spec":{"priorityClass":"urgent"}})"}),
            "");
  auto known = job("urgent");
  known.before = R"({"spec":{"priorityClass":"urgent","replicas":2}})";
  EXPECT_EQ(refusal(known), "");
  known.before = R"({"spec":{"priorityClass":"whenever"}})";
  EXPECT_EQ(refusal(known), "priority.use");
}

}  // namespace
}  // namespace neap::app
