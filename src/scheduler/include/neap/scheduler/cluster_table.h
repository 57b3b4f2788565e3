// Folds inventory and allocation events into a snapshot, one node at a time.
//
// Invariants: (1) free = allocatable - allocations on that node, never below zero; (2) events of one thing
// may repeat or arrive before the thing they refer to: the snapshot depends on the last event of each, not on
// their order; (3) queue usage is the sum over its allocations, whether or not their node is known.
//
// Thread safety: none; its owner's executor only.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "neap/scheduler/snapshot.h"

namespace neap::scheduler {

class ClusterTable {
 public:
  // `node.*_free` is ignored: what is free follows from the allocations.
  void upsert_node(Node node);
  void remove_node(const std::string& name);
  // Allocations that hold resources (Reserved to Draining).
  void upsert_allocation(Allocation allocation);
  void remove_allocation(const std::string& name);

  void upsert_site(Site site);
  void remove_site(const std::string& name);
  // Keyed by (from, to).
  void upsert_link(Link link);
  // `*_used` is ignored.
  void upsert_queue(Queue queue);
  void set_rules(std::vector<policy::PolicyRule> rules) { snapshot_.rules = std::move(rules); }
  void set_budgets(std::vector<ProjectBudget> budgets) { snapshot_.budgets = std::move(budgets); }
  void set_prices(finops::PriceBook prices) { snapshot_.prices = std::move(prices); }

  const Snapshot& snapshot() const { return snapshot_; }
  const Allocation* find_allocation(const std::string& name) const;
  std::size_t allocation_count() const { return allocations_.size(); }

 private:
  void refresh_node(const std::string& name);
  void charge_queue(const Allocation& allocation, int sign);

  Snapshot snapshot_;
  std::unordered_map<std::string, std::size_t> node_at_;
  std::unordered_map<std::string, Allocation> allocations_;
  std::unordered_map<std::string, std::set<std::string>> allocations_on_;
  std::map<std::string, Queue> usage_;
};

}  // namespace neap::scheduler
