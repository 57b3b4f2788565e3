#include "neap/scheduler/profiles.h"

#include <algorithm>

#include "neap/scheduler/scheduler.h"

namespace neap::scheduler {

double score_headroom(const ProfileInput& in, double a, double b, double c) {
  const double asked = in.asked_cores > 0 ? in.asked_cores : 1;
  const double latency = in.latency_ms > 0 ? in.latency_ms : 1;
  return a * in.free_cores / asked + b / latency - c * in.cost_per_hour;
}

double score_latency_first(const ProfileInput& in) {
  const double quick = in.is_latency_critical ? 1000 / (in.latency_ms + 1) : 0;
  return (in.free_cores + in.free_accelerators) / 2 + quick - in.cost_per_hour;
}

double score_tiered(const ProfileInput& in) {
  double score = 20 / std::max(in.cost_per_hour, 0.01);
  if (in.is_latency_critical && in.tier == Tier::kEdge) score += 60;
  if (!in.is_latency_critical && in.tier == Tier::kPublic) score += 48;
  const bool is_slow = in.bytes > 0 && (in.bandwidth <= 0 || in.bytes / in.bandwidth > 10);
  return is_slow ? score - 20 : score;
}

Weights adapt_weights(Weights base, double load, bool misses_objective) {
  constexpr double kBusy = 0.7;
  const double pressure = misses_objective ? 1 : std::clamp((load - kBusy) / (1 - kBusy), 0.0, 1.0);
  const double moved = base.cost * pressure;
  base.cost -= moved;
  base.latency += moved;
  return base;
}

Weights carbon_first(Weights base) {
  base.carbon += base.cost;
  base.cost = 0;
  return base;
}

}  // namespace neap::scheduler
