// What a project may spend, and what the jobs of a queue may hold.
#pragma once

#include "neap/api/meta.h"

namespace neap::api {

enum class BudgetAction { kWarn, kSpotOnly, kPause };
template <>
struct EnumNames<BudgetAction> {
  static constexpr std::array names{std::pair{BudgetAction::kWarn, "warn"sv},
                                    std::pair{BudgetAction::kSpotOnly, "spot-only"sv},
                                    std::pair{BudgetAction::kPause, "pause"sv}};
};

struct BudgetStep {
  std::int64_t percent = 100;
  BudgetAction action = BudgetAction::kWarn;
  template <class V>
  static void describe(V& v) {
    v.field("percent", &BudgetStep::percent, "From this share of the limit on, spent and committed together.",
            FieldOptions{.required = true, .minimum = 1, .maximum = 1000});
    v.field(
        "action", &BudgetStep::action,
        "warn; spot-only: nothing new on on-demand or reserved capacity; pause: nothing new, and what has a "
        "durable checkpoint stops.",
        kRequired);
  }
};
// Amounts are decimal text, so that nothing is rounded on its way.
struct BudgetSpec {
  std::string period = "month", limit, currency = "USD";
  bool hard = true;
  std::vector<BudgetStep> ladder;
  template <class V>
  static void describe(V& v) {
    v.field("period", &BudgetSpec::period, "day, week (from Monday) or month, in UTC.",
            FieldOptions{.pattern = "day|week|month"});
    v.field("limit", &BudgetSpec::limit, "Amount for one period as text, like \"500\" or \"12.50\".",
            FieldOptions{.required = true, .pattern = "[0-9]{1,12}([.][0-9]{1,6})?|0"});
    v.field("currency", &BudgetSpec::currency, "Currency of the limit; that of the sites' prices.");
    v.field("hard", &BudgetSpec::hard, "True admits nothing that would pass the limit.");
    v.field("ladder", &BudgetSpec::ladder, "What happens on the way; the most severe step reached counts.",
            FieldOptions{.length_max = 16});
  }
};
struct BudgetStatus {
  std::string spent, committed, forecast, action, message;
  std::int64_t percentUsed = 0, observedGeneration = 0;
  std::optional<WallTime> periodStart, periodEnd;
  template <class V>
  static void describe(V& v) {
    v.field("spent", &BudgetStatus::spent, "Billed in this period.");
    v.field("committed", &BudgetStatus::committed, "Expected of what runs and is not billed yet.");
    v.field("forecast", &BudgetStatus::forecast, "Spent by the period's end if it goes on as so far.");
    v.field("percentUsed", &BudgetStatus::percentUsed, "Spent and committed in percent of the limit.");
    v.field("action", &BudgetStatus::action, "none or the step of the ladder that holds now.");
    v.field("message", &BudgetStatus::message, "The amounts in words, or why the budget cannot be kept.");
    v.field("periodStart", &BudgetStatus::periodStart, "Begin of the period the amounts are about.");
    v.field("periodEnd", &BudgetStatus::periodEnd, "Its end.");
    v.field("observedGeneration", &BudgetStatus::observedGeneration, "Generation this status is about.");
  }
};

struct QueueQuota {
  MilliCores cpu;
  Bytes memory;
  MilliAccelerators accelerators;
  template <class V>
  static void describe(V& v) {
    v.field("cpu", &QueueQuota::cpu, "Cores, like 16.");
    v.field("memory", &QueueQuota::memory, "Bytes, like 64Gi.");
    v.field("accelerators", &QueueQuota::accelerators, "Accelerators of any model.");
  }
};
struct QueueSpec {
  QueueQuota quota;
  template <class V>
  static void describe(V& v) {
    v.field("quota", &QueueSpec::quota, "What its jobs of all projects may hold at once; 0 is no limit.");
  }
};
struct QueueStatus {
  QueueQuota used;
  std::int64_t running = 0, waiting = 0;
  template <class V>
  static void describe(V& v) {
    v.field("used", &QueueStatus::used, "What its jobs hold.");
    v.field("running", &QueueStatus::running, "Jobs that hold something.");
    v.field("waiting", &QueueStatus::waiting, "Jobs that wait for a place.");
  }
};

}  // namespace neap::api
