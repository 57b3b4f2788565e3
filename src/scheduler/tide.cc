#include "neap/scheduler/tide.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace neap::scheduler {
namespace {

using std::chrono::days;

constexpr Duration kDay = days(1);
constexpr double kLevelFade = 0.7;  // weight of a day against the next one
constexpr auto kSurgeHalfLife = std::chrono::hours(1);
constexpr double kLeast = 1e-9;

std::int64_t day_of(WallTime at) { return std::chrono::floor<days>(at).time_since_epoch().count(); }
bool is_weekend(std::int64_t day) { return ((day + 3) % 7 + 7) % 7 >= 5; }  // 1970-01-01 was a Thursday

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / double(values.size());
}

// Median share of the day's mean, slot by slot, as wide as one slot to each side: peaks come early or late.
std::vector<double> shape_over(const std::vector<const std::vector<double>*>& whole, std::size_t slots) {
  std::vector<double> typical(slots), out(slots);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    std::vector<double> shares;
    for (const auto* day : whole) shares.push_back((*day)[slot] / std::max(mean(*day), kLeast));
    typical[slot] = median(std::move(shares));
  }
  for (std::size_t slot = 0; slot < slots; ++slot)
    out[slot] = std::max({typical[(slot + slots - 1) % slots], typical[slot], typical[(slot + 1) % slots]});
  return out;
}

double level_over(const std::vector<const std::vector<double>*>& whole) {
  double sum = 0, weights = 0, weight = 1;
  for (auto day = whole.rbegin(); day != whole.rend(); ++day, weight *= kLevelFade) {
    sum += weight * mean(**day);
    weights += weight;
  }
  return weights > 0 ? sum / weights : 0;
}

}  // namespace

Result<DemandForecast> DemandForecast::fit(const DemandHistory& history, double confidence) {
  const auto slots = history.step > Duration::zero() ? kDay / history.step : 0;
  if (slots < 4 || slots > 1440 || history.step * slots != kDay)
    return fail(Code::kInvalidArgument, "tide.step",
                "the step of a demand history must divide a day into 4 to 1440 equal parts; use 5m or 1h");
  for (const double demand : history.peak)
    if (!std::isfinite(demand) || demand < 0)
      return fail(Code::kInvalidArgument, "tide.demand",
                  fmt::format("a demand of {} replicas is none; leave out what was not measured", demand));
  DemandForecast out;
  out.step_ = history.step;
  out.slots_ = std::size_t(slots);
  // Full days only, so that each has a mean.
  const auto first_day = day_of(history.start + kDay - history.step);
  const auto skipped = std::size_t(std::max<std::int64_t>(
      0, (WallTime(days(first_day)) - history.start + history.step - Duration(1)) / history.step));
  std::vector<std::vector<double>> whole;
  for (auto at = skipped; at + out.slots_ <= history.peak.size(); at += out.slots_)
    whole.emplace_back(history.peak.begin() + std::ptrdiff_t(at),
                       history.peak.begin() + std::ptrdiff_t(at + out.slots_));
  std::vector<double> surprises;
  for (std::size_t known = 2; known < whole.size(); ++known) {
    out.learn(std::span(whole).first(known), first_day);
    for (std::size_t slot = 0; slot < out.slots_; ++slot) {
      const auto at = WallTime(days(first_day + std::int64_t(known))) + history.step * std::int64_t(slot);
      surprises.push_back(whole[known][slot] / std::max(out.base(at), kLeast));
    }
  }
  out.learn(whole, first_day);
  // Without a day to try it on, half as much again.
  out.margin_ = 1.5;
  if (!surprises.empty()) {
    const auto rank =
        std::min(surprises.size() - 1,
                 std::size_t(std::ceil(std::clamp(confidence, 0.5, 0.9999) * double(surprises.size()))));
    std::ranges::nth_element(surprises, surprises.begin() + std::ptrdiff_t(rank));
    out.margin_ = std::max(1.0, surprises[rank]);
  }
  return out;
}

void DemandForecast::learn(std::span<const std::vector<double>> whole, std::int64_t first_day) {
  std::vector<const std::vector<double>*> all, workdays, weekends;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    all.push_back(&whole[at]);
    (is_weekend(first_day + std::int64_t(at)) ? weekends : workdays).push_back(&whole[at]);
  }
  days_ = int(whole.size());
  const bool apart = workdays.size() >= 2 && weekends.size() >= 2;
  if (whole.empty()) return;
  shape_ = shape_over(apart ? workdays : all, slots_);
  level_ = level_over(apart ? workdays : all);
  weekend_shape_ = apart ? shape_over(weekends, slots_) : std::vector<double>();
  weekend_level_ = apart ? level_over(weekends) : 0;
}

std::size_t DemandForecast::slot_of(WallTime at) const {
  return std::size_t((at - WallTime(days(day_of(at)))) / step_) % slots_;
}

double DemandForecast::base(WallTime at) const {
  const bool apart = !weekend_shape_.empty() && is_weekend(day_of(at));
  return apart ? weekend_level_ * weekend_shape_[slot_of(at)] : level_ * shape_[slot_of(at)];
}

double DemandForecast::expected(WallTime at) const {
  if (!is_ready()) return 0;
  const double ahead = std::chrono::duration<double>(at - surge_at_) / kSurgeHalfLife;
  return base(at) * (1 + (surge_ - 1) * std::exp2(-std::abs(ahead)));
}

double DemandForecast::upper(WallTime at) const { return expected(at) * margin_; }

void DemandForecast::observe(WallTime now, double demand) {
  if (!is_ready()) return;
  surge_at_ = now;
  surge_ = std::max(1.0, demand / std::max(base(now), kLeast));
}

std::vector<Loan> plan_loans(const DemandForecast& forecast, int capacity, double in_use, WallTime now,
                             const TideOptions& options) {
  std::vector<Loan> out;
  if (!forecast.is_ready() || capacity <= 0) return out;
  const auto spare = [&](double need) {
    return int(std::floor(std::max(0.0, double(capacity - options.reserve) - std::ceil(need))));
  };
  // Falls with time: what is lent until then.
  int least = spare(in_use);
  const auto end = now + options.horizon + options.take_back;
  for (auto at = now; at <= end && least > 0; at += forecast.step()) {
    const int left = std::min(least, spare(forecast.upper(at)));
    const auto until = std::min(at - options.take_back, now + options.horizon);
    if (left < least && until >= now + options.useful_min) out.push_back({least, until});
    least = left;
  }
  if (least > 0) out.push_back({least, now + options.horizon});
  // From few for long to many for short.
  std::ranges::sort(out, {}, &Loan::replicas);
  return out;
}

int plan_recall(const DemandForecast& forecast, int capacity, int lent, double in_use, WallTime now,
                const TideOptions& options) {
  double need = in_use;
  for (auto at = now; at <= now + options.take_back + forecast.step(); at += forecast.step())
    need = std::max(need, forecast.is_ready() ? forecast.upper(at) : double(capacity));
  const int spare = std::max(0, capacity - options.reserve - int(std::ceil(need)));
  return std::max(0, lent - spare);
}

}  // namespace neap::scheduler
