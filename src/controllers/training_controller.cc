// TrainingJob: Pending -> Reserved -> (Prepared) -> Running -> Draining -> Pending (new epoch) ... ->
// Succeeded | Failed.
//
// 1. An epoch is planned by one compare-and-swap of the job's status that also records the nodes, so a
//    crash after it finds what to create.
// 2. Members run only after a second compare-and-swap sets committedEpoch, made when all are Prepared.
// 3. A new epoch is planned only after every member of the old one has ended, or its node's lease has
//    run out (the agent stops such work by itself), so two epochs never run at once.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "internal/deadlines.h"
#include "internal/drift.h"
#include "internal/limits.h"
#include "internal/placement.h"
#include "internal/preemption.h"
#include "internal/queueing.h"
#include "internal/reconciler.h"
#include "internal/repack_table.h"

namespace neap::controllers {
namespace {

using api::Allocation;
using api::RunRecord;
using api::TrainingJob;
using Members = std::vector<const Allocation*>;

std::string allocation_name(const TrainingJob& job, std::int64_t replica) {
  return member_name(job.metadata.name, job.status.epoch, replica);
}

RunRecord* current_run(TrainingJob& job) {
  for (auto& run : job.status.runs)
    if (run.epoch == job.status.epoch) return &run;
  return nullptr;
}

// Members of the current epoch: an elastic gang takes as many as fit.
std::int64_t size_of_run(TrainingJob& job) {
  const auto* run = current_run(job);
  return run ? std::int64_t(run->nodes.size()) : job.spec.replicas;
}

void finish(TrainingJob& job, std::string phase, std::string reason, std::string message, WallTime now) {
  job.status.phase = phase;
  job.status.message = message;
  job.status.finishedAt = now;
  api::set_condition(job.status.conditions,
                     {.type = phase == "Succeeded" ? "Complete" : "Failed",
                      .status = "True",
                      .reason = reason,
                      .message = message},
                     now);
}

// Steps that more than one run executed, counted over all runs.
std::int64_t count_repeated_steps(const std::vector<RunRecord>& runs) {
  std::int64_t repeated = 0;
  std::int64_t done_until = -1;
  for (const auto& run : runs) {
    if (run.firstStep < 0 || run.lastStep < run.firstStep) continue;
    repeated += std::max<std::int64_t>(0, std::min(done_until, run.lastStep) - run.firstStep + 1);
    done_until = std::max(done_until, run.lastStep);
  }
  return repeated;
}

bool node_is_gone(const Pass& pass, const std::string& node) {
  const auto lease = pass.state.leases.find(node);
  if (lease == pass.state.leases.end()) return pass.state.find<api::Node>("", node) == nullptr;
  return pass.now() > lease->second.seen + lease->second.duration + pass.options.lease_grace;
}

// The job as it is once it has this place; its capacity is promised from here on.
void take_place(const Pass& pass, TrainingJob& job, const Placement& placement) {
  job.status.nomination.reset();
  job.status.epoch += 1;
  job.status.phase = "Reserved";
  job.status.site = placement.site;
  job.status.capacityType = placement.capacity_type;
  job.status.rendezvous.clear();
  RunRecord run;
  run.epoch = job.status.epoch;
  run.site = placement.site;
  run.capacityType = placement.capacity_type;
  run.nodes = placement.nodes;
  run.startedAt = pass.wall();
  for (std::size_t i = 0; i < run.nodes.size(); ++i)
    pass.reserved.add({job.metadata.namespace_, allocation_name(job, std::int64_t(i))},
                      {.node = run.nodes[i],
                       .owner = "TrainingJob/" + job.metadata.namespace_ + "/" + job.metadata.name,
                       .resources = resources_on(pass.state, job, run.nodes[i]),
                       .made = pass.now()});
  job.status.runs.push_back(std::move(run));
}

Json decision_record(const Pass& pass, const TrainingJob& job, const Placement& placement) {
  return Json{{"time", format_rfc3339(pass.wall(), 3)},
              {"object", "trainingjob/" + job.metadata.namespace_ + "/" + job.metadata.name},
              {"uid", job.metadata.uid},
              {"epoch", job.status.epoch},
              {"site", placement.site},
              {"message", placement.message},
              {"explanation", placement.explanation}};
}

Result<Allocation> member(const Pass& pass, const TrainingJob& job, const ResolvedInputs& inputs,
                          const RunRecord& run, std::int64_t replica) {
  Allocation out;
  out.metadata.name = allocation_name(job, replica);
  out.metadata.namespace_ = job.metadata.namespace_;
  out.metadata.labels = job.metadata.labels;
  out.metadata.ownerReferences.push_back(owner_reference(job));
  out.spec.node = run.nodes.at(std::size_t(replica));
  const auto* node = pass.state.find<api::Node>("", out.spec.node);
  out.spec.site = node ? node->spec.site : run.site;
  out.spec.ownerKind = "TrainingJob";
  out.spec.ownerName = job.metadata.name;
  out.spec.epoch = run.epoch;
  out.spec.replica = replica;
  out.spec.resources = resources_on(pass.state, job, out.spec.node);
  out.spec.interruption = job.spec.interruption;
  out.spec.level = inputs.level;
  api::ProcessWork work;
  work.command = job.spec.command;
  work.environment = job.spec.environment;
  work.code = job.spec.code;
  work.inputs = inputs.files;
  work.parameters = job.spec.parameters;
  work.ranks = job.spec.processesPerReplica;
  work.rankFirst = replica * job.spec.processesPerReplica;
  work.worldSize = std::int64_t(run.nodes.size()) * job.spec.processesPerReplica;
  work.checkpointIntervalSteps = job.spec.checkpoint.intervalSteps;
  work.resume = job.status.checkpoint;
  work.openStdin = job.spec.openStdin && replica == 0;
  out.spec.process = std::move(work);
  return out;
}

Task<void> create_member(const Pass& pass, const TrainingJob& job, const ResolvedInputs& inputs,
                         const RunRecord& run, std::int64_t replica, Status& outcome) {
  auto wanted = member(pass, job, inputs, run, replica);
  auto status =
      wanted ? co_await create_if_absent(pass, *std::move(wanted)) : Status(fail(std::move(wanted).error()));
  if (!status && outcome) outcome = std::move(status);
}

Task<Status> create_members(const Pass& pass, const TrainingJob& job, const RunRecord& run) {
  NEAP_CO_TRY(const auto inputs, resolve_inputs(pass, job));
  std::vector<std::int64_t> absent;
  for (std::int64_t i = 0; i < std::int64_t(run.nodes.size()); ++i) {
    const ObjectKey key{job.metadata.namespace_, allocation_name(job, i)};
    if (!pass.state.find<Allocation>(key.namespace_, key.name) && !pass.reserved.is_written(key))
      absent.push_back(i);
  }
  Status outcome;
  co_await for_each_concurrently(pass, absent.size(), kWritesInFlight, [&](std::size_t i) {
    return create_member(pass, job, inputs, run, absent[i], outcome);
  });
  co_return outcome;
}

// Asks all members to stop; true when all have ended or their node is gone. A lost node's members are told,
// too: its agent may come back with one that was prepared and waits.
Task<Result<bool>> stop_members(const Pass& pass, const Members& members) {
  bool all_ended = true;
  for (const auto* a : members) {
    if (is_ended(*a)) continue;
    const bool gone = node_is_gone(pass, a->spec.node);
    if (!gone) all_ended = false;
    auto next = *a;
    if (a->spec.desired != "Stop") {
      next.spec.desired = "Stop";
      NEAP_CO_TRY_VOID(co_await write_spec(pass, std::move(next)));
      continue;
    }
    if (!gone) continue;
    next.status.phase = "Released";
    next.status.reason = "NodeLost";
    next.status.message =
        fmt::format("node {} has not renewed its lease; its agent stops such work by itself", a->spec.node);
    next.status.finishedAt = pass.wall();
    NEAP_CO_TRY_VOID(co_await write_status(pass, std::move(next)));
  }
  co_return all_ended;
}

void take_progress(TrainingJob& job, const Members& members) {
  auto* run = current_run(job);
  for (const auto* a : members) {
    const auto& s = a->status;
    if (s.checkpoint.phase == "Durable" && s.checkpoint.step > job.status.checkpoint.step)
      job.status.checkpoint = s.checkpoint;
    if (s.step > job.status.step) job.status.step = s.step;
    if (run && s.step >= 0) {
      run->lastStep = std::max(run->lastStep, s.step);
      if (s.firstStep >= 0)
        run->firstStep = run->firstStep < 0 ? s.firstStep : std::min(run->firstStep, s.firstStep);
    }
  }
  job.status.stepsRepeated = count_repeated_steps(job.status.runs);
}

// Empty when all gates pass, else why not.
std::string failed_gate(const TrainingJob& job, const Json& metrics) {
  const auto value_of = [&](const std::string& name) -> std::optional<double> {
    const auto* v = find_path(metrics, {name});
    if (!v || !v->is_number()) return std::nullopt;
    return v->to_number<double>();
  };
  for (const auto& gate : job.spec.gates) {
    const auto value = value_of(gate.metric);
    if (!value)
      return fmt::format("quality gate: the job reported no metric \"{}\"; report it with job.finish({}=...)",
                         gate.metric, gate.metric);
    if (*value < gate.minimum)
      return fmt::format(
          "quality gate: {} is {:.4f}, below the least allowed {:.4f}; the model is not registered",
          gate.metric, *value, gate.minimum);
    if (gate.baseline.empty()) continue;
    const auto baseline = value_of(gate.baseline);
    if (!baseline)
      return fmt::format("quality gate: the job reported no metric \"{}\" to compare with", gate.baseline);
    const double drop = (*baseline - *value) * 100;
    if (drop > gate.maxDropPoints)
      return fmt::format(
          "quality gate: {} is {:.4f}, {:.2f} points below {} ({:.4f}); at most {:.2f} are allowed, so the "
          "model "
          "is not registered",
          gate.metric, *value, drop, gate.baseline, *baseline, gate.maxDropPoints);
  }
  return {};
}

void complete(TrainingJob& job, const Members& members, WallTime now) {
  job.status.outputs.clear();
  for (const auto* a : members) {
    for (const auto& output : a->status.outputs) job.status.outputs.push_back(output);
    if (a->spec.replica == 0) job.status.metrics = a->status.metrics;
  }
  if (auto* run = current_run(job)) {
    run->endedAt = now;
    run->reason = "Completed";
  }
  const auto gate = failed_gate(job, job.status.metrics);
  if (gate.empty()) {
    finish(job, "Succeeded", "Completed",
           fmt::format("completed in {} runs, {} interruptions", job.status.runs.size(),
                       job.status.interruptions),
           now);
  } else {
    finish(job, "Failed", "QualityGate", gate, now);
  }
}

// After a run ended early: count it and go back to Pending, or give up.
void close_run(TrainingJob& job, const Members& members, const Claim* claim, WallTime now) {
  const Allocation* failure = nullptr;
  auto* const ended = current_run(job);
  const bool moves = ended && ended->reason == "Moved";
  std::string reason = claim ? "Preempted" : moves ? "Moved" : "Interrupted";
  for (const auto* a : members)
    if (a->status.phase == "Failed" && !failure) failure = a;
  if (failure) reason = "Failed";
  if (ended) {
    ended->endedAt = now;
    ended->reason = reason;
  }
  if (failure) {
    job.status.failures += 1;
    if (job.status.failures > job.spec.backoffLimit) {
      finish(job, "Failed", "BackoffLimit",
             fmt::format("gave up after {} failed runs; the last one: {}", job.status.failures,
                         failure->status.message),
             now);
      return;
    }
    job.status.message =
        fmt::format("run {} failed ({}); trying again", job.status.epoch, failure->status.message);
  } else if (moves && !claim) {
    job.status.message = fmt::format("run {} {}", job.status.epoch, job.status.message);
  } else {
    job.status.interruptions += 1;
    job.status.message =
        claim ? fmt::format("run {} made room for {}; goes on from checkpoint step {} where there is room",
                            job.status.epoch, claim->claimant, job.status.checkpoint.step)
              : fmt::format("run {} was interrupted; going on from checkpoint step {}", job.status.epoch,
                            job.status.checkpoint.step);
  }
  job.status.phase = "Pending";
}

// Whether the job has to stop because its queue gives back what it borrowed; `Draining` then.
bool give_back(TrainingJob& job, const QueueRound& queues) {
  const auto reclaimed = queues.reclaimed.find(key_of(job));
  if (reclaimed == queues.reclaimed.end()) return false;
  job.status.phase = "Draining";
  job.status.message =
      job.status.checkpoint.step < 0
          ? fmt::format("stops without a checkpoint: {}", reclaimed->second)
          : fmt::format("stops at checkpoint step {}: {}", job.status.checkpoint.step, reclaimed->second);
  return true;
}

// Whether the job goes on elsewhere, for its deadline, because it comes home, or to make room; `Draining`
// then.
bool leave(const Pass& pass, TrainingJob& job) {
  auto* run = current_run(job);
  const auto* choice = pass.deadlines ? pass.deadlines->find(job) : nullptr;
  const auto* home = pass.drift ? pass.drift->find_home(job) : nullptr;
  const auto* room = pass.repack ? pass.repack->find_leave(job) : nullptr;
  const bool moves = choice && choice->moves;
  if (!run || (!moves && !home && !room)) return false;
  job.status.phase = "Draining";
  job.status.message = fmt::format("stops at checkpoint step {}: {}", job.status.checkpoint.step,
                                   moves  ? choice->why
                                   : home ? home->why
                                          : room->why);
  run->reason = "Moved";
  if (!moves)
    job.status.nomination = api::Nomination{.nodes = home ? home->nodes : room->nodes,
                                            .victims = {},
                                            .site = home ? home->site : room->site,
                                            .madeAt = pass.wall()};
  return true;
}

Task<Status> record_stop(const Pass& pass, const TrainingJob& job) {
  co_return co_await pass.decisions(
      Json{{"time", format_rfc3339(pass.wall(), 3)},
           {"object", "trainingjob/" + job.metadata.namespace_ + "/" + job.metadata.name},
           {"uid", job.metadata.uid},
           {"epoch", job.status.epoch},
           {"message", job.status.message}});
}

Task<Status> drain_for(const Pass& pass, TrainingJob& job, const Claim& claim) {
  job.status.phase = "Draining";
  co_return co_await note_preempted(pass, job, claim);
}

Task<Status> advance_reserved(const Pass& pass, TrainingJob& job, const Members& members,
                              const QueueRound& queues, const Claim* claim) {
  auto* run = current_run(job);
  if (!run) {
    job.status.phase = "Pending";
    co_return ok();
  }
  if (claim) co_return co_await drain_for(pass, job, *claim);
  if (members.size() < run->nodes.size()) co_return co_await create_members(pass, job, *run);
  if (give_back(job, queues)) co_return co_await record_stop(pass, job);
  const bool too_late = run->startedAt && pass.wall() > *run->startedAt + pass.options.prepare_timeout;
  const bool broken = std::ranges::any_of(
      members, [&](const auto* a) { return is_ended(*a) || node_is_gone(pass, a->spec.node); });
  if (broken || too_late) {
    job.status.phase = "Draining";
    job.status.message = too_late ? "the members did not get ready in time" : "a member could not get ready";
    co_return ok();
  }
  if (!std::ranges::all_of(members, [](const auto* a) { return a->status.phase == "Prepared"; }))
    co_return ok();
  job.status.committedEpoch = job.status.epoch;
  job.status.rendezvous = members.front()->status.rendezvous;
  job.status.phase = "Running";
  if (const auto* told = api::find_condition(job.status.conditions, "Preempted");
      told && told->status == "True")
    api::set_condition(
        job.status.conditions,
        {.type = "Preempted", .status = "False", .reason = "RunsAgain", .message = "it has a place again"},
        pass.wall());
  job.status.message = fmt::format("running on {} ({})", job.status.site, job.status.capacityType);
  if (!job.status.startedAt) job.status.startedAt = pass.wall();
  co_return ok();
}

Task<Status> advance_running(const Pass& pass, TrainingJob& job, const Members& members,
                             const QueueRound& queues, const Claim* claim) {
  take_progress(job, members);
  for (const auto* a : members) {
    if (a->spec.committedEpoch == job.status.committedEpoch || is_ended(*a)) continue;
    auto next = *a;
    next.spec.committedEpoch = job.status.committedEpoch;
    next.spec.rendezvous = job.status.rendezvous;
    NEAP_CO_TRY_VOID(co_await write_spec(pass, std::move(next)));
  }
  if (std::ranges::all_of(members, [](const auto* a) { return a->status.phase == "Succeeded"; }) &&
      std::int64_t(members.size()) >= size_of_run(job)) {
    complete(job, members, pass.wall());
    co_return ok();
  }
  const bool lost_one = std::int64_t(members.size()) < size_of_run(job) ||
                        std::ranges::any_of(
                            members,
                            [&](const auto* a) {
                              return a->status.phase == "Failed" || a->status.phase == "Released" ||
                                     (!is_ended(*a) && node_is_gone(pass, a->spec.node));
                            });
  if (claim && !lost_one && !job.spec.suspend) co_return co_await drain_for(pass, job, *claim);
  const auto* budget = pausing_budget(pass, job);
  if (!lost_one && !job.spec.suspend && !budget && (give_back(job, queues) || leave(pass, job)))
    co_return co_await record_stop(pass, job);
  if (lost_one || job.spec.suspend || budget) {
    job.status.phase = "Draining";
    job.status.message = budget && !lost_one && !job.spec.suspend
                             ? fmt::format("stops at checkpoint step {}: {}", job.status.checkpoint.step,
                                           budget->status.message)
                             : "stopping the remaining members";
  }
  co_return ok();
}

// What an older epoch left behind, or a node brought back with it, neither runs nor holds capacity.
Task<Status> stop_left_over(const Pass& pass, const TrainingJob& job) {
  auto left_over = pass.state.allocations_of(job.metadata.namespace_, "TrainingJob", job.metadata.name);
  std::erase_if(left_over, [&](const auto* a) { return a->spec.epoch >= job.status.epoch; });
  auto cleared = co_await stop_members(pass, left_over);
  co_return cleared ? ok() : fail(std::move(cleared).error());
}

// A job that has, or had, its place.
Task<Status> reconcile_placed(const Pass& pass, const TrainingJob& before, const QueueRound& queues,
                              const Claims& claims) {
  const auto* claim = find_claim(claims, before);
  const auto& phase = before.status.phase;
  const auto members = pass.state.allocations_of(before.metadata.namespace_, "TrainingJob",
                                                 before.metadata.name, before.status.epoch);
  NEAP_CO_TRY_VOID(co_await stop_left_over(pass, before));
  if (phase == "Succeeded" || phase == "Failed") {
    auto stopped = co_await stop_members(pass, members);
    co_return stopped ? ok() : fail(std::move(stopped).error());
  }
  auto job = before;
  if (phase == "Reserved") {
    NEAP_CO_TRY_VOID(co_await advance_reserved(pass, job, members, queues, claim));
    if (job.status.phase == phase) co_return ok();
  } else if (phase == "Running") {
    NEAP_CO_TRY_VOID(co_await advance_running(pass, job, members, queues, claim));
  } else {
    take_progress(job, members);
    NEAP_CO_TRY(const bool ended, co_await stop_members(pass, members));
    if (ended) close_run(job, members, claim, pass.wall());
  }
  if (same_object(job, before)) co_return ok();
  co_return co_await write_status(pass, std::move(job));
}

// What its deadline, or PrivateFirst, makes of it, beside the decision.
void tell_plan(const Pass& pass, const TrainingJob& job, const Placement& placement,
               api::TrainingJobStatus& status) {
  const auto* choice = pass.deadlines ? pass.deadlines->find(job) : nullptr;
  const auto* wait = pass.drift ? pass.drift->find_wait(job) : nullptr;
  const auto* burst = pass.drift ? pass.drift->find_burst(job) : nullptr;
  const auto* why = choice ? &choice->why : wait ? wait : burst;
  const auto* site = placement.placed ? pass.state.find<api::Site>("", placement.site) : nullptr;
  const bool is_at_home = site && site->spec.tier != api::Tier::kPublic;
  if (!why || (is_at_home && !choice)) return;
  const bool waits = choice && choice->kind == DeadlineChoice::Kind::kWait && !placement.placed;
  if (waits || !status.explanation.is_object())
    status.explanation = JsonObject{{"request", job.metadata.name},
                                    {"placed", false},
                                    {"pending", JsonObject{{"code", "plan.waits"}, {"message", *why}}}};
  else
    status.explanation.as_object()["plan"] = *why;
  if (placement.placed && (choice || burst)) status.message += "; " + *why;
}

// Why, then where, then the members: what a pass cut off in between left out, the next one finds and does.
Task<Status> follow_placement(const Pass& pass, const TrainingJob& before, Placement placement) {
  auto job = before;
  job.status.explanation = placement.explanation;
  job.status.message = placement.message;
  tell_plan(pass, before, placement, job.status);
  // Why it is not where it was.
  if (placement.placed && before.status.nomination && !before.status.runs.empty() &&
      before.status.runs.back().reason == "Moved" && job.status.explanation.is_object())
    job.status.explanation.as_object()["plan"] = before.status.message;
  if (!placement.placed) {
    job.status.phase = "Pending";
    NEAP_CO_TRY_VOID(co_await nominate(pass, job, placement));
    const auto& was = before.status;
    if (was.nomination.has_value() == job.status.nomination.has_value() && was.phase == job.status.phase &&
        was.message == job.status.message && was.explanation == job.status.explanation)
      co_return ok();
    co_return co_await write_status(pass, std::move(job));
  }
  take_place(pass, job, placement);
  NEAP_CO_TRY_VOID(co_await pass.decisions(decision_record(pass, job, placement)));
  auto path = client::TypedClient<TrainingJob>::path(job.metadata.namespace_, job.metadata.name, "status");
  auto written = co_await pass.client.update(pass.ctx, std::move(path), api::to_json(job), {});
  if (!written) co_return tolerate_races(fail(std::move(written).error()));
  co_return co_await create_members(pass, job, job.status.runs.back());
}

// What a pass tells about the jobs that it looked at.
struct Outcome {
  Status first_error;
  void note(const Pass& pass, const TrainingJob& job, Status status) {
    if (status) return;
    if (pass.agenda) pass.agenda->look_again(key_of(job), pass.now() + pass.options.tick);
    if (first_error) first_error = fail(std::move(status).error(), "trainingjob/" + job.metadata.name);
  }
};

Task<void> reconcile_one(const Pass& pass, const TrainingJob& job, const QueueRound& queues,
                         const Claims& claims, Outcome& outcome) {
  outcome.note(pass, job, co_await reconcile_placed(pass, job, queues, claims));
  const auto* run =
      job.status.phase == "Reserved" && !job.status.runs.empty() ? &job.status.runs.back() : nullptr;
  if (pass.agenda && run && run->startedAt) {
    const auto left = *run->startedAt + pass.options.prepare_timeout - pass.wall();
    if (left >= Duration::zero()) pass.agenda->look_again(key_of(job), pass.now() + left + 1ms);
  }
}

Task<void> place_one(const Pass& pass, const TrainingJob& job, const Placement& placement, Outcome& outcome) {
  auto status = co_await stop_left_over(pass, job);
  if (status) status = co_await follow_placement(pass, job, placement);
  outcome.note(pass, job, std::move(status));
}

// Decided in portions, so that what else the process serves is not kept waiting for all of them.
constexpr std::size_t kDecidedTogether = 256;

// `jobs` are of one project.
Task<void> place_waiting(const Pass& pass, const std::vector<const TrainingJob*>& jobs, Outcome& outcome) {
  for (std::size_t at = 0; at < jobs.size(); at += kDecidedTogether) {
    std::vector<WaitingJob> portion;
    std::vector<Placement> placements;
    for (std::size_t i = at; i < std::min(jobs.size(), at + kDecidedTogether); ++i) {
      auto inputs = resolve_inputs(pass, *jobs[i]);
      if (inputs) {
        portion.push_back({jobs[i], *std::move(inputs)});
      } else if (jobs[i]->status.message != inputs.error().message || jobs[i]->status.nomination) {
        auto next = *jobs[i];
        next.status.message = inputs.error().message;
        next.status.nomination.reset();  // no place is held for who cannot start
        outcome.note(pass, *jobs[i], co_await write_status(pass, std::move(next)));
      }
    }
    placements = place_jobs(pass, portion);
    for (std::size_t i = 0; i < portion.size(); ++i)
      if (pass.agenda && !placements[i].placed) pass.agenda->wait_for_room(key_of(*portion[i].job));
    co_await for_each_concurrently(pass, portion.size(), kWritesInFlight, [&](std::size_t i) {
      return place_one(pass, *portion[i].job, placements[i], outcome);
    });
  }
}

// What a round over the queues decided.
Task<void> follow_round(const Pass& pass, const QueueRound& queues, Outcome& outcome) {
  std::vector<std::pair<const TrainingJob*, const Placement*>> decided;
  for (const auto& [key, placement] : queues.placements) {
    const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
    if (!job) continue;
    decided.emplace_back(job, &placement);
    if (pass.agenda && !placement.placed) pass.agenda->wait_for_room(key);
  }
  co_await for_each_concurrently(pass, decided.size(), kWritesInFlight, [&](std::size_t i) {
    return place_one(pass, *decided[i].first, *decided[i].second, outcome);
  });
  auto told = co_await reconcile_queues(pass, queues);
  if (!told && outcome.first_error) outcome.first_error = std::move(told);
}

}  // namespace

Task<Status> reconcile_training(const Pass& pass) {
  Outcome outcome;
  const auto claims = claims_of(pass);
  QueueRound own;
  auto& queues = pass.queues ? *pass.queues : own;
  std::set<const TrainingJob*> placed;
  std::map<std::string, std::vector<const TrainingJob*>> waiting;  // by project
  const auto sort = [&](const TrainingJob& job) {
    if (job.metadata.deletionTimestamp) return;
    if (!has_no_place(job))
      placed.insert(&job);
    else if (asks_for_place(pass, job))
      waiting[job.metadata.namespace_].push_back(&job);
  };
  if (pass.agenda) {
    for (const auto& key : pass.work.jobs)
      if (const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name)) sort(*job);
  } else {
    for (const auto& [key, job] : pass.state.all<TrainingJob>()) sort(job);
  }
  if (pass.deadlines) pass.deadlines->plan(pass);
  if (pass.drift) pass.drift->plan(pass);
  if (pass.repack) pass.repack->plan(pass);
  auto leaving = pass.drift ? pass.drift->leaving() : std::vector<ObjectKey>{};
  if (pass.repack) std::ranges::move(pass.repack->leaving(), std::back_inserter(leaving));
  for (const auto& key : leaving)
    if (const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name)) placed.insert(job);
  if (!pass.agenda || pass.work.is_tick || pass.work.replicas || !waiting.empty()) queues = plan_queues(pass);
  for (const auto& [key, why] : queues.reclaimed)
    if (const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name)) placed.insert(job);
  const std::vector<const TrainingJob*> in_place(placed.begin(), placed.end());
  co_await for_each_concurrently(pass, in_place.size(), kWritesInFlight, [&](std::size_t i) {
    return reconcile_one(pass, *in_place[i], queues, claims, outcome);
  });
  if (queues.is_made) {
    co_await follow_round(pass, queues, outcome);
    // A place is held for these: no queue decides about them any more.
    for (auto& [project, jobs] : waiting)
      std::erase_if(jobs, [](const auto* job) { return !nomination_of(*job); });
  }
  for (const auto& [project, jobs] : waiting) co_await place_waiting(pass, jobs, outcome);
  co_return outcome.first_error;
}

}  // namespace neap::controllers
