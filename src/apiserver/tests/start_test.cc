// A server that answers while it still reads what its store holds: its answers are those it gives later.
#include "tests/world.h"

namespace neap::apiserver {
namespace {

const std::string kCore = "/api/v1/namespaces/default/";
const std::string kMaps = kCore + "configmaps";
const std::string kNodes = "/apis/neap.dev/v1/nodes";

std::string map(std::string_view name, std::string_view more = "") {
  return fmt::format(R"({{"metadata":{{"name":"{}"{}}}}})", name, more);
}
// A second life on the same store, whose hub gets nothing to read.
void restart_unread(World& world) {
  world.settle();
  world.gate().close_after(0);
  world.restart();
}

TEST(Start, gets_lists_and_writes_are_answered_before_everything_is_known) {
  World world;
  for (const auto* name : {"a", "b", "c"}) ASSERT_EQ(world.post(kMaps, map(name)).status, 201);
  restart_unread(world);
  EXPECT_EQ(world.get(kMaps + "/a").status, 200);
  const auto page = world.get(kMaps + "?limit=2");
  EXPECT_EQ(find_path(page.body, {"items"})->get_array().size(), 2u);
  EXPECT_FALSE(find_path(page.body, {"metadata", "remainingItemCount"})) << "not guessed";
  const auto token = std::string(get_string(*find_path(page.body, {"metadata"}), "continue"));
  EXPECT_EQ(world.post(kMaps, map("a")).status, 409);
  EXPECT_EQ(world.post(kMaps, map("d")).status, 201);
  EXPECT_EQ(world.merge(kMaps + "/a", R"({"data":{"k":"2"}})").status, 200);
  EXPECT_EQ(world.remove(kMaps + "/b").status, 200);
  world.gate().open();
  world.settle();
  const auto rest = world.get(kMaps + "?limit=2&continue=" + token);
  EXPECT_EQ(find_path(rest.body, {"items"})->get_array().size(), 1u) << "of the state the first page showed";
  const auto counted = world.get(kMaps + "?limit=1");
  EXPECT_EQ(get_int(*find_path(counted.body, {"metadata"}), "remainingItemCount"), 2);
}

TEST(Start, who_may_do_what_is_known_from_the_first_request_on) {
  World world;
  const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
  ASSERT_EQ(world
                .post(rbac + "roles", R"({"metadata":{"name":"r"},"rules":[{"apiGroups":[""],
                  "resources":["configmaps"],"verbs":["get","list"]}]})")
                .status,
            201);
  ASSERT_EQ(world
                .post(rbac + "rolebindings",
                      R"({"metadata":{"name":"b"},"subjects":[{"kind":"User","name":"alice"}],
                  "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"}})")
                .status,
            201);
  restart_unread(world);
  EXPECT_EQ(world.call("GET", kMaps, {}, "alice").status, 200);
  EXPECT_EQ(world.call("POST", kMaps, map("a"), "alice").status, 403);
  ASSERT_EQ(world.remove(rbac + "rolebindings/b").status, 200);
  world.settle();
  EXPECT_EQ(world.call("GET", kMaps, {}, "alice").status, 403) << "what is taken away is, at once";
  world.gate().open();
  world.settle();
  EXPECT_EQ(world.call("GET", kMaps, {}, "alice").status, 403);
}

TEST(Start, objects_are_found_by_a_field_as_they_are) {
  World world;
  for (const auto* name : {"n1", "n2"})
    ASSERT_EQ(world.post(kNodes, fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{"site":"s"}}}})", name))
                  .status,
              201);
  restart_unread(world);
  const auto count = [&] {
    const auto listed = world.get(kNodes + "?fieldSelector=spec.unschedulable%3Dtrue");
    return find_path(listed.body, {"items"})->get_array().size();
  };
  EXPECT_EQ(count(), 0u);
  EXPECT_EQ(world.merge(kNodes + "/n1", R"({"spec":{"unschedulable":true}})").status, 200);
  EXPECT_EQ(count(), 1u);
  world.gate().open();
  world.settle();
  EXPECT_EQ(count(), 1u);
}

// Whoever waited would hold a seat for as long as the reading takes: two users fill all of them.
TEST(Start, writes_under_a_quota_that_cannot_be_counted_yet_are_put_off_and_hold_up_nobody) {
  World world;
  for (const auto* name : {"a", "b"}) ASSERT_EQ(world.post(kMaps, map(name)).status, 201);
  const auto quota = R"({"metadata":{"name":"q"},"spec":{"hard":{"count/configmaps":"3"}}})";
  ASSERT_EQ(world.post(kCore + "resourcequotas", quota).status, 201);
  world.settle();
  world.gate().close_after(0);
  world.restart({.requests_max = 2});
  TaskGroup group(world.runtime().executor());
  std::vector<std::string> answers;
  for (const auto* token : {"admin", "alice"})
    for (const auto* name : {"c", "d", "e", "f"})
      group.spawn(
          [](World& of, std::string body, std::string who, std::vector<std::string>& out) -> Task<void> {
            io::HttpRequest request;
            request.method = "POST";
            request.target = kMaps;
            request.body = std::move(body);
            request.headers.set("Authorization", "Bearer " + who);
            const auto done = co_await of.http().call({}, std::move(request));
            if (done && who == "admin")
              out.push_back(fmt::format("{} {}", done->status, done->headers.get("Retry-After")));
          }(world, map(name), token, answers));
  world.settle();
  EXPECT_EQ(answers, std::vector<std::string>(4, "429 1"));
  EXPECT_EQ(group.running(), 0u);
  EXPECT_EQ(world.post("/api/v1/namespaces/neap-system/configmaps", map("a")).status, 201)
      << "a project without one does not wait";
  EXPECT_EQ(world.merge(kMaps + "/a", R"({"data":{"k":"2"}})").status, 200) << "what asks for nothing more";
  world.gate().open();
  world.settle();
  EXPECT_EQ(world.post(kMaps, map("c")).status, 201);
  const auto over = world.post(kMaps, map("d"));
  EXPECT_EQ(over.status, 403) << over.text;
  EXPECT_NE(over.message().find("exceeded quota"), std::string::npos);
}

TEST(Start, what_follows_from_a_deletion_follows_when_everything_is_known) {
  World world;
  const auto owner = world.post(kMaps, map("owner"));
  const auto uid = get_string(owner.body.at("metadata"), "uid");
  ASSERT_EQ(world
                .post(kMaps, map("owned", fmt::format(R"(,"ownerReferences":[{{"apiVersion":"v1",
                  "kind":"ConfigMap","name":"owner","uid":"{}"}}])",
                                                      uid)))
                .status,
            201);
  restart_unread(world);
  ASSERT_EQ(world.remove(kMaps + "/owner", R"({"propagationPolicy":"Background"})").status, 200);
  world.settle();
  EXPECT_EQ(world.get(kMaps + "/owned").status, 200);
  world.gate().open();
  world.settle();
  EXPECT_EQ(world.get(kMaps + "/owned").status, 404);
}

}  // namespace
}  // namespace neap::apiserver
