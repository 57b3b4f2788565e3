// Which of the waiting and running gangs hold the accelerators next, where running work may be suspended: the
// set that ends most jobs soonest. Gang sizes are powers of two and nodes hold a power of two, so a set packs
// exactly when its sum fits; who places it starts with the widest.
//
// Pure functions of their arguments; threads: none shared. Ties go to the lower index.
// Sources: SRSF and rollout of a base policy (Bertsekas, Tsitsiklis, Wu, "Rollout algorithms for
// combinatorial optimization", 1997); Gittins index for unknown service (Aalto, Ayesta, Righter, "On the
// Gittins index in the M/G/1 queue", 2009) over a hazard from ended and still running jobs (Kaplan, Meier,
// 1958).
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <vector>

namespace neap::scheduler {

struct QueuedJob {
  int gpus = 1;
  double remaining_s = 0;  // alone on its accelerators; read only where durations are known
  double attained_s = 0;   // the same measure, of what it has had
  int profile = 0;         // index into the Interleaving's profiles; read only where jobs share
};

// Indices of the jobs to run on `gpus` accelerators when what remains of each is known. Several orders
// between "shortest" and "smallest area" are played to the end of the present queue; the first step of the
// best is taken. Over 4096 jobs smallest area decides alone.
std::vector<std::size_t> choose_known(std::span<const QueuedJob> jobs, int gpus);

// Highest rate per accelerator first; what does not fit is skipped.
std::vector<std::size_t> choose_by_rate(std::span<const QueuedJob> jobs, std::span<const double> rates,
                                        int gpus);

// What ended jobs say about those whose length nobody knows. Ages are kept in bins that grow fourfold, from
// 60 s; gangs of one size learn from each other first, from all other sizes where they are few.
class ServiceHistory {
 public:
  void ended(int gpus, double service_s);
  // Per job: the best chance of an end per second of service it can be given from its age on (its Gittins
  // index). Within a bin all are equal. Jobs still there count as survivors of their age.
  std::vector<double> completion_rates(std::span<const QueuedJob> jobs) const;
  // Service after which the rate may change: the end of the bin; infinite in the last.
  static double review_after_s(double attained_s);

  static constexpr int kBins = 20;

 private:
  using Counts = std::vector<double>;
  std::map<int, Counts> ended_;  // by gang size, per bin
};

}  // namespace neap::scheduler
