// What is said of many runs.
//
// Threads: pure functions.
#pragma once

#include <span>

#include "neap/base/draw.h"

namespace neap::simulation {

using neap::Draw;

// 0 where there are none.
double mean(std::span<const double> values);
// Of a sample (n - 1); 0 below two values.
double standard_deviation(std::span<const double> values);

}  // namespace neap::simulation
