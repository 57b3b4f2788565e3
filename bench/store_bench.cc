// Writes per second and latency of 64 concurrent writers: MemoryStore, SqliteStore (group commit, fsync
// before every acknowledgement), and the naive way, one SQLite transaction a write with the same
// durability; with an address also etcd through EtcdStore. Ratios of one run on one disk; absolute figures
// are the machine's. kine cannot stand in for etcd here: it speaks gRPC alone, EtcdStore the JSON form that
// etcd serves beside it. The longest write shows what a checkpoint costs whom it meets.
//
//   store_bench [writes-per-writer] [directory] [etcd-url]
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <vector>

#include "neap/base/task_group.h"
#include "neap/io/real_runtime.h"
#include "neap/store/etcd_store.h"
#include "neap/store/memory_store.h"
#include "neap/store/sqlite_store.h"

namespace neap::store {
namespace {

constexpr int kWriters = 64;
constexpr std::size_t kValueBytes = 2048;

struct Figures {
  double writes_per_second = 0;
  double p50_ms = 0;
  double p99_ms = 0;
  double longest_ms = 0;
};

using Write = std::function<Task<Status>(std::string key, std::string value)>;

Task<void> write_many(io::Runtime& runtime, Write& write, int writer, int writes,
                      std::vector<double>& latencies_ms) {
  const std::string value(kValueBytes, 'v');
  for (int i = 0; i < writes; ++i) {
    const auto start = runtime.executor().now();
    auto status = co_await write(fmt::format("/objects/{}/{}", writer, i % 100), value);
    if (!status) {
      fmt::print(stderr, "write failed: {}\n", status.error().to_string());
      std::exit(1);
    }
    latencies_ms.push_back(to_seconds(runtime.executor().now() - start) * 1e3);
  }
}

Task<Figures> measure(io::Runtime& runtime, Write& write, int writes) {
  TaskGroup group(runtime.executor());
  std::vector<double> latencies_ms;
  const auto start = runtime.executor().now();
  for (int w = 0; w < kWriters; ++w) group.spawn(write_many(runtime, write, w, writes, latencies_ms));
  co_await group.stop();
  const double seconds = to_seconds(runtime.executor().now() - start);
  std::sort(latencies_ms.begin(), latencies_ms.end());
  const auto at = [&](double q) { return latencies_ms[std::size_t(q * double(latencies_ms.size() - 1))]; };
  co_return Figures{double(latencies_ms.size()) / seconds, at(0.5), at(0.99), latencies_ms.back()};
}

Task<Figures> measure_store(io::Runtime& runtime, Store& store, int writes) {
  Write write = [&store](std::string key, std::string value) -> Task<Status> {
    return [](Store& s, std::string k, std::string v) -> Task<Status> {
      auto done = co_await s.put({}, std::move(k), std::move(v));
      co_return done ? ok() : Status(fail(done.error()));
    }(store, std::move(key), std::move(value));
  };
  const auto out = co_await measure(runtime, write, writes);
  co_await store.close();
  co_return out;
}

// What a store without group commit does: every write its own transaction, one after another.
class NaiveSqlite {
 public:
  explicit NaiveSqlite(const std::string& path) {
    sqlite3_open(path.c_str(), &db_);
    run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE kv(id INTEGER PRIMARY KEY, key TEXT, value BLOB); CREATE INDEX by_key ON kv(key, id)");
    sqlite3_prepare_v2(db_, "INSERT INTO kv(key, value) VALUES(?1, ?2)", -1, &insert_, nullptr);
  }
  ~NaiveSqlite() {
    sqlite3_finalize(insert_);
    sqlite3_close(db_);
  }
  Status write(const std::string& key, const std::string& value) {
    sqlite3_bind_text(insert_, 1, key.data(), int(key.size()), SQLITE_STATIC);
    sqlite3_bind_blob(insert_, 2, value.data(), int(value.size()), SQLITE_STATIC);
    const int rc = sqlite3_step(insert_);
    sqlite3_reset(insert_);
    if (rc == SQLITE_DONE) return ok();
    return fail(Code::kUnavailable, "bench.sqlite", sqlite3_errmsg(db_));
  }

 private:
  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) std::exit(1);
  }
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
};

Task<void> write_in_turn(io::Runtime& runtime,
                         std::deque<std::pair<std::function<Status()>, Completion<Status>>>& queue,
                         Notifier& arrived, const bool& is_over) {
  for (;;) {
    if (queue.empty()) {
      if (is_over) co_return;
      (void)co_await arrived.wait({}, arrived.generation());
      continue;
    }
    auto [work, done] = std::move(queue.front());
    queue.pop_front();
    done.complete(co_await runtime.offload(work));
  }
}

Task<void> bench(io::Runtime& runtime, std::string directory, int writes, std::string etcd_url) {
  Figures memory, sqlite, naive, etcd;
  {
    MemoryStore store(runtime.executor());
    memory = co_await measure_store(runtime, store, writes);
  }
  {
    auto store = (co_await SqliteStore::open(runtime, {.directory = directory + "/store"})).value();
    sqlite = co_await measure_store(runtime, *store, writes);
  }
  if (!etcd_url.empty()) {
    auto store = co_await EtcdStore::open(runtime, {.endpoints = {etcd_url}, .tls = {}});
    if (!store) {
      fmt::print(stderr, "store_bench: {}\n", store.error().to_string());
      std::exit(1);
    }
    etcd = co_await measure_store(runtime, **store, std::max(1, writes / 10));
  }
  {
    NaiveSqlite store(directory + "/naive.db");
    // First come, first served, so that the latencies compare.
    std::deque<std::pair<std::function<Status()>, Completion<Status>>> queue;
    Notifier arrived(runtime.executor());
    bool is_over = false;
    TaskGroup worker(runtime.executor());
    worker.spawn(write_in_turn(runtime, queue, arrived, is_over));
    Write write = [&](std::string key, std::string value) -> Task<Status> {
      Completion<Status> done(runtime.executor());
      queue.emplace_back([&store, k = std::move(key), v = std::move(value)] { return store.write(k, v); },
                         done);
      arrived.notify_all();
      return done.wait();
    };
    naive = co_await measure(runtime, write, std::max(1, writes / 10));
    is_over = true;
    arrived.notify_all();
    co_await worker.stop();
  }
  fmt::print("{} writers, values of {} bytes\n\n", kWriters, kValueBytes);
  fmt::print("{:<28}{:>12}{:>10}{:>10}{:>12}\n", "store", "writes/s", "p50 ms", "p99 ms", "longest ms");
  for (const auto& [name, f] : {std::pair{"memory", memory},
                                {"sqlite, group commit", sqlite},
                                {"sqlite, one by one", naive},
                                {"etcd", etcd}})
    if (f.writes_per_second > 0)
      fmt::print("{:<28}{:>12.0f}{:>10.2f}{:>10.2f}{:>12.2f}\n", name, f.writes_per_second, f.p50_ms,
                 f.p99_ms, f.longest_ms);
  fmt::print("\ngroup commit against one by one: {:.1f}x the writes, p99 {:.1f}x shorter\n",
             sqlite.writes_per_second / naive.writes_per_second, naive.p99_ms / sqlite.p99_ms);
  fmt::print("memory against group commit: {:.1f}x the writes\n",
             memory.writes_per_second / sqlite.writes_per_second);
}

}  // namespace
}  // namespace neap::store

int main(int argc, char** argv) {
  const int writes = argc > 1 ? std::max(1, std::atoi(argv[1])) : 500;
  const std::filesystem::path parent = argc > 2 ? argv[2] : std::filesystem::temp_directory_path();
  std::string directory = parent / "neap-store-bench-XXXXXX";
  if (!mkdtemp(directory.data())) return 1;
  auto runtime = neap::io::RealRuntime::create();
  runtime->run_task(neap::store::bench(*runtime, directory, writes, argc > 3 ? argv[3] : ""));
  std::filesystem::remove_all(directory);
}
