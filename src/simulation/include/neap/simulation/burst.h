// A private cluster that bursts into an unlimited cloud: what does the cloud bill, how much longer do jobs
// take?
//
// Pure; threads: none shared. Procedure: nodes of 8, first in first out with skipping at every arrival, end
// and expiry of a wait; same speed in the cloud; run times known. The bill is in GPU-hours. Source of the
// yardstick: Starburst (Luo et al., USENIX ATC 2024), its linear-cost waiting.
#pragma once

#include "neap/base/result.h"
#include "neap/scheduler/burst.h"
#include "neap/simulation/jobs.h"

namespace neap::simulation {

struct BurstOptions {
  // zero-wait: who does not fit bursts at once. starburst: waits 0.076 h per GPU-hour, then bursts. drift:
  // nobody waits either, small gangs spare free nodes, and running jobs come home. neap:
  // scheduler::choose_bursts, and they come home.
  enum class Policy { kZeroWait, kStarburst, kDrift, kNeap };
  Policy policy = Policy::kNeap;
  double capacity_ratio = 1.2;  // private accelerators over mean load
  scheduler::BurstRule rule;
};

struct BurstReport {
  std::size_t nodes = 0;
  double cloud_gpu_hours = 0;  // the bill
  double private_gpu_hours = 0;
  double jct_average_s = 0;
  std::size_t moves = 0;
  std::vector<double> ends_h;  // per job, from the start of the trace
};

// Refuses a trace without jobs or whose jobs all come at once: it has no mean load.
Result<BurstReport> simulate_burst(const JobTrace& trace, const BurstOptions& options);

}  // namespace neap::simulation
