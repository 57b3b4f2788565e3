#include "plan_admission.h"

#include "tests/admission_fixture.h"

namespace neap::app {
namespace {

class DryRun : public AdmissionTest {
 protected:
  static Result<Json> plan(const Json& object, const std::string& project) {
    if (project != "team-a") return fail(Code::kNotFound, "test.project", project);
    const auto name = get_string(object, "name");
    if (name == "broken") return fail(Code::kNotFound, "job.input.missing", "dataset faces is not there");
    if (name == "large")
      return object_of(
          R"({"currency":"USD","variants":[{"variant":"now","placed":false,"why":"hq: full"}]})");
    return object_of(
        R"({"currency":"EUR","variants":[{"variant":"now","placed":true,"costPerHourMicros":14900,"places":
           [{"site":"hq","capacityType":"spot"},{"site":"hq","capacityType":"spot"}]},{"variant":"idle","placed":false}]})");
  }
  std::vector<std::string> told(Write write, bool is_dry = true) {
    write.is_dry_run = is_dry;
    PlanAdmission admission(rbac_, plan);
    EXPECT_TRUE(admitted(admission, write));
    return warnings_;
  }
  static Write job(std::string_view name, std::string before = "") {
    return {"neap.dev",        "trainingjobs", "", R"({"spec":{"a":1},"name":")" + std::string(name) + "\"}",
            std::move(before), "root"};
  }
};

using Lines = std::vector<std::string>;

TEST_F(DryRun, says_where_a_job_would_run_and_what_an_hour_costs) {
  EXPECT_EQ(told(job("small")), Lines{"it would run at hq (spot) x2 for 0.014900 EUR an hour"});
  EXPECT_EQ(told(job("large")), Lines{"it would wait: hq: full"});
  EXPECT_EQ(told(job("broken")), Lines{"where it would run is not known: dataset faces is not there"});
  EXPECT_EQ(told(job("small", R"({"spec":{"a":2}})")).size(), 1u);
}

TEST_F(DryRun, is_silent_where_nothing_would_be_placed) {
  EXPECT_EQ(told(job("small"), false), Lines{}) << "a real write";
  EXPECT_EQ(told(job("small", R"({"spec":{"a":1}})")), Lines{}) << "a label changes";
  EXPECT_EQ(told({"neap.dev", "sites", "", R"({"spec":{}})", "", "root"}), Lines{});
  EXPECT_EQ(told({"neap.dev", "trainingjobs", "status", R"({"spec":{}})", "", "root"}), Lines{});
}

TEST_F(DryRun, tells_nothing_of_a_project_that_the_caller_may_not_read) {
  auto write = job("small");
  write.user = "alice";
  grant("alice", R"({"verbs":["create"],"apiGroups":["*"],"resources":["trainingjobs"]})");
  EXPECT_EQ(told(write), Lines{});
  grant("alice", R"({"verbs":["list"],"apiGroups":["neap.dev"],"resources":["allocations"]})");
  EXPECT_EQ(told(write).size(), 1u);
}

}  // namespace
}  // namespace neap::app
