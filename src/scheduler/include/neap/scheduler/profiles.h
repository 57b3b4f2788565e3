// Three simple published scorers, kept as named profiles. Higher is better in all of them.
#pragma once

#include "neap/scheduler/snapshot.h"

namespace neap::scheduler {

struct ProfileInput {
  Tier tier = Tier::kPrivate;
  double free_cores = 0, asked_cores = 0;
  double free_accelerators = 0;
  // 0 counts as 1 ms in `headroom`.
  double latency_ms = 0;
  bool is_latency_critical = false;
  double cost_per_hour = 0;
  double bytes = 0;
  // Bytes a second; 0 with bytes to move counts as too slow.
  double bandwidth = 0;
};

// a * free cores / asked cores + b / latency - c * cost.
double score_headroom(const ProfileInput& input, double a = 1, double b = 10, double c = 1);
// (free cores + free accelerators) / 2, + 1000 / (latency + 1) where latency is critical, - cost.
double score_latency_first(const ProfileInput& input);
// 60 for a latency-sensitive task at the edge, 48 for another on a public site, + 20 / cost, - 20 where
// moving the data takes more than 10 s. A cost of 0 counts as 0.01.
double score_tiered(const ProfileInput& input);

}  // namespace neap::scheduler
