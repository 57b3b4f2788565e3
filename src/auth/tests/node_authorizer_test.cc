#include "neap/auth/node_authorizer.h"

#include <gtest/gtest.h>

#include "neap/auth/rbac.h"

namespace neap::auth {
namespace {

const Identity kAgent = identity_of_certificate("system:node:press-7", {"system:nodes"});

struct Call {
  std::string verb, group, resource, ns, name, subresource, selector;
};
Attributes attributes(const Call& call) {
  return {.verb = call.verb,
          .group = call.group,
          .version = "v1",
          .resource = call.resource,
          .subresource = call.subresource,
          .namespace_ = call.ns,
          .name = call.name,
          .field_selector = call.selector,
          .path = {},
          .is_resource = true};
}
std::string text_of(const Call& c) {
  return c.verb + " " + c.group + "/" + c.resource + "/" + c.subresource + " " + c.ns + "/" + c.name + " " +
         c.selector;
}

TEST(NodeAuthorizer, an_agent_may_do_its_work) {
  const NodeAuthorizer nodes;
  const std::vector<Call> calls{
      {"get", "neap.dev", "nodes", "", "press-7", "", ""},
      {"list", "neap.dev", "nodes", "", "", "", ""},
      {"watch", "neap.dev", "sites", "", "", "", ""},
      {"list", "neap.dev", "datapolicies", "", "", "", ""},
      {"update", "neap.dev", "nodes", "", "press-7", "status", ""},
      {"patch", "neap.dev", "nodes", "", "press-7", "status", ""},
      {"list", "neap.dev", "allocations", "", "", "", "spec.node=press-7"},
      {"watch", "neap.dev", "allocations", "", "", "", "metadata.name!=x,spec.node==press-7"},
      {"update", "neap.dev", "allocations", "team-a", "a-0", "status", ""},
      {"get", "neap.dev", "trainingjobs", "team-a", "a", "", ""},
      {"get", "neap.dev", "modelversions", "team-a", "m-1", "", ""},
      {"update", "coordination.k8s.io", "leases", "neap-node-lease", "press-7", "", ""},
      {"create", "coordination.k8s.io", "leases", "neap-node-lease", "", "", ""},
      {"create", "", "events", "team-a", "", "", ""},
  };
  for (const auto& call : calls) {
    const auto decision = nodes.authorize(kAgent, attributes(call));
    EXPECT_TRUE(decision.allowed) << text_of(call) << ": " << decision.reason;
  }
}

TEST(NodeAuthorizer, what_an_agent_may_not_do_is_refused_with_a_reason) {
  const NodeAuthorizer nodes;
  const std::vector<Call> calls{
      {"update", "neap.dev", "nodes", "", "press-8", "status", ""},
      {"update", "neap.dev", "nodes", "", "press-7", "", ""},
      {"create", "neap.dev", "nodes", "", "", "", ""},
      {"delete", "neap.dev", "nodes", "", "press-7", "", ""},
      {"list", "neap.dev", "allocations", "", "", "", ""},
      {"watch", "neap.dev", "allocations", "", "", "", "spec.node=press-8"},
      {"watch", "neap.dev", "allocations", "", "", "", "spec.node!=press-7"},
      {"watch", "neap.dev", "allocations", "", "", "", "spec.node=press-77"},
      {"list", "neap.dev", "allocations", "team-a", "", "", "metadata.name=spec.node=press-7"},
      {"create", "neap.dev", "allocations", "team-a", "", "", ""},
      {"update", "neap.dev", "allocations", "team-a", "a-0", "", ""},
      {"delete", "neap.dev", "allocations", "team-a", "a-0", "", ""},
      {"deletecollection", "neap.dev", "allocations", "team-a", "", "", "spec.node=press-7"},
      {"create", "neap.dev", "datasetversions", "team-a", "", "", ""},
      {"update", "neap.dev", "datasetversions", "team-a", "v1", "status", ""},
      {"list", "neap.dev", "trainingjobs", "", "", "", ""},
      {"update", "neap.dev", "trainingjobs", "team-a", "a", "status", ""},
      {"update", "neap.dev", "sites", "", "factory", "", ""},
      {"create", "neap.dev", "datapolicies", "team-a", "", "", ""},
      {"update", "coordination.k8s.io", "leases", "neap-node-lease", "press-8", "", ""},
      {"update", "coordination.k8s.io", "leases", "neap-system", "press-7", "", ""},
      {"delete", "coordination.k8s.io", "leases", "neap-node-lease", "press-7", "", ""},
      {"list", "coordination.k8s.io", "leases", "neap-node-lease", "", "", ""},
      {"get", "", "secrets", "team-a", "s", "", ""},
      {"get", "", "configmaps", "team-a", "c", "", ""},
      {"list", "", "events", "team-a", "", "", ""},
      {"create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", "", ""},
      {"get", "neap.dev", "trainingjobs", "team-a", "a", "exec", ""},
  };
  for (const auto& call : calls) {
    const auto decision = nodes.authorize(kAgent, attributes(call));
    EXPECT_FALSE(decision.allowed) << text_of(call);
    EXPECT_FALSE(decision.reason.empty()) << text_of(call);
  }
}

TEST(NodeAuthorizer, an_object_must_belong_to_the_node) {
  const NodeAuthorizer nodes;
  const auto ours = parse_json(R"({"spec":{"node":"press-7"}})").value();
  const auto theirs = parse_json(R"({"spec":{"node":"press-8"}})").value();
  const auto what = attributes({"update", "neap.dev", "allocations", "team-a", "a-0", "status", ""});
  EXPECT_TRUE(nodes.authorize_object(kAgent, what, &ours, nullptr).allowed);
  EXPECT_FALSE(nodes.authorize_object(kAgent, what, &theirs, &ours).allowed)
      << "what is stored counts, not what is sent";
  const auto lease = attributes({"create", "coordination.k8s.io", "leases", "neap-node-lease", "", "", ""});
  const auto own_lease = parse_json(R"({"metadata":{"name":"press-7"}})").value();
  const auto other_lease = parse_json(R"({"metadata":{"name":"press-8"}})").value();
  EXPECT_TRUE(nodes.authorize_object(kAgent, lease, nullptr, &own_lease).allowed);
  EXPECT_FALSE(nodes.authorize_object(kAgent, lease, nullptr, &other_lease).allowed);
}

TEST(NodeAuthorizer, paths_are_the_nodes_own) {
  const NodeAuthorizer nodes;
  const auto path = [&](std::string verb, std::string path) {
    Attributes what;
    what.verb = std::move(verb);
    what.path = std::move(path);
    return nodes.authorize(kAgent, what).allowed;
  };
  EXPECT_TRUE(path("get", "/healthz"));
  EXPECT_TRUE(path("post", "/ledger/v1/nodes/press-7/usage"));
  EXPECT_FALSE(path("post", "/ledger/v1/nodes/press-77/usage"));
  EXPECT_FALSE(path("post", "/ledger/v1/nodes/press-8"));
  EXPECT_FALSE(path("get", "/console/"));
}

TEST(NodeAuthorizer, no_role_widens_what_a_node_may_do) {
  const NodeAuthorizer nodes;
  RbacAuthorizer rbac;
  rbac.set(parse_json(R"({"kind":"ClusterRole","metadata":{"name":"all"},"rules":[
    {"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]})")
               .value());
  rbac.set(
      parse_json(R"({"kind":"ClusterRoleBinding","metadata":{"name":"oops"},"roleRef":{"kind":"ClusterRole",
    "name":"all"},"subjects":[{"kind":"Group","name":"system:nodes"}]})")
          .value());
  const AuthorizerChain chain(nodes, rbac);
  EXPECT_FALSE(chain.authorize(kAgent, attributes({"get", "", "secrets", "team-a", "s", "", ""})).allowed);
  EXPECT_FALSE(
      nodes.authorize(anonymous(), attributes({"get", "neap.dev", "nodes", "", "x", "", ""})).allowed);
}

}  // namespace
}  // namespace neap::auth
