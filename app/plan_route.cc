#include "plan_route.h"

#include <fmt/format.h>

#include <charconv>

#include "neap/io/json_reply.h"

namespace neap::app {
namespace {

// A hundred years: what lies beyond is a mistake, and would overflow.
constexpr std::int64_t kMillisecondsMax = 100ll * 366 * 24 * 3600 * 1000;

Result<Duration> read_milliseconds(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!text.empty() &&
      (error != std::errc{} || end != text.data() + text.size() || value < 0 || value > kMillisecondsMax))
    return fail(Code::kInvalidArgument, "plan.milliseconds",
                fmt::format("`milliseconds` must be a whole number from 0 to {}", kMillisecondsMax));
  return Duration(std::chrono::milliseconds(value));
}

}  // namespace

Task<void> serve_plan(io::HttpExchange& exchange, const controllers::ControlLoop& loop, ProjectRight right) {
  const std::string asked(exchange.request().query_value("project"));
  const std::string project = asked.empty() ? "default" : asked;
  if (exchange.request().path == "/neap/v1/plan/repack") {
    const std::string job(exchange.request().query_value("job"));
    co_return co_await io::reply_json(exchange, [&](Json) -> Task<Result<Json>> {
      NEAP_CO_TRY_VOID(right.check(project));
      co_return loop.repack_plan(project, job, [&](const std::string& p) { return right.may_read(p); });
    });
  }
  const auto duration = read_milliseconds(exchange.request().query_value("milliseconds"));
  co_await io::reply_json(exchange, [&loop, &project, &duration, &right](Json object) -> Task<Result<Json>> {
    if (!duration) co_return fail(duration.error());
    NEAP_CO_TRY_VOID(right.check(project));
    co_return loop.what_if(object, project, *duration);
  });
}

}  // namespace neap::app
