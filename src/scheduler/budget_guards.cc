// The ladders of budgets as guards: what a class of nodes may still be used for, the cheapest accelerator,
// and how much of a project runs at once.
#include <fmt/format.h>

#include <algorithm>

#include "internal/board.h"
#include "neap/finops/metering.h"

namespace neap::scheduler {
namespace {

using finops::BudgetAction;

bool is_job(const Request& request) {
  return request.kind == TaskKind::kTraining || request.kind == TaskKind::kBatch;
}

bool holds_one(const Node& node, const ReplicaResources& each) {
  return node.cores_allocatable >= each.cores && node.memory_allocatable >= each.memory &&
         std::int64_t(node.devices_free.size()) * 1000 >= each.accelerators.value;
}

}  // namespace

std::optional<Request> lower_to_budget(const Board& board, const Request& request, std::string& note) {
  if (request.replicas_min <= 0 || request.replicas_min >= request.replicas || !request.spread_sites.empty())
    return {};
  for (const auto& budget : board.budgets) {
    if (budget.budget.project != request.project) continue;
    const auto now = finops::evaluate_budget(budget.budget, budget.state, {});
    if (now.action < BudgetAction::kLowerConcurrency) continue;
    auto lowered = request;
    const int slice = request.topology ? std::max(1, request.topology->slice_replicas) : 1;
    lowered.replicas = std::min(request.replicas, (request.replicas_min + slice - 1) / slice * slice);
    note = fmt::format("{}: starts with {} of its {} replicas", now.sentence, lowered.replicas,
                       request.replicas);
    return lowered;
  }
  return {};
}

void check_budgets(const Board& board, const Request& request, const NodeClass& cls, ClassVerdict& verdict) {
  for (const auto& budget : board.budgets) {
    if (budget.budget.project != request.project) continue;
    if (!verdict.parts.cost_per_hour) {
      if (!budget.budget.is_hard) continue;
      verdict.refuse(
          Guard::kBudget,
          fmt::format("budget {} cannot be kept: the price book has no price for {} capacity at {}",
                      budget.budget.name, policy::capacity_type_name(cls.capacity_type),
                      board.sites[cls.site]->name));
      continue;
    }
    const auto duration_ms =
        std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(
                                      request.duration_estimate.value_or(budget.open_ended))
                                      .count());
    const auto compute =
        finops::multiply_divide(verdict.parts.cost_per_hour->value, duration_ms, 1, 3'600'000);
    const MoneyMicros asked{compute ? *compute + verdict.parts.egress_cost.value : INT64_MAX / 4};
    const auto answer = finops::evaluate_budget(budget.budget, budget.state, asked);
    if (!answer.admits) verdict.refuse(Guard::kBudget, answer.sentence);
    const bool is_bought =
        cls.capacity_type == CapacityType::kOnDemand || cls.capacity_type == CapacityType::kReserved;
    if (answer.action >= BudgetAction::kSpotOnly && is_bought)
      verdict.refuse(Guard::kBudget, fmt::format("{}: {} capacity is no longer bought", answer.sentence,
                                                 policy::capacity_type_name(cls.capacity_type)));
    if (answer.action >= BudgetAction::kCheaperAccelerator) verdict.cheapest_only = answer.sentence;
    if (answer.action >= BudgetAction::kLowerConcurrency && is_job(request) &&
        budget.jobs_running >= kJobsAtLowerConcurrency)
      verdict.refuse(
          Guard::kBudget,
          fmt::format("{}: {} jobs of project {} hold a place, and another one starts when fewer "
                      "than {} do",
                      answer.sentence, budget.jobs_running, request.project, kJobsAtLowerConcurrency));
  }
}

// Where one model is named, nothing says what else would do: it is measured against all that are large
// enough.
void keep_to_cheapest_accelerator(const Context& context, Ask& ask) {
  const Board& board = *context.board;
  const auto& request = ask.request;
  auto& verdicts = ask.class_verdicts;
  if (request.each.accelerators.value == 0 ||
      std::ranges::all_of(verdicts, [](const auto& verdict) { return verdict.cheapest_only.empty(); }))
    return;
  const bool names_one = !request.each.accelerator_model.empty() && request.accelerator_alternatives.empty();
  const NodeClass* cheapest = nullptr;
  std::int64_t least = INT64_MAX;
  for (std::uint32_t n = 0; n < board.nodes.size(); ++n) {
    const auto& verdict = verdicts[board.node_class[n]];
    const bool is_open = verdict.guard == Guard::kNone || (names_one && verdict.lacks_only_model);
    if (!is_open || !verdict.parts.cost_per_hour || verdict.parts.cost_per_hour->value >= least ||
        !holds_one(*board.nodes[n], request.each))
      continue;
    const auto guard = check_node(context, ask, n);
    if (guard >= Guard::kNodeExcluded && guard <= Guard::kPolicyError) continue;
    least = verdict.parts.cost_per_hour->value;
    cheapest = &board.classes[board.node_class[n]];
  }
  if (!cheapest) return;
  for (std::size_t c = 0; c < verdicts.size(); ++c) {
    auto& verdict = verdicts[c];
    const auto& model = board.classes[c].accelerator_model;
    if (verdict.guard != Guard::kNone || verdict.cheapest_only.empty() || !verdict.parts.cost_per_hour ||
        model == cheapest->accelerator_model || verdict.parts.cost_per_hour->value == least)
      continue;
    verdict.refuse(
        Guard::kBudget,
        fmt::format("{}: only the cheapest accelerator that fits is used, {} at {} an hour and "
                    "not {} at {}{}",
                    verdict.cheapest_only, cheapest->accelerator_model, format_money(MoneyMicros{least}),
                    model, format_money(*verdict.parts.cost_per_hour),
                    names_one ? ", and the work names no other model that would do" : ""));
  }
}

bool count_job(std::vector<ProjectBudget>& budgets, const Request& request) {
  bool is_counted = false;
  if (!is_job(request)) return false;
  for (auto& budget : budgets)
    if (budget.budget.project == request.project) {
      ++budget.jobs_running;
      is_counted = true;
    }
  return is_counted;
}

}  // namespace neap::scheduler
