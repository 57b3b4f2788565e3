#include "neap/finops/outlook.h"

#include <gtest/gtest.h>

#include <cmath>

#include "neap/base/draw.h"

namespace neap::finops {
namespace {

using std::chrono::days;
using std::chrono::hours;

constexpr std::int64_t kMonday = 20'000 - 20'000 % 7 + 4;  // 1970-01-05 was a Monday
WallTime at_day(std::int64_t day, hours into = hours(0)) { return WallTime(days(day)) + into; }
MoneyMicros money(double amount) { return {std::int64_t(std::llround(amount * 1e6))}; }

// 100 on workdays, 20 at weekends, growing, with noise from a seed.
DailySpend weekly(std::int64_t first, int count, double growth, double noise, std::uint64_t seed) {
  DailySpend out;
  Draw draw(seed);
  for (int i = 0; i < count; ++i) {
    const auto day = first + i;
    const double base = (day - kMonday) % 7 < 5 ? 100 : 20;
    out[day] = money(base * std::pow(growth, i) * (1 + noise * (2 * draw.unit() - 1)));
  }
  return out;
}

TEST(Outlook, weekdays_are_told_apart_after_two_weeks) {
  const auto spend = weekly(kMonday, 28, 1, 0, 1);
  const PeriodBounds week{at_day(kMonday + 28), at_day(kMonday + 35)};
  const auto outlook = forecast_period(spend, week, at_day(kMonday + 28));
  EXPECT_TRUE(outlook.knows_weekdays);
  EXPECT_EQ(outlook.days, 28);
  EXPECT_NEAR(double(outlook.expected.value), 540e6, 5e6);
  EXPECT_LE(outlook.low, outlook.expected);
  EXPECT_LE(outlook.expected, outlook.high);
}

TEST(Outlook, what_is_over_is_what_was_spent_and_the_future_of_a_new_project_is_a_straight_line) {
  DailySpend spend{{kMonday, money(12)}};
  const PeriodBounds past{at_day(kMonday), at_day(kMonday + 1)};
  EXPECT_EQ(forecast_period(spend, past, at_day(kMonday + 3)).expected, money(12));
  const PeriodBounds ten{at_day(kMonday), at_day(kMonday + 10)};
  const auto first_day = forecast_period(spend, ten, at_day(kMonday, hours(12)));
  EXPECT_EQ(first_day.expected, money(240)) << "12 in half a day of ten";
  EXPECT_EQ(forecast_period({}, ten, at_day(kMonday)).expected, money(0));
}

TEST(Outlook, it_is_nearer_than_a_straight_line_over_months_that_begin_anywhere_in_the_week) {
  double ours = 0, straight = 0;
  int inside = 0, all = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const auto first = kMonday + std::int64_t(seed % 7);
    const auto truth = weekly(first, 90, 1.003, 0.2, seed);
    const PeriodBounds month{at_day(first + 60), at_day(first + 90)};
    double total = 0;
    for (auto day = first + 60; day < first + 90; ++day) total += double(truth.at(day).value);
    for (const int passed : {2, 5, 12, 20}) {
      const auto now = at_day(first + 60 + passed);
      DailySpend known(truth.begin(), truth.lower_bound(first + 60 + passed));
      const auto outlook = forecast_period(known, month, now);
      ours += std::abs(double(outlook.expected.value) - total) / total;
      straight += std::abs(double(forecast(outlook.so_far, month, now).value) - total) / total;
      inside += double(outlook.low.value) <= total && total <= double(outlook.high.value);
      ++all;
    }
  }
  EXPECT_LT(ours, straight / 3) << ours / all << " against " << straight / all;
  EXPECT_GE(inside, all * 7 / 10);
}

TEST(Anomalies, a_day_that_costs_three_times_as_much_is_told_with_its_cause) {
  auto spend = weekly(kMonday, 42, 1, 0.05, 3);
  const auto day = kMonday + 37;  // a Wednesday
  std::map<std::string, DailySpend> parts{{"site hq", spend}, {"site cloud-a", {}}};
  spend[day] += money(200);
  parts["site cloud-a"][day] = money(200);
  const auto found = find_anomalies(spend, parts, at_day(kMonday + 42));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].day, day);
  EXPECT_EQ(found[0].cause, "site cloud-a");
  EXPECT_NE(found[0].sentence.find("most of it site cloud-a (200"), std::string::npos) << found[0].sentence;
}

TEST(Anomalies, weekends_noise_and_growth_raise_less_than_one_false_alarm_in_a_hundred_days) {
  std::size_t false_alarms = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed)
    false_alarms += find_anomalies(weekly(kMonday, 60, 1.006, 0.2, seed), {}, at_day(kMonday + 60)).size();
  EXPECT_LT(false_alarms, 14u) << "of 1400 days";
}

TEST(Anomalies, pennies_are_none) {
  DailySpend pennies;
  for (int i = 0; i < 30; ++i) pennies[kMonday + i] = money(i == 29 ? 0.5 : 0.01);
  EXPECT_TRUE(find_anomalies(pennies, {}, at_day(kMonday + 30)).empty());
}

TEST(Anomalies, work_that_stopped_is_one_too_and_a_new_level_is_told_only_until_it_is_the_level) {
  auto spend = weekly(kMonday, 28, 1, 0.02, 5);
  for (int i = 28; i < 42; ++i) spend[kMonday + i] = money(0);
  const auto stopped = find_anomalies(spend, {}, at_day(kMonday + 31));
  ASSERT_FALSE(stopped.empty());
  EXPECT_EQ(stopped[0].amount, money(0));
  EXPECT_TRUE(find_anomalies({}, {}, at_day(kMonday)).empty());
}

}  // namespace
}  // namespace neap::finops
