// DeploymentStrategy: collect -> train -> compress -> register -> distribute, one stage after another.
// Each stage is carried out by an object of its own kind; this controller creates it, waits for it and
// copies its outcome into status.stages. A new generation of the spec starts a new run.
#include <fmt/format.h>

#include <algorithm>

#include "internal/derivation.h"
#include "internal/placement.h"
#include "internal/reconciler.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::DatasetVersion;
using api::DeploymentStrategy;
using api::InferenceService;
using api::ModelVersion;
using api::StageStatus;
using api::TrainingJob;

constexpr std::array kStages{"collect", "train", "compress", "register", "distribute"};

struct Outcome {
  std::string phase = "Running";  // Running, Done, Failed
  std::string object, message;
};
Outcome running(std::string object, std::string message) {
  return {"Running", std::move(object), std::move(message)};
}
Outcome done(std::string object, std::string message) {
  return {"Done", std::move(object), std::move(message)};
}
Outcome failed(std::string object, std::string message) {
  return {"Failed", std::move(object), std::move(message)};
}

// Names of one run: "surface-inspection-g1-train".
struct RunNames {
  std::string prefix;
  explicit RunNames(const DeploymentStrategy& s)
      : prefix(fmt::format("{}-g{}", s.metadata.name, s.metadata.generation)) {}
  std::string dataset_version(const DeploymentStrategy& s) const {
    return fmt::format("{}-{}", s.spec.collect.dataset, prefix);
  }
  std::string train() const { return prefix + "-train"; }
  std::string compress() const { return prefix + "-compress"; }
  std::string model_version(const DeploymentStrategy& s, std::size_t variant) const {
    return fmt::format("{}-g{}-v{}", model_name(s), s.metadata.generation, variant + 1);
  }
  static std::string model_name(const DeploymentStrategy& s) {
    return s.spec.model.empty() ? s.metadata.name : s.spec.model;
  }
};

api::ObjectMeta owned_meta(const DeploymentStrategy& s, std::string name) {
  api::ObjectMeta meta;
  meta.name = std::move(name);
  meta.namespace_ = s.metadata.namespace_;
  meta.labels = billing_labels(s.metadata);
  if (!s.spec.team.empty()) meta.labels["team"] = s.spec.team;
  meta.labels["model"] = RunNames::model_name(s);
  meta.labels["strategy"] = s.metadata.name;
  meta.ownerReferences.push_back(owner_reference(s));
  return meta;
}

// Parts are collected where the raw records lie; what comes back is the masked version.
Task<Result<Outcome>> collect(const Pass& pass, const DeploymentStrategy& s) {
  const RunNames names(s);
  const auto version_name = names.dataset_version(s);
  if (pass.state.find<DatasetVersion>(s.metadata.namespace_, version_name))
    co_return done("datasetversion/" + version_name, "all parts arrived and were verified");
  const auto* dataset = pass.state.find<api::Dataset>(s.metadata.namespace_, s.spec.collect.dataset);
  if (!dataset)
    co_return running("", fmt::format("waits for dataset \"{}\"; apply it in project {}",
                                      s.spec.collect.dataset, s.metadata.namespace_));
  if (dataset->spec.sources.empty())
    co_return failed("dataset/" + dataset->metadata.name,
                     "the dataset has no sources; name at least one site and path");

  const auto policies = data_policies_of(pass.state, s.metadata.namespace_);
  std::vector<api::DataSource> sources;
  for (const auto& source : dataset->spec.sources) {
    // An unknown site is kept: collecting there waits and says why.
    const auto* site = pass.state.resolve_site(source.site);
    if (!site || !policies.is_strict(SiteName(site->metadata.name))) sources.push_back(source);
  }
  if (sources.empty())
    co_return failed(
        "dataset/" + dataset->metadata.name,
        "every part of the dataset lies at a Strict location, which nothing leaves; add a source "
        "elsewhere, or take dataSovereignty: Strict from one");

  std::vector<api::DatasetPart> parts;
  std::string waiting;
  for (const auto& source : sources) {
    const auto name = fmt::format("{}-{}", version_name, source.site);
    const auto* allocation = pass.state.find<Allocation>(s.metadata.namespace_, name);
    if (!allocation) {
      auto wanted = collect_allocation(pass, *dataset, source, s.spec.collect, version_name);
      if (!wanted) {
        waiting = wanted.error().message;
        continue;
      }
      wanted->metadata = owned_meta(s, name);
      wanted->spec.ownerKind = "DeploymentStrategy";
      wanted->spec.ownerName = s.metadata.name;
      NEAP_CO_TRY_VOID(co_await create_if_absent(pass, std::move(*wanted)));
      waiting = "collecting at " + source.site;
    } else if (allocation->status.phase == "Failed") {
      co_return failed("allocation/" + name, fmt::format("{}: {}", source.site, allocation->status.message));
    } else if (allocation->status.phase == "Succeeded" && allocation->status.part) {
      parts.push_back(*allocation->status.part);
    } else {
      waiting = allocation->status.message.empty() ? "collecting at " + source.site
                                                   : source.site + ": " + allocation->status.message;
    }
  }
  if (parts.size() != sources.size()) co_return running("dataset/" + dataset->metadata.name, waiting);
  NEAP_CO_TRY_VOID(
      co_await create_if_absent(pass, merge_parts(owned_meta(s, version_name), *dataset, s.spec.collect,
                                                  std::move(parts), pass.options.server_site)));
  co_return running("datasetversion/" + version_name, "merging parts");
}

TrainingJob training_job(const DeploymentStrategy& s) {
  const RunNames names(s);
  TrainingJob job;
  job.metadata = owned_meta(s, names.train());
  job.spec.type = "training";
  job.spec.command = s.spec.train.command;
  job.spec.code = s.spec.train.code;
  job.spec.replicas = s.spec.train.replicas;
  job.spec.resources = s.spec.train.resources;
  job.spec.parameters = s.spec.train.parameters;
  job.spec.checkpoint = s.spec.train.checkpoint;
  job.spec.interruption = s.spec.train.interruption;
  job.spec.costStrategy = s.spec.train.costStrategy;
  job.spec.allowedSites = s.spec.train.allowedSites;
  job.spec.inputs.push_back(
      {.name = "dataset", .datasetVersion = names.dataset_version(s), .fromJob = {}, .output = {}});
  return job;
}

TrainingJob compress_job(const DeploymentStrategy& s) {
  const RunNames names(s);
  TrainingJob job;
  job.metadata = owned_meta(s, names.compress());
  job.spec.type = "compress";
  job.spec.command = s.spec.compress->command;
  job.spec.code = s.spec.train.code;
  job.spec.resources = s.spec.compress->resources;
  job.spec.parameters = s.spec.compress->parameters;
  job.spec.gates = s.spec.compress->gates;
  job.spec.interruption = api::InterruptionClass::kRestartable;
  job.spec.inputs.push_back(
      {.name = "dataset", .datasetVersion = names.dataset_version(s), .fromJob = {}, .output = {}});
  job.spec.inputs.push_back(
      {.name = "teacher", .datasetVersion = {}, .fromJob = names.train(), .output = s.spec.train.output});
  return job;
}

Task<Result<Outcome>> run_job(const Pass& pass, TrainingJob wanted) {
  const auto name = wanted.metadata.name;
  const auto* job = pass.state.find<TrainingJob>(wanted.metadata.namespace_, name);
  if (!job) {
    NEAP_CO_TRY_VOID(co_await create_if_absent(pass, std::move(wanted)));
    co_return running("trainingjob/" + name, "created");
  }
  const auto& status = job->status;
  if (status.phase == "Succeeded") co_return done("trainingjob/" + name, status.message);
  if (status.phase == "Failed") co_return failed("trainingjob/" + name, status.message);
  co_return running("trainingjob/" + name, status.message.empty()
                                               ? status.phase
                                               : fmt::format("{}: {}", status.phase, status.message));
}

const TrainingJob* final_job(const Pass& pass, const DeploymentStrategy& s) {
  const RunNames names(s);
  return pass.state.find<TrainingJob>(s.metadata.namespace_,
                                      s.spec.compress ? names.compress() : names.train());
}

Task<Result<Outcome>> register_models(const Pass& pass, const DeploymentStrategy& s) {
  const RunNames names(s);
  const auto* job = final_job(pass, s);
  if (!job) co_return failed("", "the job that made the model is gone; apply the strategy again");
  const auto* train = pass.state.find<TrainingJob>(s.metadata.namespace_, names.train());
  const auto* data = pass.state.find<DatasetVersion>(s.metadata.namespace_, names.dataset_version(s));
  api::Model model;
  model.metadata = owned_meta(s, RunNames::model_name(s));
  NEAP_CO_TRY_VOID(co_await create_if_absent(pass, std::move(model)));

  const auto variants =
      s.spec.compress ? s.spec.compress->variants : std::vector<std::string>{s.spec.train.output};
  std::size_t registered = 0;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const auto version_name = names.model_version(s, i);
    if (pass.state.find<ModelVersion>(s.metadata.namespace_, version_name)) {
      ++registered;
      continue;
    }
    PublishRequest request;
    request.repository = s.metadata.namespace_ + "/" + RunNames::model_name(s);
    request.tag = fmt::format("g{}-v{}", s.metadata.generation, i + 1);
    request.file = variants[i];
    request.metrics = job->status.metrics;
    for (const auto& output : job->status.outputs)
      if (output.name == variants[i] || std::ranges::find(variants, output.name) == variants.end())
        request.files.push_back(output);
    if (std::ranges::none_of(request.files, [&](const auto& f) { return f.name == variants[i]; }))
      co_return failed("trainingjob/" + job->metadata.name,
                       fmt::format("the job left no output named \"{}\"; it must report one for each variant",
                                   variants[i]));
    request.lineage.job = job->metadata.name;
    request.lineage.codeDigest = s.spec.train.code;
    if (data) request.lineage.datasetDigests.push_back(data->spec.digest);
    if (train)
      for (const auto& output : train->status.outputs)
        if (output.name == s.spec.train.output) request.lineage.teacherDigest = output.digest;
    auto published = co_await pass.publisher.publish(pass.ctx, request);
    if (!published) co_return fail(std::move(published).error(), "publishing " + version_name);

    ModelVersion version;
    version.metadata = owned_meta(s, version_name);
    version.spec.model = RunNames::model_name(s);
    version.spec.repository = request.repository;
    version.spec.manifestDigest = published->manifest_digest;
    version.spec.signatureKeyId = published->signature_key_id;
    version.spec.file = variants[i];
    version.spec.files = request.files;
    version.spec.level = data ? data->spec.level : api::DataLevel::kL1;
    version.spec.lineage = request.lineage;
    version.spec.metrics = request.metrics;
    NEAP_CO_TRY_VOID(co_await create_if_absent(pass, std::move(version)));
  }
  const auto object = "model/" + RunNames::model_name(s);
  if (registered == variants.size()) co_return done(object, fmt::format("{} signed versions", registered));
  co_return running(object, fmt::format("{} of {} versions registered", registered, variants.size()));
}

// Variants go out in order: the next one only after the one before it serves everywhere.
Task<Result<Outcome>> distribute(const Pass& pass, const DeploymentStrategy& s) {
  const RunNames names(s);
  const std::size_t variants = s.spec.compress ? s.spec.compress->variants.size() : 1;
  const auto object = "inferenceservice/" + s.spec.serve.name;
  const auto* service = pass.state.find<InferenceService>(s.metadata.namespace_, s.spec.serve.name);
  if (!service) {
    InferenceService wanted;
    wanted.metadata = owned_meta(s, s.spec.serve.name);
    wanted.spec.model = RunNames::model_name(s);
    wanted.spec.modelVersion = names.model_version(s, 0);
    wanted.spec.places = s.spec.serve.places;
    wanted.spec.resources = s.spec.serve.resources;
    wanted.spec.defaultLevel = s.spec.serve.defaultLevel;
    wanted.spec.limits = s.spec.serve.limits;
    wanted.spec.canary = s.spec.serve.canary;
    wanted.spec.latencyTarget = s.spec.serve.latencyTarget;
    NEAP_CO_TRY_VOID(co_await create_if_absent(pass, std::move(wanted)));
    co_return running(object, "created");
  }
  std::size_t at = variants;
  for (std::size_t i = 0; i < variants; ++i)
    if (service->spec.modelVersion == names.model_version(s, i)) at = i;
  const auto set_version = [&](std::size_t variant) -> InferenceService {
    auto next = *service;
    next.spec.modelVersion = names.model_version(s, variant);
    next.spec.places = s.spec.serve.places;
    next.spec.canary = s.spec.serve.canary;
    next.spec.limits = s.spec.serve.limits;
    return next;
  };
  if (at == variants) {  // the service still names a version of an earlier run
    NEAP_CO_TRY_VOID(co_await write_spec(pass, set_version(0)));
    co_return running(object, "rolling out " + names.model_version(s, 0));
  }
  const auto& status = service->status;
  if (status.observedGeneration != service->metadata.generation)
    co_return running(object, "waits for the rollout to start");
  if (status.phase == "RolledBack") co_return failed(object, status.message);
  if (status.phase != "Complete" || status.activeVersion != service->spec.modelVersion)
    co_return running(object,
                      fmt::format("{} {}: {}", service->spec.modelVersion, status.phase, status.message));
  if (at + 1 < variants) {
    NEAP_CO_TRY_VOID(co_await write_spec(pass, set_version(at + 1)));
    co_return running(object, "rolling out " + names.model_version(s, at + 1));
  }
  co_return done(object, fmt::format("{} serves at {} replicas", status.activeVersion, status.readyReplicas));
}

Task<Result<Outcome>> run_stage(const Pass& pass, const DeploymentStrategy& s, std::string_view stage) {
  if (stage == "collect") co_return co_await collect(pass, s);
  if (stage == "train") co_return co_await run_job(pass, training_job(s));
  if (stage == "compress") {
    if (!s.spec.compress) co_return done("", "not asked for");
    co_return co_await run_job(pass, compress_job(s));
  }
  if (stage == "register") co_return co_await register_models(pass, s);
  co_return co_await distribute(pass, s);
}

void record(StageStatus& stage, const Outcome& outcome, WallTime now) {
  if (!stage.startedAt) stage.startedAt = now;
  stage.phase = outcome.phase;
  if (!outcome.object.empty()) stage.object = outcome.object;
  stage.message = outcome.message;
  if (outcome.phase != "Running" && !stage.finishedAt) stage.finishedAt = now;
}

Task<Status> reconcile_strategy(const Pass& pass, const DeploymentStrategy& before) {
  auto s = before;
  auto& status = s.status;
  if (is_template(s)) {
    status = {};
    status.phase = "Template";
    status.observedGeneration = s.metadata.generation;
    status.message = "does not run itself; documents that name no program take it from here";
    if (same_object(s, before)) co_return ok();
    co_return co_await write_status(pass, std::move(s));
  }
  if (status.phase == "Template") status = {};
  if (status.observedGeneration != s.metadata.generation) {
    status = {};
    status.observedGeneration = s.metadata.generation;
    for (const auto* name : kStages) status.stages.push_back({.name = name, .phase = "Waiting"});
  }
  if (status.phase == "Complete" || status.phase == "Failed") co_return ok();
  status.phase = "Running";
  for (auto& stage : status.stages) {
    if (stage.phase == "Done") continue;
    auto outcome = co_await run_stage(pass, s, stage.name);
    if (!outcome) co_return fail(std::move(outcome).error(), "stage " + stage.name);
    record(stage, *outcome, pass.wall());
    status.message = stage.name + ": " + stage.message;
    if (stage.phase == "Failed") {
      status.phase = "Failed";
      api::set_condition(
          status.conditions,
          {.type = "Failed", .status = "True", .reason = "StageFailed", .message = status.message},
          pass.wall());
    }
    if (stage.phase != "Done") break;
  }
  if (std::ranges::all_of(status.stages, [](const auto& stage) { return stage.phase == "Done"; })) {
    status.phase = "Complete";
    api::set_condition(status.conditions,
                       {.type = "Complete", .status = "True", .reason = "Served", .message = status.message},
                       pass.wall());
  }
  if (same_object(s, before)) co_return ok();
  co_return co_await write_status(pass, std::move(s));
}

}  // namespace

Task<Status> reconcile_strategies(const Pass& pass) {
  Status first_error;
  for (const auto& [key, strategy] : pass.state.all<DeploymentStrategy>()) {
    if (strategy.metadata.deletionTimestamp) continue;
    auto status = co_await reconcile_strategy(pass, strategy);
    if (!status && first_error)
      first_error = fail(std::move(status).error(), "deploymentstrategy/" + key.name);
  }
  co_return first_error;
}

}  // namespace neap::controllers
