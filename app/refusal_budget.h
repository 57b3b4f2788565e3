// RefusalBudget: how many refusals of unknown peers are put on record one by one; what is above that is
// counted, so that nobody fills the ledger from outside.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "neap/base/time.h"

namespace neap::app {

class RefusalBudget {
 public:
  explicit RefusalBudget(std::uint64_t per_minute) : per_minute_(per_minute) {}
  // False: not this one.
  bool take(MonoTime now) {
    if (!since_ || now - *since_ > std::chrono::minutes(1)) {
      since_ = now;
      taken_ = 0;
    }
    if (++taken_ <= per_minute_) return true;
    ++left_out_;
    return false;
  }
  // Those not recorded since it was last asked: for the next entry.
  std::uint64_t take_left_out() { return std::exchange(left_out_, 0); }

 private:
  std::uint64_t per_minute_;
  std::optional<MonoTime> since_;
  std::uint64_t taken_ = 0, left_out_ = 0;
};

}  // namespace neap::app
