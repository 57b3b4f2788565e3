// What a period will cost in the end, and which days cost more or less than was to be expected.
//
// Both know three things about spend: it goes up and down with the weekday, its level drifts, and single days
// are wild. The weekday's factor is a median over weeks, the level a mean whose weights halve every
// kHalfLifeDays, the spread a median of deviations, so that one wild day moves none of them far. With less
// than two full weeks weekdays count alike; with less than two full days the line is straight.
//
// Pure; thread-safe. Days are UTC days since 1970-01-01. Money is integer micro-units; expectations are
// rounded to the nearest.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "neap/base/quantity.h"
#include "neap/finops/budget.h"

namespace neap::finops {

inline constexpr int kHalfLifeDays = 10;
// Older days say little about the next one.
inline constexpr int kHistoryDaysMax = 84;

// By day; a day that is absent between the first and the last cost nothing.
using DailySpend = std::map<std::int64_t, MoneyMicros>;
std::int64_t day_of(WallTime at);

struct Outlook {
  MoneyMicros so_far;
  // By the period's end; eight of ten periods should end between the two.
  MoneyMicros expected, low, high;
  // Full days before today that it rests on, and whether weekdays were told apart.
  int days = 0;
  bool knows_weekdays = false;
};
// `spend` up to and with today; the part of today that is left is expected in proportion.
Outlook forecast_period(const DailySpend& spend, const PeriodBounds& bounds, WallTime now);

struct AnomalyLimits {
  // A day is out of the ordinary where it differs from what was expected by all three of these.
  double deviations = 4.0;
  double share_of_expected = 0.25;
  MoneyMicros amount{1'000'000};
  // Days judged, counted back from yesterday; each by the days before it, of which these must be there.
  int days = 14;
  int history_days_min = 7;
};
struct Anomaly {
  std::int64_t day = 0;
  MoneyMicros amount, expected;
  // The part that changed most against its own expectation, empty where there are no parts.
  std::string cause;
  MoneyMicros cause_amount, cause_expected;
  // "2026-11-20: 412.50 instead of about 130.20, most of it site cloud-a (301.00 instead of 20.10)".
  std::string sentence;
};
// Oldest first. `parts`: the same spend cut by one attribute (site, model, team), by its value. A day that
// was told is left out of what later days are judged by.
std::vector<Anomaly> find_anomalies(const DailySpend& spend, const std::map<std::string, DailySpend>& parts,
                                    WallTime now, const AnomalyLimits& limits = {});

}  // namespace neap::finops
