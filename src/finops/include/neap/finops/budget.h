// Money per period with a ladder of actions; evaluated at admission and at every billing tick.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/quantity.h"
#include "neap/base/result.h"
#include "neap/base/time.h"

namespace neap::finops {

enum class BudgetPeriod : std::uint8_t { kDay, kWeek, kMonth };

// In rising severity; each includes the ones before it.
enum class BudgetAction : std::uint8_t {
  kNone,
  kWarn,
  kSpotOnly,
  kCheaperAccelerator,
  kLowerConcurrency,
  kPause
};
std::string_view budget_action_name(BudgetAction action);
std::optional<BudgetAction> parse_budget_action(std::string_view text);

std::optional<BudgetPeriod> parse_budget_period(std::string_view text);
// "12.5" to 12500000 micros; `budget.amount` for what is no amount, or has more than 6 decimals.
Result<MoneyMicros> parse_amount(std::string_view text);

struct BudgetStep {
  int percent = 100;
  BudgetAction action = BudgetAction::kWarn;
};

struct Budget {
  std::string name;
  std::string project;
  BudgetPeriod period = BudgetPeriod::kMonth;
  MoneyMicros limit;
  // Any order; the most severe of the reached steps counts.
  std::vector<BudgetStep> ladder;
  // A hard budget admits nothing that would pass the limit.
  bool is_hard = true;
};

struct BudgetState {
  MoneyMicros spent;
  // Price x expected time of what runs now and is not billed yet.
  MoneyMicros committed;
};

struct BudgetVerdict {
  BudgetAction action = BudgetAction::kNone;
  bool admits = true;
  int percent_used = 0;
  // With the amounts and the period's end.
  std::string sentence;
};

// What to do now, were `asked` spent as well.
BudgetVerdict evaluate_budget(const Budget& budget, const BudgetState& state, MoneyMicros asked);

struct PeriodBounds {
  WallTime start, end;
};
// UTC days, ISO weeks (from Monday), calendar months.
PeriodBounds compute_period(BudgetPeriod period, WallTime at);
// Straight line from the period's start; `spent` before any time has passed.
MoneyMicros forecast(MoneyMicros spent, const PeriodBounds& bounds, WallTime at);

}  // namespace neap::finops
