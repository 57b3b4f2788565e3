// Tide: how much of a service's capacity may be lent to other work, and until when each part must be back.
//
// A service's demand has a shape by time of day, a level that drifts from day to day, and surprises. The
// shape is a median over days (workdays and weekends apart once both were seen twice), the level a mean of
// days that fades, and the surprise is measured: every past day is forecast from the days before it, and the
// share of steps that a forecast must stay above (`confidence`) chooses the margin. Demand above its forecast
// now raises the forecast of the next hours in proportion.
//
// 1. What is lent is back `take_back` before the forecast needs it, and what is used now is never lent.
// 2. Less than two full days of history: nothing is lent.
//
// Pure values; threads: none shared. Replicas stand for any unit of capacity (accelerators, slots).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "neap/base/result.h"
#include "neap/base/time.h"

namespace neap::scheduler {

// peak[i]: replicas needed at the worst moment of [start + i * step, start + (i + 1) * step).
struct DemandHistory {
  WallTime start{};
  Duration step = std::chrono::minutes(5);
  std::vector<double> peak;
};

class DemandForecast {
 public:
  // kInvalidArgument: a step that does not divide a day into 4 to 1440 parts, a demand that is negative or no
  // number. `confidence` is clamped to 0.5..0.9999.
  static Result<DemandForecast> fit(const DemandHistory& history, double confidence = 0.995);
  bool is_ready() const { return days_ >= 2; }
  int days_known() const { return days_; }
  // Replicas expected, and those that demand stays below with the confidence asked; 0 before is_ready().
  double expected(WallTime at) const;
  double upper(WallTime at) const;
  // What is needed now, after the history's end.
  void observe(WallTime now, double demand);
  Duration step() const { return step_; }

 private:
  std::size_t slot_of(WallTime at) const;
  void learn(std::span<const std::vector<double>> days, std::int64_t first_day);
  double base(WallTime at) const;

  Duration step_{};
  std::size_t slots_ = 0;
  int days_ = 0;
  // Mean 1 each; the second is of weekends and empty where they were not told apart.
  std::vector<double> shape_, weekend_shape_;
  double level_ = 0, weekend_level_ = 0, margin_ = 1;
  WallTime surge_at_{};
  double surge_ = 1;
};

struct TideOptions {
  // From asking for a part until a replica of the service answers on it: drain, checkpoint, start.
  Duration take_back = std::chrono::minutes(5);
  // Kept beside the forecast, always.
  int reserve = 1;
  // Not lent for less, and not further ahead.
  Duration useful_min = std::chrono::minutes(15), horizon = std::chrono::hours(24);
};

struct Loan {
  // That many together, in all.
  int replicas = 0;
  // When the last of them must begin to go.
  WallTime until{};
  friend bool operator==(const Loan&, const Loan&) = default;
};
// The most that may be lent for each length of time: replicas rise and times fall from one to the next.
// Empty: nothing. `in_use`: needed by the service now.
std::vector<Loan> plan_loans(const DemandForecast& forecast, int capacity, double in_use, WallTime now,
                             const TideOptions& options = {});
// Of `lent`, those to take back now.
int plan_recall(const DemandForecast& forecast, int capacity, int lent, double in_use, WallTime now,
                const TideOptions& options = {});

}  // namespace neap::scheduler
