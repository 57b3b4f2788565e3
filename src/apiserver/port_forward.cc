#include <fmt/format.h>

#include <charconv>
#include <map>

#include "internal/session_bridge.h"
#include "neap/base/task_group.h"
#include "neap/io/spdy_connection.h"

namespace neap::apiserver {
namespace {

constexpr std::size_t kPieceBytes = 64u << 10;
constexpr std::size_t kUnpairedMax = 32, kForwardsMax = 128;
constexpr Duration kGoodbye = 5s, kLinger = 1s;

// kubectl opens two streams for each connection, for what went wrong and for the bytes, and gives both the
// same requestid.
struct Pair {
  std::unique_ptr<io::SpdyStream> error, data;
};

Task<void> copy(CallContext ctx, io::Stream& from, io::Stream& to, CancelSource& failed) {
  std::string piece;
  for (;;) {
    piece.clear();
    const auto n = co_await from.read_some(ctx, piece, kPieceBytes);
    if (n && *n == 0) break;
    if (!n || !co_await to.write_all(ctx, piece)) {
      failed.cancel();
      co_return;
    }
  }
  (void)co_await to.shutdown_write();
}

class PortForward {
 public:
  PortForward(io::Runtime& runtime, SessionSource& source, SessionQuery query,
              std::unique_ptr<io::Stream> transport, SessionCheck still_allowed)
      : runtime_(runtime),
        source_(source),
        query_(std::move(query)),
        connection_(runtime, std::move(transport), {}),
        still_allowed_(std::move(still_allowed)),
        tasks_(runtime.executor()),
        forwards_(runtime.executor()) {}

  Task<void> run(CallContext ctx, std::unique_ptr<io::Stream> allowed) {
    CancelSource over(ctx.cancel);
    const auto inner = ctx.with_cancel(over.token());
    tasks_.spawn(serve(inner, over));
    tasks_.spawn(watch(inner, *allowed, over));
    tasks_.spawn(keep_alive(inner, over));
    tasks_.spawn(keep_asking(inner, over));
    for (;;) {
      auto stream = co_await connection_.accept(inner);
      if (!stream || !*stream) break;
      co_await take(inner, *std::move(stream));
    }
    over.cancel();
    co_await forwards_.stop();
    (void)co_await connection_.go_away(CallContext{}.with_deadline(runtime_.executor().now() + kGoodbye));
    allowed->close();
    co_await tasks_.stop();
  }

 private:
  Task<void> serve(CallContext ctx, CancelSource& over) {
    (void)co_await connection_.run(std::move(ctx));
    over.cancel();
  }
  // The node's word ends with the work, or with the node.
  static Task<void> watch(CallContext ctx, io::Stream& allowed, CancelSource& over) {
    std::string ignored;
    (void)co_await allowed.read_some(std::move(ctx), ignored, 1024);
    over.cancel();
  }
  Task<void> keep_alive(CallContext ctx, CancelSource& over) {
    while (co_await sleep_for(runtime_.executor(), ctx, kSessionCheck))
      if (!co_await connection_.ping(ctx)) break;
    over.cancel();
  }
  // The connections are told why, then the client goes.
  Task<void> keep_asking(CallContext ctx, CancelSource& over) {
    while (co_await sleep_for(runtime_.executor(), ctx, kSessionCheck)) {
      const auto still = co_await still_allowed_();
      if (still || ctx.cancel.is_cancelled()) continue;
      refused_ = still.error().message;
      co_await forwards_.stop();
      break;
    }
    over.cancel();
  }
  Task<void> take(CallContext ctx, std::unique_ptr<io::SpdyStream> stream) {
    const auto type = std::string(stream->header("streamtype"));
    const auto id = std::string(stream->header("requestid"));
    const bool is_known = type == "error" || type == "data";
    // Nobody reads what a client says there, and it must not fill up and hold the connection.
    if (type == "error") stream->close();
    if (!is_known || !refused_.empty() || (pairs_.size() >= kUnpairedMax && !pairs_.contains(id))) {
      (void)co_await stream->reset(ctx);
      co_return;
    }
    auto& pair = pairs_[id];
    (type == "data" ? pair.data : pair.error) = std::move(stream);
    if (!pair.data || !pair.error) co_return;
    // A client that resets what it opened makes room for more streams, not for more connections to the node.
    if (forwards_.running() >= kForwardsMax) {
      (void)co_await pair.data->reset(ctx);
      (void)co_await pair.error->reset(ctx);
      pairs_.erase(id);
      co_return;
    }
    forwards_.spawn(forward(forwards_.context(), std::move(pair)));
    pairs_.erase(id);
  }
  Task<void> forward(CallContext ctx, Pair pair) {
    const auto text = pair.data->header("port");
    auto query = query_;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), query.port);
    const bool is_port = error == std::errc() && end == text.data() + text.size() && query.port != 0;
    Result<std::unique_ptr<io::Stream>> node = fail(Code::kInvalidArgument, "api.portforward.port",
                                                    fmt::format("\"{}\" is no port", text.substr(0, 16)));
    if (is_port) node = co_await source_.open_session(ctx, std::move(query));
    if (!node) {
      (void)co_await pair.error->write_all(
          ctx, fmt::format("error forwarding port {}: {}", text.substr(0, 16), node.error().message));
    } else {
      CancelSource failed(ctx.cancel);
      const auto inner = ctx.with_cancel(failed.token());
      TaskGroup sides(runtime_.executor());
      sides.spawn(copy(inner, *pair.data, **node, failed));
      co_await copy(inner, **node, *pair.data, failed);
      co_await linger(inner, sides);
      (*node)->close();
      failed.cancel();
      co_await sides.stop();
    }
    if (!refused_.empty())
      (void)co_await pair.error->write_all(CallContext{}.with_deadline(runtime_.executor().now() + kGoodbye),
                                           "the session was ended: " + refused_);
    (void)co_await pair.data->shutdown_write();
    (void)co_await pair.error->shutdown_write();
  }
  // Clients up to 1.2x close only when both their streams have ended, so the work's end is the connection's,
  // but for what is already under way to it.
  Task<void> linger(CallContext ctx, TaskGroup& sides) {
    const auto end = runtime_.executor().now() + kLinger;
    while (sides.running() > 0 && runtime_.executor().now() < end)
      if (!co_await sleep_for(runtime_.executor(), ctx, kLinger / 20)) break;
  }

  io::Runtime& runtime_;
  SessionSource& source_;
  SessionQuery query_;
  io::SpdyConnection connection_;
  SessionCheck still_allowed_;
  std::string refused_;  // why the session is ended
  std::map<std::string, Pair> pairs_;
  TaskGroup tasks_, forwards_;
};

}  // namespace

Task<void> forward_ports(CallContext ctx, io::Runtime& runtime, SessionSource& source, SessionQuery query,
                         std::unique_ptr<io::Stream> allowed, std::unique_ptr<io::Stream> transport,
                         SessionCheck still_allowed) {
  PortForward session(runtime, source, std::move(query), std::move(transport), std::move(still_allowed));
  co_await session.run(std::move(ctx), std::move(allowed));
}

}  // namespace neap::apiserver
