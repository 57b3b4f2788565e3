// Decides tick by tick what a job with a deadline runs on, from what is known of its zones so far.
//
// The rule: a spot instance is kept while it lasts. Otherwise the choice with the least expected cost to the
// end (DeadlineTable), among those that keep the deadline whatever happens (keeps_deadline). A zone frailer
// or sturdier than usual counts as the usual zone whose spell lasts as long. To wait beside available spot is
// never chosen: where waiting looks best, the spot is taken, which costs less than it gains (the "taking
// risks" rule of Wu et al., "Can't Be Late", NSDI 2024). What runs on-demand is stopped to wait only where
// that saves more than another start costs.
//
// Invariants: a job that on-demand could finish in time at its first decision is never late; the same
// sequence of offers gives the same choices.
//
// Threads: one owner. Cost: a few look-ups a decision; the table is solved anew, in milliseconds, when the
// number of ended spells has grown by `refresh_growth`.
#pragma once

#include <cstddef>
#include <span>

#include "neap/scheduler/deadline.h"
#include "neap/scheduler/deadline_table.h"
#include "neap/scheduler/spot_history.h"

namespace neap::scheduler {

class DeadlinePlanner {
 public:
  struct Options {
    // Bounds time and memory (192 bytes a cell, 288 with several zones): longer jobs are planned in steps of
    // several ticks, first of work, then of slack too.
    std::size_t cells_max = 100'000;
    double refresh_growth = 1.5;
  };

  explicit DeadlinePlanner(const DeadlineJob& job) : DeadlinePlanner(job, Options{}) {}
  DeadlinePlanner(const DeadlineJob& job, Options options) : job_(job), options_(options) {}

  // For another job, in the memory of the one before.
  void restart(const DeadlineJob& job) {
    job_ = job;
    solved_ends_ = -1;
  }

  // `offers` is what `history` observed last. Spot only in a zone that is available.
  Capacity decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers, const SpotHistory& history);

 private:
  static constexpr std::size_t kOctaves = SpotHistory::kOctaves;
  using Place = DeadlineTable::Place;

  void refresh(const DeadlineProgress& now, const SpotHistory& history);
  double cost_of_spot(Place at, double price, std::size_t octave, std::size_t shelter, double frailty) const;
  double cost_of_on_demand(Place at, const DeadlineProgress& now, std::size_t offered, std::size_t shelter,
                           std::size_t drought) const;
  double cost_of_waiting(Place at, std::size_t offered, std::size_t shelter, std::size_t drought) const;

  DeadlineJob job_;
  Options options_;
  double solved_ends_ = -1;
  DeadlineTable table_;
};

}  // namespace neap::scheduler
