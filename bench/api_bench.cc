// The API over HTTP: writes of 64 concurrent writers on a memory and on a SQLite store, against the same
// store without the API in front; the same at a pace of 500 a second; then how late 100 watchers see 100
// events a second. Clients, server and store share one process and one event loop, so the clients' own work
// is part of every figure.
//
//   api_bench [writes-per-writer] [watch-seconds] [paced-seconds]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <vector>

#include "neap/apiserver/server.h"
#include "neap/base/task_group.h"
#include "neap/io/real_runtime.h"
#include "neap/ledger/ledger.h"
#include "neap/store/memory_store.h"
#include "neap/store/sqlite_store.h"
#include "watch_lag.h"

namespace neap {
namespace {

constexpr int kWriters = 64;
constexpr int kWatchers = 100;
constexpr int kPacedWritesPerSecond = 500;
constexpr auto kEventInterval = std::chrono::milliseconds(10);
const std::string kMaps = "/api/v1/namespaces/default/configmaps";

struct Figures {
  double writes_per_second = 0, p50_ms = 0, p99_ms = 0;
  int errors = 0;
};
using Write = std::function<Task<Status>(std::string name, int round)>;

double quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::size_t(q * double(values.size() - 1))];
}

std::string map_text(std::string_view name, int round) {
  return fmt::format(
      R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{}"}},"data":{{"round":"{}","fill":"{}"}}}})",
      name, round, std::string(800, 'x'));
}

Task<void> write_many(io::Runtime& runtime, Write& write, int writer, int writes,
                      std::vector<double>& latencies_ms, int& errors, Duration pace) {
  auto next = runtime.executor().now() + pace * writer / kWriters;
  for (int i = 0; i < writes; ++i) {
    if (pace > Duration::zero()) (void)co_await sleep_until(runtime.executor(), {}, next += pace);
    const auto start = runtime.executor().now();
    if (!co_await write(fmt::format("w{}", writer), i)) ++errors;
    latencies_ms.push_back(to_seconds(runtime.executor().now() - start) * 1e3);
  }
}

Task<Figures> measure(io::Runtime& runtime, Write write, int writes, Duration pace = {}) {
  TaskGroup group(runtime.executor());
  std::vector<double> latencies_ms;
  Figures out;
  const auto start = runtime.executor().now();
  for (int w = 0; w < kWriters; ++w)
    group.spawn(write_many(runtime, write, w, writes, latencies_ms, out.errors, pace));
  co_await group.stop();
  out.writes_per_second = double(latencies_ms.size()) / to_seconds(runtime.executor().now() - start);
  out.p50_ms = quantile(latencies_ms, 0.5);
  out.p99_ms = quantile(latencies_ms, 0.99);
  co_return out;
}

io::HttpRequest request_of(std::string method, std::string target, std::string body) {
  io::HttpRequest out;
  out.method = std::move(method);
  out.target = std::move(target);
  out.body = std::move(body);
  out.headers.set("Authorization", "Bearer admin");
  return out;
}

Task<Status> call(io::HttpClient& http, std::string method, std::string target, std::string body) {
  auto reply = co_await http.call({}, request_of(std::move(method), std::move(target), std::move(body)));
  if (!reply) co_return fail(reply.error());
  if (reply->status >= 300) co_return fail(code_of_http_status(reply->status), "bench.status", reply->body);
  co_return ok();
}

Task<Status> put_bare(store::Store& store, std::string name, int round) {
  const auto done = co_await store.put({}, "/bare/" + name, map_text(name, round));
  if (!done) co_return fail(done.error());
  co_return ok();
}

Task<void> bench_watch(io::Runtime& runtime, io::HttpClient& http, int seconds) {
  TaskGroup group(runtime.executor());
  std::vector<double> lags_ms;
  int ready = 0;
  for (int i = 0; i < kWatchers; ++i)
    group.spawn(bench::watch_lag(
        runtime, http, group.context(),
        request_of("GET", kMaps + "?watch=true&fieldSelector=metadata.name%3Dtick", ""), lags_ms, ready));
  while (ready < kWatchers) (void)co_await sleep_for(runtime.executor(), {}, 10ms);
  int sent = 0;
  const auto tick = [&] {
    return fmt::format(
        R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"tick"}},"data":{{"at":"{}"}}}})",
        runtime.executor().now().time_since_epoch().count());
  };
  (void)co_await call(http, "POST", kMaps, tick());
  const auto start = runtime.executor().now();
  for (auto next = start; next < start + std::chrono::seconds(seconds); next += kEventInterval) {
    (void)co_await sleep_until(runtime.executor(), {}, next);
    if (co_await call(http, "PUT", kMaps + "/tick", tick())) ++sent;
  }
  (void)co_await sleep_for(runtime.executor(), {}, 500ms);
  co_await group.stop();
  fmt::print("{} watchers, {} events: {:.1f}% delivered, lag p50 {:.2f} ms, p99 {:.2f} ms\n", kWatchers, sent,
             100.0 * double(lags_ms.size()) / double(kWatchers * (sent + 1)), quantile(lags_ms, 0.5),
             quantile(lags_ms, 0.99));
}

// Where the record of a request goes: nowhere, into the ledger after the reply, or before it.
enum class Audit { kNone, kAfterReply, kBeforeReply };

struct AuditTrail {
  ledger::Ledger* ledger = nullptr;
  Audit mode = Audit::kNone;
  TaskGroup& later;
};
Task<void> append(ledger::Ledger& ledger, apiserver::AuditRecord record) {
  (void)co_await ledger.append(Json{{"user", record.who.user},
                                    {"verb", record.what.verb},
                                    {"resource", record.what.resource},
                                    {"name", record.what.name},
                                    {"status", record.status}});
}
Task<void> note(AuditTrail& trail, apiserver::AuditRecord record) {
  if (trail.mode == Audit::kAfterReply) trail.later.spawn(append(*trail.ledger, std::move(record)));
  if (trail.mode == Audit::kBeforeReply) co_await append(*trail.ledger, std::move(record));
}

struct Extent {
  int writes, watch_seconds, paced_seconds;
};

Task<void> bench_store(io::Runtime& runtime, std::string name, store::Store& store, Extent extent,
                       ledger::Ledger* ledger) {
  const auto writes = extent.writes;
  TaskGroup later(runtime.executor());
  AuditTrail trail{.ledger = ledger, .later = later};
  auth::BearerTokenTable tokens;
  tokens.add("admin", {.user = "admin", .groups = {"system:masters"}, .node = {}, .authenticated = true});
  const apiserver::StandardAuthenticator authenticator(runtime.clock(), tokens, {});
  const auth::RbacAuthorizer rbac;
  apiserver::ApiServer server(
      {.runtime = runtime,
       .store = store,
       .kinds = api::KindTable::standard(),
       .authenticator = authenticator,
       .authorizer = rbac,
       .admission = {},
       .audit = [&trail](apiserver::AuditRecord r) { return note(trail, std::move(r)); }},
      {});
  if (!co_await server.start()) std::exit(1);
  auto listener = runtime.network().listen({"127.0.0.1", 0, {}});
  if (!listener) std::exit(1);
  io::HttpServer listening(runtime, *std::move(listener), {}, server.handler());
  listening.start();
  io::HttpClient http(runtime, listening.local(), {.idle_connections_max = kWriters + kWatchers});
  for (int w = 0; w < kWriters; ++w)
    (void)co_await call(http, "POST", kMaps, map_text(fmt::format("w{}", w), -1));
  const auto bare = co_await measure(
      runtime, [&store](std::string object, int round) { return put_bare(store, std::move(object), round); },
      writes);
  const Write put = [&http](std::string object, int round) {
    return call(http, "PUT", kMaps + "/" + object, map_text(object, round));
  };
  const auto api = co_await measure(runtime, put, writes);
  std::vector<std::pair<const char*, Figures>> audited;
  if (ledger)
    for (const auto& [what, mode] : {std::pair{"  API, audit after reply", Audit::kAfterReply},
                                     {"  API, audit before reply", Audit::kBeforeReply}}) {
      trail.mode = mode;
      audited.emplace_back(what, co_await measure(runtime, put, writes));
      while (later.running() > 0) (void)co_await sleep_for(runtime.executor(), {}, 5ms);
    }
  // As the server runs: a record of each write is kept before its reply.
  trail.mode = ledger ? Audit::kBeforeReply : Audit::kNone;
  const auto paced =
      co_await measure(runtime, put, std::max(1, extent.paced_seconds * kPacedWritesPerSecond / kWriters),
                       std::chrono::nanoseconds(1s) * kWriters / kPacedWritesPerSecond);
  trail.mode = Audit::kNone;
  fmt::print("{:<26}{:>12}{:>10}{:>10}{:>8}\n", name, "writes/s", "p50 ms", "p99 ms", "errors");
  std::vector<std::pair<const char*, Figures>> rows{{"  bare store", bare}, {"  through the API", api}};
  rows.insert(rows.end(), audited.begin(), audited.end());
  rows.emplace_back(ledger ? "  API, audited, paced" : "  API, paced", paced);
  for (const auto& [what, f] : rows)
    fmt::print("{:<26}{:>12.0f}{:>10.2f}{:>10.2f}{:>8}\n", what, f.writes_per_second, f.p50_ms, f.p99_ms,
               f.errors);
  fmt::print("  API to bare store: {:.2f} of the writes, p99 {:.1f}x\n  ",
             api.writes_per_second / bare.writes_per_second, api.p99_ms / bare.p99_ms);
  co_await bench_watch(runtime, http, extent.watch_seconds);
  http.close_idle();
  co_await listening.stop(200ms);
  co_await server.stop();
  co_await later.stop();
  co_await store.close();
}

Task<void> measure_all(io::Runtime& runtime, std::string directory, Extent extent) {
  fmt::print("{} writers of 1 KB objects over HTTP\n", kWriters);
  store::MemoryStore memory(runtime.executor());
  co_await bench_store(runtime, "memory", memory, extent, nullptr);
  auto sqlite = co_await store::SqliteStore::open(runtime, {.directory = directory + "/store"});
  auto key = crypto::PrivateKey::generate(crypto::KeyKind::kEd25519);
  if (!sqlite || !key) std::exit(1);
  auto ledger = co_await ledger::Ledger::open(
      runtime, {.directory = directory + "/ledger", .origin = "neap/bench/audit"}, *std::move(key));
  if (!ledger) std::exit(1);
  co_await bench_store(runtime, "sqlite", **sqlite, extent, ledger->get());
  co_await (*ledger)->close();
}

}  // namespace
}  // namespace neap

int main(int argc, char** argv) {
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise;
  };
  const neap::Extent extent{
      .writes = number(1, 200), .watch_seconds = number(2, 5), .paced_seconds = number(3, 6)};
  std::string directory = std::filesystem::temp_directory_path() / "neap-api-bench-XXXXXX";
  if (!mkdtemp(directory.data())) return 1;
  auto runtime = neap::io::RealRuntime::create();
  runtime->run_task(neap::measure_all(*runtime, directory, extent));
  std::filesystem::remove_all(directory);
}
