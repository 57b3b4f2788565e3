// What asks for a place.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/scheduler/snapshot.h"

namespace neap::scheduler {

enum class TaskKind : std::uint8_t { kTraining, kInference, kCollect, kBatch };
std::string_view task_kind_name(TaskKind kind);

// L1 core, L2 business, L3 public.
enum class DataLevel : std::uint8_t { kL1 = 1, kL2 = 2, kL3 = 3 };

enum class CostStrategy : std::uint8_t {
  kBalanced,
  kCheapest,
  kPreferSpot,
  kAvoidSpot,
  kLowestCarbon,
  kPrivateFirst
};

// Capacity that it may use now, by a plan that changes with time: a deadline's, or waiting for private room.
enum class SpotUse : std::uint8_t { kAny, kOnly, kNever };

struct DataInput {
  std::string dataset;
  DataLevel level = DataLevel::kL3;
  std::string home_site;
  std::string jurisdiction;
  Bytes size;
  // Where a copy already is, besides home.
  std::vector<std::string> present_at;
  // Not empty: nowhere else, whatever the level would allow. Never widens L1.
  std::vector<std::string> allowed_sites;
  // Nothing derived from it leaves its home site.
  bool is_strict = false;
};

// What one replica holds.
struct ReplicaResources {
  MilliCores cores;
  Bytes memory;
  // Empty: any model.
  std::string accelerator_model;
  // Below 1000: a fraction of one device; above: whole devices.
  MilliAccelerators accelerators;
};

struct TopologyAsk {
  TopologyLevel level = TopologyLevel::kBlock;
  // False: a wider domain is taken where none of this level has room.
  bool is_required = true;
  // Replicas, in their order, that share one domain; 0: the whole gang.
  int slice_replicas = 0;
};

struct Request {
  std::string id;
  std::string project, team, model, queue;
  std::string priority_class;
  // Higher is placed first; equal ones in the order given.
  int priority = 0;
  TaskKind kind = TaskKind::kTraining;
  // A gang: all or none.
  int replicas = 1;
  // Above 0: an elastic gang, of as many replicas as fit, at least so many.
  int replicas_min = 0;
  ReplicaResources each;
  // Models that do as well as the one of `each`. Nothing prefers that one: price and place decide.
  std::vector<std::string> accelerator_alternatives;
  // Absent: a gang prefers one block, where nodes say in which they are.
  std::optional<TopologyAsk> topology;
  // False: waits rather than end work of a lower priority.
  bool may_preempt = true;
  InterruptionClass interruption = InterruptionClass::kCheckpointed;
  std::vector<DataInput> data;
  std::optional<WallTime> deadline;
  std::optional<Duration> duration_estimate;
  // Round trip to the consumer at most.
  std::optional<Duration> latency_max;
  std::string consumer_site;
  CostStrategy cost_strategy = CostStrategy::kBalanced;
  SpotUse spot_use = SpotUse::kAny;
  bool stays_private = false;
  // Why, where one of the two holds it back.
  std::string held_back;
  std::string pinned_site, pinned_node;
  std::vector<std::string> excluded_nodes;
  Labels node_selector;
  // Taint keys that are accepted.
  std::vector<std::string> tolerations;
  // A gang stays inside one site unless this is set or `spread_sites` is not empty.
  bool may_span_sites = false;
  // One replica at each of these; `replicas` must be their number.
  std::vector<std::string> spread_sites;
  // No two replicas on one node.
  bool spreads_nodes = false;

  bool takes_model(std::string_view name) const {
    return each.accelerator_model.empty() || name == each.accelerator_model ||
           std::ranges::find(accelerator_alternatives, name) != accelerator_alternatives.end();
  }
};

}  // namespace neap::scheduler
