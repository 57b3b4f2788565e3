// What each job with a deadline runs on until the next look: spot, capacity that nobody takes away, or
// nothing yet; and which running ones change.
//
// 1. A job is looked at every Options::plan_tick; two looks lie at most a tick of the loop further apart, and
//    the planner's promise is made for that distance: a job that on-demand could finish in time is not late,
//    as long as capacity that nobody takes away has room when it is asked for.
// 2. Where that has no room, anything that has is taken: a deadline is never waited away.
// 3. A running job leaves on-demand for spot only after a new durable checkpoint; it leaves spot for the
//    deadline's sake at once, as for an interruption.
// 4. What is known of spot capacity comes from Site.status.spotSpells alone, so a new leader knows it too
//    (SpotRecord, which says how much of it is read again).
// Belongs to the loop's executor.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "internal/reconciler.h"
#include "internal/spot_history.h"
#include "neap/scheduler/deadline_planner.h"
#include "neap/scheduler/scheduler.h"

namespace neap::controllers {

struct DeadlineChoice {
  enum class Kind : std::uint8_t { kAny, kSpot, kSafe, kWait };
  Kind kind = Kind::kAny;
  std::string site;  // of kSpot
  std::string why;   // for people
  // A running job leaves what it holds for this.
  bool moves = false;
  std::int64_t epoch = 0;
  std::string phase;
  WallTime made{};
};

class DeadlineChoices {
 public:
  // Looks at those of the pass's jobs that are due. Nothing where no job has a deadline.
  void plan(const Pass& pass);
  // Null where nothing was chosen for the job as it is: it has no deadline, or only one kind of capacity.
  const DeadlineChoice* find(const api::TrainingJob& job) const;

 private:
  struct Entry {
    DeadlineChoice choice;
    scheduler::DeadlineJob terms;
    std::unique_ptr<scheduler::DeadlinePlanner> planner;
    std::int64_t checkpoint = -2;  // the durable one at the last look; -2: not looked yet
  };
  struct Worlds;

  void observe(const Pass& pass);
  std::optional<DeadlineChoice> choose(const Pass& pass, const api::TrainingJob& job, Worlds& worlds,
                                       Entry& entry);

  std::map<ObjectKey, Entry> entries_;
  SpotRecord spot_;
};

// Work done that a run which begins now need not do again, or that the run under way has done, in seconds of
// the whole job; and how much of it is in no durable checkpoint.
struct JobProgress {
  double done_s = 0;
  double unsaved_s = 0;
  // Between two checkpoints; absent until a run has shown how long a step takes.
  std::optional<double> interval_s;
};
JobProgress progress_of(const ClusterState& state, const api::TrainingJob& job);

}  // namespace neap::controllers
