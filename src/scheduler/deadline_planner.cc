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
  // Slack is what is scarce: its columns stay a tick as long as the rows need not grow beyond eight.
  constexpr double kRowsPerColumn = 8;
  const double coarser = (work + 1) * (room + 1) / cells_max;
  column_ = std::ceil(std::max({1.0, std::sqrt(coarser / kRowsPerColumn), 3 * room / cells_max}));
  row_ = std::ceil(std::max({1.0, coarser / column_, 3 * work / cells_max}));
  height_ = static_cast<std::size_t>(std::ceil(work / row_)) + 2;
  width_ = static_cast<std::size_t>(std::ceil(room / column_)) + 2;
  const double tick_h = static_cast<double>(job_.tick_s) / 3600;
  changeover_ = static_cast<double>(job_.changeover_s) / static_cast<double>(job_.tick_s) / column_;
  on_demand_ = job_.on_demand_price * tick_h;
  spot_ = history.usual_price() * tick_h;
  shelters_ = history.zones() > 1 ? kShelters : 1;
  refuge_octave_ = history.refuge_octave();
  for (std::size_t s = 0; s < shelters_; ++s) refuge_[s] = static_cast<float>(history.refuge_chance(s));
  per_tick_ = chances_over(1, history);
  per_row_ = chances_over(static_cast<std::size_t>(row_), history);
  per_column_ = chances_over(static_cast<std::size_t>(column_), history);
  const auto& usual = per_tick_.offered[shelters_ - 1];
  rest_[kOctaves - 1] = 1 / static_cast<double>(usual.ends[kOctaves - 1]);
  for (std::size_t b = kOctaves - 1; b-- > 0;) {
    const double grows = static_cast<double>(usual.goes_on[1][b]);
    rest_[b] = (1 + grows * rest_[b + 1]) / (static_cast<double>(usual.ends[b]) + grows);
  }
  cells_.resize(height_ * width_);
  std::fill_n(cells_.begin(), width_, Cell{});
  for (std::size_t n = 1; n < height_; ++n)
    for (std::size_t x = 0; x < width_; ++x) solve_cell(n, x);
}

DeadlinePlanner::Ageing DeadlinePlanner::age(const ByOctave& ends_a_tick, std::size_t ticks) {
  // Of a spell of each octave at first: where it is.
  using Matrix = std::array<std::array<double, kOctaves>, kOctaves>;
  const auto after = [](const Matrix& first, const Matrix& then) {
    Matrix both{};
    for (std::size_t from = 0; from < kOctaves; ++from)
      for (std::size_t by = from; by < kOctaves; ++by)
        for (std::size_t to = by; to < kOctaves; ++to) both[from][to] += first[from][by] * then[by][to];
    return both;
  };
  Matrix at{}, power{};
  for (std::size_t b = 0; b < kOctaves; ++b) {
    const double lasts = 1 - static_cast<double>(ends_a_tick[b]);
    // The time spent in an octave is taken as geometric with the octave's length for its mean.
    const double grows = b + 1 < kOctaves ? lasts / std::exp2(static_cast<double>(b)) : 0;
    at[b][b] = 1;
    power[b][b] = lasts - grows;
    if (b + 1 < kOctaves) power[b][b + 1] = grows;
  }
  for (auto left = ticks; left > 0; left /= 2) {
    if (left % 2 == 1) at = after(at, power);
    power = after(power, power);
  }
  Ageing ageing;
  ageing.reach = std::min(ticks, kOctaves - 1);
  for (std::size_t b = 0; b < kOctaves; ++b) {
    double lasts = 0;
    for (std::size_t d = 0; b + d < kOctaves; ++d) {
      ageing.goes_on[d][b] = static_cast<float>(at[b][b + d]);
      lasts += at[b][b + d];
    }
    ageing.ends[b] = static_cast<float>(1 - lasts);
  }
  return ageing;
}

DeadlinePlanner::Chances DeadlinePlanner::chances_over(std::size_t ticks, const SpotHistory& history) const {
  Chances chances;
  chances.drought = age(history.return_chances(), ticks);
  const double gains = history.shelter_chance(0), keeps = history.shelter_chance(1);
  const double fixed = gains / (gains + 1 - keeps),
               decay = std::pow(std::max(keeps - gains, 0.0), static_cast<double>(ticks));
  for (std::size_t s = 0; s < shelters_; ++s) {
    chances.offered[s] = age(history.reclaim_chances(s), ticks);
    chances.sheltered[s] = static_cast<float>(fixed + (static_cast<double>(s) - fixed) * decay);
  }
  return chances;
}

// Expected a step later; `ended` where the spell ends.
DeadlinePlanner::ByOctave DeadlinePlanner::next(const ByOctave& of, const Ageing& ageing, float ended) {
  std::array<float, 2 * kOctaves> older{};
  std::ranges::copy(of, older.begin());
  ByOctave result;
  for (std::size_t b = 0; b < kOctaves; ++b) result[b] = ageing.ends[b] * ended;
  for (std::size_t d = 0; d <= ageing.reach; ++d)
    for (std::size_t b = 0; b < kOctaves; ++b) result[b] += ageing.goes_on[d][b] * older[b + d];
  return result;
}

DeadlinePlanner::ByOctave DeadlinePlanner::next(const Sheltered& of, std::size_t shelter,
                                                const Chances& chances, float lost) const {
  if (shelters_ == 1) return next(of[0], chances.offered[0], lost);
  ByOctave mixed;
  for (std::size_t b = 0; b < kOctaves; ++b)
    mixed[b] = of[0][b] + chances.sheltered[shelter] * (of[1][b] - of[0][b]);
  return next(mixed, chances.offered[shelter], lost);
}

void DeadlinePlanner::solve_cell(std::size_t work, std::size_t room) {
  Cell* row = cells_.data() + work * width_;
  Cell& now = row[room];
  const Cell& worked = cells_[(work - 1) * width_ + room];
  const Cell* waited = room > 0 ? &row[room - 1] : nullptr;
  const auto demand = static_cast<float>(on_demand_ * row_), spot = static_cast<float>(spot_ * row_),
             spot_column = static_cast<float>(spot_ * column_);
  // A changeover ends between two columns. On-demand that ends it left of the first one runs to the end; spot
  // must not.
  const double landing = static_cast<double>(room) - changeover_;
  const bool has_landing = landing >= 0;
  const auto below = static_cast<std::size_t>(std::max(landing, 0.0));
  const auto part = static_cast<float>(std::max(landing, 0.0) - static_cast<double>(below));
  const Cell& lower = row[below];
  // This cell itself where a changeover is short: what is read of it is written by then.
  const Cell& upper = row[std::min(below + 1, room)];
  const auto landed = [&](float a, float b) { return a + part * (b - a); };
  const float to_the_end = demand * static_cast<float>(work);
  const auto change_demand = static_cast<float>(changeover_ * column_ * on_demand_),
             change_spot = static_cast<float>(changeover_ * column_ * spot_);
  const auto whole_columns = static_cast<std::size_t>(changeover_);
  ByOctave wait;
  wait.fill(kForbidden);
  if (waited != nullptr) wait = next(waited->idle_alone, per_column_.drought, waited->idle_offered[0][0]);
  const auto drought = next(worked.demand_alone, per_row_.drought, worked.demand_offered[0][0]);
  for (std::size_t b = 0; b < kOctaves; ++b) now.demand_alone[b] = std::min(demand + drought[b], wait[b]);
  for (std::size_t b = 0; b < kOctaves; ++b)
    now.idle_alone[b] = std::min(
        wait[b],
        change_demand + (has_landing ? landed(lower.demand_alone[b], upper.demand_alone[b]) : to_the_end));
  for (std::size_t s = 0; s < shelters_; ++s) {
    const auto goes_on = next(worked.spot, s, per_row_, worked.lost[s]);
    for (std::size_t b = 0; b < kOctaves; ++b) now.spot[s][b] = spot + goes_on[b];
    ByOctave take;
    take.fill(kForbidden);
    if (has_landing) {
      const auto& ends = per_column_.offered[s].ends;
      ByOctave survives, cost{};
      survives.fill(1);
      for (std::size_t j = 1; j <= whole_columns; ++j) {
        const float lost = static_cast<float>(j) * spot_column + row[room - j].lost[s];
        for (std::size_t b = 0; b < kOctaves; ++b) {
          cost[b] += survives[b] * ends[b] * lost;
          survives[b] *= 1 - ends[b];
        }
      }
      for (std::size_t b = 0; b < kOctaves; ++b)
        take[b] = cost[b] + survives[b] * (change_spot + landed(lower.spot[s][b], upper.spot[s][b]));
    }
    wait.fill(kForbidden);
    if (waited != nullptr) wait = next(waited->idle_offered, s, per_column_, waited->lost[s]);
    const float refuge =
        refuge_[s] * worked.demand_offered[0][refuge_octave_] + (1 - refuge_[s]) * worked.demand_alone[0];
    const auto beside = next(worked.demand_offered, s, per_row_, refuge);
    for (std::size_t b = 0; b < kOctaves; ++b)
      now.demand_offered[s][b] = std::min(std::min(demand + beside[b], take[b]), wait[b]);
    for (std::size_t b = 0; b < kOctaves; ++b)
      now.idle_offered[s][b] = std::min(
          std::min(take[b], wait[b]),
          change_demand +
              (has_landing ? landed(lower.demand_offered[s][b], upper.demand_offered[s][b]) : to_the_end));
  }
  for (std::size_t s = 0; s < shelters_; ++s)
    now.lost[s] = refuge_[s] * now.idle_offered[0][refuge_octave_] + (1 - refuge_[s]) * now.idle_alone[0];
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

// `price`: $ a tick.
double DeadlinePlanner::cost_of_spot(Place at, double price, std::size_t octave, std::size_t shelter,
                                     double frailty) const {
  if (at.room < changeover_) return kForbidden;
  const double reclaimed =
      1 - std::pow(1 - static_cast<double>(per_column_.offered[shelter].ends[octave]), frailty);
  double survives = 1, cost = 0;
  for (std::size_t j = 1; j <= static_cast<std::size_t>(changeover_); ++j) {
    const auto lost = static_cast<double>(j);
    cost += survives * reclaimed *
            (lost * column_ * price +
             value({at.work, at.room - lost}, [&](const Cell& cell) { return cell.lost[shelter]; }));
    survives *= 1 - reclaimed;
  }
  // The usual spell that lasts as long, between two octaves.
  const double rest = rest_[octave] / frailty;
  std::size_t older = octave;
  while (frailty < 1 && older + 1 < kOctaves && rest_[older] < rest) ++older;
  while (frailty > 1 && older > 0 && rest_[older - 1] > rest) --older;
  const std::size_t younger = older > 0 ? older - 1 : 0;
  const double span = rest_[older] - rest_[younger];
  const double part = frailty == 1 || span <= 0 ? 1 : std::clamp((rest - rest_[younger]) / span, 0.0, 1.0);
  // What this zone costs more than usual, for as long as it will probably be held.
  const double dearer = (price - spot_) * rest * (1 - std::exp(-at.work * row_ / rest));
  const auto pick = [&](const Cell& cell) {
    const auto& of = cell.spot[shelter];
    return (1 - part) * of[younger] + part * of[older];
  };
  return cost +
         survives * (changeover_ * column_ * price + dearer + value({at.work, at.room - changeover_}, pick));
}

double DeadlinePlanner::cost_of_on_demand(Place at, const DeadlineProgress& now, std::size_t offered,
                                          std::size_t shelter, std::size_t drought) const {
  const bool is_held = now.held.tier == Capacity::Tier::kOnDemand;
  const double owed =
      is_held ? static_cast<double>(now.pending_s) / static_cast<double>(job_.tick_s) / column_ : changeover_;
  // Without room to change again, to the end.
  if (at.room < owed) return (owed * column_ + at.work * row_) * on_demand_;
  // One more tick for sure: the entry of this place may already hold the change to spot.
  return (owed * column_ + 1) * on_demand_ +
         value({at.work - 1 / row_, at.room - owed}, [&](const Cell& cell) {
           if (offered == kOctaves) {
             const double returns = per_tick_.drought.ends[drought];
             return returns * cell.demand_offered[0][0] + (1 - returns) * cell.demand_alone[drought];
           }
           const double refuge = refuge_[shelter] * cell.demand_offered[0][refuge_octave_] +
                                 (1 - refuge_[shelter]) * cell.demand_alone[0];
           const double reclaimed = per_tick_.offered[shelter].ends[offered];
           return reclaimed * refuge + (1 - reclaimed) * cell.demand_offered[shelter][offered];
         });
}

double DeadlinePlanner::cost_of_waiting(Place at, std::size_t offered, std::size_t shelter,
                                        std::size_t drought) const {
  return value({at.work, at.room - 1 / column_}, [&](const Cell& cell) {
    if (offered == kOctaves) {
      const double returns = per_tick_.drought.ends[drought];
      return returns * cell.idle_offered[0][0] + (1 - returns) * cell.idle_alone[drought];
    }
    const double reclaimed = per_tick_.offered[shelter].ends[offered];
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
  const Place at{work / row_, (ticks - work) / column_ - changeover_};
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
