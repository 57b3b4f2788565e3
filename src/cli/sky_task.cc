#include "internal/sky_task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace neap::cli {
namespace {

constexpr std::int64_t kNodesMax = 100'000;
constexpr std::size_t kVariablesMax = 1000;

std::unexpected<Error> invalid(std::string_view field, std::string_view why) {
  return fail(Code::kInvalidArgument, "launch.field.invalid", fmt::format("{}: {}", field, why));
}
std::unexpected<Error> unsupported(std::string_view field, std::string_view instead) {
  return fail(Code::kUnimplemented, "launch.field.unsupported",
              fmt::format("{} is not supported: {}", field, instead));
}

// Text of a scalar: people write 4 and "4+" in the same field.
std::optional<std::string> scalar_text(const Json& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_double()) return fmt::format("{}", value.get_double());  // never 5E-1
  if (value.is_number() || value.is_bool()) return to_text(value);
  return std::nullopt;
}

struct Unsupported {
  std::string_view field, instead;
};
constexpr Unsupported kTaskUnsupported[] = {
    {"service", "apply an InferenceService"},
    {"secrets",
     "a value in a job's environment can be read by everyone who may read the job; mount it as a file"},
    {"volumes", "name data as a Dataset"},
    {"config", "it configures SkyPilot's own back ends"},
    {"experimental", "it configures SkyPilot's own back ends"},
    {"inputs", "name data as a Dataset"},
    {"outputs", "report outputs with neap.job"},
    {"event_callback", "watch the job with `neap wait`"}};
constexpr Unsupported kResourceUnsupported[] = {
    {"image_id", "agents run programs, not images; leave it out and install what is needed in setup"},
    {"instance_type", "say cpus, memory and accelerators; machines are chosen by what they offer"},
    {"accelerator_args", "TPU runtimes are not known here"},
    {"ports", "a job is not reachable from outside; serve with an InferenceService"},
    {"volumes", "name data as a Dataset"},
    {"_cluster_config_overrides", "it configures SkyPilot's own back ends"}};
constexpr std::string_view kNoted[] = {"disk_size", "disk_tier", "network_tier",
                                       "autostop",  "labels",    "priority"};
constexpr std::string_view kResourceFields[] = {"infra",        "cloud",   "region",       "zone",
                                                "accelerators", "cpus",    "memory",       "use_spot",
                                                "any_of",       "ordered", "job_recovery", "spot_recovery"};
constexpr std::string_view kTaskFields[] = {"name",  "workdir", "num_nodes",   "envs",
                                            "setup", "run",     "file_mounts", "resources"};

Status refuse_strangers(const JsonObject& object, std::string_view where,
                        std::span<const std::string_view> known, std::span<const Unsupported> refused,
                        std::vector<std::string>* notes) {
  for (const auto& member : object) {
    const std::string_view key = member.key();
    const auto field = where.empty() ? std::string(key) : fmt::format("{}.{}", where, key);
    if (std::ranges::find(known, key) != known.end()) continue;
    if (const auto no = std::ranges::find(refused, key, &Unsupported::field); no != refused.end())
      return unsupported(field, no->instead);
    if (notes && std::ranges::find(kNoted, key) != std::end(kNoted)) {
      notes->push_back(field + " changes nothing here");
      continue;
    }
    return fail(Code::kInvalidArgument, "launch.field.unknown",
                fmt::format("unknown field \"{}\"; fields are {}", field, fmt::join(known, ", ")));
  }
  return ok();
}

// "4", "4+" (at least: what is held is what is named).
Result<std::string> least(const Json& value, std::string_view field) {
  auto text = scalar_text(value);
  if (!text || text->empty()) return invalid(field, "is no number");
  if (text->ends_with('+')) text->pop_back();
  return *std::move(text);
}

// SkyPilot counts GB, and says it means GiB; a unit may stand behind.
Result<Bytes> read_memory(const Json& value) {
  NEAP_TRY(auto text, least(value, "resources.memory"));
  if (text.ends_with('x'))
    return unsupported("resources.memory", "a multiple of the CPUs; say how much, like 32");
  for (const auto& [ending, unit] : {std::pair{"TB", "Ti"}, {"GB", "Gi"}, {"MB", "Mi"}, {"KB", "Ki"}})
    if (text.ends_with(ending)) {
      text.replace(text.size() - 2, 2, unit);
      auto read = parse_bytes(text);
      if (read) return read;
      return invalid("resources.memory", fmt::format("\"{}\" is no amount like 32 or 32GB", text));
    }
  auto read = parse_bytes(text + "Gi");
  if (!read) return invalid("resources.memory", fmt::format("\"{}\" is no amount like 32 or 32GB", text));
  return read;
}

using Accelerators = std::map<std::string, MilliAccelerators>;
// Each element is an alternative: "H100:8", {H100: 8}, [H100:8, A100:8].
Result<std::vector<Accelerators>> read_accelerators(const Json& value) {
  std::vector<Accelerators> out;
  const auto add = [&out](std::string name, std::string_view count) -> Status {
    auto amount = parse_accelerators(count);
    if (name.empty() || !amount || amount->value <= 0)
      return invalid("resources.accelerators", fmt::format("\"{}:{}\" is no NAME:COUNT", name, count));
    out.push_back({{std::move(name), *amount}});
    return ok();
  };
  const auto add_text = [&](std::string_view text) {
    const auto colon = text.find(':');
    return colon == std::string_view::npos ? add(std::string(text), "1")
                                           : add(std::string(text.substr(0, colon)), text.substr(colon + 1));
  };
  if (value.is_string()) {
    NEAP_TRY_VOID(add_text(std::string_view(value.get_string())));
  } else if (value.is_array()) {
    for (const auto& item : value.get_array()) {
      if (!item.is_string()) return invalid("resources.accelerators", "a list holds texts like H100:8");
      NEAP_TRY_VOID(add_text(std::string_view(item.get_string())));
    }
  } else if (value.is_object()) {
    for (const auto& [name, count] : value.get_object())
      NEAP_TRY_VOID(add(std::string(name), count.is_null() ? "1" : scalar_text(count).value_or("")));
  }
  if (out.empty())
    return invalid("resources.accelerators", "is neither NAME:COUNT, a list nor a mapping of them");
  return out;
}

Result<std::vector<SkyCandidate>> read_candidate(const JsonObject& resources) {
  SkyCandidate base;
  std::vector<SkyCandidate> out;
  if (const auto* cpus = resources.if_contains("cpus"); cpus && !cpus->is_null()) {
    NEAP_TRY(const auto text, least(*cpus, "resources.cpus"));
    auto cores = parse_cores(text);
    if (!cores) return invalid("resources.cpus", fmt::format("\"{}\" is no number of cores", text));
    base.resources.cpu = *cores;
  }
  if (const auto* memory = resources.if_contains("memory"); memory && !memory->is_null()) {
    NEAP_TRY(base.resources.memory, read_memory(*memory));
  }
  if (const auto* spot = resources.if_contains("use_spot"); spot && !spot->is_null()) {
    if (!spot->is_bool()) return invalid("resources.use_spot", "is neither true nor false");
    base.uses_spot = spot->get_bool();
  }
  for (const auto* key : {"infra", "zone", "region", "cloud"})
    if (const auto* word = resources.if_contains(key); word && word->is_string() && base.infra.empty())
      base.infra = std::string_view(word->get_string());
  if (base.infra.find('*') != std::string::npos)
    return unsupported("resources.infra", "wildcards; name a site, an alias or a label, or leave it out");
  const auto* accelerators = resources.if_contains("accelerators");
  if (!accelerators || accelerators->is_null()) return std::vector{base};
  NEAP_TRY(const auto alternatives, read_accelerators(*accelerators));
  for (const auto& alternative : alternatives) {
    base.resources.accelerators = alternative;
    out.push_back(base);
  }
  return out;
}

Status read_resources(const Json& value, SkyTask& task) {
  if (!value.is_object()) return invalid("resources", "is no mapping");
  const auto& outer = value.get_object();
  NEAP_TRY_VOID(refuse_strangers(outer, "resources", kResourceFields, kResourceUnsupported, &task.notes));
  const Json* list = nullptr;
  for (const auto* key : {"any_of", "ordered"})
    if (const auto* found = outer.if_contains(key)) {
      if (list || !found->is_array() || found->get_array().empty())
        return invalid(fmt::format("resources.{}", key),
                       "is one list of resources, not beside the other one");
      list = found;
      task.is_ordered = std::string_view(key) == "ordered";
    }
  const auto* accelerators = outer.if_contains("accelerators");
  if (accelerators && accelerators->is_array()) task.is_ordered = true;
  std::vector<JsonObject> variants;
  if (!list) variants.push_back(outer);
  for (std::size_t i = 0; list && i < list->get_array().size(); ++i) {
    const auto& inner = list->get_array()[i];
    const auto where = fmt::format("resources.{}[{}]", task.is_ordered ? "ordered" : "any_of", i);
    if (!inner.is_object()) return invalid(where, "is no mapping");
    NEAP_TRY_VOID(
        refuse_strangers(inner.get_object(), where, kResourceFields, kResourceUnsupported, &task.notes));
    auto merged = outer;
    for (const auto& [key, member] : inner.get_object()) merged[key] = member;
    variants.push_back(std::move(merged));
  }
  for (const auto& variant : variants) {
    NEAP_TRY(auto candidates, read_candidate(variant));
    std::ranges::move(candidates, std::back_inserter(task.candidates));
  }
  for (const auto* key : {"job_recovery", "spot_recovery"})
    if (const auto* recovery = outer.if_contains(key); recovery && recovery->is_object())
      task.restarts = get_int(*recovery, "max_restarts_on_errors");
  return ok();
}

Status read_variables(const Json& value, const std::map<std::string, std::string>& given, SkyTask& task) {
  if (!value.is_object() || value.get_object().size() > kVariablesMax)
    return invalid("envs", fmt::format("is no mapping of up to {} names to values", kVariablesMax));
  for (const auto& [key, member] : value.get_object()) {
    const std::string name(key);
    const bool is_name =
        !name.empty() && !(name[0] >= '0' && name[0] <= '9') && std::ranges::all_of(name, [](char c) {
          return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        });
    if (!is_name) return invalid("envs", fmt::format("\"{}\" is no name of a variable", name));
    if (given.contains(name)) continue;
    if (member.is_null())
      return invalid("envs", fmt::format("{0} has no value; give it with --env {0}=VALUE", name));
    const auto text = scalar_text(member);
    if (!text) return invalid("envs", fmt::format("{} has a value that is no text", name));
    task.variables[name] = *text;
  }
  return ok();
}

// ${NAME} in paths, as SkyPilot fills in.
Result<std::string> fill_in(std::string text, const SkyTask& task, std::string_view field) {
  for (std::size_t at = 0; (at = text.find("${", at)) != std::string::npos;) {
    const auto end = text.find('}', at);
    const auto name = end == std::string::npos ? std::string() : text.substr(at + 2, end - at - 2);
    const auto value = task.variables.find(name);
    if (value == task.variables.end())
      return invalid(field, fmt::format("\"{}\" names a variable that envs does not have", text));
    text.replace(at, end + 1 - at, value->second);
    at += value->second.size();
  }
  return text;
}

Status read_mounts(const Json& value, SkyTask& task) {
  if (!value.is_object()) return invalid("file_mounts", "is no mapping of targets to sources");
  for (const auto& [key, member] : value.get_object()) {
    const auto field = fmt::format("file_mounts.{}", std::string_view(key));
    if (!member.is_string())
      return unsupported(field, "buckets; apply a Dataset for them, or name a local file or folder");
    NEAP_TRY(auto target, fill_in(std::string(key), task, field));
    NEAP_TRY(auto source, fill_in(std::string(member.get_string()), task, field));
    if (source.find("://") != std::string::npos)
      return unsupported(field, fmt::format("{}: buckets are not mounted; apply a Dataset for it", source));
    if (target.starts_with("~/")) {
      target = target.substr(2);
    } else if (target.starts_with('/')) {
      return unsupported(field, "a job writes only below its own home; write ~/PATH or PATH");
    } else {
      target = "sky_workdir/" + target;
    }
    if (target.empty() || ("/" + target + "/").find("/../") != std::string::npos)
      return invalid(field, "leaves the job's home");
    while (target.ends_with('/')) target.pop_back();
    task.mounts.push_back({std::move(target), std::move(source)});
  }
  return ok();
}

Result<std::string> read_text(const JsonObject& task, std::string_view key) {
  const auto* value = task.if_contains(key);
  if (!value || value->is_null()) return std::string();
  if (!value->is_string()) return invalid(key, "is no text");
  return std::string(value->get_string());
}

}  // namespace

Result<SkyTask> parse_sky_task(const Json& document, const std::map<std::string, std::string>& given) {
  if (!document.is_object()) return invalid("the task", "is no mapping");
  const auto& top = document.get_object();
  NEAP_TRY_VOID(refuse_strangers(top, "", kTaskFields, kTaskUnsupported, nullptr));
  SkyTask task;
  NEAP_TRY(task.name, read_text(top, "name"));
  NEAP_TRY(task.setup, read_text(top, "setup"));
  NEAP_TRY(task.run, read_text(top, "run"));
  if (task.run.empty()) return invalid("run", "is missing, so there is nothing to start");
  task.variables = given;
  if (const auto* envs = top.if_contains("envs"); envs && !envs->is_null())
    NEAP_TRY_VOID(read_variables(*envs, given, task));
  NEAP_TRY(const auto workdir, read_text(top, "workdir"));
  NEAP_TRY(task.workdir, fill_in(workdir, task, "workdir"));
  if (task.workdir.find("://") != std::string::npos)
    return unsupported("workdir", "a repository; check it out and name the folder");
  if (const auto* nodes = top.if_contains("num_nodes"); nodes && !nodes->is_null()) {
    task.nodes = get_int(document, "num_nodes");
    if (task.nodes < 1 || task.nodes > kNodesMax)
      return invalid("num_nodes", "is no number from 1 to 100000");
  }
  if (const auto* mounts = top.if_contains("file_mounts"); mounts && !mounts->is_null())
    NEAP_TRY_VOID(read_mounts(*mounts, task));
  if (const auto* resources = top.if_contains("resources"); resources && !resources->is_null())
    NEAP_TRY_VOID(read_resources(*resources, task));
  if (task.candidates.empty()) task.candidates.emplace_back();
  return task;
}

api::TrainingJob job_of(const SkyTask& task, const SkyCandidate& candidate) {
  api::TrainingJob job;
  job.metadata.name = task.name;
  job.spec.command = {"/bin/bash", "{code}/launch.sh"};
  job.spec.replicas = task.nodes;
  job.spec.resources = candidate.resources;
  // SkyPilot's own defaults are 4 CPUs and as much memory as such a machine has; here what is held is named.
  if (job.spec.resources.cpu.value == 0) job.spec.resources.cpu = MilliCores{1000};
  if (job.spec.resources.memory.value == 0) job.spec.resources.memory = Bytes{1ll << 30};
  job.spec.interruption =
      candidate.uses_spot ? api::InterruptionClass::kRestartable : api::InterruptionClass::kNever;
  job.spec.costStrategy = candidate.uses_spot ? "SpotPreemptible" : "OnDemand";
  if (!candidate.infra.empty()) job.spec.allowedSites = {candidate.infra};
  job.spec.backoffLimit = task.restarts;
  for (const auto& [name, value] : task.variables) job.spec.environment.push_back(name + "=" + value);
  std::int64_t devices = 0;
  for (const auto& [model, amount] : candidate.resources.accelerators) devices += (amount.value + 999) / 1000;
  job.spec.environment.push_back(fmt::format("SKYPILOT_NUM_GPUS_PER_NODE={}", devices));
  job.spec.environment.push_back(fmt::format("SKYPILOT_NUM_NODES={}", task.nodes));
  return job;
}

// clang-format off: it takes the shell's words for C++
std::string launch_script() {
  return R"sh(#!/bin/bash
# Written by `neap launch`: puts files where the task expects them, then setup, then run.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)" || exit 1
export SKYPILOT_NODE_RANK="${RANK:-0}"
export SKYPILOT_NODE_IPS="${MASTER_ADDR:-127.0.0.1}"  # the head's alone: members meet there
mkdir -p "$HOME/sky_workdir" || exit 1
if [ -d "$here/home" ]; then
  cp -R "$here/home/." "$HOME/" || exit 1
fi
cd "$HOME/sky_workdir" || exit 1
if [ -f "$here/setup.sh" ]; then
  /bin/bash "$here/setup.sh"
  status=$?
  if [ $status -ne 0 ]; then
    echo "setup ended with status $status" >&2
    exit $status
  fi
fi
exec /bin/bash "$here/run.sh"
)sh";
}
// clang-format on

}  // namespace neap::cli
