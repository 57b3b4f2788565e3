// GET .../namespaces/NS/allocations/NAME/log: the query as kubectl spells it, the answer as it comes from the
// node.
#include <fmt/format.h>

#include <charconv>

#include "internal/front.h"
#include "internal/pod_view.h"
#include "internal/session_bridge.h"

namespace neap::apiserver {
namespace {

Result<std::int64_t> read_count(const io::HttpRequest& request, std::string_view name) {
  const auto text = request.query_value(name);
  if (text.empty()) return -1;
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < 0)
    return fail(Code::kInvalidArgument, "api.query.number",
                fmt::format("the query parameter {} must be a whole number of at least 0", name));
  return out;
}

// A hundred years: more is a mistake, and the arithmetic of times stays in range.
constexpr std::int64_t kSinceSecondsMax = std::int64_t(100) * 366 * 86'400;

bool is_true(std::string_view text) { return text == "true" || text == "1"; }

Status check_supported(const io::HttpRequest& request) {
  if (is_true(request.query_value("previous")))
    return fail(
        Code::kNotFound, "api.log.previous",
        "previous terminated programs are not found: an allocation runs its programs once, and the run "
        "before it is an allocation of its own; see `neap get allocations`");
  if (const auto container = request.query_value("container");
      !container.empty() && container != kMainContainer)
    return fail(Code::kInvalidArgument, "api.log.container",
                fmt::format("container {} is not valid: the only one is \"{}\"", container.substr(0, 64),
                            kMainContainer));
  return ok();
}

}  // namespace

Result<LogRequest> parse_log_request(const io::HttpRequest& request) {
  NEAP_TRY_VOID(check_supported(request));
  LogRequest out;
  NEAP_TRY(out.query.tail_lines, read_count(request, "tailLines"));
  NEAP_TRY(const auto limit, read_count(request, "limitBytes"));
  if (limit > 0) out.bytes_max = std::uint64_t(limit);
  NEAP_TRY(const auto seconds, read_count(request, "sinceSeconds"));
  if (seconds > kSinceSecondsMax)
    return fail(Code::kInvalidArgument, "api.query.number",
                fmt::format("the query parameter sinceSeconds must be at most {}", kSinceSecondsMax));
  if (seconds >= 0) out.query.since_seconds = seconds;
  if (const auto text = request.query_value("sinceTime"); !text.empty()) {
    if (seconds >= 0)
      return fail(Code::kInvalidArgument, "api.log.since",
                  "at most one of sinceTime or sinceSeconds may be given");
    NEAP_TRY(out.query.since_time, parse_rfc3339(text));
  }
  out.query.timestamps = is_true(request.query_value("timestamps"));
  out.query.follow = is_true(request.query_value("follow"));
  return out;
}

Task<void> Front::handle_log(io::HttpExchange& exchange, Request request) {
  const auto decision = rest_.dependencies().authorizer.authorize(request.who, request.what);
  if (!decision.allowed) {
    const auto refusal = forbidden(request.who, request.what, decision.reason);
    co_await rest_.audit(request, 403, decision.reason);
    co_await send_failure(exchange, Failure(refusal.error()), request);
    co_return;
  }
  auto asked = parse_log_request(exchange.request());
  if (!asked) {
    co_await send_failure(exchange, Failure(asked.error()), request);
    co_return;
  }
  asked->query.namespace_ = request.what.namespace_;
  asked->query.allocation = request.what.name;
  asked->query.user = request.who.user;
  co_await stream_log(exchange, request, *std::move(asked));
}

Task<void> Front::stream_log(io::HttpExchange& exchange, const Request& request, LogRequest asked) {
  auto stream = co_await logs_->open_log(exchange.context(), std::move(asked.query));
  if (!stream) {
    const Failure failure(stream.error());
    if (stream.error().code == Code::kPermissionDenied)
      co_await rest_.audit(request, 403, stream.error().reason);
    co_await send_failure(exchange, failure, request);
    co_return;
  }
  io::HttpResponse head;
  head.headers.set("Content-Type", "text/plain; charset=utf-8");
  head.headers.set("Cache-Control", "no-cache, private");
  if (!co_await exchange.start(std::move(head))) co_return;
  std::string piece;
  const auto& executor = rest_.dependencies().runtime.executor();
  auto check_at = executor.now() + kSessionCheck;
  for (std::uint64_t left = asked.bytes_max; left > 0; left -= piece.size()) {
    piece.clear();
    // Without the end of the chunked body the client knows that there was more.
    if (executor.now() >= check_at) {
      if (!co_await check_session(request)) co_return;
      check_at = executor.now() + kSessionCheck;
    }
    const auto n = co_await (*stream)->read_some(exchange.context().with_deadline(check_at), piece);
    if (!n && n.error().code == Code::kDeadlineExceeded && executor.now() >= check_at) continue;
    if (!n) co_return;
    if (*n == 0) break;
    if (piece.size() > left) piece.resize(left);
    if (!co_await exchange.write(piece)) co_return;
  }
  co_await exchange.finish();
}

}  // namespace neap::apiserver
