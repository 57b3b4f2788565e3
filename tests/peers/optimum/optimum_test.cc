// The search over whole assignments beside the exact optimum of a mixed-integer solver (COIN-OR Cbc), on
// random small instances; the capacity split beside the same solver's linear programme; and shares of
// accelerator models beside COIN-OR Clp. Prints the gaps; fails where the search is more than a few percent
// away, where it claims more than the optimum, or where a split or a share differs from the programme's.
#include <coin/Cbc_C_Interface.h>
#include <coin/Clp_C_Interface.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "neap/base/draw.h"
#include "neap/scheduler/assignment.h"
#include "neap/scheduler/capacity_split.h"
#include "neap/scheduler/throughput_share.h"

namespace neap {
namespace {

constexpr int kInstances = 100;
constexpr double kGapMax = 0.03, kMedianGapMax = 0.005;

// Columns x[task][place] in {0, 1}; rows: each task at most once, each place's resources.
double solve_exactly(const scheduler::AssignmentProblem& problem) {
  const int tasks = int(problem.tasks), places = int(problem.places), resources = int(problem.resources);
  std::vector<CoinBigIndex> starts{0};
  std::vector<int> rows;
  std::vector<double> factors, lower, upper, worth;
  for (int task = 0; task < tasks; ++task)
    for (int at = 0; at < places; ++at) {
      rows.push_back(task);
      factors.push_back(1);
      for (int r = 0; r < resources; ++r) {
        rows.push_back(tasks + at * resources + r);
        factors.push_back(double(problem.demand[std::size_t(task * resources + r)]));
      }
      starts.push_back(CoinBigIndex(rows.size()));
      const double value = problem.value[std::size_t(task * places + at)];
      lower.push_back(0);
      upper.push_back(value < 0 ? 0 : 1);
      worth.push_back(-value);  // the solver minimises
    }
  std::vector<double> row_lower(std::size_t(tasks + places * resources), -std::numeric_limits<double>::max()),
      row_upper(std::size_t(tasks), 1);
  for (const auto capacity : problem.capacity) row_upper.push_back(double(capacity));
  auto* model = Cbc_newModel();
  Cbc_loadProblem(model, tasks * places, int(row_upper.size()), starts.data(), rows.data(), factors.data(),
                  lower.data(), upper.data(), worth.data(), row_lower.data(), row_upper.data());
  for (int column = 0; column < tasks * places; ++column) Cbc_setInteger(model, column);
  Cbc_setParameter(model, "logLevel", "0");
  Cbc_setParameter(model, "slogLevel", "0");
  Cbc_setParameter(model, "ratioGap", "0");
  Cbc_solve(model);
  const double best = Cbc_isProvenOptimal(model) != 0 ? -Cbc_getObjValue(model) : std::nan("");
  Cbc_deleteModel(model);
  return best;
}

// Costs by the formula the search is meant for: places differ in price, latency and compliance.
scheduler::AssignmentProblem draw_instance(Draw& draw) {
  scheduler::AssignmentProblem problem{
      .tasks = 8 + draw.below(13), .places = 3 + draw.below(4), .resources = 2};
  for (std::size_t i = 0; i < problem.tasks * 2; ++i)
    problem.demand.push_back(std::int64_t(1 + draw.below(8)));
  for (std::size_t i = 0; i < problem.places * 2; ++i)
    problem.capacity.push_back(std::int64_t(2 * problem.tasks / problem.places +
                                            draw.below(4 * problem.tasks / problem.places + 4)));
  std::vector<double> price, latency, compliance;
  for (std::size_t at = 0; at < problem.places; ++at) {
    price.push_back(0.1 + 4 * draw.unit());
    latency.push_back(1 + 99 * draw.unit());
    compliance.push_back(draw.unit());
  }
  const double cheapest = *std::ranges::min_element(price), fastest = *std::ranges::min_element(latency);
  for (std::size_t task = 0; task < problem.tasks; ++task) {
    const scheduler::FitnessWeights weights{draw.unit(), draw.unit(), draw.unit()};
    for (std::size_t at = 0; at < problem.places; ++at)
      problem.value.push_back(draw.below(8) == 0
                                  ? -1
                                  : scheduler::compute_fitness(weights, price[at], cheapest, latency[at],
                                                               fastest, compliance[at]));
  }
  return problem;
}

bool compare_assignments() {
  Draw draw(2026);
  std::vector<double> gaps, greedy_gaps;
  for (int i = 0; i < kInstances; ++i) {
    const auto problem = draw_instance(draw);
    const double best = solve_exactly(problem);
    const double found = scheduler::search_assignment(problem, {.seed = std::uint64_t(i)}).value;
    if (!(found <= best + 1e-6)) {
      std::printf("instance %d: the search claims %.6f where the optimum is %.6f\n", i, found, best);
      return false;
    }
    gaps.push_back(best > 0 ? 1 - found / best : 0);
    greedy_gaps.push_back(best > 0 ? 1 - scheduler::assign_greedily(problem).value / best : 0);
  }
  std::ranges::sort(gaps);
  std::ranges::sort(greedy_gaps);
  const auto print = [](const char* what, const std::vector<double>& sorted) {
    std::printf("%-8s gap to the optimum on %d instances: median %.3f %%, worst %.3f %%, exact on %td\n",
                what, kInstances, 100 * sorted[sorted.size() / 2], 100 * sorted.back(),
                std::ranges::count_if(sorted, [](double gap) { return gap < 1e-7; }));
  };
  print("greedy", greedy_gaps);
  print("search", gaps);
  return gaps.back() <= kGapMax && gaps[gaps.size() / 2] <= kMedianGapMax;
}

bool compare_splits() {
  Draw draw(7);
  for (int i = 0; i < kInstances; ++i) {
    std::vector<scheduler::CapacityOffer> offers;
    std::vector<CoinBigIndex> starts{0};
    std::vector<int> rows;
    std::vector<double> ones, lower, upper, price;
    std::int64_t all = 0;
    for (std::size_t n = 1 + draw.below(8); offers.size() < n;) {
      offers.push_back({fmt::format("offer-{}", offers.size()),
                        std::int64_t(draw.below(500)),
                        {std::int64_t(draw.below(5'000'000))}});
      all += offers.back().capacity;
      rows.push_back(0);
      ones.push_back(1);
      starts.push_back(CoinBigIndex(rows.size()));
      lower.push_back(0);
      upper.push_back(double(offers.back().capacity));
      price.push_back(double(offers.back().price.value));
    }
    const auto demand = std::int64_t(draw.below(std::uint64_t(all) + 1));
    const std::vector<double> asked{double(demand)};
    auto* model = Cbc_newModel();
    Cbc_loadProblem(model, int(offers.size()), 1, starts.data(), rows.data(), ones.data(), lower.data(),
                    upper.data(), price.data(), asked.data(), asked.data());
    // Whole data have a whole optimum, so this is the programme's; only the integer solver can be told to be
    // silent.
    for (std::size_t column = 0; column < offers.size(); ++column) Cbc_setInteger(model, int(column));
    Cbc_setParameter(model, "logLevel", "0");
    Cbc_solve(model);
    const double best = Cbc_getObjValue(model);
    Cbc_deleteModel(model);
    const auto split = scheduler::split_demand(offers, demand);
    if (!split || std::abs(double(split->cost.value) - best) > 1 + 1e-9 * best) {
      std::printf("split %d: the programme's optimum is %.0f\n", i, best);
      return false;
    }
  }
  std::printf("capacity split: equal to the linear programme on %d instances\n", kInstances);
  return true;
}

struct ShareInstance {
  std::vector<scheduler::SharingJob> jobs;
  std::vector<std::int64_t> capacity;
};

// Some jobs are shut out of models, some ask gangs, some are alike.
ShareInstance draw_share(Draw& draw) {
  ShareInstance out;
  for (std::size_t models = 2 + draw.below(4); out.capacity.size() < models;)
    out.capacity.push_back(std::int64_t(8 + draw.below(64)));
  for (std::size_t jobs = 5 + draw.below(40); out.jobs.size() < jobs;) {
    if (!out.jobs.empty() && draw.below(4) == 0) {
      out.jobs.push_back(out.jobs[draw.below(out.jobs.size())]);
      continue;
    }
    scheduler::SharingJob job{.gpus = 1 << draw.below(4),
                              .weight = 0.25 + 2 * draw.unit(),
                              .throughput = {},
                              .steps_left = std::pow(10, 1 + 4 * draw.unit())};
    for (std::size_t model = 0; model < out.capacity.size(); ++model)
      job.throughput.push_back(model > 0 && draw.below(5) == 0 ? 0 : std::pow(10, 3 * draw.unit() - 1));
    out.jobs.push_back(std::move(job));
  }
  return out;
}

// The programme as stated in throughput_share.h, every job a row: columns are its fractions, then the level
// that none falls below (for a makespan, steps of each per second of it).
double solve_share(const ShareInstance& instance, scheduler::ShareObjective objective) {
  const auto jobs = instance.jobs.size(), models = instance.capacity.size();
  const bool has_level = objective != scheduler::ShareObjective::kMaxTotal;
  double all = 0;
  for (const auto capacity : instance.capacity) all += double(capacity);
  std::vector<CoinBigIndex> starts{0};
  std::vector<int> rows;
  std::vector<double> factors, worth;
  const auto add = [&](std::size_t row, double factor) {
    rows.push_back(int(row));
    factors.push_back(factor);
  };
  std::vector<double> spread(jobs);
  for (std::size_t job = 0; job < jobs; ++job)
    for (std::size_t model = 0; model < models; ++model)
      spread[job] += instance.jobs[job].throughput[model] * double(instance.capacity[model]) / all;
  for (std::size_t job = 0; job < jobs; ++job)
    for (std::size_t model = 0; model < models; ++model) {
      const auto& one = instance.jobs[job];
      add(job, 1);
      add(jobs + model, one.gpus);
      const double measure =
          objective == scheduler::ShareObjective::kMinMakespan ? one.steps_left : one.weight * spread[job];
      if (has_level) add(jobs + models + job, -one.throughput[model] / measure);
      worth.push_back(has_level ? 0 : -one.weight * one.throughput[model] / spread[job]);
      starts.push_back(CoinBigIndex(rows.size()));
    }
  if (has_level) {
    for (std::size_t job = 0; job < jobs; ++job) add(jobs + models + job, 1);
    worth.push_back(-1);
    starts.push_back(CoinBigIndex(rows.size()));
  }
  std::vector<double> row_upper(jobs, 1);
  for (const auto capacity : instance.capacity) row_upper.push_back(double(capacity));
  row_upper.resize(jobs + models + (has_level ? jobs : 0), 0);
  const std::vector<double> row_lower(row_upper.size(), -std::numeric_limits<double>::max()),
      lower(worth.size(), 0), upper(worth.size(), std::numeric_limits<double>::max());
  auto* model = Clp_newModel();
  Clp_setLogLevel(model, 0);
  Clp_loadProblem(model, int(worth.size()), int(row_upper.size()), starts.data(), rows.data(), factors.data(),
                  lower.data(), upper.data(), worth.data(), row_lower.data(), row_upper.data());
  Clp_setPrimalTolerance(model, 1e-9);
  Clp_setDualTolerance(model, 1e-9);
  Clp_dual(model, 0);
  const double best = Clp_status(model) == 0 ? -Clp_objectiveValue(model) : std::nan("");
  Clp_deleteModel(model);
  return objective == scheduler::ShareObjective::kMinMakespan ? 1 / best : best;
}

bool compare_shares() {
  using Objective = scheduler::ShareObjective;
  constexpr double kShareGapMax = 1e-6;
  for (const auto& [objective, name] : {std::pair{Objective::kMaxMinFair, "max-min fair"},
                                        {Objective::kMaxTotal, "max total"},
                                        {Objective::kMinMakespan, "min makespan"}}) {
    Draw draw(31);
    double worst = 0;
    for (int i = 0; i < kInstances; ++i) {
      const auto instance = draw_share(draw);
      const double best = solve_share(instance, objective);
      const auto share = scheduler::share_by_throughput(instance.jobs, instance.capacity, objective);
      const double gap = share ? std::abs(share->value / best - 1) : std::nan("");
      if (!(gap <= kShareGapMax)) {
        std::printf("share %d (%s): %s, the programme's optimum is %.9g\n", i, name,
                    share ? fmt::format("{:.9g}", share->value).c_str() : share.error().message.c_str(),
                    best);
        return false;
      }
      worst = std::max(worst, gap);
    }
    std::printf("shares of accelerator models, %s: equal to Clp on %d instances, worst gap %.1e\n", name,
                kInstances, worst);
  }
  return true;
}

}  // namespace
}  // namespace neap

int main() {
  const bool assignments_hold = neap::compare_assignments();
  const bool splits_hold = neap::compare_splits();
  const bool shares_hold = neap::compare_shares();
  return assignments_hold && splits_hold && shares_hold ? 0 : 1;
}
