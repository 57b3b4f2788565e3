// What a project may spend, and what the jobs of a queue may hold.
#pragma once

#include "neap/api/meta.h"

namespace neap::api {

// The later, the more severe.
enum class BudgetAction { kWarn, kSpotOnly, kCheaperAccelerator, kLowerConcurrency, kPause };
template <>
struct EnumNames<BudgetAction> {
  static constexpr std::array names{std::pair{BudgetAction::kWarn, "warn"sv},
                                    std::pair{BudgetAction::kSpotOnly, "spot-only"sv},
                                    std::pair{BudgetAction::kCheaperAccelerator, "cheaper-accelerator"sv},
                                    std::pair{BudgetAction::kLowerConcurrency, "lower-concurrency"sv},
                                    std::pair{BudgetAction::kPause, "pause"sv}};
};

struct BudgetStep {
  std::int64_t percent = 100;
  BudgetAction action = BudgetAction::kWarn;
  template <class V>
  static void describe(V& v) {
    v.field("percent", &BudgetStep::percent, "From this share of the limit on, spent and committed together.",
            FieldOptions{.required = true, .minimum = 1, .maximum = 1000});
    v.field("action", &BudgetStep::action,
            "Each holds those before it too. warn; spot-only: nothing new on on-demand or reserved capacity; "
            "cheaper-accelerator: new work only on the cheapest accelerator that fits it; lower-concurrency: "
            "elastic gangs start and services stand at minReplicas, and a job starts only while at most one "
            "other "
            "of the project holds a place; pause: nothing new, and what has a durable checkpoint stops.",
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
  std::map<std::string, MilliAccelerators> acceleratorModels;
  template <class V>
  static void describe(V& v) {
    v.field("cpu", &QueueQuota::cpu, "Cores, like 16.");
    v.field("memory", &QueueQuota::memory, "Bytes, like 64Gi.");
    v.field("accelerators", &QueueQuota::accelerators, "Accelerators of any model.");
    v.field("acceleratorModels", &QueueQuota::acceleratorModels, "Accelerators of each model named.");
  }
};
// Unlike in a quota, 0 is none and absent is no limit.
struct QueueLimit {
  std::optional<MilliCores> cpu;
  std::optional<Bytes> memory;
  std::optional<MilliAccelerators> accelerators;
  std::map<std::string, MilliAccelerators> acceleratorModels;
  template <class V>
  static void describe(V& v) {
    v.field("cpu", &QueueLimit::cpu, "Cores; 0 is none, absent is no limit.");
    v.field("memory", &QueueLimit::memory, "Bytes.");
    v.field("accelerators", &QueueLimit::accelerators, "Accelerators of any model.");
    v.field("acceleratorModels", &QueueLimit::acceleratorModels, "Accelerators of each model named.");
  }
};

enum class QueueOrder { kPriority, kFifo };
template <>
struct EnumNames<QueueOrder> {
  static constexpr std::array names{std::pair{QueueOrder::kPriority, "priority"sv},
                                    std::pair{QueueOrder::kFifo, "fifo"sv}};
};

struct QueueSpec {
  std::string parent;
  QueueQuota quota;
  std::int64_t weight = 1;
  std::optional<QueueLimit> borrowingLimit, lendingLimit;
  QueueOrder order = QueueOrder::kPriority;
  Duration ageing = std::chrono::hours(1);
  bool backfill = true;
  Duration reservationAfter = std::chrono::minutes(10);
  std::int64_t reservations = 1;
  std::vector<std::string> defaultForProjects;
  template <class V>
  static void describe(V& v) {
    v.field("parent", &QueueSpec::parent,
            "Queue above it; queues under one parent borrow from each other what is not used.",
            FieldOptions{.length_max = 253});
    v.field(
        "quota", &QueueSpec::quota,
        "What its jobs of all projects may hold at once as of right; 0 is no limit, or nothing as of right "
        "where a queue above has a limit. Of a queue with others under it: what they hold together; 0 is "
        "the sum of theirs.");
    v.field("weight", &QueueSpec::weight, "Its part of what is not used, beside its sisters' weights.",
            FieldOptions{.minimum = 1, .maximum = 1'000'000});
    v.field("borrowingLimit", &QueueSpec::borrowingLimit, "Most it holds above its quota.");
    v.field("lendingLimit", &QueueSpec::lendingLimit, "Most of its unused quota that others may hold.");
    v.field("order", &QueueSpec::order,
            "priority: highest priority first, raised by waiting; fifo: oldest first.");
    v.field("ageing", &QueueSpec::ageing,
            "Waiting this long raises a priority by one; 0 is never. What waited four times as long comes "
            "before queues with a smaller share.");
    v.field("backfill", &QueueSpec::backfill,
            "True lets a job start before earlier ones that do not fit, if it does not delay a kept place.");
    v.field("reservationAfter", &QueueSpec::reservationAfter,
            "How long a job that does not fit waits until a place is kept for it.");
    v.field("reservations", &QueueSpec::reservations, "Jobs that a place is kept for at once.",
            FieldOptions{.minimum = 0, .maximum = 16});
    v.field("defaultForProjects", &QueueSpec::defaultForProjects,
            "Projects whose jobs wait here when they name no queue; \"*\" is every project.",
            FieldOptions{.length_max = 1024});
  }
};
struct QueueStatus {
  QueueQuota used, borrowed;
  double sharePercent = 0;
  std::int64_t running = 0, waiting = 0;
  std::map<std::string, std::int64_t> waitingFor;
  std::string next, message;
  std::optional<WallTime> reservedFrom;
  template <class V>
  static void describe(V& v) {
    v.field("used", &QueueStatus::used, "What its jobs, and those of queues under it, hold.");
    v.field("borrowed", &QueueStatus::borrowed, "What of that is above its quota.");
    v.field("sharePercent", &QueueStatus::sharePercent,
            "Dominant share: of the resource it holds most of, its part of all there is.");
    v.field("running", &QueueStatus::running, "Jobs that hold something.");
    v.field("waiting", &QueueStatus::waiting, "Jobs that wait for a place.");
    v.field("waitingFor", &QueueStatus::waitingFor,
            "Waiting jobs by what they wait for: quota, reclaim, turn, place, or other.");
    v.field("next", &QueueStatus::next, "Project and name of the job whose turn it is.");
    v.field("reservedFrom", &QueueStatus::reservedFrom, "When the place kept for its first job is free.");
    v.field("message", &QueueStatus::message, "What is wrong with the queue, or how it stands.");
  }
};

}  // namespace neap::api
