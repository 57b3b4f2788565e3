// Where gangs of powers of two go on nodes of 8 accelerators, as Muri's simulator places them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace neap::simulation {

inline constexpr int kNodeGpus = 8;

// Free accelerators of each node.
inline std::vector<int> empty_nodes(int gpus) {
  return std::vector<int>(static_cast<std::size_t>(gpus / kNodeGpus), kNodeGpus);
}

// On the first node with room, wider gangs on wholly free nodes; all of the gang or nothing.
inline bool place_gang(std::vector<int>& free, int gpus) {
  if (gpus <= kNodeGpus) {
    const auto node = std::ranges::find_if(free, [&](int left) { return left >= gpus; });
    if (node == free.end()) return false;
    *node -= gpus;
    return true;
  }
  auto nodes = gpus / kNodeGpus;
  if (std::ranges::count(free, kNodeGpus) < nodes) return false;
  for (auto& left : free)
    if (left == kNodeGpus && nodes > 0) {
      left = 0;
      --nodes;
    }
  return true;
}

}  // namespace neap::simulation
