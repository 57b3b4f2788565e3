// Durations in buckets of an eighth of a power of two: quantiles within 12.5 % in 1.3 kB.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "neap/base/time.h"

namespace neap::inference {

class LatencyHistogram {
 public:
  void add(Duration duration) {
    ++buckets_[bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)))];
    ++count_;
  }
  // Upper bound of the bucket that holds the quantile; 0 when empty.
  Duration quantile(double q) const {
    std::uint64_t left = static_cast<std::uint64_t>(q * static_cast<double>(count_));
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i] > left) return Duration(static_cast<std::int64_t>(upper_bound(i)));
      left -= buckets_[i];
    }
    return Duration(0);
  }

 private:
  static constexpr unsigned kPowers = 40;  // up to 18 minutes
  static std::size_t bucket_of(std::uint64_t ns) {
    if (ns < 8) return 0;
    const auto power = static_cast<unsigned>(std::bit_width(ns)) - 1;
    const std::size_t index = (power - 3) * 8 + ((ns >> (power - 3)) & 7) + 1;
    return std::min<std::size_t>(index, kPowers * 8 - 1);
  }
  static std::uint64_t upper_bound(std::size_t index) {
    if (index == 0) return 8;
    const std::size_t power = (index - 1) / 8;
    return (8 + (index - 1) % 8 + 1) << power;
  }

  std::array<std::uint32_t, kPowers * 8> buckets_{};
  std::uint64_t count_ = 0;
};

}  // namespace neap::inference
