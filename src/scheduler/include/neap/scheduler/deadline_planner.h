// Decides tick by tick what a job with a deadline runs on, from what is known of its zones so far.
//
// The rule: a spot instance is kept while it lasts. Otherwise the choice with the least expected cost to the
// end, among those that keep the deadline whatever happens (keeps_deadline). Expected costs come from a
// backward dynamic programme over (work left, slack left, what is held, octave of the age of the zone's
// spell, whether another zone is available) under the chances in a SpotHistory; slack is the time left less
// the work left. A zone frailer or sturdier than usual counts as the usual zone whose spell lasts as long. To
// wait beside available spot is never chosen: where waiting looks best, the spot is taken, which costs less
// than it gains (the "taking risks" rule of Wu et al., "Can't Be Late", NSDI 2024).
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
    // Bounds time and memory (264 bytes a cell): longer jobs are planned in steps of several ticks, first of
    // work, then of slack too.
    std::size_t cells_max = 80'000;
    double refresh_growth = 1.5;
  };

  explicit DeadlinePlanner(const DeadlineJob& job) : DeadlinePlanner(job, Options{}) {}
  DeadlinePlanner(const DeadlineJob& job, Options options) : job_(job), options_(options) {}

  // `offers` is what `history` observed last. Spot only in a zone that is available.
  Capacity decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers, const SpotHistory& history);

 private:
  static constexpr std::size_t kOctaves = SpotHistory::kOctaves;
  static constexpr std::size_t kShelters = SpotHistory::kShelters;
  using ByOctave = SpotHistory::ByOctave;
  using Sheltered = std::array<ByOctave, kShelters>;
  // Expected cost to the end, $, by octave of the spell at hand: a zone's that is available ("offered"),
  // alone or sheltered, or that of no zone available ("alone").
  struct Cell {
    Sheltered spot, demand_offered, idle_offered;
    ByOctave demand_alone, idle_alone;
    std::array<float, kShelters> lost;  // just reclaimed
  };
  // Work left in rows, and the slack left beyond one changeover in columns; below none nothing but on-demand
  // keeps the deadline.
  struct Place {
    double work, room;
  };
  // What a step of some ticks brings to a spell: the chance that it ends, and `goes_on[d]`, the chance that
  // it lasts and is `d` octaves further by then, up to `reach`.
  struct Ageing {
    ByOctave ends{};
    std::array<ByOctave, kOctaves> goes_on{};
    std::size_t reach = 0;
  };
  // `sheltered`: at the end of a step, from alone and from sheltered.
  struct Chances {
    std::array<Ageing, kShelters> offered;
    Ageing drought;
    std::array<float, kShelters> sheltered{};
  };

  void refresh(const DeadlineProgress& now, const SpotHistory& history);
  void solve(double work, double room, const SpotHistory& history);
  void solve_cell(std::size_t work, std::size_t room);
  static Ageing age(const ByOctave& ends_a_tick, std::size_t ticks);
  Chances chances_over(std::size_t ticks, const SpotHistory& history) const;
  static ByOctave next(const ByOctave& of, const Ageing& ageing, float ended);
  ByOctave next(const Sheltered& of, std::size_t shelter, const Chances& chances, float lost) const;
  template <typename Pick>
  double value(Place at, Pick pick) const;
  double cost_of_spot(Place at, double price, std::size_t octave, std::size_t shelter, double frailty) const;
  double cost_of_on_demand(Place at, const DeadlineProgress& now, std::size_t offered, std::size_t shelter,
                           std::size_t drought) const;
  double cost_of_waiting(Place at, std::size_t offered, std::size_t shelter, std::size_t drought) const;

  DeadlineJob job_;
  Options options_;
  double solved_ends_ = -1;
  double row_ = 1, column_ = 1;  // ticks, whole
  std::size_t height_ = 0, width_ = 0;
  double changeover_ = 0;            // columns
  double on_demand_ = 0, spot_ = 0;  // $ a tick
  std::size_t shelters_ = 1;         // 1: there is one zone
  std::size_t refuge_octave_ = 0;
  std::array<float, kShelters> refuge_{};
  Chances per_tick_, per_row_, per_column_;
  std::array<double, kOctaves> rest_{};  // ticks that a spell of this octave still lasts
  std::vector<Cell> cells_;              // row by row of work
};

}  // namespace neap::scheduler
