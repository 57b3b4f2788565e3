#include "neap/agent/log_relay.h"

#include <fmt/format.h>

#include "internal/crossing_meter.h"
#include "neap/base/json.h"
#include "neap/executor/log_reader.h"

namespace neap::agent {
namespace {

constexpr Duration kAnswerWithin = 45s;                  // the server lets a request wait 20 s
constexpr Duration kPauseFirst = 500ms, kPauseMax = 4s;  // shorter than readers wait for a node
constexpr Duration kFollowInterval = 250ms;
constexpr Duration kGoodbye = 5s;

std::string head_line(const Status& status) {
  JsonObject head{{"status", status ? 200 : http_status(status.error().code)}};
  if (!status) {
    head["reason"] = status.error().reason;
    head["message"] = status.error().message;
  }
  return to_text(head) + "\n";
}

// Cancels when the peer goes: it never sends anything.
Task<void> watch_for_end(io::Stream& stream, CallContext ctx, CancelSource& gone, Event& ended) {
  std::string ignored;
  (void)co_await stream.read_some(std::move(ctx), ignored, 1024);
  gone.cancel();
  ended.set();
}

}  // namespace

LogRelay::LogRelay(Dependencies deps, std::string node, std::string server_site)
    : deps_(std::move(deps)),
      node_(std::move(node)),
      server_site_(std::move(server_site)),
      tasks_(deps_.runtime.executor()) {}

void LogRelay::start() { tasks_.spawn(keep_asking()); }
Task<void> LogRelay::stop() { co_await tasks_.stop(); }

Task<Result<std::vector<LogRelay::Ask>>> LogRelay::fetch_asks() {
  io::HttpRequest request;
  request.method = "GET";
  request.target = "/agent/v1/nodes/" + node_ + "/streams";
  const auto ctx = tasks_.context().with_deadline(deps_.runtime.executor().now() + kAnswerWithin);
  NEAP_CO_TRY(const auto reply, co_await deps_.server.call(ctx, std::move(request)));
  if (reply.status != 200)
    co_return fail(code_of_http_status(reply.status), "agent.streams",
                   fmt::format("the server answered {}: {}", reply.status, reply.body.substr(0, 300)));
  NEAP_CO_TRY(const auto answer, parse_json(reply.body));
  std::vector<Ask> out;
  if (const auto* list = find_path(answer, {"streams"}); list && list->is_array())
    for (const auto& item : list->get_array())
      out.push_back({.id = std::string(get_string(item, "id")),
                     .namespace_ = std::string(get_string(item, "namespace")),
                     .name = std::string(get_string(item, "allocation")),
                     .user = std::string(get_string(item, "user")),
                     .tail_lines = get_int(item, "tailLines", -1),
                     .follow = get_bool(item, "follow")});
  co_return out;
}

Task<void> LogRelay::keep_asking() {
  Duration pause = kPauseFirst;
  for (;;) {
    auto asks = co_await fetch_asks();
    if (tasks_.context().cancel.is_cancelled()) co_return;
    if (!asks) {
      // Spread, so that nodes do not come back together after a restart of the server.
      const auto jitter =
          Duration(std::int64_t(deps_.runtime.random().below(std::uint64_t(pause.count() / 2 + 1))));
      if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(), pause / 2 + jitter)) co_return;
      pause = std::min(pause * 2, kPauseMax);
      continue;
    }
    pause = kPauseFirst;
    for (auto& ask : *asks) tasks_.spawn(serve(std::move(ask)));
  }
}

Task<void> LogRelay::serve(Ask ask) {
  struct Place {
    std::size_t& open;
    explicit Place(std::size_t& count) : open(count) { ++open; }
    ~Place() { --open; }
  } place(open_);
  const bool is_too_many = open_ > kLogStreamsMax;
  io::HttpRequest request;
  request.method = "GET";
  request.target = fmt::format("/agent/v1/nodes/{}/streams/{}", node_, ask.id);
  request.headers.set("Upgrade", "neap-stream");
  const auto soon = tasks_.context().with_deadline(deps_.runtime.executor().now() + kAnswerWithin);
  auto stream = co_await deps_.server.upgrade(soon, std::move(request));
  if (!stream) {
    deps_.log.warning("a log could not be sent",
                      {{"allocation", ask.name}, telemetry::Field(stream.error())});
    co_return;
  }
  CancelSource gone(tasks_.context().cancel);
  Event ended(deps_.runtime.executor());
  const auto ctx = tasks_.context().with_cancel(gone.token());
  if (!tasks_.spawn(watch_for_end(**stream, tasks_.context(), gone, ended))) co_return;
  if (const auto shown = co_await show(ctx, **stream, ask, is_too_many); shown)
    (void)co_await (*stream)->shutdown_write();
  else
    (*stream)->close();
  // The reader closes when it has everything; nothing is sent after that.
  (void)co_await ended.wait(CallContext{}.with_deadline(deps_.runtime.executor().now() + kGoodbye));
  (*stream)->close();
  while (!ended.is_set()) (void)co_await ended.wait({});
}

Task<Result<LogSubject>> LogRelay::permitted(const Ask& ask, bool is_too_many, std::string& rule) {
  if (is_too_many)
    co_return fail(Code::kResourceExhausted, "agent.log.busy",
                   fmt::format("{} logs of node {} are being read already; try again when one has ended",
                               kLogStreamsMax, node_));
  auto subject = deps_.find(ask.namespace_, ask.name);
  if (!subject)
    co_return fail(
        Code::kNotFound, "agent.log.unknown",
        fmt::format("node {} does not have allocation {}/{} any more", node_, ask.namespace_, ask.name));
  subject->intent.purpose = "log";
  auto allowed = deps_.gate.permit_view(subject->intent, server_site_, ask.user);
  if (!allowed) {
    NEAP_CO_TRY_VOID(co_await deps_.gate.record_refusal(
        subject->intent, server_site_, fmt::format("user {}: {}", ask.user, allowed.error().message)));
    co_return fail(std::move(allowed).error());
  }
  rule = *std::move(allowed);
  co_return *std::move(subject);
}

Task<Status> LogRelay::copy(CallContext ctx, io::Stream& stream, const Ask& ask, LogSubject subject,
                            CrossingMeter& meter) {
  executor::LogReader reader(deps_.runtime.files(), subject.directory, ask.tail_lines);
  bool said = false;
  for (;;) {
    const auto now = deps_.find(ask.namespace_, ask.name);
    const bool is_over = !now || now->has_ended;  // asked first: what comes after the end is read below
    auto piece = co_await deps_.runtime.offload([&reader] { return reader.next(); });
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
    NEAP_CO_TRY_VOID(co_await sleep_for(deps_.runtime.executor(), ctx, kFollowInterval));
  }
}

Task<Status> LogRelay::show(CallContext ctx, io::Stream& stream, const Ask& ask, bool is_too_many) {
  std::string rule;
  auto subject = co_await permitted(ask, is_too_many, rule);
  if (!subject) co_return co_await stream.write_all(ctx, head_line(fail(subject.error())));
  CrossingMeter meter(deps_.gate, deps_.runtime.executor(), server_site_, rule, subject->intent);
  const auto shown = co_await copy(ctx, stream, ask, *std::move(subject), meter);
  if (auto recorded = co_await meter.settle(true); !recorded)
    deps_.log.error("a log's crossing is not on record", {telemetry::Field(recorded.error())});
  co_return shown;
}

}  // namespace neap::agent
