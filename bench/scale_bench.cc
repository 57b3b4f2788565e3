// How a real server stands many watchers and many objects, over TLS as clients meet it.
//
//   scale_bench NEAP watch [watchers] [seconds]   1,000 watchers see 100 events a second: how late
//   scale_bench NEAP objects [count]              100,000 objects: start-up, list in pages, memory
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "real_server.h"
#include "watch_lag.h"

namespace neap::bench {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
constexpr auto kEventInterval = std::chrono::milliseconds(10);
constexpr int kWriters = 32;
// Each object changes once a second: writes of one and the same object wait for one another's fsync.
constexpr int kChanging = 100;

double quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::size_t(q * double(values.size() - 1))];
}
double ms(Duration d) { return to_seconds(d) * 1e3; }

Task<void> bench_watch(io::RealRuntime& runtime, RealServer& server, int watchers, int seconds) {
  (void)co_await server.start();
  auto http = server.client(std::size_t(watchers) + 4);
  const auto tick = [&](int i) {
    return fmt::format(
        R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"tick-{:02}"}},"data":{{"at":"{}"}}}})",
        i, runtime.executor().now().time_since_epoch().count());
  };
  std::string from;
  for (int i = 0; i < kChanging; ++i) {
    const auto made = co_await http->call({}, server.request("POST", kMaps, tick(i)));
    if (!made || made->status != 201) RealServer::fail_with("the server takes no object");
    const auto object = parse_json(made->body).value();
    from = get_string(*find_path(object, {"metadata"}), "resourceVersion");
  }
  const double idle_mb = server.resident_mb();
  TaskGroup group(runtime.executor());
  std::vector<double> lags_ms;
  int ready = 0;
  for (int i = 0; i < watchers; ++i) {
    // All watchers watch the whole kind.
    group.spawn(watch_lag(runtime, *http, group.context(),
                          server.request("GET", kMaps + "?watch=true&resourceVersion=" + from), lags_ms,
                          ready));
    if (i % 100 == 99) (void)co_await sleep_for(runtime.executor(), {}, 200ms);
  }
  for (int i = 0; ready < watchers && i < 600; ++i) (void)co_await sleep_for(runtime.executor(), {}, 100ms);
  int sent = 0, at = 0;
  const double cpu = server.cpu_seconds();
  const auto start = runtime.executor().now();
  TaskGroup puts(runtime.executor());
  // A write that is late does not hold up the next.
  for (auto next = start; next < start + std::chrono::seconds(seconds); next += kEventInterval) {
    (void)co_await sleep_until(runtime.executor(), {}, next);
    puts.spawn([](io::HttpClient& client, io::HttpRequest put, int& count) -> Task<void> {
      const auto done = co_await client.call({}, std::move(put));
      if (done && done->status == 200) ++count;
    }(*http, server.request("PUT", fmt::format("{}/tick-{:02}", kMaps, at), tick(at)), sent));
    at = (at + 1) % kChanging;
  }
  co_await puts.stop();
  const double took = to_seconds(runtime.executor().now() - start);
  const double used = server.cpu_seconds() - cpu;
  (void)co_await sleep_for(runtime.executor(), {}, 1s);
  co_await group.stop();
  const double expected = double(ready) * double(sent);
  fmt::print(
      "{} watchers, {} events in {:.1f} s: {:.1f}% delivered, lag p50 {:.1f} ms, p99 {:.1f} ms, worst {:.1f} "
      "ms; "
      "server {:.2f} cores, {:.1f} MB ({:.1f} before the watchers)\n",
      ready, sent, took, 100.0 * double(lags_ms.size()) / expected, quantile(lags_ms, 0.5),
      quantile(lags_ms, 0.99), quantile(lags_ms, 1), used / took, server.resident_mb(), idle_mb);
  http->close_idle();
  co_await server.end(15);
}

Task<void> fill(RealServer& server, io::HttpClient& http, int& next, int count, int& failed) {
  while (next < count) {
    const int i = next++;
    auto done = co_await http.call(
        {},
        server.request(
            "POST", kMaps,
            fmt::format(
                R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"o{:06}"}},"data":{{"fill":"{}"}}}})",
                i, std::string(300, 'x'))));
    if (!done || done->status != 201) ++failed;
  }
}

Task<void> list_pages(RealServer& server, io::RealRuntime& runtime, int limit) {
  auto http = server.client();
  const auto start = runtime.executor().now();
  std::vector<double> pages_ms;
  std::size_t items = 0, bytes = 0;
  std::string token;
  do {
    const auto asked = runtime.executor().now();
    auto page =
        co_await http->call({}, server.request("GET", fmt::format("{}?limit={}{}{}", kMaps, limit,
                                                                  token.empty() ? "" : "&continue=", token)));
    pages_ms.push_back(ms(runtime.executor().now() - asked));
    if (!page || page->status != 200) RealServer::fail_with("a page was refused");
    bytes += page->body.size();
    const auto body = parse_json(page->body, {.bytes_max = page->body.size()}).value();
    items += find_path(body, {"items"})->get_array().size();
    token = get_string(*find_path(body, {"metadata"}), "continue");
  } while (!token.empty());
  fmt::print(
      "list of {} objects in pages of {}: {:.2f} s ({:.0f} MB), a page p50 {:.1f} ms, p99 {:.1f} ms; server "
      "{:.1f} MB, at most {:.1f} MB\n",
      items, limit, to_seconds(runtime.executor().now() - start), double(bytes) / 1e6,
      quantile(pages_ms, 0.5), quantile(pages_ms, 0.99), server.resident_mb(), server.resident_mb("VmHWM:"));
  http->close_idle();
}

// What a client needs right after the start: an object, a page, a write of the object, and the write's event
// at a watcher that was there before. From the moment the server says that it is ready.
Task<Duration> first_answers(io::RealRuntime& runtime, RealServer& server) {
  auto http = server.client();
  const auto ready = runtime.executor().now();
  const auto found = co_await http->call({}, server.request("GET", kMaps + "/o000000"));
  const auto page = co_await http->call({}, server.request("GET", kMaps + "?limit=500"));
  if (!found || found->status != 200 || !page || page->status != 200)
    RealServer::fail_with("a server that is ready does not answer");
  auto object = parse_json(found->body).value();
  const auto listed = parse_json(page->body, {.bytes_max = page->body.size()}).value();
  const std::string from(get_string(*find_path(listed, {"metadata"}), "resourceVersion"));
  auto watch = co_await http->open({}, server.request("GET", kMaps + "?watch=true&resourceVersion=" + from));
  object.at("data").at("fill") = std::to_string(ready.time_since_epoch().count());
  const auto put = co_await http->call({}, server.request("PUT", kMaps + "/o000000", to_text(object)));
  if (!watch || !put || put->status != 200) RealServer::fail_with("a server that is ready takes no write");
  std::string line;
  while (!line.contains('\n')) {
    const auto read = co_await (*watch)->body().read_some({}, line);
    if (!read || *read == 0) RealServer::fail_with("a server that is ready tells no event");
  }
  if (!line.starts_with("{\"type\":\"MODIFIED\"")) RealServer::fail_with("another event came: " + line);
  const auto took = runtime.executor().now() - ready;
  watch->reset();
  http->close_idle();
  co_return took;
}

Task<void> bench_objects(io::RealRuntime& runtime, RealServer& server, int count) {
  const auto first = co_await server.start();
  (void)co_await sleep_for(runtime.executor(), {}, 2s);
  fmt::print("empty server: first start-up {:.0f} ms, idle {:.1f} MB\n", ms(first), server.resident_mb());
  co_await server.end(15);
  const auto again = co_await server.start();
  fmt::print("empty server: start-up {:.0f} ms\n", ms(again));
  auto http = server.client(kWriters);
  TaskGroup group(runtime.executor());
  int next = 0, failed = 0;
  const auto start = runtime.executor().now();
  for (int i = 0; i < kWriters; ++i) group.spawn(fill(server, *http, next, count, failed));
  co_await group.stop();
  const double took = to_seconds(runtime.executor().now() - start);
  fmt::print("{} objects written in {:.1f} s, {} refused; server {:.1f} MB\n", count, took, failed,
             server.resident_mb());
  http->close_idle();
  co_await server.end(15);
  std::vector<double> starts_ms, answers_ms;
  for (int i = 0; i < 5; ++i) {
    starts_ms.push_back(ms(co_await server.start()));
    answers_ms.push_back(ms(co_await first_answers(runtime, server)));
    (void)co_await sleep_for(runtime.executor(), {}, 1s);
    if (i < 4) co_await server.end(i % 2 ? 9 : 15);
  }
  fmt::print(
      "start-up with {} objects: median {:.0f} ms, worst {:.0f} ms of 5; then {:.1f} MB, at most {:.1f} MB\n",
      count, quantile(starts_ms, 0.5), quantile(starts_ms, 1), server.resident_mb(),
      server.resident_mb("VmHWM:"));
  fmt::print(
      "from there to the answers to a get, a page of 500, a write, and its event at a watcher, one after the "
      "other: median {:.0f} ms, worst {:.0f} ms\n",
      quantile(answers_ms, 0.5), quantile(answers_ms, 1));
  co_await list_pages(server, runtime, 500);
  co_await list_pages(server, runtime, 5000);
  co_await server.end(15);
}

}  // namespace
}  // namespace neap::bench

int main(int argc, char** argv) {
  using namespace neap::bench;
  const bool is_watch = argc > 2 && std::strcmp(argv[2], "watch") == 0;
  if (!is_watch && !(argc > 2 && std::strcmp(argv[2], "objects") == 0)) {
    std::fprintf(stderr, "scale_bench NEAP watch [watchers] [seconds] | scale_bench NEAP objects [count]\n");
    return 2;
  }
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise;
  };
  auto runtime = neap::io::RealRuntime::create();
  RealServer server(*runtime, argv[1]);
  if (is_watch)
    runtime->run_task(bench_watch(*runtime, server, number(3, 1000), number(4, 10)));
  else
    runtime->run_task(bench_objects(*runtime, server, number(3, 100'000)));
}
