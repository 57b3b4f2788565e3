// Who runs how much of the time on which accelerator model, where a job's speed depends on the model: a
// linear programme over time fractions, and its fractions turned into rounds.
//
// Fractions x[job][model] >= 0 with sum over models <= 1 and sum over jobs of gpus x x <= capacity. A job's
// effective throughput is sum over models of throughput x fraction; normalised, it is divided by the job's
// throughput spread over all models as their capacity is (what it would get from a share that does not look
// at models).
//
// Pure functions, exact up to rounding (bounded dense simplex, Bland's rule after a degenerate streak), ties
// to the lower index; threads: none shared. Jobs alike in all numbers are one column of the programme and get
// the same, so thousands of jobs of a few kinds cost little. Limits: 512 kinds of jobs, 16 models. Source:
// Narayanan et al., "Heterogeneity-Aware Cluster Scheduling Policies for Deep Learning Workloads" (Gavel),
// OSDI 2020.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "neap/base/result.h"

namespace neap::scheduler {

struct SharingJob {
  int gpus = 1;                    // of one model at a time, > 0
  double weight = 1;               // > 0; twice the weight: twice the normalised throughput where it is fair
  std::vector<double> throughput;  // steps per second on each model; 0: does not run there
  double steps_left = 1;           // > 0; read by kMinMakespan
};

enum class ShareObjective : std::uint8_t {
  kMaxMinFair,   // the least normalised throughput over weight is as high as can be, then the sum
  kMaxTotal,     // the weighted sum of normalised throughputs
  kMinMakespan,  // all end soonest, then the sum of normalised throughputs
};

struct ThroughputShare {
  std::vector<double> fractions;   // jobs x models, of time
  std::vector<double> throughput;  // effective, of each job, steps per second
  double value = 0;                // of the objective; for kMinMakespan seconds
};

// Reasons: `share.input`, `share.size`, `share.rounding` (the programme's numbers are too far apart).
Result<ThroughputShare> share_by_throughput(std::span<const SharingJob> jobs,
                                            std::span<const std::int64_t> capacity, ShareObjective objective);

// What a share that does not look at models gives: one fraction for all, spread as capacity is. Jobs for
// which models are shut waste that part.
Result<ThroughputShare> share_equally(std::span<const SharingJob> jobs,
                                      std::span<const std::int64_t> capacity);

// Rounds that follow fractions in the long run, also while those change: each round a job is owed its
// fraction of each model; who is owed most runs first and pays one round. Ties to the lower index, then
// model. Debts are bounded at 16 rounds.
class ShareRounds {
 public:
  static constexpr int kNone = -1;

  // One round: the model of each job, or kNone. `ids` name jobs from round to round (each once); who is not
  // named is forgotten. `fractions` as in ThroughputShare, `gpus` of each job.
  std::vector<int> next(std::span<const std::uint64_t> ids, std::span<const int> gpus,
                        std::span<const double> fractions, std::span<const std::int64_t> capacity);

 private:
  std::map<std::uint64_t, std::vector<double>> owed_;
};

}  // namespace neap::scheduler
