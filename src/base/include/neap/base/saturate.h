// Arithmetic on numbers that people or peers wrote: what does not fit 64 bits stays at the end of the range,
// so that an absurd amount compares as very large instead of wrapping round to a small or negative one.
// Sums of money and usage are not for these: they refuse (finops).
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace neap {

constexpr std::int64_t add_saturated(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (!__builtin_add_overflow(a, b, &out)) return out;
  return a < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
}

constexpr std::int64_t subtract_saturated(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (!__builtin_sub_overflow(a, b, &out)) return out;
  return a < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
}

constexpr std::int64_t multiply_saturated(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (!__builtin_mul_overflow(a, b, &out)) return out;
  return (a < 0) != (b < 0) ? std::numeric_limits<std::int64_t>::min()
                            : std::numeric_limits<std::int64_t>::max();
}

// The whole part, within `low` and `high`; `low` where it is no number.
inline std::int64_t whole_within(double value, std::int64_t low, std::int64_t high) {
  if (!(value > double(low))) return low;
  return value >= double(high) ? high : std::int64_t(value);
}

}  // namespace neap
