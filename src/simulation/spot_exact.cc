// The optimum with the future known, and the Markov policy: backward dynamic programmes over (tick, time
// lost, held).
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "internal/spot_policies.h"

namespace neap::simulation {
namespace {

using scheduler::Capacity;
using scheduler::DeadlineJob;
using scheduler::DeadlineProgress;
using scheduler::ZoneOffer;

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr std::int64_t kCellsMax = 300'000'000;

// Costs of being at a tick, by time lost: rows of a ring that reaches as far ahead as a changeover does.
// `zones` + 2 states: nothing held, on-demand, spot in each zone; an instance held owes no changeover.
class Future {
 public:
  Future(const LossGrid& grid, std::size_t zones, std::size_t reach)
      : grid_(grid), states_(zones + 2), reach_(reach), width_(static_cast<std::size_t>(grid.loss_max) + 1) {
    rows_.assign(reach_ * width_ * states_, kNever);
  }

  double* row(std::int64_t tick) {
    return rows_.data() + static_cast<std::size_t>(tick) % reach_ * width_ * states_;
  }
  // Least cost from `tick` on.
  double at(std::int64_t tick, std::int64_t loss, std::size_t state) {
    if (grid_.is_done(tick, loss)) return tick <= grid_.ticks ? 0 : kNever;
    if (loss > grid_.loss_max || tick >= grid_.ticks) return kNever;
    return row(tick)[static_cast<std::size_t>(loss) * states_ + state];
  }

 private:
  const LossGrid& grid_;
  std::size_t states_, reach_, width_;
  std::vector<double> rows_;
};

}  // namespace

LossGrid::LossGrid(const SpotTerms& terms, std::int64_t tick_seconds)
    : tick_s(tick_seconds), unit_s(std::gcd(tick_seconds, terms.changeover_s)) {
  ticks = terms.deadline_s / tick_s;
  tick = tick_s / unit_s;
  work = (terms.work_s + unit_s - 1) / unit_s;
  change = terms.changeover_s / unit_s;
  loss_max = ticks * tick - work;
}

Status check_exact_size(const SpotTerms& terms, std::int64_t tick_s, std::size_t zones) {
  const LossGrid grid(terms, tick_s);
  if (grid.loss_max < 0) return {};
  const auto held = 3 * ((grid.change + grid.tick - 1) / grid.tick) + static_cast<std::int64_t>(zones) + 5;
  if (grid.loss_max + 1 > kCellsMax / held / (grid.ticks + 1))
    return fail(
        Code::kResourceExhausted, "simulation.spot.size",
        fmt::format(
            "an exact table of {} ticks and {} steps of lost time is too large; give a changeover that is a "
            "rounder part of the tick of {} s",
            grid.ticks, grid.loss_max, tick_s));
  return {};
}

SpotRun compute_spot_optimum(const SpotWindow& window, const SpotTerms& terms) {
  const LossGrid grid(terms, window.tick_s);
  SpotRun run{.cost = kNever, .is_late = true};
  if (grid.loss_max < 0) return run;
  const auto zones = window.zones.size();
  const auto states = zones + 2;
  const double hours = static_cast<double>(window.tick_s) / 3600;
  const auto ticks = std::min(grid.ticks, static_cast<std::int64_t>(window.ticks()));
  // Nobody who knows the future starts an instance that is lost before it works, so a start is one step.
  const auto start = std::max<std::int64_t>((grid.change + grid.tick - 1) / grid.tick, 1);
  Future future(grid, zones, static_cast<std::size_t>(start) + 1);
  const auto price = [&](std::size_t state, std::int64_t tick) {
    if (state == 1) return terms.on_demand_price;
    const auto& zone = window.zones[state - 2];
    return zone.available[static_cast<std::size_t>(tick)] != 0
               ? static_cast<double>(zone.prices[static_cast<std::size_t>(tick)])
               : kNever;
  };
  std::vector<double> now(states), first(states);
  for (std::int64_t tick = ticks - 1; tick >= 0; --tick) {
    for (std::size_t state = 1; state < states; ++state) {
      now[state] = price(state, tick) * hours;
      first[state] = 0;
      for (std::int64_t at = tick; at < tick + start; ++at)
        first[state] += at < ticks ? price(state, at) * hours : kNever;
    }
    double* row = future.row(tick);
    const auto loss_end = std::min(grid.loss_max, tick * grid.tick);
    const bool is_last = tick + 1 == ticks;
    for (std::int64_t loss = 0; loss <= loss_end; ++loss, row += states) {
      if (grid.is_done(tick, loss)) continue;
      const auto next = [&](std::int64_t at, std::int64_t lost, std::size_t state) {
        return at == ticks && !grid.is_done(at, lost) ? kNever : future.at(at, lost, state);
      };
      double fresh = is_last ? kNever : next(tick + 1, loss + grid.tick, 0);
      for (std::size_t state = 1; state < states; ++state)
        if (first[state] != kNever)
          fresh = std::min(fresh, first[state] + next(tick + start, loss + grid.change, state));
      row[0] = fresh;
      for (std::size_t state = 1; state < states; ++state)
        row[state] = now[state] == kNever ? fresh : std::min(fresh, now[state] + next(tick + 1, loss, state));
    }
  }
  run.cost = ticks > 0 ? future.at(0, 0, 0) : kNever;
  run.is_late = run.cost == kNever;
  return run;
}

namespace {

// States at a decision: nothing held or on-demand, spot there or not; spot held. Instances by ticks of
// changeover begun and still to pay.
class Markov final : public SpotPolicy {
 public:
  Markov(const SpotRates& rates, double spot_price) : rates_(rates), spot_price_(spot_price) {}

  void begin(const DeadlineJob& job, std::size_t) override {
    if (job.tick_s == job_.tick_s && job.work_s == job_.work_s && job.deadline_s == job_.deadline_s &&
        job.changeover_s == job_.changeover_s && !choices_.empty())
      return;
    job_ = job;
    solve();
  }

  Capacity decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers) override {
    std::optional<std::size_t> zone;
    for (std::size_t each = 0; each < offers.size(); ++each)
      if (offers[each].is_available && (!zone || offers[each].price < offers[*zone].price)) zone = each;
    const LossGrid grid(SpotTerms{job_.work_s, job_.deadline_s, job_.changeover_s, 0}, job_.tick_s);
    const auto tick = now.elapsed_s / job_.tick_s;
    const auto loss = (now.elapsed_s - now.done_s) / grid.unit_s;
    if (loss < 0 || loss > grid.loss_max || tick >= grid.ticks) return Capacity::on_demand();
    const auto owed = static_cast<std::size_t>((now.pending_s + job_.tick_s - 1) / job_.tick_s);
    std::size_t state = zone ? 1 : 0;
    if (now.held.tier == Capacity::Tier::kOnDemand) state = 2 + 2 * owed + (zone ? 1 : 0);
    if (now.held.is_spot()) state = 2 + 2 * levels_ + owed;
    switch (choices_[(static_cast<std::size_t>(tick) * width_ + static_cast<std::size_t>(loss)) * states_ +
                     state]) {
      case kStay:
        return now.held;
      case kSpot:
        return zone ? Capacity::spot(*zone) : now.held;
      case kOnDemand:
        return Capacity::on_demand();
      default:
        return Capacity::none();
    }
  }

 private:
  enum Choice : std::uint8_t { kIdle, kStay, kOnDemand, kSpot };

  void solve();

  SpotRates rates_;
  double spot_price_;
  DeadlineJob job_;
  std::size_t levels_ = 0, states_ = 0, width_ = 0;
  std::vector<std::uint8_t> choices_;
};

void Markov::solve() {
  const LossGrid grid(SpotTerms{job_.work_s, job_.deadline_s, job_.changeover_s, 0}, job_.tick_s);
  choices_.clear();
  if (grid.loss_max < 0) return;
  levels_ = static_cast<std::size_t>((grid.change + grid.tick - 1) / grid.tick) + 1;
  states_ = 2 + 3 * levels_;
  width_ = static_cast<std::size_t>(grid.loss_max) + 1;
  choices_.assign(static_cast<std::size_t>(grid.ticks) * width_ * states_, kOnDemand);
  const double hours = static_cast<double>(job_.tick_s) / 3600;
  const double prices[] = {job_.on_demand_price * hours, spot_price_ * hours};
  std::vector<double> next(width_ * states_, kNever), row(width_ * states_, kNever);
  // A changeover of `owed` ticks has this many units to pay; a new one has `change`.
  const auto units = [&](std::size_t owed) {
    return owed == 0 ? 0 : grid.change - static_cast<std::int64_t>(levels_ - 1 - owed) * grid.tick;
  };
  for (std::int64_t tick = grid.ticks - 1; tick >= 0; --tick) {
    for (std::int64_t loss = 0; loss <= std::min(grid.loss_max, tick * grid.tick); ++loss) {
      const auto index = static_cast<std::size_t>(loss);
      double* cell = row.data() + index * states_;
      std::uint8_t* choice = choices_.data() + (static_cast<std::size_t>(tick) * width_ + index) * states_;
      if (grid.is_done(tick, loss)) continue;
      // Spot there or not in the next tick, given now.
      const auto blend = [&](bool is_there, double absent, double present) {
        const double chance = is_there ? 1 - rates_.reclaims : rates_.returns;
        return (chance > 0 ? chance * present : 0) + (chance < 1 ? (1 - chance) * absent : 0);
      };
      const auto idle = [&](bool is_there) {
        if (loss + grid.tick > grid.loss_max || tick + 1 == grid.ticks) return kNever;
        const double* then = next.data() + (index + static_cast<std::size_t>(grid.tick)) * states_;
        return blend(is_there, then[0], then[1]);
      };
      const auto on_demand = [&](bool is_there, std::size_t owed) {
        const auto lost = loss + std::min(units(owed), grid.tick);
        if (grid.is_done(tick + 1, lost)) return prices[0];
        if (lost > grid.loss_max || tick + 1 == grid.ticks) return kNever;
        const double* then =
            next.data() + static_cast<std::size_t>(lost) * states_ + 2 + 2 * (owed == 0 ? 0 : owed - 1);
        return prices[0] + blend(is_there, then[0], then[1]);
      };
      const auto spot = [&](std::size_t owed) {
        const auto lost = loss + std::min(units(owed), grid.tick);
        if (grid.is_done(tick + 1, lost)) return prices[1];
        if (lost > grid.loss_max || tick + 1 == grid.ticks) return kNever;
        const double* then = next.data() + static_cast<std::size_t>(lost) * states_;
        return prices[1] + blend(true, then[0], then[2 + 2 * levels_ + (owed == 0 ? 0 : owed - 1)]);
      };
      const auto decide = [&](std::size_t state, bool is_there, double stay) {
        double best = stay;
        std::uint8_t what = kStay;
        const auto offer = [&](double cost, Choice option) {
          if (cost < best) best = cost, what = option;
        };
        if (is_there) offer(spot(levels_ - 1), kSpot);
        offer(on_demand(is_there, levels_ - 1), kOnDemand);
        offer(idle(is_there), kIdle);
        cell[state] = best;
        choice[state] = best == kNever ? std::uint8_t{kOnDemand} : what;
      };
      decide(0, false, kNever);
      decide(1, true, kNever);
      for (std::size_t owed = 0; owed < levels_; ++owed) {
        decide(2 + 2 * owed, false, on_demand(false, owed));
        decide(3 + 2 * owed, true, on_demand(true, owed));
        decide(2 + 2 * levels_ + owed, true, spot(owed));
      }
    }
    std::swap(row, next);
  }
}

}  // namespace

std::unique_ptr<SpotPolicy> make_markov_policy(const SpotRates& rates, double spot_price) {
  return std::make_unique<Markov>(rates, spot_price);
}

}  // namespace neap::simulation
