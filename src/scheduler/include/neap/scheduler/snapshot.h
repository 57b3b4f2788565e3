// The world as one decision sees it. Plain values: whoever builds it (ClusterTable, a simulation, a test)
// owns it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

struct Site {
  std::string name;
  Tier tier = Tier::kPrivate;
  // ISO 3166 code or any word; compared as text.
  std::string jurisdiction;
  std::vector<std::string> aliases;
  Labels labels;
  // Today's spot price over its 30-day median; 1 where unknown.
  double spot_price_to_median = 1;
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
  // "driver", "cuda", "kernel", ...
  std::map<std::string, std::string> versions;
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
};

struct Snapshot {
  std::vector<Site> sites;
  std::vector<Link> links;
  std::vector<Node> nodes;
  std::vector<policy::PolicyRule> rules;
  std::vector<Queue> queues;
  std::vector<ProjectBudget> budgets;
  finops::PriceBook prices;
  // The table transfers are judged by, so that nothing is placed where its data may not follow. Absent: L2
  // may go to private and edge sites of its jurisdiction, L3 anywhere, L1 nowhere.
  std::optional<dataguard::DataPolicyTable> data_policies;
};

}  // namespace neap::scheduler
