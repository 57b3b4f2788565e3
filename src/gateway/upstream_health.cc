#include "internal/upstream_health.h"

#include <algorithm>

namespace neap::gateway {

std::string_view UpstreamHealth::find_obstacle(MonoTime now) const {
  if (rests_until_ > now) return failures_ > 0 ? "it failed lately" : "it is full";
  if (in_flight_ + 1 > window_) return failures_ > 0 ? "it failed lately and is being tried" : "it is full";
  return {};
}

void UpstreamHealth::end(Answer answer, MonoTime now) {
  const double reached = in_flight_--;
  switch (answer) {
    case Answer::kServed:
      failures_ = 0;
      if (reached + 1 > window_) window_ = std::min(window_ + 1 / window_, options_.window_max);
      return;
    case Answer::kFull:
      failures_ = 0;
      window_ = std::max(1.0, std::min<double>(window_, in_flight_));
      if (in_flight_ == 0) rests_until_ = now + options_.busy_rest;
      return;
    case Answer::kBroken:
      // What was on its way when the rest began says nothing new.
      if (++failures_ < options_.failures_max || rests_until_ > now) return;
      window_ = 1;
      rests_until_ = now + options_.rest;
  }
}

}  // namespace neap::gateway
