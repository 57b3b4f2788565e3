#include "neap/agent/stream_relay.h"

#include <fmt/format.h>

#include "internal/stream_answer.h"
#include "neap/base/json.h"

namespace neap::agent {
namespace {

constexpr Duration kAnswerWithin = 45s;                  // the server lets a request wait 20 s
constexpr Duration kPauseFirst = 500ms, kPauseMax = 4s;  // shorter than readers wait for a node

StreamAsk parse_ask(const Json& item, WallTime now) {
  StreamAsk out{.id = std::string(get_string(item, "id")),
                .kind = std::string(get_string(item, "kind", "log")),
                .namespace_ = std::string(get_string(item, "namespace")),
                .name = std::string(get_string(item, "allocation")),
                .user = std::string(get_string(item, "user")),
                .tail_lines = get_int(item, "tailLines", -1),
                .since = {},
                .follow = get_bool(item, "follow"),
                .with_times = get_bool(item, "timestamps"),
                .command = {},
                .input = get_bool(item, "input"),
                .errors = get_bool(item, "errors"),
                .terminal = get_bool(item, "terminal"),
                .port = get_int(item, "port")};
  // By this node's clock, as the times of its logs are.
  if (const auto seconds = get_int(item, "sinceSeconds", -1); seconds >= 0)
    out.since = now - std::chrono::seconds(seconds);
  else if (const auto time = parse_rfc3339(get_string(item, "sinceTime")))
    out.since = *time;
  if (const auto* command = find_path(item, {"command"}); command && command->is_array())
    for (const auto& word : command->get_array())
      if (word.is_string()) out.command.emplace_back(word.get_string());
  return out;
}

// The subject, with the rule that lets the user see or reach it. A refusal by policy is on record.
Task<Result<WorkSubject>> permitted(const StreamRelay::Dependencies& deps, const StreamAsk& ask,
                                    std::string node, std::string server_site, std::string& rule) {
  auto subject = deps.find(ask.namespace_, ask.name);
  if (!subject)
    co_return fail(
        Code::kNotFound, "agent.log.unknown",
        fmt::format("node {} does not have allocation {}/{} any more", node, ask.namespace_, ask.name));
  subject->intent.purpose = ask.kind;
  auto allowed = deps.gate.permit_view(subject->intent, server_site, ask.user);
  if (!allowed) {
    NEAP_CO_TRY_VOID(co_await deps.gate.record_refusal(
        subject->intent, server_site, fmt::format("user {}: {}", ask.user, allowed.error().message)));
    co_return fail(std::move(allowed).error());
  }
  rule = *std::move(allowed);
  co_return *std::move(subject);
}

}  // namespace

Task<Status> check_still_permitted(const StreamAnswer& answer) {
  const auto& [deps, intent] = std::tie(answer.deps, answer.subject.intent);
  auto allowed = deps.gate.permit_view(intent, answer.server_site, answer.ask.user);
  if (allowed) co_return ok();
  auto recorded = co_await deps.gate.record_refusal(
      intent, answer.server_site,
      fmt::format("user {}, {} under way: {}", answer.ask.user, answer.ask.kind, allowed.error().message));
  if (!recorded) deps.log.error("a refusal is not on record", {telemetry::Field(recorded.error())});
  co_return fail(std::move(allowed).error());
}

std::string head_line(const Status& status) {
  JsonObject head{{"status", status ? 200 : http_status(status.error().code)}};
  if (!status) {
    head["reason"] = status.error().reason;
    head["message"] = status.error().message;
  }
  return to_text(head) + "\n";
}

Task<Status> refuse(CallContext ctx, io::Stream& stream, Error error) {
  NEAP_CO_TRY_VOID(co_await stream.write_all(ctx, head_line(fail(std::move(error)))));
  NEAP_CO_TRY_VOID(co_await stream.shutdown_write());
  // Closed by who reads, so that the refusal is not lost with the connection.
  std::string ignored;
  (void)co_await stream.read_some(ctx, ignored, 1024);
  co_return ok();
}

Json SessionRecord::entry(std::string_view type) const {
  const auto& [ask, intent] = std::tie(answer_.ask, answer_.subject.intent);
  JsonObject out{
      {"type", type},          {"session", ask.id},         {"kind", ask.kind},
      {"user", ask.user},      {"to", answer_.server_site}, {"level", api::enum_name(intent.level)},
      {"rule", answer_.rule},  {"project", intent.project}, {"owner", intent.owner},
      {"allocation", ask.name}};
  // Arguments may be secrets; which program it was is what an auditor asks first.
  if (!ask.command.empty()) out["program"] = ask.command.front();
  if (ask.port > 0) out["port"] = ask.port;
  return Json(std::move(out));
}

Task<Status> SessionRecord::begin() { return answer_.deps.gate.record_session(entry("session-start")); }

Task<void> SessionRecord::end(std::string how, std::uint64_t bytes_in, std::uint64_t bytes_out) {
  auto last = entry("session-end");
  auto& fields = last.get_object();
  fields["how"] = std::move(how);
  fields["bytesIn"] = bytes_in;
  fields["bytesOut"] = bytes_out;
  fields["seconds"] = to_seconds(answer_.executor().now() - started_);
  if (auto recorded = co_await answer_.deps.gate.record_session(std::move(last)); !recorded)
    answer_.deps.log.error("the end of a session is not on record", {telemetry::Field(recorded.error())});
}

StreamRelay::StreamRelay(Dependencies deps, std::string node, std::string server_site, Options options)
    : deps_(std::move(deps)),
      node_(std::move(node)),
      server_site_(std::move(server_site)),
      options_(options),
      tasks_(deps_.runtime.executor()) {}

void StreamRelay::start() { tasks_.spawn(keep_asking()); }
Task<void> StreamRelay::stop() { co_await tasks_.stop(); }

Task<Result<std::vector<StreamAsk>>> StreamRelay::fetch_asks() {
  io::HttpRequest request;
  request.method = "GET";
  request.target = "/agent/v1/nodes/" + node_ + "/streams";
  const auto ctx = tasks_.context().with_deadline(deps_.runtime.executor().now() + kAnswerWithin);
  NEAP_CO_TRY(const auto reply, co_await deps_.server.call(ctx, std::move(request)));
  if (reply.status != 200)
    co_return fail(code_of_http_status(reply.status), "agent.streams",
                   fmt::format("the server answered {}: {}", reply.status, reply.body.substr(0, 300)));
  NEAP_CO_TRY(const auto answer, parse_json(reply.body));
  std::vector<StreamAsk> out;
  if (const auto* list = find_path(answer, {"streams"}); list && list->is_array())
    for (const auto& item : list->get_array()) out.push_back(parse_ask(item, deps_.runtime.clock().wall()));
  co_return out;
}

Task<void> StreamRelay::keep_asking() {
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

Task<void> StreamRelay::serve(StreamAsk ask) {
  struct Place {
    std::size_t& open;
    explicit Place(std::size_t& count) : open(count) { ++open; }
    ~Place() { --open; }
  } place(open_);
  const bool is_too_many = open_ > kStreamsMax;
  io::HttpRequest request;
  request.method = "GET";
  request.target = fmt::format("/agent/v1/nodes/{}/streams/{}", node_, ask.id);
  request.headers.set("Upgrade", "neap-stream");
  const auto soon = tasks_.context().with_deadline(deps_.runtime.executor().now() + kAnswerWithin);
  auto stream = co_await deps_.server.upgrade(soon, std::move(request));
  if (!stream) {
    deps_.log.warning("what was asked of this node could not be sent",
                      {{"kind", ask.kind}, {"allocation", ask.name}, telemetry::Field(stream.error())});
    co_return;
  }
  (void)co_await answer(tasks_.context(), **stream, std::move(ask), is_too_many);
  (*stream)->close();
}

Task<Status> StreamRelay::answer(CallContext ctx, io::Stream& stream, StreamAsk ask, bool is_too_many) {
  const auto soon = [this](const CallContext& c) {
    return c.with_deadline(deps_.runtime.executor().now() + kGoodbye);
  };
  std::string rule;
  Result<WorkSubject> subject =
      fail(Code::kResourceExhausted, "agent.log.busy",
           fmt::format("{} logs and sessions of node {} are under way; try again when one has ended",
                       kStreamsMax, node_));
  if (!is_too_many) subject = co_await permitted(deps_, ask, node_, server_site_, rule);
  if (!subject) co_return co_await refuse(soon(ctx), stream, subject.error());
  StreamAnswer under_way{.deps = deps_,
                         .options = options_,
                         .node = node_,
                         .server_site = server_site_,
                         .ask = ask,
                         .stream = stream,
                         .subject = *std::move(subject),
                         .rule = std::move(rule)};
  if (ask.kind == "log") co_return co_await show_log(ctx, under_way);
  if (ask.kind == "exec" || ask.kind == "attach") co_return co_await run_command(ctx, under_way);
  if (ask.kind == "port-forward") co_return co_await forward_port(ctx, under_way);
  co_return co_await refuse(soon(ctx), stream,
                            Error{Code::kUnimplemented,
                                  "agent.stream.kind",
                                  fmt::format("this agent does not know what \"{}\" is; update it", ask.kind),
                                  {}});
}

}  // namespace neap::agent
