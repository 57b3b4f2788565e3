// Conformance cases written from the OCI distribution specification, over real loopback HTTP.
#include <gtest/gtest.h>

#include "neap/artifacts/model_manifest.h"
#include "tests/fixture.h"

namespace neap::artifacts {
namespace {

std::string error_code(const io::HttpResponse& response) {
  const auto body = parse_json(response.body);
  if (!body || find_path(*body, {"errors"}) == nullptr) return "none: " + response.body;
  return std::string(get_string(find_path(*body, {"errors"})->get_array().at(0), "code"));
}

struct RegistryTest : testing::Test {
  std::unique_ptr<io::RealRuntime> runtime = io::RealRuntime::create();
  TemporaryFolder folder;
  void run(std::function<Task<void>(io::HttpClient&, Registry&)> scenario, Authorize authorize = {}) {
    runtime->run_task([](io::RealRuntime& rt, std::string root, Authorize hook,
                         std::function<Task<void>(io::HttpClient&, Registry&)> body) -> Task<void> {
      Registry registry(rt, root, {.challenge = "Basic realm=\"test\""}, std::move(hook));
      io::HttpClient http(rt, registry.server.local(), {});
      co_await body(http, registry);
      co_await registry.server.stop(0s);
    }(*runtime, folder.path(), std::move(authorize), std::move(scenario)));
  }
};

Task<std::string> push_blob(io::HttpClient& http, std::string repository, std::string bytes) {
  const std::string digest = crypto::sha256(bytes).to_string();
  const auto done = co_await call(http, "POST", "/v2/" + repository + "/blobs/uploads/?digest=" + digest, {},
                                  std::move(bytes));
  EXPECT_EQ(done.status, 201) << done.body;
  co_return digest;
}

std::string manifest_of(const std::string& config, std::size_t config_size, const std::string& extra = "") {
  return R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.test.config","digest":")" +
         config + R"(","size":)" + std::to_string(config_size) + R"(},"layers":[])" + extra + "}";
}

const std::vector<std::pair<std::string, std::string>> kManifestHeaders{
    {"Content-Type", std::string(kManifestMediaType)}};

Task<void> ping_and_errors(io::HttpClient& http, Registry&) {
  EXPECT_EQ((co_await call(http, "GET", "/v2/")).status, 200);
  const std::string none = crypto::sha256("none").to_string();
  const auto blob = co_await call(http, "GET", "/v2/a/b/blobs/" + none);
  EXPECT_EQ(blob.status, 404);
  EXPECT_EQ(error_code(blob), "BLOB_UNKNOWN");
  EXPECT_EQ(error_code(co_await call(http, "GET", "/v2/a/b/manifests/latest")), "MANIFEST_UNKNOWN");
  EXPECT_EQ(error_code(co_await call(http, "GET", "/v2/A/manifests/latest")), "NAME_INVALID");
  EXPECT_EQ(error_code(co_await call(http, "GET", "/v2/a/tags/list")), "NAME_UNKNOWN");
  EXPECT_EQ(error_code(co_await call(http, "GET", "/v2/a/blobs/sha256:zz")), "DIGEST_INVALID");
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/referrers/sha256:zz")).status, 400);
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/referrers/" + none)).status, 200);
  EXPECT_EQ(error_code(co_await call(http, "GET", "/v2/a/blobs/uploads/0123456789abcdef0123456789abcdef")),
            "BLOB_UPLOAD_UNKNOWN");
  EXPECT_EQ((co_await call(http, "POST", "/v2/a/tags/list")).status, 405);
}
TEST_F(RegistryTest, answers_ping_and_names_each_error) { run(ping_and_errors); }

Task<void> chunked(io::HttpClient& http, Registry&) {
  const auto begun = co_await call(http, "POST", "/v2/a/blobs/uploads/");
  EXPECT_EQ(begun.status, 202);
  const std::string location(begun.headers.get("Location"));
  const auto first =
      co_await call(http, "PATCH", location,
                    {{"Content-Range", "0-4"}, {"Content-Type", "application/octet-stream"}}, "hello");
  EXPECT_EQ(first.status, 202);
  EXPECT_EQ(first.headers.get("Range"), "0-4");
  const auto wrong = co_await call(http, "PATCH", location, {{"Content-Range", "9-13"}}, "xxxxx");
  EXPECT_EQ(wrong.status, 416);
  EXPECT_EQ((co_await call(http, "PATCH", location, {{"Content-Range", "0-4"}}, "hello")).status, 416);
  EXPECT_EQ((co_await call(http, "PATCH", location, {{"Content-Range", "500-0"}}, "x")).status, 416);
  EXPECT_EQ((co_await call(http, "PATCH", location, {{"Content-Range", "nonsense"}}, "x")).status, 400);
  const auto where = co_await call(http, "GET", location);
  EXPECT_EQ(where.status, 204);
  EXPECT_EQ(where.headers.get("Range"), "0-4");
  EXPECT_EQ((co_await call(http, "PATCH", location, {{"Content-Range", "5-10"}}, " world")).status, 202);
  const std::string digest = crypto::sha256("hello world!").to_string();
  const auto done =
      co_await call(http, "PUT", location + "?digest=" + digest, {{"Content-Range", "11-11"}}, "!");
  EXPECT_EQ(done.status, 201) << done.body;
  EXPECT_EQ(done.headers.get("Docker-Content-Digest"), digest);
  EXPECT_EQ((co_await call(http, "GET", std::string(done.headers.get("Location")))).body, "hello world!");
  const auto again = co_await call(http, "POST", "/v2/a/blobs/uploads/");
  const auto bad = co_await call(
      http, "PUT", std::string(again.headers.get("Location")) + "?digest=" + digest, {}, "other");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(error_code(bad), "DIGEST_INVALID");
  const auto third = co_await call(http, "POST", "/v2/a/blobs/uploads/");
  EXPECT_EQ((co_await call(http, "DELETE", std::string(third.headers.get("Location")))).status, 204);
  EXPECT_EQ((co_await call(http, "GET", std::string(third.headers.get("Location")))).status, 404);
}
TEST_F(RegistryTest, takes_blobs_in_ordered_chunks_and_says_where_to_go_on) { run(chunked); }

Task<void> ranges(io::HttpClient& http, Registry&) {
  const std::string digest = co_await push_blob(http, "a", "0123456789");
  const std::string path = "/v2/a/blobs/" + digest;
  const auto head = co_await call(http, "HEAD", path);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.get("Content-Length"), "10");
  EXPECT_EQ(head.headers.get("Docker-Content-Digest"), digest);
  const auto middle = co_await call(http, "GET", path, {{"Range", "bytes=2-4"}});
  EXPECT_EQ(middle.status, 206);
  EXPECT_EQ(middle.body, "234");
  EXPECT_EQ(middle.headers.get("Content-Range"), "bytes 2-4/10");
  EXPECT_EQ((co_await call(http, "GET", path, {{"Range", "bytes=7-"}})).body, "789");
  EXPECT_EQ((co_await call(http, "GET", path, {{"Range", "bytes=-2"}})).body, "89");
  EXPECT_EQ((co_await call(http, "GET", path, {{"Range", "bytes=2-99"}})).body, "23456789");
  EXPECT_EQ((co_await call(http, "GET", path, {{"Range", "bytes=10-"}})).status, 416);
  EXPECT_EQ((co_await call(http, "GET", path, {{"Range", "bytes=5-0"}})).status, 416);
  EXPECT_EQ((co_await call(http, "GET", path, {{"Range", "bytes=0-1,3-4"}})).status, 200);
  EXPECT_EQ((co_await call(http, "GET", path, {{"Range", "bytes=2-4"}, {"If-Range", "\"other\""}})).status,
            200);
  const std::string nothing = co_await push_blob(http, "a", "");
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/blobs/" + nothing)).status, 200);
  EXPECT_EQ((co_await call(http, "DELETE", path)).status, 202);
  EXPECT_EQ((co_await call(http, "GET", path)).status, 404);
  EXPECT_EQ((co_await call(http, "DELETE", path)).status, 404);
}
TEST_F(RegistryTest, serves_ranges_and_deletes_blobs) { run(ranges); }

Task<void> manifests(io::HttpClient& http, Registry&) {
  const std::string config = co_await push_blob(http, "a/b", "{}");
  const std::string manifest = manifest_of(config, 2);
  const std::string digest = crypto::sha256(manifest).to_string();
  const auto put =
      co_await call(http, "PUT", "/v2/a/b/manifests/v1",
                    {{"Content-Type", std::string(kManifestMediaType) + "; charset=utf-8"}}, manifest);
  EXPECT_EQ(put.status, 201) << put.body;
  EXPECT_EQ(put.headers.get("Docker-Content-Digest"), digest);
  for (const std::string& reference : {std::string("v1"), digest}) {
    const auto got = co_await call(http, "GET", "/v2/a/b/manifests/" + reference);
    EXPECT_EQ(got.body, manifest);
    EXPECT_EQ(got.headers.get("Content-Type"), kManifestMediaType);
    const auto head = co_await call(http, "HEAD", "/v2/a/b/manifests/" + reference);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.headers.get("Content-Length"), std::to_string(manifest.size()));
    EXPECT_EQ(head.headers.get("Docker-Content-Digest"), digest);
  }
  EXPECT_EQ(error_code(co_await call(http, "PUT", "/v2/a/b/manifests/v2", kManifestHeaders,
                                     manifest_of(crypto::sha256("absent").to_string(), 6))),
            "MANIFEST_BLOB_UNKNOWN");
  EXPECT_EQ(error_code(co_await call(http, "PUT", "/v2/other/manifests/v2", kManifestHeaders, manifest)),
            "MANIFEST_BLOB_UNKNOWN");
  for (const char* bad : {"", "[]", "{}", "{\"schemaVersion\":1}", "{\"schemaVersion\":2,\"layers\":7}",
                          "{\"schemaVersion\":2,\"config\":{\"digest\":\"x\"}}"})
    EXPECT_EQ(error_code(co_await call(http, "PUT", "/v2/a/b/manifests/v2", kManifestHeaders, bad)),
              "MANIFEST_INVALID")
        << bad;
  EXPECT_EQ(error_code(co_await call(http, "PUT", "/v2/a/b/manifests/" + crypto::sha256("x").to_string(),
                                     kManifestHeaders, manifest)),
            "DIGEST_INVALID");
  EXPECT_EQ(
      (co_await call(http, "PUT", "/v2/a/b/manifests/big", kManifestHeaders, std::string(9u << 20, ' ')))
          .status,
      413);
  for (const char* tag : {"v3", "v10", "latest", "V2"})
    EXPECT_EQ(
        (co_await call(http, "PUT", std::string("/v2/a/b/manifests/") + tag, kManifestHeaders, manifest))
            .status,
        201);
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/b/tags/list")).body,
            R"({"name":"a/b","tags":["V2","latest","v1","v10","v3"]})");
  const auto page = co_await call(http, "GET", "/v2/a/b/tags/list?n=2&last=latest");
  EXPECT_EQ(page.body, R"({"name":"a/b","tags":["v1","v10"]})");
  EXPECT_EQ(page.headers.get("Link"), "</v2/a/b/tags/list?n=2&last=v10>; rel=\"next\"");
  const auto none = co_await call(http, "GET", "/v2/a/b/tags/list?n=0");
  EXPECT_EQ(none.body, R"({"name":"a/b","tags":[]})");
  EXPECT_FALSE(none.headers.has("Link"));
  EXPECT_EQ((co_await call(http, "DELETE", "/v2/a/b/manifests/v10")).status, 202);
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/b/manifests/v10")).status, 404);
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/b/manifests/v1")).status, 200);
  EXPECT_EQ((co_await call(http, "DELETE", "/v2/a/b/manifests/" + digest)).status, 202);
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/b/manifests/v1")).status, 404);
  EXPECT_EQ((co_await call(http, "GET", "/v2/a/b/tags/list")).body, R"({"name":"a/b","tags":[]})");
}
TEST_F(RegistryTest, keeps_manifests_byte_for_byte_with_tags_in_order) { run(manifests); }

Task<void> referrers(io::HttpClient& http, Registry&) {
  const std::string config = co_await push_blob(http, "a", "{}");
  const std::string missing = crypto::sha256("not pushed yet").to_string();
  const std::string subject =
      R"(,"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" + missing +
      R"(","size":14})";
  const auto one = co_await call(
      http, "PUT", "/v2/a/manifests/one", kManifestHeaders,
      manifest_of(config, 2, subject + R"(,"artifactType":"application/x.one","annotations":{"k":"v"})"));
  EXPECT_EQ(one.status, 201) << one.body;
  EXPECT_EQ(one.headers.get("OCI-Subject"), missing);
  EXPECT_EQ(
      (co_await call(http, "PUT", "/v2/a/manifests/two", kManifestHeaders, manifest_of(config, 2, subject)))
          .status,
      201);
  const auto all = co_await call(http, "GET", "/v2/a/referrers/" + missing);
  EXPECT_EQ(all.headers.get("Content-Type"), "application/vnd.oci.image.index.v1+json");
  const auto index = parse_json(all.body);
  EXPECT_EQ(find_path(*index, {"manifests"})->get_array().size(), 2U);
  const auto filtered =
      co_await call(http, "GET", "/v2/a/referrers/" + missing + "?artifactType=application%2Fx.one");
  EXPECT_EQ(filtered.headers.get("OCI-Filters-Applied"), "artifactType");
  const auto only = parse_json(filtered.body);
  EXPECT_EQ(find_path(*only, {"manifests"})->get_array().size(), 1U);
  EXPECT_NE(filtered.body.find("\"annotations\":{\"k\":\"v\"}"), std::string::npos);
  const auto fallback =
      co_await call(http, "GET", "/v2/a/referrers/" + missing + "?artifactType=application/vnd.test.config");
  EXPECT_EQ(find_path(*parse_json(fallback.body), {"manifests"})->get_array().size(), 1U);
  EXPECT_EQ((co_await call(http, "DELETE",
                           "/v2/a/manifests/" + std::string(one.headers.get("Docker-Content-Digest"))))
                .status,
            202);
  EXPECT_EQ(
      find_path(*parse_json((co_await call(http, "GET", "/v2/a/referrers/" + missing)).body), {"manifests"})
          ->get_array()
          .size(),
      1U);
}
TEST_F(RegistryTest, lists_referrers_of_subjects_even_before_they_exist) { run(referrers); }

Task<void> mounts(io::HttpClient& http, Registry&) {
  const std::string digest = co_await push_blob(http, "from/here", "shared");
  const auto mounted =
      co_await call(http, "POST", "/v2/to/there/blobs/uploads/?mount=" + digest + "&from=from/here");
  EXPECT_EQ(mounted.status, 201);
  EXPECT_EQ((co_await call(http, "GET", "/v2/to/there/blobs/" + digest)).body, "shared");
  EXPECT_EQ((co_await call(http, "POST", "/v2/to/else/blobs/uploads/?mount=" + digest)).status, 201);
  const auto absent = co_await call(
      http, "POST",
      "/v2/to/there/blobs/uploads/?mount=" + crypto::sha256("no").to_string() + "&from=from/here");
  EXPECT_EQ(absent.status, 202);
  EXPECT_TRUE(absent.headers.has("Location"));
  // A blob of another repository is not readable by its digest alone.
  EXPECT_EQ((co_await call(http, "GET", "/v2/unrelated/blobs/" + digest)).status, 404);
}
TEST_F(RegistryTest, mounts_blobs_between_repositories) { run(mounts); }

Task<Status> only_public(io::HttpExchange&, std::string repository, RegistryAction action) {
  if (action == RegistryAction::kPing || repository.starts_with("public/")) co_return ok();
  if (repository.empty()) co_return ok();
  if (action == RegistryAction::kPull && repository.starts_with("closed/"))
    co_return fail(Code::kPermissionDenied, "test.denied", "not yours");
  if (action == RegistryAction::kPush && repository.starts_with("closed/")) co_return ok();
  co_return fail(Code::kUnauthenticated, "test.who", "who are you");
}
Task<void> authorizes(io::HttpClient& http, Registry& registry) {
  const auto who = co_await call(http, "GET", "/v2/secret/manifests/latest");
  EXPECT_EQ(who.status, 401);
  EXPECT_EQ(error_code(who), "UNAUTHORIZED");
  EXPECT_EQ(who.headers.get("WWW-Authenticate"), "Basic realm=\"test\"");
  const std::string digest = co_await push_blob(http, "closed/x", "hidden");
  const auto denied = co_await call(http, "GET", "/v2/closed/x/blobs/" + digest);
  EXPECT_EQ(denied.status, 403);
  EXPECT_EQ(error_code(denied), "DENIED");
  // Mounting is no way round it, neither by name nor without.
  EXPECT_EQ(
      (co_await call(http, "POST", "/v2/public/y/blobs/uploads/?mount=" + digest + "&from=closed/x")).status,
      202);
  EXPECT_EQ((co_await call(http, "POST", "/v2/public/y/blobs/uploads/?mount=" + digest)).status, 202);
  EXPECT_TRUE(registry.store->has(*Digest::parse(digest)));
}
TEST_F(RegistryTest, asks_the_authorization_hook_also_for_mounts) { run(authorizes, only_public); }

// -- the client

Task<void> pulls(io::RealRuntime& runtime, std::string here, io::HttpClient& http, Registry& registry) {
  std::string weights(3u << 20, '\0');
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<char>(i * 31 >> 3);
  const BlobStat blob = *co_await registry.store->put(weights);
  EXPECT_TRUE(registry.repositories.link_blob("models/q", blob.digest));
  ModelDescription model{.name = "q", .version = "1", .format = "onnx"};
  model.files.push_back({"m.onnx", blob.digest, blob.size});
  const auto packed = pack_model(model);
  const auto record = co_await store_model(*registry.store, registry.repositories, "models/q", *packed, "v1");
  const auto key = *crypto::PrivateKey::generate(crypto::KeyKind::kEd25519);
  EXPECT_TRUE(co_await store_signature(*registry.store, registry.repositories, "models/q",
                                       sign_manifest(record->digest, record->size, key, "")));

  auto local = *ArtifactStore::open(runtime, {.root = here});
  RepositoryTable table(*local);
  RegistryClient client(runtime, http, *local, table);
  PullProgress progress;
  const auto pulled = co_await client.pull({}, "models/q", "v1", &progress);
  EXPECT_TRUE(pulled) << pulled.error().to_string();
  EXPECT_EQ(pulled->digest, record->digest);
  EXPECT_GE(progress.bytes_fetched, weights.size());
  EXPECT_TRUE(co_await require_signature(*local, table, "models/q", record->digest, {key.public_key()}));
  PullProgress second;
  EXPECT_TRUE(co_await client.pull({}, "models/q", "v1", &second));
  EXPECT_EQ(second.bytes_fetched, 0U);
  // What rotted here is fetched again; manifests and signatures, too.
  const auto before = *local->list();
  for (const BlobStat& rotten : before)
    EXPECT_TRUE(runtime.files().write_file_atomic(
        *local->path_of(rotten.digest), std::string(static_cast<std::size_t>(rotten.size), 'x'), 0600));
  EXPECT_FALSE(co_await require_signature(*local, table, "models/q", record->digest, {key.public_key()}));
  EXPECT_TRUE(co_await client.pull({}, "models/q", "v1"));
  for (const BlobStat& healed : before) EXPECT_TRUE(co_await local->verify(healed.digest));
  EXPECT_TRUE(co_await require_signature(*local, table, "models/q", record->digest, {key.public_key()}));
  // And back, under another tag.
  EXPECT_TRUE(table.set_tag("models/q", "v2", record->digest));
  const auto pushed = co_await client.push({}, "models/q", "v2");
  EXPECT_TRUE(pushed) << pushed.error().to_string();
  EXPECT_EQ(registry.repositories.find_manifest("models/q", "v2")->digest, record->digest);
  EXPECT_EQ((co_await client.pull({}, "models/q", "absent")).error().code, Code::kNotFound);
}
TEST_F(RegistryTest, is_pulled_and_pushed_by_the_client_with_signatures) {
  TemporaryFolder here;
  run([&](io::HttpClient& http, Registry& registry) { return pulls(*runtime, here.path(), http, registry); });
}

}  // namespace
}  // namespace neap::artifacts
