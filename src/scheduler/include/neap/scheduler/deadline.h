// What a job with a deadline should run on in the next tick: spot in one of several zones, on-demand, or
// nothing.
//
// The job does `work_s` seconds of work, must be done `deadline_s` after its start, and loses `changeover_s`
// whenever a new instance begins to run it (start-up and the work since the last checkpoint). A spot instance
// may be taken away at the end of any tick. Every quantity is a whole number of seconds, so that the promise
// below is exact.
//
// The promise: while on-demand launched now would still meet the deadline, every answer leaves that true one
// tick later (keeps_deadline). So a job that on-demand could finish in time when it started is never late,
// whatever becomes of the spot capacity; `DeadlinePlanner` obeys it by construction.
//
// Threads: pure functions and plain values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neap::scheduler {

struct DeadlineJob {
  std::int64_t work_s = 0;
  std::int64_t deadline_s = 0;
  std::int64_t changeover_s = 0;
  // Distance of two decisions; a started tick is paid whole.
  std::int64_t tick_s = 600;
  double on_demand_price = 0;  // $/h
};

// A zone at the present tick.
struct ZoneOffer {
  bool is_available = false;
  double price = 0;  // $/h
};

struct Capacity {
  enum class Tier : std::uint8_t { kNone, kOnDemand, kSpot };
  Tier tier = Tier::kNone;
  std::size_t zone = 0;  // of a spot instance; otherwise 0

  static Capacity none() { return {}; }
  static Capacity on_demand() { return {Tier::kOnDemand, 0}; }
  static Capacity spot(std::size_t zone) { return {Tier::kSpot, zone}; }
  bool is_spot() const { return tier == Tier::kSpot; }
  friend bool operator==(const Capacity&, const Capacity&) = default;
};

// A job at the start of a tick, a reclaimed spot instance already shown as none.
struct DeadlineProgress {
  std::int64_t elapsed_s = 0;
  std::int64_t done_s = 0;
  Capacity held;
  std::int64_t pending_s = 0;  // of the changeover still to pay by the instance held
};

// Seconds of changeover still to pay if `choice` runs from now on.
std::int64_t pending_after(const DeadlineJob& job, const DeadlineProgress& now, Capacity choice);
// Whether running on `choice` for one tick leaves a launch of on-demand (or what already runs there) able to
// finish in time, though spot should never come back.
bool keeps_deadline(const DeadlineJob& job, const DeadlineProgress& now, Capacity choice);

}  // namespace neap::scheduler
