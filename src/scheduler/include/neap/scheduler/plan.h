// The engine's answer. Explanations are data: codes, numbers and one sentence each.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "neap/base/json.h"
#include "neap/scheduler/request.h"

namespace neap::scheduler {

// In the order they are asked; the first that refuses is the reason given.
enum class Guard : std::uint8_t {
  kNone,
  kNodeNotReady,
  kNodeReclaimed,
  kNodeExcluded,
  kNodePinned,
  kNodeSelector,
  kSitePinned,
  kPolicyForbidden,
  kPolicyRequired,
  kPolicyError,
  kDataLevel,
  kDataJurisdiction,
  kDataStrict,
  kDataSites,
  kLatency,
  kInterruption,
  kAcceleratorKind,
  kFitCores,
  kFitMemory,
  kFitAccelerators,
  kTaint,
  kQuota,
  kReserved,
  kBudget,
  kDeadline,
  kGang,
  kTopology,
  kHeldBack,
  kRequest,
};
inline constexpr std::size_t kGuardCount = std::size_t(Guard::kRequest) + 1;
// Stable: "node.not_ready", "data.level", "fit.cores", ...
std::string_view guard_code(Guard guard);

struct Refusal {
  Guard guard = Guard::kNone;
  std::string sentence;
};

// Each part is 0..100 before its weight; `preference` is points from rules as they are.
struct ScoreParts {
  double cost = 0, latency = 0, gravity = 0, fragmentation = 0, utilisation = 0, spread = 0, preference = 0;
  // How much of the node's block is in use; 0 where blocks are not known. Not of gangs, which get a block.
  double topology = 0;
  // See carbon_score(); counts where Weights::carbon or the request asks.
  double carbon = 0;
  double total = 0;
  // For the whole gang; absent where the price book does not know it.
  std::optional<MoneyMicros> cost_per_hour;
  // CO2 equivalent, for the whole gang at full power; absent where the site does not state its intensity.
  std::optional<double> carbon_grams_per_hour;
  MoneyMicros egress_cost;
  double transfer_seconds = 0;
  std::optional<Duration> rtt;
};

struct NodeReason {
  std::string node;
  CapacityType capacity_type = CapacityType::kOwned;
  // One of the two.
  std::optional<Refusal> refusal;
  std::optional<ScoreParts> score;
};

struct SiteReason {
  std::string site;
  Tier tier = Tier::kPrivate;
  bool is_chosen = false;
  // Why no node of the site takes a replica; absent where one does.
  std::optional<Refusal> refusal;
  // Nodes that would take a replica, and nodes refused by guard.
  std::uint32_t nodes_admitted = 0;
  std::array<std::uint32_t, kGuardCount> nodes_refused{};
  // Of the chosen node, or the site's best.
  std::optional<ScoreParts> score;
  // Filled with Options::explains_nodes.
  std::vector<NodeReason> nodes;
};

struct Placement {
  int replica = 0;
  std::string node;
  std::string site;
  CapacityType capacity_type = CapacityType::kOwned;
  // Indices into the node's devices.
  std::vector<std::uint16_t> devices;
};

enum class ChangeKind : std::uint8_t {
  kAddNodes,
  kFreeOnNode,
  kRaiseQueue,
  kRaiseBudget,
  kDropRule,
  kAllowAccelerator,
  kAwaitJobs,
};

// One change to the snapshot, or to the request itself, that admits it; verified by deciding again with it.
struct Change {
  ChangeKind kind = ChangeKind::kAddNodes;
  // kAddNodes: `count` empty copies of the node, with at least the amounts below where such a node is too
  // small, and accelerators of the model `name` where it is given. kFreeOnNode: the amounts more on it.
  // kAwaitJobs: so many jobs of the project end.
  std::string node;
  int count = 0;
  MilliCores cores;
  Bytes memory;
  // kFreeOnNode: whole devices, or one fraction.
  MilliAccelerators accelerators;
  // kRaiseQueue, kRaiseBudget, kDropRule: its name. Queue limits rise by the amounts above.
  // kAllowAccelerator: the model that would do, too. kAwaitJobs: the project.
  std::string name;
  MoneyMicros money;
  std::string sentence;
};

// One gang that makes room.
struct Victim {
  std::string owner;
  int priority = 0;
  // Members that end, and those it may go on with at once (an elastic gang shrinks; 0: it falls whole).
  int members = 0, members_kept = 0;
  double lost_work = 0;
  // For its owner: by whom and why.
  std::string sentence;
};

// A place that becomes free once the victims have ended. It is held: no other request of the plan gets it.
struct Preemption {
  std::vector<Placement> placements;
  std::vector<Victim> victims;
  // Device seconds repeated.
  double lost_work = 0;
  std::string sentence;
};

struct Decision {
  std::string request;
  bool is_placed = false;
  std::vector<Placement> placements;
  // Why it waits; absent where placed.
  std::optional<Refusal> pending;
  // Pending, and others are to make room.
  std::optional<Preemption> preemption;
  // What a budget changes in the request before it is placed; empty: nothing.
  std::string note;
  // Why nobody is made to; empty where it is not a question.
  std::string no_preemption;
  std::vector<SiteReason> sites;
  std::vector<Change> would_fit;
  // Total of the winner (mean over the gang).
  double score = 0;
  std::optional<MoneyMicros> cost_per_hour;
  std::optional<double> carbon_grams_per_hour;
  MoneyMicros egress_cost;
};

struct Plan {
  std::string currency;
  // In the order of the requests given.
  std::vector<Decision> decisions;
};

Json to_json(const Decision& decision, std::string_view currency);
Json to_json(const Plan& plan);
// The Json of one decision in words with numbers; tolerant of members that are absent.
std::string render_explanation(const Json& decision);

}  // namespace neap::scheduler
