#include "neap/scheduler/deadline_planner.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace neap::scheduler {
namespace {

// More than any job costs, and not so much that a sum loses the rest.
constexpr float kForbidden = 1e9F;

}  // namespace

void DeadlinePlanner::refresh(const DeadlineProgress& now, const SpotHistory& history) {
  const auto ends = static_cast<double>(history.ends());
  if (solved_ends_ >= 0 && ends < std::max(solved_ends_ * options_.refresh_growth, solved_ends_ + 1)) return;
  const auto tick = static_cast<double>(job_.tick_s);
  const double work = static_cast<double>(job_.work_s - now.done_s) / tick;
  const double ticks = static_cast<double>((job_.deadline_s - now.elapsed_s) / job_.tick_s);
  solve(work, std::max(ticks - work - static_cast<double>(job_.changeover_s) / tick, 0.0), history);
  solved_ends_ = ends;
}

// Both in ticks.
void DeadlinePlanner::solve(double work, double room, const SpotHistory& history) {
  const auto cells_max = static_cast<double>(options_.cells_max);
  // The longer side alone must fit too: the shorter one keeps its few columns.
  scale_ =
      std::max({1.0, std::sqrt((work + 1) * (room + 1) / cells_max), 3 * std::max(work, room) / cells_max});
  height_ = static_cast<std::size_t>(std::ceil(work / scale_)) + 2;
  width_ = static_cast<std::size_t>(std::ceil(room / scale_)) + 2;
  const double hours = static_cast<double>(job_.tick_s) * scale_ / 3600;
  changeover_ = static_cast<double>(job_.changeover_s) / static_cast<double>(job_.tick_s) / scale_;
  on_demand_ = job_.on_demand_price * hours;
  spot_ = history.usual_price() * hours;
  refuge_ = static_cast<float>(history.refuge_chance());
  refuge_octave_ = history.refuge_octave();
  reclaim_ = history.reclaim_chances();
  returns_ = history.return_chances();
  for (std::size_t b = 0; b < kOctaves; ++b) {
    const auto over_a_step = [&](float chance) {
      return static_cast<float>(1 - std::pow(1 - chance, scale_));
    };
    reclaim_[b] = over_a_step(reclaim_[b]);
    returns_[b] = over_a_step(returns_[b]);
    // The time spent in an octave is taken as geometric with the octave's length for its mean.
    grow_[b] =
        b + 1 < kOctaves ? static_cast<float>(std::min(1.0, scale_ / std::exp2(static_cast<double>(b)))) : 0;
  }
  rest_[kOctaves - 1] = 1 / static_cast<double>(reclaim_[kOctaves - 1]);
  for (std::size_t b = kOctaves - 1; b-- > 0;) {
    const double goes_on = 1 - static_cast<double>(reclaim_[b]),
                 grows = goes_on * static_cast<double>(grow_[b]);
    rest_[b] = (1 + grows * rest_[b + 1]) / (1 - goes_on + grows);
  }
  cells_.assign(height_ * width_, Cell{});
  for (std::size_t n = 1; n < height_; ++n)
    for (std::size_t x = 0; x < width_; ++x) solve_cell(n, x);
}

void DeadlinePlanner::solve_cell(std::size_t work, std::size_t room) {
  Cell* row = cells_.data() + work * width_;
  Cell& now = row[room];
  const Cell& worked = cells_[(work - 1) * width_ + room];
  const Cell* waited = room > 0 ? &row[room - 1] : nullptr;
  const auto demand = static_cast<float>(on_demand_), spot = static_cast<float>(spot_);
  const auto grown = [&](const ByOctave& of, std::size_t b) {
    return (1 - grow_[b]) * of[b] + grow_[b] * of[std::min(b + 1, kOctaves - 1)];
  };
  for (std::size_t b = 0; b < kOctaves; ++b)
    now.spot[b] = spot + reclaim_[b] * worked.lost + (1 - reclaim_[b]) * grown(worked.spot, b);

  // A changeover ends between two columns. On-demand that ends it left of the first one runs to the end; spot
  // must not.
  const double landing = static_cast<double>(room) - changeover_;
  const bool has_landing = landing >= 0;
  const auto below = static_cast<std::size_t>(std::max(landing, 0.0));
  const auto part = static_cast<float>(std::max(landing, 0.0) - static_cast<double>(below));
  const Cell& lower = row[below];
  const Cell& upper = row[std::min(below + 1, room)];
  const auto landed = [&](const ByOctave Cell::* of, std::size_t b) {
    return (1 - part) * (lower.*of)[b] + part * (upper.*of)[b];
  };
  const float to_the_end = demand * static_cast<float>(work);
  const auto changeover = static_cast<float>(changeover_);
  const auto whole_steps = static_cast<std::size_t>(changeover_);
  ByOctave take, wait_offered, wait_alone;
  for (std::size_t b = 0; b < kOctaves; ++b) {
    float survives = 1, cost = 0;
    for (std::size_t j = 1; has_landing && j <= whole_steps; ++j) {
      cost += survives * reclaim_[b] * (static_cast<float>(j) * spot + row[room - j].lost);
      survives *= 1 - reclaim_[b];
    }
    take[b] = has_landing ? cost + survives * (changeover * spot + landed(&Cell::spot, b)) : kForbidden;
    wait_offered[b] = waited == nullptr
                          ? kForbidden
                          : reclaim_[b] * waited->lost + (1 - reclaim_[b]) * grown(waited->idle_offered, b);
    wait_alone[b] = waited == nullptr ? kForbidden
                                      : returns_[b] * waited->idle_offered[0] +
                                            (1 - returns_[b]) * grown(waited->idle_alone, b);
  }
  const float refuge =
      refuge_ * worked.demand_offered[refuge_octave_] + (1 - refuge_) * worked.demand_alone[0];
  for (std::size_t b = 0; b < kOctaves; ++b) {
    const float beside = demand + reclaim_[b] * refuge + (1 - reclaim_[b]) * grown(worked.demand_offered, b);
    const float alone =
        demand + returns_[b] * worked.demand_offered[0] + (1 - returns_[b]) * grown(worked.demand_alone, b);
    now.demand_offered[b] = std::min({beside, take[b], wait_offered[b]});
    now.demand_alone[b] = std::min(alone, wait_alone[b]);
  }
  for (std::size_t b = 0; b < kOctaves; ++b) {
    now.idle_offered[b] =
        std::min({take[b], wait_offered[b],
                  changeover * demand + (has_landing ? landed(&Cell::demand_offered, b) : to_the_end)});
    now.idle_alone[b] = std::min(
        wait_alone[b], changeover * demand + (has_landing ? landed(&Cell::demand_alone, b) : to_the_end));
  }
  now.lost = refuge_ * now.idle_offered[refuge_octave_] + (1 - refuge_) * now.idle_alone[0];
}

// Between the cells around a place.
template <typename Pick>
double DeadlinePlanner::value(Place at, Pick pick) const {
  if (at.work <= 0) return 0;
  const double y = std::min(at.work, static_cast<double>(height_ - 1));
  const double x = std::clamp(at.room, 0.0, static_cast<double>(width_ - 1));
  const auto i = static_cast<std::size_t>(y), j = static_cast<std::size_t>(x);
  const double fy = y - static_cast<double>(i), fx = x - static_cast<double>(j);
  const auto along = [&](std::size_t row) {
    const Cell* cells = cells_.data() + row * width_;
    return (1 - fx) * pick(cells[j]) + fx * pick(cells[std::min(j + 1, width_ - 1)]);
  };
  return (1 - fy) * along(i) + fy * along(std::min(i + 1, height_ - 1));
}

double DeadlinePlanner::cost_of_spot(Place at, double price, std::size_t octave) const {
  if (at.room < changeover_) return kForbidden;
  const double reclaimed = reclaim_[octave];
  double survives = 1, cost = 0;
  for (std::size_t j = 1; j <= static_cast<std::size_t>(changeover_); ++j) {
    const auto lost = static_cast<double>(j);
    cost += survives * reclaimed *
            (lost * price + value({at.work, at.room - lost}, [](const Cell& cell) { return cell.lost; }));
    survives *= 1 - reclaimed;
  }
  // What this zone costs more than usual, for as long as it will probably be held.
  const double rest = rest_[octave];
  const double dearer = (price - spot_) * rest * (1 - std::exp(-at.work / rest));
  return cost + survives * (changeover_ * price + dearer +
                            value({at.work, at.room - changeover_},
                                  [&](const Cell& cell) { return cell.spot[octave]; }));
}

double DeadlinePlanner::cost_of_on_demand(Place at, const DeadlineProgress& now, std::size_t offered,
                                          std::size_t drought) const {
  const bool is_held = now.held.tier == Capacity::Tier::kOnDemand;
  const double owed =
      is_held ? static_cast<double>(now.pending_s) / static_cast<double>(job_.tick_s) / scale_ : changeover_;
  // Without room to change again, to the end.
  if (at.room < owed) return (owed + at.work) * on_demand_;
  // One more step for sure: the entry of this place may already hold the change to spot.
  return (owed + 1) * on_demand_ + value({at.work - 1, at.room - owed}, [&](const Cell& cell) {
           if (offered == kOctaves)
             return returns_[drought] * cell.demand_offered[0] +
                    (1 - returns_[drought]) * cell.demand_alone[drought];
           const float refuge =
               refuge_ * cell.demand_offered[refuge_octave_] + (1 - refuge_) * cell.demand_alone[0];
           return reclaim_[offered] * refuge + (1 - reclaim_[offered]) * cell.demand_offered[offered];
         });
}

double DeadlinePlanner::cost_of_waiting(Place at, std::size_t offered, std::size_t drought) const {
  return value({at.work, at.room - 1}, [&](const Cell& cell) {
    if (offered == kOctaves)
      return returns_[drought] * cell.idle_offered[0] + (1 - returns_[drought]) * cell.idle_alone[drought];
    return reclaim_[offered] * cell.lost + (1 - reclaim_[offered]) * cell.idle_offered[offered];
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
  const double step_s = static_cast<double>(job_.tick_s) * scale_, hours = step_s / 3600;
  const double work = static_cast<double>(job_.work_s - now.done_s) / step_s;
  const auto ticks = static_cast<double>((job_.deadline_s - now.elapsed_s) / job_.tick_s);
  const Place at{work, ticks / scale_ - work - changeover_};
  std::size_t offered = kOctaves;
  Capacity spot;
  double spot_cost = std::numeric_limits<double>::infinity();
  for (std::size_t zone = 0; zone < offers.size(); ++zone) {
    if (!is_worth_it(zone)) continue;
    const auto octave = history.octave(zone);
    offered = offered == kOctaves ? octave : std::max(offered, octave);
    if (!keeps_deadline(job_, now, Capacity::spot(zone))) continue;
    const double cost = cost_of_spot(at, offers[zone].price * hours, octave);
    if (cost >= spot_cost) continue;
    spot = Capacity::spot(zone);
    spot_cost = cost;
  }
  const auto drought = history.drought_octave();
  const double demand_cost = cost_of_on_demand(at, now, offered, drought);
  const double wait_cost = keeps_deadline(job_, now, Capacity::none())
                               ? cost_of_waiting(at, offered, drought)
                               : std::numeric_limits<double>::infinity();
  if (demand_cost <= std::min(spot_cost, wait_cost)) return Capacity::on_demand();
  if (spot.is_spot()) return spot;
  return wait_cost < demand_cost ? Capacity::none() : Capacity::on_demand();
}

}  // namespace neap::scheduler
