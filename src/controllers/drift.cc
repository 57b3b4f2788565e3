#include "internal/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "internal/deadlines.h"
#include "internal/placement.h"
#include "internal/preemption.h"
#include "internal/queueing.h"
#include "neap/base/saturate.h"
#include "neap/controllers/prices.h"
#include "neap/scheduler/burst.h"

namespace neap::controllers {
namespace {

using api::TrainingJob;

constexpr double kNever_h = 1e6;
constexpr double kUnstated_h = 1;
// Sixteen cores count as a device.
constexpr double kCoresPerDevice = 16;
// A forecast walks nodes x runs x queue once for each that leaves: of a long queue the first are forecast,
// and the rest waits behind them.
constexpr double kForecastWork = 2e7;
constexpr std::size_t kForecastMax = 50, kForecastMin = 2;

// More devices or cores than any pool has; twice as many still are an int.
constexpr std::int64_t kUnitsMax = 1'000'000'000;

// What people are told changes no oftener.
using TenMinutes = std::chrono::duration<std::int64_t, std::ratio<600>>;

double hours(Duration d) { return to_seconds(d) / 3600; }

// The model whose devices it holds; empty: it holds cores.
std::string pool_of(const api::Resources& resources) {
  return resources.accelerators.empty() ? std::string{} : resources.accelerators.begin()->first;
}

int whole_units(std::int64_t milli) {
  return int(std::clamp<std::int64_t>(milli / 1000 + (milli % 1000 > 0 ? 1 : 0), 0, kUnitsMax));
}

// Devices, or cores where there is no model.
int units_of(const api::Resources& resources, const std::string& model) {
  if (model.empty()) return whole_units(resources.cpu.value);
  const auto held = resources.accelerators.find(model);
  return held == resources.accelerators.end() ? 0 : whole_units(held->second.value);
}

int gang_units(const TrainingJob& job, const std::string& model) {
  return int(std::clamp<std::int64_t>(
      multiply_saturated(units_of(job.spec.resources, model), job.spec.replicas), 1, kUnitsMax));
}

bool drifts(const TrainingJob& job) {
  return job.spec.costStrategy == "PrivateFirst" && !job.metadata.deletionTimestamp && !job.spec.suspend &&
         job.status.phase != "Succeeded" && job.status.phase != "Failed";
}

double left_h(const Pass& pass, const TrainingJob& job) {
  if (job.spec.expectedDuration <= Duration::zero()) return kUnstated_h;
  const auto left = to_seconds(job.spec.expectedDuration) - progress_of(pass.state, job).done_s;
  return std::max(left, 60.0) / 3600;
}

const api::RunRecord* current_run(const TrainingJob& job) {
  for (const auto& run : job.status.runs)
    if (run.epoch == job.status.epoch) return &run;
  return nullptr;
}

scheduler::BurstRule rule_of(const std::string& model) {
  scheduler::BurstRule rule;
  if (!model.empty()) return rule;
  rule.wait_h_per_gpu_hour /= kCoresPerDevice;
  rule.home_worth *= kCoresPerDevice;
  return rule;
}

struct Pool {
  std::vector<std::string> nodes;  // private ones that have the model
  std::vector<int> free;
  int per_node = 1;
  std::vector<scheduler::PrivateRun> runs;
  std::vector<const TrainingJob*> waiting, abroad;
};

}  // namespace

struct DriftTable::Round {
  const Pass& pass;
  DriftTable& out;
  std::set<std::string> public_sites = {};
  std::vector<Holding> holdings = {};
  std::map<std::string, Pool> pools = {};                                 // by model
  std::map<std::string, std::optional<scheduler::Snapshot>> worlds = {};  // private nodes, by project

  void read();
  void fill(const std::string& model, Pool& pool);
  std::optional<Placement> place_privately(const TrainingJob& job);
  void send_out(const std::string& model, Pool& pool);
  void call_home(const std::string& model, Pool& pool);
};

void DriftTable::Round::read() {
  for (const auto& [key, site] : pass.state.all<api::Site>())
    if (site.spec.tier == api::Tier::kPublic) public_sites.insert(key.name);
  for (const auto& [key, job] : pass.state.all<TrainingJob>()) {
    if (!drifts(job) || (pass.deadlines && pass.deadlines->find(job))) continue;
    auto& pool = pools[pool_of(job.spec.resources)];
    if (asks_for_place(pass, job) && !nomination_of(job))
      pool.waiting.push_back(&job);
    else if (job.status.phase == "Running" && public_sites.contains(job.status.site))
      pool.abroad.push_back(&job);
  }
  if (!pools.empty()) holdings = holdings_of(pass, {});
  for (auto& [model, pool] : pools) {
    std::ranges::sort(pool.waiting, {}, [&](const auto* job) {
      return std::pair(job->metadata.creationTimestamp.value_or(WallTime{}), key_of(*job));
    });
    fill(model, pool);
  }
}

void DriftTable::Round::fill(const std::string& model, Pool& pool) {
  std::map<std::string, std::size_t, std::less<>> index;
  for (const auto& [key, node] : pass.state.all<api::Node>()) {
    if (public_sites.contains(node.spec.site) || node.spec.unschedulable ||
        !condition_is_true(node.status.conditions, "Ready"))
      continue;
    const int units = units_of(node.status.allocatable, model);
    if (units == 0) continue;
    index.emplace(key.name, pool.nodes.size());
    pool.nodes.push_back(key.name);
    pool.free.push_back(units);
    pool.per_node = std::max(pool.per_node, units);
  }
  std::map<ObjectKey, scheduler::PrivateRun> runs;
  for (const auto& holding : holdings) {
    const auto at = index.find(holding.node);
    const int held = units_of(*holding.resources, model);
    if (at == index.end() || held == 0) continue;
    pool.free[at->second] = std::max(0, pool.free[at->second] - held);
    if (holding.owner_kind != "TrainingJob") continue;
    const ObjectKey key{std::string(holding.project), std::string(holding.owner_name)};
    const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
    auto& run = runs[key];
    run.left_h = job && job->spec.expectedDuration > Duration::zero() ? left_h(pass, *job) : kNever_h;
    run.place.gpus_each = held;
    run.place.nodes.push_back(at->second);
  }
  for (auto& [key, run] : runs) pool.runs.push_back(std::move(run));
}

// As if there were no public site.
std::optional<Placement> DriftTable::Round::place_privately(const TrainingJob& job) {
  const auto [at, is_new] = worlds.try_emplace(job.metadata.namespace_);
  if (is_new)
    if (auto snapshot = snapshot_of(pass, job.metadata.namespace_, {})) {
      snapshot->queues.clear();  // judged where it is placed
      std::erase_if(snapshot->nodes, [&](const auto& node) { return public_sites.contains(node.site); });
      at->second = std::move(*snapshot);
    }
  const auto inputs = resolve_inputs(pass, job);
  if (!at->second || !inputs) return {};
  const auto request = request_of(pass, job, *inputs);
  if (!request) return {};
  scheduler::Options options;
  options.now = pass.wall();
  options.suggestions_max = 0;
  auto plan = scheduler::decide(*at->second, std::span(&*request, 1), options);
  if (!plan.decisions.front().is_placed) return {};
  auto placement = placement_of(plan.decisions.front(), plan.currency);
  scheduler::apply_plan(*at->second, std::span(&*request, 1), plan);
  return placement;
}

void DriftTable::Round::send_out(const std::string& model, Pool& pool) {
  const auto rule = rule_of(model);
  const double a_round = double(std::max<std::size_t>(1, pool.nodes.size())) * double(pool.runs.size() + 1);
  const auto most = std::clamp(std::size_t(std::sqrt(kForecastWork / a_round)), kForecastMin, kForecastMax);
  for (; pool.waiting.size() > most; pool.waiting.pop_back())
    out.waits_[key_of(*pool.waiting.back())] =
        fmt::format("stays with private capacity until the {} before it have a place or go out", most);
  std::vector<scheduler::WaitingGang> queue;
  for (const auto* job : pool.waiting)
    queue.push_back({.gpus = gang_units(*job, model),
                     .run_h = left_h(pass, *job),
                     .waited_h = hours(pass.wall() - waiting_since(*job))});
  const scheduler::NodePool room(pool.free, pool.per_node);
  const auto leaving = scheduler::choose_bursts(room, pool.runs, queue, rule);
  std::vector<scheduler::WaitingGang> staying;
  std::vector<const TrainingJob*> jobs;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const auto& job = *pool.waiting[i];
    if (std::ranges::binary_search(leaving, i)) {
      out.bursts_[key_of(job)] = fmt::format(
          "goes out: a private place would come too late to be worth the wait ({:.2f} h for {} {} over "
          "{:.1f} h)",
          rule.wait_h_per_gpu_hour * queue[i].gpus * queue[i].run_h, queue[i].gpus,
          model.empty() ? "cores" : model, queue[i].run_h);
      continue;
    }
    staying.push_back(queue[i]);
    jobs.push_back(&job);
  }
  const auto starts = scheduler::forecast_starts_h(room, pool.runs, staying);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    // The pool counts; only a decision knows rules, data and memory.
    if (starts[i] <= 0 && !place_privately(*jobs[i])) {
      out.bursts_[key_of(*jobs[i])] = "goes out: there is private capacity, and none that it may use";
      continue;
    }
    const auto from =
        pass.wall() + std::chrono::duration_cast<WallTime::duration>(
                          std::chrono::duration<double, std::ratio<3600>>(std::min(starts[i], kNever_h)));
    out.waits_[key_of(*jobs[i])] = fmt::format(
        "stays with private capacity: a place is expected {}, and waiting until then is worth what it would "
        "cost "
        "elsewhere",
        starts[i] <= 0 ? std::string("now") : "at " + format_rfc3339(std::chrono::ceil<TenMinutes>(from), 0));
  }
}

void DriftTable::Round::call_home(const std::string& model, Pool& pool) {
  // Who waits is served first.
  for (const auto* job : pool.waiting)
    if (place_privately(*job)) return;
  const auto rule = rule_of(model);
  scheduler::DriftDelay delay;
  for (const auto& [key, job] : pass.state.all<TrainingJob>()) {
    if (job.spec.costStrategy != "PrivateFirst" || pool_of(job.spec.resources) != model) continue;
    delay.run_h += job.spec.expectedDuration > Duration::zero() ? hours(job.spec.expectedDuration) : 0;
    delay.lost_h +=
        rule.move_h * double(std::ranges::count(job.status.runs, "Moved", &api::RunRecord::reason));
  }
  std::vector<scheduler::CloudRun> runs;
  std::vector<const TrainingJob*> jobs;
  for (const auto* job : pool.abroad) {
    const auto* run = current_run(*job);
    if (!run || !run->startedAt || job->status.checkpoint.phase != "Durable" ||
        job->spec.interruption == api::InterruptionClass::kNever ||
        job->spec.expectedDuration <= Duration::zero())
      continue;
    runs.push_back({.gpus = gang_units(*job, model),
                    .left_h = left_h(pass, *job),
                    .ran_h = hours(pass.wall() - *run->startedAt)});
    jobs.push_back(job);
  }
  const auto prices = price_book_of(pass.state);
  const auto price = [&](const TrainingJob& job, const std::string& site, const std::string& type) {
    const auto kind = finops::parse_capacity_type(type).value_or(finops::CapacityType::kOwned);
    const MilliAccelerators devices =
        model.empty() ? MilliAccelerators{} : job.spec.resources.accelerators.begin()->second;
    const auto hourly = prices.compute_hourly(
        site, kind, {job.spec.resources.cpu, job.spec.resources.memory, model, devices});
    return hourly ? hourly->value : 0;
  };
  for (const auto i : scheduler::order_homecoming(runs, rule, delay)) {
    const auto& job = *jobs[i];
    auto home = place_privately(job);
    if (!home ||
        price(job, home->site, home->capacity_type) >= price(job, job.status.site, job.status.capacityType))
      continue;
    out.homes_[key_of(job)] = {
        .nodes = std::move(home->nodes),
        .site = home->site,
        .why = fmt::format("moves home to {} from {}: {:.1f} h are left, and a private place is free",
                           home->site, job.status.site, runs[i].left_h)};
    return;  // a move makes the next one dearer
  }
}

void DriftTable::plan(const Pass& pass) {
  homes_.clear();
  const bool is_due = pass.work.is_tick && (!looked_ || *looked_ + pass.options.plan_tick <= pass.wall());
  const bool is_new = std::ranges::any_of(pass.work.jobs, [&](const auto& key) {
    const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
    return job && drifts(*job) && asks_for_place(pass, *job) && !nomination_of(*job) &&
           !(pass.deadlines && pass.deadlines->find(*job)) && !waits_.contains(key) && !bursts_.contains(key);
  });
  if (!is_due && !is_new) return;
  if (is_due) looked_ = pass.wall();
  const auto waited = std::exchange(waits_, {});
  const auto before = std::exchange(bursts_, {});
  Round round{.pass = pass, .out = *this};
  round.read();
  for (auto& [model, pool] : round.pools) {
    if (!pool.waiting.empty()) round.send_out(model, pool);
    if (is_due && !pool.abroad.empty()) round.call_home(model, pool);
  }
  if (!pass.agenda) return;
  for (const auto& [key, why] : waits_)
    if (is_due || !waited.contains(key)) pass.agenda->look_again(key, pass.now() + pass.options.plan_tick);
  for (const auto& [key, why] : bursts_)
    if (!before.contains(key))
      pass.agenda->look_again(key, pass.now() + pass.options.settle);
    else if (is_due)
      pass.agenda->look_again(key, pass.now() + pass.options.plan_tick);
}

std::vector<ObjectKey> DriftTable::leaving() const {
  std::vector<ObjectKey> out;
  for (const auto& [key, home] : homes_) out.push_back(key);
  return out;
}

const std::string* DriftTable::find_wait(const TrainingJob& job) const {
  const auto found = waits_.find(key_of(job));
  return found == waits_.end() ? nullptr : &found->second;
}
const std::string* DriftTable::find_burst(const TrainingJob& job) const {
  const auto found = bursts_.find(key_of(job));
  return found == bursts_.end() ? nullptr : &found->second;
}
const DriftTable::Home* DriftTable::find_home(const TrainingJob& job) const {
  const auto found = homes_.find(key_of(job));
  return found == homes_.end() ? nullptr : &found->second;
}

}  // namespace neap::controllers
