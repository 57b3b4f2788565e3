// 10,000 simulated agents on one real server: each holds what an agent's link to the server holds (its own
// client certificate, a watch on its own allocations, a renewed Lease, status reports), over TLS.
//
//   agents_bench NEAP [agents] [seconds] [renew-seconds]
//
// Two connections an agent; the agents are spread over as many processes as their files need, so one server
// meets more connections than one process may open. In a network namespace of its own
// (`unshare -rn sh -c 'ip link set lo up; exec ...'`) the bytes are this program's alone.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
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

// Written by one process, read by another.
struct Samples {
  static constexpr std::size_t kMax = 1u << 16;
  std::atomic<std::size_t> count;
  std::array<double, kMax> values;
  void add(double value) {
    const auto at = count.load();
    if (at < kMax) values[at] = value, count = at + 1;
  }
};

// What one process of agents tells.
struct Load {
  std::atomic<std::size_t> heartbeats, refused, changes_seen, reports, in_touch, made;
  Samples heartbeat_ms, change_ms;
};

// Shared by the process that runs the server and those that run agents.
struct Board {
  static constexpr int kLoadsMax = 16;
  enum Phase { kWait, kPrepare, kRun, kEnd };
  std::atomic<int> phase;
  std::array<char, 256> state;      // the server's directory
  std::atomic<std::int64_t> since;  // in touch: renewed and watched after this
  std::atomic<int> resets;          // counts up: figures start anew
  int loads = 1;
  std::array<Load, kLoadsMax> load;
};

struct Fleet {
  io::RealRuntime& runtime;
  Load& load;
  Duration renew;
  TaskGroup tasks;
  Fleet(io::RealRuntime& r, Load& l, Duration d) : runtime(r), load(l), renew(d), tasks(r.executor()) {}
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
      ++fleet.load.heartbeats;
      agent.renewed = executor.now();
      fleet.load.heartbeat_ms.add(to_seconds(agent.renewed - began) * 1e3);
    } else if (!ctx.cancel.is_cancelled()) {
      ++fleet.load.refused;
    }
    const auto spread =
        Duration(std::int64_t(fleet.runtime.random().below(std::uint64_t(fleet.renew.count() / 8))));
    (void)co_await sleep_for(executor, ctx, ok ? fleet.renew - spread : fleet.renew / 4 + spread);
  }
}

// What the agent does with a change: it reports it.
Task<void> report(Fleet& fleet, Agent& agent, std::string name) {
  auto done = co_await agent.http->call(
      fleet.tasks.context(),
      ask("PATCH", kInDefault + "/" + name + "/status",
          R"([{"op":"add","path":"/status","value":{"phase":"Running"}}])", "application/json-patch+json"));
  if (done && done->status == 200) ++fleet.load.reports;
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
        fleet.load.change_ms.add(
            double(executor.now().time_since_epoch().count() - std::atoll(text.c_str() + at + kMark.size())) /
            1e6);
        ++fleet.load.changes_seen;
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

// The objects of `path` that `body` makes, by kWriters at a time.
template <class Make>
Task<void> create_many(io::RealRuntime& runtime, RealServer& server, io::HttpClient& http, std::string path,
                       int count, Make make) {
  TaskGroup group(runtime.executor());
  int next = 0, failed = 0;
  const auto work = [](RealServer& s, io::HttpClient& client, std::string to, int& at, int end, int& bad,
                       Make body) -> Task<void> {
    while (at < end) {
      const auto done = co_await client.call({}, s.request("POST", to, body(at++)));
      if (!done || done->status != 201) ++bad;
    }
  };
  for (int i = 0; i < kWriters; ++i) group.spawn(work(server, http, path, next, count, failed, make));
  co_await group.stop();
  if (failed > 0) fmt::print("{} of {} objects were refused at {}\n", failed, count, path);
}

std::string node_name(int i) { return fmt::format("node-{:05}", i); }

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// One process of agents: `first` to `first + count`, until the board says that it is over.
Task<void> run_agents(io::RealRuntime& runtime, Board& board, Load& load, int first, int count,
                      Duration renew) {
  auto& executor = runtime.executor();
  const std::string state = board.state.data();
  const auto ca = read_file(state + "/ca.pem");
  const auto authority = auth::CertificateAuthority::load(ca, read_file(state + "/identity/ca.key")).value();
  const auto endpoint = io::Endpoint::parse(read_file(state + "/ready")).value();
  Fleet fleet(runtime, load, renew);
  std::vector<Agent> agents{std::size_t(count)};
  for (int i = 0; i < count; ++i) {
    auto& agent = agents[std::size_t(i)];
    agent.node = node_name(first + i);
    const auto made = crypto::make_key_and_csr(auth::node_subject(agent.node)).value();
    const auto certificate =
        authority.issue_node(made.request_pem, agent.node, {}, runtime.clock().wall()).value();
    io::HttpClientOptions options;
    options.tls = io::make_tls_client_context({.roots_pem = ca,
                                               .certificate_pem = certificate,
                                               .private_key_pem = made.private_key_pem,
                                               .server_name = endpoint.host})
                      .value();
    options.idle_connections_max = 1;
    options.limits.idle_timeout = std::chrono::minutes(5);
    options.connect_timeout = 10s;  // as app/agent_process.cc
    agent.http = std::make_unique<io::HttpClient>(runtime, endpoint, std::move(options));
  }
  load.made = std::size_t(count);
  while (board.phase == Board::kPrepare) (void)co_await sleep_for(executor, {}, 10ms);
  int resets = board.resets;
  std::size_t started = 0;
  while (board.phase == Board::kRun) {
    for (const auto end = std::min(agents.size(), started + 50); started < end; ++started) {
      fleet.tasks.spawn(keep_lease(fleet, agents[started]));
      fleet.tasks.spawn(follow(fleet, agents[started]));
    }
    (void)co_await sleep_for(executor, {}, 50ms);
    if (const int now = board.resets; now != resets) {
      resets = now;
      load.heartbeats = load.refused = 0;
      load.heartbeat_ms.count = 0;
    }
    const MonoTime since{Duration(board.since)};
    load.in_touch = std::size_t(std::ranges::count_if(
        agents, [&](const Agent& a) { return a.is_watching && a.watched > since && a.renewed > since; }));
  }
  co_await fleet.tasks.stop();
}

// A child process that runs its share of the agents.
pid_t fork_load(Board& board, int index, int first, int count, Duration renew) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (board.phase == Board::kWait) ::usleep(10'000);
  auto runtime = io::RealRuntime::create();
  runtime->run_task(run_agents(*runtime, board, board.load[std::size_t(index)], first, count, renew));
  runtime.reset();
  ::_exit(0);
}

template <class Pick>
std::size_t sum(const Board& board, Pick pick) {
  std::size_t out = 0;
  for (int i = 0; i < board.loads; ++i) out += pick(board.load[std::size_t(i)]);
  return out;
}
std::vector<double> gather(const Board& board, Samples Load::* which) {
  std::vector<double> out;
  for (int i = 0; i < board.loads; ++i) {
    const auto& samples = board.load[std::size_t(i)].*which;
    out.insert(out.end(), samples.values.begin(),
               samples.values.begin() + std::ptrdiff_t(samples.count.load()));
  }
  return out;
}

// Until all agents have renewed and watch since `since`: the seconds until half, 99 % and all of them did.
struct Settled {
  double half = 0, most = 0, all = 0;
};
Task<Settled> settle(io::RealRuntime& runtime, Board& board, std::size_t count, MonoTime since,
                     Duration patience) {
  board.since = since.time_since_epoch().count();
  Settled out;
  (void)co_await sleep_for(runtime.executor(), {}, 200ms);  // until the others have seen the new start
  std::size_t there = 0;
  while (there < count && runtime.executor().now() - since < patience) {
    (void)co_await sleep_for(runtime.executor(), {}, 50ms);
    there = sum(board, [](const Load& load) { return load.in_touch.load(); });
    const double now = to_seconds(runtime.executor().now() - since);
    if (there * 2 < count) out.half = now;
    if (there * 100 < count * 99) out.most = now;
  }
  if (there < count) fmt::print("only {} of {} agents are in touch\n", there, count);
  out.all = to_seconds(runtime.executor().now() - since);
  co_return out;
}

// The right that is needed to make Allocations by hand, for the administrator.
Task<void> play_controllers(io::Runtime& runtime, RealServer& server, io::HttpClient& admin) {
  const std::string group = "/apis/rbac.authorization.k8s.io/v1/";
  (void)co_await admin.call(
      {},
      server.request(
          "POST", group + "clusterroles",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"override"},"rules":[{"apiGroups":["neap.dev"],"resources":["allocations"],"verbs":["override"]}]})"));
  (void)co_await admin.call(
      {},
      server.request(
          "POST", group + "clusterrolebindings",
          R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"override"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"override"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"system:masters"}]})"));
  (void)co_await sleep_for(runtime.executor(), {}, 1s);
}

Task<void> bench(io::RealRuntime& runtime, RealServer& server, Board& board, int count, int seconds) {
  auto& executor = runtime.executor();
  (void)co_await server.start();
  auto admin = server.client(kWriters);
  co_await create_many(runtime, server, *admin, kNodes, count, [](int i) {
    return fmt::format(
        R"({{"apiVersion":"neap.dev/v1","kind":"Node","metadata":{{"name":"{}"}},"spec":{{"site":"hq"}}}})",
        node_name(i));
  });
  const double before_mb = server.resident_mb();
  std::strncpy(board.state.data(), server.path("").c_str(), board.state.size() - 1);
  board.phase = Board::kPrepare;
  while (sum(board, [](const Load& load) { return load.made.load(); }) < std::size_t(count))
    (void)co_await sleep_for(executor, {}, 50ms);
  const auto started = executor.now();
  auto cpu = server.cpu_seconds();
  board.phase = Board::kRun;
  const auto joined = co_await settle(runtime, board, std::size_t(count), started, std::chrono::minutes(5));
  fmt::print("{} agents in {} processes joined in {:.1f} s; server {:.1f} s of processor time, {:.0f} MB\n",
             count, board.loads, joined.all, server.cpu_seconds() - cpu, server.resident_mb());
  std::fflush(stdout);

  const auto measure = [&](const char* what, double took, double used, double bytes) {
    const auto waits = gather(board, &Load::heartbeat_ms);
    fmt::print(
        "{}: {:.0f} heartbeats/s, p50 {:.1f} ms, p99 {:.1f} ms, {} failed; server {:.2f} cores, {:.0f} MB "
        "({:.0f} before the agents); "
        "{:.0f} bytes per agent and second\n",
        what, double(sum(board, [](const Load& load) { return load.heartbeats.load(); })) / took,
        quantile(waits, 0.5), quantile(waits, 0.99),
        sum(board, [](const Load& load) { return load.refused.load(); }), used / took, server.resident_mb(),
        before_mb, bytes / took / double(count));
    std::fflush(stdout);
  };
  const auto reset = [&]() -> Task<void> {
    ++board.resets;
    (void)co_await sleep_for(executor, {}, 200ms);
  };
  co_await reset();
  cpu = server.cpu_seconds();
  auto bytes = loopback_bytes();
  auto from = executor.now();
  (void)co_await sleep_for(executor, {}, std::chrono::seconds(seconds));
  measure("idle", to_seconds(executor.now() - from), server.cpu_seconds() - cpu, loopback_bytes() - bytes);

  co_await play_controllers(runtime, server, *admin);
  co_await reset();
  cpu = server.cpu_seconds();
  bytes = loopback_bytes();
  from = executor.now();
  int made = 0;
  TaskGroup puts(executor);
  for (auto next = from; next < from + std::chrono::seconds(seconds); next += 10ms) {
    (void)co_await sleep_until(executor, {}, next);
    const auto node = node_name(int(runtime.random().below(std::uint64_t(count))));
    puts.spawn(
        [](RealServer& s, io::HttpClient& http, std::string body, int& ok)
            -> Task<void> {
          const auto done = co_await http.call({}, s.request("POST", kInDefault, std::move(body)));
          if (done && done->status == 201) ++ok;
        }(server, *admin,
            fmt::format(
                R"({{"apiVersion":"neap.dev/v1","kind":"Allocation","metadata":{{"generateName":"a-","labels":{{}},"annotations":{{"sent":"{}"}}}},)"
                R"("spec":{{"node":"{}","site":"hq","ownerKind":"TrainingJob","ownerName":"j","epoch":1,"resources":{{"cpu":"1"}},"process":{{"command":["true"]}}}}}})",
                executor.now().time_since_epoch().count(), node),
            made));
  }
  co_await puts.stop();
  (void)co_await sleep_for(executor, {}, 2s);
  measure("100 allocations/s", to_seconds(executor.now() - from), server.cpu_seconds() - cpu,
          loopback_bytes() - bytes);
  const auto changes = gather(board, &Load::change_ms);
  fmt::print(
      "  {} allocations made, {} seen by their agents (p50 {:.1f} ms, p99 {:.1f} ms after the request), {} "
      "reported back\n",
      made, sum(board, [](const Load& load) { return load.changes_seen.load(); }), quantile(changes, 0.5),
      quantile(changes, 0.99), sum(board, [](const Load& load) { return load.reports.load(); }));
  std::fflush(stdout);

  co_await reset();
  co_await server.end(9);
  const auto again = co_await server.start();
  const auto storm =
      co_await settle(runtime, board, std::size_t(count), executor.now(), std::chrono::minutes(5));
  fmt::print(
      "killed and started again in {:.2f} s: half of the agents in touch after {:.1f} s, 99 % after {:.1f} "
      "s, "
      "all after {:.1f} s; server {:.1f} s of processor time, {:.0f} MB; {} heartbeats failed\n",
      to_seconds(again), storm.half, storm.most, storm.all, server.cpu_seconds(), server.resident_mb(),
      sum(board, [](const Load& load) { return load.refused.load(); }));
  board.phase = Board::kEnd;
  admin->close_idle();
  co_await server.end(15);
}

}  // namespace
}  // namespace neap::bench

int main(int argc, char** argv) {
  using namespace neap::bench;
  if (argc < 2) {
    std::fprintf(stderr, "agents_bench NEAP [agents] [seconds] [renew-seconds]\n");
    return 2;
  }
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise;
  };
  const int agents = number(2, 10'000);
  const std::chrono::seconds renew(number(4, 10));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const int each = int(std::min<double>(1e6, (double(files.rlim_cur) - 200) / 2.05));
  if (each < 1 || agents > each * Board::kLoadsMax) {
    std::fprintf(stderr,
                 "%d agents need %d processes of %d files each; %d are started: raise the limit with ulimit "
                 "-n, or take fewer agents\n",
                 agents, each < 1 ? agents : (agents + each - 1) / each, int(files.rlim_cur),
                 Board::kLoadsMax);
    return 1;
  }
  void* shared = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  auto& board = *new (shared) Board{};
  board.loads = (agents + each - 1) / each;
  std::vector<pid_t> children;
  for (int i = 0; i < board.loads; ++i) {
    const int first = int(std::int64_t(agents) * i / board.loads);
    const int end = int(std::int64_t(agents) * (i + 1) / board.loads);
    children.push_back(fork_load(board, i, first, end - first, renew));
  }
  auto runtime = neap::io::RealRuntime::create();
  {
    RealServer server(*runtime, argv[1]);
    runtime->run_task(bench(*runtime, server, board, agents, number(3, 30)));
  }
  for (const auto child : children) waitpid(child, nullptr, 0);
}
