#include "controller_admission.h"

#include "tests/admission_fixture.h"

namespace neap::app {
namespace {

constexpr auto kPlaced = R"({"spec":{"node":"n1"},"status":{"phase":"Reserved","nodes":["n1"]}})";
constexpr auto kPending = R"({"spec":{"node":"n1"},"status":{"phase":"Pending"}})";
constexpr auto kEverything = R"({"verbs":["*"],"apiGroups":["*"],"resources":["*"]})";

class ControllersOwn : public AdmissionTest {
 protected:
  ControllersOwn() { grant("alice", kEverything); }
  std::string refusal(const Write& write) {
    const auto done = admitted(admission_, write);
    return done ? "" : done.error().reason;
  }
  ControllerAdmission admission_{rbac_};
};

TEST_F(ControllersOwn, a_phase_or_a_placement_is_forged_by_nobody_with_whatever_rights) {
  for (const auto* user : {"alice", "root"}) {
    for (const auto* resource : {"trainingjobs", "inferenceservices", "allocations"})
      EXPECT_EQ(refusal({"neap.dev", resource, "status", kPlaced, kPending, user}), "controllers.own")
          << user << " " << resource;
    EXPECT_EQ(refusal({"neap.dev", "allocations", "", kPlaced, "", user}), "controllers.own");
    EXPECT_EQ(refusal({"neap.dev", "allocations", "", R"({"spec":{"node":"n2"}})", kPlaced, user}),
              "controllers.own");
    EXPECT_EQ(refusal({"neap.dev", "allocations", "",
                       R"({"metadata":{"ownerReferences":[]},"spec":{"node":"n1"}})", kPlaced, user}),
              "controllers.own");
  }
  const auto said = admitted(admission_, {"neap.dev", "trainingjobs", "status", kPlaced, kPending, "root"});
  for (const auto* word : {"status of trainingjobs", "root", "\"override\"", "trainingjobs/status"})
    EXPECT_NE(said.error().message.find(word), std::string::npos) << said.error().message;
}

TEST_F(ControllersOwn, what_decides_nothing_and_who_decides_pass) {
  EXPECT_EQ(refusal({"neap.dev", "trainingjobs", "", R"({"spec":{"replicas":2}})", kPending}), "");
  EXPECT_EQ(refusal({"neap.dev", "trainingjobs", "status", kPending, kPending}), "") << "nothing changes";
  EXPECT_EQ(refusal({"neap.dev", "allocations", "",
                     R"({"metadata":{"labels":{"a":"b"}},"spec":{"node":"n1"}})", kPlaced}),
            "");
  EXPECT_EQ(refusal({"neap.dev", "nodes", "status", kPlaced, kPending, "root"}), "");
  EXPECT_EQ(refusal({"apps", "deployments", "status", kPlaced, kPending}), "");
  for (const auto* user : {"system:controllers", "system:apiserver", "system:node:n1"})
    EXPECT_EQ(refusal({"neap.dev", "allocations", "status", kPlaced, kPending, user}), "") << user;
}

TEST_F(ControllersOwn, who_must_mend_by_hand_has_it_in_a_role_that_names_it) {
  const Write mends{"neap.dev", "trainingjobs", "status", kPending, kPlaced, "root"};
  grant("root", R"({"verbs":["override"],"apiGroups":["neap.dev"],"resources":["trainingjobs/status"]})");
  EXPECT_EQ(refusal(mends), "");
  auto elsewhere = mends;
  elsewhere.namespace_ = "team-b";
  EXPECT_EQ(refusal(elsewhere), "controllers.own");
  EXPECT_EQ(refusal({"neap.dev", "allocations", "status", kPending, kPlaced, "root"}), "controllers.own");
}

}  // namespace
}  // namespace neap::app
