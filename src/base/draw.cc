#include "neap/base/draw.h"

namespace neap {

std::uint64_t Draw::bits() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

std::uint64_t Draw::below(std::uint64_t bound) {
  const std::uint64_t unfair =
      (0 - bound) % bound;  // the lowest draws, which would make some results more likely
  for (;;)
    if (const auto drawn = bits(); drawn >= unfair) return drawn % bound;
}

double Draw::unit() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

}  // namespace neap
