#include "internal/placement.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "internal/deadlines.h"
#include "internal/derivation.h"
#include "internal/drift.h"
#include "internal/limits.h"
#include "internal/node_cache.h"
#include "internal/preemption.h"
#include "internal/queueing.h"
#include "internal/spot_history.h"
#include "neap/base/saturate.h"
#include "neap/controllers/prices.h"
#include "neap/crypto/digest.h"
#include "neap/scheduler/scheduler.h"

namespace neap::controllers {
namespace {

policy::Tier to_policy(api::Tier tier) {
  switch (tier) {
    case api::Tier::kPrivate:
      return policy::Tier::kPrivate;
    case api::Tier::kPublic:
      return policy::Tier::kPublic;
    case api::Tier::kEdge:
      return policy::Tier::kEdge;
  }
  return policy::Tier::kPublic;
}
policy::CapacityType to_policy(api::CapacityType type) {
  switch (type) {
    case api::CapacityType::kOwned:
      return policy::CapacityType::kOwned;
    case api::CapacityType::kReserved:
      return policy::CapacityType::kReserved;
    case api::CapacityType::kOnDemand:
      return policy::CapacityType::kOnDemand;
    case api::CapacityType::kSpot:
      return policy::CapacityType::kSpot;
  }
  return policy::CapacityType::kOwned;
}

// A link slower than this is as good as none; what its document says may be any number.
constexpr Duration kRttMax = std::chrono::hours(1);

// Above this an explanation speaks of sites and counts their nodes by reason: it is kept with every decision,
// and a reason for each of thousands of nodes is read by nobody.
constexpr std::size_t kExplainedNodesMax = 100;

// Whole free devices, or the fullest that takes a fraction. What does not fit any more takes whatever is
// left.
void hold_devices(std::vector<std::int32_t>& free, std::int64_t amount, std::vector<std::uint16_t>& devices) {
  for (std::int64_t left = amount; left > 0;) {
    const auto take = std::int32_t(std::min<std::int64_t>(left, 1000));
    std::int32_t* best = nullptr;
    for (auto& device : free)
      if (device >= take && (!best || device < *best)) best = &device;
    if (!best) {
      devices.clear();
      for (auto& device : free) {
        const auto part = std::int32_t(std::min<std::int64_t>(left, device));
        device -= part;
        left -= part;
      }
      return;
    }
    *best -= take;
    left -= take;
    devices.push_back(std::uint16_t(best - free.data()));
  }
  // One even share is what a reader of `devices` may assume.
  if (amount > 1000 && amount % 1000 != 0) devices.clear();
}

scheduler::Node to_scheduler(const api::Node& node) {
  scheduler::Node out;
  out.name = node.metadata.name;
  out.site = node.spec.site;
  out.capacity_type = to_policy(node.spec.capacityType);
  for (const auto& label : node.metadata.labels) out.labels.emplace_back(label);
  out.topology = scheduler::topology_of(out.labels);
  for (const auto& taint : node.spec.taints)
    out.taints.push_back(
        {.key = taint.key, .value = taint.value, .is_hard = taint.effect != "PreferNoSchedule"});
  out.cores_allocatable = out.cores_free = node.status.allocatable.cpu;
  out.memory_allocatable = out.memory_free = node.status.allocatable.memory;
  for (const auto& [model, amount] : node.status.allocatable.accelerators) {
    out.accelerator_model = model;
    out.devices_free.assign(std::size_t(amount.value / 1000), 1000);
  }
  out.is_ready = condition_is_true(node.status.conditions, "Ready") && !node.spec.unschedulable;
  out.is_reclaimed = condition_is_true(node.status.conditions, "Interrupting") ||
                     node.metadata.deletionTimestamp.has_value();
  out.versions = node.status.runtimes;
  return out;
}

void hold(scheduler::Node& node, Holding& holding) {
  const auto& held = *holding.resources;
  node.cores_free.value = std::max<std::int64_t>(0, node.cores_free.value - held.cpu.value);
  node.memory_free.value = std::max<std::int64_t>(0, node.memory_free.value - held.memory.value);
  for (const auto& [model, amount] : held.accelerators)
    hold_devices(node.devices_free, amount.value, holding.devices);
}

bool is_fraction(const Holding& holding) {
  return std::ranges::any_of(holding.resources->accelerators,
                             [](const auto& held) { return held.second.value % 1000 != 0; });
}

// By name, with what is held on them taken off; each holding learns which devices count as its own.
std::vector<scheduler::Node> nodes_of(const Pass& pass, std::vector<Holding>& holdings) {
  NodeCache fresh;
  auto out = (pass.nodes ? *pass.nodes : fresh).take(pass.state, to_scheduler);
  // Whole devices first, so that fractions do not lie across them.
  for (const bool fractions : {false, true})
    for (auto& holding : holdings) {
      if (is_fraction(holding) != fractions) continue;
      const auto at = std::ranges::lower_bound(out, holding.node, {}, &scheduler::Node::name);
      if (at != out.end() && at->name == holding.node) hold(*at, holding);
    }
  return out;
}

}  // namespace

scheduler::InterruptionClass to_scheduler(api::InterruptionClass value) {
  switch (value) {
    case api::InterruptionClass::kNever:
      return scheduler::InterruptionClass::kNever;
    case api::InterruptionClass::kCheckpointed:
      return scheduler::InterruptionClass::kCheckpointed;
    case api::InterruptionClass::kRestartable:
      return scheduler::InterruptionClass::kRestartable;
  }
  return scheduler::InterruptionClass::kNever;
}

Result<scheduler::Snapshot> snapshot_of(const Pass& pass, const std::string& project, const Owners& owners,
                                        bool with_running) {
  scheduler::Snapshot out;
  for (const auto& [key, site] : pass.state.all<api::Site>()) {
    scheduler::Site s{.name = site.metadata.name,
                      .tier = to_policy(site.spec.tier),
                      .jurisdiction = site.spec.jurisdiction,
                      .aliases = site.spec.aliases,
                      .labels = {},
                      .spot_price_to_median = spot_price_to_median(site.status.spotPrices, pass.wall()),
                      .carbon_intensity = site.spec.carbonIntensity};
    for (const auto& label : site.metadata.labels) s.labels.emplace_back(label);
    out.sites.push_back(std::move(s));
  }
  for (const auto& [key, link] : pass.state.all<api::Link>())
    out.links.push_back({.from = link.spec.from,
                         .to = link.spec.to,
                         .bandwidth = double(link.spec.bandwidthMbps) * 1e6 / 8,
                         .rtt = Duration(whole_within(link.spec.rttMs * 1e6, 0, kRttMax.count()))});
  auto holdings = holdings_of(pass, owners);
  out.nodes = nodes_of(pass, holdings);
  if (with_running) out.running = running_of(pass, holdings);
  for (const auto& [key, policy] : pass.state.all<api::SchedulingPolicy>()) {
    if (key.namespace_ != project) continue;
    for (const auto& rule : policy.spec.rules) {
      auto made = policy::make_rule(rule.name, rule.condition, rule.action);
      if (!made)
        return fail(Code::kFailedPrecondition, "placement.policy",
                    fmt::format("waits: rule \"{}\" of scheduling policy {} cannot be applied, so nothing is "
                                "placed in project {} until it is corrected or removed: {}",
                                rule.name, key.name, project, made.error().message));
      out.rules.push_back(*std::move(made));
    }
  }
  out.data_policies = data_policies_of(pass.state, project);
  out.prices = price_book_of(pass.state);
  out.queues = queues_of(pass, holdings);
  NEAP_TRY(out.budgets, budgets_of(pass, project, holdings, out.prices));
  return out;
}

namespace {

scheduler::ReplicaResources to_scheduler(const api::Resources& resources) {
  scheduler::ReplicaResources out;
  out.cores = resources.cpu;
  out.memory = resources.memory;
  for (const auto& [model, amount] : resources.accelerators) {
    out.accelerator_model = model;
    out.accelerators = amount;
  }
  return out;
}

scheduler::CostStrategy to_scheduler(std::string_view strategy) {
  if (strategy == "SpotPreemptible") return scheduler::CostStrategy::kPreferSpot;
  if (strategy == "OnDemand") return scheduler::CostStrategy::kAvoidSpot;
  if (strategy == "PrivateFirst") return scheduler::CostStrategy::kPrivateFirst;
  if (strategy == "Cheapest") return scheduler::CostStrategy::kCheapest;
  if (strategy == "LowestCarbon") return scheduler::CostStrategy::kLowestCarbon;
  return scheduler::CostStrategy::kBalanced;
}

// Requests decided before on snapshots of their own, and what they were given.
struct Decided {
  std::vector<scheduler::Request> requests;
  scheduler::Plan plan;
};

// Requests of one project.
std::vector<Placement> decide_all(const Pass& pass, std::span<const scheduler::Request> requests,
                                  const Owners& owners, Decided* before = nullptr,
                                  bool may_end_others = false) {
  std::vector<Placement> out(requests.size());
  if (requests.empty()) return out;
  auto snapshot = snapshot_of(pass, requests.front().project, owners, may_end_others);
  if (!snapshot) {
    for (auto& placement : out) placement.message = snapshot.error().message;
    return out;
  }
  if (before) scheduler::apply_plan(*snapshot, before->requests, before->plan);
  scheduler::Options options;
  options.now = pass.wall();
  options.seed = pass.options.seed;
  options.explains_nodes = snapshot->nodes.size() <= kExplainedNodesMax;
  auto plan = scheduler::decide(*snapshot, requests, options);
  for (std::size_t i = 0; i < requests.size(); ++i) out[i] = placement_of(plan.decisions[i], plan.currency);
  if (before) {
    before->requests.insert(before->requests.end(), requests.begin(), requests.end());
    std::ranges::move(plan.decisions, std::back_inserter(before->plan.decisions));
  }
  if (pass.nodes) pass.nodes->give_back(std::move(snapshot->nodes));
  return out;
}

Placement decide_one(const Pass& pass, const scheduler::Request& request) {
  return std::move(decide_all(pass, std::span(&request, 1), {}).front());
}

}  // namespace

Placement placement_of(const scheduler::Decision& decision, const std::string& currency) {
  Placement out;
  out.placed = decision.is_placed;
  out.explanation = scheduler::to_json(decision, currency);
  if (!decision.is_placed) {
    out.message = decision.pending ? decision.pending->sentence : "no place fits";
    if (!decision.preemption) return out;
    const auto& preemption = *decision.preemption;
    for (const auto& p : preemption.placements) out.nodes.push_back(p.node);
    out.site = preemption.placements.front().site;
    out.victims = preemption.victims;
    return out;
  }
  std::vector<std::string> nodes(decision.placements.size());
  for (const auto& p : decision.placements) nodes.at(std::size_t(p.replica)) = p.node;
  out.nodes = std::move(nodes);
  out.site = decision.placements.front().site;
  out.capacity_type = std::string(policy::capacity_type_name(decision.placements.front().capacity_type));
  out.message = decision.cost_per_hour
                    ? fmt::format("placed at {} ({}), {} {} an hour", out.site, out.capacity_type,
                                  format_money(*decision.cost_per_hour), currency)
                    : fmt::format("placed at {} ({})", out.site, out.capacity_type);
  return out;
}

dataguard::DataPolicyTable data_policies_of(const ClusterState& state, const std::string& project) {
  dataguard::DataPolicyTable own, fallback;
  for (const auto& [key, policy] : state.all<api::DataPolicy>()) {
    if (key.namespace_ == project) own.append(policy.spec);
    if (key.namespace_ == "default") fallback.append(policy.spec);
  }
  own.inherit(fallback);
  return own;
}

Result<ResolvedInputs> resolve_inputs(const Pass& pass, const api::TrainingJob& job) {
  ResolvedInputs out;
  const auto missing = [](const std::string& what) {
    return fail(Code::kUnavailable, "job.input.missing", "waits for " + what);
  };
  for (const auto& input : job.spec.inputs) {
    if (!input.datasetVersion.empty()) {
      const auto* version =
          pass.state.find<api::DatasetVersion>(job.metadata.namespace_, input.datasetVersion);
      if (!version) return missing("dataset version " + input.datasetVersion);
      out.level = std::min(out.level, version->spec.level);
      out.stored_at = version->spec.storedAt;
      if (const auto* dataset =
              pass.state.find<api::Dataset>(job.metadata.namespace_, version->spec.dataset)) {
        out.home = dataset->spec.home;
        out.jurisdiction = dataset->spec.jurisdiction;
        out.strict = dataset->spec.sovereignty == "Strict";
      }
      for (const auto& part : version->spec.parts)
        for (auto file : part.files) {
          out.bytes += file.size.value;
          file.name = input.name + "/" + part.site + "/" + file.name;
          file.metadata = {};
          out.files.push_back(std::move(file));
        }
      continue;
    }
    const auto* source = pass.state.find<api::TrainingJob>(job.metadata.namespace_, input.fromJob);
    if (!source || source->status.phase != "Succeeded") return missing("job " + input.fromJob);
    const auto output = std::ranges::find(source->status.outputs, input.output, &api::ArtifactRef::name);
    if (output == source->status.outputs.end())
      return missing(fmt::format("output {} of job {}", input.output, input.fromJob));
    auto file = *output;
    out.bytes += file.size.value;
    file.name = input.name;
    file.metadata = {};
    out.files.push_back(std::move(file));
  }
  return out;
}

api::Resources resources_on(const ClusterState& state, const api::TrainingJob& job, const std::string& node) {
  auto out = job.spec.resources;
  const auto* found = state.find<api::Node>("", node);
  if (!found || out.accelerators.size() != 1) return out;
  const auto& there = found->status.allocatable.accelerators;
  if (there.contains(out.accelerators.begin()->first)) return out;
  for (const auto& model : job.spec.acceleratorAlternatives)
    if (there.contains(model)) {
      out.accelerators = {{model, out.accelerators.begin()->second}};
      break;
    }
  return out;
}

Result<scheduler::Request> job_request(const Pass& pass, const api::TrainingJob& job,
                                       const ResolvedInputs& inputs) {
  NEAP_TRY(auto request, request_of(pass, job, inputs));
  using Kind = DeadlineChoice::Kind;
  if (const auto* choice = pass.deadlines ? pass.deadlines->find(job) : nullptr) {
    if (choice->kind == Kind::kWait) return fail(Code::kUnavailable, "plan.waits", choice->why);
    // What began is finished, late where it must be.
    if (job.status.epoch > 0) request.deadline.reset();
    request.held_back = choice->why;
    if (choice->kind == Kind::kSafe) request.spot_use = scheduler::SpotUse::kNever;
    if (choice->kind != Kind::kSpot) return request;
    request.spot_use = scheduler::SpotUse::kOnly;
    request.pinned_site = choice->site;
  } else if (const auto* wait = pass.drift ? pass.drift->find_wait(job) : nullptr) {
    request.stays_private = true;
    request.held_back = *wait;
  }
  return request;
}

Result<scheduler::Request> request_of(const Pass& pass, const api::TrainingJob& job,
                                      const ResolvedInputs& inputs) {
  scheduler::Request request;
  request.id = job.metadata.name;
  request.project = job.metadata.namespace_;
  if (const auto it = job.metadata.labels.find("team"); it != job.metadata.labels.end())
    request.team = it->second;
  if (const auto it = job.metadata.labels.find("model"); it != job.metadata.labels.end())
    request.model = it->second;
  request.queue = queue_of(pass.state, job);
  if (!request.queue.empty() && !pass.state.find<api::Queue>("", request.queue))
    return fail(Code::kFailedPrecondition, "placement.queue",
                fmt::format("waits: queue {} does not exist; create it, or name one that does in spec.queue",
                            request.queue));
  request.priority_class = job.spec.priorityClass;
  request.kind = job.spec.type == "training" ? scheduler::TaskKind::kTraining : scheduler::TaskKind::kBatch;
  const auto priority = priority_of(pass.state, job.spec.priorityClass);
  request.priority = priority.value;
  request.may_preempt = priority.may_preempt;
  request.replicas = int(job.spec.replicas);
  request.replicas_min = int(job.spec.minReplicas);
  if (const auto& asked = job.spec.topology) {
    const auto level = scheduler::parse_topology_level(asked->level);
    if (!level)
      return fail(Code::kInvalidArgument, "placement.topology",
                  fmt::format("waits: topology.level \"{}\" is not island, rack or block", asked->level));
    request.topology = scheduler::TopologyAsk{.level = *level,
                                              .is_required = asked->mode == "Required",
                                              .slice_replicas = int(asked->sliceReplicas)};
  }
  request.each = to_scheduler(job.spec.resources);
  if (!job.spec.acceleratorAlternatives.empty() && job.spec.resources.accelerators.size() != 1)
    return fail(
        Code::kInvalidArgument, "placement.accelerators",
        "waits: acceleratorAlternatives says which models would do, too, and resources.accelerators does "
        "not name the one model they stand for; name one, with its number");
  request.accelerator_alternatives = job.spec.acceleratorAlternatives;
  request.interruption = to_scheduler(job.spec.interruption);
  request.deadline = job.spec.deadline;
  if (job.spec.expectedDuration.count() > 0) request.duration_estimate = job.spec.expectedDuration;
  request.cost_strategy = to_scheduler(job.spec.costStrategy);
  scheduler::DataInput data;
  data.dataset = "inputs";
  data.level = scheduler::DataLevel(int(inputs.level));
  // A declassified version is at home where it is stored; raw data keeps its dataset's home.
  data.home_site = inputs.stored_at.empty() ? inputs.home : inputs.stored_at.front();
  data.jurisdiction = inputs.jurisdiction;
  data.size = Bytes{inputs.bytes};
  data.present_at = inputs.stored_at;
  data.is_strict = inputs.strict;
  for (const auto& word : job.spec.allowedSites)
    for (const auto* site : resolve_sites(pass.state, word, true))
      data.allowed_sites.push_back(site->metadata.name);
  if (!job.spec.allowedSites.empty() && data.allowed_sites.empty()) {
    // An empty list would mean anywhere.
    return fail(Code::kFailedPrecondition, "placement.sites",
                fmt::format("waits: allowedSites names {}, and no site has such a name, alias or label",
                            fmt::join(job.spec.allowedSites, ", ")));
  }
  request.data.push_back(std::move(data));
  return request;
}

std::vector<Placement> place_jobs(const Pass& pass, std::span<const WaitingJob> jobs) {
  std::vector<Placement> out(jobs.size());
  std::vector<scheduler::Request> requests;
  std::vector<std::size_t> asked;
  // `settled` were given a place before in this call: what is held for them counts once.
  Owners owners, settled;
  Decided decided;
  bool may_end_others = false;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto& job = *jobs[i].job;
    auto request = job_request(pass, job, jobs[i].inputs);
    if (!request) {
      out[i].message = request.error().message;
      continue;
    }
    const auto owner = "TrainingJob/" + job.metadata.namespace_ + "/" + job.metadata.name;
    if (nomination_of(job)) {
      // Its place is free for itself alone; and while others make room for it, nobody else is asked to.
      auto own = settled;
      own.insert(owner);
      out[i] = std::move(decide_all(pass, std::span(&*request, 1), own, &decided).front());
      if (out[i].placed) settled = std::move(own);
      continue;
    }
    may_end_others = may_end_others || request->priority > 0;
    requests.push_back(*std::move(request));
    asked.push_back(i);
    owners.insert(owner);
  }
  owners.merge(settled);
  auto placements = decide_all(pass, requests, owners, &decided, may_end_others);
  for (std::size_t i = 0; i < asked.size(); ++i) out[asked[i]] = std::move(placements[i]);
  return out;
}

Placement place_job(const Pass& pass, const api::TrainingJob& job, const ResolvedInputs& inputs) {
  const WaitingJob waiting{.job = &job, .inputs = inputs};
  return std::move(place_jobs(pass, std::span(&waiting, 1)).front());
}

Result<scheduler::Request> replica_request(const Pass& pass, const api::InferenceService& service,
                                           const api::ServicePlace& place, std::int64_t replica) {
  const bool is_anywhere = place.site == kAnySite;
  const auto* site = pass.state.resolve_site(place.site);
  if (!site && !is_anywhere)
    return fail(Code::kFailedPrecondition, "placement.site",
                fmt::format("no site is named \"{}\", nor has it as alias or label", place.site));
  scheduler::Request request;
  request.id = fmt::format("{}/{}", service.metadata.name, replica);
  request.project = service.metadata.namespace_;
  request.model = service.spec.model;
  request.kind = scheduler::TaskKind::kInference;
  request.each = to_scheduler(service.spec.resources);
  request.interruption = scheduler::InterruptionClass::kNever;
  request.priority_class = service.spec.priorityClass;
  const auto priority = priority_of(pass.state, service.spec.priorityClass);
  request.priority = priority.value;
  request.may_preempt = priority.may_preempt;
  request.queue = queue_of(pass.state, service);
  if (!request.queue.empty() && !pass.state.find<api::Queue>("", request.queue))
    return fail(Code::kFailedPrecondition, "placement.queue",
                fmt::format("waits: queue {} does not exist; create it, or name one that does in spec.queue",
                            request.queue));
  if (is_anywhere) return request;
  request.pinned_site = site->metadata.name;
  if (service.spec.latencyTarget.count() > 0 && place.role == "active") {
    request.latency_max = service.spec.latencyTarget;
    request.consumer_site = site->metadata.name;
  }
  return request;
}

std::vector<Placement> place_replicas(const Pass& pass, const api::InferenceService& service,
                                      std::span<const Replica> replicas) {
  std::vector<Placement> out(replicas.size());
  std::vector<scheduler::Request> requests;
  std::vector<std::size_t> asked;
  Owners owners;
  // While others make room for it, nobody else is asked to.
  bool may_end_others = true;
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    owners.insert("Replica/" + service.metadata.namespace_ + "/" + replicas[i].name);
    may_end_others = may_end_others && !service.status.nominations.contains(replicas[i].name);
    auto request = replica_request(pass, service, *replicas[i].place, replicas[i].index);
    if (!request) {
      out[i].message = request.error().message;
      continue;
    }
    requests.push_back(*std::move(request));
    asked.push_back(i);
  }
  may_end_others = may_end_others && !requests.empty() && requests.front().priority > 0;
  auto placements = decide_all(pass, requests, owners, nullptr, may_end_others);
  for (std::size_t i = 0; i < asked.size(); ++i) out[asked[i]] = std::move(placements[i]);
  return out;
}

Result<api::Allocation> collect_allocation(const Pass& pass, const api::Dataset& dataset,
                                           const api::DataSource& source, const api::CollectStage& stage,
                                           const std::string& version) {
  const auto* site = pass.state.resolve_site(source.site);
  if (!site)
    return fail(Code::kNotFound, "collect.site",
                fmt::format("no site is named \"{}\"; the dataset's source names it", source.site));
  scheduler::Request request;
  request.id = version + "-" + source.site;
  request.project = dataset.metadata.namespace_;
  request.kind = scheduler::TaskKind::kCollect;
  request.duration_estimate = kShortWork;
  request.each.cores = MilliCores{100};
  request.each.memory = Bytes{64 << 20};
  request.pinned_site = site->metadata.name;
  scheduler::DataInput data;
  data.dataset = dataset.metadata.name;
  data.level = scheduler::DataLevel(int(dataset.spec.level));
  data.home_site = site->metadata.name;
  data.jurisdiction = dataset.spec.jurisdiction;
  request.data.push_back(std::move(data));
  const auto placement = decide_one(pass, request);
  if (!placement.placed)
    return fail(Code::kUnavailable, "collect.placement", source.site + ": " + placement.message);
  api::Allocation out;
  out.spec.node = placement.nodes.front();
  out.spec.site = site->metadata.name;
  out.spec.resources.cpu = request.each.cores;
  out.spec.resources.memory = request.each.memory;
  out.spec.level = dataset.spec.level;
  out.spec.collect = api::CollectWork{.dataset = dataset.metadata.name,
                                      .path = source.path,
                                      .declassification = stage.declassification,
                                      .version = version,
                                      .level = dataset.spec.level};
  return out;
}

api::DatasetVersion merge_parts(api::ObjectMeta meta, const api::Dataset& dataset,
                                const api::CollectStage& stage, std::vector<api::DatasetPart> parts,
                                const std::string& stored_at) {
  api::DatasetVersion out;
  out.metadata = std::move(meta);
  out.spec.dataset = dataset.metadata.name;
  out.spec.level = stage.declassification.empty() ? dataset.spec.level : api::DataLevel::kL3;
  out.spec.declassification = stage.declassification;
  std::ranges::sort(parts, {}, &api::DatasetPart::site);
  std::string digests;
  for (const auto& part : parts)
    for (const auto& file : part.files) digests += part.site + "/" + file.name + " " + file.digest + "\n";
  out.spec.digest = crypto::sha256(digests).to_string();
  out.spec.parts = std::move(parts);
  out.spec.storedAt = {stored_at};
  return out;
}

}  // namespace neap::controllers
