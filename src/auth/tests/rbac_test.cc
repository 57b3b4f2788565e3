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

}  // namespace
}  // namespace neap::auth
