// Pipeline: what happens to one inference request between its arrival and its answer.
//
// 1. Every request has a data level: what it says itself (header or parameter), else its service's default.
// 2. The local engine answers while it can. When it is overloaded, not ready or not here, the request goes
//    to the first upstream that takes its level and for which RouteGuard gives a permit: in the order of
//    the route, skipping upstreams that failed lately or have no room. Without one it is refused with 503 and
//    the reasons.
// 3. Nothing is sent without a RoutePermit: Upstream::send takes it by value.
// 4. A request that was forwarded once is not forwarded again (X-Neap-Hop).
// 5. Each crossing and each refusal is told to GatewayEvents, which audits and meters.
//
// Executor's thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/meta.h"
#include "neap/base/id.h"
#include "neap/inference/api/codec.h"
#include "neap/inference/api/model_service.h"
#include "neap/io/http.h"

namespace neap::gateway {

using Level = api::DataLevel;

inline constexpr std::string_view kLevelHeader = "X-Neap-Data-Level";
inline constexpr std::string_view kLevelParameter = "neap_data_level";
inline constexpr std::string_view kLabelParameter = "neap_label";
inline constexpr std::string_view kHopHeader = "X-Neap-Hop";
inline constexpr std::string_view kServedByHeader = "X-Neap-Served-By";
inline constexpr std::string_view kVersionHeader = "X-Neap-Model-Version";
inline constexpr std::string_view kReasonHeader = "X-Neap-Reason";  // of an error, for machines

struct UpstreamTarget {
  SiteName site;
  NodeName node;
  io::Endpoint endpoint;
  api::Tier tier = api::Tier::kPrivate;
  std::vector<Level> levels;  // that the service may send there; the guard still has its say
};

struct Route {
  std::string project;  // whose data policies hold
  std::string service;
  std::string model;
  Level level_default = Level::kL1;
  bool strict = false;           // the service's data belongs to a Strict location: no level lets it leave
  bool local = true;             // this node serves the model
  std::string active_version;    // empty, or not loaded yet: what the model service has active
  std::string shadow_version;    // empty: none
  double shadow_fraction = 0.1;  // of the live requests, also run on the shadow version
  std::vector<UpstreamTarget> upstreams;  // in order of preference
  std::uint32_t max_forwarded = 256;      // requests on their way to upstreams at once
  Duration upstream_timeout = 10s;
};

// What is about to leave this node.
struct Crossing {
  const std::string& project;
  const std::string& service;
  const std::string& model;
  Level level;
  bool strict;  // belongs to a Strict location
  const UpstreamTarget& target;
  std::uint64_t bytes;
};

// Proof that policy lets the bytes of one request go to one upstream.
class RoutePermit {
 public:
  virtual ~RoutePermit() = default;
  virtual std::string_view rule() const = 0;  // that allowed it
};

class RouteGuard {
 public:
  virtual ~RouteGuard() = default;
  // kPermissionDenied with the rule's reason.
  virtual Result<std::unique_ptr<RoutePermit>> permit(const Crossing& crossing) = 0;
};

class Upstream {
 public:
  virtual ~Upstream() = default;
  // Spends the permit. Errors are of the transport; any HTTP status is a value.
  virtual Task<Result<io::HttpResponse>> send(CallContext ctx, UpstreamTarget target,
                                              std::unique_ptr<RoutePermit> permit,
                                              io::HttpRequest request) = 0;
};

// Whose request, and where it was to go.
struct RouteAttempt {
  std::string project;
  std::string service;
  std::string model;
  Level level;
  SiteName site;
  NodeName node;
};
struct CrossingRecord : RouteAttempt {
  std::string rule;
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_in = 0;
  int status = 0;  // 0: no answer came
};
struct RefusalRecord : RouteAttempt {
  std::string reason;
};
struct ServedRecord {
  std::string service;
  std::string model;
  std::string version;  // empty when an upstream answered
  Level level;
  bool local = true;
  int status = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  Duration took{};
};

// Called on the executor; must not block.
class GatewayEvents {
 public:
  virtual ~GatewayEvents() = default;
  virtual void on_crossing(const CrossingRecord& record) = 0;
  virtual void on_refusal(const RefusalRecord& record) = 0;
  virtual void on_served(const ServedRecord& record) = 0;
};

struct ShadowReport {
  std::string model;
  std::string version;
  std::uint64_t requests = 0;  // compared
  std::uint64_t agreed = 0;    // of them, with the same argmax in every row of the first output
  std::uint64_t rows = 0;
  std::uint64_t rows_agreed = 0;
  std::uint64_t errors = 0;         // the shadow version failed or its output has another shape
  std::uint64_t skipped = 0;        // chosen, but the shadow was busy
  std::uint64_t labelled_rows = 0;  // of requests that carry the parameter neap_label
  std::uint64_t active_correct = 0;
  std::uint64_t shadow_correct = 0;
  Duration active_time{};  // summed over `requests`
  Duration shadow_time{};
  // Share of labelled rows that were right; 0 without labels.
  double active_accuracy() const { return share(active_correct); }
  double shadow_accuracy() const { return share(shadow_correct); }

 private:
  double share(std::uint64_t correct) const {
    return labelled_rows == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(labelled_rows);
  }
};

// One request as it arrived.
struct Call {
  std::string model;
  std::string version;  // from the path, may be empty
  const io::Headers& headers;
  std::string body;
};

struct Outcome {
  io::HttpResponse response;
  // Set where a version of this node answered and the shadow was drawn: for run_shadow after the reply.
  struct Shadow;
  std::unique_ptr<Shadow> shadow;
  Outcome();
  explicit Outcome(io::HttpResponse reply);
  Outcome(Outcome&&) noexcept;
  Outcome& operator=(Outcome&&) noexcept;
  ~Outcome();
};

struct UpstreamHealthOptions {
  std::uint32_t failures_max = 3;  // in a row: then it is left alone for `rest`
  Duration rest = 5s;
  Duration busy_rest = 20ms;  // after "full", when nothing of ours was there
  double window_max = 256;    // requests of one route there at once
};

class Pipeline {
 public:
  struct Dependencies {
    Executor& executor;
    inference::ModelService& models;
    RouteGuard& guard;
    Upstream& upstream;
    GatewayEvents& events;
  };
  struct Options {
    SiteName site;
    NodeName node;
    inference::CodecLimits limits;
    Duration request_timeout = 30s;
    std::uint32_t shadows_max = 2;  // running at once
    UpstreamHealthOptions upstream;
  };
  Pipeline(Dependencies dependencies, Options options);
  ~Pipeline();

  // Adds or replaces the route of its model. Shadow figures start anew when the shadow version changes.
  void set_route(Route route);
  void remove_route(std::string_view model);
  const Route* find_route(std::string_view model) const;
  std::vector<std::string> models() const;
  std::optional<ShadowReport> shadow_report(std::string_view model) const;

  // The whole answer, errors included. `call` must live until the task ends.
  Task<Outcome> run(CallContext ctx, Call& call);
  Task<void> run_shadow(CallContext ctx, std::unique_ptr<Outcome::Shadow> shadow);
  const Options& options() const { return options_; }

 private:
  struct RouteState;
  struct Parsed;
  std::shared_ptr<RouteState> find_state(std::string_view model) const;
  Result<Parsed> parse(const RouteState& state, const Call& call) const;
  Task<Outcome> run_local_first(CallContext ctx, Call& call, std::shared_ptr<RouteState> state,
                                Parsed parsed);
  Task<io::HttpResponse> overflow(CallContext ctx, Call& call, std::shared_ptr<RouteState> state, Level level,
                                  bool may_forward, Error why);
  Task<Result<io::HttpResponse>> forward(CallContext ctx, const Call& call, std::shared_ptr<RouteState> state,
                                         std::size_t index, Level level, std::unique_ptr<RoutePermit> permit);
  void draw_shadow(RouteState& state, Outcome& outcome, Parsed& parsed, inference::InferResponse response,
                   Duration took);

  Executor& executor_;
  inference::ModelService& models_;
  RouteGuard& guard_;
  Upstream& upstream_;
  GatewayEvents& events_;
  Options options_;
  std::string served_by_;
  std::map<std::string, std::shared_ptr<RouteState>, std::less<>> routes_;
  std::uint32_t shadows_ = 0;
};

// {"error": sentence}; 503 carries Retry-After.
io::HttpResponse error_response(const Error& error);

}  // namespace neap::gateway
