// Jobs with a deadline replayed on recorded spot capacity: what each policy would have paid, and how often
// late.
//
// Order within a tick: the tick just ended is paid at the price of what was held in it (a started tick whole)
// and counts as work beyond the changeover still pending; a job that is done stops; a spot instance whose
// zone has no capacity any more is lost; the policy chooses; a new instance owes a whole changeover. A job
// that reaches the end of its window is late.
//
// Sources: Wu et al., "Can't Be Late", NSDI 2024 (greedy, Uniform Progress); the policies called markov and
// optimum are backward dynamic programmes: over estimated chances of return and reclaim, and over the
// recorded future.
//
// Threads: pure; runs of distinct policies may go side by side.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "neap/base/result.h"
#include "neap/scheduler/deadline.h"
#include "neap/simulation/spot_trace.h"

namespace neap::simulation {

enum class SpotRule : std::uint8_t {
  kOnDemand,
  kGreedy,           // spot while there is some, on-demand to the end when it must be
  kUniformProgress,  // and on-demand whenever behind the straight line
  kMarkov,           // least expected cost under two chances a tick, counted over the windows replayed
  kNeap,             // the product's planner, which learns within the window alone
  kOptimum,          // knows the future: the least any policy could pay
};

Result<SpotRule> parse_spot_rule(std::string_view name);
std::string_view name_of(SpotRule rule);

// Chances of a tick, over zones taken together.
struct SpotRates {
  double returns = 0;   // available next | not now, in a job's zones together
  double reclaims = 0;  // not available next | available now, in one zone
};
SpotRates count_spot_rates(std::span<const SpotWindow> windows);

// Times in seconds; `tick_s` comes from the window.
struct SpotTerms {
  std::int64_t work_s = 0, deadline_s = 0, changeover_s = 0;
  double on_demand_price = 3.06;  // $/h
};

struct SpotRun {
  double cost = 0;  // $
  bool is_late = false;
  std::int64_t instances = 0, spot_ticks = 0, on_demand_ticks = 0, idle_ticks = 0;
};

// A policy for windows of one tick length; begin() before each window.
class SpotPolicy {
 public:
  virtual ~SpotPolicy() = default;
  virtual void begin(const scheduler::DeadlineJob& job, std::size_t zones) = 0;
  // Spot only in a zone that is available.
  virtual scheduler::Capacity decide(const scheduler::DeadlineProgress& now,
                                     std::span<const scheduler::ZoneOffer> offers) = 0;
};

// `rule` is not kOptimum, which sees the window (compute_spot_optimum). `rates`, `usual_price` ($/h): for
// kMarkov.
std::unique_ptr<SpotPolicy> make_spot_policy(SpotRule rule, const SpotRates& rates, double usual_price);

SpotRun replay_spot(const SpotWindow& window, const SpotTerms& terms, SpotPolicy& policy);
// Exact. Infinite cost and late where the window does not let the job be done in time.
SpotRun compute_spot_optimum(const SpotWindow& window, const SpotTerms& terms);

struct SpotSummary {
  std::int64_t runs = 0, late = 0;
  double cost_mean = 0, cost_std = 0;  // $; of the population
};
SpotSummary summarize_spot(std::span<const SpotRun> runs);

// Refuses terms that no replay can take: work, deadline or price out of range, more states than memory
// allows.
Result<std::vector<SpotRun>> simulate_spot(std::span<const SpotWindow> windows, const SpotTerms& terms,
                                           SpotRule rule);

}  // namespace neap::simulation
