// RunWorld: nodes and what is held of them during a run, in the table that builds production's snapshots and
// in a second count that must agree.
//
// Invariants: (1) no device, core or byte beyond a node's own is held; (2) what is held of a node that is not
// ready is released before it is held again. Threads: none; one run.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "neap/scheduler/cluster_table.h"
#include "neap/scheduler/fragmentation.h"
#include "neap/scheduler/plan.h"
#include "neap/simulation/run.h"

namespace neap::simulation {

struct Held {
  std::uint32_t node = 0;
  std::vector<std::uint16_t> devices;
};

class RunWorld {
 public:
  explicit RunWorld(const Scenario& scenario);

  scheduler::ClusterTable& table() { return table_; }
  const scheduler::Snapshot& snapshot() const { return table_.snapshot(); }
  const scheduler::Node& node(std::uint32_t index) const { return scenario_.nodes[index].node; }
  const PoolTerms& pool(std::uint32_t node) const { return scenario_.pools[scenario_.nodes[node].pool]; }
  std::uint32_t index_of(const std::string& node) const { return index_.at(node); }
  bool is_rented(std::uint32_t node) const;
  bool is_empty(std::uint32_t node) const { return holders_[node] == 0; }
  bool is_ready(std::uint32_t node) const { return is_ready_[node]; }

  // Whether hold() would take all of them; no device is named twice.
  bool can_hold(const scheduler::ReplicaResources& each, std::span<const scheduler::Placement> places) const;
  // `name` is the allocation's. Refuses what the node does not have: `simulation.invariant`.
  Result<Held> hold(const std::string& name, const scheduler::Request& request,
                    const scheduler::Placement& place);
  void release(const std::string& name, const scheduler::ReplicaResources& each, const Held& held);
  // Not ready: nothing new; what runs there is the caller's to end.
  void set_ready(std::uint32_t node, bool is_ready, bool is_reclaimed = false);

  // Adds the time since the last call to the means.
  void advance(std::int64_t now_ms);
  std::int64_t own_used() const { return own_used_; }
  std::int64_t own_capacity() const { return own_capacity_; }
  std::int64_t rented_used() const { return rented_used_; }
  void report(RunReport& out) const;

 private:
  void count_use(std::uint32_t node, std::int64_t cores, std::int64_t milli);
  void refresh_fragments(std::uint32_t node);

  const Scenario& scenario_;
  scheduler::ClusterTable table_;
  std::map<std::string, std::uint32_t> index_;
  std::vector<std::uint32_t> site_;  // of a node
  std::vector<std::string> site_names_;
  std::vector<std::int64_t> cores_, memory_;
  std::vector<std::vector<std::int32_t>> devices_;
  std::vector<std::uint32_t> holders_;
  std::vector<char> is_ready_;
  std::map<std::string, std::uint32_t, std::less<>> models_;
  std::optional<scheduler::FragmentationTable> fragmentation_;
  std::vector<double> fragments_;

  std::int64_t now_ms_ = 0;
  std::int64_t own_used_ = 0, own_capacity_ = 0, rented_used_ = 0, cores_used_ = 0, cores_capacity_ = 0;
  double fragments_sum_ = 0;
  std::vector<std::int64_t> site_used_, site_capacity_;
  // Integrals over time, in thousandths times milliseconds.
  double own_used_ms_ = 0, own_capacity_ms_ = 0, rented_used_ms_ = 0, cores_used_ms_ = 0,
         cores_capacity_ms_ = 0, fragments_ms_ = 0;
  std::vector<double> site_used_ms_, site_capacity_ms_;
};

}  // namespace neap::simulation
