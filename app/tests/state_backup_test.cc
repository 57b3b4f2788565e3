#include "state_backup.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "neap/io/real_runtime.h"
#include "neap/store/sqlite_store.h"

namespace neap::app {
namespace {

// A state directory with a store, a ledger, a blob, keys, and what must stay out.
class StateBackup : public testing::Test {
 protected:
  StateBackup() {
    std::string name = std::filesystem::temp_directory_path() / "neap-backup-XXXXXX";
    if (!mkdtemp(name.data())) std::abort();
    root_ = name;
    runtime_->run_task([](io::Runtime& r, std::string directory) -> Task<void> {
      auto store = (co_await store::SqliteStore::open(r, {.directory = std::move(directory)})).value();
      (void)(co_await store->put({}, "/registry/a", "kept")).value();
      co_await store->close();
    }(*runtime_, state() + "/store"));
    write("identity/signing.key", "secret");
    write("ledger/audit/checkpoint", "one");
    write("ledger/audit/entries.jsonl", std::string(3 << 20, 'e'));
    write("content/blobs/sha256/ab/abcd", "");
    write("content/uploads/17", "half");
    write("content/repositories/x/_tags/v1.tmp~", "half");
    write("ready", "127.0.0.1:1");
  }
  ~StateBackup() override { std::filesystem::remove_all(root_); }
  std::string state() const { return root_ + "/state"; }
  std::string file() const { return root_ + "/backup"; }
  void write(const std::string& name, std::string_view bytes) {
    const auto path = state() + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    ASSERT_TRUE(runtime_->files().write_file_atomic(path, bytes));
  }
  Result<BackupSummary> backup() { return write_state_backup(*runtime_, state(), file()); }
  Result<BackupSummary> restore(const std::string& to) { return restore_state_backup(*runtime_, file(), to); }
  std::vector<std::string> names_in_root() { return runtime_->files().list(root_).value(); }

  std::string root_;
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create();
};

TEST_F(StateBackup, a_restored_directory_holds_store_ledgers_content_and_keys_and_nothing_else) {
  const auto made = backup();
  ASSERT_TRUE(made) << made.error().to_string();
  EXPECT_EQ(made->files, 5u);
  EXPECT_EQ(std::filesystem::status(file()).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(names_in_root(), (std::vector<std::string>{"backup", "state"}));
  const auto restored = restore(root_ + "/new");
  ASSERT_TRUE(restored) << restored.error().to_string();
  EXPECT_EQ(restored->digest, made->digest);
  EXPECT_GT(restored->revision, made->revision);
  auto& files = runtime_->files();
  for (const char* name : {"identity/signing.key", "ledger/audit/checkpoint", "ledger/audit/entries.jsonl",
                           "content/blobs/sha256/ab/abcd"})
    EXPECT_EQ(files.read_file(root_ + "/new/" + name).value(), files.read_file(state() + "/" + name).value())
        << name;
  EXPECT_EQ(files.list(root_ + "/new").value(),
            (std::vector<std::string>{"content", "identity", "ledger", "restored", "store"}));
  EXPECT_EQ(files.list(root_ + "/new/store").value(), (std::vector<std::string>{"store.db"}));
  EXPECT_FALSE(files.exists(root_ + "/new/content/uploads"));
}

TEST_F(StateBackup, a_damaged_or_foreign_file_restores_nothing) {
  ASSERT_TRUE(backup());
  const std::string good = runtime_->files().read_file(file()).value();
  std::vector<std::string> bad{good.substr(0, good.size() - 1), good.substr(0, good.size() / 2), good + "x",
                               ""};
  for (std::size_t at = 0; at < good.size(); at += at < 200 || good.size() - at < 400 ? 7 : 40'009) {
    bad.push_back(good);
    bad.back()[at] = char(bad.back()[at] ^ 1);
  }
  for (const auto& bytes : bad) {
    ASSERT_TRUE(runtime_->files().write_file_atomic(file(), bytes));
    const auto restored = restore(root_ + "/new");
    ASSERT_FALSE(restored);
    EXPECT_TRUE(restored.error().reason == "restore.damaged" || restored.error().reason == "restore.foreign")
        << restored.error().to_string();
    EXPECT_EQ(names_in_root(), (std::vector<std::string>{"backup", "state"}));
  }
}

TEST_F(StateBackup, a_path_that_leads_out_of_the_directory_is_refused) {
  for (const char* path : {"../evil", "/etc/evil", "a/../../evil", "a//b", "", "."}) {
    ASSERT_TRUE(runtime_->files().write_file_atomic(
        file(), std::string("NEAP-BACKUP 1\n{\"path\":\"") + path + "\",\"size\":1}\nx\n"));
    EXPECT_EQ(restore(root_ + "/new").error().reason, "restore.damaged") << path;
    EXPECT_EQ(names_in_root(), (std::vector<std::string>{"backup", "state"}));
  }
}

TEST_F(StateBackup, nothing_that_exists_is_overwritten) {
  ASSERT_TRUE(backup());
  EXPECT_EQ(backup().error().reason, "backup.exists");
  EXPECT_EQ(restore(state()).error().reason, "restore.not_empty");
  EXPECT_EQ(write_state_backup(*runtime_, root_, root_ + "/other").error().reason, "backup.source");
}

}  // namespace
}  // namespace neap::app
