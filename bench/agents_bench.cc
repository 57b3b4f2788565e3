// 10,000 simulated agents on one real server: each holds what an agent's link to the server holds (its own
// client certificate, a watch on its own allocations, a renewed Lease, status reports), over TLS.
//
//   agents_bench NEAP [agents] [seconds] [renew-seconds]
//
// Two connections an agent: `ulimit -n` must allow 2.1 times as many files as there are agents. In a network
// namespace of its own (`unshare -rn sh -c 'ip link set lo up; exec ...'`) the bytes are this program's
// alone.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "neap/auth/certificate_authority.h"
#include "neap/base/json.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/crypto/x509.h"
#include "real_server.h"

namespace neap::bench {
namespace {

const std::string kAllocations = "/apis/neap.dev/v1/allocations";
const std::string kInDefault = "/apis/neap.dev/v1/namespaces/default/allocations";
const std::string kNodes = "/apis/neap.dev/v1/nodes";
const std::string kLeases = "/apis/coordination.k8s.io/v1/namespaces/neap-node-lease/leases";
constexpr Duration kBackoffFirst = 200ms, kBackoffMax = 5s;  // as src/agent/server_link.cc
constexpr int kWriters = 32;

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::size_t(q * double(values.size() - 1))];
}

// Bytes over loopback, headers of IP and TCP included.
double loopback_bytes() {
  std::ifstream file("/proc/net/dev");
  for (std::string line; std::getline(file, line);)
    if (const auto at = line.find("lo:"); at != std::string::npos)
      return std::strtod(line.c_str() + at + 3, nullptr);
  return 0;
}

struct Fleet {
  io::RealRuntime& runtime;
  RealServer& server;
  Duration renew;
  TaskGroup tasks;
  std::vector<double> heartbeat_ms, change_ms;
  std::size_t heartbeats = 0, refused = 0, changes_seen = 0, reports = 0;
  MonoTime epoch{};  // what counts as in touch again: a renewal and a watch after this
  explicit Fleet(io::RealRuntime& r, RealServer& s, Duration d)
      : runtime(r), server(s), renew(d), tasks(r.executor()) {}
};

struct Agent {
  std::string node;
  std::unique_ptr<io::HttpClient> http;
  MonoTime renewed{}, watched{};
  bool is_watching = false;
};

Task<void> pause(Fleet& fleet, Duration& backoff) {
  const auto jitter =
      Duration(std::int64_t(fleet.runtime.random().below(std::uint64_t(backoff.count() / 2 + 1))));
  (void)co_await sleep_for(fleet.runtime.executor(), fleet.tasks.context(), backoff / 2 + jitter);
  backoff = std::min<Duration>(backoff * 2, kBackoffMax);
}

io::HttpRequest ask(std::string method, std::string target, std::string body = {},
                    const char* type = "application/json") {
  io::HttpRequest out;
  out.method = std::move(method);
  out.target = std::move(target);
  out.body = std::move(body);
  out.headers.set("Content-Type", type);
  return out;
}

Task<void> keep_lease(Fleet& fleet, Agent& agent) {
  auto& executor = fleet.runtime.executor();
  const auto ctx = fleet.tasks.context();
  (void)co_await sleep_for(
      executor, ctx,
      Duration(std::int64_t(fleet.runtime.random().below(std::uint64_t(fleet.renew.count())))));
  while (!ctx.cancel.is_cancelled()) {
    const auto spec =
        fmt::format(R"({{"holderIdentity":"{}","leaseDurationSeconds":{},"renewTime":"{}"}})", agent.node,
                    4 * std::chrono::duration_cast<std::chrono::seconds>(fleet.renew).count(),
                    format_rfc3339(fleet.runtime.clock().wall(), 6));
    const auto began = executor.now();
    const auto soon = ctx.with_deadline(began + fleet.renew * 2);
    auto done = co_await agent.http->call(
        soon, ask("PATCH", kLeases + "/" + agent.node, fmt::format(R"({{"spec":{}}})", spec),
                  "application/merge-patch+json"));
    if (done && done->status == 404)
      done = co_await agent.http->call(
          soon,
          ask("POST", kLeases,
              fmt::format(
                  R"({{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{{"name":"{}"}},"spec":{}}})",
                  agent.node, spec)));
    const bool ok = done && done->status < 300;
    if (ok) {
      ++fleet.heartbeats;
      agent.renewed = executor.now();
      fleet.heartbeat_ms.push_back(to_seconds(agent.renewed - began) * 1e3);
    } else if (!ctx.cancel.is_cancelled()) {
      ++fleet.refused;
    }
    (void)co_await sleep_for(executor, ctx, ok ? fleet.renew : fleet.renew / 4);
  }
}

// What the agent does with a change: it reports it.
Task<void> report(Fleet& fleet, Agent& agent, std::string name) {
  auto done = co_await agent.http->call(
      fleet.tasks.context(),
      ask("PATCH", kInDefault + "/" + name + "/status",
          R"([{"op":"add","path":"/status","value":{"phase":"Running"}}])", "application/json-patch+json"));
  if (done && done->status == 200) ++fleet.reports;
}

Task<bool> follow_once(Fleet& fleet, Agent& agent) {
  auto& executor = fleet.runtime.executor();
  const auto ctx = fleet.tasks.context();
  const auto mine = "fieldSelector=spec.node%3D" + agent.node;
  const auto listed = co_await agent.http->call(ctx, ask("GET", kAllocations + "?" + mine));
  if (!listed || listed->status != 200) co_return false;
  const auto list = parse_json(listed->body);
  if (!list) co_return false;
  const std::string from(get_string(*find_path(*list, {"metadata"}), "resourceVersion"));
  auto stream = co_await agent.http->open(
      ctx, ask("GET", kAllocations + "?watch=true&" + mine + "&resourceVersion=" + from));
  if (!stream || (*stream)->status() != 200) co_return false;
  agent.is_watching = true;
  agent.watched = executor.now();
  std::string text;
  constexpr std::string_view kMark = "\"sent\":\"";
  for (;;) {
    const auto n = co_await (*stream)->body().read_some(ctx, text);
    if (!n || *n == 0) break;
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      // Its own report comes back, too: that has a phase.
      if (const auto at = text.find(kMark);
          at < end && text.substr(0, end).find("\"Running\"") == std::string::npos) {
        fleet.change_ms.push_back(
            double(executor.now().time_since_epoch().count() - std::atoll(text.c_str() + at + kMark.size())) /
            1e6);
        ++fleet.changes_seen;
        const auto event = parse_json(text.substr(0, end));
        if (event)
          fleet.tasks.spawn(report(
              fleet, agent, std::string(get_string(*find_path(*event, {"object", "metadata"}), "name"))));
      }
      text.erase(0, end + 1);
    }
  }
  agent.is_watching = false;
  co_return true;
}

Task<void> follow(Fleet& fleet, Agent& agent) {
  Duration backoff = kBackoffFirst;
  while (!fleet.tasks.context().cancel.is_cancelled()) {
    if (co_await follow_once(fleet, agent)) backoff = kBackoffFirst;
    co_await pause(fleet, backoff);
  }
}

template <class Make>
Task<void> create_many(Fleet& fleet, io::HttpClient& http, std::string path, int count, Make make) {
  TaskGroup group(fleet.runtime.executor());
  int next = 0, failed = 0;
  const auto work = [](Fleet& f, io::HttpClient& client, std::string to, int& at, int end, int& bad,
                       Make body) -> Task<void> {
    while (at < end) {
      const auto done = co_await client.call({}, f.server.request("POST", to, body(at++)));
      if (!done || done->status != 201) ++bad;
    }
  };
  for (int i = 0; i < kWriters; ++i) group.spawn(work(fleet, http, path, next, count, failed, make));
  co_await group.stop();
  if (failed > 0) fmt::print("{} of {} objects were refused at {}\n", failed, count, path);
}

// Until all agents have renewed and watch since `since`.
Task<double> settle(Fleet& fleet, std::vector<Agent>& agents, MonoTime since, Duration patience) {
  std::size_t there = 0;
  while (there < agents.size() && fleet.runtime.executor().now() - since < patience) {
    (void)co_await sleep_for(fleet.runtime.executor(), {}, 100ms);
    there = std::size_t(std::ranges::count_if(
        agents, [&](const Agent& a) { return a.is_watching && a.watched > since && a.renewed > since; }));
  }
  if (there < agents.size()) fmt::print("only {} of {} agents are in touch\n", there, agents.size());
  co_return to_seconds(fleet.runtime.executor().now() - since);
}

Task<void> bench(io::RealRuntime& runtime, RealServer& server, int count, int seconds, Duration renew) {
  (void)co_await server.start();
  const auto authority =
      auth::CertificateAuthority::load(server.read("ca.pem"), server.read("identity/ca.key")).value();
  Fleet fleet(runtime, server, renew);
  auto admin = server.client(kWriters);
  const auto name = [](int i) { return fmt::format("node-{:05}", i); };
  co_await create_many(fleet, *admin, kNodes, count, [name](int i) {
    return fmt::format(
        R"({{"apiVersion":"neap.dev/v1","kind":"Node","metadata":{{"name":"{}"}},"spec":{{"site":"hq"}}}})",
        name(i));
  });
  const double before_mb = server.resident_mb();
  std::vector<Agent> agents{std::size_t(count)};
  for (int i = 0; i < count; ++i) {
    auto& agent = agents[std::size_t(i)];
    agent.node = name(i);
    const auto made = crypto::make_key_and_csr(auth::node_subject(agent.node)).value();
    const auto certificate =
        authority.issue_node(made.request_pem, agent.node, {}, runtime.clock().wall()).value();
    io::HttpClientOptions options;
    options.tls = io::make_tls_client_context({.roots_pem = server.ca(),
                                               .certificate_pem = certificate,
                                               .private_key_pem = made.private_key_pem,
                                               .server_name = server.endpoint().host})
                      .value();
    options.idle_connections_max = 1;
    options.limits.idle_timeout = std::chrono::minutes(5);
    options.connect_timeout = 15s;
    agent.http = std::make_unique<io::HttpClient>(runtime, server.endpoint(), std::move(options));
    if (i % 200 == 199) co_await yield_to(runtime.executor());
  }
  const auto started = runtime.executor().now();
  for (auto& agent : agents) {
    fleet.tasks.spawn(keep_lease(fleet, agent));
    fleet.tasks.spawn(follow(fleet, agent));
    if ((&agent - agents.data()) % 50 == 49) (void)co_await sleep_for(runtime.executor(), {}, 50ms);
  }
  fmt::print("{} agents joined in {:.1f} s\n", count,
             co_await settle(fleet, agents, started, std::chrono::minutes(5)));

  const auto measure = [&](const char* what, double took, double cpu, double bytes) {
    fmt::print(
        "{}: {:.0f} heartbeats/s, p50 {:.1f} ms, p99 {:.1f} ms, {} failed; server {:.2f} cores, {:.0f} MB "
        "({:.0f} before the agents); "
        "{:.0f} bytes per agent and second\n",
        what, double(fleet.heartbeats) / took, quantile(fleet.heartbeat_ms, 0.5),
        quantile(fleet.heartbeat_ms, 0.99), fleet.refused, cpu / took, server.resident_mb(), before_mb,
        bytes / took / double(count));
  };
  const auto reset = [&] {
    fleet.heartbeats = fleet.refused = 0;
    fleet.heartbeat_ms.clear();
  };
  reset();
  auto cpu = server.cpu_seconds();
  auto bytes = loopback_bytes();
  auto from = runtime.executor().now();
  (void)co_await sleep_for(runtime.executor(), {}, std::chrono::seconds(seconds));
  measure("idle", to_seconds(runtime.executor().now() - from), server.cpu_seconds() - cpu,
          loopback_bytes() - bytes);

  reset();
  cpu = server.cpu_seconds();
  bytes = loopback_bytes();
  from = runtime.executor().now();
  int made = 0;
  TaskGroup puts(runtime.executor());
  for (auto next = from; next < from + std::chrono::seconds(seconds); next += 10ms) {
    (void)co_await sleep_until(runtime.executor(), {}, next);
    const auto node = name(int(runtime.random().below(std::uint64_t(count))));
    puts.spawn(
        [](RealServer& s, io::HttpClient& http, std::string body, int& ok)
            -> Task<void> {
          const auto done = co_await http.call({}, s.request("POST", kInDefault, std::move(body)));
          if (done && done->status == 201) ++ok;
        }(server, *admin,
            fmt::format(
                R"({{"apiVersion":"neap.dev/v1","kind":"Allocation","metadata":{{"generateName":"a-","labels":{{}},"annotations":{{"sent":"{}"}}}},)"
                R"("spec":{{"node":"{}","site":"hq","ownerKind":"TrainingJob","ownerName":"j","epoch":1,"resources":{{"cpu":"1"}},"process":{{"command":["true"]}}}}}})",
                runtime.executor().now().time_since_epoch().count(), node),
            made));
  }
  co_await puts.stop();
  (void)co_await sleep_for(runtime.executor(), {}, 2s);
  measure("100 allocations/s", to_seconds(runtime.executor().now() - from), server.cpu_seconds() - cpu,
          loopback_bytes() - bytes);
  fmt::print(
      "  {} allocations made, {} seen by their agents (p50 {:.1f} ms, p99 {:.1f} ms after the request), {} "
      "reported back\n",
      made, fleet.changes_seen, quantile(fleet.change_ms, 0.5), quantile(fleet.change_ms, 0.99),
      fleet.reports);

  reset();
  co_await server.end(9);
  const auto again = co_await server.start();
  const auto since = runtime.executor().now();
  cpu = server.cpu_seconds();
  const double storm = co_await settle(fleet, agents, since, std::chrono::minutes(5));
  fmt::print(
      "killed and started again in {:.2f} s: all agents in touch after {:.1f} s; server {:.1f} s of "
      "processor time, {:.0f} MB\n",
      to_seconds(again), storm, server.cpu_seconds() - cpu, server.resident_mb());
  co_await fleet.tasks.stop();
  agents.clear();
  admin->close_idle();
  co_await server.end(15);
}

}  // namespace
}  // namespace neap::bench

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "agents_bench NEAP [agents] [seconds] [renew-seconds]\n");
    return 2;
  }
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise;
  };
  const int agents = number(2, 10'000);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  if (double(files.rlim_cur) < 2.05 * agents + 200) {
    std::fprintf(
        stderr,
        "%d agents need %d open files and the limit is %llu: raise it with ulimit -n, or take fewer agents\n",
        agents, int(2.05 * agents) + 200, static_cast<unsigned long long>(files.rlim_cur));
    return 1;
  }
  auto runtime = neap::io::RealRuntime::create();
  neap::bench::RealServer server(*runtime, argv[1]);
  runtime->run_task(
      neap::bench::bench(*runtime, server, agents, number(3, 30), std::chrono::seconds(number(4, 10))));
}
