// Jobs whose speed depends on the accelerator model, on 36 V100, 36 P100 and 36 K80: average completion time
// with the fractions of the linear programme and with one fraction for all, through the same rounds of six
// minutes. Prints hours and their ratio.
//
// The mix is stated here, not measured: three kinds of jobs, equally likely, whose steps per second on the
// three models are 1, 0.5, 0.1 (dense mathematics), 1, 0.6, 0.3 and 1, 0.9, 0.8 (bound by its processor).
// Jobs ask one accelerator, come as a Poisson stream and last, on a V100, 60 x 10^U(1.5, 3) s with
// probability 0.8, else 60 x 10^U(3, 4) s: the generator of Gavel (OSDI 2020).
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "neap/base/draw.h"
#include "neap/scheduler/throughput_share.h"

namespace neap {
namespace {

using scheduler::ShareObjective;
using scheduler::SharingJob;

constexpr std::array<std::int64_t, 3> kCapacity{36, 36, 36};
constexpr double kRound_s = 360;

struct Job {
  double submit_s = 0, steps = 0, end_s = 0;
  std::size_t kind = 0;
};

std::vector<Job> draw_jobs(std::uint64_t seed, std::size_t count, double per_hour) {
  Draw draw(seed);
  std::vector<Job> jobs(count);
  double now_s = 0;
  for (auto& job : jobs) {
    if (per_hour > 0) now_s -= std::log(1 - draw.unit()) * 3600 / per_hour;
    const bool is_short = draw.unit() < 0.8;
    const double power = is_short ? 1.5 + 1.5 * draw.unit() : 3 + draw.unit();
    job = {.submit_s = now_s, .steps = 60 * std::pow(10, power), .kind = draw.below(3)};
  }
  return jobs;
}

const std::array<std::vector<double>, 3> kThroughput{
    std::vector<double>{1, 0.5, 0.1}, {1, 0.6, 0.3}, {1, 0.9, 0.8}};

// Plays until all have ended.
void play(std::vector<Job>& jobs, bool looks_at_models, ShareObjective objective) {
  scheduler::ShareRounds rounds;
  std::vector<std::size_t> active;
  std::vector<double> left;
  for (const auto& job : jobs) left.push_back(job.steps);
  std::size_t arrived = 0;
  std::vector<double> fractions;
  bool is_stale = true;
  for (double now_s = 0; arrived < jobs.size() || !active.empty(); now_s += kRound_s) {
    for (; arrived < jobs.size() && jobs[arrived].submit_s <= now_s; is_stale = true)
      active.push_back(arrived++);
    if (active.empty()) continue;
    std::vector<std::uint64_t> ids(active.begin(), active.end());
    if (is_stale || objective == ShareObjective::kMinMakespan) {
      std::vector<SharingJob> asked;
      for (const auto job : active) {
        asked.push_back({.throughput = kThroughput[jobs[job].kind]});
        // Rounded up to a tenth of its order of magnitude: alike jobs are one kind of the programme.
        if (objective == ShareObjective::kMinMakespan)
          asked.back().steps_left = std::pow(10, std::ceil(std::log10(left[job]) * 10) / 10);
      }
      auto share = looks_at_models ? scheduler::share_by_throughput(asked, kCapacity, objective)
                                   : scheduler::share_equally(asked, kCapacity);
      if (!share) {
        fmt::print(stderr, "{}\n", share.error().message);
        std::exit(1);
      }
      fractions = std::move(share->fractions);
      is_stale = false;
    }
    const auto models = rounds.next(ids, std::vector<int>(active.size(), 1), fractions, kCapacity);
    std::vector<std::size_t> stay;
    for (std::size_t at = 0; at < active.size(); ++at) {
      const auto job = active[at];
      const double speed = models[at] < 0 ? 0 : kThroughput[jobs[job].kind][std::size_t(models[at])];
      if (speed * kRound_s >= left[job]) {
        jobs[job].end_s = now_s + left[job] / speed;
        is_stale = true;
      } else {
        left[job] -= speed * kRound_s;
        stay.push_back(job);
      }
    }
    active = std::move(stay);
  }
}

double average_h(const std::vector<Job>& jobs, std::size_t from, std::size_t to) {
  double sum = 0;
  for (std::size_t job = from; job < to; ++job) sum += jobs[job].end_s - jobs[job].submit_s;
  return sum / 3600 / double(to - from);
}

double makespan_h(const std::vector<Job>& jobs) {
  double last = 0;
  for (const auto& job : jobs) last = std::max(last, job.end_s);
  return last / 3600;
}

void print_row(double per_hour) {
  constexpr std::size_t kJobs = 2000, kFrom = 500, kTo = 1500;
  std::array<double, 3> mean{};
  constexpr std::array<std::uint64_t, 3> kSeeds{1, 2, 3};
  for (const auto seed : kSeeds)
    for (std::size_t rule = 0; rule < mean.size(); ++rule) {
      auto jobs = draw_jobs(seed, kJobs, per_hour);
      play(jobs, rule > 0, rule == 2 ? ShareObjective::kMaxTotal : ShareObjective::kMaxMinFair);
      mean[rule] += average_h(jobs, kFrom, kTo) / double(kSeeds.size());
    }
  fmt::print("| {:.1f} jobs/h | {:.2f} | {:.2f} ({:.2f}) | {:.2f} ({:.2f}) |\n", per_hour, mean[0], mean[1],
             mean[1] / mean[0], mean[2], mean[2] / mean[0]);
}

}  // namespace
}  // namespace neap

int main() {
  using namespace neap;
  fmt::print("| average completion time, h | equal fractions | max-min | max total |\n|---|---|---|---|\n");
  for (const double per_hour : {3.0, 3.6, 4.2}) print_row(per_hour);
  auto equal = draw_jobs(4, 300, 0), soonest = equal;
  play(equal, false, ShareObjective::kMaxMinFair);
  play(soonest, true, ShareObjective::kMinMakespan);
  fmt::print(
      "300 jobs at once: all ended after {:.1f} h with equal fractions, {:.1f} h with least makespan\n",
      makespan_h(equal), makespan_h(soonest));
}
