// The code archive: deterministic, readable by the system's tar, and with limits.
#include <gtest/gtest.h>

#include "internal/code_archive.h"
#include "neap/io/real_runtime.h"
#include "neap/io/sim_runtime.h"

namespace neap::cli {
namespace {

struct Disk {
  io::SimWorld world{3};
  io::FileSystem& files = world.add_machine("laptop").runtime().files();
  void write(const std::string& path, std::string_view text) {
    ASSERT_TRUE(files.make_directories(path.substr(0, path.rfind('/'))));
    ASSERT_TRUE(files.write_file_atomic(path, text));
  }
};

TEST(CodeArchive, the_same_files_give_the_same_digest_whatever_the_order_and_place) {
  Disk disk;
  disk.write("/a/train.py", "print(1)\n");
  disk.write("/a/lib/x.py", "x = 1\n");
  disk.write("/elsewhere/b/lib/x.py", "x = 1\n");
  disk.write("/elsewhere/b/train.py", "print(1)\n");
  const auto first = pack_code_folder(disk.files, "/a"),
             second = pack_code_folder(disk.files, "/elsewhere/b");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(first->size() % 512, 0u);
  disk.write("/a/train.py", "print(2)\n");
  EXPECT_NE(sha256_digest(*pack_code_folder(disk.files, "/a")), sha256_digest(*first));
  EXPECT_EQ(sha256_digest("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(CodeArchive, what_version_control_and_python_leave_behind_stays_out) {
  Disk disk;
  disk.write("/a/train.py", "print(1)\n");
  const auto clean = pack_code_folder(disk.files, "/a");
  disk.write("/a/.git/HEAD", "ref\n");
  disk.write("/a/__pycache__/train.pyc", "x");
  const auto dirty = pack_code_folder(disk.files, "/a");
  ASSERT_TRUE(clean && dirty);
  EXPECT_EQ(*clean, *dirty);
}

TEST(CodeArchive, says_what_it_cannot_pack) {
  Disk disk;
  disk.write("/file", "x");
  ASSERT_TRUE(disk.files.make_directories("/empty/inner"));
  disk.write("/big/a", std::string(3000, 'x'));
  disk.write("/big/b", std::string(3000, 'x'));
  disk.write("/deep/1/2/3/4/f", "x");
  disk.write("/long/" + std::string(120, 'n'), "x");
  const auto reason = [&](const std::string& folder, CodeArchiveLimits limits = {}) {
    const auto packed = pack_code_folder(disk.files, folder, limits);
    return packed ? "packed" : packed.error().reason;
  };
  EXPECT_EQ(reason("/absent"), "code.not_a_folder");
  EXPECT_EQ(reason("/file"), "code.not_a_folder");
  EXPECT_EQ(reason("/empty"), "code.empty");
  EXPECT_EQ(reason("/big", {.bytes_max = 5000}), "code.too_large");
  EXPECT_EQ(reason("/big", {.bytes_max = 6000}), "packed");
  EXPECT_EQ(reason("/big", {.entries_max = 1}), "code.too_many");
  EXPECT_EQ(reason("/deep", {.depth_max = 3}), "code.too_deep");
  EXPECT_EQ(reason("/long"), "code.name");
}

TEST(CodeArchive, the_systems_tar_reads_it_back) {
  auto runtime = io::RealRuntime::create();
  auto& files = runtime->files();
  const auto root = testing::TempDir() + "neap-cli-" + runtime->random().hex(6);
  const std::string long_name = std::string(90, 'd') + "/" + std::string(95, 'f');
  ASSERT_TRUE(files.make_directories(root + "/code/" + std::string(90, 'd')));
  ASSERT_TRUE(files.make_directories(root + "/out"));
  ASSERT_TRUE(files.write_file_atomic(root + "/code/" + long_name, std::string(513, 'z')));
  ASSERT_TRUE(files.write_file_atomic(root + "/code/run.sh", "#!/bin/sh\n"));
  ASSERT_TRUE(files.write_file_atomic(root + "/code/empty", ""));
  const auto packed = pack_code_folder(files, root + "/code");
  ASSERT_TRUE(packed) << packed.error().to_string();
  ASSERT_TRUE(files.write_file_atomic(root + "/code.tar", *packed));
  io::ProcessSpec spec;
  spec.argv = {"/bin/tar", "-xpf", root + "/code.tar", "-C", root + "/out", "--no-same-owner"};
  spec.stderr_path = root + "/err";
  const auto exit =
      runtime->run_task([](io::RealRuntime& r, io::ProcessSpec s) -> Task<Result<io::ExitStatus>> {
        NEAP_CO_TRY(const auto process, r.subprocesses().start(s));
        co_return co_await process->wait({});
      }(*runtime, spec));
  ASSERT_TRUE(exit) << exit.error().to_string();
  EXPECT_EQ(exit->code, 0) << files.read_file(root + "/err").value_or("");
  EXPECT_EQ(files.read_file(root + "/err").value_or(""), "") << "tar warned";
  EXPECT_EQ(files.read_file(root + "/out/" + long_name).value_or(""), std::string(513, 'z'));
  EXPECT_EQ(files.read_file(root + "/out/run.sh").value_or(""), "#!/bin/sh\n");
  EXPECT_TRUE(files.exists(root + "/out/empty"));
  (void)files.remove_tree(root);
}

}  // namespace
}  // namespace neap::cli
