#include "neap/scheduler/job_order.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace neap::scheduler {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Gangs of one size, shortest first. Whatever order runs, it runs a prefix of each lane, so a lane never
// needs sorting again while its jobs are served.
struct Lane {
  int gpus = 1;
  std::vector<std::size_t> jobs;
  std::vector<double> remaining_s;
};

std::vector<Lane> make_lanes(std::span<const QueuedJob> jobs) {
  std::map<int, Lane> lanes;
  for (std::size_t index = 0; index < jobs.size(); ++index) lanes[jobs[index].gpus].jobs.push_back(index);
  std::vector<Lane> sorted;
  for (auto& [gpus, lane] : lanes) {
    lane.gpus = gpus;
    std::ranges::sort(lane.jobs, {},
                      [&](std::size_t index) { return std::pair(jobs[index].remaining_s, index); });
    for (const auto index : lane.jobs) lane.remaining_s.push_back(jobs[index].remaining_s);
    sorted.push_back(std::move(lane));
  }
  return sorted;
}

// One order played forward: key = remaining time x gpus^width. Width 1 is SRSF, 0 is SRTF.
class Forecast {
 public:
  Forecast(std::span<const Lane> lanes, int gpus, double width) : lanes_(lanes), gpus_(gpus) {
    for (const auto& lane : lanes) factor_.push_back(std::pow(lane.gpus, width));
    head_.resize(lanes.size());
    running_.resize(lanes.size());
  }

  // How many of each lane run, from its head.
  const std::vector<std::size_t>& choose() {
    std::ranges::fill(running_, 0);
    for (int left = gpus_; left > 0;) {
      std::size_t best = lanes_.size();
      double best_key = kNever;
      for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
        const auto next = head_[lane] + running_[lane];
        if (lanes_[lane].gpus > left || next == lanes_[lane].jobs.size()) continue;
        const double key = remaining(lane, next) * factor_[lane];
        if (key < best_key) {
          best = lane;
          best_key = key;
        }
      }
      if (best == lanes_.size()) break;
      ++running_[best];
      left -= lanes_[best].gpus;
    }
    return running_;
  }

  // Sum of the times until each job ends; infinite as soon as it passes `limit`.
  double play(double limit) {
    served_.assign(lanes_.size(), {});
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane)
      served_[lane].assign(lanes_[lane].jobs.size(), 0.0);
    std::size_t left = 0;
    for (const auto& lane : lanes_) left += lane.jobs.size();
    double now = 0, sum = 0;
    while (left > 0) {
      choose();
      double step = kNever;
      for (std::size_t lane = 0; lane < lanes_.size(); ++lane)
        if (running_[lane] > 0) step = std::min(step, remaining(lane, head_[lane]));
      if (step == kNever) break;
      now += step;
      if (sum + now * static_cast<double>(left) > limit) return kNever;
      for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
        for (std::size_t job = 0; job < running_[lane]; ++job) served_[lane][head_[lane] + job] += step;
        while (running_[lane] > 0 && remaining(lane, head_[lane]) <= 0) {
          ++head_[lane];
          --running_[lane];
          --left;
          sum += now;
        }
      }
    }
    return sum;
  }

 private:
  double remaining(std::size_t lane, std::size_t job) const {
    const double served = served_.empty() ? 0 : served_[lane][job];
    return lanes_[lane].remaining_s[job] - served;
  }

  std::span<const Lane> lanes_;
  int gpus_;
  std::vector<double> factor_;
  std::vector<std::size_t> head_, running_;
  std::vector<std::vector<double>> served_;
};

// Bin 0 is [0, 60 s); bin b is [60 x 4^(b-1), 60 x 4^b).
constexpr double kFirstBin_s = 60;
double bin_start_s(int bin) { return bin == 0 ? 0 : std::ldexp(kFirstBin_s, 2 * (bin - 1)); }
int bin_of(double age_s) {
  int bin = 0;
  while (bin < ServiceHistory::kBins - 1 && age_s >= bin_start_s(bin + 1)) ++bin;
  return bin;
}

// Neighbouring ages tell of each other, so that one early end does not make a cliff.
std::vector<double> smooth(const std::vector<double>& counts) {
  constexpr double kNeighbour = 0.1;
  std::vector<double> smoothed = counts;
  for (std::size_t bin = 1; bin < counts.size(); ++bin)
    smoothed[bin] = counts[bin] + kNeighbour * smoothed[bin - 1];
  double behind = 0;
  for (std::size_t bin = counts.size(); bin-- > 0;) {
    smoothed[bin] += kNeighbour * behind;
    behind = counts[bin] + kNeighbour * behind;
  }
  return smoothed;
}

// Ends and survivors of every age bin.
struct Ages {
  std::vector<double> ends = std::vector<double>(ServiceHistory::kBins);
  std::vector<double> seen = std::vector<double>(ServiceHistory::kBins);

  void add(int bin, bool ended, double count = 1) {
    if (ended) ends[static_cast<std::size_t>(bin)] += count;
    for (int below = 0; below < bin + (ended ? 1 : 0); ++below)
      seen[static_cast<std::size_t>(below)] += count;
  }
  // Chance of an end within each bin; `prior` counts as `weight` jobs.
  std::vector<double> hazard(const std::vector<double>& prior, double weight) const {
    const auto smooth_ends = smooth(ends), smooth_seen = smooth(seen);
    std::vector<double> result(prior.size());
    for (std::size_t bin = 0; bin < prior.size(); ++bin)
      result[bin] = (smooth_ends[bin] + weight * prior[bin]) / (smooth_seen[bin] + weight);
    return result;
  }
};

std::vector<double> gittins_index(const std::vector<double>& hazard) {
  std::vector<double> index(hazard.size());
  const int last = ServiceHistory::kBins - 1;
  for (int from = 0; from <= last; ++from) {
    double survives = 1, ends = 0, service_s = 0, best = 0;
    for (int bin = from; bin <= last; ++bin) {
      const double length_s = bin_start_s(bin + 1) - bin_start_s(bin);
      const double chance = hazard[static_cast<std::size_t>(bin)];
      service_s += survives * length_s * (1 - chance / 2);
      ends += survives * chance;
      survives *= 1 - chance;
      best = std::max(best, ends / service_s);
    }
    index[static_cast<std::size_t>(from)] = best;
  }
  return index;
}

}  // namespace

std::vector<std::size_t> choose_known(std::span<const QueuedJob> jobs, int gpus) {
  constexpr std::array kWidths{1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 1.1, 1.2};
  constexpr std::size_t kPlayedJobsMax = 4096;
  const auto lanes = make_lanes(jobs);
  std::vector<std::size_t> chosen_counts;
  double best = kNever;
  for (const double width : kWidths) {
    Forecast forecast(lanes, gpus, width);
    const auto counts = forecast.choose();
    if (jobs.size() > kPlayedJobsMax) {
      chosen_counts = counts;
      break;
    }
    const double sum = forecast.play(best);
    if (sum < best || chosen_counts.empty()) {
      best = sum;
      chosen_counts = counts;
    }
  }
  std::vector<std::size_t> chosen;
  for (std::size_t lane = 0; lane < lanes.size(); ++lane)
    chosen.insert(chosen.end(), lanes[lane].jobs.begin(),
                  lanes[lane].jobs.begin() + static_cast<std::ptrdiff_t>(chosen_counts[lane]));
  return chosen;
}

std::vector<std::size_t> choose_by_rate(std::span<const QueuedJob> jobs, std::span<const double> rates,
                                        int gpus) {
  std::vector<std::size_t> order(jobs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Among equals the oldest: who shares a bin with it is served one after the other, not all at once.
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const double left = rates[a] / jobs[a].gpus, right = rates[b] / jobs[b].gpus;
    if (left != right) return left > right;
    if (jobs[a].attained_s != jobs[b].attained_s) return jobs[a].attained_s > jobs[b].attained_s;
    return a < b;
  });
  std::vector<std::size_t> chosen;
  for (const auto index : order) {
    if (jobs[index].gpus > gpus) continue;
    gpus -= jobs[index].gpus;
    chosen.push_back(index);
  }
  return chosen;
}

void ServiceHistory::ended(int gpus, double service_s) {
  auto& counts = ended_.try_emplace(gpus, kBins, 0.0).first->second;
  counts[static_cast<std::size_t>(bin_of(service_s))] += 1;
}

std::vector<double> ServiceHistory::completion_rates(std::span<const QueuedJob> jobs) const {
  // Before anything ended: half end in every bin, whatever the age.
  constexpr double kPriorHazard = 0.5, kPriorJobs = 4, kPooledJobs = 8;
  Ages all;
  std::map<int, Ages> by_size;
  for (const auto& [gpus, counts] : ended_)
    for (int bin = 0; bin < kBins; ++bin)
      if (const double count = counts[static_cast<std::size_t>(bin)]; count > 0) {
        all.add(bin, true, count);
        by_size[gpus].add(bin, true, count);
      }
  for (const auto& job : jobs) {
    all.add(bin_of(job.attained_s), false);
    by_size[job.gpus].add(bin_of(job.attained_s), false);
  }
  const auto pooled = all.hazard(std::vector<double>(kBins, kPriorHazard), kPriorJobs);
  std::map<int, std::vector<double>> index;
  for (const auto& [gpus, ages] : by_size) index[gpus] = gittins_index(ages.hazard(pooled, kPooledJobs));
  std::vector<double> rates;
  rates.reserve(jobs.size());
  for (const auto& job : jobs)
    rates.push_back(index[job.gpus][static_cast<std::size_t>(bin_of(job.attained_s))]);
  return rates;
}

double ServiceHistory::review_after_s(double attained_s) {
  const int bin = bin_of(attained_s);
  return bin == kBins - 1 ? kNever : bin_start_s(bin + 1) - attained_s;
}

}  // namespace neap::scheduler
