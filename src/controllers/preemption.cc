#include "internal/preemption.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "internal/event.h"
#include "internal/queueing.h"

namespace neap::controllers {
namespace {

using api::TrainingJob;

constexpr std::string_view kPreemptible = "neap.dev/preemptible";

std::string name_of(const ObjectKey& key) { return key.namespace_ + "/" + key.name; }
ObjectKey key_of_name(std::string_view name) {
  const auto slash = name.find('/');
  if (slash == std::string_view::npos) return {{}, std::string(name)};
  return {std::string(name.substr(0, slash)), std::string(name.substr(slash + 1))};
}

bool is_on(const std::string& phase) {
  return phase == "Reserved" || phase == "Running" || phase == "Draining";
}

// Seconds of each member's work that a new run would do again. Steps tell it where they are reported; else
// all since the run began counts.
double unsaved_seconds(const Pass& pass, const TrainingJob& job) {
  const auto run = std::ranges::find(job.status.runs, job.status.epoch, &api::RunRecord::epoch);
  if (job.status.phase != "Running" || run == job.status.runs.end() || !run->startedAt) return 0;
  const double elapsed = std::max(0.0, to_seconds(pass.wall() - *run->startedAt));
  if (run->firstStep < 0 || run->lastStep < run->firstStep) return elapsed;
  const double a_step = elapsed / double(run->lastStep - run->firstStep + 1);
  const auto saved = job.status.checkpoint.phase == "Durable" ? job.status.checkpoint.step : -1;
  return double(std::max<std::int64_t>(0, run->lastStep - saved)) * a_step;
}

bool has_gone(const Pass& pass, const api::NominationVictim& victim) {
  const auto key = key_of_name(victim.job);
  const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
  if (job && job->status.epoch == victim.epoch && is_on(job->status.phase)) return false;
  const auto left = pass.state.allocations_of(key.namespace_, "TrainingJob", key.name, victim.epoch);
  return std::ranges::none_of(left, [](const auto* a) { return holds_resources(*a); });
}

Task<Status> tell_job(const Pass& pass, const TrainingJob& job, std::string reason, std::string message,
                      bool is_warning) {
  const auto& meta = job.metadata;
  // One for each epoch.
  auto word = reason;
  std::ranges::transform(word, word.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  co_return co_await tell(pass, {.name = fmt::format("{}.{}.{}.{}", meta.name.substr(0, 180), word,
                                                     job.status.epoch, meta.resourceVersion),
                                 .component = "neap-scheduler",
                                 .reason = std::move(reason),
                                 .message = message.substr(0, 1024),
                                 .is_warning = is_warning,
                                 .api_version = fmt::format("{}/{}", api::kGroup, api::kVersion),
                                 .kind = "TrainingJob",
                                 .namespace_ = meta.namespace_,
                                 .object = meta.name,
                                 .uid = meta.uid});
}

}  // namespace

Priority priority_of(const ClusterState& state, const std::string& priority_class) {
  const auto documents = state.documents.find(kPriorityClasses.key);
  if (documents == state.documents.end()) return {};
  const Json* found = nullptr;
  for (const auto& [key, document] : documents->second)
    if (priority_class.empty() ? get_bool(*document, "globalDefault") : key.name == priority_class)
      found = document.get();
  if (!found) return {};
  Priority out;
  out.value = int(std::clamp<std::int64_t>(get_int(*found, "value"), INT32_MIN, INT32_MAX));
  out.may_preempt = get_string(*found, "preemptionPolicy") != "Never";
  if (const auto* notes = find_path(*found, {"metadata", "annotations"}))
    out.never_may_fall = get_string(*notes, kPreemptible) == "true";
  return out;
}

std::vector<scheduler::RunningGang> running_of(const Pass& pass, const std::vector<Holding>& holdings) {
  std::map<ObjectKey, scheduler::RunningGang> gangs;
  std::set<ObjectKey> unclear;
  const auto claims = claims_of(pass);
  for (const auto& holding : holdings) {
    if (holding.owner_kind != "TrainingJob" || holding.is_nominated) continue;
    const ObjectKey key{std::string(holding.project), std::string(holding.owner_name)};
    const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
    // What is draining ends without being asked.
    if (!job || (job->status.phase != "Running" && job->status.phase != "Reserved") ||
        find_claim(claims, *job))
      continue;
    const auto [at, is_new] = gangs.try_emplace(key);
    auto& gang = at->second;
    if (is_new) {
      const auto priority = priority_of(pass.state, job->spec.priorityClass);
      gang.owner = name_of(key);
      gang.project = key.namespace_;
      gang.queue = queue_of(pass.state, *job);
      gang.priority = priority.value;
      gang.interruption = to_scheduler(job->spec.interruption);
      gang.never_may_fall = priority.never_may_fall;
      gang.is_preemptible = !job->metadata.deletionTimestamp && !job->spec.suspend;
      gang.unsaved_seconds = unsaved_seconds(pass, *job);
      gang.members_min = int(job->spec.minReplicas);
    }
    scheduler::RunningMember member{.node = std::string(holding.node),
                                    .cores = holding.resources->cpu,
                                    .memory = holding.resources->memory,
                                    .accelerators = {},
                                    .devices = holding.devices};
    for (const auto& [model, amount] : holding.resources->accelerators) member.accelerators += amount;
    // Which devices it holds could not be told apart: what its end would free is not known.
    if (member.accelerators.value > 0 && member.devices.empty()) unclear.insert(key);
    gang.members.push_back(std::move(member));
  }
  std::vector<scheduler::RunningGang> out;
  for (auto& [key, gang] : gangs)
    if (!unclear.contains(key)) out.push_back(std::move(gang));
  return out;
}

const api::Nomination* nomination_of(const TrainingJob& job) {
  if (!job.status.nomination || job.status.phase != "Pending" || job.spec.suspend ||
      job.metadata.deletionTimestamp)
    return nullptr;
  return &*job.status.nomination;
}

Claims claims_of(const Pass& pass) {
  Claims out;
  for (const auto& [key, job] : pass.state.all<TrainingJob>()) {
    const auto* nomination = nomination_of(job);
    if (!nomination) continue;
    // A status is no more than what somebody wrote: who makes room for whom is asked again.
    const auto claimant = priority_of(pass.state, job.spec.priorityClass);
    for (const auto& victim : nomination->victims) {
      const auto victim_key = key_of_name(victim.job);
      const auto* other = pass.state.find<TrainingJob>(victim_key.namespace_, victim_key.name);
      if (claimant.may_preempt && other &&
          claimant.value > priority_of(pass.state, other->spec.priorityClass).value)
        out.try_emplace(victim_key, Claim{&job, &victim});
    }
  }
  return out;
}

const Claim* find_claim(const Claims& claims, const TrainingJob& job) {
  const auto found = claims.find(key_of(job));
  if (found == claims.end() || found->second.victim->epoch != job.status.epoch) return nullptr;
  return &found->second;
}

Task<Status> nominate(const Pass& pass, TrainingJob& job, const Placement& placement) {
  auto& held = job.status.nomination;
  if (held) {
    std::vector<std::string> left;
    for (const auto& victim : held->victims)
      if (!has_gone(pass, victim)) left.push_back(victim.job);
    if (left.empty())
      held.reset();
    else
      job.status.message = fmt::format("waits for {} to make room at {}", fmt::join(left, ", "), held->site);
    co_return ok();
  }
  if (placement.victims.empty()) co_return ok();
  for (const auto& victim : placement.victims)
    if (pass.agenda && !pass.agenda->claim(key_of_name(victim.owner), job.metadata.namespace_)) {
      pass.agenda->look_again(key_of(job), pass.now() + pass.options.settle);
      co_return ok();
    }
  api::Nomination next;
  next.nodes = placement.nodes;
  next.site = placement.site;
  next.madeAt = pass.wall();
  std::vector<std::string> names;
  for (const auto& victim : placement.victims) {
    const auto key = key_of_name(victim.owner);
    const auto* found = pass.state.find<TrainingJob>(key.namespace_, key.name);
    if (!found) co_return ok();
    next.victims.push_back({.job = victim.owner, .message = victim.sentence, .epoch = found->status.epoch});
    names.push_back(victim.owner);
  }
  job.status.message = fmt::format("waits for {} to make room at {}", fmt::join(names, ", "), next.site);
  Json record{{"time", format_rfc3339(pass.wall(), 3)},
              {"object", "trainingjob/" + job.metadata.namespace_ + "/" + job.metadata.name},
              {"uid", job.metadata.uid},
              {"epoch", job.status.epoch},
              {"site", next.site},
              {"message", job.status.message},
              {"explanation", placement.explanation}};
  held = std::move(next);
  NEAP_CO_TRY_VOID(co_await pass.decisions(std::move(record)));
  co_return co_await tell_job(pass, job, "Nominated", job.status.message, false);
}

Task<Status> note_preempted(const Pass& pass, TrainingJob& job, const Claim& claim) {
  const auto message = fmt::format("{} {}", name_of(key_of(job)), claim.victim->message);
  api::set_condition(job.status.conditions,
                     {.type = "Preempted", .status = "True", .reason = "PriorityOrShare", .message = message},
                     pass.wall());
  job.status.message = message;
  co_return co_await tell_job(pass, job, "Preempted", message, true);
}

}  // namespace neap::controllers
