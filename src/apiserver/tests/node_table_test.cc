// Every verb on every kind the API serves, asked by the agent of one node: what is not its work is 403.
#include <fmt/format.h>

#include <set>

#include "world.h"

namespace neap::apiserver {
namespace {

const std::set<std::string, std::less<>> kAllowed{
    // What it needs to decide while it is offline.
    "list sites.neap.dev", "watch sites.neap.dev", "get sites.neap.dev", "list links.neap.dev",
    "watch links.neap.dev", "get links.neap.dev", "list nodes.neap.dev", "watch nodes.neap.dev",
    "get nodes.neap.dev", "list datapolicies.neap.dev", "watch datapolicies.neap.dev",
    "get datapolicies.neap.dev", "list schedulingpolicies.neap.dev", "watch schedulingpolicies.neap.dev",
    "get schedulingpolicies.neap.dev",
    // Owners, data and models of its work, by name.
    "get trainingjobs.neap.dev", "get inferenceservices.neap.dev", "get datasets.neap.dev",
    "get datasetversions.neap.dev", "get models.neap.dev", "get modelversions.neap.dev",
    // Its allocations: by name here, where the object is judged; lists only with the selector.
    "get allocations.neap.dev", "update allocations.neap.dev/status", "patch allocations.neap.dev/status",
    "get allocations.neap.dev/status", "get trainingjobs.neap.dev/status",
    "get inferenceservices.neap.dev/status", "get datasets.neap.dev/status",
    "get datasetversions.neap.dev/status", "get models.neap.dev/status", "get modelversions.neap.dev/status",
    "create events", "create leases.coordination.k8s.io"};

class NodeTable : public testing::Test {
 protected:
  World world_;
  int forbidden_ = 0;

  // `name` is one that belongs to nobody: rights are asked before the object is looked for.
  void ask(std::string_view verb, const api::KindEntry& kind, std::string subresource = {}) {
    const auto base =
        kind.group.empty() ? std::string("/api/v1") : fmt::format("/apis/{}/{}", kind.group, kind.version);
    auto path = base + (kind.namespaced ? "/namespaces/default/" : "/") + kind.plural;
    const bool by_name =
        verb == "get" || verb == "update" || verb == "patch" || verb == "delete" || !subresource.empty();
    if (by_name) path += "/somebody-elses";
    if (!subresource.empty()) path += "/" + subresource;
    if (verb == "watch") path += "?watch=true&timeoutSeconds=1";
    const std::string method = verb == "create"                                 ? "POST"
                               : verb == "update"                               ? "PUT"
                               : verb == "patch"                                ? "PATCH"
                               : verb == "delete" || verb == "deletecollection" ? "DELETE"
                                                                                : "GET";
    const auto what = fmt::format("{} {}{}{}", verb, kind.plural, kind.group.empty() ? "" : "." + kind.group,
                                  subresource.empty() ? "" : "/" + subresource);
    const auto answer = world_.call(
        method, path, method == "GET" ? "" : "{}", "node",
        {{"Content-Type", verb == "patch" ? "application/merge-patch+json" : "application/json"}});
    if (kAllowed.contains(what)) {
      // Allowed by kind; what is judged by its object is refused for others' (and absent ones are absent).
      EXPECT_NE(answer.status, 401) << what;
    } else {
      EXPECT_EQ(answer.status, 403) << what << ": " << answer.text.substr(0, 300);
      if (answer.status == 403) ++forbidden_;
    }
  }
};

TEST_F(NodeTable, what_is_not_an_agents_work_is_forbidden_on_every_kind_and_verb) {
  for (const auto& kind : api::KindTable::standard().all()) {
    for (const auto* verb :
         {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"})
      ask(verb, kind);
    if (kind.has_status)
      for (const auto* verb : {"get", "update", "patch"}) ask(verb, kind, "status");
    if (kind.has_scale)
      for (const auto* verb : {"get", "update", "patch"}) ask(verb, kind, "scale");
  }
  const auto& kinds = api::KindTable::standard();
  for (const auto* plural : {"allocations", "pods"})
    if (const auto* kind = kinds.find(plural == std::string_view("pods") ? "" : "neap.dev", "v1", plural))
      for (const auto* subresource : {"log", "exec", "attach", "portforward"})
        for (const auto* verb : {"get", "create"}) ask(verb, *kind, subresource);
  if (const auto* accounts = kinds.find("", "v1", "serviceaccounts")) ask("create", *accounts, "token");
  EXPECT_GT(forbidden_, 200);
}

TEST_F(NodeTable, what_belongs_to_another_node_is_forbidden_object_by_object) {
  const auto allocation = [](std::string_view name, std::string_view node) {
    return fmt::format(
        R"({{"metadata":{{"name":"{}"}},"spec":{{"node":"{}","site":"a","ownerKind":"TrainingJob","ownerName":"j","epoch":1}}}})",
        name, node);
  };
  const std::string all = "/apis/neap.dev/v1/namespaces/default/allocations";
  ASSERT_EQ(world_.post(all, allocation("ours", "press-7")).status, 201);
  ASSERT_EQ(world_.post(all, allocation("theirs", "press-8")).status, 201);
  const auto status = R"({"status":{"phase":"Running"}})";
  const std::vector<std::pair<std::string, std::string>> merge{
      {"Content-Type", "application/merge-patch+json"}};
  EXPECT_EQ(world_.call("GET", all + "/ours", {}, "node").status, 200);
  EXPECT_EQ(world_.call("PATCH", all + "/ours/status", status, "node", merge).status, 200);
  EXPECT_EQ(world_.call("GET", all + "/theirs", {}, "node").status, 403);
  EXPECT_EQ(world_.call("PATCH", all + "/theirs/status", status, "node", merge).status, 403);
  EXPECT_EQ(world_.call("GET", all, {}, "node").status, 403) << "without the selector";
  EXPECT_EQ(world_.call("GET", all + "?fieldSelector=spec.node%3Dpress-8", {}, "node").status, 403);
  const auto own = world_.call("GET", all + "?fieldSelector=spec.node%3Dpress-7", {}, "node");
  EXPECT_EQ(own.status, 200);
  EXPECT_EQ(own.text.find("theirs"), std::string::npos);
  // Moving its allocation's node by the status is no way to another's.
  const auto moved = R"({"spec":{"node":"press-8"},"status":{"phase":"Running"}})";
  EXPECT_EQ(world_.call("PATCH", all + "/ours/status", moved, "node", merge).status, 200);
  EXPECT_NE(world_.get(all + "/ours").text.find("\"node\":\"press-7\""), std::string::npos);

  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/neap-node-lease/leases";
  const auto lease = [](std::string_view name) {
    return fmt::format(R"({{"metadata":{{"name":"{0}"}},"spec":{{"holderIdentity":"{0}"}}}})", name);
  };
  EXPECT_EQ(world_.call("POST", leases, lease("press-8"), "node").status, 403);
  EXPECT_EQ(world_.call("POST", leases, lease("press-7"), "node").status, 201);
  ASSERT_EQ(world_.post(leases, lease("press-9")).status, 201);
  EXPECT_EQ(world_.call("GET", leases + "/press-9", {}, "node").status, 403);
  EXPECT_EQ(world_.call("PATCH", leases + "/press-9", "{}", "node", merge).status, 403);
  EXPECT_EQ(world_.call("DELETE", leases + "/press-7", {}, "node").status, 403);
}

TEST_F(NodeTable, an_agent_speaks_for_nobody_else) {
  for (const auto* user : {"admin", "system:node:press-8", "system:serviceaccount:default:default"})
    EXPECT_EQ(world_.call("GET", "/apis/neap.dev/v1/sites", {}, "node", {{"Impersonate-User", user}}).status,
              403)
        << user;
  for (const auto* path :
       {"/neap/v1/cost", "/neap/v1/audit", "/neap/v1/join-tokens", "/neap/v1/secrets/rotate",
        "/neap/v1/console-codes", "/ledger/v1/nodes/press-8/usage", "/agent/v1/nodes/press-8/certificate",
        "/metrics"})
    EXPECT_NE(world_.call("POST", path, "{}", "node").status / 100, 2) << path;
}

// --- tokens of ServiceAccounts

class AccountTokens : public testing::Test {
 protected:
  World world_;
  const std::string accounts_ = "/api/v1/namespaces/default/serviceaccounts";
  std::string token(std::string_view spec = "{}", std::string_view account = "robot") {
    const auto answer =
        world_.post(fmt::format("{}/{}/token", accounts_, account), fmt::format(R"({{"spec":{}}})", spec));
    EXPECT_EQ(answer.status, 201) << answer.text;
    const auto* status = find_path(answer.body, {"status"});
    return status ? std::string(get_string(*status, "token")) : std::string();
  }
  int asks(const std::string& with) {
    return world_.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", with).status;
  }
  void SetUp() override { ASSERT_EQ(world_.post(accounts_, R"({"metadata":{"name":"robot"}})").status, 201); }
};

TEST_F(AccountTokens, a_token_for_another_audience_opens_nothing_here) {
  EXPECT_EQ(asks(token()), 201);
  EXPECT_EQ(asks(token(R"({"audiences":["neap"]})")), 201);
  EXPECT_EQ(asks(token(R"({"audiences":["vault"]})")), 401);
}

TEST_F(AccountTokens, a_token_ends_when_it_said_and_a_new_one_is_good_beside_the_old) {
  const auto first = token(R"({"expirationSeconds":600})");
  world_.settle(300s);
  const auto second = token(R"({"expirationSeconds":600})");
  EXPECT_EQ(asks(first), 201) << "rotation leaves time to change over";
  world_.settle(301s);
  EXPECT_EQ(asks(first), 401);
  EXPECT_EQ(asks(second), 201);
}

TEST_F(AccountTokens,
       deleting_the_account_ends_its_tokens_and_one_of_the_same_name_does_not_bring_them_back) {
  const auto old = token();
  ASSERT_EQ(world_.remove(accounts_ + "/robot").status, 200);
  EXPECT_EQ(asks(old), 401);
  ASSERT_EQ(world_.post(accounts_, R"({"metadata":{"name":"robot"}})").status, 201);
  EXPECT_EQ(asks(old), 401);
  EXPECT_EQ(asks(token()), 201);
}

}  // namespace
}  // namespace neap::apiserver
