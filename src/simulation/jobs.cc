#include "neap/simulation/jobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>

#include "internal/muri.h"
#include "internal/nodes_of_eight.h"
#include "neap/simulation/csv.h"

namespace neap::simulation {
namespace {

using scheduler::QueuedJob;

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kGangMax = 4096;

// Published seconds by model, for 1, 2, 4, 8, 16 and 32 accelerators.
double start_overhead_s(std::string_view model, int gpus) {
  struct Row {
    std::string_view model;
    std::array<double, 6> seconds;
  };
  static constexpr std::array kRows{
      Row{"vgg16", {7, 7, 8, 9, 9, 10}},    Row{"vgg19", {7, 7, 8, 9, 10, 10}},
      Row{"resnet18", {4, 5, 5, 7, 7, 7}},  Row{"shufflenet_v2_x1_0", {4, 4, 5, 5, 7, 8}},
      Row{"a2c", {38, 39, 39, 46, 46, 46}}, Row{"dqn", {5, 5, 6, 6, 8, 8}},
  };
  const auto row = std::ranges::find(kRows, model, &Row::model);
  const auto width = static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(gpus)));
  return row == kRows.end() ? 10 : row->seconds[std::min(width, row->seconds.size() - 1)];
}

// Decides who runs, in groups; remembers what its rule needs.
class Rule {
 public:
  Rule(const JobTrace& trace, const JobsOptions& options)
      : trace_(trace), options_(options), interleaving_(trace.profiles) {}

  struct Choice {
    std::vector<std::vector<std::size_t>> groups;  // indices into the queue
    double review_s = kNever;                      // of service, until the rule wants to be asked again
  };

  Choice choose(std::span<const QueuedJob> queue, std::span<const double> running_s,
                std::span<const double> overheads) {
    const bool overhead = options_.event_overhead;
    using Policy = JobsOptions::Policy;
    Choice choice;
    switch (options_.policy) {
      case Policy::kSrtf:
      case Policy::kSrsf:
        choice.groups = alone(first_fit(queue));
        break;
      case Policy::kKnown:
        choice.groups = alone(scheduler::choose_known(queue, options_.gpus));
        break;
      case Policy::kBlind: {
        const auto rates = history_.completion_rates(queue);
        choice.groups = alone(scheduler::choose_by_rate(queue, rates, options_.gpus));
        break;
      }
      case Policy::kSharingKnown:
        choice.groups = scheduler::group_by_rate(queue, scheduler::delays_saved_known(queue), options_.gpus,
                                                 interleaving_);
        break;
      case Policy::kMuriL: {
        std::vector<MuriJob> jobs;
        for (std::size_t job = 0; job < queue.size(); ++job)
          jobs.push_back(
              {.gpus = queue[job].gpus, .running_s = running_s[job], .profile = queue[job].profile});
        choice.groups = choose_muri_l(jobs, options_.gpus, trace_.profiles, interleaving_);
        break;
      }
      case Policy::kSharingBlind:
        choice.groups = scheduler::group_by_rate(queue, scheduler::delays_saved_blind(queue), options_.gpus,
                                                 interleaving_);
        break;
    }
    const bool is_sharing = options_.policy == Policy::kSharingBlind;
    if (options_.policy != Policy::kBlind && !is_sharing) return choice;
    if (choice.groups.size() == queue.size()) return choice;  // all alone: nobody to change places with
    for (const auto& group : choice.groups) {
      const auto speeds = group_speeds(queue, group);
      double lost = 0;
      for (const auto job : group) lost += overhead ? overheads[job] : 0;
      for (std::size_t at = 0; at < group.size(); ++at) {
        const double attained_s = queue[group[at]].attained_s;
        const double left = is_sharing ? scheduler::sharing_review_after_s(attained_s)
                                       : scheduler::ServiceHistory::review_after_s(attained_s);
        choice.review_s = std::min(choice.review_s, std::max(left, 1.0) / speeds[at] + lost);
      }
    }
    return choice;
  }

  std::vector<double> group_speeds(std::span<const QueuedJob> queue, std::span<const std::size_t> group) {
    std::vector<int> profiles;
    for (const auto job : group) profiles.push_back(queue[job].profile);
    return interleaving_.speeds(profiles);
  }

  void ended(const TraceJob& job) { history_.ended(job.gpus, job.work_s); }

 private:
  static std::vector<std::vector<std::size_t>> alone(std::vector<std::size_t> jobs) {
    std::vector<std::vector<std::size_t>> groups;
    for (const auto job : jobs) groups.push_back({job});
    return groups;
  }

  // The published yardsticks: in the order of the queue on the first node with room; wider gangs on wholly
  // free nodes; what does not fit is skipped.
  std::vector<std::size_t> first_fit(std::span<const QueuedJob> queue) const {
    auto free = empty_nodes(options_.gpus);
    std::vector<std::size_t> chosen;
    for (std::size_t job = 0; job < queue.size(); ++job)
      if (place_gang(free, queue[job].gpus)) chosen.push_back(job);
    return chosen;
  }

  const JobTrace& trace_;
  JobsOptions options_;
  scheduler::Interleaving interleaving_;
  scheduler::ServiceHistory history_;
};

// The replay. The queue keeps its order; the yardsticks sort it, each time from their last order, as
// published.
class Replay {
 public:
  Replay(const JobTrace& trace, const JobsOptions& options)
      : trace_(trace), options_(options), rule_(trace, options), runs_(trace.jobs.size()) {
    report_.ends_s.assign(trace.jobs.size(), 0);
    arrivals_.resize(trace.jobs.size());
    std::iota(arrivals_.begin(), arrivals_.end(), std::size_t{0});
    std::ranges::sort(arrivals_, {},
                      [&](std::size_t job) { return std::pair(trace.jobs[job].submit_s, job); });
    for (std::size_t job = 0; job < trace.jobs.size(); ++job) runs_[job].remaining_s = trace.jobs[job].work_s;
  }

  Result<JobsReport> run() {
    // Reviews are bounded by the bins a job can pass; the bound only stops a rule that never lets work go on.
    const std::size_t events_max = 1000 + runs_.size() * 1000;
    while (arrived_ < arrivals_.size() || !active_.empty()) {
      double next = review_;
      for (const auto job : active_)
        if (runs_[job].group_speed > 0) next = std::min(next, runs_[job].end_s);
      if (arrived_ < arrivals_.size()) next = std::min(next, trace_.jobs[arrivals_[arrived_]].submit_s);
      if (next == kNever || ++report_.events > events_max)
        return fail(
            Code::kInternal, "simulation.jobs.stuck",
            fmt::format("the replay stands still at {:.0f} s with {} jobs left", now_, active_.size()));
      advance(next);
      NEAP_TRY_VOID(decide());
    }
    return summary();
  }

 private:
  struct Run {
    double remaining_s = 0, attained_s = 0, running_s = 0;
    double group_speed = 0;  // 0: not running
    double group_overhead_s = 0;
    double end_s = kNever;
  };

  void advance(double to_s) {
    const double step_s = to_s - now_;
    now_ = to_s;
    std::erase_if(active_, [&](std::size_t job) {
      auto& run = runs_[job];
      if (run.group_speed == 0) return false;
      const auto& trace_job = trace_.jobs[job];
      if (run.end_s <= now_) {
        report_.ends_s[job] = now_;
        report_.served_gpu_s += run.remaining_s * trace_job.gpus;
        rule_.ended(trace_job);
        return true;
      }
      const double served = std::max(step_s - run.group_overhead_s, 0.0) * run.group_speed;
      report_.served_gpu_s += served * trace_job.gpus;
      run.remaining_s -= served;
      run.attained_s += served;
      run.running_s += step_s;
      return false;
    });
    while (arrived_ < arrivals_.size() && trace_.jobs[arrivals_[arrived_]].submit_s <= now_)
      active_.push_back(arrivals_[arrived_++]);
  }

  // Equals keep their places.
  template <typename Key>
  void sort_active(Key key) {
    std::vector<std::tuple<double, std::size_t, std::size_t>> order;
    for (std::size_t at = 0; at < active_.size(); ++at)
      order.emplace_back(key(runs_[active_[at]], trace_.jobs[active_[at]].gpus), at, active_[at]);
    std::ranges::sort(order);
    for (std::size_t at = 0; at < order.size(); ++at) active_[at] = std::get<2>(order[at]);
  }

  Status decide() {
    if (options_.policy == JobsOptions::Policy::kSrtf)
      sort_active([](const Run& run, int) { return run.remaining_s; });
    if (options_.policy == JobsOptions::Policy::kSrsf)
      sort_active([](const Run& run, int gpus) { return run.remaining_s * gpus; });
    queue_.clear();
    overheads_.clear();
    running_s_.clear();
    for (const auto job : active_) {
      runs_[job].group_speed = 0;
      runs_[job].end_s = kNever;
      queue_.push_back({.gpus = trace_.jobs[job].gpus,
                        .remaining_s = runs_[job].remaining_s,
                        .attained_s = runs_[job].attained_s,
                        .profile = trace_.jobs[job].profile});
      overheads_.push_back(trace_.jobs[job].overhead_s);
      running_s_.push_back(runs_[job].running_s);
    }
    auto choice = rule_.choose(queue_, running_s_, overheads_);
    review_ = now_ + choice.review_s;
    // The widest first: powers of two then pack whenever their sum fits.
    std::ranges::sort(choice.groups, {}, [&](const auto& group) {
      return std::pair(-queue_[group.front()].gpus, group.front());
    });
    auto free = empty_nodes(options_.gpus);
    int busy = 0;
    for (const auto& group : choice.groups) {
      const int gpus = queue_[group.front()].gpus;
      busy += gpus;
      if (!place_gang(free, gpus))
        return fail(Code::kInternal, "simulation.jobs.capacity",
                    fmt::format("the rule gave out {} accelerators of {}", busy, options_.gpus));
      const auto speeds = rule_.group_speeds(queue_, group);
      double overhead_s = 0;
      for (const auto job : group) overhead_s += options_.event_overhead ? overheads_[job] : 0;
      for (std::size_t at = 0; at < group.size(); ++at) {
        auto& run = runs_[active_[group[at]]];
        if (run.group_speed > 0 || queue_[group[at]].gpus != gpus)
          return fail(Code::kInternal, "simulation.jobs.group",
                      "the rule put a job into two groups or a wrong one");
        run.group_speed = speeds[at];
        run.group_overhead_s = overhead_s;
        run.end_s = now_ + run.remaining_s / speeds[at];
      }
    }
    report_.gpus_busy_max = std::max(report_.gpus_busy_max, busy);
    return {};
  }

  JobsReport summary() {
    report_.jobs = runs_.size();
    std::vector<double> jct;
    for (std::size_t job = 0; job < runs_.size(); ++job) {
      jct.push_back(report_.ends_s[job] - trace_.jobs[job].submit_s);
      report_.makespan_s = std::max(report_.makespan_s, report_.ends_s[job]);
    }
    std::ranges::sort(jct);
    if (!jct.empty()) {
      report_.jct_average_s = std::accumulate(jct.begin(), jct.end(), 0.0) / static_cast<double>(jct.size());
      report_.jct_p99_s = jct[static_cast<std::size_t>(0.99 * static_cast<double>(jct.size()))];
    }
    return std::move(report_);
  }

  const JobTrace& trace_;
  JobsOptions options_;
  Rule rule_;
  std::vector<Run> runs_;
  std::vector<std::size_t> arrivals_, active_;
  std::size_t arrived_ = 0;
  double now_ = 0, review_ = kNever;
  std::vector<QueuedJob> queue_;
  std::vector<double> overheads_, running_s_;
  JobsReport report_;
};

}  // namespace

Result<JobTrace> parse_muri(std::string_view text, std::string_view name) {
  NEAP_TRY(const auto table, CsvTable::parse(text, name, 100'000));
  constexpr std::array kColumns{"num_gpu",         "submit_time",     "iterations",
                                "duration",        "iteration_time",  "resource_time_0",
                                "resource_time_1", "resource_time_2", "model_name"};
  std::array<std::size_t, kColumns.size()> column{};
  for (std::size_t at = 0; at < kColumns.size(); ++at) {
    NEAP_TRY(column[at], table.column(kColumns[at]));
  }
  const auto refuse = [&](std::size_t row, std::size_t at, const char* expected) {
    return fail(Code::kInvalidArgument, "simulation.jobs.trace",
                fmt::format("{}:{}: column `{}` is `{}`; {}", name, table.line(row), kColumns[at],
                            table.text(row, column[at]).substr(0, 40), expected));
  };
  JobTrace trace;
  std::map<std::tuple<double, double, double, double>, int> kinds;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    std::array<double, 8> value{};
    for (std::size_t at = 0; at < value.size(); ++at) {
      NEAP_TRY(value[at], table.number(row, column[at]));
      const bool must_pass_zero = at == 2 || at == 4;
      if (value[at] < 0 || value[at] > 1e15 || (must_pass_zero && value[at] == 0))
        return refuse(row, at,
                      must_pass_zero ? "a number above 0 and at most 1e15 is expected"
                                     : "it must be between 0 and 1e15");
    }
    const int gpus = value[0] <= kGangMax ? static_cast<int>(value[0]) : 0;
    if (gpus != value[0] || !std::has_single_bit(static_cast<unsigned>(gpus)))
      return refuse(row, 0, "a gang is a power of two up to 4096; round it up");
    const scheduler::StageProfile profile{.iteration_ms = value[4],
                                          .stage_ms = {value[5], value[6], value[7]}};
    const auto [kind, added] =
        kinds.try_emplace({value[4], value[5], value[6], value[7]}, static_cast<int>(kinds.size()));
    if (added) trace.profiles.push_back(profile);
    trace.jobs.push_back({.gpus = gpus,
                          .submit_s = value[1] / 1000,
                          .work_s = value[2] * value[4] * 1.015 / 1000,
                          .duration_s = value[3] / 1000,
                          .overhead_s = start_overhead_s(table.text(row, column[8]), gpus),
                          .profile = kind->second,
                          .line = table.line(row)});
  }
  if (trace.jobs.empty())
    return fail(Code::kInvalidArgument, "simulation.jobs.trace",
                fmt::format("{} has no job; at least one row must follow the header", name));
  return trace;
}

Result<JobsReport> simulate_jobs(const JobTrace& trace, const JobsOptions& options) {
  if (options.gpus < kNodeGpus || options.gpus > 65'536 || options.gpus % kNodeGpus != 0)
    return fail(Code::kInvalidArgument, "simulation.jobs.gpus",
                fmt::format("{} accelerators; nodes hold {}, so give a multiple of it up to 65536",
                            options.gpus, kNodeGpus));
  for (const auto& job : trace.jobs)
    if (job.gpus > options.gpus)
      return fail(
          Code::kInvalidArgument, "simulation.jobs.gpus",
          fmt::format("the job at line {} needs {} accelerators of {} and would wait for ever; give more",
                      job.line, job.gpus, options.gpus));
  return Replay(trace, options).run();
}

}  // namespace neap::simulation
