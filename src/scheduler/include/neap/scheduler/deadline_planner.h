// Decides tick by tick what a job with a deadline runs on, from what is known of its zones so far.
//
// The rule: a spot instance is kept while it lasts. Otherwise the choice with the least expected cost to the
// end, among those that keep the deadline whatever happens (keeps_deadline). Expected costs come from a
// backward dynamic programme over (work left, slack left, what is held, octave of the age of the zone's
// spell) under the chances in a SpotHistory; slack is the time left less the work left. To wait beside
// available spot is never chosen: where waiting looks best, the spot is taken, which costs less than it gains
// (the "taking risks" rule of Wu et al., "Can't Be Late", NSDI 2024).
//
// Invariants: a job that on-demand could finish in time at its first decision is never late; the same
// sequence of offers gives the same choices.
//
// Threads: one owner. Cost: a few look-ups a decision; the table is solved anew, in milliseconds, when the
// number of ended spells has grown by `refresh_growth`.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "neap/scheduler/deadline.h"
#include "neap/scheduler/spot_history.h"

namespace neap::scheduler {

class DeadlinePlanner {
 public:
  struct Options {
    // Bounds time and memory (164 bytes a cell): longer jobs are planned in steps of several ticks.
    std::size_t cells_max = 80'000;
    double refresh_growth = 1.5;
  };

  explicit DeadlinePlanner(const DeadlineJob& job) : DeadlinePlanner(job, Options{}) {}
  DeadlinePlanner(const DeadlineJob& job, Options options) : job_(job), options_(options) {}

  // `offers` is what `history` observed last. Spot only in a zone that is available.
  Capacity decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers, const SpotHistory& history);

 private:
  static constexpr std::size_t kOctaves = SpotHistory::kOctaves;
  using ByOctave = SpotHistory::ByOctave;
  // Expected cost to the end, $, by octave of the spell at hand: a zone's that is available ("offered") or
  // that of no zone available ("alone").
  struct Cell {
    ByOctave spot, demand_offered, demand_alone, idle_offered, idle_alone;
    float lost;  // just reclaimed
  };
  // In steps: work left, and the slack left beyond one changeover; below none nothing but on-demand keeps the
  // deadline.
  struct Place {
    double work, room;
  };

  void refresh(const DeadlineProgress& now, const SpotHistory& history);
  void solve(double work, double room, const SpotHistory& history);
  void solve_cell(std::size_t work, std::size_t room);
  template <typename Pick>
  double value(Place at, Pick pick) const;
  double cost_of_spot(Place at, double price, std::size_t octave) const;
  double cost_of_on_demand(Place at, const DeadlineProgress& now, std::size_t offered,
                           std::size_t drought) const;
  double cost_of_waiting(Place at, std::size_t offered, std::size_t drought) const;

  DeadlineJob job_;
  Options options_;
  double solved_ends_ = -1;
  double scale_ = 1;  // ticks a step
  std::size_t height_ = 0, width_ = 0;
  double changeover_ = 0;            // steps
  double on_demand_ = 0, spot_ = 0;  // $ a step
  float refuge_ = 0;
  std::size_t refuge_octave_ = 0;
  ByOctave reclaim_{}, returns_{}, grow_{};
  std::array<double, kOctaves> rest_{};  // steps that a spell of this octave still lasts
  std::vector<Cell> cells_;              // row by row of work
};

}  // namespace neap::scheduler
