// The working state of one decide(): nodes as structure of arrays, sorted by (site, block, node), so that the
// first of equal scores is the one the tie-break names, and a block is a run of neighbours.
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

// Nodes that share an island, a rack or a block.
struct Domain {
  std::string_view name;
  std::uint32_t site = 0;
  std::vector<std::uint32_t> nodes;
};

// Up to so many neighbouring nodes of one site and block remember their best score together.
inline constexpr std::uint32_t kChunkNodes = 64;

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
  // By level; empty where no node says in which domain it is. Nodes outside any: kNowhere.
  std::array<std::vector<std::uint32_t>, kTopologyLevels> domain_of;
  std::array<std::vector<Domain>, kTopologyLevels> domains;
  // Chunks never cross a site or a block.
  std::vector<std::uint32_t> chunk_of;          // by node
  std::vector<std::uint32_t> chunk_begin;       // chunks + 1 entries
  std::vector<std::uint32_t> site_chunk_begin;  // sites + 1 entries
  // Of each block: accelerators that are free and that there are, in thousandths; cores where it has none.
  std::vector<std::int64_t> block_free, block_all;
  // Every node whose free capacity changed, in order; readers remember how far they have read.
  std::vector<std::uint32_t> changes;

  std::map<std::string, Queue> queues;
  std::vector<ProjectBudget> budgets;
  // Counts commitments, so that verdicts that read budgets know when they are stale.
  std::uint64_t budget_changes = 0;
  std::unordered_map<std::string, const Link*> links;

  explicit Board(const Snapshot& from);
  // Racks and blocks are known from the start, islands once they are asked for.
  void fill_level(TopologyLevel level);
  void fill_chunks();
  std::int64_t block_units(std::uint32_t node) const;
  // 0..1 in use; 0 for nodes of no known block.
  double block_used(std::uint32_t node) const;
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
  // Nothing but the model of its accelerators refuses it.
  bool lacks_only_model = false;
  // Why only the cheapest accelerator is used from now on; empty where any is.
  std::string cheapest_only;

  // The first refusal in guard order wins; a later, earlier-ordered one replaces it.
  void refuse(Guard by, std::string why) {
    if (guard != Guard::kNone && guard <= by) return;
    guard = by;
    sentence = std::move(why);
  }
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
  // Of gangs: replicas that the node still takes, by node, site, and domain of each level.
  std::vector<std::uint32_t> slots;
  std::vector<std::uint64_t> site_slots;
  std::array<std::vector<std::uint64_t>, kTopologyLevels> domain_slots;
  std::vector<std::uint32_t> chunk_best;  // node of the best score; kNowhere where all are refused
  std::vector<std::uint32_t> admitted;    // by site
  std::vector<std::array<std::uint32_t, kGuardCount>> refused;  // by site
  std::vector<std::shared_ptr<const Refusal>> site_text;        // by site; null where stale
  std::size_t changes_read = 0;
  // By node: lost work of the cheapest victims, and what decides between equal ones; filled once it is
  // needed.
  std::vector<double> evict_lost;
  std::vector<std::pair<int, std::int64_t>> evict_tie;
  std::size_t evict_read = 0;
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
std::optional<Refusal> check_quota(const Board& board, const Request& request, int replicas);
std::optional<Refusal> check_request(const Board& board, const Request& request);
double transfer_seconds(const Board& board, const Request& request, std::uint32_t site,
                        MoneyMicros& egress_cost);

// budget_guards.cc
// The request as small as the ladders of its project's budgets let it start now, and why; absent: as it is.
std::optional<Request> lower_to_budget(const Board& board, const Request& request, std::string& note);
void check_budgets(const Board& board, const Request& request, const NodeClass& cls, ClassVerdict& verdict);
void keep_to_cheapest_accelerator(const Context& context, Ask& ask);
// One more job of its project holds a place; false where no budget counts it.
bool count_job(std::vector<ProjectBudget>& budgets, const Request& request);

// scoring.cc
ScoreParts score_node(const Context& context, const Ask& ask, std::uint32_t node);
StrandingTable make_stranding_table(const Board& board, std::span<const Request> requests);
// The devices a replica takes on a node where it fits.
std::vector<std::uint16_t> choose_devices(const Context& context, std::uint32_t node,
                                          const ReplicaResources& each);
// Replicas that fit into what is free, whatever the guards say.
std::uint32_t count_slots(const Board& board, const ReplicaResources& each, std::uint32_t node);
bool fits_devices(std::span<const std::int32_t> free, std::int64_t asked);

// suggest.cc
std::vector<Change> suggest_changes(const Context& context, const Ask& ask, const Snapshot& now,
                                    const Request& request, const Decision& decision);

// explain.cc
std::string cores_text(std::int64_t millicores);
std::string gib_text(std::int64_t bytes);
std::string accelerators_text(std::int64_t milli);

}  // namespace neap::scheduler
