// Budget: its status in each pass, and an event when its step of the ladder changes.
//
// The guards of placement keep the limits, from the same amounts; training_controller.cc obeys `pause`.
#include <fmt/format.h>

#include <algorithm>

#include "internal/event.h"
#include "internal/limits.h"
#include "internal/reconciler.h"
#include "neap/controllers/prices.h"

namespace neap::controllers {
namespace {

Task<Status> tell_step(const Pass& pass, const api::Budget& budget, bool is_warning) {
  const auto& meta = budget.metadata;
  const std::string step = budget.status.action.empty() ? "not-kept" : budget.status.action;
  co_return co_await tell(
      pass, {.name = fmt::format("{}.{}.{}", meta.name.substr(0, 200), step, meta.resourceVersion),
             .component = "neap-budgets",
             .reason = "BudgetStep",
             .message = budget.status.message,
             .is_warning = is_warning,
             .api_version = fmt::format("{}/{}", api::kGroup, api::kVersion),
             .kind = "Budget",
             .namespace_ = meta.namespace_,
             .object = meta.name,
             .uid = meta.uid});
}

api::BudgetStatus status_of(const Pass& pass, const scheduler::ProjectBudget& budget,
                            const std::string& project) {
  const auto now = pass.wall();
  const auto verdict = finops::evaluate_budget(budget.budget, budget.state, {});
  const auto period = finops::compute_period(budget.budget.period, now);
  auto action = verdict.action;
  // A hard limit that running work reached by going on longer than it said is a pause, whatever the ladder.
  if (budget.budget.is_hard && budget.state.spent > budget.budget.limit)
    action = finops::BudgetAction::kPause;
  api::BudgetStatus out;
  out.spent = format_money(budget.state.spent);
  out.committed = format_money(budget.state.committed);
  // By the full hour: it need not be written with every second that passes.
  const auto hour = std::chrono::floor<std::chrono::hours>(now);
  out.forecast = format_money(pass.spending ? pass.spending->outlook(project, period, hour).expected
                                            : finops::forecast(budget.state.spent, period, hour));
  out.percentUsed = verdict.percent_used;
  out.action = finops::budget_action_name(action);
  out.message =
      fmt::format("budget {}: {} spent and {} committed of {} ({} %), action {}", budget.budget.name,
                  out.spent, out.committed, format_money(budget.budget.limit), out.percentUsed, out.action);
  out.periodStart = period.start;
  out.periodEnd = period.end;
  return out;
}

Task<Status> reconcile_budget(const Pass& pass, const api::Budget& before,
                              const std::vector<Holding>& holdings, const finops::PriceBook& prices) {
  auto next = before;
  const auto judged = budget_of(pass, before, holdings, prices);
  if (judged) {
    next.status = status_of(pass, *judged, before.metadata.namespace_);
  } else {
    next.status = {};
    next.status.message = "not kept: " + judged.error().message;
  }
  next.status.observedGeneration = before.metadata.generation;
  if (same_object(next, before)) co_return ok();
  const bool is_step = next.status.action != before.status.action &&
                       !(before.status.action.empty() && next.status.action == "none");
  if (is_step) NEAP_CO_TRY_VOID(co_await tell_step(pass, next, next.status.action != "none"));
  co_return co_await write_status(pass, std::move(next));
}

}  // namespace

Task<Status> reconcile_budgets(const Pass& pass) {
  Status first_error;
  const auto note = [&first_error](Status status) {
    if (!status && first_error) first_error = std::move(status);
  };
  const auto& budgets = pass.state.all<api::Budget>();
  if (budgets.empty()) co_return ok();
  const auto holdings = holdings_of(pass, {});
  const auto prices = price_book_of(pass.state);
  for (const auto& [key, budget] : budgets)
    if (!budget.metadata.deletionTimestamp) note(co_await reconcile_budget(pass, budget, holdings, prices));
  co_return first_error;
}

}  // namespace neap::controllers
