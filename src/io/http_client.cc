#include "internal/http_connection.h"
#include "neap/base/json.h"

namespace neap::io {
namespace {

constexpr std::size_t kJoinMax = 256u << 10;
constexpr std::size_t kRefusalBytesMax = 64u << 10;

bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS";
}

using Pieces = std::function<Task<Result<std::string>>()>;

// What is sent: a request with its body, or with pieces that are pulled while sending.
struct Outgoing {
  HttpRequest request;
  bool streams = false;
  std::optional<std::uint64_t> length;
  Pieces pieces;
};

// In the peer's own words where they are an error of ours (json_error) or a Status of Kubernetes.
Error refused_upgrade(const Endpoint& peer, int status, const std::string& body) {
  const auto code = status < 400 ? Code::kFailedPrecondition : code_of_http_status(status);
  if (const auto json = parse_json(body); json && json->is_object()) {
    const auto* details = find_path(*json, {"details"});
    const auto reason = details ? get_string(*details, "neapReason") : get_string(*json, "reason");
    const auto message = get_string(*json, json->get_object().contains("message") ? "message" : "error");
    if (!message.empty())
      return {code, std::string(reason.empty() ? "http.upgrade.refused" : reason), std::string(message), {}};
  }
  return {code,
          "http.upgrade.refused",
          fmt::format("{} refused the upgrade with status {}: {}", peer.to_string(), status,
                      body.substr(0, 4096)),
          {}};
}

}  // namespace

struct HttpClient::Impl {
  struct Pool {
    Pool(Runtime& r, Endpoint e, HttpClientOptions o)
        : runtime(r), executor(r.executor()), options(std::move(o)) {
      targets.push_back({std::move(e), options.tls});
      for (auto& other : options.alternates) targets.push_back(std::move(other));
      options.alternates.clear();
    }
    struct Idle {
      std::shared_ptr<Wire> wire;
      MonoTime since;
    };
    Runtime& runtime;
    Executor& executor;
    HttpClientOptions options;
    std::vector<HttpClientOptions::Alternate> targets;
    std::size_t at = 0;
    std::vector<Idle> idle;
    bool closed = false;

    const Endpoint& endpoint() const { return targets[at].endpoint; }
    const std::shared_ptr<TlsClientContext>& tls() const { return targets[at].tls; }
    // Leaves a server that failed, unless another call has left it already.
    void pass_on(std::size_t from) {
      if (targets.size() == 1 || at != from) return;
      at = (from + 1) % targets.size();
      idle.clear();
    }
    std::uint64_t identity() const { return tls() ? identity_generation(*tls()) : 0; }
    std::shared_ptr<Wire> take_idle() {
      const MonoTime oldest = executor.now() - options.limits.idle_timeout;
      while (!idle.empty()) {
        auto last = std::move(idle.back());
        idle.pop_back();
        if (last.since >= oldest && last.wire->identity == identity() && !last.wire->stream->has_ended())
          return last.wire;
      }
      return nullptr;
    }
    void give_back(std::shared_ptr<Wire> wire) {
      if (closed || !wire->stream || !wire->pending().empty() || options.idle_connections_max == 0) return;
      if (idle.size() >= options.idle_connections_max) idle.erase(idle.begin());
      idle.push_back({std::move(wire), executor.now()});
    }
  };
  using PoolPtr = std::shared_ptr<Pool>;

  // A connection whose reply's head has been read.
  struct Answered {
    std::shared_ptr<Wire> wire;
    std::unique_ptr<HttpParser> parser;
  };
  class Reply;

  static Task<Result<std::shared_ptr<Wire>>> connect(PoolPtr pool, CallContext ctx);
  static Task<Result<std::shared_ptr<Wire>>> connect_one(PoolPtr pool, CallContext ctx);
  static Task<Status> send(PoolPtr pool, std::shared_ptr<Wire> wire, CallContext ctx, Outgoing& outgoing);
  static Task<Result<std::unique_ptr<HttpParser>>> read_head(PoolPtr pool, std::shared_ptr<Wire> wire,
                                                             CallContext ctx, bool to_head, bool& got_bytes);
  static Task<Result<Answered>> exchange(PoolPtr pool, CallContext ctx, Outgoing& outgoing);
  static Task<Result<std::unique_ptr<HttpResponseStream>>> open(PoolPtr pool, CallContext ctx,
                                                                Outgoing outgoing);
  static Task<Result<HttpResponse>> call(PoolPtr pool, CallContext ctx, Outgoing outgoing);
  static Task<Result<std::unique_ptr<Stream>>> upgrade(PoolPtr pool, CallContext ctx, HttpRequest request,
                                                       Headers* headers);

  PoolPtr pool;
};

class HttpClient::Impl::Reply final : public HttpResponseStream {
 public:
  Reply(const PoolPtr& owner, Answered answered)
      : status_(answered.parser->head().status),
        headers_(std::move(answered.parser->head().headers)),
        body_(setup(owner, answered)) {
    if (body_.is_done() && answered_keeps_) owner->give_back(answered.wire);
  }
  int status() const override { return status_; }
  const Headers& headers() const override { return headers_; }
  BodyReader& body() override { return body_; }

 private:
  WireBody::Setup setup(const PoolPtr& owner, Answered& answered) {
    const MessageHead& head = answered.parser->head();
    answered_keeps_ = head.keep_alive && head.framing != Framing::kUntilEnd;
    WireBody::Setup out{.executor = owner->executor,
                        .wire = answered.wire,
                        .framing = head.framing,
                        .length = head.length,
                        .parser = nullptr,
                        .patience = Duration{0},
                        .before_first_read = nullptr,
                        .on_end = nullptr};
    if (answered_keeps_)
      out.on_end = [owner, weak = std::weak_ptr(answered.wire)] {
        if (auto wire = weak.lock()) owner->give_back(std::move(wire));
      };
    out.parser = std::move(answered.parser);
    return out;
  }
  int status_;
  Headers headers_;
  bool answered_keeps_ = false;
  WireBody body_;
};

Task<Result<std::shared_ptr<Wire>>> HttpClient::Impl::connect(PoolPtr pool, CallContext ctx) {
  for (std::size_t tries = 1;; ++tries) {
    const auto at = pool->at;
    auto wire = co_await connect_one(pool, ctx);
    if (wire || tries == pool->targets.size() || !ctx.check(pool->executor.now())) co_return wire;
    pool->pass_on(at);
  }
}

Task<Result<std::shared_ptr<Wire>>> HttpClient::Impl::connect_one(PoolPtr pool, CallContext ctx) {
  const auto endpoint = pool->endpoint();
  const auto tls = pool->tls();
  const auto bounded = ctx.with_deadline(pool->executor.now() + pool->options.connect_timeout);
  const auto identity = pool->identity();
  auto stream = co_await pool->runtime.network().connect(bounded, endpoint);
  if (stream && tls) stream = co_await tls_connect(bounded, std::move(*stream), tls);
  if (!stream) {
    Error error = std::move(stream).error();
    if (error.code == Code::kDeadlineExceeded && ctx.check(pool->executor.now()))
      error = Error{Code::kUnavailable,
                    "net.timeout",
                    fmt::format("{} did not answer within {}", endpoint.to_string(),
                                format_duration(pool->options.connect_timeout)),
                    {}};
    co_return fail(std::move(error), "connecting to " + endpoint.to_string());
  }
  auto wire = std::make_shared<Wire>();
  wire->stream = std::move(*stream);
  wire->identity = identity;
  co_return wire;
}

Task<Status> HttpClient::Impl::send(PoolPtr pool, std::shared_ptr<Wire> wire, CallContext ctx,
                                    Outgoing& outgoing) {
  const HttpRequest& request = outgoing.request;
  if (!is_token(request.method))
    co_return fail(Code::kInvalidArgument, "http.method.invalid", "the request's method is not a word");
  for (const char c : request.target)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f)
      co_return fail(Code::kInvalidArgument, "http.target.invalid",
                     "the request's target has a character that must be percent-encoded");
  if (!request.target.starts_with('/') && request.target != "*")
    co_return fail(Code::kInvalidArgument, "http.target.invalid",
                   "the request's target does not start with '/'");
  Headers headers = request.headers;
  std::string out = request.method;
  out.append(" ").append(request.target).append(" HTTP/1.1\r\n");
  if (!headers.has("Host"))
    out.append("Host: ")
        .append(pool->endpoint().unix_path.empty() ? pool->endpoint().to_string() : "localhost")
        .append("\r\n");
  headers.remove("Content-Length");
  headers.remove("Transfer-Encoding");
  const bool wants_length = !request.body.empty() || request.method == "POST" || request.method == "PUT" ||
                            request.method == "PATCH";
  if (outgoing.streams && !outgoing.length)
    out += "Transfer-Encoding: chunked\r\n";
  else if (outgoing.streams)
    out += fmt::format("Content-Length: {}\r\n", *outgoing.length);
  else if (wants_length)
    out += fmt::format("Content-Length: {}\r\n", request.body.size());
  NEAP_CO_TRY_VOID(append_headers(out, headers));
  out += "\r\n";
  if (!outgoing.streams) {
    if (request.body.size() <= kJoinMax) {
      out += request.body;
      co_return co_await wire->stream->write_all(ctx, out);
    }
    NEAP_CO_TRY_VOID(co_await wire->stream->write_all(ctx, out));
    co_return co_await wire->stream->write_all(ctx, request.body);
  }
  std::uint64_t sent = 0;
  for (;;) {
    NEAP_CO_TRY(auto piece, co_await outgoing.pieces());
    sent += piece.size();
    if (outgoing.length && (sent > *outgoing.length || (piece.empty() && sent < *outgoing.length)))
      co_return fail(Code::kFailedPrecondition, "http.upload.length",
                     fmt::format("the upload promised {} bytes and has {}", *outgoing.length, sent));
    if (!outgoing.length) {
      if (piece.empty())
        out += "0\r\n\r\n";
      else
        append_chunk(out, piece);
    } else {
      out += piece;
    }
    if (!out.empty()) NEAP_CO_TRY_VOID(co_await wire->stream->write_all(ctx, out));
    out.clear();
    if (piece.empty()) co_return ok();
  }
}

Task<Result<std::unique_ptr<HttpParser>>> HttpClient::Impl::read_head(PoolPtr pool,
                                                                      std::shared_ptr<Wire> wire,
                                                                      CallContext ctx, bool to_head,
                                                                      bool& got_bytes) {
  for (int interim = 0; interim < 8; ++interim) {
    auto parser = std::make_unique<HttpParser>(HttpParser::Kind::kResponse, pool->options.limits);
    if (to_head) parser->expect_no_body();
    for (;;) {
      if (!wire->pending().empty()) {
        got_bytes = true;
        std::size_t used = 0;
        NEAP_CO_TRY(const bool complete, parser->put_head(wire->pending(), used));
        if (complete) {
          wire->consume(used);
          break;
        }
      }
      NEAP_CO_TRY(const std::size_t n, co_await fill(wire, ctx));
      if (n == 0)
        co_return fail(Code::kUnavailable, "http.reply.missing",
                       fmt::format("{} ended the connection without a reply", pool->endpoint().to_string()));
    }
    const int status = parser->head().status;
    if (status >= 200 || status == 101) co_return parser;
  }
  co_return fail(Code::kInvalidArgument, "http.malformed", "the peer sends only interim replies");
}

Task<Result<HttpClient::Impl::Answered>> HttpClient::Impl::exchange(PoolPtr pool, CallContext ctx,
                                                                    Outgoing& outgoing) {
  for (bool may_reuse = true;; may_reuse = false) {
    auto wire = may_reuse ? pool->take_idle() : nullptr;
    const bool reused = wire != nullptr;
    if (!wire) {
      NEAP_CO_TRY(wire, co_await connect(pool, ctx));
    }
    bool got_bytes = false;
    const auto at = pool->at;
    auto sent = co_await send(pool, wire, ctx, outgoing);
    // A server that refuses a body may answer and close while we still send: its answer is worth more
    // than our broken pipe.
    const bool worth_reading = sent || sent.error().code == Code::kUnavailable;
    Result<std::unique_ptr<HttpParser>> parser = fail(sent ? Error{} : sent.error());
    if (worth_reading) {
      parser = co_await read_head(pool, wire, ctx, outgoing.request.method == "HEAD", got_bytes);
      if (!parser && !sent) parser = fail(sent.error());
    }
    if (parser) {
      if (!sent) (*parser)->head().keep_alive = false;
      co_return Answered{std::move(wire), std::move(*parser)};
    }
    const bool retry = reused && !got_bytes && !outgoing.streams && is_idempotent(outgoing.request.method) &&
                       parser.error().code == Code::kUnavailable;
    if (!retry) {
      const auto where = pool->targets[at].endpoint.to_string();
      const auto code = parser.error().code;
      if (code == Code::kUnavailable || code == Code::kDeadlineExceeded) pool->pass_on(at);
      co_return fail(std::move(parser).error(),
                     fmt::format("{} {} at {}", outgoing.request.method, outgoing.request.target, where));
    }
  }
}

Task<Result<std::unique_ptr<HttpResponseStream>>> HttpClient::Impl::open(PoolPtr pool, CallContext ctx,
                                                                         Outgoing outgoing) {
  NEAP_CO_TRY(auto answered, co_await exchange(pool, ctx, outgoing));
  co_return std::make_unique<Reply>(pool, std::move(answered));
}

Task<Result<HttpResponse>> HttpClient::Impl::call(PoolPtr pool, CallContext ctx, Outgoing outgoing) {
  NEAP_CO_TRY(auto reply, co_await open(pool, ctx, std::move(outgoing)));
  HttpResponse out;
  out.status = reply->status();
  out.headers = reply->headers();
  NEAP_CO_TRY(out.body, co_await reply->body().read_all(ctx, pool->options.limits.body_bytes_max));
  co_return out;
}

Task<Result<std::unique_ptr<Stream>>> HttpClient::Impl::upgrade(PoolPtr pool, CallContext ctx,
                                                                HttpRequest request, Headers* headers) {
  Outgoing outgoing{.request = std::move(request), .streams = false, .length = {}, .pieces = {}};
  if (!outgoing.request.headers.has("Connection")) outgoing.request.headers.set("Connection", "Upgrade");
  NEAP_CO_TRY(auto answered, co_await exchange(pool, ctx, outgoing));
  const int status = answered.parser->head().status;
  if (headers) *headers = answered.parser->head().headers;
  if (status == 101) co_return release_stream(*answered.wire);
  Reply reply(pool, std::move(answered));
  auto text = co_await reply.body().read_all(ctx, kRefusalBytesMax);
  co_return fail(refused_upgrade(pool->endpoint(), status, text ? *text : std::string()));
}

HttpClient::HttpClient(Runtime& runtime, Endpoint endpoint, HttpClientOptions options)
    : impl_(std::make_unique<Impl>()) {
  impl_->pool = std::make_shared<Impl::Pool>(runtime, std::move(endpoint), std::move(options));
}
HttpClient::~HttpClient() {
  impl_->pool->closed = true;
  impl_->pool->idle.clear();
}
Task<Result<HttpResponse>> HttpClient::call(CallContext ctx, HttpRequest request) {
  return Impl::call(impl_->pool, std::move(ctx),
                    Outgoing{.request = std::move(request), .streams = false, .length = {}, .pieces = {}});
}
Task<Result<std::unique_ptr<HttpResponseStream>>> HttpClient::open(CallContext ctx, HttpRequest request) {
  return Impl::open(impl_->pool, std::move(ctx),
                    Outgoing{.request = std::move(request), .streams = false, .length = {}, .pieces = {}});
}
Task<Result<HttpResponse>> HttpClient::upload(CallContext ctx, HttpRequest request,
                                              std::optional<std::uint64_t> length,
                                              std::function<Task<Result<std::string>>()> pieces) {
  return Impl::call(
      impl_->pool, std::move(ctx),
      Outgoing{
          .request = std::move(request), .streams = true, .length = length, .pieces = std::move(pieces)});
}
Task<Result<std::unique_ptr<Stream>>> HttpClient::upgrade(CallContext ctx, HttpRequest request,
                                                          Headers* headers) {
  return Impl::upgrade(impl_->pool, std::move(ctx), std::move(request), headers);
}
const Endpoint& HttpClient::endpoint() const { return impl_->pool->endpoint(); }
void HttpClient::close_idle() { impl_->pool->idle.clear(); }

}  // namespace neap::io
