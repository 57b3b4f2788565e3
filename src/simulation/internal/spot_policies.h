// The yardsticks that are dynamic programmes, and what they share.
//
// Both count a job's state as time lost: seconds passed less seconds of work done. Neither running on nor
// finishing changes it, a deadline bounds it, and it moves in steps of the common divisor of tick and
// changeover, so the tables are exact and small.
#pragma once

#include <cstdint>
#include <memory>

#include "neap/simulation/spot.h"

namespace neap::simulation {

struct LossGrid {
  std::int64_t tick_s, unit_s;
  std::int64_t ticks;     // whole ticks until the deadline
  std::int64_t tick;      // units of a tick
  std::int64_t work;      // units of work, rounded up
  std::int64_t change;    // units of a changeover
  std::int64_t loss_max;  // units that may be lost; negative: the deadline cannot be met

  LossGrid(const SpotTerms& terms, std::int64_t tick_s);
  // Work is done when `tick` ticks have passed with `loss` units lost.
  bool is_done(std::int64_t at, std::int64_t loss) const { return at * tick - loss >= work; }
};

// Refuses tables that would not fit into memory.
Status check_exact_size(const SpotTerms& terms, std::int64_t tick_s, std::size_t zones);

std::unique_ptr<SpotPolicy> make_markov_policy(const SpotRates& rates, double spot_price);

}  // namespace neap::simulation
