// What the pipeline remembers about a route between requests.
#pragma once

#include <vector>

#include "internal/upstream_health.h"
#include "neap/gateway/pipeline.h"

namespace neap::gateway {

struct Pipeline::RouteState {
  Route route;
  // Shared with the route that replaces this one: what is on its way is counted once, by whoever answers.
  std::vector<std::shared_ptr<UpstreamHealth>> health;
  std::uint32_t forwarded = 0;  // now
  double shadow_credit = 0;
  ShadowReport shadow;
};

struct Pipeline::Parsed {
  inference::InferRequest request;
  Level level = Level::kL1;
  bool may_forward = true;
  bool is_raw_unread = false;  // a raw body whose model is not here: only its upstream can read it
};

struct Outcome::Shadow {
  std::string model;
  std::string version;
  inference::InferRequest request;
  inference::InferResponse response;
  Duration took{};
};

}  // namespace neap::gateway
