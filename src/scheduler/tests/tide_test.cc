#include "neap/scheduler/tide.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "neap/base/draw.h"

namespace neap::scheduler {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;

constexpr int kSlots = 288;
const WallTime kMonday = WallTime(days(20'003));  // 2024-10-07

// Demand in replicas that rises from 3 at night to 18 by day, less at weekends, with noise, a level that
// drifts, peaks that shift by up to half an hour, and now and then a surge of an hour.
std::vector<double> demand_of(int day_count, std::uint64_t seed) {
  Draw draw(seed);
  std::vector<double> out;
  double level = 1;
  for (int day = 0; day < day_count; ++day) {
    level *= 1 + 0.06 * (draw.unit() - 0.5);
    const double weekday = day % 7 >= 5 ? 0.6 : 1;
    const int shift = int(draw.below(13)) - 6;
    const int surge = draw.below(6) == 0 ? int(draw.below(kSlots)) : -100;
    for (int slot = 0; slot < kSlots; ++slot) {
      const double angle = 2 * std::numbers::pi * (slot + shift - 60) / kSlots;
      double value = (10.5 - 7.5 * std::cos(angle)) * level * weekday * (1 + 0.1 * (draw.unit() - 0.5));
      if (slot >= surge && slot < surge + 12) value *= 1.3;
      out.push_back(value);
    }
  }
  return out;
}

DemandHistory history_of(const std::vector<double>& demand, std::size_t steps) {
  return {
      .start = kMonday, .step = minutes(5), .peak = {demand.begin(), demand.begin() + std::ptrdiff_t(steps)}};
}

TEST(Tide, nothing_is_lent_before_two_days_are_known) {
  const auto demand = demand_of(3, 1);
  const auto young = DemandForecast::fit(history_of(demand, 2 * kSlots - 1)).value();
  EXPECT_FALSE(young.is_ready());
  EXPECT_TRUE(plan_loans(young, 20, 1, kMonday + days(2)).empty());
  EXPECT_EQ(plan_recall(young, 20, 5, 1, kMonday + days(2)), 5) << "and what was lent comes back";
  EXPECT_TRUE(DemandForecast::fit(history_of(demand, 2 * kSlots)).value().is_ready());
}

TEST(Tide, the_night_is_lent_until_the_morning_and_more_for_shorter) {
  const auto demand = demand_of(14, 2);
  const auto forecast = DemandForecast::fit(history_of(demand, demand.size())).value();
  const auto night = kMonday + days(14) + hours(2);
  const auto loans = plan_loans(forecast, 24, 3, night);
  ASSERT_GE(loans.size(), 2u);
  EXPECT_GT(loans.back().replicas, 10);
  for (std::size_t i = 1; i < loans.size(); ++i) {
    EXPECT_GT(loans[i].replicas, loans[i - 1].replicas);
    EXPECT_LT(loans[i].until, loans[i - 1].until);
  }
  const auto noon = plan_loans(forecast, 24, 18, kMonday + days(14) + hours(14));
  EXPECT_LT(noon.empty() ? 0 : noon.back().replicas, loans.back().replicas / 2);
}

TEST(Tide, demand_above_the_forecast_takes_back_at_once) {
  const auto demand = demand_of(14, 3);
  auto forecast = DemandForecast::fit(history_of(demand, demand.size())).value();
  const auto night = kMonday + days(14) + hours(3);
  const auto lent = plan_loans(forecast, 24, 4, night).back().replicas;
  EXPECT_EQ(plan_recall(forecast, 24, lent, 4, night), 0);
  forecast.observe(night, 12);
  EXPECT_GT(plan_recall(forecast, 24, lent, 12, night), 0);
  EXPECT_LE(plan_recall(forecast, 24, lent, 12, night), lent);
}

TEST(Tide, bad_histories_are_refused_by_name) {
  EXPECT_EQ(DemandForecast::fit({.start = kMonday, .step = minutes(7), .peak = {}}).error().reason,
            "tide.step");
  EXPECT_EQ(DemandForecast::fit({.start = kMonday, .step = minutes(0), .peak = {}}).error().reason,
            "tide.step");
  EXPECT_EQ(DemandForecast::fit({.start = kMonday, .step = hours(1), .peak = {1, -1}}).error().reason,
            "tide.demand");
  EXPECT_EQ(DemandForecast::fit({.start = kMonday, .step = hours(1), .peak = {std::nan("")}}).error().reason,
            "tide.demand");
}

struct Balance {
  double lent = 0, idle = 0;  // replica-steps
  int short_steps = 0, steps = 0;
};

// Lends by the plan for the last of the days, step by step; what is recalled is the service's again a
// take-back later. Only what is lent beyond what the service needs makes a step short.
Balance play(int capacity, int day_count, std::uint64_t seed, bool by_clock) {
  const auto demand = demand_of(day_count, seed);
  Balance out;
  const TideOptions options;
  int lent = 0, leaving = 0, steps_to_go = 0;
  const auto is_night = [](std::size_t at) { return (at % kSlots) / 12 >= 22 || (at % kSlots) / 12 < 6; };
  double worst_night = 0;
  for (std::size_t at = 0; at < 7 * kSlots; ++at)
    if (is_night(at)) worst_night = std::max(worst_night, demand[at]);
  auto forecast = DemandForecast::fit(history_of(demand, 7 * kSlots)).value();
  for (std::size_t at = 7 * kSlots; at < demand.size(); ++at) {
    const auto now = kMonday + minutes(5) * std::int64_t(at);
    if (at % kSlots == 0) forecast = DemandForecast::fit(history_of(demand, at)).value();
    if (leaving > 0 && --steps_to_go <= 0) leaving = 0;
    const double need = demand[at];
    out.idle += capacity - need;
    out.lent += lent;
    out.short_steps += double(capacity - lent - leaving) < need;
    ++out.steps;
    if (by_clock) {  // what people do with a timer: from 22:00 to 06:00 what no night of the first week
                     // needed
      lent = is_night(at + 1) ? std::max(0, capacity - options.reserve - int(std::ceil(worst_night))) : 0;
      continue;
    }
    forecast.observe(now, need);
    if (const int back = plan_recall(forecast, capacity, lent, need, now, options); back > 0) {
      lent -= back;
      leaving += back;
      steps_to_go = 2;
    } else if (const auto loans = plan_loans(forecast, capacity, need, now, options); !loans.empty()) {
      lent = std::max(lent, loans.back().replicas - leaving);
    }
  }
  return out;
}

TEST(Tide, it_lends_more_than_a_timer_and_leaves_the_service_short_less_often) {
  double lent = 0, idle = 0, lent_by_clock = 0;
  int short_steps = 0, short_by_clock = 0, steps = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const auto ours = play(24, 28, seed, false), clock = play(24, 28, seed, true);
    lent += ours.lent;
    idle += ours.idle;
    lent_by_clock += clock.lent;
    short_steps += ours.short_steps;
    short_by_clock += clock.short_steps;
    steps += ours.steps;
  }
  EXPECT_GT(lent, lent_by_clock);
  EXPECT_LE(short_steps, short_by_clock);
  EXPECT_GT(lent, 0.5 * idle) << "more than half of what is idle works";
  EXPECT_LT(short_steps, steps / 200) << "the confidence that was asked";
  printf("tide: %.1f %% of idle lent (timer %.1f %%), short %.3f %% of steps (timer %.3f %%)\n",
         100 * lent / idle, 100 * lent_by_clock / idle, 100.0 * short_steps / steps,
         100.0 * short_by_clock / steps);
}

}  // namespace
}  // namespace neap::scheduler
