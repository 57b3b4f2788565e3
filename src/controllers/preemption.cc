#include "internal/preemption.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "internal/event.h"
#include "internal/queueing.h"
#include "internal/repack_table.h"
#include "internal/replicas.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::InferenceService;
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
  const double a_step = elapsed / (double(run->lastStep) - double(run->firstStep) + 1);
  const auto saved = job.status.checkpoint.phase == "Durable" ? job.status.checkpoint.step : -1;
  return std::max(0.0, double(run->lastStep) - double(saved)) * a_step;
}

bool has_gone(const Pass& pass, const api::NominationVictim& victim) {
  const auto key = key_of_name(victim.job);
  if (victim.epoch == kReplica) {
    const auto* replica = pass.state.find<api::Allocation>(key.namespace_, key.name);
    return !replica || !holds_resources(*replica);
  }
  const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
  if (job && job->status.epoch == victim.epoch && is_on(job->status.phase)) return false;
  const auto left = pass.state.allocations_of(key.namespace_, "TrainingJob", key.name, victim.epoch);
  return std::ranges::none_of(left, [](const auto* a) { return holds_resources(*a); });
}

// Who has to leave before the nominated starts: its own victims, and those of others that still hold one of
// its nodes, where the free room is short until these have gone, too.
std::vector<std::string> still_there(const Pass& pass, const api::Nomination& held) {
  std::vector<std::string> out;
  for (const auto& victim : held.victims)
    if (!has_gone(pass, victim)) out.push_back(victim.job);
  if (!out.empty()) return out;
  const auto is_on_held = [&](const Allocation* a) {
    return holds_resources(*a) && std::ranges::find(held.nodes, a->spec.node) != held.nodes.end();
  };
  const auto claims = claims_of(pass);
  for (const auto& [key, claim] : claims.jobs) {
    const auto members =
        pass.state.allocations_of(key.namespace_, "TrainingJob", key.name, claim.victim->epoch);
    if (std::ranges::any_of(members, is_on_held)) out.push_back(name_of(key));
  }
  for (const auto& [key, claim] : claims.replicas)
    if (const auto* replica = pass.state.find<Allocation>(key.namespace_, key.name);
        replica && is_on_held(replica))
      out.push_back(name_of(key));
  return out;
}

std::string wait_text(const std::vector<std::string>& names, const std::string& site) {
  return fmt::format("waits for {} to make room at {}", fmt::join(names, ", "), site);
}
std::string move_text(const std::vector<std::string>& names, const std::string& site) {
  return fmt::format("waits for {} to move elsewhere at {}", fmt::join(names, ", "), site);
}

// Some of its victims end for no priority: they were to move, which takes a leader that knows the plan.
bool is_for_moves(const Pass& pass, const TrainingJob& job, const api::Nomination& held) {
  const auto own = priority_of(pass.state, job.spec.priorityClass);
  return std::ranges::any_of(held.victims, [&](const auto& victim) {
    const auto key = key_of_name(victim.job);
    const auto* other =
        victim.epoch == kReplica ? nullptr : pass.state.find<TrainingJob>(key.namespace_, key.name);
    return other &&
           !(own.may_preempt && own.value > priority_of(pass.state, other->spec.priorityClass).value);
  });
}

// Absent where one of the victims is not there any more, or makes room for a job of another project already:
// the next pass decides anew.
std::optional<api::Nomination> nomination_for(const Pass& pass, const std::string& project,
                                              const Placement& placement, bool& is_claimed) {
  api::Nomination out;
  out.nodes = placement.nodes;
  out.site = placement.site;
  out.madeAt = pass.wall();
  for (const auto& victim : placement.victims) {
    const auto key = key_of_name(victim.owner);
    if (pass.agenda && !pass.agenda->claim(key, project)) {
      is_claimed = true;
      return std::nullopt;
    }
    if (const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name))
      out.victims.push_back({.job = victim.owner, .message = victim.sentence, .epoch = job->status.epoch});
    else if (pass.state.find<Allocation>(key.namespace_, key.name))
      out.victims.push_back({.job = victim.owner, .message = victim.sentence, .epoch = kReplica});
    else
      return std::nullopt;
  }
  return out;
}

std::vector<std::string> names_of(const api::Nomination& nomination) {
  std::vector<std::string> out;
  for (const auto& victim : nomination.victims) out.push_back(victim.job);
  return out;
}

template <class T>
Task<Status> tell_owner(const Pass& pass, const T& object, std::string reason, std::string message,
                        bool is_warning, std::int64_t round) {
  const auto& meta = object.metadata;
  auto word = reason;
  std::ranges::transform(word, word.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  co_return co_await tell(
      pass, {.name = fmt::format("{}.{}.{}.{}", meta.name.substr(0, 180), word, round, meta.resourceVersion),
             .component = "neap-scheduler",
             .reason = std::move(reason),
             .message = message.substr(0, 1024),
             .is_warning = is_warning,
             .api_version = fmt::format("{}/{}", api::kGroup, api::kVersion),
             .kind = std::string(api::KindOf<T>::kind),
             .namespace_ = meta.namespace_,
             .object = meta.name,
             .uid = meta.uid});
}

// One for each epoch.
Task<Status> tell_job(const Pass& pass, const TrainingJob& job, std::string reason, std::string message,
                      bool is_warning) {
  return tell_owner(pass, job, std::move(reason), std::move(message), is_warning, job.status.epoch);
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
  // One short of the ends: who looks for the next higher or lower one, or the opposite, finds it.
  out.value = int(std::clamp<std::int64_t>(get_int(*found, "value"), INT32_MIN + 1, INT32_MAX - 1));
  out.may_preempt = get_string(*found, "preemptionPolicy") != "Never";
  if (const auto* notes = find_path(*found, {"metadata", "annotations"}))
    out.never_may_fall = get_string(*notes, kPreemptible) == "true";
  return out;
}

std::vector<scheduler::RunningGang> running_of(const Pass& pass, const std::vector<Holding>& holdings) {
  std::map<ObjectKey, scheduler::RunningGang> gangs;
  std::set<ObjectKey> unclear;
  const auto claims = claims_of(pass);
  std::set<ObjectKey> spare;
  for (const auto& [key, service] : pass.state.all<InferenceService>())
    spare.merge(spare_replicas(pass, service));
  const auto add_member = [&](const ObjectKey& key, scheduler::RunningGang& gang, const Holding& holding) {
    scheduler::RunningMember member{.node = std::string(holding.node),
                                    .cores = holding.resources->cpu,
                                    .memory = holding.resources->memory,
                                    .accelerators = {},
                                    .devices = holding.devices};
    for (const auto& [model, amount] : holding.resources->accelerators) member.accelerators += amount;
    // Which devices it holds could not be told apart: what its end would free is not known.
    if (member.accelerators.value > 0 && member.devices.empty()) unclear.insert(key);
    gang.members.push_back(std::move(member));
  };
  for (const auto& holding : holdings) {
    if (holding.is_nominated) continue;
    if (holding.owner_kind == "InferenceService" && holding.allocation) {
      const auto key = key_of(*holding.allocation);
      const auto* service =
          pass.state.find<InferenceService>(key.namespace_, std::string(holding.owner_name));
      if (!service || claims.replicas.contains(key) || holding.allocation->spec.desired == "Stop") continue;
      const auto priority = priority_of(pass.state, service->spec.priorityClass);
      if (!priority.never_may_fall && !spare.contains(key)) continue;
      auto& gang = gangs[key];
      gang.owner = name_of(key);
      gang.project = key.namespace_;
      gang.queue = queue_of(pass.state, *service);
      gang.priority = priority.value;
      // Nothing it did is done again.
      gang.interruption = scheduler::InterruptionClass::kRestartable;
      add_member(key, gang, holding);
      continue;
    }
    if (holding.owner_kind != "TrainingJob") continue;
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
    add_member(key, gang, holding);
  }
  std::vector<scheduler::RunningGang> out;
  for (auto& [key, gang] : gangs)
    if (!unclear.contains(key)) out.push_back(std::move(gang));
  return out;
}

const api::Nomination* nomination_of(const TrainingJob& job) {
  if (!job.status.nomination || (job.status.phase != "Pending" && job.status.phase != "Draining") ||
      job.spec.suspend || job.metadata.deletionTimestamp)
    return nullptr;
  return &*job.status.nomination;
}

Claims claims_of(const Pass& pass) {
  Claims out;
  // A status is no more than what somebody wrote: who makes room for whom is asked again.
  const auto add = [&](const std::string& claimant, const std::string& priority_class,
                       const api::Nomination& nomination, const auto& is_lent_to) {
    const auto own = priority_of(pass.state, priority_class);
    for (const auto& victim : nomination.victims) {
      const auto key = key_of_name(victim.job);
      if (victim.epoch == kReplica) {
        const auto* replica = pass.state.find<Allocation>(key.namespace_, key.name);
        const auto* service =
            replica ? pass.state.find<InferenceService>(key.namespace_, replica->spec.ownerName) : nullptr;
        if (!service || replica->spec.ownerKind != "InferenceService") continue;
        const auto other = priority_of(pass.state, service->spec.priorityClass);
        if (own.may_preempt && own.value > other.value &&
            (other.never_may_fall || spare_replicas(pass, *service).contains(key)))
          out.replicas.try_emplace(key, Claim{claimant, &victim});
        continue;
      }
      const auto* other = pass.state.find<TrainingJob>(key.namespace_, key.name);
      if (other &&
          (is_lent_to(victim.job) ||
           (own.may_preempt && own.value > priority_of(pass.state, other->spec.priorityClass).value)))
        out.jobs.try_emplace(key, Claim{claimant, &victim});
    }
  };
  const auto add_job = [&](const ObjectKey& key, const TrainingJob& job) {
    if (const auto* nomination = nomination_of(job))
      add(name_of(key), job.spec.priorityClass, *nomination, [](const auto&) { return false; });
  };
  if (pass.agenda) {
    for (const auto& key : pass.agenda->promised())
      if (const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name)) add_job(key, *job);
  } else {
    for (const auto& [key, job] : pass.state.all<TrainingJob>()) add_job(key, job);
  }
  for (const auto& [key, service] : pass.state.all<InferenceService>())
    for (const auto& [allocation, nomination] : service.status.nominations)
      add(key.namespace_ + "/" + allocation, service.spec.priorityClass, nomination,
          [&](const std::string& job) {
            return std::ranges::any_of(service.status.loans, [&](const auto& loan) {
              return loan.allocation == allocation && loan.job == job;
            });
          });
  return out;
}

const Claim* find_claim(const Claims& claims, const TrainingJob& job) {
  const auto found = claims.jobs.find(key_of(job));
  if (found == claims.jobs.end() || found->second.victim->epoch != job.status.epoch) return nullptr;
  return &found->second;
}

namespace {

Json nomination_record(const Pass& pass, const TrainingJob& job, const std::string& site,
                       const Placement& placement) {
  return Json{{"time", format_rfc3339(pass.wall(), 3)},
              {"object", "trainingjob/" + job.metadata.namespace_ + "/" + job.metadata.name},
              {"uid", job.metadata.uid},
              {"epoch", job.status.epoch},
              {"site", site},
              {"message", job.status.message},
              {"explanation", placement.explanation}};
}

// The place is held for it while others go on elsewhere.
Task<Status> nominate_for_moves(const Pass& pass, TrainingJob& job, const Placement& placement,
                                const api::Nomination& room) {
  job.status.message = move_text(names_of(room), room.site);
  job.status.nomination = room;
  NEAP_CO_TRY_VOID(co_await pass.decisions(nomination_record(pass, job, room.site, placement)));
  co_return co_await tell_job(pass, job, "Nominated", job.status.message, false);
}

// What becomes of a nomination that is there.
Task<Status> keep_or_drop(const Pass& pass, TrainingJob& job, const Placement& placement) {
  auto& held = job.status.nomination;
  const auto left = still_there(pass, *held);
  if (left.empty()) {
    held.reset();
    co_return ok();
  }
  if (!is_for_moves(pass, job, *held)) {
    job.status.message = wait_text(left, held->site);
    co_return ok();
  }
  if (pass.repack && pass.repack->find_room(job)) {
    job.status.message = move_text(left, held->site);
    co_return ok();
  }
  auto why = pass.repack ? pass.repack->why_given_up(job) : std::string();
  if (why.empty()) why = "the server that planned them leads no more";
  job.status.message += fmt::format("; the moves that should make room were given up: {}", why);
  const auto site = held->site;
  held.reset();
  co_return co_await pass.decisions(nomination_record(pass, job, site, placement));
}

}  // namespace

Task<Status> nominate(const Pass& pass, TrainingJob& job, const Placement& placement) {
  auto& held = job.status.nomination;
  if (held) co_return co_await keep_or_drop(pass, job, placement);
  if (placement.victims.empty()) {
    if (const auto* room = pass.repack ? pass.repack->find_room(job) : nullptr)
      co_return co_await nominate_for_moves(pass, job, placement, *room);
    co_return ok();
  }
  bool is_claimed = false;
  auto next = nomination_for(pass, job.metadata.namespace_, placement, is_claimed);
  if (is_claimed) pass.agenda->look_again(key_of(job), pass.now() + pass.options.settle);
  if (!next) co_return ok();
  job.status.message = wait_text(names_of(*next), next->site);
  auto record = nomination_record(pass, job, next->site, placement);
  held = std::move(next);
  NEAP_CO_TRY_VOID(co_await pass.decisions(std::move(record)));
  co_return co_await tell_job(pass, job, "Nominated", job.status.message, false);
}

Task<Status> nominate(const Pass& pass, InferenceService& service, const std::string& allocation,
                      const Placement& placement) {
  auto& all = service.status.nominations;
  if (const auto held = all.find(allocation); held != all.end()) {
    const auto left = still_there(pass, held->second);
    if (left.empty())
      all.erase(held);
    else
      service.status.message = wait_text(left, held->second.site);
    co_return ok();
  }
  if (placement.victims.empty()) co_return ok();
  bool is_claimed = false;
  auto next = nomination_for(pass, service.metadata.namespace_, placement, is_claimed);
  if (!next) co_return ok();
  service.status.message = wait_text(names_of(*next), next->site);
  Json record{{"time", format_rfc3339(pass.wall(), 3)},
              {"object", "inferenceservice/" + service.metadata.namespace_ + "/" + service.metadata.name},
              {"uid", service.metadata.uid},
              {"replica", allocation},
              {"site", next->site},
              {"message", service.status.message},
              {"explanation", placement.explanation}};
  all.insert_or_assign(allocation, *std::move(next));
  NEAP_CO_TRY_VOID(co_await pass.decisions(std::move(record)));
  co_return co_await tell_owner(pass, service, "Nominated", service.status.message, false,
                                service.metadata.generation);
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
