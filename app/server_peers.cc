#include "server_peers.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/api/codec.h"
#include "neap/base/sync.h"
#include "session_tail.h"

namespace neap::app {
namespace {

constexpr std::string_view kPrefix = "/servers/", kNodes = "/node-servers/";
constexpr std::string_view kForwarded = "Neap-Forwarded";
constexpr Duration kAnswerWithin = 10s, kPause = 500ms, kGoodbye = 2s;
constexpr std::size_t kPieceBytes = 64u << 10;

// Of one connection, or of the door at this server: the next one has its own.
bool is_own_header(std::string_view name) {
  constexpr std::string_view kOwn[] = {"authorization",     "connection", "content-length", "cookie", "host",
                                       "transfer-encoding", "keep-alive", "neap-forwarded"};
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return std::ranges::find(kOwn, lower) != std::end(kOwn);
}

Error unreachable(std::string_view node, std::string_view address, std::string_view why) {
  return {
      Code::kUnavailable,
      "server.peer.silent",
      fmt::format("node {} is reached through the server at {}, and that does not answer: {}; try again in "
                  "a few seconds, when its agent has gone on at another server (`neap describe node/{}`)",
                  node, address, why, node),
      {}};
}

Task<void> pump_to(io::Stream& in, io::Stream& out, CallContext ctx, Event& ended) {
  std::string piece;
  for (;;) {
    piece.clear();
    const auto n = co_await in.read_some(ctx, piece, kPieceBytes);
    if (!n || *n == 0 || !co_await out.write_all(ctx, piece)) break;
  }
  ended.set();
}

// `is_cut`: the other server ended or fell silent, and the client is still there.
Task<void> pump_back(Executor& executor, io::Stream& in, io::Stream& out, CallContext ctx, SessionTail& tail,
                     bool& is_cut, Event& ended) {
  std::string piece;
  for (;;) {
    piece.clear();
    const auto until = executor.now() + ServerPeers::kSilence;
    const auto n = co_await in.read_some(ctx.with_deadline(until), piece, kPieceBytes);
    is_cut = (!n || *n == 0) && !ctx.cancel.is_cancelled();
    if (!n || *n == 0) break;
    tail.pass(piece);
    if (co_await out.write_all(ctx, piece)) continue;
    tail.lose_track();
    break;
  }
  ended.set();
}

io::HttpResponse failure_reply(const Error& error) {
  const auto status = api::status_object(error);
  io::HttpResponse out;
  out.status = int(get_int(status, "code", http_status(error.code)));
  out.headers.set("Content-Type", "application/json");
  if (out.status == 429) out.headers.set("Retry-After", "1");
  out.body = to_text(status);
  return out;
}

}  // namespace

Task<Status> ServerPeers::announce(std::string address) {
  address_ = std::move(address);
  life_ = deps_.runtime.random().hex(16);
  auto done = co_await deps_.store.put({}, std::string(kPrefix) + address_, life_);
  if (!done) co_return fail(std::move(done).error(), "announcing this server to the others");
  co_return ok();
}

Task<void> ServerPeers::withdraw() {
  if (address_.empty()) co_return;
  (void)co_await deps_.store.remove({}, std::string(kPrefix) + std::exchange(address_, {}));
}

Task<Result<std::vector<std::string>>> ServerPeers::others() {
  NEAP_CO_TRY(const auto page, co_await store::list_all(deps_.store, {}, std::string(kPrefix)));
  std::vector<std::string> out;
  for (const auto& item : page.items)
    if (auto address = item.key.substr(kPrefix.size()); address != address_)
      out.push_back(std::move(address));
  co_return out;
}

Result<io::HttpClient*> ServerPeers::client_of(const std::string& address) {
  auto& client = clients_[address];
  if (!client) {
    NEAP_TRY(const auto endpoint, io::Endpoint::parse(address));
    io::HttpClientOptions options;
    NEAP_TRY(options.tls,
             io::make_tls_client_context({.roots_pem = options_.roots_pem, .server_name = endpoint.host}));
    client = std::make_unique<io::HttpClient>(deps_.runtime, endpoint, std::move(options));
  }
  return client.get();
}

void ServerPeers::authorize(io::HttpRequest& request) const {
  request.headers.set("Authorization", "Bearer " + options_.token);
}

Task<Result<std::vector<Json>>> ServerPeers::fetch_ledger(std::string name, std::uint64_t from) {
  NEAP_CO_TRY(const auto addresses, co_await others());
  for (const auto& address : addresses) {
    NEAP_CO_TRY(auto* const client, client_of(address));
    io::HttpRequest ask;
    ask.method = "GET";
    ask.target = fmt::format("/neap/v1/ledgers/{}?from={}", name, from);
    authorize(ask);
    const auto until = deps_.runtime.executor().now() + kAnswerWithin;
    const auto reply = co_await client->call(CallContext{}.with_deadline(until), std::move(ask));
    const auto body = reply && reply->status == 200
                          ? parse_json(reply->body, {.bytes_max = 64u << 20})
                          : Result<Json>(fail(Code::kUnavailable, "server.peer", "no answer"));
    const auto* entries = body ? find_path(*body, {"entries"}) : nullptr;
    if (!entries || !entries->is_array()) {
      deps_.log.warning("a server that is announced did not give its ledger", {{"address", address}});
      continue;
    }
    std::vector<Json> out;
    for (const auto& entry : entries->get_array()) out.push_back(entry);
    if (!out.empty()) co_return out;
  }
  co_return std::vector<Json>();
}

Task<Status> ServerPeers::start() {
  NEAP_CO_TRY(const auto page, co_await store::list_all(deps_.store, {}, std::string(kNodes)));
  for (const auto& item : page.items) nodes_[item.key.substr(kNodes.size())] = item.value;
  NEAP_CO_TRY(auto watch, deps_.store.watch(std::string(kNodes), page.revision));
  tasks_.spawn(follow_nodes(std::move(watch)));
  co_return ok();
}
Task<void> ServerPeers::stop() { co_await tasks_.stop(); }

Task<void> ServerPeers::follow_nodes(std::unique_ptr<store::Watch> watch) {
  const auto ctx = tasks_.context();
  while (!ctx.cancel.is_cancelled()) {
    auto event = co_await watch->next(ctx);
    if (event) {
      auto node = event->kv.key.substr(kNodes.size());
      if (event->type == store::WatchEvent::Type::kPut)
        nodes_[std::move(node)] = std::move(event->kv.value);
      else
        nodes_.erase(node);
      continue;
    }
    if (!co_await sleep_for(deps_.runtime.executor(), ctx, kPause)) co_return;
    if (event.error().code != Code::kOutOfRange) continue;
    const auto page = co_await store::list_all(deps_.store, ctx, std::string(kNodes));
    if (!page) continue;
    auto again = deps_.store.watch(std::string(kNodes), page->revision);
    if (!again) continue;
    nodes_.clear();
    for (const auto& item : page->items) nodes_[item.key.substr(kNodes.size())] = item.value;
    watch = *std::move(again);
  }
}

Task<void> ServerPeers::note_node(std::string node) {
  if (address_.empty()) co_return;
  if (const auto known = nodes_.find(node); known != nodes_.end() && known->second == address_) co_return;
  nodes_[node] = address_;
  if (const auto done = co_await deps_.store.put({}, std::string(kNodes) + node, address_); !done)
    nodes_.erase(node);
}

std::string ServerPeers::server_of(const std::string& node) const {
  const auto known = nodes_.find(node);
  return known == nodes_.end() || known->second == address_ ? std::string() : known->second;
}

bool ServerPeers::is_forwarded(const io::HttpRequest& request) {
  return !request.headers.get(kForwarded).empty();
}

Result<std::optional<auth::Identity>> ServerPeers::forwarded_by_peer(const io::HttpRequest& request) const {
  if (!is_forwarded(request)) return std::nullopt;
  return claims_.take(request.headers.get(kForwarded), request.method, request.target, {address_, life_},
                      deps_.runtime.clock().wall());
}

Task<void> ServerPeers::forward(io::HttpExchange& exchange, const auth::Identity& who, std::string node,
                                std::string address) {
  auto client = client_of(address);
  if (!client) {
    (void)co_await exchange.reply(failure_reply(client.error()));
    co_return;
  }
  const auto soon = exchange.context().with_deadline(deps_.runtime.executor().now() + kAnswerWithin);
  const auto announced = co_await deps_.store.get(soon, std::string(kPrefix) + address);
  if (!announced || !*announced) {
    (void)co_await exchange.reply(
        failure_reply(announced ? unreachable(node, address, "it has stopped") : announced.error()));
    co_return;
  }
  const auto& from = exchange.request();
  io::HttpRequest ask;
  ask.method = from.method;
  ask.target = from.target;
  for (const auto& [name, value] : from.headers.all())
    if (!is_own_header(name)) ask.headers.add(name, value);
  ask.headers.set(kForwarded, sign_forwarded(options_.signing_key, {.who = who,
                                                                    .method = from.method,
                                                                    .target = from.target,
                                                                    .to = address,
                                                                    .life = (*announced)->value,
                                                                    .nonce = deps_.runtime.random().hex(16),
                                                                    .at = deps_.runtime.clock().wall()}));
  Way way{**client, std::move(node), std::move(address)};
  if (from.headers.has("Upgrade"))
    co_await forward_stream(exchange, std::move(way), std::move(ask));
  else
    co_await forward_reply(exchange, std::move(way), std::move(ask));
}

Task<void> ServerPeers::forward_reply(io::HttpExchange& exchange, Way way, io::HttpRequest ask) {
  const auto soon = exchange.context().with_deadline(deps_.runtime.executor().now() + kOpenWithin);
  auto reply = co_await way.client.open(soon, std::move(ask));
  if (!reply) {
    (void)co_await exchange.reply(failure_reply(unreachable(way.node, way.address, reply.error().message)));
    co_return;
  }
  io::HttpResponse head;
  head.status = (*reply)->status();
  for (const auto& [name, value] : (*reply)->headers().all())
    if (!is_own_header(name)) head.headers.add(name, value);
  if (!co_await exchange.start(std::move(head))) co_return;
  std::string piece;
  for (;;) {
    piece.clear();
    const auto n = co_await (*reply)->body().read_some(exchange.context(), piece);
    // Without the end of the chunked body the client knows that there was more.
    if (!n) co_return;
    if (*n == 0) break;
    if (!co_await exchange.write(piece)) co_return;
  }
  (void)co_await exchange.finish();
}

Task<void> ServerPeers::forward_stream(io::HttpExchange& exchange, Way way, io::HttpRequest ask) {
  ask.headers.set("Connection", "Upgrade");
  io::Headers headers;
  const auto soon = exchange.context().with_deadline(deps_.runtime.executor().now() + kOpenWithin);
  auto there = co_await way.client.upgrade(soon, std::move(ask), &headers);
  if (!there) {
    const bool has_answered = !headers.all().empty();
    (void)co_await exchange.reply(failure_reply(
        has_answered ? there.error() : unreachable(way.node, way.address, there.error().message)));
    co_return;
  }
  SessionTail tail(headers.get("Sec-WebSocket-Protocol"));
  io::Headers answer;
  for (const auto& [name, value] : headers.all())
    if (!is_own_header(name)) answer.add(name, value);
  auto here = co_await exchange.upgrade(std::move(answer));
  if (!here) co_return;
  // When one direction has ended, so has the conversation.
  TaskGroup pumps(deps_.runtime.executor());
  Event ended(deps_.runtime.executor());
  bool is_cut = false;
  pumps.spawn(pump_to(**here, **there, pumps.context(), ended));
  pumps.spawn(pump_back(deps_.runtime.executor(), **there, **here, pumps.context(), tail, is_cut, ended));
  // The server that stops waits for this before it stops what `tasks_` are.
  (void)co_await ended.wait(exchange.context());
  co_await pumps.stop();
  const bool is_stopping = exchange.context().cancel.is_cancelled();
  std::string last;
  if (is_stopping)
    last = tail.last_words("the server is stopping");
  else if (is_cut)
    last = tail.last_words(
        fmt::format("the server at {}, through which node {} is reached, went away", way.address, way.node));
  if (!last.empty())
    (void)co_await (*here)->write_all(CallContext{}.with_deadline(deps_.runtime.executor().now() + kGoodbye),
                                      last);
  (*here)->close();
  (*there)->close();
}

}  // namespace neap::app
