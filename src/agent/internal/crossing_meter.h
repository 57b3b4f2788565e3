// CrossingMeter: puts on record what one reading or session takes across the border, while it goes on.
//
// 1. before() is asked before bytes leave; where it fails they must not leave.
// 2. The first bytes are on record before they leave; of what follows at most kUnrecordedBytesMax, or what
//    left within kUnrecordedTime, is not on record yet if this node ends now.
// Where reader and node share a site nothing crosses and nothing is recorded. Belongs to the agent's
// executor.
#pragma once

#include <string>

#include "neap/agent/egress_gate.h"

namespace neap::agent {

class CrossingMeter {
 public:
  static constexpr std::uint64_t kUnrecordedBytesMax = 1u << 20;
  static constexpr Duration kUnrecordedTime = 10s;

  CrossingMeter(EgressGate& gate, Executor& executor, std::string to_site, std::string rule,
                ExportIntent intent)
      : gate_(gate),
        executor_(executor),
        to_site_(std::move(to_site)),
        rule_(std::move(rule)),
        intent_(std::move(intent)) {}

  Task<Status> before(std::uint64_t bytes) {
    total_ += bytes;
    unrecorded_ += bytes;
    return settle(false);
  }
  // While nothing leaves, and with `is_end` once nothing will any more.
  Task<Status> settle(bool is_end) {
    if (unrecorded_ == 0 || to_site_ == gate_.site()) co_return ok();
    const auto now = executor_.now();
    const bool is_due =
        !recorded_at_ || unrecorded_ >= kUnrecordedBytesMax || now - *recorded_at_ >= kUnrecordedTime;
    if (!is_due && !is_end) co_return ok();
    recorded_at_ = now;
    co_return co_await gate_.record_crossing(to_site_, rule_, intent_, {}, std::exchange(unrecorded_, 0));
  }
  std::uint64_t total() const { return total_; }

 private:
  EgressGate& gate_;
  Executor& executor_;
  std::string to_site_, rule_;
  ExportIntent intent_;
  std::uint64_t total_ = 0, unrecorded_ = 0;
  std::optional<MonoTime> recorded_at_;
};

}  // namespace neap::agent
