#include "neap/scheduler/deadline_planner.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace neap::scheduler {

void DeadlinePlanner::refresh(const DeadlineProgress& now, const SpotHistory& history) {
  const auto ends = static_cast<double>(history.ends());
  if (solved_ends_ >= 0 && ends < std::max(solved_ends_ * options_.refresh_growth, solved_ends_ + 1)) return;
  const auto tick = static_cast<double>(job_.tick_s);
  const double work = static_cast<double>(job_.work_s - now.done_s) / tick;
  const double ticks = static_cast<double>((job_.deadline_s - now.elapsed_s) / job_.tick_s);
  table_.solve(job_, work, std::max(ticks - work - static_cast<double>(job_.changeover_s) / tick, 0.0),
               history, options_.cells_max);
  solved_ends_ = ends;
}

// `price`: $ a tick.
double DeadlinePlanner::cost_of_spot(Place at, double price, std::size_t octave, std::size_t shelter,
                                     double frailty) const {
  if (at.room < table_.changeover()) return DeadlineTable::kForbidden;
  const double reclaimed =
      1 - std::pow(1 - static_cast<double>(table_.per_column().offered[shelter].ends[octave]), frailty);
  double survives = 1, cost = 0;
  for (std::size_t j = 1; j <= static_cast<std::size_t>(table_.changeover()); ++j) {
    const auto lost = static_cast<double>(j);
    cost += survives * reclaimed *
            (lost * table_.column() * price +
             table_.value({at.work, at.room - lost}, [&](const auto& cell) { return cell.lost[shelter]; }));
    survives *= 1 - reclaimed;
  }
  // The usual spell that lasts as long, between two octaves.
  const double rest = table_.rest(octave) / frailty;
  std::size_t older = octave;
  while (frailty < 1 && older + 1 < kOctaves && table_.rest(older) < rest) ++older;
  while (frailty > 1 && older > 0 && table_.rest(older - 1) > rest) --older;
  const std::size_t younger = older > 0 ? older - 1 : 0;
  const double span = table_.rest(older) - table_.rest(younger);
  const double part =
      frailty == 1 || span <= 0 ? 1 : std::clamp((rest - table_.rest(younger)) / span, 0.0, 1.0);
  // What this zone costs more than usual, for as long as it will probably be held.
  const double dearer = (price - table_.spot()) * rest * (1 - std::exp(-at.work * table_.row() / rest));
  const auto pick = [&](const auto& cell) {
    const auto& of = cell.spot[shelter];
    return (1 - part) * of[younger] + part * of[older];
  };
  return cost + survives * (table_.changeover() * table_.column() * price + dearer +
                            table_.value({at.work, at.room - table_.changeover()}, pick));
}

double DeadlinePlanner::cost_of_on_demand(Place at, const DeadlineProgress& now, std::size_t offered,
                                          std::size_t shelter, std::size_t drought) const {
  const bool is_held = now.held.tier == Capacity::Tier::kOnDemand;
  const double owed =
      is_held ? static_cast<double>(now.pending_s) / static_cast<double>(job_.tick_s) / table_.column()
              : table_.changeover();
  // Without room to change again, to the end.
  if (at.room < owed) return (owed * table_.column() + at.work * table_.row()) * table_.on_demand();
  // One more tick for sure: the entry of this place may already hold the change to spot.
  return (owed * table_.column() + 1) * table_.on_demand() +
         table_.value({at.work - 1 / table_.row(), at.room - owed}, [&](const auto& cell) {
           if (offered == kOctaves) {
             const double returns = table_.per_tick().drought.ends[drought];
             return returns * cell.demand_offered[0][0] + (1 - returns) * cell.demand_alone[drought];
           }
           const double refuge = table_.refuge(shelter) * cell.demand_offered[0][table_.refuge_octave()] +
                                 (1 - table_.refuge(shelter)) * cell.demand_alone[0];
           const double reclaimed = table_.per_tick().offered[shelter].ends[offered];
           return reclaimed * refuge + (1 - reclaimed) * cell.demand_offered[shelter][offered];
         });
}

double DeadlinePlanner::cost_of_waiting(Place at, std::size_t offered, std::size_t shelter,
                                        std::size_t drought) const {
  return table_.value({at.work, at.room - 1 / table_.column()}, [&](const auto& cell) {
    if (offered == kOctaves) {
      const double returns = table_.per_tick().drought.ends[drought];
      return returns * cell.idle_offered[0][0] + (1 - returns) * cell.idle_alone[drought];
    }
    const double reclaimed = table_.per_tick().offered[shelter].ends[offered];
    return reclaimed * cell.lost[shelter] + (1 - reclaimed) * cell.idle_offered[shelter][offered];
  });
}

Capacity DeadlinePlanner::decide(const DeadlineProgress& now, std::span<const ZoneOffer> offers,
                                 const SpotHistory& history) {
  const auto is_worth_it = [&](std::size_t zone) {
    return offers[zone].is_available && offers[zone].price < job_.on_demand_price;
  };
  if (now.held.is_spot() && is_worth_it(now.held.zone) && keeps_deadline(job_, now, now.held))
    return now.held;
  refresh(now, history);
  const double tick_s = static_cast<double>(job_.tick_s), tick_h = tick_s / 3600;
  const double work = static_cast<double>(job_.work_s - now.done_s) / tick_s;
  const auto ticks = static_cast<double>((job_.deadline_s - now.elapsed_s) / job_.tick_s);
  const Place at{work / table_.row(), (ticks - work) / table_.column() - table_.changeover()};
  std::size_t offered = kOctaves;
  const auto shelter = SpotHistory::shelter(
      static_cast<std::size_t>(std::ranges::count(offers, true, &ZoneOffer::is_available)));
  Capacity spot;
  double spot_cost = std::numeric_limits<double>::infinity();
  for (std::size_t zone = 0; zone < offers.size(); ++zone) {
    if (!is_worth_it(zone)) continue;
    const auto octave = history.octave(zone);
    offered = offered == kOctaves ? octave : std::max(offered, octave);
    if (!keeps_deadline(job_, now, Capacity::spot(zone))) continue;
    const double cost = cost_of_spot(at, offers[zone].price * tick_h, octave, shelter, history.frailty(zone));
    if (cost >= spot_cost) continue;
    spot = Capacity::spot(zone);
    spot_cost = cost;
  }
  const auto drought = history.drought_octave();
  const double demand_cost = cost_of_on_demand(at, now, offered, shelter, drought);
  // What runs on-demand stops only to save more than starting it again costs: over a wide range of slack
  // on-demand now and later cost the same, and there every spell that ends would tip the plan the other way.
  const double stop_cost = now.held.tier == Capacity::Tier::kOnDemand
                               ? static_cast<double>(job_.changeover_s) / 3600 * job_.on_demand_price
                               : 0;
  const double wait_cost = keeps_deadline(job_, now, Capacity::none())
                               ? stop_cost + cost_of_waiting(at, offered, shelter, drought)
                               : std::numeric_limits<double>::infinity();
  if (demand_cost <= std::min(spot_cost, wait_cost)) return Capacity::on_demand();
  if (spot.is_spot()) return spot;
  return wait_cost < demand_cost ? Capacity::none() : Capacity::on_demand();
}

}  // namespace neap::scheduler
