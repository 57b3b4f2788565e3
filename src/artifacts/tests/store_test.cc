#include <gtest/gtest.h>

#include "neap/artifacts/model_manifest.h"
#include "tests/fixture.h"

namespace neap::artifacts {
namespace {

struct Fixture : testing::Test {
  std::unique_ptr<io::RealRuntime> runtime = io::RealRuntime::create();
  TemporaryFolder folder;
  std::unique_ptr<ArtifactStore> store = *ArtifactStore::open(*runtime, {.root = folder.path()});
};
using ArtifactStoreTest = Fixture;

Task<void> uploads_in_pieces(ArtifactStore& store, io::Runtime& runtime, const std::string& root) {
  const std::string id = *store.begin_upload();
  EXPECT_EQ(*co_await store.append(id, 0, "hello "), 6U);
  EXPECT_EQ((co_await store.append(id, 0, "again")).error().reason, "artifacts.upload.offset");
  EXPECT_EQ((co_await store.append("../../etc/passwd", 0, "x")).error().reason, "artifacts.upload.unknown");
  // Another life of the store goes on where the file ends.
  auto reborn = *ArtifactStore::open(runtime, {.root = root});
  EXPECT_EQ(*co_await reborn->upload_size(id), 6U);
  EXPECT_EQ(*co_await reborn->append(id, 6, "world"), 11U);
  const auto blob = co_await reborn->commit(id, crypto::sha256("hello world"));
  EXPECT_TRUE(blob) << blob.error().to_string();
  EXPECT_EQ(*co_await reborn->read(blob->digest, 100), "hello world");
  EXPECT_EQ((co_await reborn->read(blob->digest, 5)).error().reason, "artifacts.blob.too_large");
  auto reader = co_await reborn->open_blob(blob->digest);
  std::string part;
  EXPECT_EQ(*reader->read_at(6, part, 3), 3U);
  EXPECT_EQ(part, "wor");
}
TEST_F(ArtifactStoreTest, uploads_in_pieces_across_a_restart) {
  runtime->run_task(uploads_in_pieces(*store, *runtime, folder.path()));
}

Task<void> refuses_wrong_content(ArtifactStore& store) {
  const std::string id = *store.begin_upload();
  EXPECT_TRUE(co_await store.append(id, 0, "one"));
  EXPECT_EQ((co_await store.commit(id, crypto::sha256("two"))).error().reason, "artifacts.digest.mismatch");
  EXPECT_FALSE(store.has(crypto::sha256("two")));
  EXPECT_EQ((co_await store.upload_size(id)).error().reason, "artifacts.upload.unknown");
}
TEST_F(ArtifactStoreTest, keeps_nothing_whose_bytes_are_not_its_name) {
  runtime->run_task(refuses_wrong_content(*store));
}

Task<void> finds_rot(ArtifactStore& store, io::Runtime& runtime, std::string root) {
  const BlobStat blob = *co_await store.put("precious bytes");
  const std::string hex = blob.digest.hex();
  auto file =
      *runtime.files().open(root + "/blobs/sha256/" + hex.substr(0, 2) + "/" + hex, io::OpenMode::kReadWrite);
  EXPECT_TRUE(file->write_at(3, "X"));
  EXPECT_EQ((co_await store.verify(blob.digest)).error().reason, "artifacts.blob.corrupt");
  EXPECT_EQ((co_await store.read(blob.digest, 100)).error().code, Code::kDataLoss);
  auto careful = *ArtifactStore::open(runtime, {.root = root, .verify_on_open = true});
  EXPECT_FALSE(co_await careful->open_blob(blob.digest));
}
TEST_F(ArtifactStoreTest, finds_a_flipped_byte) {
  runtime->run_task(finds_rot(*store, *runtime, folder.path()));
}

Task<void> limits(io::Runtime& runtime, std::string root) {
  auto small = *ArtifactStore::open(runtime, {.root = root, .blob_bytes_max = 10, .uploads_max = 2});
  EXPECT_EQ((co_await small->put("more than ten bytes")).error().reason, "artifacts.blob.too_large");
  const std::string first = *small->begin_upload();
  EXPECT_TRUE(co_await small->append(first, 0, "abc"));
  (void)*small->begin_upload();
  (void)*small->begin_upload();
  // Pushed out of memory, not lost.
  EXPECT_EQ(*co_await small->upload_size(first), 3U);
}
TEST_F(ArtifactStoreTest, holds_its_limits) { runtime->run_task(limits(*runtime, folder.path())); }

Task<void> collects(ArtifactStore& store) {
  RepositoryTable table(store);
  const BlobStat config = *co_await store.put("{}");
  const BlobStat orphan = *co_await store.put("nobody needs me");
  EXPECT_TRUE(table.link_blob("models/a", config.digest));
  const std::string manifest = R"({"schemaVersion":2,"config":{"mediaType":"application/json","digest":")" +
                               config.digest.to_string() + R"(","size":2},"layers":[]})";
  const auto record =
      co_await table.put_manifest("models/a", manifest, std::string(kManifestMediaType), "v1");
  EXPECT_TRUE(record) << record.error().to_string();
  const auto keep = co_await table.reachable();
  EXPECT_EQ(*co_await store.collect(*keep, 1h), 0U);
  EXPECT_EQ(*co_await store.collect(*keep, Duration(-1h)), orphan.size);
  EXPECT_TRUE(store.has(config.digest));
  EXPECT_TRUE(store.has(record->digest));
  EXPECT_FALSE(store.has(orphan.digest));
}
TEST_F(ArtifactStoreTest, collects_only_what_no_manifest_reaches) { runtime->run_task(collects(*store)); }

TEST(RepositoryName, follows_the_grammar_of_the_specification) {
  for (const char* good : {"a", "a/b", "a-b", "a--b", "a.b/c_d/e__f", "models/quality-check"})
    EXPECT_TRUE(is_repository_name(good)) << good;
  for (const char* bad : {"", "A", "a/", "/a", "a//b", "a..b", "a___b", "_a", "a/_layers", "../a", "a.-b"})
    EXPECT_FALSE(is_repository_name(bad)) << bad;
  EXPECT_FALSE(is_repository_name(std::string(256, 'a')));
  EXPECT_TRUE(is_tag("v1.0_a-B"));
  for (const char* bad : {"", ".a", "-a", "a/b", "a~"}) EXPECT_FALSE(is_tag(bad)) << bad;
}

// -- models and signatures

ModelDescription model(const Digest& weights) {
  ModelDescription out{
      .name = "quality", .version = "3", .format = "onnx", .created_at = "2026-11-22T00:00:00Z"};
  out.files.push_back({"model.onnx", weights, 7});
  out.annotations["neap.dev/dataset"] = "line-7@sha256:abc";
  return out;
}

Task<void> signs(ArtifactStore& store) {
  RepositoryTable table(store);
  const BlobStat weights = *co_await store.put("weights");
  EXPECT_TRUE(table.link_blob("models/q", weights.digest));
  const auto packed = pack_model(model(weights.digest));
  EXPECT_TRUE(packed);
  const auto record = co_await store_model(store, table, "models/q", *packed, "3");
  EXPECT_TRUE(record) << record.error().to_string();
  EXPECT_EQ(record->digest, packed->manifest_digest);
  for (const auto kind : {crypto::KeyKind::kEd25519, crypto::KeyKind::kEcdsaP256}) {
    const auto key = *crypto::PrivateKey::generate(kind);
    const auto other = *crypto::PrivateKey::generate(kind);
    EXPECT_TRUE(co_await store_signature(
        store, table, "models/q", sign_manifest(record->digest, record->size, key, "2026-11-22T00:00:00Z")));
    const auto good = co_await require_signature(store, table, "models/q", record->digest,
                                                 {other.public_key(), key.public_key()});
    EXPECT_TRUE(good) << good.error().to_string();
    EXPECT_EQ(good->key_id, key.key_id());
    EXPECT_EQ((co_await require_signature(store, table, "models/q", record->digest, {other.public_key()}))
                  .error()
                  .reason,
              "artifacts.signature.untrusted");
    // A signature of one model does not serve another.
    const auto signature = sign_manifest(crypto::sha256("another"), 7, key, "");
    EXPECT_EQ(verify_signature(record->digest, signature.manifest, signature.payload, {key.public_key()})
                  .error()
                  .reason,
              "artifacts.signature.bad");
    const auto mine = sign_manifest(record->digest, record->size, key, "");
    EXPECT_FALSE(verify_signature(record->digest, mine.manifest, mine.payload + " ", {key.public_key()}));
  }
  EXPECT_EQ((co_await require_signature(store, table, "models/q", crypto::sha256("x"), {})).error().reason,
            "artifacts.signature.missing");
}
TEST_F(ArtifactStoreTest, models_are_packed_signed_and_verified) { runtime->run_task(signs(*store)); }

TEST(ModelManifest, comes_back_as_it_was_and_refuses_paths_that_leave) {
  const auto packed = pack_model(model(crypto::sha256("weights")));
  ASSERT_TRUE(packed);
  const auto back = unpack_model(packed->manifest);
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(back->name, "quality");
  EXPECT_EQ(back->files.at(0).path, "model.onnx");
  EXPECT_EQ(back->annotations.at("neap.dev/dataset"), "line-7@sha256:abc");
  for (const char* path : {"../x", "/etc/passwd", "a/../../b", "", "a//b", "a\\b"}) {
    auto evil = model(crypto::sha256("weights"));
    evil.files[0].path = path;
    EXPECT_FALSE(pack_model(evil)) << path;
  }
  EXPECT_FALSE(unpack_model("{}"));
  EXPECT_FALSE(unpack_model("nonsense"));
}

}  // namespace
}  // namespace neap::artifacts
