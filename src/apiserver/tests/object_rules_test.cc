#include "internal/object_text.h"
#include "tests/world.h"

namespace neap::apiserver {
namespace {

const std::string kCore = "/api/v1/namespaces/default/";
const std::string kMaps = kCore + "configmaps";
const std::string kSecrets = kCore + "secrets";
const std::string kLeases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const std::string kRbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";

std::string named(std::string_view name, std::string_view more) {
  return fmt::format(R"({{"metadata":{{"name":"{}"}}{}}})", name, more);
}
std::string field_of(const Answer& answer) {
  const auto* causes = find_path(answer.body, {"details", "causes"});
  return causes && causes->is_array() && !causes->get_array().empty()
             ? std::string(get_string(causes->get_array().front(), "field"))
             : std::string();
}

TEST(ObjectRules, what_kube_apiserver_refuses_beyond_the_schema_is_refused_with_the_field) {
  World world;
  struct Case {
    std::string target, body, field;
  };
  const std::vector<Case> cases{
      {kMaps, named("a", R"(,"data":{"a b":"x"})"), "data[a b]"},
      {kMaps, named("a", R"(,"data":{"..x":"x"})"), "data[..x]"},
      {kMaps, named("a", R"(,"binaryData":{"x":"!!"})"), "binaryData[x]"},
      {kMaps, named("a", R"(,"data":{"x":"1"},"binaryData":{"x":"MQ=="})"), "data[x]"},
      {kMaps, named("a", fmt::format(R"(,"data":{{"x":"{}"}})", std::string(1'048'577, 'x'))), "data"},
      {kMaps, R"({"metadata":{"name":"a","finalizers":["noslash"]}})", "metadata.finalizers[0]"},
      {kMaps, R"({"metadata":{"name":"a","finalizers":["a b"]}})", "metadata.finalizers"},
      {kMaps, R"({"metadata":{"name":"a","finalizers":["orphan","foregroundDeletion"]}})",
       "metadata.finalizers"},
      {kMaps, R"({"metadata":{"name":"a","annotations":{"a b":""}}})", "metadata.annotations"},
      {kMaps,
       fmt::format(R"({{"metadata":{{"name":"a","annotations":{{"x":"{}"}}}}}})", std::string(262'145, 'x')),
       "metadata.annotations"},
      {kMaps,
       R"({"metadata":{"name":"a","ownerReferences":[
          {"apiVersion":"v1","kind":"ConfigMap","name":"o","uid":"1","controller":true},
          {"apiVersion":"v1","kind":"ConfigMap","name":"p","uid":"2","controller":true}]}})",
       "metadata.ownerReferences"},
      {kSecrets, named("a", R"(,"data":{"x":"eA"})"), "data[x]"},
      {kSecrets, named("a", R"(,"type":"kubernetes.io/tls","data":{"tls.crt":"eA=="})"), "data[tls.key]"},
      {kSecrets, named("a", R"(,"type":"kubernetes.io/basic-auth")"), "data[username]"},
      {kSecrets,
       named("a", R"(,"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":"eA=="})"),
       "data[.dockerconfigjson]"},
      {"/api/v1/namespaces", named("with.dot", ""), "metadata.name"},
      {kRbac + "roles", named("a", R"(,"rules":[{"verbs":["get"]}])"), "rules[0].apiGroups"},
      {kRbac + "roles", named("a", R"(,"rules":[{"verbs":["get"],"nonResourceURLs":["/x"]}])"),
       "rules[0].nonResourceURLs"},
      {kRbac + "rolebindings", named("a", R"(,"roleRef":{"apiGroup":"x","kind":"Role","name":"r"})"),
       "roleRef.apiGroup"},
      {kLeases, named("a", R"(,"spec":{"leaseDurationSeconds":3000000000})"), "spec.leaseDurationSeconds"},
      {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", R"({"spec":{}})", "spec.resourceAttributes"},
      {"/apis/authorization.k8s.io/v1/subjectaccessreviews",
       R"({"spec":{"nonResourceAttributes":{"path":"/x","verb":"get"}}})", "spec.user"},
  };
  for (const auto& c : cases) {
    const auto answer = world.post(c.target, c.body);
    EXPECT_EQ(answer.status, 422) << c.body.substr(0, 200) << "\n" << answer.text.substr(0, 400);
    EXPECT_EQ(field_of(answer), c.field) << answer.text.substr(0, 400);
  }
  EXPECT_EQ(
      world.post(kSecrets, named("b", R"(,"type":"kubernetes.io/basic-auth","data":{"username":"eA=="})"))
          .status,
      201);
  EXPECT_EQ(world.post(kSecrets, named("c", R"(,"data":{"x":"eHh4\neHh4\n"})")).status, 201);
}

TEST(ObjectRules, one_annotation_may_be_as_long_as_all_of_them) {
  World world;
  const auto body =
      fmt::format(R"({{"metadata":{{"name":"a","annotations":{{"x":"{}"}}}}}})", std::string(200'000, 'x'));
  EXPECT_EQ(world.post(kMaps, body).status, 201) << "kubectl apply keeps the whole document in one";
}

TEST(ObjectRules, an_immutable_object_keeps_its_data_and_its_mark) {
  World world;
  for (const auto& [target, first, second] :
       {std::tuple{kMaps, R"({"x":"1"})", R"({"data":{"x":"2"}})"},
        std::tuple{kSecrets, R"({"x":"MQ=="})", R"({"data":{"x":"Mg=="}})"}}) {
    ASSERT_EQ(world.post(target, named("a", fmt::format(R"(,"immutable":true,"data":{})", first))).status,
              201);
    EXPECT_EQ(field_of(world.merge(target + "/a", second)), "data");
    EXPECT_EQ(field_of(world.merge(target + "/a", R"({"immutable":null})")), "immutable");
    EXPECT_EQ(world.merge(target + "/a", R"({"metadata":{"labels":{"a":"b"}}})").status, 200);
  }
}

TEST(ObjectRules, what_was_stored_before_a_rule_was_made_can_still_be_labelled) {
  World world;
  world.run([](World& self) -> Task<void> {
    const std::string text =
        R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"old","namespace":"default","uid":"1",)"
        R"("annotations":{"a b":"x"},"finalizers":["noslash"]},"data":{"a b":"x"}})";
    const auto* kind = api::KindTable::standard().find("", "v1", "configmaps");
    const auto put =
        co_await self.store().put(CallContext(), object_key(*kind, "default", "old"), text, Revision{});
    EXPECT_TRUE(put);
  }(world));
  ASSERT_EQ(world.get(kMaps + "/old").status, 200);
  EXPECT_EQ(world.merge(kMaps + "/old", R"({"metadata":{"labels":{"x":"y"}}})").status, 200);
  EXPECT_EQ(world.merge(kMaps + "/old", R"({"data":{"a b":"y"}})").status, 422);
}

TEST(ObjectRules, bindings_name_the_groups_they_left_out_and_old_ones_may_stay) {
  World world;
  const auto bindings = kRbac + "rolebindings";
  const std::string body =
      R"({"metadata":{"name":"a"},"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"u"},)"
      R"({"kind":"ServiceAccount","name":"s","namespace":"default"}]})";
  const auto made = world.post(bindings, body);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(get_string(made.body.at("roleRef"), "apiGroup"), "rbac.authorization.k8s.io");
  EXPECT_EQ(get_string(made.body.at("subjects").at(0), "apiGroup"), "rbac.authorization.k8s.io");
  EXPECT_EQ(get_string(made.body.at("subjects").at(1), "apiGroup"), "");
  EXPECT_EQ(world.put(bindings + "/a", body).status, 200) << "the same role, named as short as before";
  world.run([](World& self) -> Task<void> {
    const std::string text =
        R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"old",)"
        R"("namespace":"default","uid":"1"},"roleRef":{"kind":"Role","name":"r"}})";
    const auto* kind = api::KindTable::standard().find("rbac.authorization.k8s.io", "v1", "rolebindings");
    EXPECT_TRUE(
        co_await self.store().put(CallContext(), object_key(*kind, "default", "old"), text, Revision{}));
  }(world));
  EXPECT_EQ(world.merge(bindings + "/old", R"({"metadata":{"labels":{"a":"b"}}})").status, 200);
  EXPECT_EQ(world.merge(bindings + "/old", R"({"roleRef":{"name":"other"}})").status, 422);
}

TEST(ObjectRules, a_lease_has_the_microseconds_that_clients_in_go_insist_on) {
  World world;
  for (const auto& [given, kept] :
       {std::pair{"2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000Z"},
        std::pair{"2026-01-01T02:00:00.5+02:00", "2026-01-01T00:00:00.500000Z"},
        std::pair{"2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456Z"},
        std::pair{"2026-01-01T02:00:00.123456+02:00", "2026-01-01T02:00:00.123456+02:00"}}) {
    const auto made = world.post(
        kLeases, fmt::format(R"({{"metadata":{{"generateName":"a-"}},"spec":{{"renewTime":"{}"}}}})", given));
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(get_string(made.body.at("spec"), "renewTime"), kept);
  }
}

TEST(ObjectRules, an_update_that_leaves_out_the_name_is_refused_with_what_it_would_have_lost) {
  World world;
  world.post(kMaps, R"({"metadata":{"name":"a","finalizers":["x/keep"]}})");
  EXPECT_EQ(world.put(kMaps + "/a", R"({"data":{}})").status, 400);
  EXPECT_EQ(world.merge(kMaps + "/a", R"({"metadata":null})").status, 400);
  EXPECT_NE(find_path(world.get(kMaps + "/a").body, {"metadata", "finalizers"}), nullptr);
}

}  // namespace
}  // namespace neap::apiserver
