#include "neap/scheduler/deadline_table.h"

#include <algorithm>
#include <array>
#include <cmath>

// Every function that takes or gives such a vector is inlined, so that none crosses between code for
// processors that hold it in one register and in two.
#pragma clang diagnostic ignored "-Wpsabi"
// Nor is a product ever fused with a sum, on any processor.
#pragma clang fp contract(off)
#define NEAP_INLINE [[gnu::always_inline]]

namespace neap::scheduler {
namespace {

using Octaves = DeadlineTable::Octaves;

NEAP_INLINE inline Octaves least(const Octaves& a, const Octaves& b) { return a < b ? a : b; }

NEAP_INLINE inline Octaves fill(float value) {
  return Octaves{value, value, value, value, value, value, value, value};
}

// Expected a step later; `ended` where the spell ends.
NEAP_INLINE inline Octaves next(const Octaves& of, const DeadlineTable::Ageing& ageing, float ended) {
  Octaves result = ageing.ends * ended + ageing.goes_on[0] * of;
  if (ageing.reach == 0) return result;
  const Octaves none{};
  result += ageing.goes_on[1] * __builtin_shufflevector(of, none, 1, 2, 3, 4, 5, 6, 7, 8);
  if (ageing.reach == 1) return result;
  // Each older than the one before; `goes_on` is nothing beyond the reach.
  result += ageing.goes_on[2] * __builtin_shufflevector(of, none, 2, 3, 4, 5, 6, 7, 8, 8);
  if (ageing.reach == 2) return result;
  result += ageing.goes_on[3] * __builtin_shufflevector(of, none, 3, 4, 5, 6, 7, 8, 8, 8);
  result += ageing.goes_on[4] * __builtin_shufflevector(of, none, 4, 5, 6, 7, 8, 8, 8, 8);
  if (ageing.reach <= 4) return result;
  result += ageing.goes_on[5] * __builtin_shufflevector(of, none, 5, 6, 7, 8, 8, 8, 8, 8);
  result += ageing.goes_on[6] * __builtin_shufflevector(of, none, 6, 7, 8, 8, 8, 8, 8, 8);
  result += ageing.goes_on[7] * __builtin_shufflevector(of, none, 7, 8, 8, 8, 8, 8, 8, 8);
  return result;
}

}  // namespace

// What is the same for all cells of a table.
struct DeadlineTable::Sweep {
  std::size_t height, width;
  bool is_coarse;                    // a row or column is several ticks
  float demand, spot, spot_column;   // $ a row on-demand and on spot, $ a column on spot
  float change_demand, change_spot;  // $ a changeover
  std::size_t whole_columns;         // of a changeover
  float part;                        // how far right of `below` a changeover ends, columns
  std::size_t reach;                 // columns that a changeover needs
  const Chances &per_row, &per_column;
  const float* refuge;
  std::size_t refuge_octave;

  template <std::size_t Shelters>
  NEAP_INLINE void cell(Cell<Shelters>* row, std::size_t work, std::size_t room) const;
  template <std::size_t Shelters>
  NEAP_INLINE void run(Cell<Shelters>* cells) const {
    for (std::size_t n = 1; n < height; ++n)
      for (std::size_t x = 0; x < width; ++x) cell<Shelters>(cells + n * width, n, x);
  }
  template <std::size_t Shelters>
  void run_wide(Cell<Shelters>* cells) const;
  template <std::size_t Shelters>
  NEAP_INLINE Octaves mixed(const Octaves* of, std::size_t shelter, const Chances& chances,
                            float lost) const {
    if constexpr (Shelters == 1) return next(of[0], chances.offered[0], lost);
    return next(of[0] + chances.sheltered[shelter] * (of[1] - of[0]), chances.offered[shelter], lost);
  }
  NEAP_INLINE float after_loss(std::size_t shelter, float found, float alone) const {
    return refuge[shelter] * found + (1 - refuge[shelter]) * alone;
  }
};

template <std::size_t Shelters>
void DeadlineTable::Sweep::cell(Cell<Shelters>* row, std::size_t work, std::size_t room) const {
  Cell<Shelters>& now = row[room];
  const Cell<Shelters>& worked = *(&now - width);  // a row of work less
  // What ends in the middle of a step was not run to the end of it: the costs there are taken as on a line
  // through the two steps below.
  const bool has_parts = is_coarse && work > 1;
  const Cell<Shelters>& before = has_parts ? *(&worked - width) : worked;
  const Cell<Shelters>* waited = room > 0 ? &now - 1 : nullptr;
  // A changeover ends between two columns. On-demand that ends it left of the first one runs to the end; spot
  // must not.
  const bool has_landing = room >= reach;
  const Cell<Shelters>& lower = row[has_landing ? room - reach : 0];
  // This cell itself where a changeover is short: what is read of it is written by then.
  const Cell<Shelters>& upper = row[has_landing ? std::min(room - reach + 1, room) : 0];
  const Octaves to_the_end = fill(demand * static_cast<float>(work)), forbidden = fill(kForbidden);
  Octaves wait = forbidden;
  if (waited != nullptr) wait = next(waited->idle_alone, per_column.drought, waited->idle_offered[0][0]);
  if (has_parts && room > 1)
    wait += per_column.drought.unspent * (waited->idle_offered[0][0] - (waited - 1)->idle_offered[0][0]);
  Octaves run = demand + next(worked.demand_alone, per_row.drought, worked.demand_offered[0][0]);
  if (has_parts)
    run += per_row.drought.unspent * (worked.demand_offered[0][0] - before.demand_offered[0][0] - demand);
  now.demand_alone = least(run, wait);
  now.idle_alone =
      least(wait, change_demand + (has_landing
                                       ? lower.demand_alone + part * (upper.demand_alone - lower.demand_alone)
                                       : to_the_end));
  for (std::size_t s = 0; s < Shelters; ++s) {
    now.spot[s] = spot + mixed<Shelters>(worked.spot, s, per_row, worked.lost[s]);
    if (has_parts) now.spot[s] += per_row.offered[s].unspent * (worked.lost[s] - before.lost[s] - spot);
    Octaves take = forbidden;
    if (has_landing) {
      const Octaves ends = per_column.offered[s].ends;
      Octaves survives = fill(1), cost{};
      for (std::size_t j = 1; j <= whole_columns; ++j) {
        const float lost = static_cast<float>(j) * spot_column + row[room - j].lost[s];
        cost += survives * ends * lost;
        survives *= 1 - ends;
      }
      take = cost + survives * (change_spot + (lower.spot[s] + part * (upper.spot[s] - lower.spot[s])));
    }
    wait = forbidden;
    if (waited != nullptr) wait = mixed<Shelters>(waited->idle_offered, s, per_column, waited->lost[s]);
    const float lost = after_loss(s, worked.demand_offered[0][refuge_octave], worked.demand_alone[0]);
    const Octaves best = least(take, wait);
    now.demand_offered[s] = least(demand + mixed<Shelters>(worked.demand_offered, s, per_row, lost), best);
    now.idle_offered[s] = least(
        best, change_demand + (has_landing ? lower.demand_offered[s] +
                                                 part * (upper.demand_offered[s] - lower.demand_offered[s])
                                           : to_the_end));
  }
  for (std::size_t s = 0; s < Shelters; ++s)
    now.lost[s] = after_loss(s, now.idle_offered[0][refuge_octave], now.idle_alone[0]);
}

#if defined(__x86_64__)
// The same operations, eight floats at a time; no fused multiply-add, which would round differently.
template <std::size_t Shelters>
[[gnu::target("avx2")]] void DeadlineTable::Sweep::run_wide(Cell<Shelters>* cells) const {
  run(cells);
}
#endif

template <std::size_t Shelters>
void DeadlineTable::sweep(std::vector<Cell<Shelters>>& cells) {
  if (cells.size() < height_ * width_) cells = std::vector<Cell<Shelters>>(height_ * width_);
  std::fill_n(cells.begin(), width_, Cell<Shelters>{});
  const double whole = std::ceil(changeover_);
  const Sweep sweep{.height = height_,
                    .width = width_,
                    .is_coarse = row_ > 1 || column_ > 1,
                    .demand = static_cast<float>(on_demand_ * row_),
                    .spot = static_cast<float>(spot_ * row_),
                    .spot_column = static_cast<float>(spot_ * column_),
                    .change_demand = static_cast<float>(changeover_ * column_ * on_demand_),
                    .change_spot = static_cast<float>(changeover_ * column_ * spot_),
                    .whole_columns = static_cast<std::size_t>(changeover_),
                    .part = static_cast<float>(whole - changeover_),
                    .reach = static_cast<std::size_t>(whole),
                    .per_row = per_row_,
                    .per_column = per_column_,
                    .refuge = refuge_,
                    .refuge_octave = refuge_octave_};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return sweep.run_wide(cells.data());
#endif
  sweep.run(cells.data());
}

void DeadlineTable::solve(const DeadlineJob& job, double work, double room, const SpotHistory& history,
                          std::size_t cells_max) {
  const auto bound = static_cast<double>(cells_max);
  // Slack is what is scarce: its columns stay a tick as long as the rows need not grow beyond eight.
  constexpr double kRowsPerColumn = 8;
  const double coarser = (work + 1) * (room + 1) / bound;
  column_ = std::ceil(std::max({1.0, std::sqrt(coarser / kRowsPerColumn), 3 * room / bound}));
  row_ = std::ceil(std::max({1.0, coarser / column_, 3 * work / bound}));
  height_ = static_cast<std::size_t>(std::ceil(work / row_)) + 2;
  width_ = static_cast<std::size_t>(std::ceil(room / column_)) + 2;
  const double tick_h = static_cast<double>(job.tick_s) / 3600;
  changeover_ = static_cast<double>(job.changeover_s) / static_cast<double>(job.tick_s) / column_;
  on_demand_ = job.on_demand_price * tick_h;
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
  if (shelters_ == 1)
    sweep(alone_);
  else
    sweep(sheltered_);
}

DeadlineTable::Ageing DeadlineTable::age(const SpotHistory::ByOctave& ends_a_tick, std::size_t ticks) {
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
  std::array<double, kOctaves> stays{}, grows{};
  for (std::size_t b = 0; b < kOctaves; ++b) {
    const double lasts = 1 - static_cast<double>(ends_a_tick[b]);
    // The time spent in an octave is taken as geometric with the octave's length for its mean.
    grows[b] = b + 1 < kOctaves ? lasts / std::exp2(static_cast<double>(b)) : 0;
    stays[b] = lasts - grows[b];
    at[b][b] = 1;
    power[b][b] = stays[b];
    if (b + 1 < kOctaves) power[b][b + 1] = grows[b];
  }
  for (auto left = ticks; left > 0; left /= 2) {
    if (left % 2 == 1) at = after(at, power);
    power = after(power, power);
  }
  // By the tick: the share of the step that is left when a spell ends in it.
  std::array<double, kOctaves> lasting, unspent{};
  lasting.fill(1);
  for (std::size_t tick = 1; tick < ticks; ++tick)
    for (std::size_t b = 0; b < kOctaves; ++b) {
      lasting[b] = stays[b] * lasting[b] + (b + 1 < kOctaves ? grows[b] * lasting[b + 1] : 0);
      unspent[b] += (1 - lasting[b]) / static_cast<double>(ticks);
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
    ageing.unspent[b] = static_cast<float>(unspent[b]);
  }
  return ageing;
}

DeadlineTable::Chances DeadlineTable::chances_over(std::size_t ticks, const SpotHistory& history) const {
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

}  // namespace neap::scheduler
