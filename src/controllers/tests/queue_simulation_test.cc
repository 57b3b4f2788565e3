// The same queues, nodes and jobs before the server's control loop and in a simulated run: who starts when,
// on which nodes, and who gives back, must be the same.
#include <algorithm>
#include <random>
#include <set>

#include "neap/simulation/run.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

using std::chrono::minutes;

// Of one member: those of a gang end one after the other in the server, and what the first leaves is decided
// about before the last has gone.
struct TwinJob {
  std::string name, queue;
  int replicas = 1, cores = 1;
  std::int64_t at_min = 0, takes_min = 0;
};
struct TwinWorld {
  int nodes = 3;
  std::vector<api::Queue> queues;
  std::vector<TwinJob> jobs;  // by arrival
};

api::Queue queue(const std::string& name, const std::string& parent, int cores) {
  api::Queue out;
  out.metadata.name = name;
  out.spec.parent = parent;
  out.spec.quota.cpu = MilliCores{cores * 1000};
  return out;
}

TwinWorld drawn(unsigned seed) {
  std::mt19937 draw(seed);
  const auto below = [&](unsigned n) { return int(draw() % n); };
  TwinWorld out;
  out.queues = {queue("all", "", 24), queue("a", "all", 8 + 4 * below(3)), queue("b", "all", 0)};
  out.queues[2].spec.quota.cpu = MilliCores{24'000 - out.queues[1].spec.quota.cpu.value};
  if (below(2)) out.queues[1].spec.borrowingLimit = api::QueueLimit{.cpu = MilliCores{4000 * (1 + below(3))}};
  if (below(2)) out.queues[2].spec.weight = 3;
  for (auto& one : out.queues) {
    one.spec.reservationAfter = minutes(5);
    one.spec.backfill = below(5) > 0;
    one.spec.ageing = below(2) ? Duration{} : Duration(std::chrono::hours(2));
  }
  for (int i = 0; i < 9; ++i)
    out.jobs.push_back({.name = fmt::format("w{}", i),
                        .queue = below(2) ? "a" : "b",
                        .replicas = 1,
                        .cores = 2 + 2 * below(4),
                        .at_min = below(240),
                        .takes_min = 20 + below(240)});
  std::ranges::sort(out.jobs, {}, &TwinJob::at_min);
  return out;
}

api::TrainingJob job_of(Cluster& cluster, const TwinJob& twin) {
  auto out = cluster.job(twin.name, twin.replicas, twin.cores);
  out.spec.queue = twin.queue;
  out.spec.interruption = api::InterruptionClass::kRestartable;
  out.spec.expectedDuration = minutes(twin.takes_min);
  return out;
}

std::string node_name(int i) { return fmt::format("n{}", i); }

// "w3 on n1 n2" of what started at one moment, by name.
using Starts = std::multiset<std::string>;
std::string start_of(const std::string& job, std::vector<std::string> nodes) {
  std::ranges::sort(nodes);
  return fmt::format("{} on {}", job, fmt::join(nodes, " "));
}

// What the server does, its agents played by the test.
class ServerTwin {
 public:
  explicit ServerTwin(const TwinWorld& world) : world_(world) {
    cluster.add_site("hq");
    for (int i = 0; i < world.nodes; ++i) cluster.add_node(node_name(i), "hq", 8);
    for (const auto& one : world.queues) cluster.create(one);
    begin_ = now();
  }
  std::vector<Starts> run() {
    std::size_t arrived = 0;
    while (true) {
      auto next = WallTime::max();
      if (arrived < world_.jobs.size()) next = begin_ + minutes(world_.jobs[arrived].at_min);
      for (const auto& [name, end] : ends_) next = std::min(next, end);
      if (next == WallTime::max()) break;
      if (next > now()) cluster.pass(next - now());
      while (arrived < world_.jobs.size() && begin_ + minutes(world_.jobs[arrived].at_min) <= now())
        cluster.create(job_of(cluster, world_.jobs[arrived++]));
      settle(arrived);
    }
    return std::move(groups_);
  }

 private:
  WallTime now() { return cluster.runtime().clock().wall(); }

  void settle(std::size_t arrived) {
    Starts group;
    for (int quiet = 0; quiet < 3;) {
      bool has_changed = false;
      for (std::size_t i = 0; i < arrived; ++i) has_changed |= play(world_.jobs[i].name, group);
      cluster.pass(2s);
      quiet = has_changed ? 0 : quiet + 1;
    }
    if (!group.empty()) groups_.push_back(std::move(group));
  }

  // One step of the agents that run the job.
  bool play(const std::string& name, Starts& group) {
    const auto job = cluster.get<api::TrainingJob>(name);
    if (job.status.runs.empty() || job.status.phase == "Succeeded") return false;
    const auto& run = job.status.runs.back();
    const auto key = std::pair(name, run.epoch);
    if (!seen_.contains(key) && job.status.phase != "Pending") {
      seen_.insert(key);
      group.insert(start_of(name, run.nodes));
    }
    const bool is_over = ends_.contains(name) && ends_.at(name) <= now();
    bool has_changed = false, runs = false;
    for (std::int64_t i = 0; i < job.spec.replicas; ++i) {
      const auto member = fmt::format("{}-e{}-{}", name, run.epoch, i);
      const auto found = cluster.find<api::Allocation>(member);
      if (!found) continue;
      const auto& phase = found->status.phase;
      if (phase == "Succeeded" || phase == "Released") continue;
      const std::string next = found->spec.desired == "Stop" ? "Released"
                               : phase == "Prepared"         ? "Running"
                               : phase != "Running"          ? "Prepared"
                               : is_over                     ? "Succeeded"
                                                             : "";
      if (next.empty()) continue;
      cluster.set_status<api::Allocation>(member, [&](auto& a) { a.status.phase = next; });
      has_changed = true;
      runs = runs || next == "Running";
      if (next == "Released" || next == "Succeeded") ends_.erase(name);
    }
    if (runs) ends_[name] = now() + job.spec.expectedDuration;
    return has_changed;
  }

  const TwinWorld& world_;
  Cluster cluster;
  WallTime begin_{};
  std::map<std::string, WallTime> ends_;
  std::set<std::pair<std::string, std::int64_t>> seen_;
  std::vector<Starts> groups_;
};

struct SimulatedTwin {
  std::vector<Starts> groups;
  // Between any two moments something happens at.
  std::int64_t gap_min = INT64_MAX;
  std::int64_t given_back = 0, backfilled = 0, reserved = 0;
  // A job gave back and began again at one moment: in the server seconds lie between, in which it may be
  // asked again; a simulated moment leaves alone what began at it.
  bool begins_again_at_once = false;
};

SimulatedTwin simulate(const TwinWorld& world) {
  Cluster shapes;
  std::string text =
      R"({"apiVersion": "neap.dev/v1", "kind": "Simulation", "metadata": {"name": "twin"}, "spec": {}})";
  const auto add = [&](const auto& object) { text += "\n---\n" + to_text(api::to_json(object)); };
  api::Site site;
  site.metadata.name = "hq";
  site.spec.tier = api::Tier::kPrivate;
  site.spec.jurisdiction = "DE";
  add(site);
  for (int i = 0; i < world.nodes; ++i) {
    api::Node node;
    node.metadata.name = node_name(i);
    node.spec.site = "hq";
    node.status.allocatable.cpu = MilliCores{8000};
    node.status.allocatable.memory = Bytes{16ll << 30};
    add(node);
  }
  for (const auto& one : world.queues) add(one);
  for (const auto& one : world.jobs) add(job_of(shapes, one));
  auto scenario = simulation::read_scenario(text, "twin", [](const std::string& path) -> Result<std::string> {
    return fail(Code::kNotFound, "test.absent", path);
  });
  EXPECT_TRUE(scenario.has_value()) << scenario.error().to_string();
  if (!scenario) return {};
  for (auto& job : scenario->jobs)
    job.arrival_ms = std::ranges::find(world.jobs, job.name, &TwinJob::name)->at_min * 60'000;
  std::ranges::sort(scenario->jobs, {}, [](const auto& job) { return std::pair(job.arrival_ms, job.name); });
  const auto report = simulation::run_scenario(*scenario);
  EXPECT_TRUE(report.has_value()) << report.error().to_string();
  if (!report) return {};
  SimulatedTwin out;
  std::map<std::int64_t, Starts> starts;
  std::set<std::int64_t> moments;
  for (const auto& segment : report->timeline) {
    starts[std::llround(segment.from_h * 60)].insert(start_of(segment.job, segment.nodes));
    moments.insert(std::llround(segment.from_h * 60));
    moments.insert(std::llround(segment.to_h * 60));
    for (const auto& next : report->timeline)
      if (segment.end == "gave back" && next.job == segment.job && next.from_h == segment.to_h)
        out.begins_again_at_once = true;
  }
  for (const auto& job : world.jobs) moments.insert(job.at_min);
  for (auto at = moments.begin(); std::next(at) != moments.end(); ++at)
    out.gap_min = std::min(out.gap_min, *std::next(at) - *at);
  for (auto& [at, group] : starts) out.groups.push_back(std::move(group));
  out.given_back = report->given_back;
  out.backfilled = report->backfilled;
  for (const auto& line : report->queues) out.reserved += line.reserved;
  return out;
}

TEST(QueuesTwice, server_and_simulation_start_the_same_work_on_the_same_nodes_in_the_same_order) {
  int compared = 0;
  std::int64_t given_back = 0, backfilled = 0, reserved = 0;
  for (unsigned seed = 0; seed < 400 && compared < 10; ++seed) {
    const auto world = drawn(seed);
    const auto simulated = simulate(world);
    // The server takes seconds where the simulation takes none: moments must lie apart.
    if (simulated.gap_min < 2 || simulated.begins_again_at_once) continue;
    ++compared;
    given_back += simulated.given_back;
    backfilled += simulated.backfilled;
    reserved += simulated.reserved;
    const auto served = ServerTwin(world).run();
    EXPECT_EQ(served, simulated.groups) << "seed " << seed;
  }
  EXPECT_EQ(compared, 10);
  EXPECT_GT(given_back, 0);
  EXPECT_GT(backfilled, 0);
  EXPECT_GT(reserved, 0);
}

}  // namespace
}  // namespace neap::controllers
