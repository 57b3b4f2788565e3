// Generated windows of spot availability, of twenty kinds: what a policy that was developed on recorded
// windows does where nothing was recorded.
//
// Zones come and go in spells whose lengths follow one of six laws (exponential; lognormal, Weibull and
// Pareto with heavy tails; a mixture of short and long; nearly regular), another law for absence than for
// availability, at four shares of availability and three mean lengths of a cycle, with one to four zones; in
// some kinds the share changes in the middle. The kinds are a grid set down once, not picked by results.
//
// Threads: pure; the same seed gives the same worlds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "neap/simulation/spot.h"

namespace neap::simulation {

struct SpotWorld {
  std::string name;
  SpotTerms terms;
  std::vector<SpotWindow> windows;
};

// Twenty worlds of so many windows each.
std::vector<SpotWorld> make_spot_worlds(std::uint64_t seed, std::size_t windows);

}  // namespace neap::simulation
