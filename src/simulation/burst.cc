#include "neap/simulation/burst.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace neap::simulation {
namespace {

using scheduler::NodePool;
using Policy = BurstOptions::Policy;

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kNodeGpus = 8;

struct Job {
  int gpus = 1;
  double submit_h = 0;
  double run_h = 0;
};

class Replay {
 public:
  Replay(const JobTrace& trace, std::size_t nodes, const BurstOptions& options)
      : options_(options), pool_(nodes, kNodeGpus) {
    for (const auto& job : trace.jobs)
      jobs_.push_back({.gpus = job.gpus, .submit_h = job.submit_s / 3600, .run_h = job.duration_s / 3600});
    arrivals_.resize(jobs_.size());
    std::iota(arrivals_.begin(), arrivals_.end(), std::size_t{0});
    std::ranges::sort(arrivals_, {}, [&](std::size_t job) { return std::pair(jobs_[job].submit_h, job); });
    ends_h_.assign(jobs_.size(), kNever);
    report_.nodes = nodes;
  }

  BurstReport run() {
    for (;;) {
      const double next = next_event_h();
      if (next == kNever) break;
      now_ = next;
      end_runs();
      while (arrived_ < arrivals_.size() && jobs_[arrivals_[arrived_]].submit_h <= now_)
        arrive(arrivals_[arrived_++]);
      serve_queue();
      burst();
      if (options_.policy == Policy::kDrift || options_.policy == Policy::kNeap)
        while (comes_home()) {
        }
    }
    report_.ends_h = ends_h_;
    for (std::size_t job = 0; job < jobs_.size(); ++job)
      report_.jct_average_s +=
          (ends_h_[job] - jobs_[job].submit_h) * 3600 / static_cast<double>(jobs_.size());
    return std::move(report_);
  }

 private:
  struct PrivateRun {
    std::size_t job;
    NodePool::Place place;
    double since_h, end_h;
  };
  struct CloudRun {
    std::size_t job;
    double since_h, end_h;
  };

  // When the fixed time-out of the yardsticks runs out; Neap's rule asks the forecast instead.
  double expiry_h(std::size_t job) const {
    const double wait_h = options_.policy == Policy::kStarburst
                              ? options_.rule.wait_h_per_gpu_hour * jobs_[job].gpus * jobs_[job].run_h
                              : 0;
    return jobs_[job].submit_h + wait_h;
  }

  double next_event_h() const {
    double next = arrived_ < arrivals_.size() ? jobs_[arrivals_[arrived_]].submit_h : kNever;
    for (const auto& run : private_) next = std::min(next, run.end_h);
    for (const auto& run : cloud_) next = std::min(next, run.end_h);
    if (options_.policy == Policy::kStarburst)
      for (const auto job : queue_) next = std::min(next, expiry_h(job));
    return next;
  }

  void end_runs() {
    std::erase_if(private_, [&](const PrivateRun& run) {
      if (run.end_h > now_) return false;
      pool_.give_back(run.place);
      report_.private_gpu_hours += jobs_[run.job].gpus * (now_ - run.since_h);
      ends_h_[run.job] = now_;
      return true;
    });
    std::erase_if(cloud_, [&](const CloudRun& run) {
      if (run.end_h > now_) return false;
      report_.cloud_gpu_hours += jobs_[run.job].gpus * (now_ - run.since_h);
      narrow_gpus_ -= narrow_gpus(run.job);
      ends_h_[run.job] = now_;
      return true;
    });
  }

  void arrive(std::size_t job) {
    queue_.push_back(job);
    delay_.run_h += jobs_[job].run_h;
    narrow_gpus_ += narrow_gpus(job);
  }

  int narrow_gpus(std::size_t job) const { return jobs_[job].gpus < kNodeGpus ? jobs_[job].gpus : 0; }

  bool start_private(std::size_t job, double end_h) {
    const int gpus = jobs_[job].gpus;
    auto place =
        options_.policy == Policy::kDrift ? pool_.take_sparing(gpus, narrow_gpus_) : pool_.take(gpus);
    if (!place) return false;
    narrow_gpus_ -= narrow_gpus(job);
    private_.push_back({job, std::move(*place), now_, end_h});
    return true;
  }

  void serve_queue() {
    std::erase_if(queue_, [&](std::size_t job) { return start_private(job, now_ + jobs_[job].run_h); });
  }

  void burst() {
    std::vector<std::size_t> leaving;
    if (options_.policy == Policy::kNeap) {
      std::vector<scheduler::PrivateRun> runs;
      for (const auto& run : private_) runs.push_back({run.place, run.end_h - now_});
      std::vector<scheduler::WaitingGang> waiting;
      for (const auto job : queue_)
        waiting.push_back({jobs_[job].gpus, jobs_[job].run_h, now_ - jobs_[job].submit_h});
      leaving = scheduler::choose_bursts(pool_, runs, waiting, options_.rule);
    } else {
      for (std::size_t at = 0; at < queue_.size(); ++at)
        if (expiry_h(queue_[at]) <= now_) leaving.push_back(at);
    }
    for (const auto at : leaving) {
      cloud_.push_back({queue_[at], now_, now_ + jobs_[queue_[at]].run_h});
      queue_[at] = jobs_.size();
    }
    std::erase(queue_, jobs_.size());
  }

  // The best move that fits, if one is worth it.
  bool comes_home() {
    std::vector<scheduler::CloudRun> runs;
    for (const auto& run : cloud_)
      runs.push_back({jobs_[run.job].gpus, run.end_h - now_, now_ - run.since_h});
    for (const auto at : scheduler::order_homecoming(runs, options_.rule, delay_)) {
      const auto run = cloud_[at];
      if (!start_private(run.job, run.end_h + options_.rule.move_h)) continue;
      report_.cloud_gpu_hours += jobs_[run.job].gpus * (now_ - run.since_h);
      ++report_.moves;
      delay_.lost_h += options_.rule.move_h;
      cloud_.erase(cloud_.begin() + static_cast<std::ptrdiff_t>(at));
      return true;
    }
    return false;
  }

  BurstOptions options_;
  NodePool pool_;
  std::vector<Job> jobs_;
  std::vector<std::size_t> arrivals_, queue_;
  std::size_t arrived_ = 0;
  std::vector<PrivateRun> private_;
  std::vector<CloudRun> cloud_;
  std::vector<double> ends_h_;
  scheduler::DriftDelay delay_;
  int narrow_gpus_ = 0;  // of gangs of less than a node that wait or run in the cloud
  double now_ = 0;
  BurstReport report_;
};

}  // namespace

Result<BurstReport> simulate_burst(const JobTrace& trace, const BurstOptions& options) {
  double first_s = kNever, last_s = 0, gpu_s = 0;
  for (const auto& job : trace.jobs) {
    first_s = std::min(first_s, job.submit_s);
    last_s = std::max(last_s, job.submit_s);
    gpu_s += job.gpus * job.duration_s;
  }
  if (trace.jobs.empty() || last_s <= first_s)
    return fail(
        Code::kInvalidArgument, "simulation.burst.load",
        "the jobs of the trace all come at one time, so there is no mean load to size the cluster by; take a "
        "trace with submit times");
  const double nodes = std::round(options.capacity_ratio * gpu_s / (last_s - first_s) / kNodeGpus);
  if (!(options.capacity_ratio > 0) || nodes > 10'000)
    return fail(
        Code::kInvalidArgument, "simulation.burst.capacity",
        fmt::format("a capacity ratio of {} makes {:.0f} nodes; give one above 0 that makes at most 10000",
                    options.capacity_ratio, nodes));
  return Replay(trace, static_cast<std::size_t>(nodes), options).run();
}

}  // namespace neap::simulation
