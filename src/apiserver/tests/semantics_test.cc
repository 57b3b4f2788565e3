// What clients of Kubernetes rely on beyond single objects: quotas, tokens, acting as others, strategic
// patches, Pods, versions of lists, the order in which a namespace goes.
#include "internal/rest.h"
#include "tests/world.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kDefault = "/api/v1/namespaces/default/";
constexpr std::string_view kJobs = "/apis/neap.dev/v1/namespaces/default/trainingjobs";
std::string core(std::string_view rest) { return std::string(kDefault) + std::string(rest); }
std::string job(std::string_view name, int replicas = 1) {
  return fmt::format(
      R"({{"metadata":{{"name":"{}"}},"spec":{{"command":["x"],"replicas":{},"resources":{{"cpu":"500m","memory":"1Gi"}}}}}})",
      name, replicas);
}
std::string config_map(std::string_view name) {
  return fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name);
}
std::string quota(std::string_view hard) {
  return fmt::format(R"({{"metadata":{{"name":"q"}},"spec":{{"hard":{}}}}})", hard);
}
Json used(World& world) {
  const auto found = world.get(core("resourcequotas/q"));
  const auto* at = find_path(found.body, {"status", "used"});
  return at ? *at : Json();
}

TEST(Quota, what_exceeds_it_is_refused_with_the_numbers) {
  World world;
  ASSERT_EQ(
      world.post(core("resourcequotas"), quota(R"({"count/configmaps":"2","requests.cpu":"2"})")).status,
      201);
  EXPECT_EQ(world.post(core("configmaps"), config_map("a")).status, 201);
  EXPECT_EQ(world.post(core("configmaps"), config_map("b")).status, 201);
  const auto refused = world.post(core("configmaps"), config_map("c"));
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.message(),
            "configmaps \"c\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: "
            "count/configmaps=2, limited: count/configmaps=2");
  EXPECT_EQ(world.post(core("configmaps") + "?dryRun=All", config_map("c")).status, 403);
  // What goes is given back.
  EXPECT_EQ(world.remove(core("configmaps/a")).status, 200);
  world.settle();
  EXPECT_EQ(used(world), json(R"({"count/configmaps":"1","requests.cpu":"0"})"));
  EXPECT_EQ(world.post(core("configmaps"), config_map("c")).status, 201);
}

TEST(Quota, resources_are_those_of_jobs_that_have_not_ended) {
  World world;
  ASSERT_EQ(
      world.post(core("resourcequotas"), quota(R"({"requests.cpu":"2","requests.memory":"8Gi"})")).status,
      201);
  ASSERT_EQ(world.post(std::string(kJobs), job("a", 3)).status, 201);
  EXPECT_EQ(used(world), json(R"({"requests.cpu":"1500m","requests.memory":"3Gi"})"));
  EXPECT_EQ(world.post(std::string(kJobs), job("b", 2)).status, 403);
  const auto grown = world.merge(std::string(kJobs) + "/a", R"({"spec":{"replicas":5}})");
  EXPECT_EQ(grown.status, 403) << "growing is asking for more";
  EXPECT_EQ(world.merge(std::string(kJobs) + "/a", R"({"spec":{"replicas":4}})").status, 200);
  EXPECT_EQ(world.merge(std::string(kJobs) + "/a/status", R"({"status":{"phase":"Succeeded"}})").status, 200);
  world.settle();
  EXPECT_EQ(used(world), json(R"({"requests.cpu":"0","requests.memory":"0"})"));
  EXPECT_EQ(world.post(std::string(kJobs), job("b", 4)).status, 201);
}

TEST(Quota, what_is_too_much_to_count_is_refused_and_makes_no_room_for_the_rest) {
  World world;
  const auto limits = quota(R"({"requests.cpu":"2","requests.memory":"2Gi"})");
  ASSERT_EQ(world.post(core("resourcequotas"), limits).status, 201);
  const auto huge =
      R"({"metadata":{"name":"huge"},"spec":{"command":["x"],"replicas":100000,"resources":{"memory":"1Ei"}}})";
  EXPECT_EQ(world.post(std::string(kJobs), huge).status, 403);
  EXPECT_EQ(world.post(std::string(kJobs), job("b", 5)).status, 403);
}

TEST(Quota, one_made_later_counts_what_is_there_and_warns_of_what_it_cannot_count) {
  World world;
  ASSERT_EQ(world.post(core("configmaps"), config_map("a")).status, 201);
  const auto made = world.post(core("resourcequotas"), quota(R"({"configmaps":"1","limits.cpu":"2"})"));
  ASSERT_EQ(made.status, 201);
  EXPECT_NE(made.headers.get("Warning").find("spec.hard[limits.cpu] is kept and not enforced"),
            std::string::npos);
  EXPECT_EQ(world.post(core("configmaps"), config_map("b")).status, 403);
  world.settle();
  EXPECT_EQ(used(world), json(R"({"configmaps":"1"})"));
}

TEST(Quota, of_two_who_want_the_last_one_gets_it) {
  World world;
  ASSERT_EQ(world.post(core("resourcequotas"), quota(R"({"count/configmaps":"1"})")).status, 201);
  world.settle();
  auto client = world.server().local_client(
      {.user = "a", .groups = {"system:masters"}, .node = {}, .authenticated = true});
  int made = 0, refused = 0;
  world.run([](World& w, client::ResourceClient& c, int& yes, int& no) -> Task<void> {
    TaskGroup group(w.runtime().executor());
    for (int i = 0; i < 8; ++i)
      group.spawn([](client::ResourceClient& inner, int n, int& y, int& r) -> Task<void> {
        const auto done =
            co_await inner.create({},
                                  {.group = "",
                                   .version = "v1",
                                   .plural = "configmaps",
                                   .namespace_ = "default",
                                   .name = {},
                                   .subresource = {}},
                                  JsonObject{{"metadata", JsonObject{{"name", fmt::format("c{}", n)}}}}, {});
        ++(done ? y : r);
      }(c, i, yes, no));
    while (group.running() > 0) (void)co_await sleep_for(w.runtime().executor(), {}, 10ms);
  }(world, *client, made, refused));
  EXPECT_EQ(made, 1);
  EXPECT_EQ(refused, 7);
}

TEST(Token, an_accounts_token_is_the_account_until_the_account_goes) {
  World world;
  ASSERT_EQ(world.post(core("serviceaccounts"), config_map("robot")).status, 201);
  const auto issued =
      world.post(core("serviceaccounts/robot/token"), R"({"spec":{"expirationSeconds":600}})");
  ASSERT_EQ(issued.status, 201) << issued.text;
  const auto token = std::string(get_string(*find_path(issued.body, {"status"}), "token"));
  const auto who = world.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", token);
  // Who may ask is a matter of roles; that it is known who asks shows in the refusal.
  EXPECT_NE(who.text.find("system:serviceaccount:default:robot"), std::string::npos) << who.text;
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", token).status, 403);
  EXPECT_EQ(world.post(core("serviceaccounts/robot/token"), R"({"spec":{"expirationSeconds":5}})").status,
            400);
  EXPECT_EQ(world.post(core("serviceaccounts/nobody/token"), "{}").status, 404);
  world.remove(core("serviceaccounts/robot"));
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", token).status, 401);
  // An account of the same name is another account.
  ASSERT_EQ(world.post(core("serviceaccounts"), config_map("robot")).status, 201);
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", token).status, 401);
}

TEST(Token, it_expires) {
  World world;
  ASSERT_EQ(world.post(core("serviceaccounts"), config_map("robot")).status, 201);
  const auto issued =
      world.post(core("serviceaccounts/robot/token"), R"({"spec":{"expirationSeconds":600}})");
  const auto token = std::string(get_string(*find_path(issued.body, {"status"}), "token"));
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", token).status, 403);
  world.settle(11min);
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", token).status, 401);
}

TEST(Impersonation, only_who_may_acts_as_somebody_else_and_with_no_more_rights) {
  World world;
  const auto as = [&](std::string token, std::vector<std::pair<std::string, std::string>> headers) {
    return world.call("GET", std::string(kJobs), "", std::move(token), std::move(headers));
  };
  const auto refused = as("admin", {{"Impersonate-User", "alice"}});
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.message().find("User \"alice\" cannot list"), std::string::npos) << refused.text;
  EXPECT_EQ(as("admin", {{"Impersonate-User", "bob"}, {"Impersonate-Group", "system:masters"}}).status, 200);
  const auto other = as("alice", {{"Impersonate-User", "admin"}, {"Impersonate-Group", "system:masters"}});
  EXPECT_EQ(other.status, 403);
  EXPECT_NE(other.message().find("cannot impersonate"), std::string::npos) << other.text;
  const auto log = world.call("GET", core("pods/p/log"), "", "admin",
                              {{"Impersonate-User", "bob"}, {"Impersonate-Group", "system:masters"}});
  EXPECT_EQ(log.status, 403);
  EXPECT_NE(log.message().find("not shown to who impersonates"), std::string::npos) << log.text;
  for (const auto* own : {"system:controllers", "system:apiserver"}) {
    const auto loop = as("admin", {{"Impersonate-User", own}, {"Impersonate-Group", "system:masters"}});
    EXPECT_EQ(loop.status, 403) << own;
    EXPECT_NE(loop.message().find("theirs alone"), std::string::npos) << loop.text;
  }
  EXPECT_EQ(as("admin", {{"Impersonate-Group", "x"}}).status, 400);
  EXPECT_EQ(as("admin", {{"Impersonate-User", "a"}, {"Impersonate-Uid", "x"}}).status, 400);
  const bool told = std::ranges::any_of(world.audit(), [](const AuditRecord& one) {
    return one.what.verb == "impersonate" && one.status == 200;
  });
  EXPECT_TRUE(told);
}

std::string strategic(std::string_view before, std::string_view patch) {
  Json target = json(before);
  strategic_merge(target, json(patch));
  return to_text(target);
}

TEST(StrategicMerge, lists_merge_by_the_key_of_their_kind) {
  EXPECT_EQ(strategic(R"({"containers":[{"name":"a","image":"1"},{"name":"b"}]})",
                      R"({"containers":[{"name":"a","image":"2"},{"name":"c"}]})"),
            R"({"containers":[{"name":"a","image":"2"},{"name":"b"},{"name":"c"}]})");
  EXPECT_EQ(strategic(R"({"ports":[{"containerPort":80,"name":"x"}]})",
                      R"({"ports":[{"containerPort":80,"name":"y"}]})"),
            R"({"ports":[{"containerPort":80,"name":"y"}]})");
  EXPECT_EQ(strategic(R"({"ports":[{"port":80}]})", R"({"ports":[{"port":81}]})"),
            R"({"ports":[{"port":80},{"port":81}]})");
  EXPECT_EQ(strategic(R"({"tolerations":[{"key":"a"}]})", R"({"tolerations":[{"key":"b"}]})"),
            R"({"tolerations":[{"key":"b"}]})")
      << "a list without a key is replaced";
}

TEST(StrategicMerge, directives_delete_replace_order_and_retain) {
  EXPECT_EQ(
      strategic(R"({"env":[{"name":"A"},{"name":"B"}]})", R"({"env":[{"name":"A","$patch":"delete"}]})"),
      R"({"env":[{"name":"B"}]})");
  EXPECT_EQ(
      strategic(R"({"env":[{"name":"A"},{"name":"B"}]})", R"({"env":[{"name":"C"},{"$patch":"replace"}]})"),
      R"({"env":[{"name":"C"}]})");
  EXPECT_EQ(
      strategic(R"({"env":[{"name":"A"},{"name":"B"},{"name":"X"}]})",
                R"({"$setElementOrder/env":[{"name":"B"},{"name":"A"}],"env":[{"name":"A","value":"1"}]})"),
      R"({"env":[{"name":"B"},{"name":"X"},{"name":"A","value":"1"}]})");
  EXPECT_EQ(strategic(R"({"strategy":{"type":"RollingUpdate","rollingUpdate":{"x":1}}})",
                      R"({"strategy":{"$retainKeys":["type"],"type":"Recreate"}})"),
            R"({"strategy":{"type":"Recreate"}})");
  EXPECT_EQ(strategic(R"({"finalizers":["a","b"]})",
                      R"({"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["c"]})"),
            R"({"finalizers":["b","c"]})");
  EXPECT_EQ(strategic(R"({"a":{"x":1,"y":2}})", R"({"a":{"$patch":"replace","z":3}})"), R"({"a":{"z":3}})");
  EXPECT_EQ(strategic(R"({})", R"({"a":{"gone":null,"list":[{"name":"n","$patch":"merge"}]}})"),
            R"({"a":{"list":[{"name":"n","$patch":"merge"}]}})")
      << "inside lists without a key nothing is a directive";
}

TEST(Ownership, creators_own_what_they_made_and_forcing_takes_only_what_differs) {
  World world;
  const auto path = core("configmaps/c");
  ASSERT_EQ(world
                .post(core("configmaps") + "?fieldManager=maker",
                      R"({"metadata":{"name":"c"},"data":{"a":"1","b":"2"}})")
                .status,
            201);
  const auto body =
      R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"9","b":"2"}})";
  const auto refused = world.apply(path + "?fieldManager=other", body);
  EXPECT_EQ(refused.status, 409);
  EXPECT_NE(refused.message().find("conflict with \"maker\" using v1: .data.a"), std::string::npos)
      << refused.text;
  ASSERT_EQ(world.apply(path + "?fieldManager=other&force=true", body).status, 200);
  const auto found = world.get(path);
  const auto& managers = find_path(found.body, {"metadata", "managedFields"})->get_array();
  ASSERT_EQ(managers.size(), 2u);
  EXPECT_EQ(*find_path(managers[0], {"fieldsV1"}), json(R"({"f:data":{"f:b":{}}})")) << "b is shared";
}

TEST(Ownership, what_nobody_tracked_belongs_to_somebody_before_the_first_apply) {
  World world;
  ASSERT_EQ(world.post(core("configmaps"), R"({"metadata":{"name":"c"},"data":{"a":"1"}})").status, 201);
  const auto refused =
      world.apply(core("configmaps/c") + "?fieldManager=m",
                  R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"2"}})");
  EXPECT_EQ(refused.status, 409);
  EXPECT_NE(refused.message().find("before-first-apply"), std::string::npos) << refused.text;
}

TEST(Lists, say_how_many_remain_and_refuse_versions_that_mean_nothing) {
  World world;
  for (const auto* name : {"a", "b", "c", "d", "e"})
    ASSERT_EQ(world.post(core("configmaps"), config_map(name)).status, 201);
  world.settle();
  const auto first = world.get(core("configmaps?limit=2"));
  const auto& metadata = *find_path(first.body, {"metadata"});
  EXPECT_EQ(get_int(metadata, "remainingItemCount"), 3);
  const auto token = std::string(get_string(metadata, "continue"));
  const auto second = world.get(core("configmaps?limit=2&continue=" + token));
  EXPECT_EQ(get_int(*find_path(second.body, {"metadata"}), "remainingItemCount"), 1);
  const auto selected = world.get(core("configmaps?limit=2&labelSelector=!x"));
  EXPECT_FALSE(find_path(selected.body, {"metadata", "remainingItemCount"})) << "not with selectors";
  EXPECT_EQ(world.get(core("configmaps?resourceVersionMatch=Exact")).status, 422);
  EXPECT_EQ(world.get(core("configmaps?resourceVersionMatch=Exact&resourceVersion=0")).status, 422);
  EXPECT_EQ(world.get(core("configmaps?limit=2&resourceVersion=5&continue=" + token)).status, 400);
  EXPECT_EQ(world.get(core("configmaps?resourceVersionMatch=NotOlderThan&resourceVersion=1")).status, 200);
}

TEST(Lists, a_named_version_with_a_limit_is_that_version) {
  World world;
  ASSERT_EQ(world.post(core("configmaps"), config_map("a")).status, 201);
  const auto then = std::string(
      get_string(*find_path(world.get(core("configmaps")).body, {"metadata"}), "resourceVersion"));
  ASSERT_EQ(world.post(core("configmaps"), config_map("b")).status, 201);
  const auto items = [&](std::string query) {
    return find_path(world.get(core("configmaps?" + query)).body, {"items"})->get_array().size();
  };
  EXPECT_EQ(items("limit=10&resourceVersion=" + then), 1u);
  EXPECT_EQ(items("resourceVersionMatch=Exact&resourceVersion=" + then), 1u);
  EXPECT_EQ(items("resourceVersion=" + then), 2u) << "not older than";
}

TEST(Pods, are_allocations_that_can_only_be_read) {
  World world;
  const auto allocation =
      R"({"metadata":{"name":"mnist-0-1"},"spec":{"node":"hq-1","site":"hq","ownerKind":"TrainingJob",
    "ownerName":"mnist","resources":{"cpu":"1","memory":"1Gi"},"process":{"command":["train"]}}})";
  const auto made = world.post("/apis/neap.dev/v1/namespaces/default/allocations", allocation);
  ASSERT_EQ(made.status, 201) << made.text;
  world.merge("/apis/neap.dev/v1/namespaces/default/allocations/mnist-0-1/status",
              R"({"status":{"phase":"Running"}})");
  const auto pod = world.get(core("pods/mnist-0-1"));
  ASSERT_EQ(pod.status, 200) << pod.text;
  EXPECT_EQ(get_string(pod.body, "kind"), "Pod");
  EXPECT_EQ(get_string(*find_path(pod.body, {"spec"}), "nodeName"), "hq-1");
  EXPECT_EQ(get_string(*find_path(pod.body, {"status"}), "phase"), "Running");
  EXPECT_EQ(
      find_path(world.get(core("pods?fieldSelector=spec.nodeName=hq-1")).body, {"items"})->get_array().size(),
      1u);
  EXPECT_EQ(
      find_path(world.get(core("pods?fieldSelector=spec.nodeName=x")).body, {"items"})->get_array().size(),
      0u);
  const auto watched = world.get(core("pods?watch=true&timeoutSeconds=1"));
  EXPECT_NE(watched.text.find(R"("type":"ADDED")"), std::string::npos);
  EXPECT_NE(watched.text.find(R"("kind":"Pod")"), std::string::npos);
  const auto refused = world.remove(core("pods/mnist-0-1"));
  EXPECT_EQ(refused.status, 405);
  EXPECT_NE(refused.message().find("TrainingJob"), std::string::npos);
  EXPECT_EQ(world.post(core("pods"), config_map("p")).status, 405);
}

Task<void> stream_answer(io::HttpExchange& exchange, const auth::Identity& who, std::string ns,
                         std::string name) {
  io::HttpResponse out;
  out.body = fmt::format("{} reads {}/{}", who.user, ns, name);
  co_await exchange.reply(std::move(out));
}

TEST(Pods, a_stream_below_them_is_its_owners_to_answer_for_who_may) {
  World world;
  world.server().add_stream({"pods", "log", stream_answer});
  EXPECT_EQ(world.get(core("pods/p/log?follow=true")).text, "admin reads default/p");
  EXPECT_EQ(world.call("GET", core("pods/p/log"), "", "alice").status, 403);
  EXPECT_NE(world.get("/api/v1").text.find("pods/log"), std::string::npos);
}

TEST(Namespaces, what_runs_goes_before_what_it_runs_by) {
  World world;
  ASSERT_EQ(world.post("/api/v1/namespaces", config_map("team")).status, 201);
  ASSERT_EQ(world.post("/api/v1/namespaces/team/secrets", config_map("s")).status, 201);
  const auto jobs = std::string("/apis/neap.dev/v1/namespaces/team/trainingjobs");
  ASSERT_EQ(
      world.post(jobs, R"({"metadata":{"name":"j","finalizers":["neap.dev/x"]},"spec":{"command":["x"]}})")
          .status,
      201);
  world.remove("/api/v1/namespaces/team");
  world.settle();
  EXPECT_EQ(world.get("/api/v1/namespaces/team/secrets/s").status, 200) << "the job may still need it";
  const auto waiting = world.get("/api/v1/namespaces/team");
  EXPECT_NE(waiting.text.find("trainingjobs.neap.dev has 1 resource instances"), std::string::npos)
      << waiting.text;
  world.merge(jobs + "/j", R"({"metadata":{"finalizers":null}})");
  world.settle();
  EXPECT_EQ(world.get("/api/v1/namespaces/team").status, 404);
}

Task<Result<Json>> slow_answer(Executor& executor) {
  (void)co_await sleep_for(executor, {}, 30s);
  co_return Json(JsonObject());
}
Task<void> ask(io::HttpClient& client, std::string target,
               std::vector<std::pair<int, std::string>>& answers) {
  io::HttpRequest request;
  request.method = "GET";
  request.target = std::move(target);
  request.headers.set("Authorization", "Bearer admin");
  const auto response = co_await client.call({}, std::move(request));
  if (response) answers.emplace_back(response->status, std::string(response->headers.get("Retry-After")));
}

TEST(Fairness, a_users_slow_requests_hold_half_of_the_seats_and_the_rest_is_told_to_come_back) {
  ApiServer::Options options;
  options.requests_max = 2;
  World world(options);
  auto& executor = world.runtime().executor();
  world.server().add_subresource({"trainingjobs", "slow", [&executor](CallContext, std::string, std::string) {
                                    return slow_answer(executor);
                                  }});
  std::vector<std::pair<int, std::string>> answers;
  TaskGroup flood(executor);
  for (int i = 0; i < 4; ++i) flood.spawn(ask(world.http(), std::string(kJobs) + "/x/slow", answers));
  world.settle(1s);
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", "alice").status, 403) << "answered, if with a refusal";
  EXPECT_EQ(world.call("GET", "/apis/neap.dev/v1/sites", "", "node").status, 200);
  EXPECT_TRUE(answers.empty());
  world.settle(60s);
  std::ranges::sort(answers);
  EXPECT_EQ(answers,
            (std::vector<std::pair<int, std::string>>{{200, ""}, {429, "1"}, {429, "1"}, {429, "1"}}));
  EXPECT_EQ(flood.running(), 0u);
}

TEST(Semantics, a_json_patch_may_test_and_set_the_version_it_is_about) {
  World world;
  const std::string map = "/api/v1/namespaces/default/configmaps/a";
  const auto made = world.post("/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})");
  const auto version = std::string(get_string(made.body.at("metadata"), "resourceVersion"));
  const auto patch = [&](std::string_view op, std::string_view with) {
    return world.call("PATCH", map,
                      fmt::format(R"([{{"op":"{}","path":"/metadata/resourceVersion","value":"{}"}},)"
                                  R"({{"op":"add","path":"/data","value":{{"k":"{}"}}}}])",
                                  op, with, op),
                      "admin", {{"Content-Type", "application/json-patch+json"}});
  };
  EXPECT_EQ(patch("replace", version).status, 200);
  EXPECT_EQ(patch("replace", version).status, 409) << "it is an old one by now";
  EXPECT_EQ(patch("test", version).status, 422);
  const auto now = std::string(get_string(world.get(map).body.at("metadata"), "resourceVersion"));
  EXPECT_EQ(patch("test", now).status, 200);
}

}  // namespace
}  // namespace neap::apiserver
