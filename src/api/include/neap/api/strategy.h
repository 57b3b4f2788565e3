// DeploymentStrategy: the one document of the main job, and SchedulingPolicy.
#pragma once

#include "neap/api/serving.h"

namespace neap::api {

struct CollectStage {
  std::string dataset, declassification = "mask-identifiers-v1";
  template <class V>
  static void describe(V& v) {
    v.field("dataset", &CollectStage::dataset, "Dataset whose parts are prepared and sent.", kRequired);
    v.field("declassification", &CollectStage::declassification, "Named rule that makes what may leave.");
  }
};
struct CompressStage {
  std::vector<std::string> command;
  Resources resources;
  std::map<std::string, std::string> parameters;
  std::vector<QualityGate> gates;
  std::vector<std::string> variants{"student.onnx", "student.int8.onnx"};
  template <class V>
  static void describe(V& v) {
    v.field("command", &CompressStage::command, "Argument vector.", kRequired);
    v.field("resources", &CompressStage::resources, "Needed by it.");
    v.field("parameters", &CompressStage::parameters, "Handed to the program.");
    v.field("gates", &CompressStage::gates, "Checks that stop a bad model.");
    v.field("variants", &CompressStage::variants, "Outputs registered and rolled out in this order.");
  }
};
struct ServeStage {
  std::string name;
  std::vector<ServicePlace> places;
  Resources resources;
  DataLevel defaultLevel = DataLevel::kL2;
  ServeLimits limits;
  CanarySpec canary;
  Duration latencyTarget{};
  template <class V>
  static void describe(V& v) {
    v.field("name", &ServeStage::name, "Name of the InferenceService and of the model clients ask for.",
            kRequired);
    v.field("places", &ServeStage::places, "Where replicas stand.",
            FieldOptions{.required = true, .list_map_key = "site"});
    v.field("resources", &ServeStage::resources, "Needed by each replica.");
    v.field("defaultLevel", &ServeStage::defaultLevel, "Level of requests that carry none.");
    v.field("limits", &ServeStage::limits, "When a replica counts as full.");
    v.field("canary", &ServeStage::canary, "How a new version is checked.");
    v.field("latencyTarget", &ServeStage::latencyTarget, "What clients are promised.");
  }
};
struct TrainStage {
  std::vector<std::string> command;
  std::string code;
  std::int64_t replicas = 1;
  Resources resources;
  std::map<std::string, std::string> parameters;
  CheckpointSpec checkpoint;
  InterruptionClass interruption = InterruptionClass::kCheckpointed;
  std::string costStrategy;
  std::vector<std::string> allowedSites;
  std::string output = "model";
  template <class V>
  static void describe(V& v) {
    v.field("command", &TrainStage::command, "Argument vector; {code} is the unpacked code folder.",
            kRequired);
    v.field("code", &TrainStage::code,
            "Digest of the code archive, or a folder that `neap apply` packs and pushes.", kRequired);
    v.field("replicas", &TrainStage::replicas, "Ranks.", FieldOptions{.minimum = 1});
    v.field("resources", &TrainStage::resources, "Needed by each rank.");
    v.field("parameters", &TrainStage::parameters, "Handed to the program.");
    v.field("checkpoint", &TrainStage::checkpoint, "When to checkpoint.");
    v.field("interruption", &TrainStage::interruption, "never, checkpointed or restartable.");
    v.field("costStrategy", &TrainStage::costStrategy,
            "SpotPreemptible, OnDemand, PrivateFirst, Cheapest or LowestCarbon.");
    v.field("allowedSites", &TrainStage::allowedSites, "Only these sites; empty is any that policy allows.");
    v.field("output", &TrainStage::output, "Output that the next stage reads.");
  }
};
struct DeploymentStrategySpec {
  std::string team, model;
  CollectStage collect;
  TrainStage train;
  std::optional<CompressStage> compress;
  ServeStage serve;
  template <class V>
  static void describe(V& v) {
    v.field("team", &DeploymentStrategySpec::team, "Team that pays.");
    v.field("model", &DeploymentStrategySpec::model, "Model that is made.", kImmutable);
    v.field("collect", &DeploymentStrategySpec::collect, "What data leaves the edge, and how.", kRequired);
    v.field("train", &DeploymentStrategySpec::train, "How it is trained.", kRequired);
    v.field("compress", &DeploymentStrategySpec::compress, "How it is made small.");
    v.field("serve", &DeploymentStrategySpec::serve, "Where it answers.", kRequired);
  }
};
struct StageStatus {
  std::string name, phase, object, message;
  std::optional<WallTime> startedAt, finishedAt;
  template <class V>
  static void describe(V& v) {
    v.field("name", &StageStatus::name, "collect, train, compress, register, distribute or serve.",
            kRequired);
    v.field("phase", &StageStatus::phase, "Waiting, Running, Done or Failed.");
    v.field("object", &StageStatus::object, "Object that carries it out, kind/name.");
    v.field("message", &StageStatus::message, "What it does or why it failed.",
            FieldOptions{.length_max = 32768});
    v.field("startedAt", &StageStatus::startedAt, "Start.");
    v.field("finishedAt", &StageStatus::finishedAt, "End.");
  }
};
// phase: Pending, Running, Complete, Failed.
struct DeploymentStrategyStatus {
  std::string phase = "Pending", message;
  std::int64_t observedGeneration = 0;
  std::vector<StageStatus> stages;
  std::vector<Condition> conditions;
  template <class V>
  static void describe(V& v) {
    v.field("phase", &DeploymentStrategyStatus::phase, "Pending, Running, Complete or Failed.");
    v.field("message", &DeploymentStrategyStatus::message, "Why.", FieldOptions{.length_max = 32768});
    v.field("observedGeneration", &DeploymentStrategyStatus::observedGeneration,
            "Generation this status is about.");
    v.field("stages", &DeploymentStrategyStatus::stages, "Stages in order.",
            FieldOptions{.list_map_key = "name"});
    v.field("conditions", &DeploymentStrategyStatus::conditions, "Complete, Failed.",
            FieldOptions{.list_map_key = "type"});
  }
};

struct PolicyRuleSpec {
  std::string name, condition, action;
  template <class V>
  static void describe(V& v) {
    v.field("name", &PolicyRuleSpec::name, "Shown in explanations.", kRequired);
    v.field("condition", &PolicyRuleSpec::condition, "CEL over task, data, site, node, now, price.",
            kRequired);
    v.field("action", &PolicyRuleSpec::action,
            "schedule_to(SITE), require(CEL), forbid(CEL) or prefer(CEL, weight).", kRequired);
  }
};
struct SchedulingPolicySpec {
  std::vector<PolicyRuleSpec> rules;
  template <class V>
  static void describe(V& v) {
    v.field("rules", &SchedulingPolicySpec::rules, "Guards and preferences.",
            FieldOptions{.required = true, .list_map_key = "name"});
  }
};

}  // namespace neap::api
