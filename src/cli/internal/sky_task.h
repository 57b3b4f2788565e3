// A SkyPilot task (docs: skypilot, "Task YAML", fields as of 0.10) as a TrainingJob of ours.
//
// Pure: a parsed document in, a job with the candidates of its resources and what must be packed out. What
// has no meaning here is refused by name with what to write instead; what changes nothing (disk_tier,
// autostop) is noted. Fields nobody knows are refused by name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "neap/api/resource.h"

namespace neap::cli {

// One entry of any_of or ordered, with the outer fields as its defaults; without them the only one.
struct SkyCandidate {
  api::Resources resources;  // of each node; accelerator names as the document has them
  bool uses_spot = false;
  std::string infra;  // word for a site, empty: anywhere
};
struct SkyMount {
  std::string target;  // below the job's home
  std::string source;  // local path, relative to the document's folder
};
struct SkyTask {
  std::string name, workdir, setup, run;
  std::int64_t nodes = 1;
  std::int64_t restarts = 0;
  std::map<std::string, std::string> variables;
  std::vector<SkyMount> mounts;
  std::vector<SkyCandidate> candidates;  // never empty
  bool is_ordered = false;               // the first that fits is meant, not the cheapest
  std::vector<std::string> notes;
};

// `given` are the --env values; they win over the document's. Reasons `launch.field.unknown`,
// `launch.field.unsupported`, `launch.field.invalid`.
Result<SkyTask> parse_sky_task(const Json& document, const std::map<std::string, std::string>& given);

// The job for one candidate; `accelerators` are the cluster's names for the document's.
api::TrainingJob job_of(const SkyTask& task, const SkyCandidate& candidate);

// What a member runs: the same text for every task, since no field is pasted into it.
std::string launch_script();

}  // namespace neap::cli
