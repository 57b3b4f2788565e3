#include "neap/auth/audit_policy.h"

#include <gtest/gtest.h>

namespace neap::auth {
namespace {

Attributes resource(std::string verb, std::string group, std::string name, std::string sub = {},
                    std::string ns = "team-a") {
  Attributes out;
  out.verb = std::move(verb);
  out.group = std::move(group);
  out.resource = std::move(name);
  out.subresource = std::move(sub);
  out.namespace_ = std::move(ns);
  out.name = "one";
  out.is_resource = true;
  return out;
}

constexpr std::string_view kPolicy = R"({"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[
  {"level":"None","users":["system:probe"],"verbs":["get"]},
  {"level":"RequestResponse","resources":[{"group":"","resources":["secrets","serviceaccounts/token","*/status"]}]},
  {"level":"Request","resources":[{"group":"neap.dev","resources":["trainingjobs","allocations/*"],
     "resourceNames":["one"]}],"namespaces":["team-a"],"omitManagedFields":true},
  {"level":"Metadata","nonResourceURLs":["/neap/v1/*"]},
  {"level":"Metadata","userGroups":["audited"]}]})";

class Audit : public testing::Test {
 protected:
  AuditPolicy policy_ = AuditPolicy::parse(parse_json(kPolicy).value()).value();
  Identity who_{.user = "alice", .groups = {"dev"}};
  AuditLevel of(const Attributes& what) { return policy_.level_of(who_, what); }
};

TEST_F(Audit, the_first_rule_that_matches_decides_and_none_is_nothing) {
  EXPECT_EQ(of(resource("create", "neap.dev", "trainingjobs")), AuditLevel::kRequest);
  EXPECT_TRUE(policy_.omits_managed_fields(who_, resource("create", "neap.dev", "trainingjobs")));
  EXPECT_EQ(of(resource("create", "neap.dev", "trainingjobs", "", "team-b")), AuditLevel::kNone);
  EXPECT_EQ(of(resource("create", "neap.dev", "allocations", "log")), AuditLevel::kRequest);
  EXPECT_EQ(of(resource("create", "neap.dev", "allocations")), AuditLevel::kNone)
      << "x/* is subresources only";
  EXPECT_EQ(of(resource("update", "", "namespaces", "status")), AuditLevel::kRequestResponse);
  EXPECT_EQ(of(resource("update", "apps", "deployments", "status")), AuditLevel::kNone)
      << "group \"\" is core";
  Attributes path;
  path.verb = "get";
  path.path = "/neap/v1/cost";
  EXPECT_EQ(of(path), AuditLevel::kMetadata);
  path.path = "/version";
  EXPECT_EQ(of(path), AuditLevel::kNone);
  who_.groups = {"audited"};
  EXPECT_EQ(of(path), AuditLevel::kMetadata);
  who_.user = "system:probe";
  EXPECT_EQ(of(path), AuditLevel::kNone) << "an earlier rule wins";
}

TEST_F(Audit, what_carries_secrets_is_never_above_metadata) {
  EXPECT_EQ(of(resource("create", "", "secrets")), AuditLevel::kMetadata);
  EXPECT_EQ(of(resource("create", "", "serviceaccounts", "token")), AuditLevel::kMetadata);
  EXPECT_TRUE(carries_secrets(resource("create", "authentication.k8s.io", "tokenreviews")));
  EXPECT_FALSE(carries_secrets(resource("create", "", "serviceaccounts")));
}

TEST_F(Audit, a_policy_that_says_something_else_than_it_seems_is_refused) {
  const auto error = [](std::string_view rules) {
    const auto text =
        R"({"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":)" + std::string(rules) + "}";
    const auto parsed = AuditPolicy::parse(parse_json(text).value());
    return parsed ? std::string("ok") : parsed.error().message;
  };
  EXPECT_EQ(error(R"([{"level":"metadata"}])"),
            "rules[0]: level must be None, Metadata, Request or RequestResponse");
  EXPECT_EQ(error(R"([{"level":"None"},{"level":"None","user":["a"]}])"),
            "rules[1]: a rule has no member \"user\"");
  EXPECT_EQ(error("[]"), "rules must be a list of 1 to 1000 rules");
  EXPECT_NE(error(R"([{"level":"None","nonResourceURLs":["/a"],"resources":[{"group":""}]}])"), "ok");
  EXPECT_NE(error(R"([{"level":"None","resources":[{"groups":""}]}])"), "ok");
  EXPECT_FALSE(AuditPolicy::parse(parse_json(R"({"kind":"Policy"})").value()));
}

}  // namespace
}  // namespace neap::auth
