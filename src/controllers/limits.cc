#include "internal/limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "internal/preemption.h"
#include "neap/base/saturate.h"
#include "neap/controllers/prices.h"

namespace neap::controllers {
namespace {

constexpr std::int64_t kHourMs = 3'600'000;

std::int64_t milliseconds_of(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

const api::TrainingJob* job_of(const Pass& pass, const Holding& holding) {
  if (holding.owner_kind != "TrainingJob") return nullptr;
  return pass.state.find<api::TrainingJob>(std::string(holding.project), std::string(holding.owner_name));
}

// As its agent says, up to a hundred years.
std::int64_t ran_of(const api::Allocation& allocation) {
  return whole_within(allocation.status.runSeconds * 1000, 0, 876'000 * kHourMs);
}

std::int64_t billed_of(const Pass& pass, const api::Allocation* allocation) {
  return pass.spending && allocation ? pass.spending->billed_milliseconds(allocation->metadata.uid) : 0;
}

// Run and not billed yet.
std::int64_t unbilled_of(const Pass& pass, const api::Allocation* allocation) {
  if (!allocation) return 0;
  return std::max<std::int64_t>(0, ran_of(*allocation) - billed_of(pass, allocation));
}

std::int64_t expected_of(const Pass& pass, const Holding& holding, Duration open_ended) {
  const auto unbilled = unbilled_of(pass, holding.allocation);
  if (const auto* job = job_of(pass, holding)) {
    const auto stated = milliseconds_of(job->spec.expectedDuration);
    if (stated <= 0) return unbilled + milliseconds_of(open_ended);
    const auto left = stated - billed_of(pass, holding.allocation);
    const auto ran = holding.allocation ? ran_of(*holding.allocation) : 0;
    return ran < stated ? left : unbilled + kHourMs;
  }
  if (holding.owner_kind != "InferenceService") return unbilled + milliseconds_of(kShortWork);
  return unbilled + milliseconds_of(open_ended);
}

MoneyMicros price_of(const Pass& pass, const finops::PriceBook& prices, const std::string& node_name,
                     const std::string& site, const api::Resources& resources, std::int64_t milliseconds) {
  const auto* node = pass.state.find<api::Node>("", node_name);
  finops::ResourceAmounts held;
  held.cores = resources.cpu;
  held.memory = resources.memory;
  for (const auto& [model, amount] : resources.accelerators) {
    held.accelerator_model = model;
    held.accelerators = amount;
  }
  // What was promised is known by the model that the work named first; a node's are all of one.
  if (node && node->status.allocatable.accelerators.size() == 1 &&
      !node->status.allocatable.accelerators.contains(held.accelerator_model))
    held.accelerator_model = node->status.allocatable.accelerators.begin()->first;
  const auto hourly =
      prices.compute_hourly(node ? node->spec.site : site,
                            node ? to_finops(node->spec.capacityType) : finops::CapacityType::kOwned, held);
  if (!hourly) return {};
  const auto cost = finops::multiply_divide(hourly->value, milliseconds, 1, kHourMs);
  return {cost ? *cost : INT64_MAX / 8};
}

void add(MoneyMicros& sum, MoneyMicros part) {
  if (__builtin_add_overflow(sum.value, part.value, &sum.value)) sum.value = INT64_MAX / 2;
}

MoneyMicros committed_of(const Pass& pass, const std::string& project, const std::vector<Holding>& holdings,
                         const finops::PriceBook& prices, Duration open_ended) {
  MoneyMicros out;
  for (const auto& holding : holdings)
    if (holding.project == project)
      add(out, price_of(pass, prices, std::string(holding.node),
                        holding.allocation ? holding.allocation->spec.site : std::string{},
                        *holding.resources, expected_of(pass, holding, open_ended)));
  for (const auto& [key, allocation] : pass.state.all<api::Allocation>())
    if (key.namespace_ == project && is_ended(allocation))
      add(out, price_of(pass, prices, allocation.spec.node, allocation.spec.site, allocation.spec.resources,
                        unbilled_of(pass, &allocation)));
  return out;
}

finops::BudgetAction to_finops(api::BudgetAction action) {
  switch (action) {
    case api::BudgetAction::kWarn:
      return finops::BudgetAction::kWarn;
    case api::BudgetAction::kSpotOnly:
      return finops::BudgetAction::kSpotOnly;
    case api::BudgetAction::kCheaperAccelerator:
      return finops::BudgetAction::kCheaperAccelerator;
    case api::BudgetAction::kLowerConcurrency:
      return finops::BudgetAction::kLowerConcurrency;
    case api::BudgetAction::kPause:
      return finops::BudgetAction::kPause;
  }
  return finops::BudgetAction::kPause;
}

Result<finops::Budget> to_finops(const api::Budget& budget, const finops::PriceBook& prices) {
  finops::Budget out;
  out.name = budget.metadata.name;
  out.project = budget.metadata.namespace_;
  out.is_hard = budget.spec.hard;
  const auto period = finops::parse_budget_period(budget.spec.period);
  if (!period)
    return fail(Code::kFailedPrecondition, "placement.budget",
                fmt::format("\"{}\" is no period; write day, week or month", budget.spec.period));
  out.period = *period;
  NEAP_TRY(out.limit, finops::parse_amount(budget.spec.limit));
  if (budget.spec.currency != prices.currency())
    return fail(Code::kFailedPrecondition, "placement.budget",
                fmt::format("it is in {} and the sites' prices are in {}; write both in one currency",
                            budget.spec.currency, prices.currency()));
  for (const auto& step : budget.spec.ladder)
    out.ladder.push_back({.percent = int(step.percent), .action = to_finops(step.action)});
  return out;
}

}  // namespace

namespace {

// What a job leaves of places that were lent to it stays with the service, so that they are whole when they
// come back.
void add_lent(const Pass& pass, const Owners& owners, std::vector<Holding>& holdings) {
  struct Lent {
    std::string project, service, node, job;
    api::Resources left;
  };
  std::map<std::pair<std::string, std::string>, Lent> all;  // by node and job
  for (const auto& [key, service] : pass.state.all<api::InferenceService>())
    for (const auto& loan : service.status.loans) {
      const auto* replica = pass.state.find<api::Allocation>(key.namespace_, loan.allocation);
      const auto slash = std::min(loan.job.find('/'), loan.job.size() - 1);
      const auto* job =
          pass.state.find<api::TrainingJob>(loan.job.substr(0, slash), loan.job.substr(slash + 1));
      // It holds its place still, or holds it again; or the job is about to take it.
      if ((replica && holds_resources(*replica)) || service.status.nominations.contains(loan.allocation) ||
          (job && nomination_of(*job) && owners.contains("TrainingJob/" + loan.job)))
        continue;
      auto& lent = all[{loan.node, loan.job}];
      lent.project = key.namespace_;
      lent.service = key.name;
      lent.node = loan.node;
      lent.job = loan.job;
      lent.left.cpu += service.spec.resources.cpu;
      lent.left.memory += service.spec.resources.memory;
      for (const auto& [model, amount] : service.spec.resources.accelerators)
        lent.left.accelerators[model] += amount;
    }
  if (all.empty()) return;
  const auto less = [](auto& from, auto what) {
    from.value = std::max<std::int64_t>(0, from.value - what.value);
  };
  for (const auto& holding : holdings) {
    if (holding.owner_kind != "TrainingJob") continue;
    const auto at = all.find(
        {std::string(holding.node), std::string(holding.project) + "/" + std::string(holding.owner_name)});
    if (at == all.end()) continue;
    auto& left = at->second.left;
    less(left.cpu, holding.resources->cpu);
    less(left.memory, holding.resources->memory);
    for (const auto& [model, amount] : holding.resources->accelerators)
      less(left.accelerators[model], amount);
  }
  for (auto& [key, lent] : all) {
    std::erase_if(lent.left.accelerators, [](const auto& one) { return one.second.value == 0; });
    const auto* service = pass.state.find<api::InferenceService>(lent.project, lent.service);
    const auto* node = pass.state.find<api::Node>("", lent.node);
    if (!service || !node) continue;
    auto kept = std::make_shared<const api::Resources>(std::move(lent.left));
    holdings.push_back({.project = service->metadata.namespace_,
                        .node = node->metadata.name,
                        .owner_kind = "InferenceService",
                        .owner_name = service->metadata.name,
                        .resources = kept.get(),
                        .is_nominated = true,
                        .kept = kept});
  }
}

}  // namespace

std::vector<Holding> holdings_of(const Pass& pass, const Owners& owners) {
  std::vector<Holding> out;
  for (const auto& [key, allocation] : pass.state.all<api::Allocation>())
    if (holds_resources(allocation))
      out.push_back({.project = key.namespace_,
                     .node = allocation.spec.node,
                     .owner_kind = allocation.spec.ownerKind,
                     .owner_name = allocation.spec.ownerName,
                     .resources = &allocation.spec.resources,
                     .allocation = &allocation});
  const auto& reserved = pass.reserved.entries();
  for (const auto& [key, entry] : reserved)
    if (!owners.contains(entry.owner) && !pass.state.find<api::Allocation>(key.namespace_, key.name))
      out.push_back({.project = key.namespace_,
                     .node = entry.node,
                     .owner_kind = std::string_view(entry.owner).substr(0, entry.owner.find('/')),
                     .owner_name = std::string_view(entry.owner).substr(entry.owner.rfind('/') + 1),
                     .resources = &entry.resources});
  const auto add_promised = [&](const ObjectKey& key, const api::TrainingJob& job) {
    // Not beside the place that it was given a moment ago.
    if (const auto* nomination = nomination_of(job);
        nomination && !reserved.contains({key.namespace_, member_name(key.name, job.status.epoch + 1, 0)}) &&
        !owners.contains("TrainingJob/" + key.namespace_ + "/" + key.name))
      for (const auto& node : nomination->nodes)
        out.push_back({.project = key.namespace_,
                       .node = node,
                       .owner_kind = "TrainingJob",
                       .owner_name = key.name,
                       .resources = &job.spec.resources,
                       .is_nominated = true});
    if (job.status.phase != "Reserved") return;
    const auto run = std::ranges::find(job.status.runs, job.status.epoch, &api::RunRecord::epoch);
    if (run == job.status.runs.end()) return;
    for (std::size_t i = 0; i < run->nodes.size(); ++i) {
      const ObjectKey member{key.namespace_, member_name(key.name, run->epoch, std::int64_t(i))};
      if (!reserved.contains(member) && !pass.state.find<api::Allocation>(member.namespace_, member.name))
        out.push_back({.project = key.namespace_,
                       .node = run->nodes[i],
                       .owner_kind = "TrainingJob",
                       .owner_name = key.name,
                       .resources = &job.spec.resources});
    }
  };
  for (const auto& [key, service] : pass.state.all<api::InferenceService>()) {
    for (const auto& [allocation, nomination] : service.status.nominations) {
      const auto* replica = pass.state.find<api::Allocation>(key.namespace_, allocation);
      if (owners.contains("Replica/" + key.namespace_ + "/" + allocation) ||
          reserved.contains({key.namespace_, allocation}) || (replica && holds_resources(*replica)))
        continue;
      for (const auto& node : nomination.nodes)
        out.push_back({.project = key.namespace_,
                       .node = node,
                       .owner_kind = "InferenceService",
                       .owner_name = key.name,
                       .resources = &service.spec.resources,
                       .is_nominated = true});
    }
  }
  if (pass.agenda) {
    for (const auto& key : pass.agenda->promised())
      if (const auto* job = pass.state.find<api::TrainingJob>(key.namespace_, key.name))
        add_promised(key, *job);
  } else {
    for (const auto& [key, job] : pass.state.all<api::TrainingJob>()) add_promised(key, job);
  }
  add_lent(pass, owners, out);
  return out;
}

Result<scheduler::ProjectBudget> budget_of(const Pass& pass, const api::Budget& budget,
                                           const std::vector<Holding>& holdings,
                                           const finops::PriceBook& prices) {
  NEAP_TRY(auto read, to_finops(budget, prices));
  scheduler::ProjectBudget out{.budget = std::move(read), .state = {}};
  const auto& project = budget.metadata.namespace_;
  const auto minute = std::chrono::floor<std::chrono::minutes>(pass.wall());
  const auto period = finops::compute_period(out.budget.period, minute);
  if (out.budget.is_hard) out.open_ended = std::chrono::duration_cast<Duration>(period.end - minute);
  if (pass.spending) out.state.spent = pass.spending->spent(project, period.start, period.end);
  out.state.committed = committed_of(pass, project, holdings, prices, out.open_ended);
  std::set<std::string_view> jobs;
  for (const auto& holding : holdings)
    if (holding.project == project && holding.owner_kind == "TrainingJob") jobs.insert(holding.owner_name);
  out.jobs_running = int(jobs.size());
  return out;
}

Result<std::vector<scheduler::ProjectBudget>> budgets_of(const Pass& pass, const std::string& project,
                                                         const std::vector<Holding>& holdings,
                                                         const finops::PriceBook& prices) {
  std::vector<scheduler::ProjectBudget> out;
  for (const auto& [key, budget] : pass.state.all<api::Budget>()) {
    if (key.namespace_ != project) continue;
    auto judged = budget_of(pass, budget, holdings, prices);
    if (!judged && !budget.spec.hard) continue;  // its own status says so
    if (!judged)
      return fail(Code::kFailedPrecondition, "placement.budget",
                  fmt::format("waits: budget {} cannot be kept, so nothing is placed in project {}: {}",
                              key.name, project, judged.error().message));
    out.push_back(*std::move(judged));
  }
  return out;
}

namespace {

// A budget of the project that is at this step, or a more severe one, now.
const api::Budget* budget_from(const Pass& pass, const std::string& project, finops::BudgetAction step) {
  for (const auto& [key, budget] : pass.state.all<api::Budget>())
    if (key.namespace_ == project && !budget.metadata.deletionTimestamp &&
        finops::parse_budget_action(budget.status.action).value_or(finops::BudgetAction::kNone) >= step &&
        budget.status.observedGeneration == budget.metadata.generation && budget.status.periodEnd &&
        pass.wall() < *budget.status.periodEnd)
      return &budget;
  return nullptr;
}

}  // namespace

const api::Budget* pausing_budget(const Pass& pass, const api::TrainingJob& job) {
  if (job.spec.interruption != api::InterruptionClass::kCheckpointed ||
      job.status.checkpoint.phase != "Durable")
    return nullptr;
  return budget_from(pass, job.metadata.namespace_, finops::BudgetAction::kPause);
}

bool is_lowered(const Pass& pass, const std::string& project) {
  return budget_from(pass, project, finops::BudgetAction::kLowerConcurrency) != nullptr;
}

}  // namespace neap::controllers
