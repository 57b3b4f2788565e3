// Muri-L, the published rule that shares accelerators and knows no durations: the yardstick of its class.
//
// Least attained service (wall time while running x accelerators) picks four candidates for each place of
// their size; rounds of matching by how busy a group keeps its four resources halve them until they fit; who
// gains nothing by sharing is taken out again. Pure function; threads: none shared. Limits: the published
// matching is Blossom's; here pairs are taken greedily and improved by exchanges, and ties differ, so
// averages are within 4 % of the published ones, not equal to them. Source: Zhao et al., "Multi-Resource
// Interleaving for Deep Learning Training" (Muri), SIGCOMM 2022, and its simulator.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "neap/scheduler/interleave.h"

namespace neap::simulation {

struct MuriJob {
  int gpus = 1;          // a power of two
  double running_s = 0;  // wall time it held its accelerators, shared or not
  int profile = 0;       // index into `profiles`
};

// Groups of indices, for nodes of 8 accelerators; those that come first fit.
std::vector<std::vector<std::size_t>> choose_muri_l(std::span<const MuriJob> jobs, int gpus,
                                                    std::span<const scheduler::StageProfile> profiles,
                                                    scheduler::Interleaving& interleaving);

}  // namespace neap::simulation
