// The API documents of a scenario, as the server's snapshot shows them to the engine.
#include <fmt/format.h>

#include <algorithm>

#include "internal/scenario_reader.h"
#include "neap/api/kind.h"
#include "neap/api/resource.h"

namespace neap::simulation {
namespace {

// Both enumerations list the same words.
policy::CapacityType to_policy(api::CapacityType type) {
  return policy::parse_capacity_type(api::enum_name(type)).value_or(policy::CapacityType::kOwned);
}
finops::CapacityType to_finops(api::CapacityType type) {
  return finops::parse_capacity_type(api::enum_name(type)).value_or(finops::CapacityType::kOwned);
}
policy::Tier to_policy(api::Tier tier) {
  return policy::parse_tier(api::enum_name(tier)).value_or(policy::Tier::kPublic);
}

scheduler::ReplicaResources to_scheduler(const api::Resources& resources) {
  scheduler::ReplicaResources out{
      .cores = resources.cpu, .memory = resources.memory, .accelerator_model = {}, .accelerators = {}};
  for (const auto& [model, amount] : resources.accelerators) {
    out.accelerator_model = model;
    out.accelerators = amount;
  }
  return out;
}

template <class T>
std::optional<T> decode(ScenarioReading& reading, const Json& document) {
  auto object = api::from_json<T>(document);
  if (object) return *std::move(object);
  reading.problems.add("kind", object.error().message);
  return std::nullopt;
}

void add_site(ScenarioReading& reading, const api::Site& site) {
  scheduler::Site out{.name = site.metadata.name,
                      .tier = to_policy(site.spec.tier),
                      .jurisdiction = site.spec.jurisdiction,
                      .aliases = site.spec.aliases,
                      .labels = {},
                      .spot_price_to_median = 1,
                      .carbon_intensity = site.spec.carbonIntensity};
  for (const auto& label : site.metadata.labels) out.labels.emplace_back(label);
  if (reading.find_site(out.name))
    reading.problems.add("metadata.name", "is the name of a second Site; name each once");
  if (reading.out.sites.empty()) reading.out.prices = finops::PriceBook(site.spec.currency);
  if (site.spec.currency != reading.out.prices.currency())
    reading.problems.add("spec.currency",
                         fmt::format("is {} where another site has {}; write all in one currency",
                                     site.spec.currency, reading.out.prices.currency()));
  for (const auto& price : site.spec.prices) {
    finops::Rates rates{
        .per_core_hour = price.perCoreHour, .per_gib_hour = price.perGiBHour, .per_accelerator_hour = {}};
    for (const auto& [model, amount] : price.perAcceleratorHour) rates.per_accelerator_hour[model] = amount;
    reading.out.prices.set_rates(out.name, to_finops(price.capacityType), std::move(rates));
  }
  reading.out.sites.push_back(std::move(out));
}

void add_node(ScenarioReading& reading, const api::Node& node) {
  scheduler::Node out;
  out.name = node.metadata.name;
  out.site = node.spec.site;
  out.capacity_type = to_policy(node.spec.capacityType);
  for (const auto& label : node.metadata.labels) out.labels.emplace_back(label);
  out.topology = scheduler::topology_of(out.labels);
  for (const auto& taint : node.spec.taints)
    out.taints.push_back(
        {.key = taint.key, .value = taint.value, .is_hard = taint.effect != "PreferNoSchedule"});
  out.cores_allocatable = node.status.allocatable.cpu;
  out.memory_allocatable = node.status.allocatable.memory;
  for (const auto& [model, amount] : node.status.allocatable.accelerators) {
    out.accelerator_model = model;
    out.devices_free.assign(std::size_t(std::clamp<std::int64_t>(amount.value / 1000, 0, 64)), 1000);
  }
  out.is_ready = !node.spec.unschedulable;
  out.versions = node.status.runtimes;
  reading.out.pools.push_back({.name = out.name, .capacity_type = out.capacity_type});
  reading.out.nodes.push_back({std::move(out), std::uint32_t(reading.out.pools.size() - 1)});
}

void add_budget(ScenarioReading& reading, const api::Budget& budget) {
  finops::Budget out;
  out.name = budget.metadata.name;
  out.project = budget.metadata.namespace_.empty() ? "default" : budget.metadata.namespace_;
  out.is_hard = budget.spec.hard;
  out.period = finops::parse_budget_period(budget.spec.period).value_or(finops::BudgetPeriod::kMonth);
  if (const auto limit = finops::parse_amount(budget.spec.limit))
    out.limit = *limit;
  else
    reading.problems.add("spec.limit", limit.error().message);
  for (const auto& step : budget.spec.ladder)
    out.ladder.push_back({.percent = int(step.percent),
                          .action = finops::parse_budget_action(api::enum_name(step.action))
                                        .value_or(finops::BudgetAction::kPause)});
  reading.out.budgets.push_back(std::move(out));
}

void add_policy(ScenarioReading& reading, const api::SchedulingPolicy& policy) {
  auto& rules =
      reading.out.rules[policy.metadata.namespace_.empty() ? "default" : policy.metadata.namespace_];
  for (std::size_t i = 0; i < policy.spec.rules.size(); ++i) {
    const auto& rule = policy.spec.rules[i];
    auto made = policy::make_rule(rule.name, rule.condition, rule.action);
    if (made)
      rules.push_back(*std::move(made));
    else
      reading.problems.add(fmt::format("spec.rules[{}]", i), made.error().message);
  }
}

void add_job(ScenarioReading& reading, const api::TrainingJob& job) {
  const auto& spec = job.spec;
  const auto work_ms = std::chrono::duration_cast<std::chrono::milliseconds>(spec.expectedDuration).count();
  if (work_ms <= 0)
    return reading.problems.add("spec.expectedDuration",
                                "is missing; a simulation needs to know how long it runs");
  if (!spec.inputs.empty())
    return reading.problems.add("spec.inputs", "cannot be simulated; name the data in spec.workloads[].data");
  WorkloadTerms terms{.name = job.metadata.name, .request = {}};
  auto& request = terms.request;
  request.project = job.metadata.namespace_.empty() ? "default" : job.metadata.namespace_;
  if (const auto team = job.metadata.labels.find("team"); team != job.metadata.labels.end())
    request.team = team->second;
  if (const auto model = job.metadata.labels.find("model"); model != job.metadata.labels.end())
    request.model = model->second;
  request.queue = spec.queue;
  request.priority_class = spec.priorityClass;
  request.kind = spec.type == "training" ? scheduler::TaskKind::kTraining : scheduler::TaskKind::kBatch;
  request.interruption = scheduler::InterruptionClass(int(spec.interruption));
  terms.checkpoint_interval_ms = spec.checkpoint.intervalSteps > 0 ? kHourMs : 0;
  reading.out.jobs.push_back({.name = job.metadata.name,
                              .workload = std::uint32_t(reading.out.workloads.size()),
                              .arrival_ms = 0,
                              .work_ms = work_ms,
                              .deadline_ms = spec.deadline
                                                 ? std::chrono::duration_cast<std::chrono::milliseconds>(
                                                       *spec.deadline - reading.out.start)
                                                       .count()
                                                 : -1,
                              .replicas = int(spec.replicas),
                              .each = to_scheduler(spec.resources)});
  reading.out.workloads.push_back(std::move(terms));
}

void add_queue(ScenarioReading& reading, const api::Queue& queue) {
  auto& queues = reading.out.queues;
  const auto at =
      std::ranges::lower_bound(queues, queue.metadata.name, {},
                               [](const api::Queue& one) -> const auto& { return one.metadata.name; });
  if (at != queues.end() && at->metadata.name == queue.metadata.name)
    return reading.problems.add("metadata.name", "is the name of a second Queue; name each once");
  queues.insert(at, queue);
}

template <class T, class Add>
void with(ScenarioReading& reading, const Json& document, Add add) {
  if (const auto object = decode<T>(reading, document)) add(reading, *object);
}

}  // namespace

Status read_object(ScenarioReading& reading, const Json& document) {
  auto& problems = reading.problems;
  const std::string kind(get_string(document, "kind"));
  const auto* entry = get_string(document, "apiVersion") == "neap.dev/v1"
                          ? api::KindTable::standard().find_kind(api::kGroup, api::kVersion, kind)
                          : nullptr;
  if (!entry) {
    problems.add(document.is_object() && !kind.empty() ? "kind" : "apiVersion",
                 "is no kind of neap.dev/v1 that a scenario takes; write a Site, Link, Node, Queue, Budget, "
                 "SchedulingPolicy or TrainingJob");
    return problems.status();
  }
  Json object = document;
  entry->apply_defaults(object);
  for (const auto& found : entry->validate(object)) {
    problems.add(found.path,
                 found.unknown_field ? "is not known here; remove it or correct its name" : found.message);
    return problems.status();
  }
  if (kind == "Site")
    with<api::Site>(reading, object, add_site);
  else if (kind == "Link")
    with<api::Link>(reading, object, [](ScenarioReading& into, const api::Link& link) {
      into.out.links.push_back({.from = link.spec.from,
                                .to = link.spec.to,
                                .bandwidth = double(link.spec.bandwidthMbps) * 1e6 / 8,
                                .rtt = Duration(std::int64_t(link.spec.rttMs * 1e6))});
      into.out.prices.set_egress(link.spec.from, link.spec.to, link.spec.egressPerGB);
    });
  else if (kind == "Node")
    with<api::Node>(reading, object, add_node);
  else if (kind == "Queue")
    with<api::Queue>(reading, object, add_queue);
  else if (kind == "Budget")
    with<api::Budget>(reading, object, add_budget);
  else if (kind == "SchedulingPolicy")
    with<api::SchedulingPolicy>(reading, object, add_policy);
  else if (kind == "TrainingJob")
    with<api::TrainingJob>(reading, object, add_job);
  else
    problems.add("kind",
                 fmt::format("{} has no meaning in a scenario; write a Site, Link, Node, Queue, Budget, "
                             "SchedulingPolicy or TrainingJob",
                             kind));
  return problems.status();
}

scheduler::ReplicaResources read_resources(Fields fields) {
  scheduler::ReplicaResources out;
  out.cores = fields.cores("cpu");
  out.memory = fields.bytes("memory");
  const auto accelerators = fields.entries("accelerators", 1);
  for (const auto& [model, amount] : accelerators) {
    const auto parsed = parse_accelerators(amount);
    if (!parsed) {
      fields.refuse("accelerators", parsed.error().message);
      continue;
    }
    out.accelerator_model = model == "any" ? std::string() : model;
    out.accelerators = *parsed;
  }
  fields.finish();
  return out;
}

}  // namespace neap::simulation
