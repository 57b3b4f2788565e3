#include "neap/finops/budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace neap::finops {
namespace {

constexpr std::array<std::string_view, 6> kActionNames{
    "none", "warn", "spot-only", "cheaper-accelerator", "lower-concurrency", "pause"};
constexpr std::array<std::string_view, 3> kPeriodNames{"day", "week", "month"};

}  // namespace

std::string_view budget_action_name(BudgetAction action) { return kActionNames[std::size_t(action)]; }
std::optional<BudgetAction> parse_budget_action(std::string_view text) {
  for (std::size_t i = 0; i < kActionNames.size(); ++i)
    if (kActionNames[i] == text) return BudgetAction(i);
  return {};
}

std::optional<BudgetPeriod> parse_budget_period(std::string_view text) {
  for (std::size_t i = 0; i < kPeriodNames.size(); ++i)
    if (kPeriodNames[i] == text) return BudgetPeriod(i);
  return {};
}

Result<MoneyMicros> parse_amount(std::string_view text) {
  const auto point = text.find('.');
  const auto whole = text.substr(0, point);
  const auto decimals = point == std::string_view::npos ? std::string_view{} : text.substr(point + 1);
  const auto is_digits = [](std::string_view part) {
    return std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (whole.empty() || whole.size() > 12 || decimals.size() > 6 || !is_digits(whole) ||
      !is_digits(decimals) || text.ends_with('.'))
    return fail(
        Code::kInvalidArgument, "budget.amount",
        fmt::format("\"{}\" is no amount of money; write up to 12 digits and at most 6 decimals, like "
                    "500 or 12.50",
                    text.substr(0, 64)));
  std::int64_t micros = 0;
  for (const char c : whole) micros = micros * 10 + (c - '0');
  for (std::size_t i = 0; i < 6; ++i) micros = micros * 10 + (i < decimals.size() ? decimals[i] - '0' : 0);
  return MoneyMicros{micros};
}

BudgetVerdict evaluate_budget(const Budget& budget, const BudgetState& state, MoneyMicros asked) {
  BudgetVerdict verdict;
  const __int128 used = __int128(state.spent.value) + state.committed.value + asked.value;
  const __int128 limit = budget.limit.value;
  const __int128 percent = limit > 0 ? used * 100 / limit : (used > 0 ? 1000 : 100);
  verdict.percent_used = int(std::clamp<__int128>(percent, 0, 1'000'000));
  for (const auto& step : budget.ladder) {
    const bool reached = limit > 0 ? used * 100 >= limit * step.percent : true;
    if (reached) verdict.action = std::max(verdict.action, step.action);
  }
  verdict.admits = !(budget.is_hard && used > limit) && verdict.action != BudgetAction::kPause;
  verdict.sentence =
      fmt::format("budget {}: {} spent, {} committed and {} asked of {} this {} ({} %), action {}{}",
                  budget.name, format_money(state.spent), format_money(state.committed), format_money(asked),
                  format_money(budget.limit), kPeriodNames[std::size_t(budget.period)], verdict.percent_used,
                  budget_action_name(verdict.action), verdict.admits ? "" : "; nothing more is admitted");
  return verdict;
}

PeriodBounds compute_period(BudgetPeriod period, WallTime at) {
  using namespace std::chrono;
  const auto day = floor<days>(at);
  if (period == BudgetPeriod::kDay) return {WallTime(day), WallTime(day + days(1))};
  if (period == BudgetPeriod::kWeek) {
    const auto monday = day - (weekday(day) - Monday);
    return {WallTime(monday), WallTime(monday + days(7))};
  }
  const year_month_day date{day};
  const auto first = sys_days(date.year() / date.month() / 1);
  const auto next = sys_days((date.year() / date.month() + months(1)) / 1);
  return {WallTime(first), WallTime(next)};
}

MoneyMicros forecast(MoneyMicros spent, const PeriodBounds& bounds, WallTime at) {
  const auto passed = (at - bounds.start).count(), whole = (bounds.end - bounds.start).count();
  if (passed <= 0 || whole <= 0) return spent;
  if (passed >= whole) return spent;
  const __int128 value = __int128(spent.value) * whole / passed;
  return {value > INT64_MAX ? INT64_MAX : std::int64_t(value)};
}

}  // namespace neap::finops
