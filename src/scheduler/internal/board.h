// The working state of one decide(): nodes as structure of arrays, sorted by (site, node), so that the first
// of equal scores is the one the tie-break names.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "neap/scheduler/fragmentation.h"
#include "neap/scheduler/scheduler.h"

namespace neap::scheduler {

inline constexpr float kRefused = -std::numeric_limits<float>::infinity();
inline constexpr std::uint32_t kNowhere = ~std::uint32_t(0);

// Devices of one node beyond this are not used.
inline constexpr std::size_t kDevicesMax = 64;

// Nodes that every guard but fit, selector and per-node rules treats alike.
struct NodeClass {
  std::uint32_t site = 0;
  CapacityType capacity_type = CapacityType::kOwned;
  bool is_ready = true, is_reclaimed = false;
  std::string accelerator_model;
  const std::vector<Taint>* taints = nullptr;
  std::uint32_t model = 0;  // index among Board::models
};

// Accelerator models told apart when fragmentation is measured; the ones beyond count as the last.
inline constexpr std::size_t kModelsMax = 64;

struct Board {
  const Snapshot* snapshot = nullptr;
  // Sorted by name.
  std::vector<const Site*> sites;
  std::vector<std::uint32_t> site_begin;  // sites + 1 entries
  std::unordered_map<std::string, std::uint32_t> site_index;

  std::vector<const Node*> nodes;
  std::vector<std::uint32_t> node_class;
  std::vector<std::int64_t> cores_free, memory_free;
  std::vector<std::uint32_t> device_begin;  // nodes + 1 entries
  std::vector<std::int32_t> device_free;
  std::vector<NodeClass> classes;
  std::vector<std::string> models;
  // Every node whose free capacity changed, in order; readers remember how far they have read.
  std::vector<std::uint32_t> changes;

  std::map<std::string, Queue> queues;
  std::vector<ProjectBudget> budgets;
  // Counts commitments, so that verdicts that read budgets know when they are stale.
  std::uint64_t budget_changes = 0;
  std::unordered_map<std::string, const Link*> links;

  explicit Board(const Snapshot& from);
  const Link* find_link(std::uint32_t from, std::uint32_t to) const;
  std::uint32_t find_site(const std::string& name) const;
  std::span<const std::int32_t> devices(std::uint32_t node) const {
    return {device_free.data() + device_begin[node], device_begin[node + 1] - device_begin[node]};
  }
};

struct ClassVerdict {
  Guard guard = Guard::kNone;
  std::string sentence;
  // The parts that do not depend on the node; total is filled per node.
  ScoreParts parts;
};

struct SiteVerdict {
  std::optional<Refusal> refusal;
  ScoreParts parts;
};

// Everything known about one shape of request; shared by all requests of that shape.
struct Ask {
  Request request;
  std::vector<SiteVerdict> site_verdicts;
  std::vector<ClassVerdict> class_verdicts;
  // By rule, then site: is the site among the rule's target.
  std::vector<std::vector<bool>> targets;
  // Indices of rules that read `node`.
  std::vector<std::uint32_t> node_rules;
  std::vector<float> score;
  std::vector<Guard> guard;
  std::vector<std::uint32_t> admitted;                          // by site
  std::vector<std::array<std::uint32_t, kGuardCount>> refused;  // by site
  std::vector<std::shared_ptr<const Refusal>> site_text;        // by site; null where stale
  std::size_t changes_read = 0;
  std::uint64_t budgets_read = 0;
  bool has_suggestions = false;
  std::vector<Change> suggestions;
};

struct Context {
  const Options* options = nullptr;
  Board* board = nullptr;
  // What choices of node and device leave unused in the long run.
  std::optional<StrandingTable> stranding;
};

// guards.cc
void fill_verdicts(const Context& context, Ask& ask);
Guard check_node(const Context& context, const Ask& ask, std::uint32_t node);
// Points from rules that read `node`.
double node_preference(const Context& context, const Ask& ask, std::uint32_t node);
std::string explain_node(const Context& context, const Ask& ask, std::uint32_t node, Guard guard);
std::optional<Refusal> check_quota(const Board& board, const Request& request);
std::optional<Refusal> check_request(const Board& board, const Request& request);
double transfer_seconds(const Board& board, const Request& request, std::uint32_t site,
                        MoneyMicros& egress_cost);

// scoring.cc
ScoreParts score_node(const Context& context, const Ask& ask, std::uint32_t node);
StrandingTable make_stranding_table(const Board& board, std::span<const Request> requests);
// The devices a replica takes on a node where it fits.
std::vector<std::uint16_t> choose_devices(const Context& context, std::uint32_t node,
                                          const ReplicaResources& each);
bool fits_devices(std::span<const std::int32_t> free, std::int64_t asked);

// suggest.cc
std::vector<Change> suggest_changes(const Context& context, const Snapshot& now, const Request& request,
                                    const Decision& decision);

// explain.cc
std::string cores_text(std::int64_t millicores);
std::string gib_text(std::int64_t bytes);
std::string accelerators_text(std::int64_t milli);

}  // namespace neap::scheduler
