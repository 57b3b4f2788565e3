// The world as one decision sees it. Plain values: whoever builds it (ClusterTable, a simulation, a test)
// owns it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "neap/base/quantity.h"
#include "neap/base/time.h"
#include "neap/dataguard/dataguard.h"
#include "neap/finops/budget.h"
#include "neap/finops/price_book.h"
#include "neap/policy/policy.h"

namespace neap::scheduler {

using policy::CapacityType;
using policy::Tier;
using Labels = std::vector<std::pair<std::string, std::string>>;

enum class InterruptionClass : std::uint8_t { kNever, kCheckpointed, kRestartable };
std::string_view interruption_class_name(InterruptionClass value);

// How close nodes lie to one another, narrowest first: an NVLink domain, a rack, an RDMA leaf ("block").
enum class TopologyLevel : std::uint8_t { kIsland, kRack, kBlock };
inline constexpr std::size_t kTopologyLevels = 3;
// "island", "rack", "block".
std::string_view topology_level_name(TopologyLevel level);
std::optional<TopologyLevel> parse_topology_level(std::string_view word);
// By level the name of the node's domain, empty where it is not known; names count within one site. Without
// an island of its own a node is one.
using Topology = std::array<std::string, kTopologyLevels>;
// The label keys read for a level, the first that a node carries counts.
std::span<const std::string_view> topology_labels(TopologyLevel level);
Topology topology_of(const Labels& labels);

struct Site {
  std::string name;
  Tier tier = Tier::kPrivate;
  // ISO 3166 code or any word; compared as text.
  std::string jurisdiction;
  std::vector<std::string> aliases;
  Labels labels;
  // Today's spot price over its 30-day median; 1 where unknown.
  double spot_price_to_median = 1;
  // Grams of CO2 equivalent per kWh; 0 where unknown.
  double carbon_intensity = 0;
};

struct Link {
  std::string from, to;
  // Bytes a second.
  double bandwidth = 0;
  Duration rtt{};
};

struct Taint {
  std::string key;
  std::string value;
  // False: avoided, not refused (PreferNoSchedule).
  bool is_hard = true;
  friend bool operator==(const Taint&, const Taint&) = default;
};

// Accelerators of one node are of one model; each device is free in thousandths.
struct Node {
  std::string name;
  std::string site;
  CapacityType capacity_type = CapacityType::kOwned;
  Labels labels;
  std::vector<Taint> taints;
  MilliCores cores_allocatable, cores_free;
  Bytes memory_allocatable, memory_free;
  std::string accelerator_model;
  Bytes accelerator_memory;
  std::vector<std::int32_t> devices_free;
  bool is_ready = true;
  // A spot notice was received, or the node is being drained.
  bool is_reclaimed = false;
  Topology topology;
  // "driver", "cuda", "kernel", ...
  std::map<std::string, std::string> versions;
};

struct RunningMember {
  std::string node;
  MilliCores cores;
  Bytes memory;
  // Thousandths, spread evenly over `devices` (indices into the node's).
  MilliAccelerators accelerators;
  std::vector<std::uint16_t> devices;
};

// Work that holds capacity and may have to make room: for work of a higher priority, and for queues that it
// borrowed from. Both choose their victims alike: the least lost work among those that may fall. Whoever
// computes fair shares fills `reclaimable_by`; decide() then lets pending requests of these queues take the
// gang's place whatever its priority, and plain preemption goes on beside it.
struct RunningGang {
  // As users know it: "project/name".
  std::string owner;
  std::string project, queue;
  int priority = 0;
  InterruptionClass interruption = InterruptionClass::kCheckpointed;
  // Its priority class lets it fall although it must not be interrupted.
  bool never_may_fall = false;
  // False: already on its way out.
  bool is_preemptible = true;
  // Queues whose pending work may take back what this gang holds beyond its own queue's share.
  std::vector<std::string> reclaimable_by;
  // Work since the last durable checkpoint, of each member.
  double unsaved_seconds = 0;
  // Fewest members it goes on with; 0: all of them. A member less starts all of them anew.
  int members_min = 0;
  std::vector<RunningMember> members;

  bool may_be_reclaimed_by(std::string_view asking) const {
    for (const auto& one : reclaimable_by)
      if (one == asking) return true;
    return false;
  }
  // Device seconds that are repeated if it falls; work without accelerators counts sixteen cores as a device.
  double lost_work() const;
};

struct Allocation {
  std::string name;
  std::string request;
  std::string node;
  std::string project, queue;
  MilliCores cores;
  Bytes memory;
  // Thousandths, spread evenly over `devices` (indices into the node's).
  MilliAccelerators accelerators;
  std::vector<std::uint16_t> devices;
};

// A limit of 0 is none.
struct Queue {
  std::string name;
  MilliCores cores_limit, cores_used;
  Bytes memory_limit, memory_used;
  MilliAccelerators accelerators_limit, accelerators_used;
};

struct ProjectBudget {
  finops::Budget budget;
  finops::BudgetState state;
  // What work that states no duration is charged.
  Duration open_ended = std::chrono::hours(1);
  // Training and batch work of the project that holds a place.
  int jobs_running = 0;
};
// Under lower-concurrency a job starts while fewer of its project than this hold a place.
inline constexpr int kJobsAtLowerConcurrency = 2;

struct Snapshot {
  std::vector<Site> sites;
  std::vector<Link> links;
  std::vector<Node> nodes;
  // What could make room; empty: nothing does. Its capacity is not in the nodes' *_free.
  std::vector<RunningGang> running;
  std::vector<policy::PolicyRule> rules;
  std::vector<Queue> queues;
  std::vector<ProjectBudget> budgets;
  finops::PriceBook prices;
  // The table transfers are judged by, so that nothing is placed where its data may not follow. Absent: L2
  // may go to private and edge sites of its jurisdiction, L3 anywhere, L1 nowhere.
  std::optional<dataguard::DataPolicyTable> data_policies;
};

}  // namespace neap::scheduler
