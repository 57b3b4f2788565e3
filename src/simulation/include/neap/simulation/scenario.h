// A scenario: the places, prices, rules and load that `neap simulate run` replays, read from one YAML text.
//
// The text holds one document of kind Simulation and, beside it, the API documents a server takes: Site,
// Link, Node, Queue, Budget, SchedulingPolicy, TrainingJob. What is generated is drawn from the scenario's
// seed while it is read, so a Scenario is the complete input of a run. Fields: docs/reference/simulation.md.
//
// Times are milliseconds from the scenario's start. Threads: plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/resource.h"
#include "neap/base/result.h"
#include "neap/base/time.h"
#include "neap/scheduler/request.h"
#include "neap/scheduler/snapshot.h"

namespace neap::simulation {

inline constexpr std::int64_t kHourMs = 3'600'000;

struct ScenarioLimits {
  std::size_t nodes_max = 50'000;
  std::size_t jobs_max = 1'000'000;
  std::size_t pools_max = 1000, workloads_max = 200;
  std::size_t replicas_max = 10'000;      // of one service
  std::size_t intervals_max = 1'000'000;  // of one service's demand
  std::int64_t events_max = 50'000'000;
};

// What holds for all nodes of one entry of `spec.nodes`.
struct PoolTerms {
  std::string name;
  scheduler::Tier tier = scheduler::Tier::kPrivate;
  policy::CapacityType capacity_type = policy::CapacityType::kOwned;
  // Of one node: price, written off over `hardware_years`, and what it costs a year besides.
  MoneyMicros hardware_price, operation_per_year;
  double hardware_years = 0;
  std::int64_t startup_ms = 0;  // until work starts on a node that held nothing
  std::int64_t mtbf_ms = 0, repair_ms = 0;
  double reclaims_per_hour = 0;
  std::int64_t absence_ms = 0, notice_ms = 0;
  // Recorded availability, all nodes of the pool together; empty: none. Repeats at its end.
  std::vector<std::uint8_t> trace;
  std::int64_t trace_tick_ms = 0;
};

struct ScenarioNode {
  scheduler::Node node;
  std::uint32_t pool = 0;
};

struct WorkloadTerms {
  std::string name;
  scheduler::Request request;               // all but id, size, times
  std::int64_t checkpoint_interval_ms = 0;  // 0: none is written
  std::int64_t checkpoint_write_ms = 0;
  Bytes checkpoint_size;
  std::int64_t restart_ms = 0;
  bool knows_durations = true;
};

struct ScenarioJob {
  std::string name;
  std::uint32_t workload = 0;
  std::int64_t arrival_ms = 0, work_ms = 0;
  std::int64_t deadline_ms = -1;  // -1: none
  int replicas = 1;
  scheduler::ReplicaResources each;
};

struct ScenarioService {
  std::uint32_t workload = 0;
  scheduler::ReplicaResources each;
  std::int64_t interval_ms = 0;
  std::vector<std::int32_t> wanted;  // replicas, an interval each
  double requests = 0;
  std::int32_t replicas_min = 0;
};

struct DriftTerms {
  bool is_on = false;
  double left_min_h = 1, ran_min_h = 0.5, move_h = 0.2;
};

struct Scenario {
  std::string name;
  std::uint64_t seed = 1;
  WallTime start{};
  std::int64_t horizon_ms = 0;  // 0: until everything has ended or nothing can happen any more
  std::int64_t considered_max = 1000;
  std::int64_t events_max = 0;
  double wait_h_per_gpu_hour = 0;  // how long a job keeps off public capacity
  DriftTerms drift;
  std::vector<scheduler::Site> sites;
  std::vector<scheduler::Link> links;
  std::vector<api::Queue> queues;  // by name
  std::vector<finops::Budget> budgets;
  std::map<std::string, std::vector<policy::PolicyRule>> rules;  // by project
  finops::PriceBook prices;
  std::vector<PoolTerms> pools;
  std::vector<ScenarioNode> nodes;
  std::vector<WorkloadTerms> workloads;
  std::vector<ScenarioJob> jobs;  // by arrival, then name
  std::vector<ScenarioService> services;
};

// Text of a file the scenario names, as it is written there.
using ReadScenarioFile = std::function<Result<std::string>(const std::string& path)>;

// `name` stands in errors, which name file, line and field. Reasons `simulation.scenario`,
// `simulation.csv`, those of parse_yaml, and what `read_file` returns.
Result<Scenario> read_scenario(std::string_view text, std::string_view name,
                               const ReadScenarioFile& read_file, std::optional<std::uint64_t> seed = {},
                               const ScenarioLimits& limits = {});

// The ends of the hybrid range: without nodes at public sites, or with nothing else.
enum class Placing : std::uint8_t { kHybrid, kPrivate, kPublic };
std::optional<Placing> parse_placing(std::string_view word);
std::string_view placing_name(Placing placing);
// Refuses where no node is left: `simulation.scenario`.
Status restrict_places(Scenario& scenario, Placing placing);

}  // namespace neap::simulation
