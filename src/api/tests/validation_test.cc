#include <gtest/gtest.h>

#include "neap/api/codec.h"
#include "neap/api/kind.h"
#include "neap/api/resource.h"

namespace neap::api {
namespace {

Json yaml(std::string_view text) {
  auto parsed = parse_yaml(text);
  EXPECT_TRUE(parsed) << parsed.error().to_string();
  return parsed ? parsed->at(0) : Json();
}
const KindEntry& kind_of(const Json& object) {
  const auto version = get_string(object, "apiVersion");
  const auto slash = version.find('/');
  const auto* entry = KindTable::standard().find_kind(
      slash == std::string_view::npos ? "" : version.substr(0, slash),
      slash == std::string_view::npos ? version : version.substr(slash + 1), get_string(object, "kind"));
  EXPECT_NE(entry, nullptr) << version;
  return *entry;
}
std::string problems_of(std::string_view text) {
  Json object = yaml(text);
  const auto& entry = kind_of(object);
  entry.apply_defaults(object);
  return to_sentences(entry.validate(object));
}
std::string job(std::string_view spec) {
  return problems_of(
      fmt::format("{{apiVersion: neap.dev/v1, kind: TrainingJob, metadata: {{name: j}}, spec: {}}}", spec));
}

TEST(Validation, says_exactly_what_is_wrong_and_where) {
  struct Case {
    std::string_view spec, message;
  };
  const Case cases[] = {
      {"{command: [a]}", ""},
      {"{}", "spec.command: is required"},
      {"{command: []}", "spec.command: must not be empty"},
      {"{command: a}", "spec.command: must be a list, is \"a\""},
      {"{command: [1]}", "spec.command[0]: must be a string, is 1"},
      {"{command: [a], replicas: 0}", "spec.replicas: must be at least 1, is 0"},
      {"{command: [a], replicas: 100001}", "spec.replicas: must be at most 100000, is 100001"},
      {"{command: [a], replicas: 1.5}", "spec.replicas: must be an integer, is 1.5E0"},
      {"{command: [a], replicas: 18446744073709551615}",
       "spec.replicas: must fit 64 bits with a sign, is 18446744073709551615"},
      {"{command: [a], suspend: \"yes\"}", "spec.suspend: must be true or false, is \"yes\""},
      {"{command: [a], gpus: 8}", "unknown field \"spec.gpus\""},
      {"{command: [a], inputs: [{name: x, from: y}]}", "unknown field \"spec.inputs[0].from\""},
      {"{command: [a], inputs: [{name: x}, {name: x}]}",
       "spec.inputs[1].name: must be unique in the list, \"x\" appears twice"},
      {"{command: [a], interruption: often}",
       "spec.interruption: must be one of \"never\", \"checkpointed\", \"restartable\", is \"often\""},
      {"{command: [a], resources: {memory: 12XB}}",
       "spec.resources.memory: \"12XB\" is not a quantity (unknown suffix); write a number with an optional "
       "suffix, like 500m, 2 or 4Gi"},
      {"{command: [a], expectedDuration: soon}",
       "spec.expectedDuration: \"soon\" is not a duration; write a number and a unit, like 20ms, 1.5s, 5m or "
       "1h30m"},
      {"{command: [a], deadline: tomorrow}",
       "spec.deadline: \"tomorrow\" is not an RFC 3339 time; write it like 2026-11-22T08:00:00Z"},
      {"{command: [a], deadline: \"1700-01-01T00:00:00Z\"}",
       "spec.deadline: must lie between 1970-01-01T00:00:00Z and 2150-01-01T00:00:00Z, is "
       "\"1700-01-01T00:00:00Z\"; leave it out where there is no limit"},
      {"{command: [a], deadline: \"9999-12-31T23:59:59Z\"}",
       "spec.deadline: must lie between 1970-01-01T00:00:00Z and 2150-01-01T00:00:00Z, is "
       "\"9999-12-31T23:59:59Z\"; leave it out where there is no limit"},
      {"{command: [a], deadline: \"2150-01-01T00:00:00Z\", expectedDuration: 876000h}", ""},
      {"{command: [a], expectedDuration: 2500000h}",
       "spec.expectedDuration: must be at most 876000h, a hundred years, is \"2500000h\""},
      {"{command: [a], resources: {cpu: 9P}}", "spec.resources.cpu: must be at most 1G, is \"9P\""},
      {"{command: [a], resources: {memory: 7Ei}}", "spec.resources.memory: must be at most 1Ei, is \"7Ei\""},
      {"{command: [a], resources: {accelerators: {A100: 2G}}}",
       "spec.resources.accelerators[A100]: must be at most 1G, is \"2G\""},
      {"{command: [a], resources: {cpu: 2, accelerators: {NVIDIA_A100: 0.5}}}", ""},
      {"{command: [a], parameters: {lr: 0.1}}", "spec.parameters[lr]: must be a string, is 1E-1"},
  };
  for (const auto& c : cases) EXPECT_EQ(job(c.spec), c.message) << c.spec;
}

TEST(Validation, amounts_of_other_systems_documents_are_bounded_too) {
  const auto group = [](std::string_view memory) {
    return problems_of(fmt::format(
        "{{apiVersion: scheduling.volcano.sh/v1beta1, kind: PodGroup, metadata: {{name: g}}, spec: "
        "{{minMember: 1, minResources: {{memory: {}}}}}}}",
        memory));
  };
  EXPECT_EQ(group("1Pi"), "");
  EXPECT_EQ(group("2Pi"), "spec.minResources[memory]: must be at most 1Pi, is \"2Pi\"");
}

// Objects of before the bounds: what they say is read as the nearest value inside.
TEST(Codec, reads_what_was_stored_out_of_bounds_as_the_nearest_value_inside) {
  const auto read = [](std::string_view deadline) {
    return from_json<TrainingJob>(yaml(
        fmt::format("{{apiVersion: neap.dev/v1, kind: TrainingJob, metadata: {{name: j}}, spec: {{command: "
                    "[a], deadline: \"{}\", expectedDuration: 2500000h, resources: {{cpu: 9P, memory: 7Ei, "
                    "accelerators: {{A100: 9P}}}}}}}}",
                    deadline)));
  };
  for (const auto* far : {"2150-01-01T00:00:01Z", "2200-01-01T00:00:00Z", "9999-01-01T00:00:00Z"}) {
    const auto job = read(far);
    ASSERT_TRUE(job) << job.error().to_string();
    EXPECT_EQ(format_rfc3339(*job->spec.deadline), "2150-01-01T00:00:00Z") << far;
  }
  for (const auto* far : {"1969-12-31T23:59:59Z", "1700-01-01T00:00:00Z", "0001-01-01T00:00:00Z"}) {
    const auto job = read(far);
    ASSERT_TRUE(job) << job.error().to_string();
    EXPECT_EQ(format_rfc3339(*job->spec.deadline), "1970-01-01T00:00:00Z") << far;
    EXPECT_EQ(job->spec.expectedDuration, std::chrono::hours(876'000));
    EXPECT_EQ(job->spec.resources.cpu.value, 1'000'000'000'000);
    EXPECT_EQ(job->spec.resources.memory.value, std::int64_t(1) << 60);
    EXPECT_EQ(job->spec.resources.accelerators.at("A100").value, 1'000'000'000'000);
  }
}

TEST(Validation, looks_at_head_and_metadata_too) {
  EXPECT_EQ(
      problems_of("{apiVersion: neap.dev/v1, kind: DataPolicy, metadata: {name: Bad_Name}, spec: "
                  "{rules: [{name: r, level: L2, effect: maybe}]}}"),
      "spec.rules[0].effect: must match allow|deny|strict, is \"maybe\"; metadata.name: must be lower-case "
      "letters, digits, '-' and '.', "
      "begin and end with a letter or digit, at most 253 bytes, is \"Bad_Name\"");
  EXPECT_EQ(
      problems_of("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {a: b c, -x: z}}, dta: {}}"),
      "unknown field \"dta\"; metadata.labels[a]: is not a label value: letters, digits, '-', '_' and '.', "
      "at most 63 bytes, is "
      "\"b c\"; metadata.labels[-x]: is not a label name: [prefix/]name of letters, digits, '-', '_' and "
      "'.', at most 63 bytes");
  EXPECT_EQ(problems_of("{apiVersion: v1, kind: Namespace, metadata: {}}"),
            "metadata.name: is required (or metadata.generateName)");
  EXPECT_EQ(problems_of("{apiVersion: v1, kind: Namespace}"), "metadata: is required");
  EXPECT_EQ(problems_of("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: "
                        "'system:node'}, rules: [{verbs: [get]}]}"),
            "");
}

TEST(Validation, a_document_of_mistakes_gets_a_bounded_answer) {
  std::string spec = "{command: [a]";
  for (int i = 0; i < 5000; ++i) spec += fmt::format(", f{}: 1", i);
  EXPECT_LT(job(spec + "}").size(), 10'000u);
}

TEST(Validation, what_only_unknown_fields_break_is_a_bad_request_anything_else_is_invalid) {
  const std::vector<FieldProblem> unknown{{"spec.x", "unknown field \"spec.x\"", true}};
  EXPECT_EQ(error_of_problems(unknown).code, Code::kInvalidArgument);
  EXPECT_EQ(error_of_problems(unknown).message, "strict decoding error: unknown field \"spec.x\"");
  const std::vector<FieldProblem> both{unknown[0], {"spec.a", "is required"}};
  EXPECT_EQ(error_of_problems(both).code, Code::kFailedPrecondition);
}

TEST(Immutability, compares_meaning_not_spelling) {
  const auto* link = KindTable::standard().find_kind("neap.dev", "v1", "Link");
  const Json before =
      yaml("{apiVersion: neap.dev/v1, kind: Link, spec: {from: a, to: b, bandwidthMbps: 10}}");
  EXPECT_EQ(to_sentences(link->validate_update(before, yaml("{spec: {from: a, to: c, bandwidthMbps: 20}}"))),
            "spec.to: cannot change, is \"b\"; delete the object and create it anew");
  EXPECT_EQ(to_sentences(link->validate_update(before, yaml("{kind: Node, spec: {from: a, to: b}}"))),
            "kind: cannot change, is \"Link\"");
  const auto* allocation = KindTable::standard().find_kind("neap.dev", "v1", "Allocation");
  const Json one = yaml("{spec: {node: n, site: s, ownerKind: K, ownerName: o}}");
  EXPECT_EQ(to_sentences(allocation->validate_update(
                one, yaml("{spec: {node: n, site: s, ownerKind: K, ownerName: o, epoch: 0}}"))),
            "");
  EXPECT_NE(to_sentences(allocation->validate_update(
                one, yaml("{spec: {node: n, site: s, ownerKind: K, ownerName: o, epoch: 1}}"))),
            "");
  const auto* binding = KindTable::standard().find_kind("rbac.authorization.k8s.io", "v1", "RoleBinding");
  EXPECT_EQ(to_sentences(binding->validate_update(yaml("{roleRef: {kind: Role, name: a}}"),
                                                  yaml("{roleRef: {kind: Role, name: b}}"))),
            "roleRef: cannot change; delete the object and create it anew");
  const auto* version = KindTable::standard().find_kind("neap.dev", "v1", "DatasetVersion");
  EXPECT_EQ(to_sentences(version->validate_update(yaml("{spec: {parts: [{site: a, bytesRaw: 1Ki}]}}"),
                                                  yaml("{spec: {parts: [{site: a, bytesRaw: 1024}]}}"))),
            "");
}

TEST(Defaults, fill_what_is_absent_or_null_and_leave_the_rest) {
  Json object = yaml(
      "{apiVersion: neap.dev/v1, kind: TrainingJob, metadata: {name: j}, spec: {command: [a], replicas: "
      "null, backoffLimit: 0, queue: null}}");
  kind_of(object).apply_defaults(object);
  EXPECT_EQ(object.at("spec").at("replicas"), 1);
  EXPECT_EQ(object.at("spec").at("backoffLimit"), 0);
  EXPECT_EQ(object.at("spec").at("interruption"), "checkpointed");
  EXPECT_FALSE(object.at("spec").as_object().contains("queue"));
  EXPECT_FALSE(object.at("spec").as_object().contains("checkpoint"));
}

TEST(ForeignDocuments, are_accepted_as_they_stand) {
  const std::string_view documents[] = {
      R"(
apiVersion: ai.hybrid.io/v1
kind: DeploymentStrategy
metadata: {name: train-and-push}
spec:
  workloadType: "Training"
  targetCloud: "public-cloud-gpu-cluster"
  resources: {gpuType: "NVIDIA_A100", replicas: 32, costStrategy: "SpotPreemptible"}
  postTraining:
    action: "DistillAndPush"
    targetEdge:
      - {location: "factory-1", latencyTarget: "10ms"}
      - {location: "hospital-2", dataSovereignty: "Strict"}
)",
      R"(
apiVersion: ai.hybridcloud/v1
kind: SchedulingPolicy
metadata: {name: realtime}
spec:
  priorityClass: "critical-realtime"
  constraints:
    - {type: "Latency", threshold: "10ms", action: "ForceEdge"}
    - {type: "Cost", threshold: "spot-price-low", action: "PreemptibleCloud"}
)",
      R"(
apiVersion: scheduling.volcano.sh/v1beta1
kind: PodGroup
metadata: {name: gang}
spec:
  minMember: 4
  minResources: {cpu: "8", memory: 16Gi, nvidia.com/gpu: "4"}
  queue: default
)",
      R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge-inference}
spec:
  replicas: 2
  template:
    spec:
      containers:
        - name: inference
          image: registry.example/inference:v1
          resources: {limits: {nvidia.com/gpu: 1, memory: "2Gi"}}
          env: [{name: MODEL_PATH, value: /models/a}]
)",
      R"(
apiVersion: batch/v1
kind: Job
metadata: {name: model-sync}
spec:
  template:
    spec:
      containers:
        - name: sync
          image: registry.example/sync:v1
          command: [sync, --to, edge]
          env: [{name: EDGE_ENDPOINT, value: "https://edge:8443"}]
)"};
  for (const auto text : documents) EXPECT_EQ(problems_of(text), "") << text;
  EXPECT_EQ(problems_of("{apiVersion: ai.hybrid.io/v1, kind: DeploymentStrategy, metadata: {name: a}, spec: "
                        "{workloadType: Training, resources: {gpus: 3}}}"),
            "unknown field \"spec.resources.gpus\"");
  EXPECT_EQ(problems_of("{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {template: {spec: "
                        "{containers: [{name: c, img: x}]}}}}"),
            "unknown field \"spec.template.spec.containers[0].img\"");
}

TEST(KindTable, finds_kinds_the_way_people_type_them) {
  const auto& table = KindTable::standard();
  EXPECT_EQ(table.find_by_alias("tj")->kind, "TrainingJob");
  EXPECT_EQ(table.find_by_alias("TrainingJobs")->kind, "TrainingJob");
  EXPECT_EQ(table.find_by_alias("isvc")->kind, "InferenceService");
  EXPECT_EQ(table.find_by_alias("deploymentstrategies")->group, "neap.dev");
  EXPECT_EQ(table.find_by_alias("deploymentstrategies.ai.hybrid.io")->group, "ai.hybrid.io");
  EXPECT_EQ(table.find_by_alias("cm")->kind, "ConfigMap");
  EXPECT_EQ(table.find_by_alias("nonsense"), nullptr);
  EXPECT_EQ(table.find("neap.dev", "v1", "modelversions")->has_status, false);
  EXPECT_EQ(table.find("neap.dev", "v1", "trainingjobs")->has_status, true);
  EXPECT_EQ(table.find("neap.dev", "v2", "trainingjobs"), nullptr);
}

TEST(KindTable, no_two_kinds_share_a_short_name_or_a_path) {
  std::set<std::string> seen;
  for (const auto& entry : KindTable::standard().all()) {
    EXPECT_TRUE(seen.insert(entry.api_version() + "/" + entry.plural).second) << entry.plural;
    for (const auto& name : entry.short_names) EXPECT_TRUE(seen.insert(name).second) << name;
    EXPECT_FALSE(entry.doc.empty());
  }
}

}  // namespace
}  // namespace neap::api
