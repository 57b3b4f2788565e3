// Curves of a run of any length in bounded memory: means over equal buckets of time, two buckets becoming one
// whenever there are too many.
//
// Threads: none; one run.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "neap/simulation/run.h"

namespace neap::simulation {

class SeriesRecorder {
 public:
  static constexpr std::size_t kBucketsMax = 1024;
  static constexpr std::size_t kCurves = 6;
  using Values = std::array<double, kCurves>;

  // The values held since the last call.
  void advance(std::int64_t now_ms, const Values& values);
  // In the order own used, own capacity, rented used (thousandths), waiting, wanted, running.
  std::vector<SeriesPoint> points() const;

 private:
  void halve();

  std::int64_t width_ms_ = 60'000, now_ms_ = 0;
  std::vector<Values> sums_;  // value times milliseconds
};

}  // namespace neap::simulation
