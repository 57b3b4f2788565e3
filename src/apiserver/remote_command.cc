#include <map>

#include "internal/session_bridge.h"
#include "neap/base/json.h"
#include "neap/base/task_group.h"
#include "neap/io/spdy_connection.h"
#include "neap/io/websocket.h"

namespace neap::apiserver {
namespace {

using io::Channel;

constexpr std::size_t kPieceBytes = 32u << 10;
constexpr Duration kStreamsWithin = 30s, kGoodbye = 5s;

// Each message is the channel's byte and what it carries.
class WebSocketClient final : public CommandClient {
 public:
  WebSocketClient(io::Runtime& runtime, std::unique_ptr<io::Stream> stream, bool has_end)
      : socket_(runtime, std::move(stream), {}), has_end_(has_end) {}
  Task<void> pump_to(CallContext ctx, io::ChannelStream& node) override {
    for (;;) {
      auto message = co_await socket_.read(ctx);
      if (!message || !*message) co_return;
      const auto& text = **message;
      if (text.empty()) continue;
      const auto channel = Channel(std::uint8_t(text.front()));
      const bool is_known =
          channel == Channel::kInput || channel == Channel::kResize || (channel == Channel::kEnd && has_end_);
      if (!is_known) continue;
      if (!co_await node.write(ctx, channel, std::string_view(text).substr(1))) co_return;
    }
  }
  Task<Status> write(CallContext ctx, Channel channel, std::string_view bytes) override {
    std::string message(1, char(channel));
    message += bytes;
    co_return co_await socket_.write(std::move(ctx), message);
  }
  Task<Status> keep_alive(CallContext ctx) override { return socket_.ping(std::move(ctx)); }
  Task<void> finish(CallContext ctx) override { (void)co_await socket_.close(std::move(ctx), 1000, {}); }

 private:
  io::WebSocket socket_;
  bool has_end_;
};

// Each channel is a stream of the connection, which the client opens and names.
class SpdyClient final : public CommandClient {
 public:
  SpdyClient(io::Runtime& runtime, std::unique_ptr<io::Stream> stream, CommandChannels channels)
      : runtime_(runtime), connection_(runtime, std::move(stream), {}), streams_changed_(runtime.executor()) {
    wanted_[Channel::kStatus] = "error";
    if (channels.input) wanted_[Channel::kInput] = "stdin";
    if (channels.output) wanted_[Channel::kOutput] = "stdout";
    if (channels.errors) wanted_[Channel::kErrors] = "stderr";
    if (channels.terminal) wanted_[Channel::kResize] = "resize";
  }

  Task<void> pump_to(CallContext ctx, io::ChannelStream& node) override {
    TaskGroup tasks(runtime_.executor());
    CancelSource gone(ctx.cancel);
    const auto inner = ctx.with_cancel(gone.token());
    tasks.spawn(serve(inner, gone));
    if (co_await collect(inner)) {
      for (const auto channel : {Channel::kInput, Channel::kResize})
        if (const auto it = streams_.find(channel); it != streams_.end())
          tasks.spawn(pump(inner, *it->second, channel, node));
      while (!gone.token().is_cancelled())
        if (!co_await streams_changed_.wait(inner, streams_changed_.generation())) break;
    }
    gone.cancel();
    co_await tasks.stop();
  }
  Task<Status> write(CallContext ctx, Channel channel, std::string_view bytes) override {
    while (!is_complete_)
      NEAP_CO_TRY_VOID(co_await streams_changed_.wait(ctx, streams_changed_.generation()));
    const auto it = streams_.find(channel);
    if (it == streams_.end()) co_return ok();  // not asked for
    co_return co_await it->second->write_all(std::move(ctx), bytes);
  }
  Task<Status> keep_alive(CallContext ctx) override { return connection_.ping(std::move(ctx)); }
  Task<void> finish(CallContext ctx) override {
    for (const auto& [channel, stream] : streams_) (void)co_await stream->shutdown_write();
    (void)co_await connection_.go_away(std::move(ctx));
  }

 private:
  Task<void> serve(CallContext ctx, CancelSource& gone) {
    (void)co_await connection_.run(std::move(ctx));
    gone.cancel();
    streams_changed_.notify_all();
  }
  // True once each channel has its stream.
  Task<bool> collect(CallContext ctx) {
    const auto soon = ctx.with_deadline(runtime_.executor().now() + kStreamsWithin);
    while (streams_.size() < wanted_.size()) {
      auto stream = co_await connection_.accept(soon);
      if (!stream || !*stream) co_return false;
      const auto name = (*stream)->header("streamtype");
      for (const auto& [channel, wanted] : wanted_)
        if (wanted == name && !streams_.contains(channel)) {
          // What a client sends where nothing is awaited from it must not fill up and hold the connection.
          if (channel != Channel::kInput && channel != Channel::kResize) (*stream)->close();
          streams_[channel] = *std::move(stream);
          break;
        }
      if (*stream) (void)co_await (*stream)->reset(ctx);
    }
    is_complete_ = true;
    streams_changed_.notify_all();
    co_return true;
  }
  static Task<void> pump(CallContext ctx, io::Stream& from, Channel channel, io::ChannelStream& node) {
    std::string piece;
    for (;;) {
      piece.clear();
      const auto n = co_await from.read_some(ctx, piece, kPieceBytes);
      if (!n) co_return;
      if (*n == 0) break;
      if (!co_await node.write(ctx, channel, piece)) co_return;
    }
    if (channel == Channel::kInput)
      (void)co_await node.write(ctx, Channel::kEnd, std::string(1, char(Channel::kInput)));
  }

  io::Runtime& runtime_;
  io::SpdyConnection connection_;
  std::map<Channel, std::string> wanted_;
  std::map<Channel, std::unique_ptr<io::SpdyStream>> streams_;
  bool is_complete_ = false;
  Notifier streams_changed_;
};

std::string failure_status(std::string_view reason, int code, const std::string& message) {
  return to_text(JsonObject{{"kind", "Status"},
                            {"apiVersion", "v1"},
                            {"metadata", JsonObject()},
                            {"status", "Failure"},
                            {"reason", reason},
                            {"message", message},
                            {"code", code}});
}
std::string lost_status(const Error& error) {
  return failure_status("InternalError", 500, "the session broke off: " + error.message);
}

Task<void> take_input(CallContext ctx, CommandClient& client, io::ChannelStream& node, CancelSource& gone,
                      Event& left) {
  co_await client.pump_to(std::move(ctx), node);
  gone.cancel();
  left.set();
}

Task<void> keep_alive(CallContext ctx, Executor& executor, CommandClient& client, CancelSource& gone) {
  while (co_await sleep_for(executor, ctx, kSessionCheck))
    if (!co_await client.keep_alive(ctx)) break;
  gone.cancel();
}

Task<void> keep_asking(CallContext ctx, Executor& executor, SessionCheck still_allowed,
                       std::optional<Error>& refused, CancelSource& gone) {
  while (co_await sleep_for(executor, ctx, kSessionCheck)) {
    const auto still = co_await still_allowed();
    if (still || ctx.cancel.is_cancelled()) continue;
    refused = still.error();
    break;
  }
  gone.cancel();
}

}  // namespace

std::unique_ptr<CommandClient> make_websocket_client(io::Runtime& runtime, std::unique_ptr<io::Stream> stream,
                                                     bool has_end) {
  return std::make_unique<WebSocketClient>(runtime, std::move(stream), has_end);
}
std::unique_ptr<CommandClient> make_spdy_client(io::Runtime& runtime, std::unique_ptr<io::Stream> stream,
                                                CommandChannels channels) {
  return std::make_unique<SpdyClient>(runtime, std::move(stream), channels);
}

Task<void> bridge_command(CallContext ctx, io::Runtime& runtime, CommandClient& client, io::Stream& node,
                          SessionCheck still_allowed) {
  io::ChannelStream channels(runtime.executor(), node);
  TaskGroup tasks(runtime.executor());
  CancelSource gone(ctx.cancel);
  Event left(runtime.executor());
  const auto inner = ctx.with_cancel(gone.token());
  std::optional<Error> refused;
  tasks.spawn(take_input(tasks.context(), client, channels, gone, left));
  tasks.spawn(keep_alive(tasks.context(), runtime.executor(), client, gone));
  tasks.spawn(keep_asking(tasks.context(), runtime.executor(), std::move(still_allowed), refused, gone));
  bool has_status = false;
  for (;;) {
    auto message = co_await channels.read(inner);
    if (inner.cancel.is_cancelled()) break;
    if (!message || !*message) {
      const Error cut{Code::kUnavailable, "session.cut", "the node ended the connection", {}};
      if (!has_status)
        (void)co_await client.write(inner, Channel::kStatus, lost_status(message ? cut : message.error()));
      break;
    }
    has_status = has_status || (*message)->channel == Channel::kStatus;
    // Only a sign of life of the node's.
    if ((*message)->bytes.empty() && (*message)->channel == Channel::kOutput) continue;
    if (!co_await client.write(inner, (*message)->channel, (*message)->bytes)) break;
  }
  const auto soon = CallContext{}.with_deadline(runtime.executor().now() + kGoodbye);
  if (refused && !has_status)
    (void)co_await client.write(
        soon, Channel::kStatus,
        failure_status("Forbidden", 403, "the session was ended: " + refused->message));
  // Without a Status clients take the end for a success.
  else if (ctx.cancel.is_cancelled() && !has_status)
    (void)co_await client.write(
        soon, Channel::kStatus,
        failure_status("ServiceUnavailable", 503,
                       "the session broke off: the server is stopping; start it again"));
  if (!left.is_set()) {
    co_await client.finish(soon);
    (void)co_await left.wait(soon);
  }
  node.close();
  co_await tasks.stop();
}

}  // namespace neap::apiserver
