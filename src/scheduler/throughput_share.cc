#include "neap/scheduler/throughput_share.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "internal/simplex.h"

namespace neap::scheduler {
namespace {

constexpr std::size_t kKindsMax = 512, kModelsMax = 16, kJobsMax = 1'000'000;

// Jobs alike in all numbers.
struct Kind {
  const SharingJob* job = nullptr;
  double count = 0;
  double spread = 0;  // throughput over all models as capacity is
};

struct Programme {
  std::vector<Kind> kinds;
  std::vector<std::size_t> kind_of;  // each job's
  double capacity = 0;
};

Status check(const SharingJob& job, std::size_t index, std::size_t models) {
  const auto refuse = [&](std::string_view what) {
    return fail(Code::kInvalidArgument, "share.input", fmt::format("job {} {}", index, what));
  };
  const auto is_amount = [](double value) { return std::isfinite(value) && value >= 0 && value <= 1e12; };
  if (job.gpus <= 0) return refuse("asks no accelerator; give 1 or more");
  if (!(job.weight > 0) || !is_amount(job.weight)) return refuse("has no weight above 0 and up to 1e12");
  if (!(job.steps_left > 0) || !is_amount(job.steps_left))
    return refuse("has no steps left; give a number above 0 and up to 1e12, or leave it out");
  if (job.throughput.size() != models)
    return refuse(
        fmt::format("has {} throughputs for {} models; give one each", job.throughput.size(), models));
  if (!std::ranges::all_of(job.throughput, is_amount))
    return refuse("has a throughput that is no number from 0 to 1e12");
  return ok();
}

Result<Programme> make_programme(std::span<const SharingJob> jobs, std::span<const std::int64_t> capacity) {
  if (capacity.size() > kModelsMax || jobs.size() > kJobsMax)
    return fail(Code::kInvalidArgument, "share.size",
                fmt::format("{} models and {} jobs; up to {} and {} are shared in one programme",
                            capacity.size(), jobs.size(), kModelsMax, kJobsMax));
  Programme out;
  for (const auto amount : capacity) {
    if (amount < 0 || amount > 1'000'000'000)
      return fail(Code::kInvalidArgument, "share.input",
                  fmt::format("a capacity is {}; give accelerators from 0 to 1e9", amount));
    out.capacity += double(amount);
  }
  using Key = std::tuple<int, double, double, std::vector<double>>;
  std::map<Key, std::size_t> known;
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    const auto& job = jobs[index];
    NEAP_TRY_VOID(check(job, index, capacity.size()));
    const auto [at, is_new] =
        known.try_emplace(Key{job.gpus, job.weight, job.steps_left, job.throughput}, out.kinds.size());
    if (is_new) {
      Kind kind{.job = &job};
      for (std::size_t model = 0; model < capacity.size(); ++model)
        if (job.gpus <= capacity[model]) kind.spread += job.throughput[model] * double(capacity[model]);
      if (!(kind.spread > 0))
        return fail(Code::kInvalidArgument, "share.input",
                    fmt::format("job {} fits and runs on no model; leave it out", index));
      kind.spread /= out.capacity;
      out.kinds.push_back(kind);
    }
    out.kinds[at->second].count += 1;
    out.kind_of.push_back(at->second);
  }
  if (out.kinds.size() > kKindsMax)
    return fail(
        Code::kInvalidArgument, "share.size",
        fmt::format("{} kinds of jobs; up to {} are shared in one programme, so round their throughputs",
                    out.kinds.size(), kKindsMax));
  return out;
}

ThroughputShare spread_to_jobs(const Programme& programme, std::span<const SharingJob> jobs,
                               std::size_t models, const std::vector<double>& by_kind) {
  ThroughputShare out;
  out.fractions.reserve(jobs.size() * models);
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    double throughput = 0;
    for (std::size_t model = 0; model < models; ++model) {
      const double fraction = by_kind[programme.kind_of[index] * models + model];
      out.fractions.push_back(fraction);
      throughput += fraction * jobs[index].throughput[model];
    }
    out.throughput.push_back(throughput);
  }
  return out;
}

// Columns: the fraction of each member of a kind on each model, then the least level. Rows: a kind's time, a
// model's capacity, and, where a least level is asked for, level <= each kind's throughput over its measure.
Result<std::vector<double>> solve(const Programme& programme, std::span<const std::int64_t> capacity,
                                  ShareObjective objective) {
  const auto kinds = programme.kinds.size(), models = capacity.size();
  const bool has_level = objective != ShareObjective::kMaxTotal;
  const auto level = kinds * models;
  Simplex simplex(kinds + models + (has_level ? kinds : 0), level + (has_level ? 1 : 0));
  // Measures near 1 keep the numbers close to each other.
  std::vector<double> measure;
  for (const auto& kind : programme.kinds)
    measure.push_back(objective == ShareObjective::kMinMakespan ? kind.job->steps_left / kind.spread
                                                                : kind.job->weight);
  const double largest = *std::ranges::max_element(measure);
  for (std::size_t k = 0; k < kinds; ++k) {
    const auto& kind = programme.kinds[k];
    simplex.bound(k) = 1;
    for (std::size_t model = 0; model < models; ++model) {
      const auto column = k * models + model;
      // A gang wider than the model's capacity does not run there.
      const double normal = kind.job->gpus <= capacity[model] ? kind.job->throughput[model] / kind.spread : 0;
      if (normal == 0) continue;
      simplex.at(k, column) = 1;
      simplex.at(kinds + model, column) = kind.count * kind.job->gpus / double(capacity[model]);
      const double weight = objective == ShareObjective::kMinMakespan ? 1 : kind.job->weight;
      if (has_level) simplex.at(kinds + models + k, column) = -normal * largest / measure[k];
      simplex.gain(has_level ? 1 : 0, column) = kind.count * weight * normal;
    }
    if (has_level) simplex.at(kinds + models + k, level) = 1;
  }
  for (std::size_t model = 0; model < models; ++model) simplex.bound(kinds + model) = 1;
  if (has_level) simplex.gain(0, level) = 1;
  if (!simplex.solve())
    return fail(
        Code::kInvalidArgument, "share.rounding",
        "the programme was not solved in its steps: throughputs or weights are too far apart; measure "
        "them in nearer units");
  std::vector<double> out(kinds * models);
  for (std::size_t column = 0; column < out.size(); ++column)
    out[column] = std::clamp(simplex.value(column), 0.0, 1.0);
  return out;
}

}  // namespace

Result<ThroughputShare> share_by_throughput(std::span<const SharingJob> jobs,
                                            std::span<const std::int64_t> capacity,
                                            ShareObjective objective) {
  NEAP_TRY(const auto programme, make_programme(jobs, capacity));
  if (jobs.empty()) return ThroughputShare{};
  NEAP_TRY(const auto by_kind, solve(programme, capacity, objective));
  auto out = spread_to_jobs(programme, jobs, capacity.size(), by_kind);
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    const auto& job = jobs[index];
    const double normal = out.throughput[index] / programme.kinds[programme.kind_of[index]].spread;
    switch (objective) {
      case ShareObjective::kMaxMinFair:
        out.value = index == 0 ? normal / job.weight : std::min(out.value, normal / job.weight);
        break;
      case ShareObjective::kMaxTotal:
        out.value += job.weight * normal;
        break;
      case ShareObjective::kMinMakespan:
        out.value = std::max(out.value, job.steps_left / out.throughput[index]);
        break;
    }
  }
  return out;
}

Result<ThroughputShare> share_equally(std::span<const SharingJob> jobs,
                                      std::span<const std::int64_t> capacity) {
  NEAP_TRY(const auto programme, make_programme(jobs, capacity));
  double asked = 0;
  for (const auto& job : jobs) asked += job.gpus;
  const double each = asked > 0 ? std::min(1.0, programme.capacity / asked) : 0;
  std::vector<double> by_kind;
  for (const auto& kind : programme.kinds)
    for (std::size_t model = 0; model < capacity.size(); ++model)
      by_kind.push_back(
          kind.job->gpus <= capacity[model] ? each * double(capacity[model]) / programme.capacity : 0);
  return spread_to_jobs(programme, jobs, capacity.size(), by_kind);
}

std::vector<int> ShareRounds::next(std::span<const std::uint64_t> ids, std::span<const int> gpus,
                                   std::span<const double> fractions,
                                   std::span<const std::int64_t> capacity) {
  constexpr double kOwedMax = 16;
  const auto models = capacity.size();
  std::map<std::uint64_t, std::vector<double>> owed;
  std::vector<std::tuple<double, std::size_t, std::size_t>> order;  // debt (negative), job, model
  std::vector<std::vector<double>*> of_job;
  for (std::size_t job = 0; job < ids.size(); ++job) {
    auto& debts = owed[ids[job]];
    if (const auto known = owed_.find(ids[job]); known != owed_.end()) debts = std::move(known->second);
    debts.resize(models);
    of_job.push_back(&debts);
    for (std::size_t model = 0; model < models; ++model) {
      const double fraction = fractions[job * models + model];
      debts[model] = std::clamp(debts[model] + fraction, -kOwedMax, kOwedMax);
      if (fraction > 0) order.emplace_back(-debts[model], job, model);
    }
  }
  std::ranges::sort(order);
  std::vector<int> chosen(ids.size(), kNone);
  std::vector<std::int64_t> left(capacity.begin(), capacity.end());
  for (const auto& [debt, job, model] : order) {
    if (chosen[job] != kNone || gpus[job] > left[model]) continue;
    left[model] -= gpus[job];
    chosen[job] = int(model);
    (*of_job[job])[model] -= 1;
  }
  owed_ = std::move(owed);
  return chosen;
}

}  // namespace neap::scheduler
