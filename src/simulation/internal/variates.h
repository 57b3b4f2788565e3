// Random variates from a seed, and the load curves of a day.
//
// Threads: as Draw. Sources: Box and Muller 1958 (normal); Lewis and Shedler 1979 (thinning).
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "neap/base/draw.h"

namespace neap::simulation {

inline double draw_exponential(Draw& draw, double mean) { return -mean * std::log1p(-draw.unit()); }

inline double draw_normal(Draw& draw) {
  const double radius = std::sqrt(-2 * std::log1p(-draw.unit()));
  return radius * std::cos(2 * std::numbers::pi * draw.unit());
}

// From 1 at `peak_hour` down to 1 / `peak_to_trough` twelve hours later, a cosine between; `hour` of the day.
inline double day_level(double hour, double peak_hour, double peak_to_trough) {
  const double low = 1 / peak_to_trough;
  return low + (1 - low) * (1 + std::cos(2 * std::numbers::pi * (hour - peak_hour) / 24)) / 2;
}

}  // namespace neap::simulation
