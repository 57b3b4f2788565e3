#include "internal/repack_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "internal/deadlines.h"
#include "internal/drift.h"
#include "internal/queueing.h"

namespace neap::controllers {
namespace {

using api::TrainingJob;

constexpr std::string_view kMovesPerHour = "neap.dev/repack-moves-per-hour";
constexpr std::int64_t kMovesPerHourMax = 60;
// A plan costs some tens of decisions.
constexpr std::size_t kTriedMax = 4;
// A leave that the picture does not show after this was not written.
constexpr Duration kShownWithin = std::chrono::seconds(30);

std::string name_of(const ObjectKey& key) { return key.namespace_ + "/" + key.name; }

// 0: not asked for, or not understood.
std::int64_t moves_per_hour(const ClusterState& state, const TrainingJob& job) {
  const auto name = queue_of(state, job);
  const auto* queue = name.empty() ? nullptr : state.find<api::Queue>("", name);
  if (!queue) return 0;
  const auto found = queue->metadata.annotations.find(std::string(kMovesPerHour));
  if (found == queue->metadata.annotations.end()) return 0;
  std::int64_t value = 0;
  const auto& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1 || value > kMovesPerHourMax)
    return 0;
  return value;
}

std::optional<WallTime> last_move(const TrainingJob& job) {
  std::optional<WallTime> out;
  for (const auto& run : job.status.runs)
    if (run.reason == "Moved" && run.endedAt) out = std::max(out.value_or(*run.endedAt), *run.endedAt);
  return out;
}

std::int64_t moves_of_the_last_hour(const Pass& pass) {
  std::int64_t out = 0;
  for (const auto& [key, job] : pass.state.all<TrainingJob>())
    for (const auto& run : job.status.runs)
      if (run.reason == "Moved" && (!run.endedAt || pass.wall() - *run.endedAt < std::chrono::hours(1)))
        ++out;
  return out;
}

std::int64_t last_step(const TrainingJob& job) {
  const auto run = std::ranges::find(job.status.runs, job.status.epoch, &api::RunRecord::epoch);
  return run == job.status.runs.end() ? -1 : run->lastStep;
}

StaysFor stays_beside(const Pass& pass, int priority) {
  return [&pass, priority](const TrainingJob& job) -> std::string {
    if (moves_per_hour(pass.state, job) == 0) return "its queue does not take part in re-packing";
    if (priority_of(pass.state, job.spec.priorityClass).value != priority) return "it is of another priority";
    if (job.spec.checkpoint.intervalSteps <= 0) return "it makes no checkpoints of its own";
    if (pass.deadlines && pass.deadlines->find(job)) return "its deadline decides where it runs";
    if (const auto moved = last_move(job); moved && pass.wall() - *moved < RepackTable::kStays)
      return "it moved a short while ago";
    return {};
  };
}

scheduler::Options options_of(const Pass& pass) {
  scheduler::Options out;
  out.now = pass.wall();
  out.seed = pass.options.seed;
  return out;
}

Result<scheduler::GangRoomAnswer> answer_for(const Pass& pass, const TrainingJob& waiting, RepackWorld& seen,
                                             const StaysFor& stays, std::size_t moves_max) {
  NEAP_TRY(const auto inputs, resolve_inputs(pass, waiting));
  NEAP_TRY(const auto request, job_request(pass, waiting, inputs));
  NEAP_TRY(seen, repack_world(pass, waiting.metadata.namespace_, {"TrainingJob/" + name_of(key_of(waiting))},
                              stays));
  scheduler::GangRoomLimits limits;
  limits.moves_max = std::min(limits.moves_max, moves_max);
  return scheduler::plan_gang_room(seen.world, request, limits, options_of(pass));
}

std::vector<std::string> nodes_of(const std::vector<scheduler::Placement>& places) {
  std::vector<std::string> out(places.size());
  for (const auto& place : places) out.at(std::size_t(place.replica)) = place.node;
  return out;
}

}  // namespace

void RepackTable::plan(const Pass& pass) {
  leaves_.clear();
  if (plan_) follow(pass);
  if (!pass.work.is_tick || (looked_ && *looked_ + pass.options.plan_tick > pass.wall())) return;
  looked_ = pass.wall();
  if (!plan_) look(pass);
}

void RepackTable::look(const Pass& pass) {
  struct Candidate {
    const TrainingJob* job;
    int priority;
    WallTime since;
    std::int64_t moves;
  };
  std::vector<Candidate> candidates;
  for (const auto& [key, queue] : pass.state.all<api::Queue>()) {
    const ObjectKey next{queue.status.next.substr(0, queue.status.next.find('/')),
                         queue.status.next.substr(queue.status.next.find('/') + 1)};
    const auto* job = pass.state.find<TrainingJob>(next.namespace_, next.name);
    if (!job || !asks_for_place(pass, *job) || job->status.nomination ||
        queue_of(pass.state, *job) != key.name)
      continue;
    const auto moves = moves_per_hour(pass.state, *job);
    const auto priority = priority_of(pass.state, job->spec.priorityClass);
    if (moves == 0 || !priority.may_preempt || pass.wall() - waiting_since(*job) < kWaited) continue;
    candidates.push_back({job, priority.value, waiting_since(*job), moves});
  }
  if (candidates.empty()) return;
  std::ranges::sort(candidates, {}, [](const Candidate& one) {
    return std::tuple(-one.priority, one.since, key_of(*one.job));
  });
  const auto moved = moves_of_the_last_hour(pass);
  for (std::size_t i = 0; i < std::min(candidates.size(), kTriedMax); ++i)
    if (try_for(pass, *candidates[i].job, candidates[i].moves - moved)) return;
}

bool RepackTable::try_for(const Pass& pass, const TrainingJob& job, std::int64_t moves_left) {
  if (moves_left <= 0) return false;
  RepackWorld seen;
  const auto priority = priority_of(pass.state, job.spec.priorityClass).value;
  const auto answer = answer_for(pass, job, seen, stays_beside(pass, priority), std::size_t(moves_left));
  if (!answer || !answer->room) return false;
  Plan plan{.waiting = key_of(job), .room = {}, .movers = {}};
  plan.room.nodes = nodes_of(answer->room->places);
  plan.room.site = answer->room->places.front().site;
  plan.room.madeAt = pass.wall();
  for (const auto& move : answer->room->moves) {
    const auto& owner = seen.world.tenants[move.tenant].gang.owner;
    const auto& mover = *seen.jobs.at(owner);
    plan.movers.emplace(key_of(mover), Mover{mover.status.epoch, mover.status.checkpoint.step, {}});
    plan.room.victims.push_back(
        {.job = owner,
         .message = fmt::format("goes on elsewhere at its next checkpoint, to make room for {}",
                                name_of(plan.waiting)),
         .epoch = mover.status.epoch});
  }
  given_up_.clear();
  plan_ = std::move(plan);
  if (pass.agenda) pass.agenda->look_again(plan_->waiting, pass.now() + pass.options.settle);
  return true;
}

void RepackTable::follow(const Pass& pass) {
  const auto* waiting = pass.state.find<TrainingJob>(plan_->waiting.namespace_, plan_->waiting.name);
  if (!waiting || waiting->metadata.deletionTimestamp || waiting->spec.suspend || !has_no_place(*waiting)) {
    plan_.reset();  // it has its place, or asks for none
    return;
  }
  const bool is_held = waiting->status.nomination && waiting->status.nomination->nodes == plan_->room.nodes;
  if (plan_->is_seen && !is_held) {
    plan_.reset();
    return;
  }
  if (pass.wall() - *plan_->room.madeAt > kPatience)
    return give_up(pass, "not all of the jobs came to a checkpoint in time");
  if (!is_held && pass.wall() - *plan_->room.madeAt > kShownWithin)
    return give_up(pass, "the place could not be held");
  plan_->is_seen = is_held;
  if (moves_per_hour(pass.state, *waiting) == 0)
    return give_up(pass, "its queue does not ask for it any more");
  for (const auto& name : plan_->room.nodes)
    if (const auto* node = pass.state.find<api::Node>("", name);
        !node || node->spec.unschedulable || !condition_is_true(node->status.conditions, "Ready"))
      return give_up(pass, fmt::format("node {} is not there for it any more", name));
  if (is_held) ask_one_to_leave(pass, *waiting);
}

// One after the other: the room of each is free, and its next place in the picture, before the next one's is
// looked for.
void RepackTable::ask_one_to_leave(const Pass& pass, const TrainingJob& waiting) {
  std::set<ObjectKey> remaining;
  std::vector<ObjectKey> ready;
  for (auto& [key, mover] : plan_->movers) {
    const auto* job = pass.state.find<TrainingJob>(key.namespace_, key.name);
    if (!job || job->status.epoch != mover.epoch) continue;  // it has left
    if (job->status.phase == "Draining") return;             // its room is not free yet
    if (job->status.phase != "Running") continue;
    if (mover.asked && pass.wall() - *mover.asked < kShownWithin) return;
    mover.asked.reset();
    remaining.insert(key);
    const auto& checkpoint = job->status.checkpoint;
    if (checkpoint.phase == "Durable" &&
        (checkpoint.step > mover.step || (last_step(*job) >= 0 && last_step(*job) <= checkpoint.step)))
      ready.push_back(key);
  }
  if (ready.empty()) return;
  const auto among = stays_beside(pass, priority_of(pass.state, waiting.spec.priorityClass).value);
  RepackWorld seen;
  const auto answer = answer_for(
      pass, waiting, seen,
      [&](const TrainingJob& job) {
        return remaining.contains(key_of(job)) ? among(job) : std::string("it is no part of the plan");
      },
      remaining.size());
  if (!answer) return give_up(pass, answer.error().message);
  if (answer->is_free_already) return;  // it starts without them
  if (!answer->room || nodes_of(answer->room->places) != plan_->room.nodes)
    return give_up(pass, answer->room ? std::string("the room would be elsewhere by now") : answer->why);
  for (const auto& move : answer->room->moves) {
    const auto& job = *seen.jobs.at(seen.world.tenants[move.tenant].gang.owner);
    if (std::ranges::find(ready, key_of(job)) == ready.end()) continue;
    auto& leave = leaves_[key_of(job)];
    leave.nodes = nodes_of(move.to);
    leave.site = move.to.front().site;
    leave.why = fmt::format("moves to {} to make room for {}", leave.nodes.front(), name_of(plan_->waiting));
    plan_->movers.at(key_of(job)).asked = pass.wall();
    return;
  }
}

void RepackTable::give_up(const Pass& pass, std::string why) {
  given_up_.clear();
  given_up_[plan_->waiting] = std::move(why);
  if (pass.agenda) pass.agenda->look_again(plan_->waiting, pass.now() + pass.options.settle);
  plan_.reset();
}

const api::Nomination* RepackTable::find_room(const TrainingJob& job) const {
  return plan_ && plan_->waiting == key_of(job) ? &plan_->room : nullptr;
}
std::string RepackTable::why_given_up(const TrainingJob& job) const {
  const auto found = given_up_.find(key_of(job));
  return found == given_up_.end() ? std::string() : found->second;
}
const RepackTable::Leave* RepackTable::find_leave(const TrainingJob& job) const {
  const auto found = leaves_.find(key_of(job));
  return found == leaves_.end() ? nullptr : &found->second;
}
std::vector<ObjectKey> RepackTable::leaving() const {
  std::vector<ObjectKey> out;
  for (const auto& [key, leave] : leaves_) out.push_back(key);
  return out;
}

}  // namespace neap::controllers
