// apps/v1 Deployment -> InferenceService; batch/v1 Job -> TrainingJob; PodGroup -> gang of the Job naming it.
//
// Agents run programs and models, not images: there is no container executor. A Deployment's model is served
// by the agents' own engine in its container's place; a Job that has an image is kept suspended until its
// author says that the command may run without it. Both derived objects carry a condition that says so.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "internal/derivation.h"
#include "neap/base/saturate.h"

namespace neap::controllers {
namespace {

constexpr std::string_view kGpuResource = "nvidia.com/gpu";
constexpr std::int64_t kMembersMax = 100'000;  // of a TrainingJob
// A hundred years, which is the longest that a TrainingJob may state.
constexpr std::int64_t kActiveDeadlineMax_s = 876'000 * std::int64_t(3600);

std::unexpected<Error> missing(std::string reason, std::string message) {
  return fail(Code::kFailedPrecondition, std::move(reason), std::move(message));
}

const Json* pod_of(const Json& document) { return find_path(document, {"spec", "template"}); }

// On the document first, then on its pods: where people write them differs.
std::string either_annotation(const Json& document, std::string_view key) {
  auto out = annotation_of(document, key);
  if (const auto* pod = pod_of(document); pod && out.empty()) out = annotation_of(*pod, key);
  return out;
}

struct Container {
  const Json* json = nullptr;
  std::string image;
  std::vector<std::string> command;
  std::vector<std::string> environment;  // NAME=value
  std::string find_variable(std::string_view name) const {
    for (const auto& entry : environment)
      if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=')
        return entry.substr(name.size() + 1);
    return {};
  }
};

void append_texts(std::vector<std::string>& out, const Json& container, std::string_view key) {
  if (const auto* list = find_path(container, {key}); list && list->is_array())
    for (const auto& word : list->get_array())
      if (word.is_string()) out.emplace_back(word.get_string());
}

Result<Container> read_container(const Json& document) {
  const auto* list = find_path(document, {"spec", "template", "spec", "containers"});
  if (!list || !list->is_array() || list->get_array().empty())
    return missing("ContainerMissing",
                   "spec.template.spec.containers is empty; name the container that works");
  if (list->get_array().size() > 1)
    return missing(
        "SeveralContainers",
        fmt::format("spec.template.spec.containers has {}; one allocation runs one program, so put each "
                    "into a document of its own",
                    list->get_array().size()));
  Container out;
  out.json = &list->get_array().front();
  out.image = get_string(*out.json, "image");
  append_texts(out.command, *out.json, "command");
  append_texts(out.command, *out.json, "args");
  if (find_path(*out.json, {"envFrom"}))
    return missing("EnvFrom", "envFrom is not read; write the variables as env entries with a value");
  const auto* env = find_path(*out.json, {"env"});
  if (env && env->is_array())
    for (const auto& entry : env->get_array()) {
      const auto name = get_string(entry, "name");
      if (find_path(entry, {"valueFrom"}))
        return missing(
            "EnvValueFrom",
            fmt::format("env {} takes its value from elsewhere, which is not read; write its value", name));
      out.environment.push_back(fmt::format("{}={}", name, get_string(entry, "value")));
    }
  return out;
}

// nvidia.com/gpu counts devices of any NVIDIA model; an allocation holds devices of one.
Result<std::string> accelerator_model(const ClusterState& state, const Json& document) {
  auto named = either_annotation(document, kAcceleratorAnnotation);
  if (!named.empty()) return named;
  std::set<std::string> models;
  for (const auto& [key, node] : state.all<api::Node>())
    for (const auto& [model, amount] : node.status.allocatable.accelerators)
      if (model.starts_with("NVIDIA")) models.insert(model);
  if (models.size() == 1) return *models.begin();
  if (models.empty()) return std::string(kGpuResource);  // nothing has it: the work waits and says so
  return missing("AcceleratorAmbiguous",
                 fmt::format("{} asks for a device, and there are {}; name one in annotation {}",
                             kGpuResource, fmt::join(models, ", "), kAcceleratorAnnotation));
}

Result<api::Resources> read_resources(const ClusterState& state, const Json& document, const Json& amounts,
                                      api::Resources out = {}) {
  const auto text_of = [](const Json& value) {
    return value.is_string() ? std::string(value.get_string()) : to_text(value);
  };
  if (!amounts.is_object()) return out;
  for (const auto& [key, value] : amounts.get_object()) {
    const std::string_view name = key;
    if (name == "cpu") {
      NEAP_TRY(out.cpu, parse_cores(text_of(value)));
    } else if (name == "memory") {
      NEAP_TRY(out.memory, parse_bytes(text_of(value)));
    } else if (name == kGpuResource) {
      NEAP_TRY(const auto amount, parse_accelerators(text_of(value)));
      if (amount.value == 0) continue;
      NEAP_TRY(const auto model, accelerator_model(state, document));
      out.accelerators = {{model, amount}};
    }
  }
  return out;
}

Result<api::Resources> container_resources(const ClusterState& state, const Json& document,
                                           const Container& container) {
  api::Resources out;
  // What is held is the limit; a request alone stands for it.
  for (const auto* word : {"requests", "limits"})
    if (const auto* amounts = find_path(*container.json, {"resources", word})) {
      NEAP_TRY(out, read_resources(state, document, *amounts, std::move(out)));
    }
  return out;
}

// Words that name sites, from the annotation or the pods' node selector; empty: anywhere.
std::vector<std::string> site_words(const Json& document) {
  std::vector<std::string> out;
  auto text = either_annotation(document, kSitesAnnotation);
  const auto* selector = find_path(document, {"spec", "template", "spec", "nodeSelector"});
  if (selector && text.empty())
    for (const auto* label :
         {"neap.dev/site", "topology.kubernetes.io/zone", "topology.kubernetes.io/region"})
      if (const auto value = get_string(*selector, label); !value.empty() && text.empty()) text = value;
  for (std::size_t start = 0; start < text.size();) {
    const auto comma = std::min(text.find(',', start), text.size());
    auto word = text.substr(start, comma - start);
    while (!word.empty() && word.front() == ' ') word.erase(0, 1);
    while (!word.empty() && word.back() == ' ') word.pop_back();
    if (!word.empty()) out.push_back(std::move(word));
    start = comma + 1;
  }
  return out;
}

Result<std::vector<std::string>> named_sites(const ClusterState& state, const Json& document) {
  std::vector<std::string> out;
  for (const auto& word : site_words(document)) {
    NEAP_TRY(const auto names, site_names(state, word, true, fmt::format("annotation {}", kSitesAnnotation)));
    for (const auto& name : names)
      if (std::ranges::find(out, name) == out.end()) out.push_back(name);
  }
  return out;
}

// Parts of a pod that an allocation has no counterpart for.
void note_left_out(const Json& document, const Container& container, std::vector<std::string>& notes) {
  std::vector<std::string> fields;
  const auto look = [&](const Json* owner, std::initializer_list<std::string_view> keys) {
    for (const auto key : keys)
      if (owner && find_path(*owner, {key})) fields.emplace_back(key);
  };
  look(find_path(document, {"spec", "template", "spec"}),
       {"initContainers", "volumes", "affinity", "tolerations", "topologySpreadConstraints",
        "securityContext", "hostNetwork", "nodeName"});
  look(container.json, {"volumeMounts", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle",
                        "securityContext", "workingDir"});
  if (!fields.empty()) notes.push_back(fmt::format("not applied: {}", fmt::join(fields, ", ")));
}

std::string pod_text(const Json& document, std::string_view key) {
  const auto* spec = find_path(document, {"spec", "template", "spec"});
  return spec ? std::string(get_string(*spec, key)) : std::string();
}

// The model a Deployment serves: named by annotation, or by a part of MODEL_PATH that a registered model has
// as its name (/models/surface/1/model.onnx: surface).
Result<std::string> served_model(const ClusterState& state, const Json& document,
                                 const Container& container) {
  const auto ns = meta_text(document, "namespace");
  if (auto named = either_annotation(document, kModelAnnotation); !named.empty()) return named;
  const auto path = container.find_variable("MODEL_PATH");
  if (path.empty())
    return missing(
        "ModelMissing",
        fmt::format("the container has no env MODEL_PATH and the document no annotation {}, so it is not "
                    "known what is served; agents serve registered models and cannot run image \"{}\"",
                    kModelAnnotation, container.image));
  std::vector<std::string> tried;
  for (auto rest = std::string_view(path); !rest.empty();) {
    const auto slash = rest.rfind('/');
    auto part = slash == std::string_view::npos ? rest : rest.substr(slash + 1);
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(0, slash);
    for (const auto* ending : {".onnx", ".pt", ".plan", ".bin", ".gguf", ".safetensors", ".tflite"})
      if (part.ends_with(ending)) part.remove_suffix(std::string_view(ending).size());
    if (part.empty()) continue;
    const std::string name(part);
    if (state.find<api::Model>(ns, name) || newest_version(state, ns, name)) return name;
    tried.push_back(name);
  }
  return missing(
      "ModelMissing",
      fmt::format("MODEL_PATH is {}, and project {} has no model called {}; register one, or name it in "
                  "annotation {} (agents serve registered models and cannot run image \"{}\")",
                  path, ns, fmt::join(tried, " or "), kModelAnnotation, container.image));
}

std::vector<api::ServicePlace> divide_replicas(const std::vector<std::string>& sites, std::int64_t replicas) {
  if (sites.empty()) return {{.site = "*", .replicas = replicas, .role = "active"}};
  std::vector<api::ServicePlace> out;
  const auto count = std::int64_t(sites.size());
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back({.site = sites[std::size_t(i)],
                   .replicas = replicas / count + (i < replicas % count ? 1 : 0),
                   .role = "active"});
  return out;
}

api::Condition image_is_not_run(const std::string& image, std::string_view instead) {
  return {
      .type = "ContainerRuns",
      .status = "False",
      .reason = "NoContainerExecutor",
      .message = fmt::format("image {} is not run: agents have no container executor; {}", image, instead)};
}

}  // namespace

Result<Derivation> derive_deployment(const ClusterState& state, const Json& document) {
  Derivation out;
  NEAP_TRY(const auto container, read_container(document));
  api::InferenceService service;
  service.metadata = derived_meta(document, meta_text(document, "name"));
  const auto& ns = service.metadata.namespace_;
  NEAP_TRY(service.spec.model, served_model(state, document, container));
  service.spec.modelVersion = either_annotation(document, kModelVersionAnnotation);
  if (service.spec.modelVersion.empty()) {
    const auto* version = newest_version(state, ns, service.spec.model);
    if (!version)
      return missing(
          "ModelVersionMissing",
          fmt::format("model {} of project {} has no registered version yet; push or train one, or name "
                      "one in annotation {}",
                      service.spec.model, ns, kModelVersionAnnotation));
    service.spec.modelVersion = version->metadata.name;
  }
  NEAP_TRY(const auto sites, named_sites(state, document));
  const auto* spec = find_path(document, {"spec"});
  service.spec.places = divide_replicas(sites, spec ? get_int(*spec, "replicas", 1) : 1);
  NEAP_TRY(service.spec.resources, container_resources(state, document, container));
  service.spec.priorityClass = pod_text(document, "priorityClassName");
  if (!group_named_by(document).empty())
    out.notes.emplace_back("replicas of a service start one by one, so its PodGroup is not applied");
  note_left_out(document, container, out.notes);
  out.notes.push_back(fmt::format("model {} is served", service.spec.modelVersion));
  Owned owned{std::move(service), {}};
  if (!container.image.empty()) {
    owned.says.push_back(image_is_not_run(
        container.image, "the agents' own engine serves the model that the container would have served"));
    out.notes.push_back(fmt::format("image {} is not run", container.image));
  }
  out.objects.push_back(std::move(owned));
  return out;
}

std::string group_named_by(const Json& job) { return either_annotation(job, kGroupAnnotation); }

namespace {

// The most any replica needs so that all of them together hold the group's minResources.
Status apply_group_resources(const ClusterState& state, const Json& group, std::int64_t members,
                             api::Resources& each) {
  const auto* amounts = find_path(group, {"spec", "minResources"});
  if (!amounts || members <= 0) return ok();
  NEAP_TRY(const auto least, read_resources(state, group, *amounts));
  const auto share = [](std::int64_t total, std::int64_t parts) {
    return total / parts + (total % parts != 0 ? 1 : 0);
  };
  each.cpu.value = std::max(each.cpu.value, share(least.cpu.value, members));
  each.memory.value = std::max(each.memory.value, share(least.memory.value, members));
  for (const auto& [model, amount] : least.accelerators) {
    // A device is not cut: a share of one and a half is two.
    const auto devices = share(amount.value, multiply_saturated(1000, members)) * 1000;
    if (each.accelerators.empty() || each.accelerators.contains(model))
      each.accelerators[model].value = std::max(each.accelerators[model].value, devices);
  }
  return ok();
}

Status join_group(const ClusterState& state, const Json& document, api::TrainingJob& job,
                  std::vector<std::string>& notes) {
  const auto name = group_named_by(document);
  if (name.empty()) return ok();
  const auto gang = gang_of(state, job.metadata.namespace_, name);
  if (!gang.group)
    return missing("PodGroupMissing",
                   fmt::format("the pods name PodGroup {}, which project {} does not have; apply it", name,
                               job.metadata.namespace_));
  if (gang.jobs.size() > 1)
    return missing(
        "PodGroupShared",
        fmt::format("{} Jobs name PodGroup {}, and a gang is one Job here; give the members one Job with "
                    "parallelism {}",
                    gang.jobs.size(), name, std::max(gang.members, gang.members_wanted)));
  if (gang.members < gang.members_wanted)
    return missing(
        "PodGroupTooFew",
        fmt::format("PodGroup {} wants {} members and spec.parallelism is {}; raise parallelism or lower "
                    "minMember",
                    name, gang.members_wanted, gang.members));
  const auto* spec = find_path(*gang.group, {"spec"});
  NEAP_TRY_VOID(apply_group_resources(state, *gang.group, gang.members, job.spec.resources));
  if (const auto queue = get_string(*spec, "queue"); !queue.empty()) job.spec.queue = queue;
  if (const auto word = get_string(*spec, "priorityClassName"); !word.empty()) job.spec.priorityClass = word;
  job.metadata.labels["neap.dev/pod-group"] = name;
  notes.push_back(fmt::format("all {} members start together (PodGroup {})", gang.members, name));
  return ok();
}

// Any number can stand in a Job; from here on it is one that can be multiplied and summed.
std::int64_t parallelism_of(const Json& job) {
  const auto* spec = find_path(job, {"spec"});
  return std::clamp<std::int64_t>(spec ? get_int(*spec, "parallelism", 1) : 1, 0, kMembersMax + 1);
}

// Completions are runs of one gang: each member runs once.
Result<std::int64_t> job_replicas(const Json& document) {
  const auto* spec = find_path(document, {"spec"});
  const auto parallelism = parallelism_of(document);
  const auto completions = spec ? get_int(*spec, "completions", parallelism) : parallelism;
  if (parallelism > kMembersMax)
    return missing("Parallelism", fmt::format("spec.parallelism is above {}, the most members that a gang "
                                              "has; lower it",
                                              kMembersMax));
  if (completions != parallelism)
    return missing(
        "Completions",
        fmt::format("spec.completions is {} and spec.parallelism {}; a Job runs as one gang whose members "
                    "each run once, so make them equal",
                    completions, parallelism));
  if (parallelism < 1) return missing("Parallelism", "spec.parallelism is 0, so there is nothing to run");
  return parallelism;
}

}  // namespace

Result<Derivation> derive_job(const ClusterState& state, const Json& document) {
  Derivation out;
  NEAP_TRY(const auto container, read_container(document));
  api::TrainingJob job;
  job.metadata = derived_meta(document, meta_text(document, "name"));
  job.spec.type = "batch";
  job.spec.interruption = api::InterruptionClass::kRestartable;
  job.spec.command = container.command;
  if (job.spec.command.empty())
    return missing(
        "CommandMissing",
        fmt::format("the container has no command; the entry point of image \"{}\" is not known here, so "
                    "write it out",
                    container.image));
  job.spec.environment = container.environment;
  NEAP_TRY(job.spec.replicas, job_replicas(document));
  NEAP_TRY(job.spec.resources, container_resources(state, document, container));
  NEAP_TRY(job.spec.allowedSites, named_sites(state, document));
  const auto& spec = document.at("spec");
  job.spec.backoffLimit = get_int(spec, "backoffLimit", 6);
  job.spec.priorityClass = pod_text(document, "priorityClassName");
  if (const auto seconds = get_int(spec, "activeDeadlineSeconds"); seconds > 0)
    job.spec.expectedDuration = std::chrono::seconds(std::min(seconds, kActiveDeadlineMax_s));
  const auto* suspend = find_path(spec, {"suspend"});
  job.spec.suspend = suspend && suspend->is_bool() && suspend->get_bool();
  NEAP_TRY_VOID(join_group(state, document, job, out.notes));
  note_left_out(document, container, out.notes);
  const bool without_image = either_annotation(document, kRunAsAnnotation) == "process";
  Owned owned{std::move(job), {}};
  if (!container.image.empty()) {
    auto& wanted = std::get<api::TrainingJob>(owned.object);
    if (without_image) {
      owned.says.push_back(image_is_not_run(container.image, "its command runs as a process of the node"));
    } else {
      wanted.spec.suspend = true;
      owned.says.push_back(image_is_not_run(
          container.image,
          fmt::format("suspended; annotate {}=process to run the command on the node without it",
                      kRunAsAnnotation)));
    }
    out.notes.push_back(owned.says.back().message);
  }
  out.objects.push_back(std::move(owned));
  return out;
}

Gang gang_of(const ClusterState& state, const std::string& ns, const std::string& group) {
  Gang out;
  const auto groups = state.documents.find(kPodGroups);
  if (groups == state.documents.end()) return out;
  const auto found = groups->second.find({ns, group});
  if (found == groups->second.end()) return out;
  out.group = found->second.get();
  if (const auto* spec = find_path(*out.group, {"spec"})) out.members_wanted = get_int(*spec, "minMember");
  const auto jobs = state.documents.find(kBatchJobs);
  if (jobs == state.documents.end()) return out;
  for (const auto& [key, job] : jobs->second) {
    if (key.namespace_ != ns || group_named_by(*job) != group) continue;
    out.jobs.push_back(job.get());
    out.members += parallelism_of(*job);
  }
  return out;
}

Result<Derivation> derive_pod_group(const ClusterState& state, const Json& document) {
  const auto name = meta_text(document, "name");
  const auto gang = gang_of(state, meta_text(document, "namespace"), name);
  if (gang.jobs.empty())
    return missing("NoWorkload",
                   fmt::format("no Job names this group; annotate the pod template of one with {}: {}",
                               kGroupAnnotation, name));
  if (gang.jobs.size() > 1)
    return missing("PodGroupShared",
                   fmt::format("{} Jobs name this group, and a gang is one Job here; put the "
                               "members into one Job with parallelism {}",
                               gang.jobs.size(), std::max(gang.members, gang.members_wanted)));
  if (gang.members < gang.members_wanted)
    return missing(
        "PodGroupTooFew",
        fmt::format("minMember is {} and job {} has {} members; raise its parallelism or lower minMember",
                    gang.members_wanted, meta_text(*gang.jobs.front(), "name"), gang.members));
  Derivation out;
  out.notes.push_back(fmt::format("job {} starts its {} members together",
                                  meta_text(*gang.jobs.front(), "name"), gang.members));
  return out;
}

}  // namespace neap::controllers
