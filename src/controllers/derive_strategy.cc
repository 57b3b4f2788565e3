// ai.hybrid.io/v1 DeploymentStrategy -> neap.dev DeploymentStrategy (Training) or InferenceService
// (Inference), and a DataPolicy for what is Strict; ai.hybridcloud/v1 SchedulingPolicy -> SchedulingPolicy.
//
// The document says where, on what and at which price; it names no program, data or model. Those come from a
// template: a neap.dev DeploymentStrategy of the project that is labelled as one and does not run itself.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "internal/derivation.h"
#include "neap/policy/policy.h"

namespace neap::controllers {
namespace {

using api::DeploymentStrategy;

std::string_view spec_text(const Json& document, std::initializer_list<std::string_view> parents,
                           std::string_view key) {
  const Json* at = find_path(document, {"spec"});
  for (const auto parent : parents) at = at ? find_path(*at, {parent}) : nullptr;
  return at ? get_string(*at, key) : std::string_view{};
}

Result<const DeploymentStrategy*> find_template(const ClusterState& state, const Json& document) {
  const auto ns = meta_text(document, "namespace");
  const auto named = annotation_of(document, kTemplateMark);
  if (!named.empty()) {
    if (const auto* found = state.find<DeploymentStrategy>(ns, named)) return found;
    return fail(
        Code::kNotFound, "TemplateMissing",
        fmt::format("annotation {} names \"{}\", and project {} has no neap.dev DeploymentStrategy of that "
                    "name; apply it, or name another",
                    kTemplateMark, named, ns));
  }
  const DeploymentStrategy* found = nullptr;
  for (const auto& [key, strategy] : state.all<DeploymentStrategy>()) {
    const auto mark = strategy.metadata.labels.find(std::string(kDefaultTemplateLabel));
    if (key.namespace_ != ns || mark == strategy.metadata.labels.end() || mark->second != "true") continue;
    if (found)
      return fail(
          Code::kFailedPrecondition, "TemplateAmbiguous",
          fmt::format("{} and {} are both labelled {}=true; leave it on one, or name one in annotation {}",
                      found->metadata.name, key.name, kDefaultTemplateLabel, kTemplateMark));
    found = &strategy;
  }
  if (found) return found;
  return fail(
      Code::kFailedPrecondition, "TemplateMissing",
      fmt::format(
          "the document names no image, dataset or model, and project {} has no template to take them "
          "from; apply a neap.dev DeploymentStrategy labelled {}=true (the project's default), or "
          "name one in annotation {}",
          ns, kDefaultTemplateLabel, kTemplateMark));
}

struct EdgeTargets {
  std::vector<std::string> sites, strict;  // names, each once, in the document's order
  Duration latency{};                      // strictest; zero: none asked
};

Result<EdgeTargets> read_targets(const ClusterState& state, const Json& document) {
  EdgeTargets out;
  const auto* targets = find_path(document, {"spec", "postTraining", "targetEdge"});
  if (!targets || !targets->is_array()) return out;
  for (std::size_t i = 0; i < targets->get_array().size(); ++i) {
    const auto& target = targets->get_array()[i];
    const auto field = fmt::format("spec.postTraining.targetEdge[{}]", i);
    NEAP_TRY(const auto sites, site_names(state, get_string(target, "location"), false, field + ".location"));
    const bool strict = get_string(target, "dataSovereignty") == "Strict";
    for (const auto& site : sites) {
      if (std::ranges::find(out.sites, site) == out.sites.end()) out.sites.push_back(site);
      if (strict && std::ranges::find(out.strict, site) == out.strict.end()) out.strict.push_back(site);
    }
    const auto latency = get_string(target, "latencyTarget");
    if (latency.empty()) continue;
    const auto limit = parse_duration(latency);
    if (!limit || limit->count() <= 0)
      return fail(Code::kInvalidArgument, "LatencyTarget",
                  fmt::format("{}.latencyTarget is \"{}\", which is no time above zero; write one like 10ms",
                              field, latency));
    out.latency = out.latency.count() == 0 ? *limit : std::min(out.latency, *limit);
  }
  return out;
}

api::DataPolicy strict_guard(const Json& document, const EdgeTargets& targets) {
  api::DataPolicy out;
  const auto name = meta_text(document, "name");
  out.metadata = derived_meta(document, name + "-strict");
  for (const auto& site : targets.strict) {
    api::DataRule rule;
    rule.name = fmt::format("{}-strict-{}", name, site);
    rule.level = api::DataLevel::kL3;
    rule.fromSites = {site};
    rule.effect = "strict";
    out.spec.rules.push_back(std::move(rule));
  }
  return out;
}

// The document's accelerators in place of the template's; the count each replica holds stays the template's.
void apply_gpu_type(api::Resources& resources, std::string_view gpu_type) {
  if (gpu_type.empty()) return;
  const auto amount =
      resources.accelerators.size() == 1 ? resources.accelerators.begin()->second : MilliAccelerators{1000};
  resources.accelerators = {{std::string(gpu_type), amount}};
}

// Active places are the document's; standbys stay as the template has them.
std::vector<api::ServicePlace> places_of(const std::vector<api::ServicePlace>& before,
                                         const std::vector<std::string>& sites) {
  if (sites.empty()) return before;
  std::vector<api::ServicePlace> out;
  for (const auto& site : sites) {
    const auto known = std::ranges::find(before, site, &api::ServicePlace::site);
    const auto replicas = known != before.end() && known->role == "active" ? known->replicas : 1;
    out.push_back({.site = site, .replicas = replicas, .role = "active"});
  }
  for (const auto& place : before)
    if (place.role == "standby" && std::ranges::find(sites, place.site) == sites.end()) out.push_back(place);
  return out;
}

void keep_canary_among(api::CanarySpec& canary, const std::vector<api::ServicePlace>& places) {
  if (!std::ranges::any_of(places,
                           [&](const auto& p) { return p.site == canary.site && p.role == "active"; }))
    canary.site.clear();
}

Status apply_cost_strategy(api::TrainStage& train, std::string_view strategy,
                           std::vector<std::string>& notes) {
  if (strategy.empty()) return ok();
  train.costStrategy = strategy;
  if (strategy == "OnDemand") {
    train.interruption = api::InterruptionClass::kNever;
  } else if (strategy == "SpotPreemptible" && train.interruption == api::InterruptionClass::kNever) {
    return fail(
        Code::kFailedPrecondition, "NotInterruptible",
        "costStrategy is SpotPreemptible, and the template's spec.train.interruption is never; make it "
        "checkpointed or restartable, or ask for OnDemand");
  } else if (strategy == "SpotPreemptible" && train.checkpoint.intervalSteps == 0) {
    train.interruption = api::InterruptionClass::kRestartable;
    notes.emplace_back(
        "the template takes no checkpoints, so an interrupted run starts again from its beginning");
  }
  return ok();
}

// Versions are named after their model: two strategies that make one model would take each other's for
// theirs.
Status check_model_is_free(const ClusterState& state, const DeploymentStrategy& wanted) {
  for (const auto& [key, other] : state.all<DeploymentStrategy>()) {
    if (key.namespace_ != wanted.metadata.namespace_ || key.name == wanted.metadata.name ||
        is_template(other))
      continue;
    if ((other.spec.model.empty() ? key.name : other.spec.model) == wanted.spec.model)
      return fail(
          Code::kFailedPrecondition, "ModelTaken",
          fmt::format("model {} is made by deploymentstrategy {} already; name another in annotation {}",
                      wanted.spec.model, key.name, kModelAnnotation));
  }
  return ok();
}

Result<DeploymentStrategy> training_strategy(const ClusterState& state, const Json& document,
                                             const DeploymentStrategy& base, const EdgeTargets& targets,
                                             std::vector<std::string>& notes) {
  DeploymentStrategy out;
  out.metadata = derived_meta(document, meta_text(document, "name"));
  out.spec = base.spec;
  if (const auto dataset = annotation_of(document, kDatasetAnnotation); !dataset.empty())
    out.spec.collect.dataset = dataset;
  const auto model = annotation_of(document, kModelAnnotation);
  out.spec.model = model.empty() ? out.metadata.name : model;
  out.spec.serve.name = out.spec.model;
  NEAP_TRY_VOID(check_model_is_free(state, out));

  const auto* resources = find_path(document, {"spec", "resources"});
  apply_gpu_type(out.spec.train.resources, resources ? get_string(*resources, "gpuType") : "");
  if (resources) out.spec.train.replicas = get_int(*resources, "replicas", out.spec.train.replicas);
  NEAP_TRY_VOID(
      apply_cost_strategy(out.spec.train, resources ? get_string(*resources, "costStrategy") : "", notes));
  if (const auto target = spec_text(document, {}, "targetCloud"); !target.empty()) {
    NEAP_TRY(out.spec.train.allowedSites, site_names(state, target, true, "spec.targetCloud"));
    notes.push_back(fmt::format("{} means {}", target, fmt::join(out.spec.train.allowedSites, ", ")));
  }
  const auto action = spec_text(document, {"postTraining"}, "action");
  if (action == "DistillAndPush" && !out.spec.compress)
    return fail(
        Code::kFailedPrecondition, "CompressMissing",
        fmt::format("postTraining.action is DistillAndPush, and template {} has no spec.compress; add the "
                    "program that distils to it",
                    base.metadata.name));
  out.spec.serve.places = places_of(out.spec.serve.places, targets.sites);
  keep_canary_among(out.spec.serve.canary, out.spec.serve.places);
  if (targets.latency.count() > 0) out.spec.serve.latencyTarget = targets.latency;
  notes.push_back(fmt::format("program, data {} and stages are those of template {}",
                              out.spec.collect.dataset, base.metadata.name));
  return out;
}

Result<api::InferenceService> inference_service(const ClusterState& state, const Json& document,
                                                const DeploymentStrategy& base, const EdgeTargets& targets,
                                                std::vector<std::string>& notes) {
  api::InferenceService out;
  out.metadata = derived_meta(document, meta_text(document, "name"));
  const auto named = annotation_of(document, kModelAnnotation);
  out.spec.model = named.empty() ? base.spec.model : named;
  const auto* version = newest_version(state, out.metadata.namespace_, out.spec.model);
  if (!version)
    return fail(
        Code::kNotFound, "ModelMissing",
        fmt::format("workloadType is Inference, and model {} has no registered version in project {}; train "
                    "or push one, or name another in annotation {}",
                    out.spec.model.empty() ? "(none named)" : out.spec.model, out.metadata.namespace_,
                    kModelAnnotation));
  out.spec.modelVersion = version->metadata.name;
  auto sites = targets.sites;
  if (const auto target = spec_text(document, {}, "targetCloud"); !target.empty() && sites.empty()) {
    NEAP_TRY(sites, site_names(state, target, true, "spec.targetCloud"));
  }
  out.spec.places = places_of(base.spec.serve.places, sites);
  out.spec.resources = base.spec.serve.resources;
  const auto* resources = find_path(document, {"spec", "resources"});
  apply_gpu_type(out.spec.resources, resources ? get_string(*resources, "gpuType") : "");
  if (const auto replicas = resources ? get_int(*resources, "replicas") : 0; replicas > 0)
    for (auto& place : out.spec.places)
      if (place.role == "active") place.replicas = replicas;
  if (resources && get_string(*resources, "costStrategy") == "SpotPreemptible")
    notes.emplace_back("serving never runs on spot, so costStrategy SpotPreemptible changes nothing");
  out.spec.defaultLevel = base.spec.serve.defaultLevel;
  out.spec.limits = base.spec.serve.limits;
  out.spec.canary = base.spec.serve.canary;
  keep_canary_among(out.spec.canary, out.spec.places);
  out.spec.latencyTarget = targets.latency.count() > 0 ? targets.latency : base.spec.serve.latencyTarget;
  return out;
}

}  // namespace

Result<Derivation> derive_hybrid_strategy(const ClusterState& state, const Json& document) {
  Derivation out;
  const auto type = spec_text(document, {}, "workloadType");
  if (type != "Training" && type != "Inference")
    return fail(Code::kInvalidArgument, "WorkloadType",
                fmt::format("spec.workloadType is \"{}\"; write Training or Inference", type));
  const auto action = spec_text(document, {"postTraining"}, "action");
  if (!action.empty() && action != "DistillAndPush")
    return fail(Code::kInvalidArgument, "PostTrainingAction",
                fmt::format("spec.postTraining.action is \"{}\"; only DistillAndPush is known", action));
  NEAP_TRY(const auto* base, find_template(state, document));
  NEAP_TRY(const auto targets, read_targets(state, document));
  if (!targets.strict.empty()) {
    out.objects.push_back({strict_guard(document, targets), {}});
    out.notes.push_back(fmt::format("nothing made at {} leaves it", fmt::join(targets.strict, ", ")));
  }
  if (type == "Inference") {
    NEAP_TRY(auto service, inference_service(state, document, *base, targets, out.notes));
    out.objects.push_back({std::move(service), {}});
  } else {
    NEAP_TRY(auto strategy, training_strategy(state, document, *base, targets, out.notes));
    out.objects.push_back({std::move(strategy), {}});
  }
  return out;
}

Result<Derivation> derive_hybrid_policy(const Json& document) {
  auto rules = policy::rules_from_hybridcloud_policy(document);
  if (!rules) {
    auto error = std::move(rules).error();
    error.reason = "Constraint";
    return std::unexpected(std::move(error));
  }
  api::SchedulingPolicy out;
  out.metadata = derived_meta(document, meta_text(document, "name"));
  for (const auto& rule : *rules)
    out.spec.rules.push_back({.name = rule.name, .condition = rule.condition.text(), .action = rule.action});
  Derivation derivation;
  derivation.objects.push_back({std::move(out), {}});
  return derivation;
}

}  // namespace neap::controllers
