#include "neap/store/sqlite_backup.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "neap/base/task_group.h"
#include "neap/io/real_runtime.h"
#include "neap/store/sqlite_store.h"

namespace neap::store {
namespace {

class SqliteBackup : public testing::Test {
 protected:
  SqliteBackup() {
    std::string name = std::filesystem::temp_directory_path() / "neap-store-XXXXXX";
    if (!mkdtemp(name.data())) std::abort();
    root_ = name;
  }
  ~SqliteBackup() override { std::filesystem::remove_all(root_); }
  void run(Task<void> (*body)(io::Runtime&, std::string)) { runtime_->run_task(body(*runtime_, root_)); }
  static Task<std::unique_ptr<SqliteStore>> open(io::Runtime& runtime, std::string directory) {
    co_return (co_await SqliteStore::open(runtime, {.directory = std::move(directory)})).value();
  }
  static Task<Result<Revision>> copy(io::Runtime& runtime, std::string from, std::string to) {
    co_return co_await runtime.offload([&] { return copy_sqlite_store(runtime, from, to); });
  }
  std::string root_;
  std::unique_ptr<io::RealRuntime> runtime_ = io::RealRuntime::create();
};

struct Load {
  bool stop = false;
  std::uint64_t written = 0;
};
Task<void> write_until_stopped(SqliteStore& store, Load& load, int writer) {
  while (!load.stop) {
    // Two keys that always change together.
    const std::string value = std::to_string(load.written) + std::string(2000, 'x');
    const std::string end = "/" + std::to_string(writer * 1000 + int(load.written % 200));
    std::vector<Op> ops{Op::put("a" + end, value), Op::put("b" + end, value)};
    EXPECT_TRUE(co_await store.commit({}, std::move(ops)));
    ++load.written;
  }
}

TEST_F(SqliteBackup, a_copy_made_under_writers_is_one_state_and_holds_what_was_acknowledged_before) {
  run([](io::Runtime& runtime, std::string root) -> Task<void> {
    auto store = co_await open(runtime, root + "/live");
    TaskGroup group(runtime.executor());
    Load load;
    for (int i = 0; i < 8; ++i) group.spawn(write_until_stopped(*store, load, i));
    while (load.written < 500) (void)co_await sleep_for(runtime.executor(), {}, 1ms);
    const auto before = (co_await store->put({}, "acknowledged", "yes")).value();
    const auto writes_before = load.written;
    const auto revision = (co_await copy(runtime, root + "/live", root + "/copy")).value();
    EXPECT_GE(revision, before);
    // The writers went on; only how far is up to the machine.
    while (load.written <= writes_before) (void)co_await sleep_for(runtime.executor(), {}, 1ms);
    load.stop = true;
    co_await group.stop();
    auto copied = co_await open(runtime, root + "/copy");
    EXPECT_EQ(copied->current_revision(), revision);
    EXPECT_EQ((co_await copied->get({}, "acknowledged")).value()->value, "yes");
    // Its lists are those of the live store at the same revision, pairs and all.
    const ListOptions then{.revision = revision};
    EXPECT_EQ((co_await copied->list({}, "", {})).value().items,
              (co_await store->list({}, "", then)).value().items);
    co_await copied->close();
    co_await store->close();
  });
}

TEST_F(SqliteBackup, an_adopted_copy_gives_no_revision_again_and_sends_old_watches_to_list) {
  run([](io::Runtime& runtime, std::string root) -> Task<void> {
    auto store = co_await open(runtime, root + "/live");
    for (int i = 0; i < 30; ++i) (void)(co_await store->put({}, "k" + std::to_string(i % 3), "v")).value();
    const auto copied_at = (co_await copy(runtime, root + "/live", root + "/copy")).value();
    const auto lost = (co_await store->put({}, "lost", "v")).value();
    co_await store->close();
    for (int restore = 1; restore <= 2; ++restore) {
      const auto adopted =
          co_await runtime.offload([&] { return adopt_sqlite_copy(runtime, root + "/copy"); });
      EXPECT_EQ(to_number(adopted.value()),
                to_number(copied_at) + std::uint64_t(restore) * kRestoreRevisionGap);
    }
    auto again = co_await open(runtime, root + "/copy");
    EXPECT_EQ((co_await again->list({}, "k", {})).value().items.size(), 3u);
    EXPECT_EQ((co_await again->get({}, "lost")).value(), std::nullopt);
    // A watch from what the copy never saw must not go on as if nothing were missing.
    for (const auto from : {copied_at, lost, Revision{to_number(lost) + 1000}}) {
      const auto watch = again->watch("", from);
      EXPECT_FALSE(watch);
      if (!watch) EXPECT_EQ(watch.error().reason, "store.revision.compacted");
    }
    const auto now = again->current_revision();
    auto watch = again->watch("k", now).value();
    EXPECT_EQ(to_number((co_await again->put({}, "k0", "new")).value()), to_number(now) + 1);
    EXPECT_EQ((co_await watch->next({})).value().kv.value, "new");
    co_await again->close();
  });
}

TEST_F(SqliteBackup, nothing_is_copied_from_where_no_store_is) {
  run([](io::Runtime& runtime, std::string root) -> Task<void> {
    const auto copied = co_await copy(runtime, root + "/nowhere", root + "/copy");
    EXPECT_FALSE(copied);
    EXPECT_EQ(copied.error().reason, "store.backup.source");
    EXPECT_FALSE(runtime.files().exists(root + "/copy"));
  });
}

}  // namespace
}  // namespace neap::store
