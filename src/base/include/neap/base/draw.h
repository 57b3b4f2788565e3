// Draws from a seed. No std distribution: those differ between libraries, and a seed must give the same run
// everywhere. For simulation and search; secrets come from crypto.
//
// Threads: none shared; a Draw belongs to one run. Source: SplitMix64, from Steele, Lea, Flood, "Fast
// Splittable Pseudorandom Number Generators", OOPSLA 2014.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace neap {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits();
  // 0 <= result < bound, without bias; bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // 0 <= result < 1.
  double unit();

  template <typename T>
  void shuffle(std::span<T> items) {
    for (std::size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[below(left)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace neap
