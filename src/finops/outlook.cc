#include "neap/finops/outlook.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace neap::finops {
namespace {

using std::chrono::days;

constexpr int kWeek = 7;
constexpr std::size_t kTrendWeeksMin = 4;
constexpr double kTrendDays = 60;
// A spread below this share of the level is not believed: quiet weeks must not make small changes wild.
constexpr double kSpreadMin = 0.05;
constexpr double kDeviationOfMedian = 1.4826;  // of a normal distribution
constexpr double kEightOfTen = 1.2816;

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::size_t weekday_of(std::int64_t day) {
  return std::size_t(((day + 3) % kWeek + kWeek) % kWeek);  // 1970-01-01 was a Thursday; Monday is 0
}

struct Day {
  std::int64_t day = 0;
  double amount = 0;
};

// What full days say about the next ones.
class Pattern {
 public:
  explicit Pattern(std::vector<Day> history) : history_(std::move(history)) {
    factor_.fill(1.0);
    if (history_.size() >= 2 * kWeek) learn_weekdays();
    learn_level();
    std::vector<double> misses;
    for (const auto& day : history_)
      misses.push_back(std::abs(day.amount - expected(day.day)) /
                       std::max(expected(day.day), least_spread()));
    spread_ = kDeviationOfMedian * median(std::move(misses));
  }
  std::size_t days() const { return history_.size(); }
  bool knows_weekdays() const { return knows_weekdays_; }
  double expected(std::int64_t day) const {
    const auto ahead = history_.empty() ? 0.0 : double(day - history_.back().day);
    // What grows does not grow for ever: the slope counts for kTrendDays at most.
    const double reach = ahead <= 0 ? ahead : kTrendDays * (1 - std::exp(-ahead / kTrendDays));
    return std::max(0.0, level_ + slope_ * reach) * factor_[weekday_of(day)];
  }
  // One standard deviation of a day, and of all days from `first` to before `end` together.
  double spread(std::int64_t day) const { return std::max(spread_ * expected(day), least_spread()); }
  double spread_until(std::int64_t first, std::int64_t end) const {
    double variance = 0, sum = 0, slope_sum = 0;
    for (auto day = first; day < end; ++day) {
      const double one = spread(day);
      variance += one * one;
      sum += one;
      slope_sum += double(day - first + 1) * factor_[weekday_of(day)];
    }
    // Days are wild each for itself; an error of the level or the slope is the same one for all.
    const double level_error =
        sum / std::sqrt(double(std::min<std::size_t>(history_.size(), 2 * kHalfLifeDays)));
    return std::hypot(std::sqrt(variance), level_error, slope_sum * slope_error_);
  }

 private:
  // Each day against the mean of the seven days around it, so that a drifting level is no weekday's doing.
  void learn_weekdays() {
    std::array<std::vector<double>, kWeek> ratios;
    for (std::size_t at = 3; at + 3 < history_.size(); ++at) {
      double sum = 0;
      for (std::size_t near = at - 3; near <= at + 3; ++near) sum += history_[near].amount;
      if (sum > 0) ratios[weekday_of(history_[at].day)].push_back(history_[at].amount * kWeek / sum);
    }
    double total = 0;
    for (std::size_t weekday = 0; weekday < kWeek; ++weekday)
      total += factor_[weekday] = ratios[weekday].empty() ? 1.0 : median(ratios[weekday]);
    if (total <= 0) {
      factor_.fill(1.0);
      return;
    }
    for (auto& factor : factor_) factor *= kWeek / total;
    knows_weekdays_ = true;
  }

  double least_spread() const { return kSpreadMin * level_; }
  // The slope is the median of those between any two weeks (Theil, Sen); the level is at the last day.
  void learn_level() {
    std::vector<double> weeks;  // newest first
    double sum = 0, age_sum = 0, weights = 0, weight = 1, week = 0;
    const double fade = std::exp2(-1.0 / kHalfLifeDays);
    int in_week = 0;
    for (auto day = history_.rbegin(); day != history_.rend(); ++day) {
      const double factor = factor_[weekday_of(day->day)];
      if (factor <= 0) continue;
      const double value = day->amount / factor;
      sum += weight * value;
      age_sum += weight * double(history_.back().day - day->day);
      weights += weight;
      weight *= fade;
      week += value;
      if (++in_week == kWeek) {
        weeks.push_back(week / kWeek);
        week = in_week = 0;
      }
    }
    if (weights <= 0) return;
    std::vector<double> slopes;
    for (std::size_t newer = 0; newer < weeks.size(); ++newer)
      for (auto older = newer + 1; older < weeks.size(); ++older)
        slopes.push_back((weeks[newer] - weeks[older]) / double(kWeek * (older - newer)));
    if (weeks.size() >= kTrendWeeksMin) {
      slope_ = median(slopes);
      for (auto& slope : slopes) slope = std::abs(slope - slope_);
      slope_error_ = kDeviationOfMedian * median(std::move(slopes)) / std::sqrt(double(weeks.size()));
    }
    level_ = std::max(0.0, sum / weights + slope_ * age_sum / weights);
  }

  std::vector<Day> history_;
  std::array<double, kWeek> factor_{};
  double level_ = 0, slope_ = 0, slope_error_ = 0;
  double spread_ = 0;  // share of a day's expectation
  bool knows_weekdays_ = false;
};

// Full days from the first that is known to before `end`, without those left out.
std::vector<Day> full_days(const DailySpend& spend, std::int64_t end,
                           const std::set<std::int64_t>& without = {}) {
  std::vector<Day> out;
  if (spend.empty()) return out;
  for (auto day = std::max(spend.begin()->first, end - kHistoryDaysMax); day < end; ++day) {
    if (without.contains(day)) continue;
    const auto found = spend.find(day);
    out.push_back({day, found == spend.end() ? 0.0 : double(found->second.value)});
  }
  return out;
}

MoneyMicros to_money(double micros) {
  constexpr double kMax = 9.0e18;
  return {std::int64_t(std::llround(std::clamp(micros, -kMax, kMax)))};
}

double amount_on(const DailySpend& spend, std::int64_t day) {
  const auto found = spend.find(day);
  return found == spend.end() ? 0.0 : double(found->second.value);
}

void explain(Anomaly& anomaly, const std::map<std::string, DailySpend>& parts) {
  double most = 0;
  const double way = anomaly.amount > anomaly.expected ? 1 : -1;
  for (const auto& [name, spend] : parts) {
    const double amount = amount_on(spend, anomaly.day);
    const double expected = Pattern(full_days(spend, anomaly.day)).expected(anomaly.day);
    if (way * (amount - expected) <= most) continue;
    most = way * (amount - expected);
    anomaly.cause = name;
    anomaly.cause_amount = to_money(amount);
    anomaly.cause_expected = to_money(expected);
  }
  const std::chrono::year_month_day date{std::chrono::sys_days(days(anomaly.day))};
  anomaly.sentence =
      fmt::format("{:04}-{:02}-{:02}: {} instead of about {}", int(date.year()), unsigned(date.month()),
                  unsigned(date.day()), format_money(anomaly.amount), format_money(anomaly.expected));
  if (!anomaly.cause.empty())
    anomaly.sentence += fmt::format(", most of it {} ({} instead of about {})", anomaly.cause,
                                    format_money(anomaly.cause_amount), format_money(anomaly.cause_expected));
}

}  // namespace

std::int64_t day_of(WallTime at) { return std::chrono::floor<days>(at).time_since_epoch().count(); }

Outlook forecast_period(const DailySpend& spend, const PeriodBounds& bounds, WallTime now) {
  Outlook out;
  const auto today = day_of(now), end = day_of(bounds.end);
  for (auto day = spend.lower_bound(day_of(bounds.start)); day != spend.end() && day->first < end; ++day)
    out.so_far += day->second;
  out.expected = out.low = out.high = out.so_far;
  if (now >= bounds.end) return out;
  const Pattern pattern(full_days(spend, today));
  out.days = int(pattern.days());
  out.knows_weekdays = pattern.knows_weekdays();
  if (pattern.days() < 2) {
    out.expected = out.low = out.high = forecast(out.so_far, bounds, now);
    return out;
  }
  const double passed = std::chrono::duration<double>(now - std::chrono::floor<days>(now)) / days(1);
  double rest = pattern.expected(today) * (1 - passed);
  for (auto day = today + 1; day < end; ++day) rest += pattern.expected(day);
  const double spread = kEightOfTen * pattern.spread_until(today, end);
  const auto so_far = double(out.so_far.value);
  out.expected = to_money(so_far + rest);
  out.low = to_money(so_far + std::max(0.0, rest - spread));
  out.high = to_money(so_far + rest + spread);
  return out;
}

std::vector<Anomaly> find_anomalies(const DailySpend& spend, const std::map<std::string, DailySpend>& parts,
                                    WallTime now, const AnomalyLimits& limits) {
  std::vector<Anomaly> out;
  std::set<std::int64_t> told;
  const auto today = day_of(now);
  for (auto day = today - limits.days; day < today; ++day) {
    const Pattern pattern(full_days(spend, day, told));
    if (int(pattern.days()) < limits.history_days_min) continue;
    const double amount = amount_on(spend, day), expected = pattern.expected(day);
    const double difference = std::abs(amount - expected);
    if (difference <= limits.deviations * pattern.spread(day) ||
        difference <= limits.share_of_expected * expected || difference <= double(limits.amount.value))
      continue;
    told.insert(day);
    Anomaly anomaly{.day = day, .amount = to_money(amount), .expected = to_money(expected)};
    explain(anomaly, parts);
    out.push_back(std::move(anomaly));
  }
  return out;
}

}  // namespace neap::finops
