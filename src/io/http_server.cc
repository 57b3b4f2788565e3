#include "internal/http_connection.h"

namespace neap::io {
namespace {

// Unread request bodies up to this size are read and dropped to save the connection.
constexpr std::uint64_t kDrainMax = 256u << 10;
// After a refusal, what the peer still sends is read for a while: closing at once would reset the
// connection and could destroy the reply on its way.
constexpr std::uint64_t kLingerMax = 1u << 20;
constexpr Duration kLingerTime = 2s;
// A handler that takes longer than this is told when its peer goes away.
constexpr Duration kWatchAfter = 250ms;
// TLS handshakes at work at once: whoever comes meanwhile waits in the kernel's queue, where it costs
// nothing, instead of making all of them late.
constexpr std::size_t kHandshakesMax = 256;
// A handshake that waits for its peer longer than this no longer holds back those behind it.
constexpr Duration kHandshakeTurn = 250ms;
// Bodies up to this size travel in the same write as their head.
constexpr std::size_t kJoinMax = 256u << 10;

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

struct HttpServer::Impl {
  Impl(Runtime& r, std::unique_ptr<Listener> l, HttpServerOptions o, HttpHandler h)
      : runtime(r),
        executor(r.executor()),
        listener(std::move(l)),
        options(std::move(o)),
        handler(std::move(h)),
        group(executor),
        drain(group.context().cancel),
        handshakes(executor, kHandshakesMax),
        local(listener->local()) {}

  struct Connection;
  class Exchange;
  class Rest;

  static Task<void> accept_loop(Impl& self);
  class Turn;
  static Task<void> serve(Impl& self, std::unique_ptr<Stream> stream, std::unique_ptr<Turn> turn);
  static Task<bool> serve_one(Impl& self, std::shared_ptr<Connection> connection, bool first);
  static Task<Result<HttpParser>> read_head(Impl& self, std::shared_ptr<Connection> connection, bool first);
  static Task<void> refuse(Impl& self, std::shared_ptr<Connection> connection, Error error);
  static Task<void> linger(Impl& self, std::shared_ptr<Connection> connection);
  const std::string& date();
  bool evict();
  void take_out(Connection& connection);

  Runtime& runtime;
  Executor& executor;
  std::unique_ptr<Listener> listener;
  HttpServerOptions options;
  HttpHandler handler;
  TaskGroup group;
  CancelSource drain;  // ends the wait for a next request
  Semaphore handshakes;
  std::vector<Connection*> resting;  // between two requests
  Endpoint local;
  bool stopping = false;
  bool ended = false;
  std::size_t open = 0;
  std::size_t leaving = 0;  // of them: evicted, and about to end
  std::string date_text;
  std::int64_t date_second = -1;
};

struct HttpServer::Impl::Connection {
  Connection(Executor& executor, std::unique_ptr<Stream> stream)
      : wire(std::make_shared<Wire>()), peer(stream->peer()), watch_ended(executor) {
    wire->stream = std::move(stream);
    watch_ended.set();
  }
  std::shared_ptr<Wire> wire;
  Endpoint peer;
  bool must_linger = false;
  bool is_leaving = false;
  std::optional<std::size_t> resting_at;  // in the server's list
  // The watcher: reads ahead while a handler is busy, to notice the peer's end.
  std::optional<CancelSource> watch_cancel;
  Event watch_ended;
};

// A permit to shake hands, given back when that is done or takes its time.
class HttpServer::Impl::Turn {
 public:
  Turn(Executor& executor, Semaphore::Permit permit)
      : executor_(executor),
        permit_(std::move(permit)),
        timer_(executor.post_at(executor.now() + kHandshakeTurn, [this] {
          timer_.reset();
          permit_.release();
        })) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (timer_) executor_.cancel_timer(*timer_);
  }

 private:
  Executor& executor_;
  Semaphore::Permit permit_;
  std::optional<TimerId> timer_;
};

// A member of the list of resting connections while it lives.
class HttpServer::Impl::Rest {
 public:
  Rest(Impl& server, Connection& connection) : server_(server), connection_(connection) {
    connection_.resting_at = server_.resting.size();
    server_.resting.push_back(&connection_);
  }
  Rest(const Rest&) = delete;
  Rest& operator=(const Rest&) = delete;
  ~Rest() {
    if (connection_.resting_at) server_.take_out(connection_);
  }

 private:
  Impl& server_;
  Connection& connection_;
};

void HttpServer::Impl::take_out(Connection& connection) {
  const auto at = *std::exchange(connection.resting_at, {});
  resting[at] = resting.back();
  resting.pop_back();
  if (at < resting.size()) resting[at]->resting_at = at;
}

// Ends a connection that rests, so that another has room; false when none does. By chance: many clients come
// in turn, and the one that has rested longest is the next that comes back.
bool HttpServer::Impl::evict() {
  if (resting.empty()) return false;
  Connection& one = *resting[runtime.random().below(resting.size())];
  take_out(one);
  one.is_leaving = true;
  ++leaving;
  one.wire->stream->close();
  return true;
}

const std::string& HttpServer::Impl::date() {
  const auto wall = runtime.clock().wall();
  const std::int64_t second = std::chrono::floor<std::chrono::seconds>(wall).time_since_epoch().count();
  if (second != date_second) {
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const auto day = std::chrono::floor<std::chrono::days>(wall);
    const std::chrono::year_month_day ymd(day);
    const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(wall - day));
    date_text =
        fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(day).c_encoding()],
                    unsigned(ymd.day()), kMonths[unsigned(ymd.month()) - 1], int(ymd.year()),
                    time.hours().count(), time.minutes().count(), time.seconds().count());
    date_second = second;
  }
  return date_text;
}

class HttpServer::Impl::Exchange final : public HttpExchange {
 public:
  Exchange(Impl& server, std::shared_ptr<Connection> connection, HttpParser parser, HttpRequest request)
      : server_(server),
        connection_(std::move(connection)),
        request_(std::move(request)),
        cancel_(server.group.context().cancel),
        body_(body_setup(std::move(parser))) {}
  ~Exchange() override {
    if (watch_timer_) server_.executor.cancel_timer(*watch_timer_);
  }

  const HttpRequest& request() const override { return request_; }
  BodyReader& body() override { return body_; }
  CallContext context() const override {
    return CallContext{.deadline = {},
                       .cancel = cancel_.token(),
                       .trace_id = std::string(request_.headers.get("traceparent"))};
  }
  const PeerCertificate* peer_certificate() const override {
    return connection_->wire->stream ? connection_->wire->stream->peer_certificate() : nullptr;
  }
  Endpoint peer() const override { return connection_->peer; }
  bool has_started() const override { return started_; }

  Task<Status> reply(HttpResponse response) override {
    NEAP_CO_TRY_VOID(check_unstarted());
    std::string out;
    const bool bodiless = has_no_body(response.status);
    if (!bodiless) response.headers.set("Content-Length", std::to_string(response.body.size()));
    NEAP_CO_TRY_VOID(write_head(out, response));
    started_ = finished_ = true;
    const bool send_body = !bodiless && request_.method != "HEAD";
    if (send_body && response.body.size() <= kJoinMax) {
      out += response.body;
      co_return co_await send(out);
    }
    NEAP_CO_TRY_VOID(co_await send(out));
    if (send_body) co_return co_await send(response.body);
    co_return ok();
  }

  Task<Status> start(HttpResponse response) override {
    NEAP_CO_TRY_VOID(check_unstarted());
    if (const auto length = response.headers.get("Content-Length"); !length.empty()) {
      std::uint64_t value = 0;
      for (const char c : length) {
        if (c < '0' || c > '9' || value > (UINT64_MAX >> 8))
          co_return fail(Code::kInvalidArgument, "http.header.invalid",
                         "the reply's Content-Length is not a number");
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
      }
      promised_ = value;
    } else if (!has_no_body(response.status)) {
      if (http10_)
        close_after_ = true;  // HTTP/1.0 knows no chunks: the end of the connection ends the body
      else
        response.headers.set("Transfer-Encoding", "chunked"), chunked_ = true;
    }
    silent_ = request_.method == "HEAD" || has_no_body(response.status);
    std::string out;
    NEAP_CO_TRY_VOID(write_head(out, response));
    started_ = true;
    if (!response.body.empty()) NEAP_CO_TRY_VOID(frame(out, response.body));
    NEAP_CO_TRY_VOID(co_await send(out));
    watch();
    co_return ok();
  }

  Task<Status> write(std::string_view piece) override {
    if (!started_ || finished_)
      co_return fail(Code::kFailedPrecondition, "http.reply.order",
                     "a piece can only be written between start and finish");
    if (piece.empty() || silent_) co_return ok();
    if (!chunked_) {
      NEAP_CO_TRY_VOID(account(piece.size()));
      co_return co_await send(piece);
    }
    std::string out;
    out.reserve(piece.size() + 24);
    append_chunk(out, piece);
    co_return co_await send(out);
  }

  Task<Status> finish() override {
    if (!started_ || finished_)
      co_return fail(Code::kFailedPrecondition, "http.reply.order", "finish needs a started reply");
    if (promised_ && !silent_ && sent_ != *promised_)
      co_return fail(Code::kFailedPrecondition, "http.reply.length",
                     fmt::format("the reply promised {} bytes and has {}", *promised_, sent_));
    finished_ = true;
    if (chunked_ && !silent_) co_return co_await send("0\r\n\r\n");
    co_return ok();
  }

  Task<Result<std::unique_ptr<Stream>>> upgrade(Headers headers) override {
    NEAP_CO_TRY_VOID(check_unstarted());
    if (!body_.is_done())
      co_return fail(Code::kFailedPrecondition, "http.upgrade.body",
                     "a request with an unread body cannot be upgraded");
    co_await stop_watching();
    HttpResponse response;
    response.status = 101;
    response.headers = std::move(headers);
    if (!response.headers.has("Connection")) response.headers.set("Connection", "Upgrade");
    upgrading_ = true;
    std::string out;
    NEAP_CO_TRY_VOID(write_head(out, response));
    started_ = finished_ = true;
    NEAP_CO_TRY_VOID(co_await send(out));
    upgraded_ = true;
    co_return release_stream(*connection_->wire);
  }

  // Tells the handler, through context(), when the peer goes away: from now on, or once it has read its body.
  void watch_later() {
    watch_timer_ = server_.executor.post_at(server_.executor.now() + kWatchAfter, [this] {
      watch_timer_.reset();
      if (!watch()) watch_later();
    });
  }

  // Completes what the handler left open; true when the connection can serve another request.
  Task<bool> settle() {
    if (watch_timer_) server_.executor.cancel_timer(*std::exchange(watch_timer_, {}));
    if (upgraded_) co_return false;
    co_await stop_watching();
    if (!started_) {
      const Error error =
          body_.failure()
              ? *body_.failure()
              : Error{Code::kInternal, "http.handler.silent", "the server has no answer to this request", {}};
      (void)co_await reply(json_error(error));
    }
    if (!finished_ || broken_) co_return false;
    if (!close_after_ && !body_.is_done() && !body_.is_untouched_offer()) {
      std::string dropped;
      const auto ctx = server_.group.context().with_deadline(server_.executor.now() + kLingerTime);
      for (std::uint64_t total = 0; !body_.is_done() && total <= kDrainMax;) {
        dropped.clear();
        const auto n = co_await body_.read_some(ctx, dropped);
        if (!n) break;
        total += *n;
      }
    }
    if (!body_.is_done()) {
      connection_->must_linger = true;
      co_return false;
    }
    co_return !close_after_;
  }

  void set_version(int version, bool keep_alive) {
    http10_ = version < 11;
    close_after_ = !keep_alive;
  }

 private:
  WireBody::Setup body_setup(HttpParser parser) {
    const MessageHead& head = parser.head();
    WireBody::Setup out{.executor = server_.executor,
                        .wire = connection_->wire,
                        .framing = head.framing,
                        .length = head.length,
                        .parser = nullptr,
                        .patience = server_.options.limits.idle_timeout,
                        .before_first_read = nullptr,
                        .on_end = nullptr};
    const auto expect = request_.headers.get("Expect");
    if (expect.size() == 12 && (expect[0] | 0x20) == '1' && head.version >= 11)
      out.before_first_read = [this] { return announce(); };
    out.parser = std::make_unique<HttpParser>(std::move(parser));
    return out;
  }
  Task<Status> announce() {
    if (started_) co_return ok();
    co_return co_await send("HTTP/1.1 100 Continue\r\n\r\n");
  }
  Status check_unstarted() const {
    if (started_)
      return fail(Code::kFailedPrecondition, "http.reply.order", "this request was already answered");
    return ok();
  }
  Status account(std::size_t n) {
    if (promised_ && sent_ + n > *promised_)
      return fail(Code::kFailedPrecondition, "http.reply.length",
                  fmt::format("the reply promised {} bytes and would get more", *promised_));
    sent_ += n;
    return ok();
  }
  Status frame(std::string& out, std::string_view piece) {
    if (silent_) return ok();
    if (chunked_) {
      append_chunk(out, piece);
      return ok();
    }
    NEAP_TRY_VOID(account(piece.size()));
    out += piece;
    return ok();
  }
  Status write_head(std::string& out, HttpResponse& response) {
    const bool hopeless_body =
        body_.is_untouched_offer() || (body_.framing() == Framing::kLength && body_.remaining() > kDrainMax);
    if (hopeless_body || server_.stopping) close_after_ = true;
    const auto connection = response.headers.get("Connection");
    if (connection == "close" || connection == "Close") close_after_ = true;
    out.reserve(256 + (response.body.size() <= kJoinMax ? response.body.size() : 0));
    fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status,
                   reason_phrase(response.status));
    NEAP_TRY_VOID(append_headers(out, response.headers));
    if (connection.empty() && close_after_)
      out += "Connection: close\r\n";
    else if (connection.empty() && http10_)
      out += "Connection: keep-alive\r\n";
    if (!upgrading_) {
      if (!response.headers.has("Date")) out.append("Date: ").append(server_.date()).append("\r\n");
      if (!response.headers.has("Server"))
        out.append("Server: ").append(server_.options.server_name).append("\r\n");
    }
    out += "\r\n";
    return ok();
  }
  Task<Status> send(std::string_view data) {
    if (!connection_->wire->stream)
      co_return fail(Code::kCancelled, "net.closed", "the connection was given away");
    auto status =
        co_await write_patiently(*connection_->wire->stream, server_.executor, server_.group.context(),
                                 server_.options.limits.idle_timeout, data);
    if (!status) {
      broken_ = true;
      cancel_.cancel();
    }
    co_return status;
  }

  // False when it cannot watch yet: the body is still to be read by the handler.
  bool watch() {
    if (connection_->watch_cancel) return true;
    if (!body_.is_done()) return false;
    if (!connection_->wire->pending().empty() || !connection_->wire->stream) return true;
    connection_->watch_cancel.emplace(server_.group.context().cancel);
    connection_->watch_ended.reset();
    if (!server_.group.spawn(watch_peer(connection_, connection_->watch_cancel->token(), cancel_)))
      connection_->watch_ended.set();
    return true;
  }
  static Task<void> watch_peer(std::shared_ptr<Connection> connection, CancelToken token,
                               CancelSource& gone) {
    const auto n =
        co_await fill(connection->wire, CallContext{.deadline = {}, .cancel = token, .trace_id = {}});
    // `gone` lives as long as the exchange, which waits for this task before it ends.
    if ((n && *n == 0) || (!n && n.error().code != Code::kCancelled)) gone.cancel();
    connection->watch_ended.set();
  }
  Task<void> stop_watching() {
    if (!connection_->watch_cancel) co_return;
    connection_->watch_cancel->cancel();
    (void)co_await connection_->watch_ended.wait({});
    connection_->watch_cancel.reset();
  }

  Impl& server_;
  std::shared_ptr<Connection> connection_;
  HttpRequest request_;
  CancelSource cancel_;
  WireBody body_;
  std::optional<TimerId> watch_timer_;
  bool started_ = false, finished_ = false, broken_ = false;
  bool chunked_ = false, silent_ = false, upgrading_ = false, upgraded_ = false;
  bool close_after_ = false, http10_ = false;
  std::optional<std::uint64_t> promised_;
  std::uint64_t sent_ = 0;
};

Task<void> HttpServer::Impl::accept_loop(Impl& self) {
  const auto ctx = self.group.context().with_cancel(self.drain.token());
  while (!self.stopping) {
    Semaphore::Permit permit;
    if (self.options.tls) {
      auto acquired = co_await self.handshakes.acquire(ctx);
      if (!acquired) co_return;
      permit = std::move(*acquired);
    }
    auto stream = co_await self.listener->accept(ctx);
    if (stream) {
      self.group.spawn(
          serve(self, std::move(*stream), std::make_unique<Turn>(self.executor, std::move(permit))));
      continue;
    }
    if (self.stopping || stream.error().code == Code::kCancelled) co_return;
    // Out of descriptors, most likely: a connection that rests gives its own, or one that ends.
    if (stream.error().code == Code::kResourceExhausted && self.evict()) continue;
    if (!co_await sleep_for(self.executor, self.group.context(), 50ms)) co_return;
  }
}

Task<void> HttpServer::Impl::serve(Impl& self, std::unique_ptr<Stream> stream, std::unique_ptr<Turn> turn) {
  struct Count {
    Impl& server;
    std::shared_ptr<Connection> connection;
    explicit Count(Impl& self_in) : server(self_in) { ++server.open; }
    ~Count() {
      --server.open;
      if (connection && connection->is_leaving) --server.leaving;
    }
  } count{self};
  const auto& limits = self.options.limits;
  const bool is_full = self.open - self.leaving > limits.connections_max && !self.evict();
  if (self.options.tls) {
    // A client that gave up while it waited costs no handshake.
    if (is_full || stream->has_ended()) co_return;
    auto secured =
        co_await tls_accept(self.group.context().with_deadline(self.executor.now() + limits.header_timeout),
                            std::move(stream), self.options.tls);
    if (!secured) co_return;
    stream = std::move(*secured);
    turn.reset();
  }
  auto connection = std::make_shared<Connection>(self.executor, std::move(stream));
  count.connection = connection;
  if (is_full) {
    co_await refuse(self, connection,
                    Error{Code::kUnavailable,
                          "http.connections.too_many",
                          "the server has as many connections as it takes; try again later",
                          {}});
  } else {
    for (bool first = true; co_await serve_one(self, connection, first);) first = false;
  }
  if (connection->must_linger) co_await linger(self, connection);
}

Task<Result<HttpParser>> HttpServer::Impl::read_head(Impl& self, std::shared_ptr<Connection> connection,
                                                     bool first) {
  const auto& limits = self.options.limits;
  HttpParser parser(HttpParser::Kind::kRequest, limits);
  Wire& wire = *connection->wire;
  // A new connection owes us a request; an old one may rest.
  bool waiting = wire.pending().empty();
  MonoTime deadline = self.executor.now() + (first || !waiting ? limits.header_timeout : limits.idle_timeout);
  for (;;) {
    if (!wire.pending().empty()) {
      if (waiting && !first) deadline = self.executor.now() + limits.header_timeout;
      waiting = false;
      std::size_t used = 0;
      NEAP_CO_TRY(const bool complete, parser.put_head(wire.pending(), used));
      if (complete) {
        wire.consume(used);
        co_return parser;
      }
    }
    auto ctx = self.group.context().with_deadline(deadline);
    if (waiting) ctx = ctx.with_cancel(self.drain.token());
    std::optional<Rest> rest;
    if (waiting && !first) rest.emplace(self, *connection);
    auto n = co_await fill(connection->wire, std::move(ctx));
    rest.reset();
    if (!n) {
      if (!waiting && n.error().code == Code::kDeadlineExceeded)
        co_return fail(Code::kDeadlineExceeded, "http.headers.timeout",
                       "the request's head did not arrive in time");
      co_return fail(Code::kCancelled, "http.connection.ended", "no further request came");
    }
    if (*n == 0) co_return fail(Code::kCancelled, "http.connection.ended", "no further request came");
  }
}

Task<void> HttpServer::Impl::refuse(Impl& self, std::shared_ptr<Connection> connection, Error error) {
  HttpResponse response = json_error(error);
  std::string out = fmt::format("HTTP/1.1 {} {}\r\nConnection: close\r\nContent-Length: {}\r\n",
                                response.status, reason_phrase(response.status), response.body.size());
  if (!append_headers(out, response.headers)) co_return;
  out += "\r\n";
  out += response.body;
  connection->must_linger = true;
  (void)co_await connection->wire->stream->write_all(
      self.group.context().with_deadline(self.executor.now() + kLingerTime), out);
}

Task<void> HttpServer::Impl::linger(Impl& self, std::shared_ptr<Connection> connection) {
  Wire& wire = *connection->wire;
  if (!wire.stream) co_return;
  // A peer that reads nothing must not hold the goodbye up.
  const auto stopped =
      self.group.context().cancel.on_cancel([kept = connection->wire] { kept->stream->close(); });
  struct Timer {
    Executor& executor;
    TimerId id;
    ~Timer() { executor.cancel_timer(id); }
  } timer{self.executor, self.executor.post_at(self.executor.now() + kLingerTime,
                                               [kept = connection->wire] { kept->stream->close(); })};
  (void)co_await wire.stream->shutdown_write();
  const auto ctx =
      self.group.context().with_deadline(self.executor.now() + kLingerTime).with_cancel(self.drain.token());
  std::string dropped;
  for (std::uint64_t total = 0; total < kLingerMax;) {
    dropped.clear();
    const auto n = co_await wire.stream->read_some(ctx, dropped, 64u << 10);
    if (!n || *n == 0) co_return;
    total += *n;
  }
}

namespace {
Status check_request(const MessageHead& head) {
  int hosts = 0;
  for (const auto& [name, value] : head.headers.all())
    if (name.size() == 4 && (name[0] | 0x20) == 'h' && (name[1] | 0x20) == 'o' && (name[2] | 0x20) == 's' &&
        (name[3] | 0x20) == 't')
      ++hosts;
  if (hosts > 1 || (hosts == 0 && head.version >= 11))
    return fail(Code::kInvalidArgument, "http.host.missing",
                "an HTTP/1.1 request has exactly one Host header");
  return ok();
}
}  // namespace

Task<bool> HttpServer::Impl::serve_one(Impl& self, std::shared_ptr<Connection> connection, bool first) {
  auto parser = co_await read_head(self, connection, first);
  if (!parser) {
    if (parser.error().reason != "http.connection.ended") co_await refuse(self, connection, parser.error());
    co_return false;
  }
  MessageHead& head = parser->head();
  HttpRequest request;
  auto status = check_request(head);
  if (status) {
    request.method = std::move(head.method);
    request.target = std::move(head.target);
    request.headers = std::move(head.headers);
    status = parse_target(request);
  }
  if (!status) {
    co_await refuse(self, connection, status.error());
    co_return false;
  }
  const int version = head.version;
  const bool keep_alive = head.keep_alive;
  Exchange exchange(self, connection, std::move(*parser), std::move(request));
  exchange.set_version(version, keep_alive);
  exchange.watch_later();
  co_await self.handler(exchange);
  co_return co_await exchange.settle() && !self.stopping;
}

HttpServer::HttpServer(Runtime& runtime, std::unique_ptr<Listener> listener, HttpServerOptions options,
                       HttpHandler handler)
    : impl_(std::make_unique<Impl>(runtime, std::move(listener), std::move(options), std::move(handler))) {}
HttpServer::~HttpServer() { abandon(); }

void HttpServer::start() { impl_->group.spawn(Impl::accept_loop(*impl_)); }
Endpoint HttpServer::local() const { return impl_->local; }
std::size_t HttpServer::open_connections() const { return impl_->open; }

Task<void> HttpServer::stop(Duration grace) {
  impl_->stopping = true;
  impl_->listener->close();
  impl_->drain.cancel();
  const MonoTime end = impl_->executor.now() + grace;
  while (impl_->group.running() > 0 && impl_->executor.now() < end)
    (void)co_await sleep_for(impl_->executor, {}, std::min<Duration>(5ms, grace));
  co_await impl_->group.stop();
}

void HttpServer::abandon() {
  impl_->stopping = true;
  impl_->listener->close();
  impl_->group.abandon();
}

}  // namespace neap::io
