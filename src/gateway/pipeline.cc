#include "neap/gateway/pipeline.h"

#include <fmt/format.h>

#include <algorithm>

#include "internal/argmax.h"
#include "internal/route_state.h"

namespace neap::gateway {

namespace {

// Failures that say "not here, not now": another place may answer the same request.
bool may_overflow(const Error& error) {
  return error.reason == "inference.overloaded" || error.reason == "inference.model.not_ready" ||
         error.reason == "inference.model.unknown";
}

using Answer = UpstreamHealth::Answer;

Answer answer_of(int status) {
  if (status == 429 || status == 503) return Answer::kFull;
  return status >= 500 ? Answer::kBroken : Answer::kServed;
}

Result<std::optional<Level>> parse_level(std::string_view text, std::string_view where) {
  if (text.empty()) return std::optional<Level>{};
  Level level{};
  if (api::parse_enum(text, level)) return std::optional<Level>(level);
  return fail(Code::kInvalidArgument, "gateway.level.unknown",
              fmt::format("{} \"{}\" is no data level; send L1, L2 or L3, or leave it out", where, text));
}

RouteAttempt attempt_of(const Route& route, Level level, const UpstreamTarget& target) {
  return {route.project, route.service, route.model, level, target.site, target.node};
}

std::string_view place_name(const UpstreamTarget& target) { return target.site.str(); }

void copy_header(const io::Headers& from, io::Headers& to, std::string_view name) {
  if (const auto value = from.get(name); !value.empty()) to.set(name, std::string(value));
}

class Counted {
 public:
  explicit Counted(std::uint32_t& count) : count_(count) { ++count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --count_; }

 private:
  std::uint32_t& count_;
};

// One request to an upstream, from before it is sent until its answer, or its coroutine's end, is known.
class Visit {
 public:
  explicit Visit(UpstreamHealth& health) : health_(&health) { health.begin(); }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  ~Visit() {
    if (health_ != nullptr) health_->give_up();
  }
  void end(Answer answer, MonoTime now) { std::exchange(health_, nullptr)->end(answer, now); }

 private:
  UpstreamHealth* health_;
};

}  // namespace

io::HttpResponse error_response(const Error& error) {
  io::HttpResponse response;
  // Overload is the server's state, not the client's quota: 503 is what V2 clients retry.
  const bool overloaded = error.reason == "inference.overloaded" || error.code == Code::kUnavailable;
  const bool too_large = error.reason == "inference.body.too_large" || error.reason == "http.body.too_large";
  response.status = overloaded ? 503 : too_large ? 413 : http_status(error.code);
  response.headers.set("Content-Type", "application/json");
  response.headers.set(kReasonHeader, error.reason);
  if (response.status == 503) response.headers.set("Retry-After", "1");
  response.body = inference::encode_error(error);
  return response;
}

Outcome::Outcome() = default;
Outcome::Outcome(io::HttpResponse reply) : response(std::move(reply)) {}
Outcome::Outcome(Outcome&&) noexcept = default;
Outcome& Outcome::operator=(Outcome&&) noexcept = default;
Outcome::~Outcome() = default;

Pipeline::Pipeline(Dependencies dependencies, Options options)
    : executor_(dependencies.executor),
      models_(dependencies.models),
      guard_(dependencies.guard),
      upstream_(dependencies.upstream),
      events_(dependencies.events),
      options_(std::move(options)),
      served_by_(fmt::format("{}/{}", options_.node.str(), options_.site.str())) {}
Pipeline::~Pipeline() = default;

void Pipeline::set_route(Route route) {
  const auto before = find_state(route.model);
  auto state = std::make_shared<RouteState>();
  for (std::size_t i = 0; i < route.upstreams.size(); ++i)
    state->health.push_back(std::make_shared<UpstreamHealth>(options_.upstream));
  state->shadow = {.model = route.model, .version = route.shadow_version};
  if (before) {
    if (before->route.shadow_version == route.shadow_version) state->shadow = before->shadow;
    for (std::size_t i = 0; i < route.upstreams.size(); ++i) {
      const auto same =
          std::ranges::find(before->route.upstreams, route.upstreams[i].endpoint, &UpstreamTarget::endpoint);
      if (same == before->route.upstreams.end()) continue;
      state->health[i] = before->health[static_cast<std::size_t>(same - before->route.upstreams.begin())];
    }
  }
  state->route = std::move(route);
  routes_[state->route.model] = state;
}

void Pipeline::remove_route(std::string_view model) {
  if (const auto at = routes_.find(model); at != routes_.end()) routes_.erase(at);
}

std::shared_ptr<Pipeline::RouteState> Pipeline::find_state(std::string_view model) const {
  const auto at = routes_.find(model);
  return at == routes_.end() ? nullptr : at->second;
}

const Route* Pipeline::find_route(std::string_view model) const {
  const auto state = find_state(model);
  return state ? &state->route : nullptr;
}

std::vector<std::string> Pipeline::models() const {
  std::vector<std::string> out;
  for (const auto& entry : routes_) out.push_back(entry.first);
  return out;
}

std::optional<ShadowReport> Pipeline::shadow_report(std::string_view model) const {
  const auto state = find_state(model);
  if (!state || state->route.shadow_version.empty()) return std::nullopt;
  return state->shadow;
}

Result<Pipeline::Parsed> Pipeline::parse(const RouteState& state, const Call& call) const {
  const Route& route = state.route;
  Parsed out;
  out.may_forward = !call.headers.has(kHopHeader);
  if (const auto encoding = call.headers.get("Content-Encoding");
      !encoding.empty() && encoding != "identity") {
    return fail(Code::kInvalidArgument, "gateway.encoding",
                fmt::format("Content-Encoding \"{}\" is not understood; send the body as it is", encoding));
  }
  NEAP_TRY(const auto json_length,
           inference::parse_header_length(call.headers.get(inference::kHeaderLengthName)));
  NEAP_TRY(const auto header_level, parse_level(call.headers.get(kLevelHeader), kLevelHeader));
  // While the route's version is still on its way, what the model service has active goes on answering.
  const bool route_decides = call.version.empty() && models_.is_ready(call.model, route.active_version);
  const std::string& version = route_decides ? route.active_version : call.version;
  if (json_length == 0) {
    const auto* metadata = route.local ? models_.find_metadata(call.model, version) : nullptr;
    if (metadata != nullptr) {
      NEAP_TRY(out.request, inference::decode_raw_request(call.body, *metadata, options_.limits));
    } else {
      out.is_raw_unread = true;
    }
  } else {
    NEAP_TRY(out.request, inference::decode_request(call.body, json_length, options_.limits));
  }
  std::optional<Level> parameter_level;
  if (const Json* value = out.request.parameters.if_contains(kLevelParameter)) {
    if (!value->is_string() || value->get_string().empty()) {
      return fail(
          Code::kInvalidArgument, "gateway.level.unknown",
          fmt::format("the parameter {} is no data level; send \"L1\", \"L2\" or \"L3\"", kLevelParameter));
    }
    NEAP_TRY(parameter_level, parse_level(value->get_string(), kLevelParameter));
  }
  // Both given: the stricter one.
  out.level = header_level && parameter_level
                  ? std::min(*header_level, *parameter_level)
                  : header_level.value_or(parameter_level.value_or(route.level_default));
  out.request.model_name = call.model;
  out.request.model_version = version;
  return out;
}

Task<Outcome> Pipeline::run(CallContext ctx, Call& call) {
  const auto state = find_state(call.model);
  if (!state) {
    co_return Outcome(error_response({Code::kNotFound,
                                      "gateway.model.unknown",
                                      fmt::format("model \"{}\" is not served here", call.model),
                                      {}}));
  }
  const MonoTime start = executor_.now();
  ServedRecord served{
      .service = state->route.service, .model = call.model, .level = state->route.level_default};
  served.bytes_in = call.body.size();
  auto parsed = parse(*state, call);
  Outcome outcome;
  if (!parsed) {
    outcome.response = error_response(parsed.error());
  } else {
    served.level = parsed->level;
    ctx = ctx.with_deadline(start + options_.request_timeout);
    outcome = co_await run_local_first(std::move(ctx), call, state, *std::move(parsed));
  }
  served.version = outcome.response.headers.get(kVersionHeader);
  const auto answered_by = outcome.response.headers.get(kServedByHeader);
  served.local = answered_by.empty() || answered_by == served_by_;
  served.status = outcome.response.status;
  served.bytes_out = outcome.response.body.size();
  served.took = executor_.now() - start;
  events_.on_served(served);
  co_return outcome;
}

Task<Outcome> Pipeline::run_local_first(CallContext ctx, Call& call, std::shared_ptr<RouteState> state,
                                        Parsed parsed) {
  Error why{Code::kUnavailable,
            "inference.model.unknown",
            fmt::format("model \"{}\" is not on this node", call.model),
            {}};
  if (state->route.local && !parsed.is_raw_unread) {
    const MonoTime start = executor_.now();
    auto answer = co_await models_.infer(ctx, parsed.request);
    if (answer) {
      auto encoded = inference::encode_response(*answer, parsed.request);
      if (!encoded) co_return Outcome(error_response(encoded.error()));
      Outcome outcome;
      io::Headers& headers = outcome.response.headers;
      headers.add("Content-Type", encoded->json_length ? "application/octet-stream" : "application/json");
      if (encoded->json_length)
        headers.add(inference::kHeaderLengthName, std::to_string(*encoded->json_length));
      headers.add(kServedByHeader, served_by_);
      headers.add(kVersionHeader, answer->model_version);
      outcome.response.body = std::move(encoded->body);
      draw_shadow(*state, outcome, parsed, *std::move(answer), executor_.now() - start);
      co_return outcome;
    }
    if (!may_overflow(answer.error())) co_return Outcome(error_response(answer.error()));
    why = std::move(answer).error();
  }
  co_return Outcome(
      co_await overflow(std::move(ctx), call, state, parsed.level, parsed.may_forward, std::move(why)));
}

Task<io::HttpResponse> Pipeline::overflow(CallContext ctx, Call& call, std::shared_ptr<RouteState> state,
                                          Level level, bool may_forward, Error why) {
  const Route& route = state->route;
  std::string reasons;
  const auto because = [&reasons](std::string_view place, std::string_view reason) {
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", place, reason);
  };
  if (!may_forward) because("other places", "it was forwarded once already");
  for (std::size_t i = 0; may_forward && i < route.upstreams.size(); ++i) {
    const UpstreamTarget& target = route.upstreams[i];
    const auto refuse = [&](std::string reason) {
      because(place_name(target), reason);
      events_.on_refusal({attempt_of(route, level, target), std::move(reason)});
    };
    if (std::ranges::find(target.levels, level) == target.levels.end()) {
      refuse(fmt::format("{} data of this service may not go there", api::enum_name(level)));
      continue;
    }
    if (const auto obstacle = state->health[i]->find_obstacle(executor_.now()); !obstacle.empty()) {
      because(place_name(target), obstacle);
      continue;
    }
    if (state->forwarded >= route.max_forwarded) {
      because(place_name(target), "too many requests are on their way already");
      break;
    }
    auto permit = guard_.permit(
        {route.project, route.service, route.model, level, route.strict, target, call.body.size()});
    if (!permit) {
      refuse(permit.error().message);
      continue;
    }
    auto answer = co_await forward(ctx, call, state, i, level, *std::move(permit));
    if (answer) co_return *std::move(answer);
    because(place_name(target), answer.error().message);
    if (const Status alive = ctx.check(executor_.now()); !alive) co_return error_response(alive.error());
  }
  if (route.upstreams.empty() || reasons.empty()) {
    // A version nobody deployed does not come by waiting; a model with a route does.
    if (route.upstreams.empty() && why.code == Code::kNotFound && !call.version.empty())
      co_return error_response(why);
    because("other places", "the service names none");
  }
  co_return error_response({Code::kUnavailable,
                            "gateway.nowhere_to_go",
                            fmt::format("{}; elsewhere: {}; try again shortly", why.message, reasons),
                            {}});
}

Task<Result<io::HttpResponse>> Pipeline::forward(CallContext ctx, const Call& call,
                                                 std::shared_ptr<RouteState> state, std::size_t index,
                                                 Level level, std::unique_ptr<RoutePermit> permit) {
  const Route& route = state->route;
  const UpstreamTarget& target = route.upstreams[index];
  const Counted counted(state->forwarded);
  io::HttpRequest request{.method = "POST"};
  request.target = fmt::format("/v2/models/{}{}{}/infer", io::url_encode(call.model),
                               call.version.empty() ? "" : "/versions/", io::url_encode(call.version));
  request.body = call.body;
  for (const std::string_view name :
       {std::string_view("Content-Type"), inference::kHeaderLengthName, std::string_view("traceparent")}) {
    copy_header(call.headers, request.headers, name);
  }
  request.headers.set(kHopHeader, "1");
  request.headers.set(kLevelHeader, std::string(api::enum_name(level)));
  CrossingRecord record{attempt_of(route, level, target), std::string(permit->rule()), request.body.size()};
  ctx = ctx.with_deadline(executor_.now() + route.upstream_timeout);
  Visit visit(*state->health[index]);
  auto answer = co_await upstream_.send(ctx, target, std::move(permit), std::move(request));
  if (answer) {
    record.bytes_in = answer->body.size();
    record.status = answer->status;
  }
  // Nothing was sent under a permit that no longer held.
  const bool is_unsent = !answer && answer.error().code == Code::kPermissionDenied;
  if (is_unsent)
    events_.on_refusal({attempt_of(route, level, target), answer.error().message});
  else
    events_.on_crossing(record);
  if (!answer) {
    if (!is_unsent && answer.error().code != Code::kCancelled) visit.end(Answer::kBroken, executor_.now());
    co_return std::unexpected(std::move(answer).error());
  }
  const Answer kind = answer_of(answer->status);
  visit.end(kind, executor_.now());
  if (kind == Answer::kFull) co_return fail(Code::kUnavailable, "gateway.upstream.full", "it is full");
  if (kind == Answer::kBroken)
    co_return fail(Code::kUnavailable, "gateway.upstream.failed",
                   fmt::format("it answered {}", answer->status));
  io::HttpResponse out{.status = answer->status, .headers = {}, .body = std::move(answer->body)};
  for (const std::string_view name :
       {std::string_view("Content-Type"), inference::kHeaderLengthName, kVersionHeader}) {
    copy_header(answer->headers, out.headers, name);
  }
  out.headers.set(kServedByHeader, fmt::format("{}/{}", target.node.str(), target.site.str()));
  co_return out;
}

void Pipeline::draw_shadow(RouteState& state, Outcome& outcome, Parsed& parsed,
                           inference::InferResponse response, Duration took) {
  const Route& route = state.route;
  if (route.shadow_version.empty() || response.model_version == route.shadow_version ||
      response.outputs.empty())
    return;
  state.shadow_credit += std::clamp(route.shadow_fraction, 0.0, 1.0);
  if (state.shadow_credit < 1.0) return;
  state.shadow_credit -= 1.0;
  if (shadows_ >= options_.shadows_max) {
    ++state.shadow.skipped;
    return;
  }
  outcome.shadow = std::make_unique<Outcome::Shadow>(Outcome::Shadow{
      route.model, route.shadow_version, std::move(parsed.request), std::move(response), took});
}

Task<void> Pipeline::run_shadow(CallContext ctx, std::unique_ptr<Outcome::Shadow> shadow) {
  const Counted counted(shadows_);
  shadow->request.model_version = shadow->version;
  const MonoTime start = executor_.now();
  const auto answer =
      co_await models_.infer(ctx.with_deadline(start + options_.request_timeout), shadow->request);
  const Duration took = executor_.now() - start;
  const auto state = find_state(shadow->model);
  if (!state || state->route.shadow_version != shadow->version) co_return;
  ShadowReport& report = state->shadow;
  const auto active = argmax_rows(shadow->response.outputs.front());
  const auto other = answer && !answer->outputs.empty() ? argmax_rows(answer->outputs.front()) : std::nullopt;
  if (!active || !other || active->size() != other->size()) {
    ++report.errors;
    co_return;
  }
  std::uint64_t same = 0;
  for (std::size_t i = 0; i < active->size(); ++i) same += (*active)[i] == (*other)[i];
  ++report.requests;
  report.rows += active->size();
  report.rows_agreed += same;
  report.agreed += same == active->size();
  report.active_time += shadow->took;
  report.shadow_time += took;
  const Json* label = shadow->request.parameters.if_contains(kLabelParameter);
  if (label == nullptr) co_return;
  const auto labels = labels_of(*label, active->size());
  report.labelled_rows += labels.size();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    report.active_correct += (*active)[i] == labels[i];
    report.shadow_correct += (*other)[i] == labels[i];
  }
}

}  // namespace neap::gateway
