#include "controller_admission.h"

#include <fmt/format.h>

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

TEST_F(ControllersOwn, an_allocation_is_not_detached_pinned_or_billed_to_others) {
  constexpr auto kStands =
      R"({"metadata":{"labels":{"team":"vision","a":"b"},"finalizers":["neap.dev/x"],"ownerReferences":[{"uid":"1"}]},
          "spec":{"node":"n1"}})";
  const auto changed = [&](std::string_view metadata) {
    return refusal({"neap.dev", "allocations", "",
                    fmt::format(R"({{"metadata":{},"spec":{{"node":"n1"}}}})", metadata), kStands, "alice"});
  };
  constexpr std::string_view kOwner = R"("ownerReferences":[{"uid":"1"}])",
                             kHeld = R"("finalizers":["neap.dev/x"])",
                             kTeam = R"("labels":{"team":"vision"})";
  EXPECT_EQ(changed(fmt::format("{{{},{},{}}}", kTeam, kHeld, kOwner)), "") << "other labels are free";
  EXPECT_EQ(changed(fmt::format("{{{},{},{},\"annotations\":{{\"note\":\"x\"}}}}", kTeam, kHeld, kOwner)),
            "");
  for (const auto& refused :
       {fmt::format("{{{},{}}}", kTeam, kHeld), fmt::format("{{{},{}}}", kTeam, kOwner),
        fmt::format("{{{},{},\"finalizers\":[\"neap.dev/x\",\"me/forever\"]}}", kTeam, kOwner),
        fmt::format("{{{},{}}}", kHeld, kOwner),
        fmt::format("{{\"labels\":{{\"team\":\"other\"}},{},{}}}", kHeld, kOwner),
        fmt::format("{{\"labels\":{{\"team\":\"vision\",\"model\":\"m\"}},{},{}}}", kHeld, kOwner)})
    EXPECT_EQ(changed(refused), "controllers.own") << refused;
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
