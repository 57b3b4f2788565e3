// One connection to a port that the work listens on, or the word that there may be such connections.
#include <fmt/format.h>

#include "internal/crossing_meter.h"
#include "internal/stream_answer.h"
#include "neap/io/process_sockets.h"

namespace neap::agent {
namespace {

constexpr std::size_t kPieceBytes = 64u << 10;
constexpr Duration kConnectWithin = 5s, kAliveInterval = 1s;
constexpr std::int64_t kPortMax = 65'535;

class PortSession {
 public:
  explicit PortSession(StreamAnswer& answer)
      : answer_(answer),
        record_(answer),
        meter_(answer.deps.gate, answer.executor(), answer.server_site, answer.rule, answer.subject.intent),
        ended_(answer.executor()),
        tasks_(answer.executor()) {}
  Task<Status> run(CallContext ctx);
  // Says nothing more than that it may be, and ends when the work does.
  Task<Status> hold(CallContext ctx);
  bool is_running() const {
    const auto& programs = answer_.subject.programs;
    return programs && answer_.deps.processes.is_running(programs->id);
  }

 private:
  Task<Result<std::unique_ptr<io::Stream>>> reach_port(CallContext ctx);
  Task<void> copy_in(io::Stream& to);
  Task<void> copy_out(io::Stream& from);
  Task<void> watch_for_leaving();
  Task<void> watch_silence();
  Task<bool> check_rule();
  void side_ended() {
    if (++sides_ended_ == 2) end("closed");
  }
  void end(std::string how) {
    if (ended_.is_set()) return;
    how_ = std::move(how);
    ended_.set();
  }
  MonoTime now() const { return answer_.executor().now(); }

  StreamAnswer& answer_;
  SessionRecord record_;
  CrossingMeter meter_;
  std::string how_;
  std::uint64_t bytes_in_ = 0;
  int sides_ended_ = 0;
  MonoTime last_byte_{}, next_check_{};
  Event ended_;
  TaskGroup tasks_;
};

Task<Result<std::unique_ptr<io::Stream>>> PortSession::reach_port(CallContext ctx) {
  const auto port = answer_.ask.port;
  if (port < 1 || port > kPortMax)
    co_return fail(Code::kInvalidArgument, "agent.port.number", fmt::format("there is no port {}", port));
  const auto family = answer_.deps.processes.family(answer_.subject.programs->id);
  NEAP_CO_TRY(auto endpoint, co_await answer_.deps.runtime.offload([port, &family] {
    return io::find_loopback_listener(std::uint16_t(port), family);
  }));
  co_return co_await answer_.deps.runtime.network().connect(ctx.with_deadline(now() + kConnectWithin),
                                                            std::move(endpoint));
}

Task<void> PortSession::copy_in(io::Stream& to) {
  std::string piece;
  for (;;) {
    piece.clear();
    const auto n = co_await answer_.stream.read_some(tasks_.context(), piece, kPieceBytes);
    if (!n) {
      end("user left");
      co_return;
    }
    if (*n == 0) break;
    last_byte_ = now();
    bytes_in_ += *n;
    if (!co_await to.write_all(tasks_.context(), piece)) {
      end("closed by the work");
      co_return;
    }
  }
  (void)co_await to.shutdown_write();
  side_ended();
}

Task<void> PortSession::copy_out(io::Stream& from) {
  std::string piece;
  for (;;) {
    piece.clear();
    const auto n = co_await from.read_some(tasks_.context(), piece, kPieceBytes);
    if (!n) {
      end("closed by the work");
      co_return;
    }
    if (*n == 0) break;
    last_byte_ = now();
    if (!co_await meter_.before(*n) || !co_await answer_.stream.write_all(tasks_.context(), piece)) {
      end("link lost");
      co_return;
    }
  }
  (void)co_await answer_.stream.shutdown_write();
  side_ended();
}

// Ends with the work, and after a while without a byte.
Task<void> PortSession::watch_silence() {
  for (;;) {
    if (!is_running()) end("work ended");
    if (now() >= last_byte_ + answer_.options.session_idle) end("idle");
    if (ended_.is_set()) co_return;
    (void)co_await meter_.settle(false);
    if (!co_await check_rule()) co_return;
    if (!co_await sleep_for(answer_.executor(), tasks_.context(), kAliveInterval)) co_return;
  }
}

// False: it was the rule's end.
Task<bool> PortSession::check_rule() {
  if (now() < next_check_) co_return true;
  next_check_ = now() + kPolicyCheck;
  if (co_await check_still_permitted(answer_)) co_return true;
  end("not permitted any more");
  co_return false;
}

Task<void> PortSession::watch_for_leaving() {
  std::string ignored;
  (void)co_await answer_.stream.read_some(tasks_.context(), ignored, 1024);
  end("user left");
}

Task<Status> PortSession::hold(CallContext ctx) {
  NEAP_CO_TRY_VOID(co_await answer_.stream.write_all(ctx, head_line(ok())));
  tasks_.spawn(watch_for_leaving());
  while (is_running() && !ended_.is_set())
    if (const auto waited = co_await ended_.wait(ctx.with_deadline(now() + kAliveInterval));
        (!waited && waited.error().code == Code::kCancelled) || !co_await check_rule())
      break;
  co_await tasks_.stop();
  co_return ok();
}

Task<Status> PortSession::run(CallContext ctx) {
  const auto soon = [&] { return ctx.with_deadline(now() + kGoodbye); };
  if (auto begun = co_await record_.begin(); !begun)
    co_return co_await refuse(soon(), answer_.stream, begun.error());
  auto connection = co_await reach_port(ctx);
  if (!connection) {
    co_await record_.end("not connected: " + connection.error().reason, 0, 0);
    co_return co_await refuse(soon(), answer_.stream, connection.error());
  }
  last_byte_ = now();
  if (co_await answer_.stream.write_all(ctx, head_line(ok()))) {
    tasks_.spawn(copy_in(**connection));
    tasks_.spawn(copy_out(**connection));
    tasks_.spawn(watch_silence());
    if (!co_await ended_.wait(ctx)) end("agent stops");
  } else {
    end("link lost");
  }
  (*connection)->close();
  co_await tasks_.stop();
  if (auto recorded = co_await meter_.settle(true); !recorded)
    answer_.deps.log.error("a session's crossing is not on record", {telemetry::Field(recorded.error())});
  co_await record_.end(how_, bytes_in_, meter_.total());
  co_return ok();
}

}  // namespace

Task<Status> forward_port(CallContext ctx, StreamAnswer& answer) {
  PortSession session(answer);
  if (!session.is_running())
    co_return co_await refuse(
        ctx.with_deadline(answer.executor().now() + kGoodbye), answer.stream,
        Error{Code::kFailedPrecondition,
              "agent.session.ended",
              fmt::format("allocation {} does not run as a program of its own, so it has no ports",
                          answer.ask.name),
              {}});
  co_return answer.ask.port == 0 ? co_await session.hold(std::move(ctx))
                                 : co_await session.run(std::move(ctx));
}

}  // namespace neap::agent
