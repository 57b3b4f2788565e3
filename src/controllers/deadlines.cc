#include "internal/deadlines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "internal/node_cache.h"
#include "internal/placement.h"
#include "internal/queueing.h"
#include "neap/base/saturate.h"
#include "neap/controllers/prices.h"

namespace neap::controllers {
namespace {

using scheduler::Capacity;
using scheduler::Guard;

// From the choice of another place until its first step there: draining, staging, start of the program.
constexpr std::chrono::seconds kStartUp = std::chrono::minutes(2);
// Work that a reclaim repeats until a run has shown how long a step takes.
constexpr double kIntervalUnseen_s = 600;
// A table of so many cells takes up to 2.3 MB; of more jobs than that none is kept from look to look.
constexpr std::size_t kCellsMax = 8'000, kPlannersMax = 64;
// A look decides twice over all nodes: the others follow in the next passes.
constexpr int kLooksMax = 32;

std::int64_t whole_seconds(Duration d) { return std::chrono::duration_cast<std::chrono::seconds>(d).count(); }

bool is_governed(const api::TrainingJob& job) {
  return job.spec.deadline && job.spec.expectedDuration >= std::chrono::seconds(1) &&
         job.spec.interruption != api::InterruptionClass::kNever && job.spec.costStrategy != "OnDemand" &&
         !job.spec.suspend && !job.metadata.deletionTimestamp && job.status.phase != "Succeeded" &&
         job.status.phase != "Failed" && job.status.phase != "Draining" && !job.status.nomination;
}

// Refused for now, by what comes and goes.
bool may_come(Guard guard) {
  return guard == Guard::kNodeNotReady || guard == Guard::kNodeReclaimed || guard == Guard::kGang ||
         guard == Guard::kTopology || (guard >= Guard::kFitCores && guard <= Guard::kFitAccelerators);
}

// Of the whole gang, in units of the book; absent where no price is known.
std::optional<double> hourly(const finops::PriceBook& prices, const scheduler::Request& request,
                             const std::string& site, finops::CapacityType type) {
  const auto price = prices.compute_hourly(
      site, type,
      {request.each.cores, request.each.memory, request.each.accelerator_model, request.each.accelerators});
  if (!price) return {};
  return double(price->value) * request.replicas;
}

struct Terms {
  scheduler::DeadlineJob job;
  scheduler::DeadlineProgress progress;
  WallTime latest;  // on-demand begun by then keeps the deadline
};

Terms terms_of(const Pass& pass, const api::TrainingJob& job) {
  const auto now = pass.wall();
  const auto start = job.metadata.creationTimestamp.value_or(now);
  const auto done = progress_of(pass.state, job);
  Terms out;
  out.job.work_s = whole_seconds(job.spec.expectedDuration);
  out.job.deadline_s = whole_seconds(*job.spec.deadline - start);
  out.job.tick_s = whole_seconds(pass.options.plan_tick + pass.options.tick) + 1;
  const bool saves =
      job.spec.interruption == api::InterruptionClass::kCheckpointed && job.spec.checkpoint.intervalSteps > 0;
  double lost = double(out.job.work_s);
  if (saves)
    lost = std::min(
        lost, std::max(done.interval_s.value_or(kIntervalUnseen_s), done.unsaved_s + double(out.job.tick_s)));
  // By the minute, so that the planner's table holds for a while.
  out.job.changeover_s =
      kStartUp.count() + whole_within(std::ceil(lost / 60), 0, out.job.work_s / 60 + 1) * 60;
  out.progress.elapsed_s = whole_seconds(now - start);
  out.progress.done_s = whole_within(done.done_s, 0, out.job.work_s - 1);
  if (job.status.phase == "Reserved" && !job.status.runs.empty() && job.status.runs.back().startedAt)
    out.progress.pending_s =
        std::max<std::int64_t>(0, kStartUp.count() - whole_seconds(now - *job.status.runs.back().startedAt));
  out.latest = std::chrono::floor<std::chrono::minutes>(
      *job.spec.deadline -
      std::chrono::seconds(out.job.work_s - out.progress.done_s + out.job.changeover_s + out.job.tick_s));
  return out;
}

std::string time_text(WallTime at) { return format_rfc3339(at, 0); }

}  // namespace

JobProgress progress_of(const ClusterState& state, const api::TrainingJob& job) {
  std::map<std::int64_t, double> held;  // by epoch
  for (const auto* a : state.allocations_of(job.metadata.namespace_, "TrainingJob", job.metadata.name)) {
    auto& seconds = held[a->spec.epoch];
    seconds = std::max(seconds, a->status.runSeconds);
  }
  const bool runs = job.status.phase == "Running";
  const auto saved = job.status.checkpoint.phase == "Durable" ? job.status.checkpoint.step : -1;
  double seconds = 0;
  double steps = 0;
  auto at = saved;
  for (const auto& run : job.status.runs) {
    if (run.firstStep < 0 || run.lastStep < run.firstStep) continue;
    const auto seen = held.find(run.epoch);
    if (seen != held.end())
      seconds += seen->second;
    else if (run.startedAt && run.endedAt)
      seconds += to_seconds(*run.endedAt - *run.startedAt);
    steps += double(run.lastStep) - double(run.firstStep) + 1;
    if (runs && run.epoch == job.status.epoch) at = run.lastStep;
  }
  JobProgress out;
  if (steps == 0) {
    const auto now = held.find(job.status.epoch);
    if (runs && now != held.end()) out.done_s = out.unsaved_s = now->second;
    return out;
  }
  const double a_step = seconds / steps;
  out.done_s = (double(at) + 1) * a_step;
  out.unsaved_s = std::max(0.0, double(at) - double(saved)) * a_step;
  if (job.spec.checkpoint.intervalSteps > 0)
    out.interval_s = double(job.spec.checkpoint.intervalSteps) * a_step;
  return out;
}

// What the jobs of one project could have: spot, and what nobody takes away.
struct DeadlineChoices::Worlds {
  struct World {
    scheduler::Snapshot spot, safe;
  };
  std::map<std::string, std::optional<World>> by_project;

  const World* of(const Pass& pass, const std::string& project) {
    const auto [at, is_new] = by_project.try_emplace(project);
    if (is_new) {
      if (auto snapshot = snapshot_of(pass, project, {})) {
        snapshot->queues.clear();  // judged where it is placed
        at->second.emplace(*snapshot, *snapshot);
        std::erase_if(at->second->spot.nodes,
                      [](const auto& node) { return node.capacity_type != scheduler::CapacityType::kSpot; });
        std::erase_if(at->second->safe.nodes,
                      [](const auto& node) { return node.capacity_type == scheduler::CapacityType::kSpot; });
        if (pass.nodes) pass.nodes->give_back(std::move(snapshot->nodes));
      }
    }
    return at->second ? &*at->second : nullptr;
  }
};

void DeadlineChoices::observe(const Pass& pass) {
  std::vector<SpotRecord::Zone> zones;
  for (const auto& [key, site] : pass.state.all<api::Site>())
    if (!site.status.spotSpells.empty())
      zones.push_back({.site = key.name, .spells = &site.status.spotSpells});
  const bool is_new =
      spot_.observe(zones, pass.options.plan_tick, std::chrono::floor<std::chrono::seconds>(pass.wall()));
  if (!is_new) return;
  for (auto& [key, entry] : entries_) entry.planner.reset();  // their tables are of other zones
}

std::optional<DeadlineChoice> DeadlineChoices::choose(const Pass& pass, const api::TrainingJob& job,
                                                      Worlds& worlds, Entry& entry) {
  using Kind = DeadlineChoice::Kind;
  const auto inputs = resolve_inputs(pass, job);
  if (!inputs) return {};
  auto request = request_of(pass, job, *inputs);
  const auto* world = worlds.of(pass, job.metadata.namespace_);
  if (!request || !world) return {};
  request->deadline.reset();
  scheduler::Options options;
  options.now = pass.wall();
  options.suggestions_max = 0;
  const auto ask = [&](const scheduler::Snapshot& where) {
    return std::move(scheduler::decide(where, std::span(&*request, 1), options).decisions.front());
  };
  const bool holds = !has_no_place(job);
  const bool on_spot = holds && job.status.capacityType == "spot";
  const auto& prices = world->safe.prices;
  auto terms = terms_of(pass, job);

  const auto& zones = spot_.zones();
  const auto spot = ask(world->spot);
  std::vector<scheduler::ZoneOffer> offers(zones.size());
  double cheapest = 0;
  for (std::size_t i = 0; i < zones.size(); ++i) {
    const auto reason = std::ranges::find(spot.sites, zones[i], &scheduler::SiteReason::site);
    const auto price = hourly(prices, *request, zones[i], finops::CapacityType::kSpot);
    if (reason == spot.sites.end() || !price || *price <= 0) continue;
    const bool is_held = on_spot && job.status.site == zones[i];
    if (is_held) terms.progress.held = Capacity::spot(i);
    if (!is_held && reason->refusal && !may_come(reason->refusal->guard)) continue;
    offers[i] = {.is_available = is_held || !reason->refusal, .price = *price};
    if (cheapest == 0 || *price < cheapest) cheapest = *price;
  }
  if (cheapest == 0 || (on_spot && !terms.progress.held.is_spot())) return {};

  const auto safe = ask(world->safe);
  std::optional<double> safe_price;
  if (holds && !on_spot) {
    terms.progress.held = Capacity::on_demand();
    const auto type = finops::parse_capacity_type(job.status.capacityType);
    if (type) safe_price = hourly(prices, *request, job.status.site, *type);
  } else if (safe.is_placed) {
    const auto& place = safe.placements.front();
    safe_price = hourly(prices, *request, place.site, finops::CapacityType(place.capacity_type));
  } else {
    for (const auto& site : world->safe.sites)
      if (const auto price = hourly(prices, *request, site.name, finops::CapacityType::kOnDemand))
        safe_price = std::min(safe_price.value_or(*price), *price);
  }
  if (!safe_price) return {};
  const bool safe_has_room = safe.is_placed || (holds && !on_spot);
  const auto deadline = time_text(*job.spec.deadline);
  if (*safe_price <= cheapest && safe_has_room && !on_spot)
    return DeadlineChoice{
        .kind = Kind::kSafe,
        .why = fmt::format("nobody takes this capacity away, and it costs no more than spot")};

  // Against the cheapest zone: what the history knows of prices is 1 everywhere.
  for (auto& offer : offers) offer.price = offer.price > 0 ? offer.price / cheapest : 1;
  terms.job.on_demand_price = *safe_price / cheapest;
  const auto& before = entry.terms;
  if (!entry.planner || before.work_s != terms.job.work_s || before.deadline_s != terms.job.deadline_s ||
      before.changeover_s != terms.job.changeover_s || before.tick_s != terms.job.tick_s ||
      before.on_demand_price != terms.job.on_demand_price) {
    entry.terms = terms.job;
    entry.planner = std::make_unique<scheduler::DeadlinePlanner>(
        terms.job, scheduler::DeadlinePlanner::Options{.cells_max = kCellsMax});
  }
  const auto chosen = entry.planner->decide(terms.progress, offers, spot_.history());
  if (entries_.size() > kPlannersMax) entry.planner.reset();
  const auto saved = job.status.checkpoint.phase == "Durable" ? job.status.checkpoint.step : -1;
  const bool has_new_checkpoint = entry.checkpoint != -2 && saved > entry.checkpoint;
  entry.checkpoint = saved;

  DeadlineChoice out;
  if (chosen.is_spot()) {
    out.kind = Kind::kSpot;
    out.site = zones[chosen.zone];
    out.why = fmt::format(
        "spot at {}, at {:.0f} % of the price of on-demand; were it taken away and none came back, on-demand "
        "from {} at the latest keeps the deadline {}",
        out.site, 100 * offers[chosen.zone].price / terms.job.on_demand_price, time_text(terms.latest),
        deadline);
    out.moves = holds && !on_spot && has_new_checkpoint;
    if (holds && !on_spot && !out.moves) {
      out.kind = Kind::kSafe;
      out.why = fmt::format(
          "goes on at {} with its next checkpoint: spot is back, and the deadline {} leaves "
          "time for it",
          out.site, deadline);
    }
  } else if (chosen.tier == Capacity::Tier::kOnDemand && !safe_has_room) {
    out.why = fmt::format("on-demand is needed to keep the deadline {} and has no room: any place is taken",
                          deadline);
  } else if (chosen.tier == Capacity::Tier::kOnDemand || holds) {
    out.kind = Kind::kSafe;
    out.moves = on_spot;
    const auto zone =
        on_spot ? terms.progress.held
                : Capacity::spot(std::size_t(
                      std::ranges::find(offers, true, &scheduler::ZoneOffer::is_available) - offers.begin()));
    out.why =
        zone.zone < offers.size() && !keeps_deadline(terms.job, terms.progress, zone)
            ? fmt::format("only capacity that nobody takes away is sure to keep the deadline {}", deadline)
            : fmt::format(
                  "on-demand: to the end it is expected to cost less than waiting for spot and "
                  "starting again, with the deadline {} kept",
                  deadline);
  } else {
    out.kind = Kind::kWait;
    out.why =
        fmt::format("waits for spot until {} at the latest, then takes on-demand to keep the deadline {}",
                    time_text(terms.latest), deadline);
  }
  return out;
}

void DeadlineChoices::plan(const Pass& pass) {
  Worlds worlds;
  bool is_observed = false;
  int looks = 0;
  for (const auto& key : pass.work.jobs) {
    const auto* job = pass.state.find<api::TrainingJob>(key.namespace_, key.name);
    if (!job || !is_governed(*job)) {
      entries_.erase(key);
      continue;
    }
    auto& entry = entries_[key];
    const auto now = pass.wall();
    const bool is_due = entry.choice.made + pass.options.plan_tick <= now ||
                        entry.choice.epoch != job->status.epoch || entry.choice.phase != job->status.phase;
    if (is_due && pass.agenda && looks == kLooksMax) {
      if (has_no_place(*job)) {
        entry.choice = {.kind = DeadlineChoice::Kind::kWait, .why = "waits for its turn to be planned"};
        entry.choice.epoch = job->status.epoch;
        entry.choice.phase = job->status.phase;
      }
      pass.agenda->look_again(key, pass.now() + pass.options.settle);
      continue;
    }
    if (is_due) {
      ++looks;
      if (!std::exchange(is_observed, true)) observe(pass);
      entry.choice = choose(pass, *job, worlds, entry).value_or(DeadlineChoice{});
      entry.choice.made = now;
      entry.choice.epoch = job->status.epoch;
      entry.choice.phase = job->status.phase;
    }
    if (is_due && pass.agenda) {
      const auto left = entry.choice.made + pass.options.plan_tick - now;
      pass.agenda->look_again(key, pass.now() + std::chrono::duration_cast<Duration>(left) + 1ms);
    }
  }
}

const DeadlineChoice* DeadlineChoices::find(const api::TrainingJob& job) const {
  const auto found = entries_.find(key_of(job));
  if (found == entries_.end()) return nullptr;
  const auto& choice = found->second.choice;
  return !choice.why.empty() && choice.epoch == job.status.epoch && choice.phase == job.status.phase
             ? &choice
             : nullptr;
}

}  // namespace neap::controllers
