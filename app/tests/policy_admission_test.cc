#include "policy_admission.h"

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::app {
namespace {

Status admit(std::string group, std::string_view text) {
  io::SimWorld world(1);
  auto& machine = world.add_machine("hq");
  auto object = parse_json(text).value();
  const auth::Identity who{.user = "admin"};
  auth::Attributes what;
  what.verb = "create";
  what.group = std::move(group);
  what.resource = "schedulingpolicies";
  what.is_resource = true;
  PolicyAdmission admission;
  std::vector<std::string> warnings;
  Status out;
  TaskGroup tasks(machine.runtime().executor());
  tasks.spawn([](PolicyAdmission& a, apiserver::AdmissionRequest r, std::vector<std::string>& w,
                 Status& result) -> Task<void> {
    result = co_await a.admit(r, w);
  }(admission, {.who = who, .what = what, .after = &object}, warnings, out));
  world.run_for(1min, [&] { return tasks.running() == 0; });
  return out;
}

TEST(PolicyAdmission, takes_rules_that_compile_and_leaves_other_kinds_alone) {
  EXPECT_TRUE(admit("neap.dev", R"j({"spec": {"rules": [
    {"name": "a", "condition": "task.type == 'training' && data.level == 'L2'", "action": "forbid(public)"}]
}
})j"));
  EXPECT_TRUE(admit("example.org", R"j({"spec": {"rules": [{"condition": "(("}]}})j"));
}

TEST(PolicyAdmission, refuses_a_condition_that_does_not_compile_and_says_where) {
  const auto status = admit("neap.dev", R"j({"spec": {"rules": [
    {"name": "good", "condition": "true", "action": "forbid(public)"},
    {"name": "bad", "condition": "task.type == ", "action": "forbid(public)"}]
}
})j");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInvalidArgument);
  EXPECT_TRUE(status.error().message.starts_with("spec.rules[1].condition: ")) << status.error().message;
}

TEST(PolicyAdmission, refuses_an_action_it_cannot_read) {
  const auto status = admit(
      "neap.dev", R"j({"spec": {"rules": [{"name": "a", "condition": "true", "action": "go away"}]}})j");
  ASSERT_FALSE(status);
  EXPECT_TRUE(status.error().message.starts_with("spec.rules[0].action: ")) << status.error().message;
}

TEST(PolicyAdmission, refuses_a_foreign_policy_that_cannot_be_translated) {
  EXPECT_TRUE(admit("ai.hybridcloud", R"j({"apiVersion": "ai.hybridcloud/v1", "kind": "SchedulingPolicy",
    "metadata": {"name": "p"}, "spec": {"priorityClass": "high",
      "constraints": [{"type": "Latency", "threshold": "20ms", "action": "ForceEdge"}]}})j"));
  EXPECT_FALSE(admit("ai.hybridcloud", R"j({"apiVersion": "ai.hybridcloud/v1", "kind": "SchedulingPolicy",
    "metadata": {"name": "p"}, "spec": {"priorityClass": "high",
      "constraints": [{"type": "Latency", "threshold": "soon", "action": "ForceEdge"}]}})j"));
}

}  // namespace
}  // namespace neap::app
