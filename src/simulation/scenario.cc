#include "neap/simulation/scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "internal/scenario_reader.h"
#include "neap/api/codec.h"
#include "neap/scheduler/queue_documents.h"

namespace neap::simulation {
namespace {

constexpr std::string_view kApiVersion = "neap.dev/v1";

bool is_simulation(const Json& document) {
  return get_string(document, "kind") == "Simulation" && get_string(document, "apiVersion") == kApiVersion;
}

void read_terms(Fields& spec, Scenario& out) {
  out.horizon_ms = spec.milliseconds("horizon", 0);
  out.considered_max = spec.integer("considered", out.considered_max, 1, 1'000'000);
  if (const auto start = spec.time("start")) out.start = *start;
  auto burst = spec.object("burst");
  out.wait_h_per_gpu_hour = burst.number("waitHoursPerGpuHour", 0, 0, 1000);
  burst.finish();
  auto drift = spec.object("drift");
  out.drift.is_on = drift.is_present();
  out.drift.left_min_h = drift.number("leftHoursMin", out.drift.left_min_h, 0, 1e5);
  out.drift.ran_min_h = drift.number("ranHoursMin", out.drift.ran_min_h, 0, 1e5);
  out.drift.move_h = drift.number("moveHours", out.drift.move_h, 0, 1e3);
  drift.finish();
}

// Names in the documents that lead nowhere are typing errors: found here, they name their line.
void settle_queues(Scenario& scenario, Problems& problems) {
  if (scenario.queues.empty()) return;
  std::vector<const api::Queue*> queues;
  for (const auto& queue : scenario.queues) queues.push_back(&queue);
  const auto tree = scheduler::make_share_tree(queues, scheduler::models_named(queues), {});
  for (std::size_t i = 0; i < scenario.workloads.size(); ++i) {
    auto& workload = scenario.workloads[i];
    auto& queue = workload.request.queue;
    if (queue.empty()) queue = scheduler::default_queue(queues, workload.request.project);
    if (const auto problem = queue.empty() ? std::string{} : tree.problem(queue); !problem.empty())
      problems.add("spec.workloads", fmt::format("{}: {}", workload.name, problem));
  }
}

void check_references(const Scenario& scenario, Problems& problems) {
  std::set<std::string_view> queues;
  for (const auto& queue : scenario.queues) queues.insert(queue.metadata.name);
  for (std::size_t i = 0; i < scenario.workloads.size(); ++i) {
    const auto& request = scenario.workloads[i].request;
    if (!request.queue.empty() && !queues.contains(request.queue))
      problems.add(fmt::format("spec.workloads[{}].queue", i),
                   fmt::format("\"{}\" is no Queue of this file; add the Queue document", request.queue));
  }
}

}  // namespace

const scheduler::Site* ScenarioReading::find_site(std::string_view name) const {
  const auto found = std::ranges::find(out.sites, name, &scheduler::Site::name);
  return found == out.sites.end() ? nullptr : &*found;
}

Result<Scenario> read_scenario(std::string_view text, std::string_view name,
                               const ReadScenarioFile& read_file, std::optional<std::uint64_t> seed,
                               const ScenarioLimits& limits) {
  auto documents = api::parse_yaml(text);
  if (!documents) return fail(std::move(documents).error(), std::string(name));
  Scenario out;
  out.events_max = limits.events_max;
  out.start = parse_rfc3339("2026-01-05T00:00:00Z").value();
  Problems problems(text, name);
  ScenarioReading reading{out, problems, read_file, limits};
  std::optional<std::size_t> at;
  for (std::size_t i = 0; i < documents->size(); ++i) {
    if (!is_simulation((*documents)[i])) continue;
    problems.enter(i);
    if (at) problems.add("kind", "is a second Simulation; keep one in a file");
    at = i;
  }
  if (!at)
    return fail(
        Code::kInvalidArgument, "simulation.scenario",
        fmt::format("{}: has no document of apiVersion {} and kind Simulation; add one, its spec names "
                    "nodes and workloads",
                    name, kApiVersion));
  // Sites first: the others refer to them.
  for (const bool wants_sites : {true, false})
    for (std::size_t i = 0; i < documents->size(); ++i) {
      if (i == *at || (get_string((*documents)[i], "kind") == "Site") != wants_sites) continue;
      problems.enter(i);
      NEAP_TRY_VOID(read_object(reading, (*documents)[i]));
    }
  problems.enter(*at);
  Fields document(&(*documents)[*at], "", problems);
  document.text("apiVersion");
  document.text("kind");
  auto metadata = document.object("metadata");
  out.name = metadata.required_text("name");
  metadata.finish();
  auto spec = document.object("spec");
  if (!spec.is_present()) problems.add("spec", "is missing; it names nodes and workloads");
  const auto written_seed = spec.integer("seed", 1, 0, INT64_MAX);
  out.seed = seed.value_or(std::uint64_t(written_seed));
  read_terms(spec, out);
  NEAP_TRY_VOID(problems.status());
  NEAP_TRY_VOID(read_prices(reading, spec));
  NEAP_TRY_VOID(read_nodes(reading, spec));
  NEAP_TRY_VOID(read_workloads(reading, spec));
  spec.finish();
  document.finish();
  check_references(out, problems);
  NEAP_TRY_VOID(problems.status());
  settle_queues(out, problems);
  if (out.nodes.empty()) problems.add("spec.nodes", "names no node; add at least one");
  if (out.jobs.empty() && out.services.empty())
    problems.add("spec.workloads", "asks for nothing; add at least one, or a TrainingJob document");
  NEAP_TRY_VOID(problems.status());
  std::ranges::sort(out.jobs, {}, [](const ScenarioJob& job) {
    return std::tuple(job.arrival_ms, job.workload, std::string_view(job.name));
  });
  return out;
}

std::optional<Placing> parse_placing(std::string_view word) {
  if (word == "hybrid") return Placing::kHybrid;
  if (word == "private") return Placing::kPrivate;
  if (word == "public") return Placing::kPublic;
  return std::nullopt;
}
std::string_view placing_name(Placing placing) {
  switch (placing) {
    case Placing::kHybrid:
      return "hybrid";
    case Placing::kPrivate:
      return "private";
    case Placing::kPublic:
      return "public";
  }
  return "hybrid";
}

Status restrict_places(Scenario& scenario, Placing placing) {
  if (placing == Placing::kHybrid) return ok();
  const bool keeps_public = placing == Placing::kPublic;
  std::erase_if(scenario.nodes, [&](const ScenarioNode& node) {
    return (scenario.pools[node.pool].tier == scheduler::Tier::kPublic) != keeps_public;
  });
  if (!scenario.nodes.empty()) return ok();
  return fail(Code::kInvalidArgument, "simulation.scenario",
              fmt::format("scenario {} has no {} node, so it cannot be run {}; add some, or leave this "
                          "variant out",
                          scenario.name, keeps_public ? "public" : "private or edge", placing_name(placing)));
}

}  // namespace neap::simulation
