// Backfill with reservations: a request that does not fit gets the earliest place that running work leaves,
// and what comes after it starts only where it does not delay that.
//
// 1. A reserved request starts no later than its reservation says, as long as running work ends when it was
//    expected to and the cluster keeps its nodes.
// 2. Later work may use what a reservation leaves free, or its place if it has ended before.
// 3. Where the place depends on work whose end nobody knows, the reservation has no time: nothing new takes
//    what it needs, whatever its own estimate. Whoever calls decides how long a request waits until then.
//
// One board is one round: it is filled with what runs, asked in turn, and thrown away. Costs one decide() for
// a place, about log2(running) for a reservation; the first is exact, further ones may be later than
// necessary where many ends lie ahead, never too early. Pure value; threads: none shared. Source: EASY and
// conservative backfilling (Mu'alem, Feitelson, "Utilization, predictability, workloads, and user runtime
// estimates in scheduling the IBM SP2 with backfilling", 2001), by node and device here.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "neap/scheduler/plan.h"
#include "neap/scheduler/scheduler.h"

namespace neap::scheduler {

// Capacity of a node that running work gives back.
struct Release {
  std::string node;
  MilliCores cores;
  Bytes memory;
  // Thousandths, spread evenly over `devices`; without these the most used devices get it back.
  MilliAccelerators accelerators;
  std::vector<std::uint16_t> devices;
  // Absent: nobody knows.
  std::optional<WallTime> ends;
};

// When running work is expected to end: by its estimate, and what has passed that goes on for as long again
// as it is late, at least a minute. Whole minutes, rounded up.
WallTime expected_end(WallTime started, Duration estimate, WallTime now);

struct Reservation {
  std::string request;
  // Absent: when work has ended whose end nobody knows.
  std::optional<WallTime> from;
  // Absent: it states no duration.
  std::optional<WallTime> until;
  std::vector<Placement> placements;
};

class BackfillBoard {
 public:
  // `now`: free capacity without what `releases` hold. `options.now` is the time.
  BackfillBoard(Snapshot now, std::vector<Release> releases, Options options);

  // What differs between the projects that share one board.
  struct ProjectRules {
    std::vector<policy::PolicyRule> rules;
    std::vector<ProjectBudget> budgets;
    std::optional<dataguard::DataPolicyTable> data_policies;
  };
  // Swaps them with the board's, which judges by them from then on.
  void exchange(ProjectRules& rules);
  // Capacity that is free at once: work that is about to end, or would have to.
  void release(const Release& release);

  // Starts it where it delays no reservation; placed, it holds its place from now on. Where it waits for a
  // reservation alone, `pending` names that.
  Decision place(const Request& request);
  // The place that others make room at for it, kept from now on; nobody else is made to in this round.
  void hold(const Request& request, std::vector<Placement> placements);
  // The earliest place; kept from now on. Absent where it fits nowhere even when all has ended.
  std::optional<Reservation> reserve(const Request& request);
  const std::vector<Reservation>& reservations() const { return reservations_; }
  const std::string& currency() const { return now_.prices.currency(); }

 private:
  struct Need {
    ReplicaResources each;
    std::vector<std::size_t> nodes;  // of each placement
  };
  void keep(const Request& request, Reservation reservation);
  // The cluster's free capacity from `at` on for `length` (absent: for ever), reservations taken out.
  Snapshot view(std::optional<WallTime> at, std::optional<Duration> length) const;
  // At one moment; absent is when all has ended.
  std::vector<Node> free_at(std::optional<WallTime> moment) const;
  bool holds_at(const Reservation& reservation, std::optional<WallTime> moment) const;
  Decision decide_one(const Snapshot& world, const Request& request, std::size_t suggestions) const;
  std::size_t find_node(const std::string& name) const;

  Snapshot now_;
  std::vector<Release> releases_;
  Options options_;
  std::vector<Reservation> reservations_;
  std::vector<Need> needs_;  // of reservations_
};

}  // namespace neap::scheduler
