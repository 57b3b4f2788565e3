#include "internal/front.h"

#include <fmt/format.h>

#include "internal/impersonation.h"
#include "internal/protobuf_body.h"
#include "internal/service_account.h"
#include "internal/table.h"

namespace neap::apiserver {
namespace {

constexpr Duration kBodyTimeout = 60s;
constexpr Duration kRequestTimeout = 60s;
constexpr std::size_t kBatchBytes = 256u << 10;
// A piece sent to a watch costs 25 us, whatever it holds. Where many watch, what follows an event within this
// time goes out together: 1,000 watches of 100 events a second would else take more than two cores.
constexpr Duration kGatherEachWatch = 40us, kGatherMin = 4ms, kGatherMax = 40ms;

// What one Warning header may carry (RFC 9110 quoted-string).
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, 4096)) {
    if (c == '"' || c == '\\') out += '\\';
    out += std::uint8_t(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return out + '"';
}

io::HttpResponse to_http(Reply reply) {
  io::HttpResponse out;
  out.status = reply.status;
  out.headers.set("Content-Type", "application/json");
  out.headers.set("Cache-Control", "no-cache, private");
  for (const auto& warning : reply.warnings) out.headers.add("Warning", "299 - " + quoted(warning));
  out.body = reply.text.empty() ? to_text(reply.body) : std::move(reply.text);
  out.body += '\n';
  return out;
}

io::HttpResponse text_response(int status, std::string text) {
  io::HttpResponse out;
  out.status = status;
  out.headers.set("Content-Type", "text/plain; charset=utf-8");
  out.body = std::move(text);
  return out;
}

bool is_health(std::string_view path) { return path == "/healthz" || path == "/livez" || path == "/readyz"; }

// As Go reads a boolean of a query: there, and not said to be false.
bool is_watch_asked(const io::HttpRequest& request) {
  if (!request.has_query("watch")) return false;
  const auto value = request.query_value("watch");
  return value != "false" && value != "0";
}

bool has_body(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH" || method == "DELETE";
}

Failure too_large(std::uint64_t limit) {
  Failure out(Error{Code::kResourceExhausted,
                    "api.body.too_large",
                    fmt::format("Request entity too large: limit is {}", limit),
                    {}});
  out.http = 413;
  out.status_reason = "RequestEntityTooLarge";
  return out;
}
Failure unsupported_media(std::string_view type) {
  Failure out(Error{
      Code::kInvalidArgument,
      "api.body.media_type",
      fmt::format("the body of the request was in an unknown format ({}) - accepted media types include: "
                  "application/json, application/yaml, application/vnd.kubernetes.protobuf",
                  type.substr(0, 128)),
      {}});
  out.http = 415;
  out.status_reason = "UnsupportedMediaType";
  return out;
}
Failure too_many(Error error) {
  Failure out(std::move(error));
  if (out.error.code != Code::kResourceExhausted) return out;
  out.http = 429;
  out.status_reason = "TooManyRequests";
  return out;
}

// Whose requests share a queue: a user's, and those of all accounts of a project.
std::string flow_of(const auth::Identity& who) {
  const auto account = account_of(who.user);
  return account ? fmt::format("project {}", account->ns) : fmt::format("user {}", who.user);
}

Result<PatchKind> patch_kind_of(std::string_view type) {
  if (type == "application/merge-patch+json") return PatchKind::kMerge;
  if (type == "application/json-patch+json") return PatchKind::kJson;
  if (type == "application/apply-patch+yaml") return PatchKind::kApply;
  if (type == "application/strategic-merge-patch+json") return PatchKind::kStrategic;
  return fail(Code::kInvalidArgument, "api.patch.type", "unknown patch type");
}

// DeleteOptions of a deletion without a body: some clients (Python's among them) send them in the query.
Json delete_options_of(const io::HttpRequest& request) {
  JsonObject out;
  if (const auto policy = request.query_value("propagationPolicy"); !policy.empty())
    out["propagationPolicy"] = policy;
  if (const auto orphans = request.query_value("orphanDependents"); !orphans.empty())
    out["orphanDependents"] = orphans == "true" || orphans == "1";
  return out.empty() ? Json() : Json(std::move(out));
}

RequestOrigin origin_of(const Rest& rest, const io::HttpExchange& exchange) {
  const auto& http = exchange.request();
  // The words of a command that is run beside work may be secrets, and stand in the query.
  const auto end = http.path.ends_with("/exec") ? http.target.find('?') : std::string::npos;
  return {.uri = http.target.substr(0, std::min<std::size_t>(end, 1024)),
          .source = exchange.peer().host,
          .user_agent = std::string(http.headers.get("User-Agent").substr(0, 256)),
          .received = rest.dependencies().runtime.clock().wall()};
}

std::string_view media_type(const io::HttpRequest& request) {
  auto type = request.headers.get("Content-Type");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return type;
}

}  // namespace

const ExtraRoute* Front::find_route(std::string_view path) const {
  const ExtraRoute* best = nullptr;
  for (const auto& route : routes_)
    if (path.starts_with(route.prefix) && (!best || route.prefix.size() > best->prefix.size())) best = &route;
  return best;
}

const StreamSubresource* Front::find_stream(const auth::Attributes& what) const {
  if (what.verb != "get" && what.verb != "create") return nullptr;
  for (const auto& stream : streams_)
    if (stream.handler && stream.plural == what.resource && stream.subresource == what.subresource)
      return &stream;
  return nullptr;
}

Task<void> Front::handle_stream(io::HttpExchange& exchange, const StreamSubresource& stream,
                                Request request) {
  const auto decision = rest_.dependencies().authorizer.authorize(request.who, request.what);
  if (!decision.allowed) {
    co_await rest_.audit(request, 403, decision.reason);
    co_await send_failure(exchange, Failure(forbidden(request.who, request.what, decision.reason).error()),
                          request);
    co_return;
  }
  co_await stream.handler(exchange, request.who, request.what.namespace_, request.what.name);
}

Task<void> Front::send_failure(io::HttpExchange& exchange, const Failure& failure, const Request& request) {
  auto response = to_http(rest_.reply_of(failure, request));
  if (response.status == 429 || failure.error.reason == kTokenUnchecked)
    response.headers.set("Retry-After", "1");
  if (response.status == 401) response.headers.set("WWW-Authenticate", "Bearer realm=\"neap\"");
  if (response.status == 413) response.headers.set("Connection", "close");
  co_await exchange.reply(std::move(response));
}

// Only of credentials that are known to be wrong it says so: clients throw away what was answered with 401.
Task<void> Front::refuse_credentials(io::HttpExchange& exchange, const Error& error, const Request& request) {
  Failure failure(error);
  const bool is_later = is_retryable(error.code);
  if (!is_later) failure.error.message = "Unauthorized: " + failure.error.message;
  co_await rest_.audit(request, is_later ? http_status_of(failure) : 401, error.reason);
  co_await send_failure(exchange, failure, request);
}

Task<void> Front::handle(io::HttpExchange& exchange) {
  const auto& http = exchange.request();
  if (is_health(http.path)) {
    const bool ok = ready_ || http.path == "/livez";
    co_await exchange.reply(ok ? text_response(200, "ok") : text_response(503, "starting"));
    co_return;
  }
  Request request;
  request.what.path = http.path;
  request.what.verb = http.method;
  for (auto& c : request.what.verb)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  request.origin = origin_of(rest_, exchange);
  const auto* route = find_route(http.path);
  co_await authenticator_.prepare(http);
  auto who = authenticator_.authenticate(http, exchange.peer_certificate());
  if (!who && route && !route->authorize) who = auth::anonymous();
  if (who) {
    if (auto valid = co_await rest_.check_token_objects(exchange.context(), *who); !valid)
      who = fail(std::move(valid).error());
  }
  if (!who) {
    request.who = auth::anonymous();
    co_await refuse_credentials(exchange, who.error(), request);
    co_return;
  }
  request.who = *who;
  auto other = impersonated(http, *who, rest_.dependencies().authorizer);
  if (!other) {
    co_await rest_.audit(request, http_status_of(other.error()), other.error().error.message);
    co_await send_failure(exchange, other.error(), request);
    co_return;
  }
  if (*other) {
    Request as = request;
    as.what.verb = "impersonate";
    as.what.resource = "users";
    as.what.name = (*other)->user;
    co_await rest_.audit(as, 200, {});
    who = **other;
    request.who = *who;
  }
  auto info = parse_request_info(rest_.dependencies().kinds, http.method, http.path, is_watch_asked(http));
  // Data policies name the people who may read what work prints; whoever acts as one of them is not them.
  if (*other && info && (info->what.subresource == "log" || is_session(info->what))) {
    request.what = info->what;
    request.kind = info->kind;
    const auto refusal =
        forbidden(*who, info->what, "logs are not shown to who impersonates, nor is work entered");
    co_await rest_.audit(request, 403, "impersonated");
    co_await send_failure(exchange, Failure(refusal.error()), request);
    co_return;
  }
  if (info && info->what.is_resource) {
    co_await handle_resource(exchange, *std::move(info), *std::move(who));
    co_return;
  }
  if (route || info) {
    const bool needs_right = !route || route->authorize;
    const auto decision = needs_right ? rest_.dependencies().authorizer.authorize(*who, request.what)
                                      : auth::Decision{true, {}};
    if (!decision.allowed) {
      const auto refusal = forbidden(*who, request.what, decision.reason);
      co_await rest_.audit(request, 403, decision.reason);
      co_await send_failure(exchange, Failure(refusal.error()), request);
      co_return;
    }
  }
  if (route) {
    // What it will answer is not known here: on record is that it was asked.
    if (rest_.dependencies().audit_policy) co_await rest_.audit(request, 0, {});
    co_await route->handler(exchange, *who);
    co_return;
  }
  if (auto document = discovery_.answer(http)) {
    co_await exchange.reply(*std::move(document));
    co_return;
  }
  const Failure failure(
      Error{Code::kNotFound, "api.path.unknown", "the server could not find the requested resource", {}});
  co_await send_failure(exchange, failure, request);
}

Task<Outcome<Json>> Front::read_body(io::HttpExchange& exchange, const Request& request) {
  const auto& http = exchange.request();
  const auto limit = options_.body_bytes_max;
  if (exchange.body().declared_length().value_or(0) > limit) co_return std::unexpected(too_large(limit));
  const auto deadline = rest_.dependencies().runtime.clock().now() + kBodyTimeout;
  auto text = co_await exchange.body().read_all(exchange.context().with_deadline(deadline), limit);
  if (!text && text.error().code == Code::kResourceExhausted) co_return std::unexpected(too_large(limit));
  if (!text) co_return std::unexpected(Failure(std::move(text).error()));
  if (text->empty() && request.what.verb.starts_with("delete")) co_return delete_options_of(http);
  const auto type = media_type(http);
  const bool yaml = type == "application/yaml" || type == "application/apply-patch+yaml";
  if (is_protobuf_content(type)) {
    NEAP_CO_TRY(auto body, decode_protobuf_body(*text));
    co_return body;
  }
  const bool json = type.empty() || type == "application/json" || request.what.verb == "patch";
  if (!yaml && !json) co_return std::unexpected(unsupported_media(type));
  if (yaml) {
    auto parsed = api::parse_yaml(*text, {.bytes_max = limit});
    // Too much is the document's fault: 429 would have clients send it again and again.
    if (!parsed && parsed.error().code == Code::kResourceExhausted)
      parsed.error().code = Code::kInvalidArgument;
    NEAP_CO_TRY(auto documents, std::move(parsed));
    if (documents.size() != 1)
      co_return bad_request("api.body.documents", "the body must hold exactly one document");
    co_return std::move(documents.front());
  }
  NEAP_CO_TRY(auto body, parse_json(*text, {.bytes_max = limit, .depth_max = 64}));
  co_return body;
}

Task<Outcome<Request>> Front::read_request(io::HttpExchange& exchange, RequestInfo info, auth::Identity who) {
  const auto& http = exchange.request();
  Request out;
  out.ctx = exchange.context();
  out.who = std::move(who);
  out.what = std::move(info.what);
  out.kind = info.kind;
  out.origin = origin_of(rest_, exchange);
  NEAP_CO_TRY(out.parameters, parse_parameters(http));
  out.what.field_selector = out.parameters.field_selector;
  if (out.what.verb == "patch") {
    const auto kind = patch_kind_of(media_type(http));
    if (!kind) co_return std::unexpected(unsupported_media(media_type(http)));
    out.patch = *kind;
  }
  if (has_body(http.method)) {
    // Asked before the body is read: who may not write need not be listened to.
    const auto decision = rest_.dependencies().authorizer.authorize(out.who, out.what);
    if (!decision.allowed) {
      co_await rest_.audit(out, 403, decision.reason);
      co_return forbidden(out.who, out.what, decision.reason);
    }
    NEAP_CO_TRY(out.body, co_await read_body(exchange, out));
  }
  co_return out;
}

Task<void> Front::handle_resource(io::HttpExchange& exchange, RequestInfo info, auth::Identity who) {
  const auto* stream = find_stream(info.what);
  const bool is_watch = info.is_watch || stream;
  const bool of_node = !who.node.empty();
  const bool is_log = logs_ && info.what.subresource == "log" && info.what.verb == "get" &&
                      (info.what.resource == "allocations" || info.what.resource == "pods");
  const bool enters = is_session(info.what);
  const bool is_long = is_watch || is_log || enters;
  auto& pool = is_long ? watches_ : of_node ? nodes_ : others_;
  Request bare;
  bare.what = info.what;
  bare.kind = info.kind;
  bare.who = who;
  bare.origin = origin_of(rest_, exchange);
  const auto seat = co_await pool.take(exchange.context(), flow_of(who));
  if (!seat) {
    co_await send_failure(exchange, too_many(seat.error()), bare);
    co_return;
  }
  if ((stream || is_log || enters) && forward_ && co_await forward_(exchange, bare.who, bare.what)) co_return;
  if (enters) {
    co_await handle_session(exchange, std::move(bare));
    co_return;
  }
  if (stream) {
    co_await handle_stream(exchange, *stream, std::move(bare));
    co_return;
  }
  auto request = co_await read_request(exchange, std::move(info), std::move(who));
  if (!request) {
    co_await send_failure(exchange, request.error(), bare);
    co_return;
  }
  if (is_log) {
    co_await handle_log(exchange, *std::move(request));
    co_return;
  }
  if (is_watch) {
    co_await handle_watch(exchange, *std::move(request));
    co_return;
  }
  auto timeout = kRequestTimeout;
  if (const auto asked = parse_duration(exchange.request().query_value("timeout"));
      asked && *asked > Duration::zero())
    timeout = std::min(*asked, kRequestTimeout);
  request->ctx = request->ctx.with_deadline(rest_.dependencies().runtime.clock().now() + timeout);
  // Reads answer in that form by themselves.
  const bool shortens = request->parameters.partial && has_body(exchange.request().method);
  auto reply = co_await rest_.serve(*std::move(request));
  if (shortens && reply.status < 300 && get_string(reply.body, "kind") != "Status")
    reply.body = partial_of(reply.body);
  const int status = reply.status;
  const bool is_early = find_path(reply.body, {"details", "retryAfterSeconds"}) != nullptr;
  auto response = to_http(std::move(reply));
  if (status == 429 || is_early) response.headers.set("Retry-After", "1");
  co_await exchange.reply(std::move(response));
}

Task<void> Front::handle_watch(io::HttpExchange& exchange, Request request) {
  const auto& clock = rest_.dependencies().runtime.clock();
  auto& random = rest_.dependencies().runtime.random();
  const auto bookmarks = request.parameters.allow_bookmarks;
  const auto table = request.parameters.table;
  const bool partial = request.parameters.partial;
  auto lifetime =
      Duration(std::chrono::seconds(std::min<std::int64_t>(request.parameters.timeout_seconds, 86'400)));
  // Spread, so that watches that began together do not end together.
  const auto longest = options_.watch_timeout_max;
  if (lifetime == Duration::zero())
    lifetime = longest / 2 + Duration(random.below(std::uint64_t(longest.count() / 2 + 1)));
  lifetime = std::min(lifetime, longest);
  const Request asked = request;
  auto session = co_await rest_.watch(std::move(request));
  if (!session) {
    co_await send_failure(exchange, session.error(), asked);
    co_return;
  }
  co_await rest_.audit(asked, 200, {});
  io::HttpResponse head;
  head.headers.set("Content-Type", "application/json");
  head.headers.set("Cache-Control", "no-cache, private");
  if (!co_await exchange.start(std::move(head))) co_return;
  const auto& kind = (*session)->kind();
  const auto encode = [&](const WatchItem& item) -> std::string {
    const bool is_bookmark = item.type == WatchItem::Type::kBookmark;
    constexpr std::array<std::string_view, 4> kNames{"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
    if (partial)
      return fmt::format(
          "{{\"type\":\"{}\",\"object\":{}}}\n", kNames[std::size_t(item.type)],
          to_text(is_bookmark ? partial_of(item.bookmark)
                              : with_revision(partial_of(item.event->object()), item.event->revision)));
    if (!table)
      return is_bookmark ? fmt::format("{{\"type\":\"BOOKMARK\",\"object\":{}}}\n", to_text(item.bookmark))
                         : item.event->line(ObjectEvent::Type(int(item.type)));
    const auto object = is_bookmark ? table_of_bookmark(item.bookmark)
                                    : table_of(kind, std::vector{item.event->object()}, item.event->revision,
                                               {}, *table, clock.wall());
    return fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", kNames[std::size_t(item.type)],
                       to_text(object));
  };
  const auto end = clock.now() + lifetime;
  auto next_bookmark = clock.now() + options_.bookmark_interval;
  struct Open {
    std::size_t& count;
    explicit Open(std::size_t& c) : count(c) { ++count; }
    ~Open() { --count; }
  } const open(open_watches_);
  for (;;) {
    const auto wake = bookmarks ? std::min(end, next_bookmark) : end;
    auto items = co_await (*session)->next(exchange.context().with_deadline(wake));
    std::string out;
    if (items) {
      for (const auto& item : *items) {
        out += encode(item);
        if (out.size() < kBatchBytes) continue;
        if (!co_await exchange.write(out)) co_return;
        out.clear();
      }
      const auto sent = clock.now();
      if (!out.empty() && !co_await exchange.write(out)) co_return;
      if (const auto gather = std::min<Duration>(kGatherEachWatch * open_watches_, kGatherMax);
          gather >= kGatherMin)
        (void)co_await sleep_until(rest_.dependencies().runtime.executor(), exchange.context(),
                                   sent + gather);
    } else if (items.error().code == Code::kOutOfRange) {
      const Failure failure(items.error());
      out = fmt::format("{{\"type\":\"ERROR\",\"object\":{}}}\n",
                        to_text(status_of(failure, asked.what, asked.kind)));
      if (!co_await exchange.write(out)) co_return;
      break;
    } else if (items.error().code != Code::kDeadlineExceeded) {
      break;
    }
    const auto now = clock.now();
    // Only when nothing waits: a bookmark claims that everything before it was sent.
    if (bookmarks && (*session)->is_idle() && (now >= next_bookmark || now >= end)) {
      if (!co_await exchange.write(encode({WatchItem::Type::kBookmark, nullptr, (*session)->bookmark()})))
        co_return;
      next_bookmark = now + options_.bookmark_interval;
    }
    if (now >= end) break;
  }
  co_await exchange.finish();
}

}  // namespace neap::apiserver
