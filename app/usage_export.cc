#include "usage_export.h"

#include <optional>

#include "ledger_stream.h"
#include "neap/controllers/metering.h"
#include "neap/controllers/prices.h"
#include "neap/finops/focus.h"

namespace neap::app {
namespace {

constexpr std::size_t kBatch = 1000;

struct Period {
  std::optional<WallTime> from, to;
  bool holds(WallTime at) const { return (!from || at >= *from) && (!to || at < *to); }
};

Result<std::optional<WallTime>> read_time(const io::HttpRequest& request, std::string_view name) {
  if (request.query_value(name).empty()) return std::nullopt;
  auto time = parse_rfc3339(request.query_value(name));
  if (!time) return fail(std::move(time).error(), fmt::format("query parameter `{}`", name));
  return *time;
}

Task<Result<std::string>> export_usage(io::HttpRequest request, ledger::Ledger& usage,
                                       const controllers::ClusterState& state, std::string billing_account,
                                       ProjectRight& right) {
  Period period;
  NEAP_CO_TRY(period.from, read_time(request, "from"));
  NEAP_CO_TRY(period.to, read_time(request, "to"));
  const auto project = request.query_value("project");
  if (!project.empty()) NEAP_CO_TRY_VOID(right.check(project));
  const auto prices = controllers::price_book_of(state);
  finops::FocusExport out({.billing_account = std::move(billing_account), .prices = &prices});
  for (std::uint64_t at = 0; at < usage.size();) {
    NEAP_CO_TRY(const auto entries, co_await usage.read(at, kBatch));
    if (entries.empty()) break;
    at = entries.back().sequence + 1;
    for (const auto& entry : entries) {
      const auto* lines = find_path(entry.body, {"lines"});
      const auto recorded = LedgerStream::recorded_at(entry.body, entry.time);
      if (!period.holds(recorded) || !lines || !lines->is_array()) continue;
      for (const auto& item : lines->get_array()) {
        NEAP_CO_TRY(const auto line, controllers::usage_line_from_json(item));
        if ((project.empty() || line.owner.project == project) && right.may_read(line.owner.project))
          NEAP_CO_TRY_VOID(out.add(line, recorded));
      }
    }
  }
  co_return out.to_csv();
}

}  // namespace

Task<void> serve_usage_export(io::HttpExchange& exchange, ledger::Ledger& usage,
                              const controllers::ClusterState& state, std::string billing_account,
                              ProjectRight right) {
  auto text = co_await export_usage(exchange.request(), usage, state, std::move(billing_account), right);
  io::HttpResponse response;
  if (text) {
    response.headers.set("Content-Type", "text/csv; charset=utf-8");
    response.body = *std::move(text);
  } else {
    response = io::json_error(text.error());
  }
  (void)co_await exchange.reply(std::move(response));
}

}  // namespace neap::app
