#include "internal/series.h"

#include <algorithm>

namespace neap::simulation {

void SeriesRecorder::halve() {
  for (std::size_t i = 0; i < sums_.size(); i += 2) {
    auto sum = sums_[i];
    if (i + 1 < sums_.size())
      for (std::size_t c = 0; c < kCurves; ++c) sum[c] += sums_[i + 1][c];
    sums_[i / 2] = sum;
  }
  sums_.resize((sums_.size() + 1) / 2);
  width_ms_ *= 2;
}

void SeriesRecorder::advance(std::int64_t now_ms, const Values& values) {
  while (now_ms_ < now_ms) {
    auto bucket = std::size_t(now_ms_ / width_ms_);
    while (std::size_t((now_ms - 1) / width_ms_) >= kBucketsMax) {
      halve();
      bucket = std::size_t(now_ms_ / width_ms_);
    }
    if (bucket >= sums_.size()) sums_.resize(bucket + 1);
    const auto until = std::min(now_ms, std::int64_t(bucket + 1) * width_ms_);
    for (std::size_t c = 0; c < kCurves; ++c) sums_[bucket][c] += values[c] * double(until - now_ms_);
    now_ms_ = until;
  }
}

std::vector<SeriesPoint> SeriesRecorder::points() const {
  std::vector<SeriesPoint> out;
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const auto begin = std::int64_t(i) * width_ms_;
    const double held = double(std::min(now_ms_, begin + width_ms_) - begin);
    if (held <= 0) break;
    const auto& sum = sums_[i];
    out.push_back({.at_h = double(begin) / double(kHourMs),
                   .own_used = sum[0] / held / 1000,
                   .own_capacity = sum[1] / held / 1000,
                   .rented_used = sum[2] / held / 1000,
                   .waiting = sum[3] / held,
                   .replicas_wanted = sum[4] / held,
                   .replicas_running = sum[5] / held});
  }
  return out;
}

}  // namespace neap::simulation
