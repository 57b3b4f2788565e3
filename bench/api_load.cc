// The load of api_table.py: the same requests over TLS for every API server that serves ConfigMaps, so that
// what the client costs is the same on all sides. Prints one JSON object.
//
//   api_load write --url https://HOST:PORT --ca FILE --token FILE --count N [--from I] [--pace PER-SECOND]
//   api_load watch ... [--watchers 100] [--pace 100] [--seconds 8]
//   api_load list ... [--limit 500]
//
// write: N ConfigMaps of 1 KB are created by 64 writers. With a pace each write has its moment, and latency
// counts from then, so that a server which falls behind cannot hide it. watch: how late watchers of the kind
// see updates, counted from before the update is sent. list: the whole kind, page after page.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <numeric>

#include "neap/base/json.h"
#include "neap/base/task_group.h"
#include "tls_target.h"
#include "watch_lag.h"

namespace neap::bench {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
constexpr int kWriters = 64;
// Updates in flight at once meet different objects, else conflicts would be measured.
constexpr int kTicking = 100;
constexpr std::size_t kFillBytes = 800;  // about 1 KB with the rest of the object

struct Load {
  TlsTarget target;
  int count = 5000, from = 0, watchers = 100, seconds = 8, limit = 500;
  double pace = 0;
};

struct Writes {
  std::vector<double> latencies_ms;
  int next = 0, errors = 0;
  std::string first_error;
};

double quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::size_t(q * double(values.size() - 1))];
}
double ms(Duration d) { return to_seconds(d) * 1e3; }

std::string map_text(std::string_view name, std::string_view key, std::string_view value) {
  return fmt::format(
      R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{}"}},"data":{{"{}":"{}"}}}})", name,
      key, value);
}

void note(Writes& writes, const Result<io::HttpResponse>& reply) {
  if (reply && reply->status < 300) return;
  ++writes.errors;
  if (writes.first_error.empty())
    writes.first_error =
        reply ? fmt::format("{}: {}", reply->status, reply->body.substr(0, 300)) : reply.error().to_string();
}

Task<void> write_some(io::Runtime& runtime, io::HttpClient& http, const Load& load, Writes& writes) {
  const auto begin = runtime.executor().now();
  const std::string fill(kFillBytes, 'x');
  while (writes.next < load.count) {
    const int i = writes.next++;
    auto due = runtime.executor().now();
    if (load.pace > 0) {
      due = begin + std::chrono::nanoseconds(std::int64_t(1e9 * i / load.pace));
      (void)co_await sleep_until(runtime.executor(), {}, due);
    }
    const auto body = map_text(fmt::format("o{:06}", load.from + i), "fill", fill);
    note(writes, co_await http.call({}, load.target.request("POST", kMaps, body)));
    writes.latencies_ms.push_back(ms(runtime.executor().now() - due));
  }
}

Task<int> run_write(io::Runtime& runtime, Load load) {
  const auto http = load.target.connect(runtime, kWriters);
  TaskGroup group(runtime.executor());
  Writes writes;
  const auto start = runtime.executor().now();
  for (int i = 0; i < kWriters; ++i) group.spawn(write_some(runtime, *http, load, writes));
  while (group.running() > 0) (void)co_await sleep_for(runtime.executor(), {}, 1ms);
  const auto took = to_seconds(runtime.executor().now() - start);
  fmt::print(
      R"({{"writes":{},"seconds":{:.3f},"writes_per_second":{:.1f},"p50_ms":{:.2f},"p99_ms":{:.2f},"worst_ms":{:.1f},"errors":{}}})"
      "\n",
      load.count, took, load.count / took, quantile(writes.latencies_ms, 0.5),
      quantile(writes.latencies_ms, 0.99), quantile(writes.latencies_ms, 1), writes.errors);
  if (!writes.first_error.empty()) fmt::print(stderr, "{}\n", writes.first_error);
  http->close_idle();
  co_return 0;
}

std::string tick_text(std::string_view name, MonoTime now) {
  return map_text(name, "at", fmt::format("{}", now.time_since_epoch().count()));
}

Task<void> put_tick(io::Runtime& runtime, io::HttpClient& http, const Load& load, int i, Writes& writes) {
  const auto name = fmt::format("tick-{}", i % kTicking);
  note(writes, co_await http.call({}, load.target.request("PUT", kMaps + "/" + name,
                                                          tick_text(name, runtime.executor().now()))));
}

// The objects that will change, and the revision that watchers begin at.
Task<std::string> make_ticking(io::Runtime& runtime, io::HttpClient& http, const Load& load) {
  std::string revision;
  for (int i = 0; i < kTicking; ++i) {
    const auto body = tick_text(fmt::format("tick-{}", i), runtime.executor().now());
    const auto made = co_await http.call({}, load.target.request("POST", kMaps, body));
    const auto object = made ? parse_json(made->body) : Result<Json>(fail(made.error()));
    if (!object || made->status >= 300) {
      fmt::print(stderr, "the server takes no object: {}\n", made ? made->body : made.error().to_string());
      std::exit(1);
    }
    revision = get_string(*find_path(*object, {"metadata"}), "resourceVersion");
  }
  co_return revision;
}

Task<int> run_watch(io::Runtime& runtime, Load load) {
  const auto http = load.target.connect(runtime, std::size_t(load.watchers) + kWriters);
  const auto from = co_await make_ticking(runtime, *http, load);
  TaskGroup watching(runtime.executor()), puts(runtime.executor());
  std::vector<double> lags_ms;
  int ready = 0;
  for (int i = 0; i < load.watchers; ++i)
    watching.spawn(watch_lag(runtime, *http, watching.context(),
                             load.target.request("GET", kMaps + "?watch=true&resourceVersion=" + from),
                             lags_ms, ready));
  for (int i = 0; ready < load.watchers && i < 600; ++i)
    (void)co_await sleep_for(runtime.executor(), {}, 50ms);
  Writes writes;
  const auto start = runtime.executor().now();
  const int total = int(load.pace * load.seconds);
  // An update that is late does not hold up the next.
  for (int i = 0; i < total; ++i) {
    (void)co_await sleep_until(runtime.executor(), {},
                               start + std::chrono::nanoseconds(std::int64_t(1e9 * i / load.pace)));
    puts.spawn(put_tick(runtime, *http, load, i, writes));
  }
  co_await puts.stop();
  const auto took = to_seconds(runtime.executor().now() - start);
  (void)co_await sleep_for(runtime.executor(), {}, 1s);
  co_await watching.stop();
  const int events = total - writes.errors;
  fmt::print(
      R"({{"watchers":{},"events":{},"events_per_second":{:.1f},"delivered":{:.4f},"p50_ms":{:.2f},"p99_ms":{:.2f},"worst_ms":{:.1f},"errors":{}}})"
      "\n",
      ready, events, events / took, double(lags_ms.size()) / std::max(1.0, double(ready) * events),
      quantile(lags_ms, 0.5), quantile(lags_ms, 0.99), quantile(lags_ms, 1), writes.errors);
  if (!writes.first_error.empty()) fmt::print(stderr, "{}\n", writes.first_error);
  http->close_idle();
  co_return 0;
}

Task<int> run_list(io::Runtime& runtime, Load load) {
  const auto http = load.target.connect(runtime, 1);
  std::vector<double> pages_ms;
  std::size_t items = 0, bytes = 0;
  std::string token;
  const auto start = runtime.executor().now();
  do {
    const auto asked = runtime.executor().now();
    const auto page = co_await http->call(
        {}, load.target.request("GET", fmt::format("{}?limit={}{}{}", kMaps, load.limit,
                                                   token.empty() ? "" : "&continue=", token)));
    pages_ms.push_back(ms(runtime.executor().now() - asked));
    if (!page || page->status != 200) {
      fmt::print(stderr, "a page was refused: {}\n", page ? page->body : page.error().to_string());
      co_return 1;
    }
    bytes += page->body.size();
    const auto body = parse_json(page->body, {.bytes_max = page->body.size()}).value();
    items += find_path(body, {"items"})->get_array().size();
    token = get_string(*find_path(body, {"metadata"}), "continue");
  } while (!token.empty());
  fmt::print(
      R"({{"objects":{},"pages":{},"mb":{:.1f},"seconds":{:.3f},"served_seconds":{:.3f},"p50_ms":{:.2f},"p99_ms":{:.2f}}})"
      "\n",
      items, pages_ms.size(), double(bytes) / 1e6, to_seconds(runtime.executor().now() - start),
      std::accumulate(pages_ms.begin(), pages_ms.end(), 0.0) / 1e3, quantile(pages_ms, 0.5),
      quantile(pages_ms, 0.99));
  http->close_idle();
  co_return 0;
}

}  // namespace
}  // namespace neap::bench

int main(int argc, char** argv) {
  using namespace neap::bench;
  Load load;
  CLI::App app("Loads an API server with ConfigMaps over TLS and says how it did.");
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* what) {
    auto* command = app.add_subcommand(name, what);
    command->add_option("--url", load.target.url)->required();
    command->add_option("--ca", load.target.ca, "file with the server's root")->required();
    command->add_option("--token", load.target.token, "file with a bearer token")->required();
    return command;
  };
  auto* write = add("write", "64 writers create objects");
  write->add_option("--count", load.count)->check(CLI::PositiveNumber);
  write->add_option("--from", load.from, "number of the first object")->check(CLI::NonNegativeNumber);
  write->add_option("--pace", load.pace, "writes a second; 0: as fast as it goes")
      ->check(CLI::NonNegativeNumber);
  auto* watch = add("watch", "watchers of the kind while objects of it change");
  watch->add_option("--watchers", load.watchers)->check(CLI::PositiveNumber);
  watch->add_option("--seconds", load.seconds)->check(CLI::PositiveNumber);
  watch->add_option("--pace", load.pace, "events a second")->required()->check(CLI::PositiveNumber);
  add("list", "all objects, in pages")->add_option("--limit", load.limit)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  auto runtime = neap::io::RealRuntime::create();
  if (write->parsed()) return runtime->run_task(run_write(*runtime, load));
  if (watch->parsed()) return runtime->run_task(run_watch(*runtime, load));
  return runtime->run_task(run_list(*runtime, load));
}
