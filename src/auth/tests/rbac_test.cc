#include "neap/auth/rbac.h"

#include <gtest/gtest.h>

namespace neap::auth {
namespace {

Attributes resource(std::string verb, std::string name, std::string ns = "team-a", std::string object = {}) {
  Attributes out;
  out.verb = std::move(verb);
  out.group = "neap.dev";
  out.version = "v1";
  if (const auto slash = name.find('/'); slash != std::string::npos) {
    out.subresource = name.substr(slash + 1);
    name.resize(slash);
  }
  out.resource = std::move(name);
  out.namespace_ = std::move(ns);
  out.name = std::move(object);
  out.is_resource = true;
  return out;
}
Identity user(std::string name, std::vector<std::string> groups = {}) {
  groups.emplace_back(kAuthenticatedGroup);
  return {.user = std::move(name), .groups = std::move(groups), .node = {}, .authenticated = true};
}

class Rbac : public testing::Test {
 protected:
  RbacAuthorizer rbac_;
  void set(std::string_view text) { rbac_.set(parse_json(text).value()); }
  bool allows(const Identity& who, const Attributes& what) { return rbac_.authorize(who, what).allowed; }
  void SetUp() override {
    set(R"({"kind":"Role","metadata":{"name":"jobs","namespace":"team-a"},"rules":[
      {"verbs":["get","list","create"],"apiGroups":["neap.dev"],"resources":["trainingjobs","trainingjobs/status"]},
      {"verbs":["delete"],"apiGroups":["neap.dev"],"resources":["trainingjobs"],"resourceNames":["mine"]}]})");
    set(R"({"kind":"RoleBinding","metadata":{"name":"alice","namespace":"team-a"},
      "roleRef":{"kind":"Role","name":"jobs"},"subjects":[{"kind":"User","name":"alice"},
      {"kind":"ServiceAccount","name":"robot","namespace":"team-a"}]})");
    set(R"({"kind":"ClusterRole","metadata":{"name":"viewer"},"rules":[
      {"verbs":["get","list","watch"],"apiGroups":["*"],"resources":["*"]},
      {"verbs":["get"],"nonResourceURLs":["/metrics","/debug/*"]}]})");
    set(R"({"kind":"ClusterRoleBinding","metadata":{"name":"viewers"},
      "roleRef":{"kind":"ClusterRole","name":"viewer"},"subjects":[{"kind":"Group","name":"audit"}]})");
  }
};

TEST_F(Rbac, nothing_is_allowed_that_no_rule_allows) {
  EXPECT_FALSE(allows(user("nobody"), resource("get", "trainingjobs")));
  EXPECT_FALSE(allows(anonymous(), resource("get", "trainingjobs")));
  EXPECT_TRUE(allows(user("root", {"system:masters"}), resource("delete", "trainingjobs")));
}

TEST_F(Rbac, a_role_holds_in_its_namespace_only) {
  EXPECT_TRUE(allows(user("alice"), resource("create", "trainingjobs")));
  EXPECT_FALSE(allows(user("alice"), resource("create", "trainingjobs", "team-b")));
  EXPECT_FALSE(allows(user("alice"), resource("list", "trainingjobs", "")))
      << "all namespaces is more than one";
  EXPECT_TRUE(allows(user("system:serviceaccount:team-a:robot"), resource("get", "trainingjobs")));
}

TEST_F(Rbac, a_subresource_needs_its_own_rule_and_names_narrow_a_rule) {
  EXPECT_TRUE(allows(user("alice"), resource("get", "trainingjobs/status")));
  EXPECT_FALSE(allows(user("alice"), resource("get", "trainingjobs/scale")));
  EXPECT_TRUE(allows(user("alice"), resource("delete", "trainingjobs", "team-a", "mine")));
  EXPECT_FALSE(allows(user("alice"), resource("delete", "trainingjobs", "team-a", "theirs")));
}

TEST_F(Rbac, a_cluster_role_holds_everywhere_and_for_paths) {
  const auto auditor = user("carol", {"audit"});
  EXPECT_TRUE(allows(auditor, resource("watch", "allocations", "")));
  EXPECT_FALSE(allows(auditor, resource("create", "allocations")));
  Attributes path{.verb = "get",
                  .group = {},
                  .version = {},
                  .resource = {},
                  .subresource = {},
                  .namespace_ = {},
                  .name = {},
                  .field_selector = {},
                  .path = "/debug/heap",
                  .is_resource = false};
  EXPECT_TRUE(allows(auditor, path));
  EXPECT_FALSE(allows(user("alice"), path));
  path.path = "/apis/neap.dev/v1";
  EXPECT_TRUE(allows(user("alice"), path));
  EXPECT_FALSE(allows(anonymous(), path));
}

TEST_F(Rbac, removing_a_binding_ends_what_it_gave) {
  rbac_.erase("RoleBinding", "team-a", "alice");
  EXPECT_FALSE(allows(user("alice"), resource("create", "trainingjobs")));
}

TEST_F(Rbac, an_aggregated_role_holds_the_rules_of_those_its_labels_select) {
  set(R"({"kind":"ClusterRole","metadata":{"name":"all-in"},"aggregationRule":{"clusterRoleSelectors":[
    {"matchLabels":{"add":"yes"}}]}})");
  set(R"({"kind":"ClusterRole","metadata":{"name":"part","labels":{"add":"yes"}},"rules":[
    {"verbs":["create"],"apiGroups":["neap.dev"],"resources":["sites"]}]})");
  set(R"({"kind":"ClusterRoleBinding","metadata":{"name":"dave"},"roleRef":{"kind":"ClusterRole","name":"all-in"},
    "subjects":[{"kind":"User","name":"dave"}]})");
  EXPECT_TRUE(allows(user("dave"), resource("create", "sites", "")));
  EXPECT_FALSE(allows(user("dave"), resource("delete", "sites", "")));
}

TEST_F(Rbac, malformed_objects_grant_nothing) {
  for (const auto* text :
       {R"({"kind":"ClusterRole"})", R"({"kind":"ClusterRole","metadata":{"name":"x"},"rules":7})",
        R"({"kind":"ClusterRoleBinding","metadata":{"name":"y"},"subjects":[1,{}],"roleRef":[]})",
        R"({"kind":"RoleBinding","metadata":{"name":"z"},"roleRef":{"kind":"Role","name":"jobs"}})", R"([])"})
    set(text);
  EXPECT_FALSE(allows(user(""), resource("get", "trainingjobs", "")));
}

TEST_F(Rbac, rules_are_listed_for_the_one_who_asks) {
  const auto rules = rbac_.rules_for(user("alice"), "team-a");
  EXPECT_NE(to_text(rules).find("trainingjobs"), std::string::npos);
  EXPECT_EQ(to_text(rbac_.rules_for(user("alice"), "team-b")).find("trainingjobs"), std::string::npos);
}

// What writing an RBAC object is judged by: who has what is in the roles of the fixture.
class RbacEscalation : public Rbac {
 protected:
  Decision writes(const Identity& who, std::string_view resource_name, std::string_view after,
                  std::string_view before = {}, std::string ns = "team-a") {
    auto what =
        resource(before.empty() ? "create" : "update", std::string(resource_name), std::move(ns), "new");
    what.group = "rbac.authorization.k8s.io";
    const auto after_json = parse_json(after).value();
    const auto before_json = before.empty() ? Json() : parse_json(before).value();
    return rbac_.authorize_object(who, what, before.empty() ? nullptr : &before_json, &after_json);
  }
};

TEST_F(RbacEscalation, a_role_holds_no_more_than_its_author) {
  EXPECT_TRUE(writes(user("alice"), "roles", R"({"rules":[
    {"verbs":["get","create"],"apiGroups":["neap.dev"],"resources":["trainingjobs"]},
    {"verbs":["delete"],"apiGroups":["neap.dev"],"resources":["trainingjobs"],"resourceNames":["mine"]}]})")
                  .allowed);
  const auto refused = writes(user("alice"), "roles", R"({"rules":[
    {"verbs":["get","delete"],"apiGroups":["neap.dev"],"resources":["trainingjobs"]}]})");
  EXPECT_FALSE(refused.allowed);
  EXPECT_NE(refused.reason.find(R"({APIGroups:["neap.dev"], Resources:["trainingjobs"], Verbs:["delete"]})"),
            std::string::npos)
      << refused.reason;
  EXPECT_EQ(refused.reason.find(R"(Verbs:["get"])"), std::string::npos) << "what is held is not missing";
  for (const auto* wide :
       {R"({"rules":[{"verbs":["*"],"apiGroups":["neap.dev"],"resources":["trainingjobs"]}]})",
        R"({"rules":[{"verbs":["get"],"apiGroups":["*"],"resources":["trainingjobs"]}]})",
        R"({"rules":[{"verbs":["get"],"apiGroups":["neap.dev"],"resources":["*"]}]})",
        R"({"rules":[{"verbs":["get"],"nonResourceURLs":["/metrics"]}]})",
        R"({"rules":[],"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]}})"})
    EXPECT_FALSE(writes(user("alice"), "roles", wide).allowed) << wide;
}

TEST_F(RbacEscalation, override_is_held_and_handed_on_by_whom_a_rule_names_it_for) {
  set(R"({"kind":"Role","metadata":{"name":"all","namespace":"team-a"},"rules":[
    {"verbs":["*"],"apiGroups":["neap.dev"],"resources":["*"]}]})");
  set(R"({"kind":"RoleBinding","metadata":{"name":"all","namespace":"team-a"},
    "roleRef":{"kind":"Role","name":"all"},"subjects":[{"kind":"User","name":"bob"}]})");
  const auto asked = resource("override", "allocations");
  EXPECT_FALSE(allows(user("bob"), asked)) << "a star is not this right";
  EXPECT_FALSE(allows(user("root", {"system:masters"}), asked));
  constexpr auto kNames =
      R"({"rules":[{"verbs":["override"],"apiGroups":["neap.dev"],"resources":["allocations"]}]})";
  EXPECT_FALSE(writes(user("bob"), "roles", kNames).allowed);
  EXPECT_TRUE(writes(user("root", {"system:masters"}), "roles", kNames).allowed);
  set(R"({"kind":"Role","metadata":{"name":"mend","namespace":"team-a"},"rules":[
    {"verbs":["override"],"apiGroups":["neap.dev"],"resources":["allocations"]}]})");
  set(R"({"kind":"RoleBinding","metadata":{"name":"mend","namespace":"team-a"},
    "roleRef":{"kind":"Role","name":"mend"},"subjects":[{"kind":"Group","name":"system:masters"}]})");
  EXPECT_TRUE(allows(user("root", {"system:masters"}), asked));
  EXPECT_FALSE(allows(user("root", {"system:masters"}), resource("override", "trainingjobs")));
}

TEST_F(RbacEscalation, rights_in_one_namespace_are_none_in_another_or_everywhere) {
  const auto* narrow =
      R"({"rules":[{"verbs":["get"],"apiGroups":["neap.dev"],"resources":["trainingjobs"]}]})";
  EXPECT_TRUE(writes(user("alice"), "roles", narrow).allowed);
  EXPECT_FALSE(writes(user("alice"), "roles", narrow, {}, "team-b").allowed);
  EXPECT_FALSE(writes(user("alice"), "clusterroles", narrow, {}, "").allowed);
  EXPECT_TRUE(writes(user("bob", {"audit"}), "clusterroles", narrow, {}, "").allowed);
  EXPECT_TRUE(writes(user("bob", {"audit"}), "clusterroles",
                     R"({"rules":[{"verbs":["get"],"nonResourceURLs":["/debug/pprof/*","/metrics"]}]})", {},
                     "")
                  .allowed);
}

TEST_F(RbacEscalation, an_update_that_adds_no_right_is_free) {
  const auto* wide = R"({"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]})";
  const auto* labelled =
      R"({"metadata":{"labels":{"a":"b"}},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]})";
  EXPECT_TRUE(writes(user("alice"), "roles", labelled, wide).allowed);
  EXPECT_FALSE(writes(user("alice"), "roles", wide, R"({"rules":[]})").allowed);
}

TEST_F(RbacEscalation, a_binding_gives_no_more_than_its_author_has) {
  const auto* to_jobs =
      R"({"roleRef":{"kind":"Role","name":"jobs"},"subjects":[{"kind":"User","name":"eve"}]})";
  const auto* to_viewer =
      R"({"roleRef":{"kind":"ClusterRole","name":"viewer"},"subjects":[{"kind":"User","name":"eve"}]})";
  EXPECT_TRUE(writes(user("alice"), "rolebindings", to_jobs).allowed);
  EXPECT_FALSE(writes(user("alice"), "rolebindings", to_viewer).allowed);
  EXPECT_FALSE(writes(user("eve"), "rolebindings", to_jobs).allowed);
  EXPECT_TRUE(writes(user("bob", {"audit"}), "clusterrolebindings", to_viewer, {}, "").allowed);
  EXPECT_FALSE(writes(user("alice"), "clusterrolebindings", to_viewer, {}, "").allowed);
  EXPECT_FALSE(writes(user("bob", {"audit"}), "rolebindings",
                      R"({"roleRef":{"kind":"Role","name":"none"},"subjects":[]})")
                   .allowed)
      << "what a role that is not there will hold is not known";
}

TEST_F(RbacEscalation, escalate_and_bind_are_rights_of_their_own) {
  set(R"({"kind":"Role","metadata":{"name":"keeper","namespace":"team-a"},"rules":[
    {"verbs":["escalate"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"]},
    {"verbs":["bind"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],
     "resourceNames":["viewer"]}]})");
  set(R"({"kind":"RoleBinding","metadata":{"name":"keeper","namespace":"team-a"},
    "roleRef":{"kind":"Role","name":"keeper"},"subjects":[{"kind":"User","name":"kim"}]})");
  EXPECT_TRUE(
      writes(user("kim"), "roles", R"({"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]})")
          .allowed);
  EXPECT_TRUE(
      writes(user("kim"), "rolebindings", R"({"roleRef":{"kind":"ClusterRole","name":"viewer"}})").allowed);
  EXPECT_FALSE(writes(user("kim"), "rolebindings", R"({"roleRef":{"kind":"Role","name":"jobs"}})").allowed);
}

TEST_F(RbacEscalation, a_role_of_too_many_words_is_refused_before_it_is_compared) {
  std::string words;
  for (int i = 0; i < 200; ++i) words += (i ? ",\"w" : "\"w") + std::to_string(i) + "\"";
  const auto rule =
      "{\"rules\":[{\"verbs\":[" + words + "],\"apiGroups\":[" + words + "],\"resources\":[" + words + "]}]}";
  const auto refused = writes(user("alice"), "roles", rule);
  EXPECT_FALSE(refused.allowed);
  EXPECT_NE(refused.reason.find("at most 20000"), std::string::npos) << refused.reason;
}

}  // namespace
}  // namespace neap::auth
