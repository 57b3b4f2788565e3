#include <gtest/gtest.h>

#include <map>

#include "neap/base/task_group.h"
#include "neap/io/halting_runtime.h"
#include "neap/io/sim_runtime.h"
#include "neap/store/sqlite_store.h"

namespace neap::store {
namespace {

const SqliteStoreOptions kOptions{.directory = "/state",
                                  .history_revisions = 40,
                                  .history_age = 0s,
                                  .checkpoint_pages = 10,
                                  .use_io_vfs = true};

// Everything written to one key, in order; nothing = removed. What is found after a crash must be one
// of the states from the last acknowledged one on.
struct KeyRecord {
  std::vector<std::optional<std::string>> states{std::nullopt};
  std::size_t acknowledged = 0;
  Revision acknowledged_revision{};
};

struct Crashes {
  explicit Crashes(std::uint64_t seed) : world(seed), machine(world.add_machine("m")) {}
  io::SimWorld world;
  io::SimMachine& machine;
  std::map<std::string, KeyRecord> keys;
  std::uint64_t counter = 0;
  std::uint64_t acknowledgements = 0;

  template <class F>
  void run(TaskGroup& group, F done) {
    world.run_for(1h, [&] { return done() || group.running() == 0; });
  }
  Result<std::unique_ptr<SqliteStore>> open(io::Runtime& runtime) {
    TaskGroup group(runtime.executor());
    std::optional<Result<std::unique_ptr<SqliteStore>>> out;
    group.spawn([](io::Runtime& r, decltype(out)& o) -> Task<void> {
      o.emplace(co_await SqliteStore::open(r, kOptions));
    }(runtime, out));
    run(group, [&] { return out.has_value(); });
    group.abandon();
    return std::move(*out);
  }
};

Task<void> write_key(Crashes& crashes, SqliteStore& store, std::string key) {
  auto& record = crashes.keys[key];
  for (;;) {
    const bool remove = record.states.back() && crashes.world.random_below(6) == 0;
    const std::string value =
        std::to_string(++crashes.counter) + std::string(crashes.world.random_below(9000), 'v');
    record.states.push_back(remove ? std::nullopt : std::optional(value));
    const std::size_t at = record.states.size() - 1;
    auto done = remove ? co_await store.remove({}, key) : co_await store.put({}, key, value);
    if (!done) {
      // A removal of what an unacknowledged earlier removal took away already.
      if (done.error().reason == "store.key.absent") continue;
      co_return;
    }
    EXPECT_GT(*done, record.acknowledged_revision);
    record.acknowledged = at;
    record.acknowledged_revision = *done;
    ++crashes.acknowledgements;
  }
}

Task<void> check_state(Crashes& crashes, SqliteStore& store, bool& checked) {
  const auto page = (co_await list_all(store, {}, "")).value();
  std::map<std::string, KeyValue> found;
  for (const auto& kv : page.items) found[kv.key] = kv;
  for (auto& [key, record] : crashes.keys) {
    EXPECT_GE(store.current_revision(), record.acknowledged_revision);
    const std::optional<std::string> value =
        found.contains(key) ? std::optional(found[key].value) : std::nullopt;
    bool allowed = false;
    for (std::size_t i = record.acknowledged; i < record.states.size(); ++i)
      allowed |= record.states[i] == value;
    EXPECT_TRUE(allowed) << key << " is " << (value ? value->substr(0, 20) : "absent");
    // From here on, what was found is the truth.
    record.states = {value};
    record.acknowledged = 0;
  }
  // What the history tells, from as far back as it goes, must end in the same state.
  std::uint64_t from = to_number(store.current_revision());
  while (from > 0 && store.watch("", Revision{from - 1})) --from;
  auto watch = store.watch("", Revision{from}).value();
  const ListOptions then{.revision = Revision{from}};
  std::map<std::string, std::string> replayed;
  if (from > 0)
    for (const auto& kv : (co_await store.list({}, "", then)).value().items) replayed[kv.key] = kv.value;
  Revision last{from};
  CallContext soon;
  soon.deadline = crashes.world.now() + 1ms;
  for (;;) {
    const auto event = co_await watch->next(soon);
    if (!event) {
      EXPECT_EQ(event.error().reason, "call.deadline");
      break;
    }
    EXPECT_GT(event->kv.mod_revision, last);  // one key a commit here
    last = event->kv.mod_revision;
    if (event->type == WatchEvent::Type::kDelete) {
      EXPECT_EQ(replayed[event->kv.key], event->kv.value);
      replayed.erase(event->kv.key);
    } else {
      replayed[event->kv.key] = event->kv.value;
    }
  }
  EXPECT_EQ(replayed.size(), found.size());
  for (const auto& [key, kv] : found) EXPECT_EQ(replayed[key], kv.value);
  checked = true;
}

// A machine that loses power at a random disk operation, six times over, under concurrent writers.
std::uint64_t crash_repeatedly(std::uint64_t seed) {
  Crashes crashes(seed);
  for (int life = 0; life < 6; ++life) {
    const std::uint64_t operations = 1 + crashes.world.random_below(life % 2 ? 60 : 600);
    io::HaltingRuntime runtime(crashes.machine.runtime(), operations);
    auto opened = crashes.open(runtime);
    if (opened) {
      TaskGroup group(runtime.executor());
      bool checked = false;
      group.spawn(check_state(crashes, **opened, checked));
      crashes.run(group, [&] { return checked; });
      EXPECT_TRUE(checked);
      for (int i = 0; i < 6; ++i) group.spawn(write_key(crashes, **opened, "key" + std::to_string(i)));
      crashes.run(group, [] { return false; });
      EXPECT_TRUE(runtime.has_halted());
      group.abandon();
      opened->reset();
    } else {
      EXPECT_TRUE(runtime.has_halted()) << opened.error().to_string();
    }
    crashes.world.crash("m");
  }
  auto last = crashes.open(crashes.machine.runtime());
  EXPECT_TRUE(last) << last.error().to_string();
  if (!last) return 0;
  TaskGroup group(crashes.machine.runtime().executor());
  bool checked = false;
  group.spawn(check_state(crashes, **last, checked));
  crashes.run(group, [&] { return checked; });
  EXPECT_TRUE(checked);
  group.abandon();
  return crashes.acknowledgements;
}

TEST(SqliteStoreCrash, acknowledged_writes_survive_power_loss_at_any_disk_operation) {
  std::uint64_t acknowledged = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    acknowledged += crash_repeatedly(seed);
    if (HasFailure()) return;
  }
  EXPECT_GT(acknowledged, 10'000u);
}

// Runs a body in a simulated world with one machine.
void in_world(Task<void> (*body)(io::SimMachine&)) {
  io::SimWorld world(7);
  auto& machine = world.add_machine("m");
  TaskGroup group(machine.runtime().executor());
  group.spawn(body(machine));
  world.run_for(1h, [&] { return group.running() == 0; });
  EXPECT_EQ(group.running(), 0u);
  group.abandon();
}

template <class T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

TEST(SqliteStoreFaults, after_a_failed_fsync_no_write_is_acknowledged_and_reads_go_on) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto options = kOptions;
    int told = 0;
    options.on_failure = [&told](const Error&) { ++told; };
    auto store = (co_await SqliteStore::open(machine.runtime(), options)).value();
    const auto kept = (co_await store->put({}, "a", "kept")).value();
    machine.fail_next_syncs(1, Code::kDataLoss);
    EXPECT_EQ(reason_of(co_await store->put({}, "a", "lost")), "store.failed");
    EXPECT_EQ(reason_of(co_await store->put({}, "b", "later")), "store.failed");
    EXPECT_EQ(told, 1);
    EXPECT_EQ(reason_of(co_await store->compact({}, kept)), "store.failed");
    EXPECT_EQ((co_await store->get({}, "a")).value()->value, "kept");
    EXPECT_EQ(store->current_revision(), kept);
    co_await store->close();
  });
}

TEST(SqliteStoreFaults, a_full_disk_refuses_single_writes_until_there_is_space) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto store = (co_await SqliteStore::open(machine.runtime(), kOptions)).value();
    (void)(co_await store->put({}, "a", "1")).value();
    machine.set_disk_capacity(150'000);
    EXPECT_EQ(reason_of(co_await store->put({}, "big", std::string(1'000'000, 'x'))), "store.disk.full");
    EXPECT_EQ((co_await store->get({}, "a")).value()->value, "1");
    machine.set_disk_capacity(100'000'000);
    EXPECT_TRUE(co_await store->put({}, "big", std::string(1'000'000, 'x')));
    EXPECT_TRUE(co_await store->put({}, "a", "2"));
    co_await store->close();
  });
}

TEST(SqliteStoreFaults, a_flipped_byte_in_the_database_is_refused_or_harmless_and_never_served) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    std::map<std::string, std::string> written;
    {
      auto store = (co_await SqliteStore::open(machine.runtime(), kOptions)).value();
      for (int i = 0; i < 30; ++i) {
        const std::string key = "key" + std::to_string(i % 12);
        written[key] = "value" + std::to_string(i * 1'000'003) + std::string(300, 'x');
        (void)(co_await store->put({}, key, written[key])).value();
      }
      (void)(co_await store->remove({}, "key3")).value();
      written.erase("key3");
      co_await store->close();
    }
    const std::string good = machine.runtime().files().read_file("/state/store.db").value();
    EXPECT_GT(good.size(), 8192u);
    int refused = 0, harmless = 0;
    for (std::size_t at = 0; at < good.size(); at += 29) {
      std::string bad = good;
      bad[at] = char(bad[at] ^ (1 << at % 8));
      (void)machine.runtime().files().remove_tree("/state");
      EXPECT_TRUE(machine.runtime().files().make_directories("/state"));
      EXPECT_TRUE(machine.runtime().files().write_file_atomic("/state/store.db", bad));
      auto store = co_await SqliteStore::open(machine.runtime(), kOptions);
      if (!store) {
        // A byte that says "newer schema" or "no WAL" gets another honest refusal.
        EXPECT_NE(store.error().message, "");
        ++refused;
        continue;
      }
      ++harmless;
      std::map<std::string, std::string> read;
      for (auto& kv : (co_await list_all(**store, {}, "")).value().items) read[kv.key] = kv.value;
      EXPECT_EQ(read, written) << "byte " << at;
      EXPECT_EQ(to_number((*store)->current_revision()), 31u) << "byte " << at;
      co_await (*store)->close();
    }
    EXPECT_GT(refused, harmless / 10);
  });
}

TEST(SqliteStoreFaults, a_file_that_is_no_database_or_comes_from_a_newer_program_is_refused) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto& files = machine.runtime().files();
    EXPECT_TRUE(files.make_directories("/state"));
    EXPECT_TRUE(files.write_file_atomic("/state/store.db", std::string(10'000, 'g')));
    EXPECT_EQ(reason_of(co_await SqliteStore::open(machine.runtime(), kOptions)), "store.corrupt");
    EXPECT_EQ(files.read_file("/state/store.db").value(), std::string(10'000, 'g'));
  });
}

TEST(SqliteStore, an_open_store_cannot_be_opened_again_until_it_is_closed) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto store = (co_await SqliteStore::open(machine.runtime(), kOptions)).value();
    EXPECT_EQ(reason_of(co_await SqliteStore::open(machine.runtime(), kOptions)), "store.directory.locked");
    co_await store->close();
    EXPECT_TRUE(co_await SqliteStore::open(machine.runtime(), kOptions));
  });
}

TEST(SqliteStore, history_beyond_both_limits_is_forgotten_while_writes_go_on) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto store = (co_await SqliteStore::open(machine.runtime(), kOptions)).value();
    for (int i = 0; i < 3000; ++i)
      (void)(co_await store->put({}, "k" + std::to_string(i % 3), std::string(500, 'x'))).value();
    EXPECT_EQ(reason_of(store->watch("", Revision{2000})), "store.revision.compacted");
    EXPECT_TRUE(store->watch("", Revision{2960}));
    EXPECT_EQ((co_await store->list({}, "", {})).value().items.size(), 3u);
    EXPECT_LT(machine.runtime().files().stat("/state/store.db-wal").value().size, 1'000'000u);
    co_await store->close();
    // 3,000 versions of 500 bytes would need 1.5 MB.
    EXPECT_LT(machine.runtime().files().stat("/state/store.db").value().size, 600'000u);
  });
}

TEST(SqliteStore, a_full_queue_refuses_writes_at_once) {
  in_world([](io::SimMachine& machine) -> Task<void> {
    auto options = kOptions;
    options.queue_commits_max = 8;
    auto store = (co_await SqliteStore::open(machine.runtime(), options)).value();
    TaskGroup group(machine.runtime().executor());
    int done = 0, refused = 0;
    for (int i = 0; i < 50; ++i)
      group.spawn([](SqliteStore& s, int id, int& ok_count, int& full_count) -> Task<void> {
        auto result = co_await s.put({}, "k" + std::to_string(id), "");
        ok_count += result.has_value();
        full_count += reason_of(result) == "store.queue.full";
      }(*store, i, done, refused));
    co_await group.stop();
    EXPECT_EQ(done + refused, 50);
    EXPECT_GT(refused, 0);
    EXPECT_GE(done, 8);
    co_await store->close();
  });
}

}  // namespace
}  // namespace neap::store
