// The load of throughput_table.py: registers nodes at an API server over HTTPS, submits work through 64
// connections, and watches until every piece has its node. The same program loads Neap and Kubernetes, so
// that what the client costs is the same on both sides.
//
//   throughput_bench --url https://HOST:PORT --ca FILE --token FILE --shape jobs|gang|pods --nodes N --items
//   M
//
// jobs: M TrainingJobs of one replica; gang: one TrainingJob of M replicas; pods: M Pods. Prints one JSON
// object:
// {"shape","nodes","items","bound","seconds","placements_per_second","submitted_seconds","errors"}. `seconds`
// is from before the first submit to when the watch showed the last piece with a node.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <set>

#include "neap/base/task_group.h"
#include "tls_target.h"

namespace neap {
namespace {

constexpr int kConnections = 64;
constexpr auto kPatience = std::chrono::minutes(10);

struct Load {
  bench::TlsTarget target;
  std::string shape = "jobs";
  int nodes = 1000, items = 5000;
  bool is_kubernetes() const { return shape == "pods"; }
};

// What one run counts; the tasks share it on one executor.
struct Count {
  int next = 0, errors = 0, bound = 0;
  bool watching = false;
  std::string first_error;
};

struct Call {
  std::string method, target, body;
};

// `calls(i)` for each i below `total`, kConnections at a time.
template <class Calls>
Task<void> call_all(io::Runtime& runtime, io::HttpClient& http, const Load& load, int total, Calls calls,
                    Count& count) {
  TaskGroup group(runtime.executor());
  count.next = 0;
  static constexpr auto kWorker = [](io::HttpClient& client, const Load& run, int until, Calls& make,
                                     Count& seen) -> Task<void> {
    while (seen.next < until) {
      for (auto& call : make(seen.next++)) {
        auto reply = co_await client.call(
            {}, run.target.request(call.method, std::move(call.target), std::move(call.body)));
        if (reply && reply->status < 300) continue;
        ++seen.errors;
        if (seen.first_error.empty())
          seen.first_error = reply ? fmt::format("{}: {}", reply->status, reply->body.substr(0, 300))
                                   : reply.error().to_string();
      }
    }
  };
  for (int i = 0; i < kConnections; ++i) group.spawn(kWorker(http, load, total, calls, count));
  while (group.running() > 0) (void)co_await sleep_for(runtime.executor(), {}, 1ms);
}

std::vector<Call> node_calls(const Load& load, int i) {
  const auto name = fmt::format("node-{:05}", i);
  const std::string amounts = load.is_kubernetes() ? R"({"cpu":"64","memory":"256Gi","pods":"1000"})"
                                                   : R"({"cpu":"64","memory":"256Gi"})";
  const auto status = fmt::format(
      R"({{"capacity":{0},"allocatable":{0},"conditions":[{{"type":"Ready","status":"True","reason":"Bench","lastTransitionTime":"2026-01-01T00:00:00Z"}}]}})",
      amounts);
  const auto lease = fmt::format(
      R"({{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{{"name":"{0}"}},"spec":{{"holderIdentity":"{0}","leaseDurationSeconds":3600,"renewTime":"2026-01-01T00:00:00.000000Z"}}}})",
      name);
  if (load.is_kubernetes())
    return {{"POST", "/api/v1/nodes",
             fmt::format(R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{}"}},"status":{}}})",
                         name, status)},
            {"POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", lease}};
  return {
      {"POST", "/apis/neap.dev/v1/nodes",
       fmt::format(
           R"({{"apiVersion":"neap.dev/v1","kind":"Node","metadata":{{"name":"{}"}},"spec":{{"site":"hq"}}}})",
           name)},
      {"PUT", fmt::format("/apis/neap.dev/v1/nodes/{}/status", name),
       fmt::format(
           R"({{"apiVersion":"neap.dev/v1","kind":"Node","metadata":{{"name":"{}"}},"spec":{{"site":"hq"}},"status":{}}})",
           name, status)},
      {"POST", "/apis/coordination.k8s.io/v1/namespaces/neap-node-lease/leases", lease}};
}

std::vector<Call> work_calls(const Load& load, int i) {
  if (load.is_kubernetes())
    return {
        {"POST", "/api/v1/namespaces/default/pods",
         fmt::format(
             R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"work-{}"}},"spec":{{"containers":[{{"name":"main","image":"none","command":["true"],"resources":{{"requests":{{"cpu":"100m","memory":"100Mi"}}}}}}]}}}})",
             i)}};
  return {
      {"POST", "/apis/neap.dev/v1/namespaces/default/trainingjobs",
       fmt::format(
           R"({{"apiVersion":"neap.dev/v1","kind":"TrainingJob","metadata":{{"name":"work-{}"}},"spec":{{"command":["true"],"replicas":{},"resources":{{"cpu":"100m","memory":"100Mi"}}}}}})",
           i, load.shape == "gang" ? load.items : 1)}};
}

std::string_view text_after(std::string_view line, std::string_view mark) {
  const auto at = line.find(mark);
  if (at == std::string_view::npos) return {};
  return line.substr(at + mark.size(), line.find('"', at + mark.size()) - at - mark.size());
}

struct Seen {
  std::set<std::string, std::less<>> names;
  std::string revision;
};

// One event of the watch. A pod counts when it has a node, an Allocation is born with one.
bool is_bound(const Load& load, std::string_view line, Seen& seen) {
  if (const auto revision = text_after(line, "\"resourceVersion\":\""); !revision.empty())
    seen.revision = revision;
  if (load.is_kubernetes() && line.find("\"nodeName\":\"") == std::string_view::npos) return false;
  const auto name = text_after(line, "\"name\":\"");
  return !name.empty() && seen.names.emplace(name).second;
}

// Until it ends: kube-apiserver ends the watch of a client that takes too long, which then goes on from where
// it was.
Task<void> watch_once(io::HttpClient& http, const Load& load, CallContext ctx, Count& count, Seen& seen) {
  const std::string kind = load.is_kubernetes() ? "/api/v1/namespaces/default/pods"
                                                : "/apis/neap.dev/v1/namespaces/default/allocations";
  const auto from = seen.revision.empty() ? std::string() : "&resourceVersion=" + seen.revision;
  auto stream = co_await http.open(ctx, load.target.request("GET", kind + "?watch=true" + from));
  if (!stream || (*stream)->status() != 200) {
    ++count.errors;
    count.first_error = stream ? fmt::format("watch: {}", (*stream)->status()) : stream.error().to_string();
    co_return;
  }
  count.watching = true;
  std::string text;
  for (;;) {
    const auto n = co_await (*stream)->body().read_some(ctx, text);
    if (!n || *n == 0) co_return;
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != std::string::npos; begin = end + 1, end = text.find('\n', begin))
      if (is_bound(load, std::string_view(text).substr(begin, end - begin), seen)) ++count.bound;
    text.erase(0, begin);
  }
}

Task<void> watch_bindings(io::HttpClient& http, const Load& load, CallContext ctx, Count& count) {
  Seen seen;
  while (!ctx.cancel.is_cancelled() && count.errors == 0) co_await watch_once(http, load, ctx, count, seen);
}

Task<int> run(io::Runtime& runtime, Load load) {
  const auto connection = load.target.connect(runtime, kConnections);
  auto& http = *connection;
  Count count;
  if (!load.is_kubernetes())
    co_await call_all(
        runtime, http, load, 1,
        [](int) {
          return std::vector<Call>{
              {"POST", "/apis/neap.dev/v1/sites",
               R"({"apiVersion":"neap.dev/v1","kind":"Site","metadata":{"name":"hq"},"spec":{"tier":"private","jurisdiction":"DE"}})"}};
        },
        count);
  const auto nodes = [&load](int i) { return node_calls(load, i); };
  co_await call_all(runtime, http, load, load.nodes, nodes, count);
  TaskGroup watching(runtime.executor());
  watching.spawn(watch_bindings(http, load, watching.context(), count));
  while (!count.watching && count.errors == 0) (void)co_await sleep_for(runtime.executor(), {}, 5ms);
  // Both schedulers have seen the nodes before the clock starts.
  (void)co_await sleep_for(runtime.executor(), {}, 5s);
  fmt::print(stderr, "{} nodes are there\n", load.nodes);
  const auto start = runtime.executor().now();
  const auto work = [&load](int i) { return work_calls(load, i); };
  co_await call_all(runtime, http, load, load.shape == "gang" ? 1 : load.items, work, count);
  const auto submitted = to_seconds(runtime.executor().now() - start);
  while (count.bound < load.items && count.errors == 0 && runtime.executor().now() < start + kPatience)
    (void)co_await sleep_for(runtime.executor(), {}, 1ms);
  const auto seconds = to_seconds(runtime.executor().now() - start);
  co_await watching.stop();
  fmt::print(
      R"({{"shape":"{}","nodes":{},"items":{},"bound":{},"seconds":{:.3f},"placements_per_second":{:.0f},"submitted_seconds":{:.3f},"errors":{}}})"
      "\n",
      load.shape, load.nodes, load.items, count.bound, seconds, count.bound / seconds, submitted,
      count.errors);
  if (!count.first_error.empty()) fmt::print(stderr, "throughput_bench: {}\n", count.first_error);
  co_return count.errors == 0 && count.bound == load.items ? 0 : 1;
}

}  // namespace
}  // namespace neap

int main(int argc, char** argv) {
  neap::Load load;
  CLI::App app("Submits work through an API server and counts how fast it gets its nodes.");
  app.add_option("--url", load.target.url)->required();
  app.add_option("--ca", load.target.ca, "file with the server's root")->required();
  app.add_option("--token", load.target.token, "file with a bearer token")->required();
  app.add_option("--shape", load.shape)->check(CLI::IsMember({"jobs", "gang", "pods"}));
  app.add_option("--nodes", load.nodes)->check(CLI::PositiveNumber);
  app.add_option("--items", load.items)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  auto runtime = neap::io::RealRuntime::create();
  return runtime->run_task(neap::run(*runtime, load));
}
