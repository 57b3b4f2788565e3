// Training jobs of a recorded trace on one private cluster of nodes with 8 accelerators: how long do people
// wait?
//
// Pure; threads: none shared. Limits: 100,000 jobs a trace, 65,536 accelerators.
// Source of format and model: Muri (SIGCOMM 2022), its simulator: events are arrivals, ends and, for rules
// that do not know durations, reviews; at every event each running job loses a start overhead; SRTF and SRSF
// are its.
#pragma once

#include <string_view>
#include <vector>

#include "neap/base/result.h"
#include "neap/scheduler/interleave.h"

namespace neap::simulation {

struct TraceJob {
  int gpus = 1;           // a power of two
  double submit_s = 0;    // from the start of the trace
  double work_s = 0;      // alone, with the published 1.5 % of measured slow-down
  double duration_s = 0;  // as recorded
  double overhead_s = 0;  // charged at every event while it runs
  int profile = 0;        // index into JobTrace::profiles
  std::size_t line = 0;   // of the trace, for errors
};

struct JobTrace {
  std::vector<TraceJob> jobs;  // in the order of the rows
  std::vector<scheduler::StageProfile> profiles;
};

// Refuses with file, line and column: gangs that are no power of two, times that are negative or no numbers.
Result<JobTrace> parse_muri(std::string_view text, std::string_view name);

struct JobsOptions {
  enum class Policy { kSrtf, kSrsf, kKnown, kBlind, kSharingKnown, kSharingBlind, kMuriL };
  Policy policy = Policy::kSrsf;
  int gpus = 64;               // a multiple of 8
  bool event_overhead = true;  // false: the start overhead is not charged
};

struct JobsReport {
  std::size_t jobs = 0;
  std::size_t events = 0;
  double jct_average_s = 0;
  double jct_p99_s = 0;  // element floor(0.99 n) of the sorted completion times, from 0
  double makespan_s = 0;
  double served_gpu_s = 0;  // sum of gpus x work of all jobs, as given out by the replay
  int gpus_busy_max = 0;
  std::vector<double> ends_s;  // per job
};

Result<JobsReport> simulate_jobs(const JobTrace& trace, const JobsOptions& options);

}  // namespace neap::simulation
