// A real client: skopeo copies an image layout into the registry and out again.
#include <gtest/gtest.h>

#include "tests/fixture.h"

namespace neap::artifacts {
namespace {

void write_layout(io::FileSystem& files, const std::string& root) {
  const auto blob = [&](const std::string& bytes) {
    const Digest digest = crypto::sha256(bytes);
    EXPECT_TRUE(files.make_directories(root + "/blobs/sha256"));
    EXPECT_TRUE(files.write_file_atomic(root + "/blobs/sha256/" + digest.hex(), bytes));
    return digest;
  };
  const std::string tar(1024, '\0');
  const Digest layer = blob(tar);
  const std::string config =
      R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[")" + layer.to_string() +
      R"("]}})";
  const Digest config_digest = blob(config);
  const std::string manifest =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":")" +
      config_digest.to_string() + R"(","size":)" + std::to_string(config.size()) +
      R"(},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":")" + layer.to_string() +
      R"(","size":1024}]})";
  const Digest digest = blob(manifest);
  EXPECT_TRUE(files.write_file_atomic(root + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  EXPECT_TRUE(files.write_file_atomic(
      root + "/index.json",
      R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" +
          digest.to_string() + R"(","size":)" + std::to_string(manifest.size()) +
          R"(,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]})"));
}

Task<int> skopeo(io::Runtime& runtime, std::vector<std::string> arguments, std::string log) {
  io::ProcessSpec spec;
  spec.argv = {"/usr/bin/skopeo", "--insecure-policy"};
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  spec.environment = {"HOME=/tmp", "PATH=/usr/bin:/bin"};
  spec.stdout_path = spec.stderr_path = log;
  auto process = runtime.subprocesses().start(spec);
  EXPECT_TRUE(process);
  const auto exit = co_await (*process)->wait({});
  co_return exit ? exit->code : -1;
}

Task<void> round_trip(io::RealRuntime& runtime, std::string root) {
  write_layout(runtime.files(), root + "/in");
  Registry registry(runtime, root + "/registry");
  const std::string image = "docker://" + registry.server.local().to_string() + "/team/model:v1";
  std::vector<std::string> push{"copy", "--preserve-digests", "--dest-tls-verify=false",
                                "oci:" + root + "/in:v1", image};
  const int pushed = co_await skopeo(runtime, std::move(push), root + "/log");
  EXPECT_EQ(pushed, 0) << runtime.files().read_file(root + "/log").value_or("");
  std::vector<std::string> pull{"copy", "--preserve-digests", "--src-tls-verify=false", image,
                                "oci:" + root + "/out:v1"};
  const int pulled = co_await skopeo(runtime, std::move(pull), root + "/log");
  EXPECT_EQ(pulled, 0) << runtime.files().read_file(root + "/log").value_or("");
  const auto in = parse_json(runtime.files().read_file(root + "/in/index.json").value_or(""));
  const auto out = parse_json(runtime.files().read_file(root + "/out/index.json").value_or(""));
  EXPECT_TRUE(in && out);
  if (in && out) {
    EXPECT_EQ(get_string(find_path(*in, {"manifests"})->get_array().at(0), "digest"),
              get_string(find_path(*out, {"manifests"})->get_array().at(0), "digest"));
  }
  co_await registry.server.stop(0s);
}

TEST(Skopeo, copies_an_image_in_and_out_without_changing_its_digest) {
  auto runtime = io::RealRuntime::create();
  if (!runtime->files().exists("/usr/bin/skopeo")) GTEST_SKIP() << "skopeo is not installed";
  TemporaryFolder folder;
  runtime->run_task(round_trip(*runtime, folder.path()));
}

}  // namespace
}  // namespace neap::artifacts
