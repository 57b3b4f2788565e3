// The published rules that need no table, and the product's planner behind the same seam.
#include <algorithm>
#include <optional>

#include "internal/spot_policies.h"
#include "neap/scheduler/deadline_planner.h"

namespace neap::simulation {
namespace {

using scheduler::Capacity;
using scheduler::DeadlineJob;
using scheduler::DeadlineProgress;
using scheduler::ZoneOffer;

std::optional<std::size_t> find_cheapest(std::span<const ZoneOffer> offers) {
  std::optional<std::size_t> best;
  for (std::size_t zone = 0; zone < offers.size(); ++zone)
    if (offers[zone].is_available && (!best || offers[zone].price < offers[*best].price)) best = zone;
  return best;
}

// R < C + 2d of the paper, made exact for whole ticks.
bool must_run_on_demand(const DeadlineJob& job, const DeadlineProgress& now) {
  const auto need = job.work_s - now.done_s + 2 * job.changeover_s;
  return (job.deadline_s - now.elapsed_s) / job.tick_s <= (need + job.tick_s - 1) / job.tick_s;
}

class OnDemand final : public SpotPolicy {
 public:
  void begin(const DeadlineJob&, std::size_t) override {}
  Capacity decide(const DeadlineProgress&, std::span<const ZoneOffer>) override {
    return Capacity::on_demand();
  }
};

class Greedy final : public SpotPolicy {
 public:
  void begin(const DeadlineJob& job, std::size_t) override { job_ = job; }
  Capacity decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers) override {
    if (now.held.tier != Capacity::Tier::kNone) return now.held;  // on-demand was the last resort: to the end
    if (must_run_on_demand(job_, now)) return Capacity::on_demand();
    const auto zone = find_cheapest(offers);
    return zone ? Capacity::spot(*zone) : Capacity::none();
  }

 private:
  DeadlineJob job_;
};

class UniformProgress final : public SpotPolicy {
 public:
  void begin(const DeadlineJob& job, std::size_t) override {
    job_ = job;
    is_last_resort_ = false;
  }
  Capacity decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers) override {
    if (now.held.is_spot()) return now.held;
    if (is_last_resort_ || must_run_on_demand(job_, now)) {
      is_last_resort_ = true;
      return Capacity::on_demand();
    }
    const auto zone = find_cheapest(offers);
    if (now.held.tier == Capacity::Tier::kOnDemand)
      return zone && !is_behind(now, 2 * job_.changeover_s) ? Capacity::spot(*zone) : now.held;
    if (zone) return Capacity::spot(*zone);
    return is_behind(now, 0) ? Capacity::on_demand() : Capacity::none();
  }

 private:
  // Less done than the straight line from start to deadline asks for `ahead_s` from now.
  bool is_behind(const DeadlineProgress& now, std::int64_t ahead_s) const {
    return now.done_s * job_.deadline_s < (now.elapsed_s + ahead_s) * job_.work_s;
  }

  DeadlineJob job_;
  bool is_last_resort_ = false;
};

class Neap final : public SpotPolicy {
 public:
  void begin(const DeadlineJob& job, std::size_t zones) override {
    if (planner_)
      planner_->restart(job);
    else
      planner_.emplace(job);
    history_.emplace(zones);
  }
  Capacity decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers) override {
    history_->observe(offers);
    return planner_->decide(now, offers, *history_);
  }

 private:
  std::optional<scheduler::DeadlinePlanner> planner_;
  std::optional<scheduler::SpotHistory> history_;
};

}  // namespace

std::unique_ptr<SpotPolicy> make_spot_policy(SpotRule rule, const SpotRates& rates, double usual_price) {
  switch (rule) {
    case SpotRule::kGreedy:
      return std::make_unique<Greedy>();
    case SpotRule::kUniformProgress:
      return std::make_unique<UniformProgress>();
    case SpotRule::kMarkov:
      return make_markov_policy(rates, usual_price);
    case SpotRule::kNeap:
      return std::make_unique<Neap>();
    case SpotRule::kOnDemand:
    case SpotRule::kOptimum:
      break;
  }
  return std::make_unique<OnDemand>();
}

}  // namespace neap::simulation
