#include "neap/simulation/spot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "internal/spot_policies.h"

namespace neap::simulation {
namespace {

using scheduler::Capacity;
using scheduler::DeadlineJob;
using scheduler::DeadlineProgress;
using scheduler::ZoneOffer;

constexpr std::array<std::pair<std::string_view, SpotRule>, 6> kRules{
    {{"on-demand", SpotRule::kOnDemand},
     {"greedy", SpotRule::kGreedy},
     {"uniform-progress", SpotRule::kUniformProgress},
     {"markov", SpotRule::kMarkov},
     {"neap", SpotRule::kNeap},
     {"optimum", SpotRule::kOptimum}}};

double mean_spot_price(std::span<const SpotWindow> windows) {
  double sum = 0, count = 0;
  for (const auto& window : windows)
    for (std::size_t tick = 0; tick < window.ticks(); ++tick) {
      double cheapest = std::numeric_limits<double>::infinity();
      for (const auto& zone : window.zones)
        if (zone.available[tick] != 0) cheapest = std::min<double>(cheapest, zone.prices[tick]);
      if (std::isfinite(cheapest)) sum += cheapest, count += 1;
    }
  return count > 0 ? sum / count : 0;
}

}  // namespace

Result<SpotRule> parse_spot_rule(std::string_view name) {
  for (const auto& [word, rule] : kRules)
    if (word == name) return rule;
  return fail(
      Code::kInvalidArgument, "simulation.spot.policy",
      fmt::format(
          "there is no policy '{}'; take on-demand, greedy, uniform-progress, markov, neap or optimum",
          name.substr(0, 40)));
}

std::string_view name_of(SpotRule rule) {
  return std::ranges::find(kRules, rule, &std::pair<std::string_view, SpotRule>::second)->first;
}

SpotRates count_spot_rates(std::span<const SpotWindow> windows) {
  double absent = 0, returned = 0, present = 0, lost = 0;
  for (const auto& window : windows) {
    bool was_any = false;
    for (std::size_t tick = 0; tick < window.ticks(); ++tick) {
      bool is_any = false;
      for (const auto& zone : window.zones) {
        is_any = is_any || zone.available[tick] != 0;
        if (tick == 0 || zone.available[tick - 1] == 0) continue;
        present += 1;
        lost += zone.available[tick] == 0;
      }
      if (tick > 0 && !was_any) {
        absent += 1;
        returned += is_any;
      }
      was_any = is_any;
    }
  }
  return {absent > 0 ? returned / absent : 0, present > 0 ? lost / present : 0};
}

SpotRun replay_spot(const SpotWindow& window, const SpotTerms& terms, SpotPolicy& policy) {
  const DeadlineJob job{terms.work_s, terms.deadline_s, terms.changeover_s, window.tick_s,
                        terms.on_demand_price};
  policy.begin(job, window.zones.size());
  std::vector<ZoneOffer> offers(window.zones.size());
  DeadlineProgress now;
  SpotRun run;
  double price = 0;
  const double hours = static_cast<double>(window.tick_s) / 3600;
  for (std::size_t tick = 0;; ++tick) {
    now.elapsed_s = static_cast<std::int64_t>(tick) * window.tick_s;
    if (tick > 0 && now.held.tier != Capacity::Tier::kNone) {
      run.cost += price * hours;
      now.done_s += std::max<std::int64_t>(window.tick_s - now.pending_s, 0);
      now.pending_s = std::max<std::int64_t>(now.pending_s - window.tick_s, 0);
    }
    if (now.done_s >= job.work_s) {
      run.is_late = now.elapsed_s > job.deadline_s;
      return run;
    }
    if (tick == window.ticks()) {
      run.is_late = true;
      return run;
    }
    for (std::size_t zone = 0; zone < offers.size(); ++zone)
      offers[zone] = {window.zones[zone].available[tick] != 0, window.zones[zone].prices[tick]};
    if (now.held.is_spot() && !offers[now.held.zone].is_available) now.held = Capacity::none();
    if (now.held.tier == Capacity::Tier::kNone) now.pending_s = 0;
    const auto choice = policy.decide(now, offers);
    if (choice != now.held && choice.tier != Capacity::Tier::kNone) ++run.instances;
    now.pending_s = scheduler::pending_after(job, now, choice);
    now.held = choice;
    run.spot_ticks += choice.is_spot();
    run.on_demand_ticks += choice.tier == Capacity::Tier::kOnDemand;
    run.idle_ticks += choice.tier == Capacity::Tier::kNone;
    price = choice.is_spot() ? offers[choice.zone].price : job.on_demand_price;
  }
}

SpotSummary summarize_spot(std::span<const SpotRun> runs) {
  SpotSummary summary;
  if (runs.empty()) return summary;
  summary.runs = static_cast<std::int64_t>(runs.size());
  const auto count = static_cast<double>(runs.size());
  for (const auto& run : runs) {
    summary.cost_mean += run.cost / count;
    summary.late += run.is_late;
  }
  double squares = 0;
  for (const auto& run : runs) squares += (run.cost - summary.cost_mean) * (run.cost - summary.cost_mean);
  summary.cost_std = std::sqrt(squares / count);
  return summary;
}

Result<std::vector<SpotRun>> simulate_spot(std::span<const SpotWindow> windows, const SpotTerms& terms,
                                           SpotRule rule) {
  constexpr std::int64_t kSecondsMax = 366 * 86'400;
  if (terms.work_s < 1 || terms.deadline_s < terms.work_s || terms.deadline_s > kSecondsMax)
    return fail(Code::kInvalidArgument, "simulation.spot.terms",
                "work must be more than nothing, and the deadline at least the work and at most a year; give "
                "--work-hours "
                "and --deadline-hours so");
  if (terms.changeover_s < 0 || terms.changeover_s > terms.deadline_s)
    return fail(Code::kInvalidArgument, "simulation.spot.terms",
                "the changeover is negative or longer than the deadline; give a --changeover-hours between");
  if (!std::isfinite(terms.on_demand_price) || terms.on_demand_price < 0)
    return fail(Code::kInvalidArgument, "simulation.spot.terms",
                "the on-demand price is no amount; give dollars an hour, 0 or more");
  if (rule == SpotRule::kMarkov || rule == SpotRule::kOptimum)
    for (const auto& window : windows)
      NEAP_TRY_VOID(check_exact_size(terms, window.tick_s, window.zones.size()));
  std::vector<SpotRun> runs;
  runs.reserve(windows.size());
  if (rule == SpotRule::kOptimum) {
    for (const auto& window : windows) runs.push_back(compute_spot_optimum(window, terms));
    return runs;
  }
  const auto policy = make_spot_policy(rule, count_spot_rates(windows), mean_spot_price(windows));
  for (const auto& window : windows) runs.push_back(replay_spot(window, terms, *policy));
  return runs;
}

}  // namespace neap::simulation
