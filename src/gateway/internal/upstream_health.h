// UpstreamHealth: whether one upstream may be asked now.
//
// 1. Broken (no answer, or a 5xx other than 503): after `failures_max` in a row it rests for `rest`, then one
// request
//    at a time tries it again.
// 2. Full (503, 429): it is well, only busy. What it holds of ours just then is what it has room for, so no
// more than
//    that goes there at once; each answer lets the window grow by the inverse of itself, about one request a
//    round trip (additive increase: Chiu and Jain, 1989). With nothing of ours there it is left alone for
//    `busy_rest`.
// Pure: the caller gives the time. Executor's thread only.
#pragma once

#include <cstdint>
#include <string_view>

#include "neap/gateway/pipeline.h"

namespace neap::gateway {

class UpstreamHealth {
 public:
  enum class Answer { kServed, kFull, kBroken };

  explicit UpstreamHealth(UpstreamHealthOptions options) : options_(options), window_(options.window_max) {}
  // Empty: it may be asked. Else why not, for the reply.
  std::string_view find_obstacle(MonoTime now) const;
  void begin() { ++in_flight_; }  // before each request to it, and exactly one end() after
  void end(Answer answer, MonoTime now);
  void give_up() {
    --in_flight_;
  }  // in place of end(): the request ended without saying anything about the upstream

 private:
  UpstreamHealthOptions options_;
  double window_;
  std::uint32_t in_flight_ = 0;
  std::uint32_t failures_ = 0;  // in a row
  MonoTime rests_until_{};
};

}  // namespace neap::gateway
