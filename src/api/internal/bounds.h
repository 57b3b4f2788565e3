// How far values of any kind may go, so that the sums and products that controllers and the scheduler make
// of them stay within 64 bits. At the border what lies outside is refused; what was stored before is read as
// the nearest value inside.
//
// A time plus a duration stays within what WallTime holds (1678 to 2261), and so do the difference of two
// times and the sum of two durations. A gang of the most members (100,000), each of the most cores or
// accelerators, stays below 2^57; of memory it does not, and who multiplies it saturates.
#pragma once

#include "neap/base/quantity.h"
#include "neap/base/time.h"

namespace neap::api::internal {

inline constexpr WallTime kTimeMin = std::chrono::sys_days{std::chrono::year{1970} / 1 / 1};
inline constexpr WallTime kTimeMax = std::chrono::sys_days{std::chrono::year{2150} / 1 / 1};
// A hundred years.
inline constexpr Duration kDurationMax = std::chrono::hours(876'000);
// 1 Ei.
inline constexpr std::int64_t kBytesMax = std::int64_t(1) << 60;
// Thousandths: of a thousand million cores or accelerators.
inline constexpr std::int64_t kMilliMax = 1'000'000'000'000;
// Thousandths of what the key beside it names, bytes too: 1 Pi.
inline constexpr std::int64_t kQuantityMax = (std::int64_t(1) << 50) * 1000;

}  // namespace neap::api::internal
