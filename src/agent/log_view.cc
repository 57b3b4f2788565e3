#include "internal/crossing_meter.h"
#include "internal/stream_answer.h"
#include "neap/executor/log_reader.h"

namespace neap::agent {
namespace {

constexpr Duration kFollowInterval = 250ms;

Task<Status> copy(CallContext ctx, StreamAnswer& answer, CrossingMeter& meter) {
  const auto& ask = answer.ask;
  auto& stream = answer.stream;
  executor::LogReader reader(
      answer.deps.runtime.files(), answer.subject.directory,
      {.tail_lines = ask.tail_lines, .since = ask.since, .with_times = ask.with_times});
  bool said = false;
  auto check_at = answer.executor().now() + kPolicyCheck;
  for (;;) {
    if (answer.executor().now() >= check_at) {
      NEAP_CO_TRY_VOID(co_await check_still_permitted(answer));
      check_at = answer.executor().now() + kPolicyCheck;
    }
    const auto now = answer.deps.find(ask.namespace_, ask.name);
    const bool is_over = !now || now->has_ended;  // asked first: what comes after the end is read below
    auto piece = co_await answer.deps.runtime.offload([&reader] { return reader.next(); });
    const bool is_absent = !piece && piece.error().code == Code::kNotFound;
    if (is_absent && ask.follow && !is_over) piece = std::string();  // it may start to write
    if (!piece) {
      if (!said) NEAP_CO_TRY_VOID(co_await stream.write_all(ctx, head_line(fail(piece.error()))));
      co_return said ? Status(fail(std::move(piece).error())) : ok();
    }
    if (!std::exchange(said, true)) NEAP_CO_TRY_VOID(co_await stream.write_all(ctx, head_line(ok())));
    if (!piece->empty()) {
      NEAP_CO_TRY_VOID(co_await meter.before(piece->size()));
      NEAP_CO_TRY_VOID(co_await stream.write_all(ctx, *piece));
      continue;
    }
    if (!ask.follow || is_over) co_return ok();
    NEAP_CO_TRY_VOID(co_await meter.settle(false));
    NEAP_CO_TRY_VOID(co_await sleep_for(answer.executor(), ctx, kFollowInterval));
  }
}

// Cancels when the reader goes: it never sends anything.
Task<void> watch_for_end(io::Stream& stream, CallContext ctx, CancelSource& gone, Event& ended) {
  std::string ignored;
  (void)co_await stream.read_some(std::move(ctx), ignored, 1024);
  gone.cancel();
  ended.set();
}

}  // namespace

Task<Status> show_log(CallContext ctx, StreamAnswer& answer) {
  CancelSource gone(ctx.cancel);
  Event ended(answer.executor());
  CrossingMeter meter(answer.deps.gate, answer.executor(), answer.server_site, answer.rule,
                      answer.subject.intent);
  TaskGroup watching(answer.executor());
  watching.spawn(watch_for_end(answer.stream, watching.context(), gone, ended));
  const auto shown = co_await copy(ctx.with_cancel(gone.token()), answer, meter);
  if (auto recorded = co_await meter.settle(true); !recorded)
    answer.deps.log.error("a log's crossing is not on record", {telemetry::Field(recorded.error())});
  if (shown) {
    (void)co_await answer.stream.shutdown_write();
    // The reader closes when it has everything; nothing is sent after that.
    (void)co_await ended.wait(ctx.with_deadline(answer.executor().now() + kGoodbye));
  }
  co_await watching.stop();
  co_return shown;
}

}  // namespace neap::agent
