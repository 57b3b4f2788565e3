// One run of decide(): a board, what is known of each shape of request, and commitments as they are made.
//
// decide.cc: the order of requests. engine.cc: single replicas, reasons, money. gangs.cc: gangs and topology.
// preempt.cc: who makes room.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "internal/board.h"

namespace neap::scheduler {

struct Taken {
  std::uint32_t node = 0;
  std::vector<std::uint16_t> devices;
};

// Where replicas may go: a run of nodes, or a list where a domain is no run.
struct Scope {
  std::uint32_t begin = 0, end = 0;
  const std::vector<std::uint32_t>* list = nullptr;
};

// So many replicas within one scope.
struct Share {
  Scope scope;
  int replicas = 0;
};

struct Attempt {
  std::vector<Taken> taken;
  double score = 0;
  bool is_complete = false;
};

// The running work of a snapshot, by node.
struct Occupancy {
  struct Member {
    std::uint32_t gang = 0, member = 0;
  };
  std::vector<double> lost;          // by gang
  std::vector<bool> is_gone;         // by gang: a victim already
  std::vector<std::uint32_t> at;     // by member of all gangs: its node, kNowhere where that takes no part
  std::vector<std::uint32_t> from;   // gangs + 1 entries into `at`
  std::vector<std::uint32_t> begin;  // nodes + 1 entries
  std::vector<Member> on;
};

class Engine {
 public:
  Engine(const Snapshot& snapshot, std::span<const Request> requests, const Options& options);
  Decision place(const Request& asked);

 private:
  // engine.cc
  Ask& ask_for(const Request& request);
  void reset_nodes(Ask& ask);
  void refresh_budgets(Ask& ask);
  void sync(Ask& ask);
  Guard evaluate(Ask& ask, std::uint32_t n);
  void count(Ask& ask, std::uint32_t n, std::uint32_t step);
  void set_score(Ask& ask, std::uint32_t n, float score);
  void refresh_chunk(Ask& ask, std::uint32_t chunk);
  float packing_bonus(std::uint32_t node) const;
  std::uint32_t best_in(const Ask& ask, const Scope& scope) const;
  std::uint32_t best_of_site(const Ask& ask, std::uint32_t site, float& score) const;
  Taken take(const ReplicaResources& each, std::uint32_t n);
  void apply(const ReplicaResources& each, const Taken& taken, int sign);
  void undo(const Ask& ask, const std::vector<Taken>& taken);
  std::vector<Taken> place_single(Ask& ask, Decision& decision);
  void explain_sites(Ask& ask, Decision& decision);
  Refusal explain_refused_site(const Ask& ask, std::uint32_t s);
  void explain_nodes(const Ask& ask, std::uint32_t s, SiteReason& reason);
  std::optional<Refusal> settle(const Ask& ask, Decision& decision, const std::vector<Taken>& taken,
                                std::vector<Placement>& placements, std::vector<bool>& sites);
  bool finish(Ask& ask, Decision& decision, std::vector<Taken>& taken);
  void suggest(Ask& ask, const Request& request, Decision& decision);
  Snapshot current_snapshot() const;

  // gangs.cc
  Attempt attempt(Ask& ask, const Scope& scope, int replicas);
  Attempt attempt_shares(Ask& ask, const std::vector<Share>& shares);
  Scope scope_of(TopologyLevel level, std::uint32_t domain) const;
  Scope scope_of_site(std::uint32_t site) const;
  // Empty with `refusal` set where the topology asked for cannot be had at the site.
  std::vector<Share> plan_shares(const Ask& ask, std::uint32_t site, int least, int most,
                                 Refusal& refusal) const;
  std::vector<Share> plan_slices(const Ask& ask, std::uint32_t site, TopologyLevel level, int slice,
                                 int slices) const;
  std::vector<Taken> place_gang(Ask& ask, Decision& decision);
  std::vector<Taken> place_spread(Ask& ask, Decision& decision);
  int most_by_quota(const Request& request, int least) const;

  // preempt.cc
  struct Search;
  void fill_occupancy();
  bool may_fall(const Request& request, std::uint32_t gang) const;
  void try_preempt(Ask& ask, Decision& decision);
  std::vector<std::uint32_t> cheapest_on_node(const Ask& ask, std::uint32_t n);
  std::vector<std::uint32_t> cheapest_single(Ask& ask, std::uint32_t& at);
  std::vector<std::uint32_t> cheapest_for_gang(Ask& ask, std::uint32_t& site);
  void move_members(std::uint32_t gang, int sign);
  void place_on_freed(Ask& ask, Decision& decision, std::vector<Share> shares, std::uint32_t site,
                      std::vector<std::uint32_t> victims);

  Board board_;
  Options options_;
  Context context_;
  std::unordered_map<std::string, std::unique_ptr<Ask>> asks_;
  std::vector<std::uint32_t> best_of_site_;
  std::size_t suggestions_made_ = 0;
  std::unique_ptr<Occupancy> occupancy_;
};

// What a placed request takes from queues and budgets; true where a budget changed.
bool charge(std::map<std::string, Queue>& queues, std::vector<ProjectBudget>& budgets, const Request& request,
            const Decision& decision);
MoneyMicros compute_cost(const Request& request, const Decision& decision, Duration open_ended);
std::string shape_of(const Request& request);

}  // namespace neap::scheduler
