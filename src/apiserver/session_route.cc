// exec, attach and portforward of allocations and pods, as kubectl asks for them: by WebSocket (1.30 and
// newer) or by SPDY (all).
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "internal/front.h"
#include "internal/pod_view.h"
#include "internal/session_bridge.h"
#include "neap/io/websocket.h"

namespace neap::apiserver {
namespace {

constexpr std::size_t kCommandWordsMax = 1024;
constexpr std::string_view kChannelV5 = "v5.channel.k8s.io", kChannelV4 = "v4.channel.k8s.io";
constexpr std::string_view kTunnel = "SPDY/3.1+portforward.k8s.io", kPortForward = "portforward.k8s.io";
constexpr std::string_view kStreamProtocol = "X-Stream-Protocol-Version";

bool is_true(std::string_view text) { return text == "true" || text == "1"; }

struct SessionRequest {
  SessionQuery query;
  CommandChannels channels;
};

Result<SessionRequest> parse_session(const io::HttpRequest& http, const Request& request) {
  SessionRequest out;
  auto& query = out.query;
  query.namespace_ = request.what.namespace_;
  query.allocation = request.what.name;
  query.user = request.who.user;
  if (request.what.subresource == "portforward") {
    query.kind = SessionQuery::Kind::kPortForward;
    return out;
  }
  const bool is_exec = request.what.subresource == "exec";
  query.kind = is_exec ? SessionQuery::Kind::kExec : SessionQuery::Kind::kAttach;
  if (const auto container = http.query_value("container"); !container.empty() && container != kMainContainer)
    return bad_request("api.session.container",
                       fmt::format("container {} is not valid: the only one is \"{}\"",
                                   container.substr(0, 64), kMainContainer));
  for (const auto& [name, value] : http.query)
    if (name == "command") query.command.push_back(value);
  if (is_exec && (query.command.empty() || query.command.front().empty()))
    return bad_request("api.session.command", "exec needs the program to run: give it as ?command=");
  if (query.command.size() > kCommandWordsMax)
    return bad_request("api.session.command",
                       fmt::format("a command has at most {} words", kCommandWordsMax));
  auto& channels = out.channels;
  channels.input = is_true(http.query_value("stdin"));
  channels.output = is_true(http.query_value("stdout"));
  channels.terminal = is_true(http.query_value("tty"));
  // A terminal has one output.
  channels.errors = is_true(http.query_value("stderr")) && !channels.terminal;
  if (!channels.input && !channels.output && !channels.errors)
    return bad_request("api.session.channels", "ask for at least one of stdin, stdout and stderr");
  query.input = channels.input;
  query.errors = channels.errors;
  query.terminal = channels.terminal;
  return out;
}

bool offers(const io::HttpRequest& http, std::string_view protocol) {
  for (const auto& [name, value] : http.headers.all()) {
    const bool is_it = std::ranges::equal(name, kStreamProtocol,
                                          [](char a, char b) { return std::tolower(a) == std::tolower(b); });
    for (std::string_view rest = is_it ? std::string_view(value) : std::string_view(); !rest.empty();) {
      const auto comma = std::min(rest.find(','), rest.size());
      auto word = rest.substr(0, comma);
      while (word.starts_with(' ')) word.remove_prefix(1);
      if (word == protocol) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

struct Upgrade {
  bool is_websocket = false, has_end = false;
  io::Headers headers;
};

Result<Upgrade> choose_upgrade(const io::HttpRequest& http, bool is_port_forward) {
  Upgrade out;
  if (io::is_websocket_request(http)) {
    const std::array<std::string_view, 2> known =
        is_port_forward ? std::array{kTunnel, kTunnel} : std::array{kChannelV5, kChannelV4};
    const auto protocol = io::choose_websocket_protocol(http, known);
    if (protocol.empty())
      return bad_request("api.session.protocol",
                         fmt::format("unable to upgrade: the WebSocket protocols served here are {} and {}",
                                     known[0], known[1]));
    out.is_websocket = true;
    out.has_end = protocol == kChannelV5;
    NEAP_TRY(out.headers, io::accept_websocket(http, protocol));
    return out;
  }
  if (http.headers.get("Upgrade") != "SPDY/3.1")
    return bad_request("api.session.upgrade", "Upgrade request required: to a WebSocket, or to SPDY/3.1");
  const auto protocol = is_port_forward ? kPortForward : kChannelV4;
  if (!offers(http, protocol))
    return bad_request("api.session.protocol",
                       fmt::format("unable to upgrade: the stream protocol served here is {}", protocol));
  out.headers.set("Upgrade", "SPDY/3.1");
  out.headers.set(kStreamProtocol, std::string(protocol));
  return out;
}

}  // namespace

bool Front::is_session(const auth::Attributes& what) const {
  return sessions_ && !what.name.empty() && (what.resource == "pods" || what.resource == "allocations") &&
         (what.verb == "get" || what.verb == "create") &&
         (what.subresource == "exec" || what.subresource == "attach" || what.subresource == "portforward");
}

// Whether who is within would still be let in.
Task<Status> Front::check_session(const Request& request) {
  const auto decision = rest_.dependencies().authorizer.authorize(request.who, request.what);
  if (decision.allowed) {
    auto valid = co_await rest_.check_token_objects({}, request.who);
    // A store that is away for a while is no reason.
    if (valid || valid.error().code != Code::kUnauthenticated) co_return ok();
    co_return valid;
  }
  auto refusal = forbidden(request.who, request.what, decision.reason).error();
  co_await rest_.audit(request, 403, "session ended: " + refusal.message);
  co_return fail(std::move(refusal));
}

Task<void> Front::handle_session(io::HttpExchange& exchange, Request request) {
  // Whoever enters work changes it, also where the client's WebSocket begins as a GET: read rights are not
  // enough.
  request.what.verb = "create";
  const auto decision = rest_.dependencies().authorizer.authorize(request.who, request.what);
  if (!decision.allowed) {
    co_await rest_.audit(request, 403, decision.reason);
    co_await send_failure(exchange, Failure(forbidden(request.who, request.what, decision.reason).error()),
                          request);
    co_return;
  }
  const bool is_port_forward = request.what.subresource == "portforward";
  auto asked = parse_session(exchange.request(), request);
  auto upgrade = asked ? choose_upgrade(exchange.request(), is_port_forward) : fail(asked.error());
  if (!upgrade) {
    co_await send_failure(exchange, Failure(upgrade.error()), request);
    co_return;
  }
  auto node = co_await sessions_->open_session(exchange.context(), asked->query);
  if (!node) {
    const Failure failure(node.error());
    co_await rest_.audit(request, http_status_of(failure), node.error().reason);
    co_await send_failure(exchange, failure, request);
    co_return;
  }
  co_await rest_.audit(request, 101, {});
  auto stream = co_await exchange.upgrade(std::move(upgrade->headers));
  if (!stream) co_return;
  auto& runtime = rest_.dependencies().runtime;
  const SessionCheck still_allowed = [this, &request] { return check_session(request); };
  if (is_port_forward) {
    auto transport = upgrade->is_websocket ? io::make_websocket_stream(std::make_unique<io::WebSocket>(
                                                 runtime, *std::move(stream), io::WebSocket::Options{}))
                                           : *std::move(stream);
    co_await forward_ports(exchange.context(), runtime, *sessions_, std::move(asked->query), *std::move(node),
                           std::move(transport), still_allowed);
    co_return;
  }
  const auto client = upgrade->is_websocket
                          ? make_websocket_client(runtime, *std::move(stream), upgrade->has_end)
                          : make_spdy_client(runtime, *std::move(stream), asked->channels);
  co_await bridge_command(exchange.context(), runtime, *client, **node, still_allowed);
}

}  // namespace neap::apiserver
