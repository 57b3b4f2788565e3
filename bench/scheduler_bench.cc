// Placements a second of decide() against a naive scan of the same nodes in the same run, the time of one
// decision from a cold start, and the time of one policy rule.
//
// Usage: scheduler_bench [--quick]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "neap/scheduler/fair_share.h"
#include "neap/scheduler/scheduler.h"

namespace {

using namespace neap;
using namespace neap::scheduler;

constexpr std::int64_t kGiB = std::int64_t(1) << 30;

double seconds_of(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Snapshot make_world(int node_count) {
  Snapshot world;
  for (int s = 0; s < 5; ++s)
    world.sites.push_back({fmt::format("site-{}", s),
                           s == 0  ? Tier::kEdge
                           : s < 3 ? Tier::kPrivate
                                   : Tier::kPublic,
                           "DE",
                           {},
                           {},
                           1});
  for (int s = 0; s < 5; ++s)
    for (const auto type :
         {finops::CapacityType::kOwned, finops::CapacityType::kOnDemand, finops::CapacityType::kSpot})
      world.prices.set_rates(
          fmt::format("site-{}", s), type,
          {{10'000 + s * 1000}, {1000 + s * 100}, {{"nvidia-a100", {1'000'000 + s * 100'000}}}});
  for (int i = 0; i < node_count; ++i) {
    Node node;
    node.name = fmt::format("node-{:05}", i);
    node.site = fmt::format("site-{}", i % 5);
    node.capacity_type = i % 5 < 3 ? CapacityType::kOwned
                         : i % 2   ? CapacityType::kSpot
                                   : CapacityType::kOnDemand;
    node.cores_allocatable = node.cores_free = {64'000};
    node.memory_allocatable = node.memory_free = {256 * kGiB};
    if (i % 4 == 0) {
      node.accelerator_model = "nvidia-a100";
      node.devices_free.assign(8, 1000);
    }
    world.nodes.push_back(std::move(node));
  }
  return world;
}

std::vector<Request> make_requests(int count, int shapes, bool accelerators, int replicas) {
  std::vector<Request> out;
  for (int i = 0; i < count; ++i) {
    Request request;
    request.id = fmt::format("job-{}", i);
    request.project = "bench";
    request.each.cores = {1000 + 500 * (i % shapes)};
    request.each.memory = {(1 + i % shapes) * kGiB};
    if (accelerators && i % 2 == 0) request.each.accelerators = {i % 4 == 0 ? 500 : 1000};
    request.replicas = replicas;
    out.push_back(std::move(request));
  }
  return out;
}

// What a first version does: every request looks at every node, checks fit, scores utilisation and price.
std::size_t place_naively(Snapshot world, const std::vector<Request>& requests) {
  std::size_t placed = 0;
  for (const auto& request : requests)
    for (int replica = 0; replica < request.replicas; ++replica) {
      Node* best = nullptr;
      double best_score = -1e300;
      for (auto& node : world.nodes) {
        if (!node.is_ready || node.is_reclaimed) continue;
        if (node.cores_free < request.each.cores || node.memory_free < request.each.memory) continue;
        if (request.each.accelerators.value > 0 &&
            std::none_of(node.devices_free.begin(), node.devices_free.end(),
                         [&](auto free) { return free >= request.each.accelerators.value; }))
          continue;
        const auto price = world.prices.compute_hourly(
            node.site, finops::CapacityType(node.capacity_type),
            {request.each.cores, request.each.memory, node.accelerator_model, request.each.accelerators});
        const double used = 2 - double(node.cores_free.value) / double(node.cores_allocatable.value) -
                            double(node.memory_free.value) / double(node.memory_allocatable.value);
        const double score = 10 * used - (price ? double(price->value) / 1e6 : 1e3);
        if (score > best_score) {
          best_score = score;
          best = &node;
        }
      }
      if (!best) continue;
      best->cores_free -= request.each.cores;
      best->memory_free -= request.each.memory;
      for (auto& free : best->devices_free)
        if (request.each.accelerators.value > 0 && free >= request.each.accelerators.value) {
          free -= std::int32_t(request.each.accelerators.value);
          break;
        }
      ++placed;
    }
  return placed;
}

void print(std::string_view name, int nodes, double rate, double naive_rate) {
  fmt::print("{:<34} {:>6} nodes {:>9.0f} placements/s, naive scan {:>8.0f}/s, ratio {:>6.1f}\n", name, nodes,
             rate, naive_rate, rate / naive_rate);
}

void compare(std::string_view name, int nodes, const std::vector<Request>& requests,
             std::size_t naive_requests) {
  const auto world = make_world(nodes);
  Options options;
  options.suggestions_max = 0;
  std::size_t placed = 0;
  const double fast = seconds_of([&] {
    const auto plan = decide(world, requests, options);
    for (const auto& decision : plan.decisions) placed += decision.placements.size();
  });
  std::vector<Request> part(requests.begin(),
                            requests.begin() + std::ptrdiff_t(std::min(naive_requests, requests.size())));
  for (auto& request : part) request.replicas = std::min(request.replicas, 100);
  std::size_t naive_placed = 0;
  const double naive = seconds_of([&] { naive_placed = place_naively(world, part); });
  print(name, nodes, double(placed) / fast, double(naive_placed) / naive);
}

// Every node full of one, two or four gangs of one member each.
Snapshot make_full_world(int nodes) {
  auto world = make_world(nodes);
  int next = 0;
  for (auto& node : world.nodes) {
    const int parts = 1 << (next % 3);
    for (int i = 0; i < parts; ++i) {
      RunningGang gang;
      gang.owner = fmt::format("p/{}", next);
      gang.priority = next % 5;
      gang.unsaved_seconds = (next * 7919) % 1000;
      RunningMember member{
          node.name, {node.cores_allocatable.value / parts}, {node.memory_allocatable.value / parts}, {}, {}};
      const auto devices = int(node.devices_free.size()) / parts;
      for (int d = 0; d < devices; ++d) member.devices.push_back(std::uint16_t(i * devices + d));
      member.accelerators = {1000 * devices};
      gang.members.push_back(std::move(member));
      world.running.push_back(std::move(gang));
      ++next;
    }
    node.cores_free = {};
    node.memory_free = {};
    std::fill(node.devices_free.begin(), node.devices_free.end(), 0);
  }
  return world;
}

// Each request looks at every gang of every node, cheapest first, until it fits there.
std::size_t preempt_naively(const Snapshot& world, const std::vector<Request>& requests) {
  std::vector<bool> is_gone(world.running.size(), false);
  std::size_t made = 0;
  for (const auto& request : requests) {
    double best_lost = 1e300;
    std::vector<std::size_t> best;
    for (const auto& node : world.nodes) {
      std::vector<std::pair<double, std::size_t>> here;
      for (std::size_t g = 0; g < world.running.size(); ++g)
        if (!is_gone[g] && world.running[g].priority < request.priority &&
            world.running[g].members[0].node == node.name)
          here.emplace_back(world.running[g].lost_work(), g);
      std::sort(here.begin(), here.end());
      std::int64_t cores = node.cores_free.value, memory = node.memory_free.value;
      double lost = 0;
      std::vector<std::size_t> victims;
      for (const auto& [work, g] : here) {
        if (cores >= request.each.cores.value && memory >= request.each.memory.value) break;
        cores += world.running[g].members[0].cores.value;
        memory += world.running[g].members[0].memory.value;
        lost += work;
        victims.push_back(g);
      }
      if (cores < request.each.cores.value || memory < request.each.memory.value || lost >= best_lost)
        continue;
      best_lost = lost;
      best = victims;
    }
    for (const auto g : best) is_gone[g] = true;
    made += !best.empty();
  }
  return made;
}

void compare_preemption(int nodes, int count, int naive_requests) {
  const auto world = make_full_world(nodes);
  auto requests = make_requests(count, 4, false, 1);
  for (auto& request : requests) request.priority = 10;
  Options options;
  options.suggestions_max = 0;
  std::size_t made = 0;
  const double fast = seconds_of([&] {
    for (const auto& decision : decide(world, requests, options).decisions)
      made += decision.preemption.has_value();
  });
  requests.resize(std::size_t(naive_requests));
  std::size_t naive_made = 0;
  const double naive = seconds_of([&] { naive_made = preempt_naively(world, requests); });
  print("preemption of one for another", nodes, double(made) / fast, double(naive_made) / naive);
}

void print_times(std::string_view name, int nodes, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  fmt::print("{:<34} {:>6} nodes p50 {:.3f} ms, p99 {:.3f} ms\n", name, nodes, times[times.size() / 2] * 1e3,
             times[times.size() * 99 / 100] * 1e3);
}

// Each from the snapshot, as the first decision of a program.
void measure_single(int nodes, int rounds) {
  const auto world = make_world(nodes);
  const auto requests = make_requests(rounds, 16, true, 1);
  const auto gang = make_requests(1, 1, false, 8);
  Options options;
  options.suggestions_max = 0;
  std::vector<double> cold, cold_gang, preempting;
  for (int i = 0; i < rounds; ++i) {
    cold.push_back(
        seconds_of([&] { (void)decide(world, std::span(&requests[std::size_t(i)], 1), options); }));
    cold_gang.push_back(seconds_of([&] { (void)decide(world, gang, options); }));
  }
  const auto full = make_full_world(nodes);
  auto urgent = make_requests(1, 1, false, 1);
  urgent[0].priority = 10;
  for (int i = 0; i < rounds; ++i)
    preempting.push_back(seconds_of([&] { (void)decide(full, urgent, options); }));
  print_times("one decision, cold", nodes, std::move(cold));
  print_times("one gang of 8, cold", nodes, std::move(cold_gang));
  print_times("one decision that preempts, cold", nodes, std::move(preempting));
}

void measure_rules(int rounds) {
  const Json variables =
      parse_json(R"j({"resource": {"level": "L1", "home_domain": "hq"}, "request": {"dest_domain": "hq"},
    "labels": ["team/a", "zone/b", "tier/c"], "task": {"type": "training", "gpu_demand": 16}})j")
          .value();
  const policy::Activation activation(variables);
  for (const std::string_view text : {"resource.level != 'L1' || request.dest_domain == resource.home_domain",
                                      "task.type == 'training' AND task.gpu_demand > 8",
                                      "labels.exists(l, l.startsWith('pii/')) && size(labels) < 10"}) {
    const auto program = policy::compile(text).value();
    bool holds = false;
    // Best of many short batches: the machine may be shared.
    double evaluation = 1e9, compilation = 1e9;
    for (int batch = 0; batch < 50; ++batch) {
      evaluation = std::min(evaluation, seconds_of([&] {
                                          for (int i = 0; i < rounds / 50; ++i)
                                            holds ^= policy::evaluate_condition(program, activation).value();
                                        }) / (rounds / 50));
      compilation = std::min(compilation, seconds_of([&] {
                                            for (int i = 0; i < 100; ++i)
                                              holds ^= policy::compile(text).has_value();
                                          }) / 100);
    }
    fmt::print("rule {:>6.0f} ns, compile {:>5.1f} us  {}{}\n", evaluation * 1e9, compilation * 1e6, text,
               holds ? "" : " ");
  }
}

// The turns of many waiting jobs, each judged and half of them admitted, beside one sort of the same jobs by
// queue, priority and age.
void measure_turns(int jobs, int queues) {
  std::vector<ShareQueue> rules(1);
  rules[0].name = "all";
  for (int q = 0; q < queues; ++q) {
    ShareQueue rule;
    rule.name = fmt::format("q{}", q);
    rule.parent = "all";
    rule.quota = {kUnstated, kUnstated, std::int64_t(jobs / queues) * 500};
    rule.weight = 1 + q % 4;
    rules.push_back(std::move(rule));
  }
  std::vector<PendingWork> pending;
  std::uint64_t random = 1;
  const auto draw = [&](std::uint64_t below) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    return (random >> 33) % below;
  };
  for (int i = 0; i < jobs; ++i)
    pending.push_back({.id = fmt::format("j{}", i),
                       .queue = fmt::format("q{}", draw(std::uint64_t(queues))),
                       .amounts = {1000, 1 << 20, 1000},
                       .priority = int(draw(5)),
                       .since = WallTime{} + std::chrono::minutes(draw(10'000))});
  double sorting = 1e9, turning = 1e9;
  std::size_t admitted = 0;
  for (int round = 0; round < 10; ++round) {
    auto sorted = pending;
    sorting = std::min(sorting, seconds_of([&] {
                         std::ranges::sort(sorted, [](const PendingWork& a, const PendingWork& b) {
                           return std::tie(a.queue, b.priority, a.since, a.id) <
                                  std::tie(b.queue, a.priority, b.since, b.id);
                         });
                       }));
    turning = std::min(turning, seconds_of([&] {
                         ShareTree tree(
                             {}, {std::int64_t(jobs) * 1000, std::int64_t(jobs) << 20, jobs * 1000}, rules);
                         AdmissionOrder order(tree, pending, WallTime{} + std::chrono::minutes(10'000));
                         admitted = 0;
                         while (const auto i = order.next())
                           if (may_start(tree.judge(pending[*i].queue, pending[*i].amounts).admission)) {
                             order.admit(*i);
                             ++admitted;
                           }
                       }));
  }
  fmt::print(
      "{:<34} {:>6} jobs in {} queues: {:.2f} ms for turns and verdicts ({} admitted), {:.1f} times a plain "
      "sort\n",
      "fair shares", jobs, queues, turning * 1e3, admitted, turning / sorting);
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  const int count = quick ? 2000 : 20'000;
  for (const int nodes : {1000, 5000, 30'000}) {
    const std::size_t naive = nodes > 5000 ? 50 : 200;
    compare("plain, one shape", nodes, make_requests(count, 1, false, 1), naive);
    compare("plain, 16 shapes", nodes, make_requests(count, 16, false, 1), naive);
    compare("half with accelerators, 16 shapes", nodes, make_requests(std::min(count, nodes), 16, true, 1),
            naive);
    compare("gangs of 3", nodes, make_requests(count / 3, 1, false, 3), naive / 2);
    compare("gangs of 1000", nodes, make_requests(quick ? 2 : 9, 1, false, 1000), 1);
    compare("gangs of 5000", nodes, make_requests(quick ? 1 : 5, 1, false, 5000), 1);
    compare_preemption(nodes, std::min(count, nodes) / 2, nodes > 1000 ? 1 : 10);
    measure_single(nodes, quick ? 20 : 300);
  }
  measure_turns(10'000, 100);
  measure_rules(quick ? 20'000 : 500'000);
}
