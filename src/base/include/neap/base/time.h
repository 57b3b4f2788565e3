// Points in time. MonoTime never jumps and is what deadlines, leases and bills use; WallTime is what
// people read. Neither is read from the operating system outside io/: ask an Executor or a Clock.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "neap/base/result.h"

namespace neap {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;  // NOLINT: 5s, 200ms read as what they are

struct MonoClockTag {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = Duration;
  static constexpr bool is_steady = true;
};
using MonoTime = std::chrono::time_point<MonoClockTag, Duration>;
using WallTime = std::chrono::sys_time<Duration>;

// A source of both. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonoTime now() const = 0;
  virtual WallTime wall() const = 0;
};

// "2026-11-22T20:50:54Z"; sub-second digits (0, 3 or 6) as asked: metadata uses 0, Lease renewTime 6.
std::string format_rfc3339(WallTime time, int fraction_digits = 0);
Result<WallTime> parse_rfc3339(std::string_view text);
// "20ms", "1.5s", "2m", "4h", "1h30m"; Go's duration grammar without a sign.
Result<Duration> parse_duration(std::string_view text);
std::string format_duration(Duration duration);
inline double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace neap
