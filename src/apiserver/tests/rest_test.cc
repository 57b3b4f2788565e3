#include "tests/world.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kJobs = "/apis/neap.dev/v1/namespaces/default/trainingjobs";
std::string job(std::string_view name, std::string_view more = "") {
  return fmt::format(
      R"({{"apiVersion":"neap.dev/v1","kind":"TrainingJob","metadata":{{"name":"{}"}},"spec":{{"command":["train"]{}}}}})",
      name, more);
}
std::string at(std::string_view name) { return fmt::format("{}/{}", kJobs, name); }
std::string revision_of(const Answer& answer) {
  return std::string(get_string(*find_path(answer.body, {"metadata"}), "resourceVersion"));
}

TEST(Rest, a_created_object_has_what_the_server_keeps_and_its_defaults) {
  World world;
  const auto made = world.post(std::string(kJobs), job("a"));
  ASSERT_EQ(made.status, 201) << made.text;
  const auto& metadata = *find_path(made.body, {"metadata"});
  EXPECT_EQ(get_string(metadata, "uid").size(), 36u);
  EXPECT_EQ(get_int(metadata, "generation"), 1);
  EXPECT_EQ(get_string(metadata, "namespace"), "default");
  EXPECT_FALSE(get_string(metadata, "creationTimestamp").empty());
  EXPECT_EQ(get_int(*find_path(made.body, {"spec"}), "replicas"), 1);
  EXPECT_EQ(world.get(at("a")).body, made.body) << "what is read is what was answered";
  const auto again = world.post(std::string(kJobs), job("a"));
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.reason(), "AlreadyExists");
  EXPECT_EQ(again.message(), "trainingjobs.neap.dev \"a\" already exists");
}

TEST(Rest, what_was_stored_before_a_bound_goes_on_and_gets_no_worse) {
  World world;
  auto stored = world.post(std::string(kJobs), job("old", R"(,"expectedDuration":"2h")")).text;
  stored.replace(stored.find("\"2h\""), 4, "\"2500000h\"");
  world.run([](World& w, std::string text) -> Task<void> {
    EXPECT_TRUE(co_await w.store().put({}, "/registry/neap.dev/trainingjobs/default/old", std::move(text)));
  }(world, stored));
  EXPECT_EQ(world.merge(at("old") + "/status", R"({"status":{"phase":"Running"}})").status, 200);
  EXPECT_EQ(world.merge(at("old"), R"({"metadata":{"labels":{"a":"b"}}})").status, 200);
  const auto worse = world.merge(at("old"), R"({"spec":{"expectedDuration":"2600000h"}})");
  EXPECT_EQ(worse.status, 422);
  EXPECT_NE(worse.message().find("spec.expectedDuration: "), std::string::npos) << worse.message();
  EXPECT_EQ(world.merge(at("old"), R"({"spec":{"expectedDuration":"3h"}})").status, 200);
}

TEST(Rest, generateName_gives_each_object_its_own_name) {
  World world;
  const auto body = R"({"metadata":{"generateName":"run-"},"spec":{"command":["x"]}})";
  const auto first = world.post(std::string(kJobs), body), second = world.post(std::string(kJobs), body);
  ASSERT_EQ(first.status, 201) << first.text;
  EXPECT_TRUE(get_string(*find_path(first.body, {"metadata"}), "name").starts_with("run-"));
  EXPECT_NE(get_string(*find_path(first.body, {"metadata"}), "name"),
            get_string(*find_path(second.body, {"metadata"}), "name"));
}

TEST(Rest, an_unknown_field_is_refused_warned_about_or_dropped_as_asked) {
  World world;
  const auto body = job("a", R"(,"replicaz":2)");
  const auto strict = world.post(std::string(kJobs) + "?fieldValidation=Strict", body);
  EXPECT_EQ(strict.status, 400);
  EXPECT_EQ(strict.reason(), "BadRequest");
  EXPECT_NE(strict.message().find("strict decoding error: unknown field \"spec.replicaz\""),
            std::string::npos)
      << strict.message();
  const auto warned = world.post(std::string(kJobs) + "?fieldValidation=Warn", body);
  EXPECT_EQ(warned.status, 201);
  EXPECT_EQ(warned.headers.get("Warning"), "299 - \"unknown field \\\"spec.replicaz\\\"\"");
  EXPECT_EQ(find_path(warned.body, {"spec", "replicaz"}), nullptr);
  const auto ignored =
      world.post(std::string(kJobs) + "?fieldValidation=Ignore", job("b", R"(,"replicaz":2)"));
  EXPECT_EQ(ignored.status, 201);
  EXPECT_FALSE(ignored.headers.has("Warning"));
}

TEST(Rest, what_stock_kubernetes_demands_of_workloads_is_filled_in_and_said_so) {
  World world;
  const std::string deployments = "/apis/apps/v1/namespaces/default/deployments";
  const auto body = [](std::string_view kind, std::string_view name, std::string_view spec) {
    return fmt::format(R"({{"apiVersion":"{}","kind":"{}","metadata":{{"name":"{}"}},"spec":{{{}}}}})",
                       kind == "Job" ? "batch/v1" : "apps/v1", kind, name, spec);
  };
  const auto warnings = [](const auto& answer) {
    return std::ranges::count(answer.headers.all(), "Warning",
                              [](const auto& header) { return header.first; });
  };
  const std::string bare = R"("template":{"spec":{"containers":[{"name":"c","image":"i"}]}})";
  const auto made = world.post(deployments, body("Deployment", "d", bare));
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(warnings(made), 2);
  const auto* labels = find_path(made.body, {"spec", "template", "metadata", "labels"});
  const auto* selector = find_path(made.body, {"spec", "selector", "matchLabels"});
  ASSERT_TRUE(labels && selector);
  EXPECT_EQ(get_string(*labels, "app.kubernetes.io/name"), "d");
  EXPECT_EQ(*labels, *selector);
  EXPECT_EQ(world.put(deployments + "/d", body("Deployment", "d", bare)).status, 200)
      << "the same document again does not change the immutable selector";

  const std::string chosen = R"("selector":{"matchLabels":{"a":"b"}},)" + bare;
  const auto selected = world.post(deployments, body("Deployment", "e", chosen));
  EXPECT_EQ(warnings(selected), 1) << "only the labels that the selector wants";
  EXPECT_EQ(*find_path(selected.body, {"spec", "template", "metadata", "labels"}),
            Json(JsonObject{{"a", "b"}}));

  const auto job = world.post("/apis/batch/v1/namespaces/default/jobs", body("Job", "j", bare));
  ASSERT_EQ(job.status, 201) << job.text;
  EXPECT_NE(job.headers.get("Warning").find("restartPolicy was not given and is filled in: Never"),
            std::string::npos);
  EXPECT_EQ(get_string(*find_path(job.body, {"spec", "template", "spec"}), "restartPolicy"), "Never");

  const auto whole = world.post(
      "/apis/batch/v1/namespaces/default/jobs",
      body("Job", "k", R"("template":{"spec":{"restartPolicy":"OnFailure","containers":[{"name":"c"}]}})"));
  EXPECT_FALSE(whole.headers.has("Warning"));
  EXPECT_EQ(world.post(deployments, body("Deployment", "x", R"("template":{"metadata":7,"spec":{}})")).status,
            422);
}

TEST(Rest, bad_input_gets_a_clear_error_and_changes_nothing) {
  World world;
  ASSERT_EQ(world.post(std::string(kJobs), job("a")).status, 201);
  struct Case {
    std::string method, target, body;
    int status;
    std::string reason;
  };
  const std::string jobs(kJobs);
  const std::vector<Case> cases{
      {"POST", jobs, "{", 400, "BadRequest"},
      {"POST", jobs, "[]", 400, "BadRequest"},
      {"POST", jobs, "null", 400, "BadRequest"},
      {"POST", jobs, R"({"metadata":{"name":"a"},"metadata":{"name":"b"}})", 400, "BadRequest"},
      {"POST", jobs, R"({"apiVersion":"v2","metadata":{"name":"x"}})", 400, "BadRequest"},
      {"POST", jobs, R"({"kind":"Site","metadata":{"name":"x"}})", 400, "BadRequest"},
      {"POST", jobs, R"({"metadata":{"name":"x","namespace":"other"},"spec":{"command":["x"]}})", 400,
       "BadRequest"},
      {"POST", jobs, R"({"metadata":{"name":"x","resourceVersion":"3"},"spec":{"command":["x"]}})", 400,
       "BadRequest"},
      {"POST", jobs, R"({"metadata":{"name":"x"},"spec":{}})", 422, "Invalid"},
      {"POST", jobs, R"({"metadata":{"name":"Upper"},"spec":{"command":["x"]}})", 422, "Invalid"},
      {"POST", jobs, R"({"metadata":{},"spec":{"command":["x"]}})", 422, "Invalid"},
      {"POST", jobs, R"({"metadata":{"name":"x"},"spec":{"command":["x"],"replicas":0}})", 422, "Invalid"},
      {"POST", "/apis/neap.dev/v1/namespaces/absent/trainingjobs", job("x"), 404, "NotFound"},
      {"POST", "/apis/neap.dev/v1/trainingjobs", job("x"), 400, "BadRequest"},
      {"GET", at("absent"), "", 404, "NotFound"},
      {"GET", jobs + "?labelSelector=a%3D%3D%3D", "", 400, "BadRequest"},
      {"GET", jobs + "?fieldSelector=spec.secret%3D1", "", 400, "BadRequest"},
      {"GET", jobs + "?limit=-1", "", 400, "BadRequest"},
      {"GET", jobs + "?continue=garbage", "", 400, "BadRequest"},
      {"GET", jobs + "?resourceVersion=abc", "", 400, "BadRequest"},
      {"GET", "/apis/neap.dev/v1/namespaces/default/nonsense", "", 404, "NotFound"},
      {"GET", "/apis/neap.dev/v9/trainingjobs", "", 404, "NotFound"},
      {"PUT", at("a"), R"({"metadata":{"name":"b"},"spec":{"command":["x"]}})", 400, "BadRequest"},
      {"PUT", at("a") + "/nonsense", "{}", 404, "NotFound"},
      {"PATCH", at("a"), "{}", 415, "UnsupportedMediaType"},
      {"DELETE", at("a"), R"({"propagationPolicy":"Sideways"})", 422, "Invalid"},
      {"DELETE", at("a"), R"({"preconditions":{"uid":"other"}})", 409, "Conflict"},
  };
  const auto before = world.store().current_revision();
  for (const auto& c : cases) {
    const auto answer = world.call(c.method, c.target, c.body);
    EXPECT_EQ(answer.status, c.status) << c.method << " " << c.target << " " << c.body << "\n" << answer.text;
    EXPECT_EQ(answer.reason(), c.reason) << c.method << " " << c.target << " " << c.body << "\n"
                                         << answer.text;
    EXPECT_FALSE(answer.message().empty());
  }
  EXPECT_EQ(world.store().current_revision(), before);
}

TEST(Rest, a_method_that_a_path_does_not_take_is_405) {
  World world;
  const std::string maps = "/api/v1/namespaces/default/configmaps";
  EXPECT_EQ(world.post(maps + "/a", R"({"metadata":{"name":"a"}})").status, 405);
  EXPECT_EQ(world.put(maps, R"({"metadata":{"name":"a"}})").status, 405);
  EXPECT_EQ(world.merge(maps, "{}").status, 405);
  EXPECT_EQ(world.get("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").status, 405);
  EXPECT_EQ(world.get(maps + "/a").status, 404);
}

TEST(Rest, an_answer_has_a_form_the_client_takes) {
  World world;
  const std::string maps = "/api/v1/namespaces/default/configmaps";
  world.post(maps, R"({"metadata":{"name":"a","labels":{"x":"y"}},"data":{"k":"v"}})");
  const auto ask = [&](std::string method, std::string target, std::string accept, std::string body = {}) {
    return world.call(std::move(method), std::move(target), std::move(body), "admin",
                      {{"Accept", std::move(accept)}, {"Content-Type", "application/merge-patch+json"}});
  };
  for (const auto* accept :
       {"", "*/*", "application/*", "text/html, */*;q=0.8", "application/vnd.kubernetes.protobuf",
        "application/json;as=Strange;g=meta.k8s.io;v=v1, application/json"})
    EXPECT_EQ(get_string(ask("GET", maps + "/a", accept).body, "kind"), "ConfigMap") << accept;
  for (const auto* accept :
       {"text/html", "application/json;as=Table;g=meta.k8s.io;v=v9", "image/png,application/xml"}) {
    EXPECT_EQ(ask("GET", maps, accept).status, 406) << accept;
    EXPECT_EQ(ask("GET", maps, accept).reason(), "NotAcceptable");
  }
  EXPECT_EQ(ask("PATCH", maps + "/a", "text/html", R"({"data":{"k":"w"}})").status, 406);
  EXPECT_EQ(get_string(world.get(maps + "/a").body.at("data"), "k"), "v") << "a refused write wrote";

  const std::string partial =
      "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
      "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
  const auto is_partial = [](const Json& object) {
    return get_string(object, "kind") == "PartialObjectMetadata" && !find_path(object, {"data"}) &&
           get_string(object, "apiVersion") == "meta.k8s.io/v1" &&
           find_path(object, {"metadata", "labels", "x"}) &&
           !get_string(object.at("metadata"), "resourceVersion").empty();
  };
  EXPECT_TRUE(is_partial(ask("GET", maps + "/a", partial).body));
  EXPECT_TRUE(is_partial(ask("PATCH", maps + "/a", partial, R"({"data":{"k":"w"}})").body));
  const auto list =
      ask("GET", maps, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json");
  EXPECT_EQ(get_string(list.body, "kind"), "PartialObjectMetadataList");
  EXPECT_TRUE(is_partial(list.body.at("items").at(0)));
  const auto watched = ask("GET", maps + "?watch&timeoutSeconds=1&resourceVersion=0", partial);
  EXPECT_TRUE(is_partial(json(watched.text.substr(0, watched.text.find('\n'))).at("object"))) << watched.text;
}

TEST(Rest, a_document_that_grows_beyond_bounds_is_not_asked_for_again) {
  World world;
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char name = 'b'; name < 'i'; ++name)
    bomb +=
        fmt::format("{0}: &{0} [*{1},*{1},*{1},*{1},*{1},*{1},*{1},*{1},*{1},*{1}]\n", name, char(name - 1));
  const auto answer = world.call("POST", "/api/v1/namespaces/default/configmaps", bomb, "admin",
                                 {{"Content-Type", "application/yaml"}});
  EXPECT_EQ(answer.status, 400) << answer.text;
  EXPECT_TRUE(answer.headers.get("Retry-After").empty());
}

TEST(Rest, an_update_with_a_stale_revision_is_a_conflict_and_one_without_wins) {
  World world;
  const auto made = world.post(std::string(kJobs), job("a"));
  const auto old = revision_of(made);
  ASSERT_EQ(world.put(at("a"), job("a", R"(,"replicas":2)")).status, 200);
  auto stale = made.body;
  const auto refused = world.put(at("a"), to_text(stale));
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.reason(), "Conflict");
  EXPECT_NE(refused.message().find("the object has been modified"), std::string::npos);
  EXPECT_EQ(world.merge(at("a"), fmt::format(R"({{"metadata":{{"resourceVersion":"{}"}}}})", old)).status,
            409);
  EXPECT_EQ(get_int(*find_path(world.get(at("a")).body, {"spec"}), "replicas"), 2);
}

TEST(Rest, generation_grows_with_the_wish_alone_and_a_write_that_changes_nothing_is_none) {
  World world;
  const auto made = world.post(std::string(kJobs), job("a"));
  const auto same = world.put(at("a"), job("a"));
  EXPECT_EQ(revision_of(same), revision_of(made));
  EXPECT_EQ(revision_of(world.merge(at("a"), R"({"spec":{"replicas":1}})")), revision_of(made));
  const auto labelled = world.merge(at("a"), R"({"metadata":{"labels":{"team":"x"}}})");
  EXPECT_NE(revision_of(labelled), revision_of(made));
  EXPECT_EQ(get_int(*find_path(labelled.body, {"metadata"}), "generation"), 1);
  const auto wished = world.merge(at("a"), R"({"spec":{"replicas":3}})");
  EXPECT_EQ(get_int(*find_path(wished.body, {"metadata"}), "generation"), 2);
}

TEST(Rest, status_and_the_rest_are_written_apart) {
  World world;
  ASSERT_EQ(world.post(std::string(kJobs), job("a")).status, 201);
  const auto reported =
      world.merge(at("a") + "/status", R"({"spec":{"replicas":9},"status":{"phase":"Running"}})");
  ASSERT_EQ(reported.status, 200) << reported.text;
  EXPECT_EQ(get_int(*find_path(reported.body, {"spec"}), "replicas"), 1);
  EXPECT_EQ(get_string(*find_path(reported.body, {"status"}), "phase"), "Running");
  EXPECT_EQ(get_int(*find_path(reported.body, {"metadata"}), "generation"), 1);
  const auto wished = world.merge(at("a"), R"({"spec":{"replicas":2},"status":{"phase":"Lost"}})");
  EXPECT_EQ(get_string(*find_path(wished.body, {"status"}), "phase"), "Running");
  EXPECT_EQ(get_int(*find_path(wished.body, {"spec"}), "replicas"), 2);
}

TEST(Rest, a_dry_run_answers_and_stores_nothing) {
  World world;
  const auto before = world.store().current_revision();
  const auto made = world.post(std::string(kJobs) + "?dryRun=All", job("a"));
  EXPECT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(world.get(at("a")).status, 404);
  ASSERT_EQ(world.post(std::string(kJobs), job("a")).status, 201);
  const auto patched = world.merge(at("a") + "?dryRun=All", R"({"spec":{"replicas":7}})");
  EXPECT_EQ(get_int(*find_path(patched.body, {"spec"}), "replicas"), 7);
  EXPECT_EQ(get_int(*find_path(world.get(at("a")).body, {"spec"}), "replicas"), 1);
  EXPECT_EQ(world.remove(at("a") + "?dryRun=All").status, 200);
  EXPECT_EQ(to_number(world.store().current_revision()), to_number(before) + 1);
}

TEST(Rest, a_list_is_paged_consistently_and_filtered) {
  World world;
  for (int i = 0; i < 7; ++i)
    ASSERT_EQ(
        world
            .post(std::string(kJobs),
                  fmt::format(
                      R"({{"metadata":{{"name":"j{}","labels":{{"odd":"{}"}}}},"spec":{{"command":["x"]}}}})",
                      i, i % 2))
            .status,
        201);
  auto page = world.get(std::string(kJobs) + "?limit=3");
  const auto revision = revision_of(page);
  std::vector<std::string> names;
  for (int pages = 0; pages < 5; ++pages) {
    EXPECT_EQ(revision_of(page), revision) << "all pages show one state";
    for (const auto& item : page.body.at("items").get_array())
      names.emplace_back(get_string(item.at("metadata"), "name"));
    const std::string token(get_string(page.body.at("metadata"), "continue"));
    if (pages == 0) world.remove(at("j6"));
    if (token.empty()) break;
    page = world.get(std::string(kJobs) + "?limit=3&continue=" + token);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"j0", "j1", "j2", "j3", "j4", "j5", "j6"}));
  EXPECT_EQ(world.get(std::string(kJobs) + "?labelSelector=odd%3D1").body.at("items").get_array().size(), 3u);
  EXPECT_EQ(
      world.get(std::string(kJobs) + "?fieldSelector=metadata.name%3Dj2").body.at("items").get_array().size(),
      1u);
  EXPECT_EQ(world.get("/apis/neap.dev/v1/trainingjobs").body.at("items").get_array().size(), 6u);
  EXPECT_EQ(get_string(page.body, "kind"), "TrainingJobList");
}

TEST(Rest, a_table_is_sent_to_who_asks_for_one) {
  World world;
  world.post(std::string(kJobs), job("a"));
  const auto table =
      world.call("GET", std::string(kJobs), "", "admin",
                 {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}});
  EXPECT_EQ(get_string(table.body, "kind"), "Table");
  EXPECT_EQ(table.body.at("rows").get_array().size(), 1u);
}

TEST(Rest, who_may_not_is_told_so_and_the_refusal_is_audited) {
  World world;
  const auto refused = world.call("POST", std::string(kJobs), job("a"), "alice");
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.reason(), "Forbidden");
  EXPECT_NE(refused.message().find(
                "User \"alice\" cannot create resource \"trainingjobs\" in API group \"neap.dev\" in the "
                "namespace \"default\""),
            std::string::npos)
      << refused.message();
  ASSERT_FALSE(world.audit().empty());
  EXPECT_EQ(world.audit().back().status, 403);
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", "").status, 401);
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", "wrong").status, 401);
  EXPECT_EQ(world.call("GET", "/healthz", "", "").status, 200);
}

TEST(Rest, a_role_takes_effect_as_soon_as_it_is_bound_and_ends_with_it) {
  World world;
  const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
  ASSERT_EQ(world
                .post(rbac + "roles",
                      R"({"metadata":{"name":"jobs"},"rules":[{"verbs":["list"],"apiGroups":["neap.dev"],
    "resources":["trainingjobs"]}]})")
                .status,
            201);
  ASSERT_EQ(world
                .post(rbac + "rolebindings",
                      R"({"metadata":{"name":"alice"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io",
    "kind":"Role","name":"jobs"},"subjects":[{"kind":"User","name":"alice","apiGroup":"rbac.authorization.k8s.io"}]})")
                .status,
            201);
  world.settle(1s);
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", "alice").status, 200);
  world.restart();
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", "alice").status, 200)
      << "roles are read again after a restart";
  world.remove(rbac + "rolebindings/alice");
  world.settle(1s);
  EXPECT_EQ(world.call("GET", std::string(kJobs), "", "alice").status, 403);
}

TEST(Rest, an_agent_sees_and_writes_only_what_is_its_own) {
  World world;
  const std::string allocations = "/apis/neap.dev/v1/namespaces/default/allocations";
  for (const auto* node : {"press-7", "press-8"})
    ASSERT_EQ(
        world
            .post(allocations,
                  fmt::format(R"({{"metadata":{{"name":"on-{0}"}},"spec":{{"node":"{0}","site":"factory",
      "ownerKind":"TrainingJob","ownerName":"j"}}}})",
                              node))
            .status,
        201);
  const auto as_node = [&](std::string method, std::string target, std::string body = {}) {
    return world.call(std::move(method), std::move(target), std::move(body), "node",
                      {{"Content-Type", "application/merge-patch+json"}});
  };
  EXPECT_EQ(as_node("GET", allocations).status, 403);
  const auto listed = as_node("GET", "/apis/neap.dev/v1/allocations?fieldSelector=spec.node%3Dpress-7");
  ASSERT_EQ(listed.status, 200) << listed.text;
  EXPECT_EQ(listed.body.at("items").get_array().size(), 1u);
  EXPECT_EQ(as_node("GET", allocations + "/on-press-7").status, 200);
  EXPECT_EQ(as_node("GET", allocations + "/on-press-8").status, 403);
  EXPECT_EQ(as_node("PATCH", allocations + "/on-press-7/status", R"({"status":{"phase":"Running"}})").status,
            200);
  EXPECT_EQ(as_node("PATCH", allocations + "/on-press-8/status", R"({"status":{"phase":"Running"}})").status,
            403);
  EXPECT_EQ(as_node("PATCH", allocations + "/on-press-7", R"({"spec":{"desired":"Stop"}})").status, 403);
  const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/neap-node-lease/leases";
  const auto lease = [](std::string_view name) {
    return fmt::format(
        R"({{"metadata":{{"name":"{}"}},"spec":{{"renewTime":"2026-06-01T12:00:00.000001Z"}}}})", name);
  };
  EXPECT_EQ(world.call("POST", leases, lease("press-7"), "node").status, 201);
  EXPECT_EQ(world.call("POST", leases, lease("press-8"), "node").status, 403);
}

TEST(Rest, in_process_callers_pass_the_same_checks) {
  World world;
  auto admin = world.server().local_client(
      {.user = "admin", .groups = {"system:masters"}, .node = {}, .authenticated = true});
  auto alice =
      world.server().local_client({.user = "alice", .groups = {}, .node = {}, .authenticated = true});
  world.run([](client::ResourceClient& admin, client::ResourceClient& alice) -> Task<void> {
    const client::ResourcePath jobs{"neap.dev", "v1", "trainingjobs", "default", "", ""};
    const client::ResourcePath one{"neap.dev", "v1", "trainingjobs", "default", "a", ""};
    const auto made = co_await admin.create({}, jobs, json(job("a")), {});
    EXPECT_TRUE(made) << made.error().to_string();
    const auto again = co_await admin.create({}, jobs, json(job("a")), {});
    EXPECT_EQ(again.error().code, Code::kAlreadyExists);
    const auto refused = co_await alice.get({}, one);
    EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
    auto stale = *made;
    const auto patched =
        co_await admin.patch({}, one, client::PatchType::kMerge, json(R"({"spec":{"replicas":2}})"), {});
    EXPECT_TRUE(patched);
    const auto conflict = co_await admin.update({}, one, std::move(stale), {});
    EXPECT_EQ(conflict.error().code, Code::kAborted);
    const auto listed = co_await admin.list({}, jobs, {});
    EXPECT_EQ(listed->at("items").get_array().size(), 1u);
    EXPECT_TRUE(co_await admin.remove({}, one, {}));
    const auto gone = co_await admin.get({}, one);
    EXPECT_EQ(gone.error().code, Code::kNotFound);
  }(*admin, *alice));
}

TEST(Rest, scale_is_a_view_of_replicas) {
  World world;
  const std::string deployments = "/apis/apps/v1/namespaces/default/deployments";
  const auto made =
      world.post(deployments,
                 R"({"metadata":{"name":"web"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}},
    "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  ASSERT_EQ(made.status, 201) << made.text;
  const auto scale = world.merge(deployments + "/web/scale", R"({"spec":{"replicas":4}})");
  ASSERT_EQ(scale.status, 200) << scale.text;
  EXPECT_EQ(get_string(scale.body, "kind"), "Scale");
  EXPECT_EQ(get_string(*find_path(scale.body, {"status"}), "selector"), "app=web");
  EXPECT_EQ(get_int(*find_path(world.get(deployments + "/web").body, {"spec"}), "replicas"), 4);
}

TEST(Rest, a_secrets_plain_texts_become_data) {
  World world;
  const auto made = world.post("/api/v1/namespaces/default/secrets",
                               R"({"metadata":{"name":"s"},"stringData":{"k":"hello"}})");
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(get_string(*find_path(made.body, {"data"}), "k"), "aGVsbG8=");
  EXPECT_EQ(find_path(made.body, {"stringData"}), nullptr);
}

class Refusing : public Admission {
 public:
  Task<Status> admit(AdmissionRequest request, std::vector<std::string>& warnings) override {
    if (request.after && get_string(*find_path(*request.after, {"metadata"}), "name") == "forbidden")
      co_return fail(Code::kPermissionDenied, "quota.exceeded",
                     "the quota of this project is used up; ask for more");
    if (request.after) metadata_label(*request.after);
    warnings.emplace_back("looked at");
    co_return ok();
  }
  static void metadata_label(Json& object) {
    sub_object(sub_object(object.get_object(), "metadata"), "labels")["admitted"] = "yes";
  }
};

TEST(Rest, admission_may_refuse_change_and_warn) {
  World world;
  Refusing refusing;
  world.admission().push_back(&refusing);
  world.restart();
  const auto made = world.post(std::string(kJobs), job("a"));
  EXPECT_EQ(get_string(*find_path(made.body, {"metadata", "labels"}), "admitted"), "yes");
  EXPECT_EQ(made.headers.get("Warning"), "299 - \"looked at\"");
  const auto refused = world.post(std::string(kJobs), job("forbidden"));
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.message().find("quota"), std::string::npos);
}

TEST(Rest, a_body_above_the_limit_is_refused) {
  ApiServer::Options options;
  options.body_bytes_max = 1000;
  World world(options);
  const auto refused =
      world.post(std::string(kJobs), job("a", R"(,"queue":")" + std::string(2000, 'x') + "\""));
  EXPECT_EQ(refused.status, 413);
  EXPECT_EQ(refused.reason(), "RequestEntityTooLarge");
  EXPECT_EQ(world.post(std::string(kJobs), job("a")).status, 201);
}

TEST(Rest, when_users_fill_their_pool_agents_still_get_through) {
  ApiServer::Options options;
  options.requests_max = 0;
  World world(options);
  const auto refused = world.get(std::string(kJobs));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.get("Retry-After"), "1");
  EXPECT_EQ(world.call("GET", "/apis/neap.dev/v1/sites", "", "node").status, 200);
}

}  // namespace
}  // namespace neap::apiserver
