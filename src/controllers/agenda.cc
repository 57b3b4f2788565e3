#include "internal/agenda.h"

#include "internal/preemption.h"

namespace neap::controllers {
namespace {

bool is_done(const api::TrainingJob& job) {
  return job.status.phase == "Succeeded" || job.status.phase == "Failed";
}

}  // namespace

void Agenda::note_victims(const api::Nomination& nomination) {
  for (const auto& victim : nomination.victims)
    if (const auto slash = victim.job.find('/'); slash != std::string::npos)
      jobs_.insert({victim.job.substr(0, slash), victim.job.substr(slash + 1)});
}

void Agenda::note(const ObjectKey& key, const api::TrainingJob*, const api::TrainingJob* after) {
  jobs_.insert(key);
  if (after && (after->status.phase == "Reserved" || after->status.nomination)) promised_.insert(key);
  if (after && after->status.nomination) note_victims(*after->status.nomination);
  // Others may wait for its outputs.
  if (!after || is_done(*after)) room_ = true;
}

void Agenda::note(const ObjectKey& key, const api::Allocation* before, const api::Allocation* after) {
  const auto& known = after ? *after : *before;
  if (known.spec.ownerKind == "TrainingJob") {
    const ObjectKey owner{key.namespace_, known.spec.ownerName};
    jobs_.insert(owner);
    if (!after) promised_.insert(owner);  // its job may make it anew
  }
  if (known.spec.ownerKind == "InferenceService") replicas_ = true;
  sums_ = true;
  if (!after || is_ended(*after)) room_ = true;
}

void Agenda::note(const ObjectKey&, const api::InferenceService*, const api::InferenceService* after) {
  replicas_ = true;
  if (!after) room_ = true;
  if (after)
    for (const auto& [replica, nomination] : after->status.nominations) note_victims(nomination);
}

void Agenda::note(const ObjectKey& key, const api::Node*, const api::Node* after) {
  room_ = sums_ = true;
  if (!after) nodes_.insert(key.name);
}

// Its amounts follow what was placed: they are written in every pass that places something.
void Agenda::note(const ObjectKey&, const api::Budget* before, const api::Budget* after) {
  if (before && after && before->metadata.generation == after->metadata.generation &&
      before->status.action == after->status.action &&
      before->status.observedGeneration == after->status.observedGeneration &&
      before->status.periodEnd == after->status.periodEnd)
    return;
  everything_ = true;  // running jobs obey it, too
}

void Agenda::take_lost_nodes(const ClusterState& picture, const Options& options, MonoTime now) {
  for (const auto& [name, lease] : picture.leases) {
    const bool is_gone = now > lease.seen + lease.duration + options.lease_grace;
    if (is_gone != gone_.contains(name)) {
      nodes_.insert(name);
      if (is_gone)
        gone_.insert(name);
      else
        gone_.erase(name);
    }
  }
}

void Agenda::forget_kept_promises(const ClusterState& picture) {
  std::erase_if(promised_, [&](const ObjectKey& key) {
    const auto* job = picture.find<api::TrainingJob>(key.namespace_, key.name);
    if (!job) return true;
    if (nomination_of(*job)) return false;
    if (job->status.phase != "Reserved") return true;
    const auto members = picture.allocations_of(key.namespace_, "TrainingJob", key.name, job->status.epoch);
    const auto run = std::ranges::find(job->status.runs, job->status.epoch, &api::RunRecord::epoch);
    return run != job->status.runs.end() && members.size() >= run->nodes.size();
  });
}

Work Agenda::begin_pass(const ClusterState& picture, const Options& options, MonoTime now) {
  Work out;
  forget_kept_promises(picture);
  claimed_.clear();
  out.is_tick = !ticked_ || now - *ticked_ >= options.tick;
  if (out.is_tick) {
    ticked_ = now;
    take_lost_nodes(picture, options, now);
  }
  if (!looked_at_all_ || now - *looked_at_all_ >= options.resync) everything_ = true;
  // Sums are told at the pace of the tick: no decision reads them.
  if (out.is_tick && (sums_ || everything_)) {
    out.sums = true;
    sums_ = false;
  }
  while (!due_.empty() && due_.begin()->first <= now) {
    jobs_.insert(due_.begin()->second);
    due_.erase(due_.begin());
  }
  if (!nodes_.empty())
    for (const auto& [key, allocation] : picture.all<api::Allocation>())
      if (allocation.spec.ownerKind == "TrainingJob" && nodes_.contains(allocation.spec.node))
        jobs_.insert({key.namespace_, allocation.spec.ownerName});
  nodes_.clear();
  if (everything_) {
    for (const auto& [key, job] : picture.all<api::TrainingJob>()) jobs_.insert(key);
    looked_at_all_ = now;
  } else if (room_) {
    jobs_.insert(waiting_.begin(), waiting_.end());
  }
  if (everything_ || room_) waiting_.clear();
  out.replicas = std::exchange(replicas_, false) || everything_;
  everything_ = room_ = false;
  for (const auto& key : jobs_) waiting_.erase(key);
  out.jobs.assign(jobs_.begin(), jobs_.end());
  jobs_.clear();
  return out;
}

}  // namespace neap::controllers
