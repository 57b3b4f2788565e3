// Expected costs to the end of a job with a deadline, over all that may still become of it: a backward
// dynamic programme over (work left, slack left, what is held, octave of the age of the zone's spell, whether
// another zone is available) under the chances in a SpotHistory.
//
// Slack is the time left less the work left. The costs of a state for all octaves are one vector of eight
// floats, and every step of the programme is a few operations on such vectors, in the same order on every
// processor, so that the table does not depend on the machine.
//
// Threads: one owner. Cost: a few ns a cell (solve).
#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

#include "neap/scheduler/deadline.h"
#include "neap/scheduler/spot_history.h"

namespace neap::scheduler {

class DeadlineTable {
 public:
  static constexpr std::size_t kOctaves = SpotHistory::kOctaves;
  static constexpr std::size_t kShelters = SpotHistory::kShelters;
  // More than any job costs, and not so much that a sum loses the rest.
  static constexpr float kForbidden = 1e9F;

  using Octaves = float __attribute__((vector_size(kOctaves * sizeof(float))));

  // Expected cost to the end, $, by octave of the spell at hand: a zone's that is available ("offered"),
  // alone or sheltered, or that of no zone available ("alone"). `Shelters` is 1 where there is one zone.
  template <std::size_t Shelters>
  struct Cell {
    Octaves spot[Shelters], demand_offered[Shelters], idle_offered[Shelters], demand_alone, idle_alone;
    float lost[Shelters];  // just reclaimed
  };
  // Work left in rows, and the slack left beyond one changeover in columns; below none nothing but on-demand
  // keeps the deadline.
  struct Place {
    double work, room;
  };
  // What a step of some ticks brings to a spell: the chance that it ends, the share of the step that is then
  // to be expected after the end (`unspent`: chance times share), and `goes_on[d]`, the chance that it lasts
  // and is `d` octaves further by then, up to `reach`.
  struct Ageing {
    Octaves ends{}, unspent{}, goes_on[kOctaves] = {};
    std::size_t reach = 0;
  };
  // `sheltered`: at the end of a step, from alone and from sheltered.
  struct Chances {
    Ageing offered[kShelters], drought;
    float sheltered[kShelters] = {};
  };

  // For a job with so much work and room left, both in ticks; at most about `cells_max` cells: longer jobs
  // are planned in steps of several ticks, first of work, then of slack too.
  void solve(const DeadlineJob& job, double work, double room, const SpotHistory& history,
             std::size_t cells_max);

  // Ticks, whole.
  double row() const { return row_; }
  double column() const { return column_; }
  // Columns.
  double changeover() const { return changeover_; }
  // $ a tick.
  double on_demand() const { return on_demand_; }
  double spot() const { return spot_; }
  const Chances& per_tick() const { return per_tick_; }
  const Chances& per_column() const { return per_column_; }
  // Where a zone of this shelter is lost: the chance that another is available, and the octave of that one.
  double refuge(std::size_t shelter) const { return refuge_[shelter]; }
  std::size_t refuge_octave() const { return refuge_octave_; }
  // Ticks that a usual spell of this octave still lasts.
  double rest(std::size_t octave) const { return rest_[octave]; }

  // `pick` of the cells around a place, interpolated.
  template <typename Pick>
  double value(Place at, Pick pick) const {
    return shelters_ == 1 ? value(alone_, at, pick) : value(sheltered_, at, pick);
  }

 private:
  struct Sweep;

  template <std::size_t Shelters>
  void sweep(std::vector<Cell<Shelters>>& cells);
  static Ageing age(const SpotHistory::ByOctave& ends_a_tick, std::size_t ticks);
  Chances chances_over(std::size_t ticks, const SpotHistory& history) const;

  template <typename Cells, typename Pick>
  double value(const Cells& cells, Place at, Pick pick) const {
    if (at.work <= 0) return 0;
    const double y = at.work < static_cast<double>(height_ - 1) ? at.work : static_cast<double>(height_ - 1);
    const double last = static_cast<double>(width_ - 1);
    const double x = at.room <= 0 ? 0 : at.room < last ? at.room : last;
    const auto i = static_cast<std::size_t>(y), j = static_cast<std::size_t>(x);
    const double fy = y - static_cast<double>(i), fx = x - static_cast<double>(j);
    const auto along = [&](std::size_t line) {
      const auto* cell = cells.data() + line * width_;
      return (1 - fx) * pick(cell[j]) + fx * pick(cell[j + 1 < width_ ? j + 1 : j]);
    };
    return (1 - fy) * along(i) + fy * along(i + 1 < height_ ? i + 1 : i);
  }

  double row_ = 1, column_ = 1;
  std::size_t height_ = 0, width_ = 0;
  double changeover_ = 0, on_demand_ = 0, spot_ = 0;
  std::size_t shelters_ = 1, refuge_octave_ = 0;
  float refuge_[kShelters] = {};
  Chances per_tick_, per_row_, per_column_;
  double rest_[kOctaves] = {};
  std::vector<Cell<1>> alone_;  // row by row of work; one of the two is used
  std::vector<Cell<kShelters>> sheltered_;
};

}  // namespace neap::scheduler
