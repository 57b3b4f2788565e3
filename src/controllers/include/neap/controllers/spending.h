// Spending: what was billed, as budgets ask for it.
#pragma once

#include <cstdint>
#include <string>

#include "neap/base/quantity.h"
#include "neap/base/time.h"
#include "neap/finops/outlook.h"

namespace neap::controllers {

class Spending {
 public:
  virtual ~Spending() = default;
  // From `start` to before `end`, both midnights UTC.
  virtual MoneyMicros spent(const std::string& project, WallTime start, WallTime end) const = 0;
  // What the period will cost the project in the end.
  virtual finops::Outlook outlook(const std::string& project, const finops::PeriodBounds& period,
                                  WallTime now) const = 0;
  // Of the allocation's runSeconds.
  virtual std::int64_t billed_milliseconds(const std::string& allocation_uid) const = 0;
};

}  // namespace neap::controllers
