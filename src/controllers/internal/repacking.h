// Room for a job that waits, by letting running ones go on elsewhere at their site.
//
// Who never moves: what is not a running TrainingJob; whose interruption is `never`; who has no durable
// checkpoint, or unsaved work that nobody could tell; who is asked to make room, or moves, already; who keeps
// a deadline; who is of a higher priority than the job that waits; and who has no other place there.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "internal/placement.h"
#include "internal/preemption.h"
#include "neap/scheduler/gang_room.h"

namespace neap::controllers {

// The running jobs as the planner sees them. By owner ("project/name"): who is not among the world's tenants
// that may move, and why.
struct RepackWorld {
  scheduler::RunningWorld world;
  std::map<std::string, const api::TrainingJob*> jobs;  // of the tenants
  std::vector<Holding> holdings;                        // of everybody
};
// More reasons to stay than the job's own; empty where there are none.
using StaysFor = std::function<std::string(const api::TrainingJob&)>;
// `owners` ask for the room: what is held for them counts as free.
Result<RepackWorld> repack_world(const Pass& pass, const std::string& project, const Owners& owners,
                                 const StaysFor& stays_for = {});
// Why a job may not move whatever it would make room for; empty where it may.
std::string why_it_stays(const Pass& pass, const api::TrainingJob& job, const Claims& claims);

// {"currency","plans":[{"for","isJob","state": "free"|"moves"|"none","why","site","nodes":[...],
//  "moves":[{"job","site","from":[...],"to":[...],"checkpointStep","setBackSeconds","setBackDeviceSeconds",
//  "bytes","costMicros"?}],"setBackDeviceSeconds","bytes","costMicros"?,"stays":[{"what","nodes":[...],
//  "why"}],"staysMore"}]}: for the job, else for each waiting job of the project, the first ones, and for a
// whole node of each accelerator model. Names of projects that may not be read are left out. Writes nothing.
// Reasons: `repack.job`, `repack.placed`, `job.input.missing`, `placement.*`.
using MayRead = std::function<bool(const std::string&)>;
Result<Json> repack_plan(const Pass& pass, const std::string& project, const std::string& job,
                         const MayRead& may_read);

}  // namespace neap::controllers
