// RunQueues: the Queue documents of a scenario during a run: what each holds in the tree that the server
// decides by, who waits in it, and what the report says of it.
//
// Invariant, checked whenever work starts: no queue, nor one above it, holds more than its quota and what it
// may borrow; counted beside the tree. Threads: none; one run.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "internal/run_state.h"
#include "neap/scheduler/queue_documents.h"
#include "neap/simulation/run.h"

namespace neap::simulation {

class RunQueues {
 public:
  explicit RunQueues(const Scenario& scenario);

  // Without a Queue document nothing below is asked.
  bool are_used() const { return !queues_.empty(); }
  const scheduler::ShareTree& tree() const { return tree_; }
  const std::map<std::string, scheduler::TurnRules, std::less<>>& rules() const { return rules_; }
  scheduler::Amounts amounts_of(const Work& work) const;

  void enter(const std::string& queue, const Work& work, int priority, std::uint32_t index);
  void leave(const std::string& queue, const Work& work, int priority, std::uint32_t index);
  // The first of each queue, in an order near to that of turns.
  std::vector<std::uint32_t> first(std::int64_t of_each) const;

  // Refuses what passes a limit: `simulation.invariant`.
  Status charge(const std::string& queue, const Work& work);
  void release(const std::string& queue, const Work& work);
  void advance(std::int64_t now_ms);

  QueueReport& tally(const std::string& queue) { return counts_[queue].report; }
  void count_wait(const std::string& queue, double seconds, bool is_waiting);
  void report(RunReport& out);

 private:
  using LineKey = std::tuple<std::int64_t, std::int64_t, std::uint32_t>;
  struct Count {
    QueueReport report;
    scheduler::Amounts held;  // by it and those under it
    double accelerators_ms = 0, borrowed_ms = 0, share_ms = 0;
    std::vector<double> waits_s;
    std::set<LineKey> line;
    bool has_children = false;
  };
  LineKey key_of(const std::string& queue, const Work& work, int priority, std::uint32_t index) const;

  std::map<std::string, const api::Queue*, std::less<>> queues_;
  scheduler::ShareTree tree_;
  std::map<std::string, scheduler::TurnRules, std::less<>> rules_;
  std::map<std::string, Count> counts_;  // "" is of work in no queue
  std::int64_t now_ms_ = 0;
};

}  // namespace neap::simulation
