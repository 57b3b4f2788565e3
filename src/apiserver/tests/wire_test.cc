// What clients see beside the objects: discovery, reviews, protobuf bodies, other routes.
#include "internal/protobuf_body.h"
#include "tests/world.h"

namespace neap::apiserver {
namespace {

// Protobuf writing, just enough to build bodies.
std::string field(int number, std::string_view bytes) {
  std::string out(1, char(number << 3 | 2));
  std::size_t size = bytes.size();
  while (size >= 0x80) {
    out += char(0x80 | (size & 0x7f));
    size >>= 7;
  }
  return out + char(size) + std::string(bytes);
}
std::string envelope(std::string_view version, std::string_view kind, std::string_view raw) {
  return std::string("k8s\0", 4) + field(1, field(1, version) + field(2, kind)) + field(2, raw);
}

TEST(Wire, aggregated_discovery_is_the_version_the_client_knows) {
  World world;
  const auto ask = [&](std::string path, std::string accept) {
    return world.call("GET", std::move(path), "", "admin", {{"Accept", std::move(accept)}});
  };
  const std::string v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  const std::string beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
  const auto newest = ask("/apis", v2 + "," + beta + ",application/json");
  EXPECT_EQ(newest.headers.get("Content-Type"), v2);
  EXPECT_EQ(get_string(newest.body, "apiVersion"), "apidiscovery.k8s.io/v2");
  const auto older = ask("/apis", beta + ",application/json");
  EXPECT_EQ(older.headers.get("Content-Type"), beta);
  EXPECT_EQ(get_string(older.body, "apiVersion"), "apidiscovery.k8s.io/v2beta1");
  const auto plain = ask("/apis", "application/json");
  EXPECT_EQ(get_string(plain.body, "kind"), "APIGroupList");
  EXPECT_EQ(get_string(ask("/api", "*/*").body, "kind"), "APIVersions");
  const auto list = ask("/apis/neap.dev/v1", "");
  EXPECT_EQ(get_string(list.body, "kind"), "APIResourceList");
  const std::string etag(newest.headers.get("ETag"));
  const auto cached = world.call("GET", "/apis", "", "admin", {{"Accept", v2}, {"If-None-Match", etag}});
  EXPECT_EQ(cached.status, 304);
}

TEST(Wire, every_kind_can_be_validated_against_an_openapi_document) {
  World world;
  const auto index = world.get("/openapi/v3?timeout=32s");
  const auto* paths = find_path(index.body, {"paths"});
  ASSERT_NE(paths, nullptr);
  for (const auto& [name, entry] : paths->get_object()) {
    const auto document = world.get(std::string(get_string(entry, "serverRelativeURL")));
    EXPECT_EQ(document.status, 200) << name;
    EXPECT_NE(document.text.find("fieldValidation"), std::string::npos) << name;
  }
  EXPECT_TRUE(paths->get_object().contains("apis/neap.dev/v1"));
  EXPECT_NE(world.get("/openapi/v2").text.find("dev.neap.v1.TrainingJob"), std::string::npos);
  EXPECT_EQ(get_string(world.get("/version").body, "gitVersion"), "v0.1.0");
}

TEST(Wire, a_protobuf_namespace_is_created) {
  World world;
  const auto body =
      envelope("v1", "Namespace", field(1, field(1, "team-a") + field(8, "")) + field(2, "") + field(3, ""));
  const auto made = world.call("POST", "/api/v1/namespaces", body, "admin",
                               {{"Content-Type", "application/vnd.kubernetes.protobuf"}});
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(get_string(*find_path(made.body, {"status"}), "phase"), "Active");
  EXPECT_EQ(world.get("/api/v1/namespaces/team-a").status, 200);
}

TEST(Wire, protobuf_maps_and_bytes_become_json) {
  const auto meta = field(1, "s") + field(11, field(1, "app") + field(2, "x"));
  const auto decoded = decode_protobuf_body(
      envelope("v1", "Secret",
               field(1, meta) + field(2, field(1, "k") + field(2, std::string_view("\x00\xff", 2))) +
                   field(3, "Opaque")));
  ASSERT_TRUE(decoded) << decoded.error().to_string();
  EXPECT_EQ(*decoded, json(R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","labels":{"app":"x"}},
    "data":{"k":"AP8="},"type":"Opaque"})"));
}

TEST(Wire, hostile_protobuf_is_refused) {
  const auto good =
      envelope("v1", "ConfigMap", field(1, field(1, "a")) + field(2, field(1, "k") + field(2, "v")));
  ASSERT_TRUE(decode_protobuf_body(good));
  for (std::size_t cut = 0; cut < good.size(); ++cut) (void)decode_protobuf_body(good.substr(0, cut));
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const int bit : {0, 3, 7}) {
      auto broken = good;
      broken[at] = char(broken[at] ^ (1 << bit));
      (void)decode_protobuf_body(broken);
    }
  EXPECT_FALSE(decode_protobuf_body(""));
  EXPECT_FALSE(decode_protobuf_body("{}"));
  // The last three would be stored and never read again: JSON takes no surrogate, no overlong form.
  for (const auto* name : {"\xff\xfe", "a\xed\xa0\x80", "a\xe0\x80\x80", "a\xf4\x90\x80\x80"})
    EXPECT_FALSE(decode_protobuf_body(envelope("v1", "ConfigMap", field(1, field(1, name))))) << name;
  EXPECT_FALSE(decode_protobuf_body(envelope("v1", "ConfigMap", "\x0a\xff\xff\xff\xff\x0f")));
  EXPECT_EQ(decode_protobuf_body(envelope("v1", "Node", "")).error().code, Code::kUnimplemented);
  EXPECT_EQ(decode_protobuf_body(envelope("", "ObjectMeta", "")).error().code, Code::kUnimplemented);
}

TEST(Wire, reviews_answer_and_store_nothing) {
  World world;
  const auto before = world.store().current_revision();
  const auto ask = [&](std::string token) {
    return world.call(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        R"({"spec":{"resourceAttributes":{"verb":"create","group":"neap.dev","resource":"trainingjobs","namespace":"default"}}})",
        std::move(token));
  };
  const auto admin = ask("admin"), alice = ask("alice");
  EXPECT_EQ(admin.status, 201) << admin.text;
  EXPECT_TRUE(get_bool(*find_path(admin.body, {"status"}), "allowed"));
  EXPECT_FALSE(get_bool(*find_path(alice.body, {"status"}), "allowed", true));
  const auto spec =
      field(1, "default") + field(2, "create") + field(3, "neap.dev") + field(5, "trainingjobs");
  const auto binary = world.call(
      "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
      envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", field(1, "") + field(2, field(1, spec))),
      "admin", {{"Content-Type", "application/vnd.kubernetes.protobuf"}});
  EXPECT_EQ(binary.status, 201) << binary.text;
  EXPECT_TRUE(get_bool(*find_path(binary.body, {"status"}), "allowed"));
  const auto who = world.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", "alice");
  EXPECT_EQ(get_string(*find_path(who.body, {"status", "userInfo"}), "username"), "alice");
  const auto rules = world.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                                R"({"spec":{"namespace":"default"}})", "admin");
  EXPECT_NE(to_text(rules.body.at("status")).find(R"("resources":["*"])"), std::string::npos) << rules.text;
  EXPECT_EQ(world
                .call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                      R"({"spec":{"user":"x"}})", "alice")
                .status,
            403)
      << "asking about others is a right of its own";
  EXPECT_EQ(world.store().current_revision(), before);
}

TEST(Wire, other_routes_and_subresources_reach_their_owner) {
  World world;
  world.server().add_route(
      {"/console/", true, [](io::HttpExchange& x, const auth::Identity& who) -> Task<void> {
         (void)co_await x.reply({.status = 200, .headers = {}, .body = "hello " + who.user});
       }});
  world.server().add_route(
      {"/join/", false, [](io::HttpExchange& x, const auth::Identity& who) -> Task<void> {
         (void)co_await x.reply({.status = 200, .headers = {}, .body = who.user});
       }});
  world.server().add_subresource(
      {"trainingjobs", "explain", [](CallContext, std::string ns, std::string name) -> Task<Result<Json>> {
         co_return JsonObject{{"about", ns + "/" + name}};
       }});
  EXPECT_EQ(world.get("/console/x").text, "hello admin");
  EXPECT_EQ(world.call("GET", "/console/x", "", "alice").status, 403);
  EXPECT_EQ(world.call("GET", "/console/x", "", "").status, 401);
  EXPECT_EQ(world.call("POST", "/join/v1", "", "").text, "system:anonymous");
  EXPECT_EQ(
      get_string(world.get("/apis/neap.dev/v1/namespaces/default/trainingjobs/a/explain").body, "about"),
      "default/a");
  EXPECT_EQ(
      world.call("GET", "/apis/neap.dev/v1/namespaces/default/trainingjobs/a/explain", "", "alice").status,
      403);
}

}  // namespace
}  // namespace neap::apiserver
