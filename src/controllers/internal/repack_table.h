// Running jobs that go on elsewhere so that the job whose turn it is has room: off, but for queues that say
// so.
//
// 1. A Queue asks for it by the annotation neap.dev/repack-moves-per-hour, a number from 1 to 60. Both the
//    waiting job's queue and that of each mover have it; the former's number bounds the moves of an hour.
// 2. For whom: the job whose turn it is in its queue, of a class that may preempt, after kWaited.
// 3. One plan at a time. The waiting job's place is held by its nomination; each mover leaves at a durable
//    checkpoint newer than the plan, or that holds all it did, for a place that is then held for it. Before
//    each leave the plan is made anew from the world as it is; where it does not come out for the same place
//    it is given up: the nomination goes, and who has not left stays.
// 4. Beside who never moves (repacking.h): who is of another priority than the waiting job, makes no
//    checkpoints of its own, or moved less than kStays ago.
// 5. Nothing is kept elsewhere: a new leader gives up what another began (nominate()), and counts moves by
//    the runs that ended with "Moved".
// Belongs to the loop's executor.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "internal/repacking.h"

namespace neap::controllers {

class RepackTable {
 public:
  static constexpr Duration kWaited = std::chrono::minutes(5);
  static constexpr Duration kStays = std::chrono::minutes(30);
  // A plan that is not through by then is given up.
  static constexpr Duration kPatience = std::chrono::minutes(30);

  void plan(const Pass& pass);

  // The place that is held for a waiting job while others move; null where there is none.
  const api::Nomination* find_room(const api::TrainingJob& job) const;
  // Why the last plan for this job was given up; empty where none was.
  std::string why_given_up(const api::TrainingJob& job) const;
  struct Leave {
    std::vector<std::string> nodes;
    std::string site, why;
  };
  // Where a running job goes on instead, now; null where it stays.
  const Leave* find_leave(const api::TrainingJob& job) const;
  std::vector<ObjectKey> leaving() const;

 private:
  struct Mover {
    std::int64_t epoch = 0, step = -1;  // of the checkpoint when the plan was made
    std::optional<WallTime> asked;      // to leave
  };
  struct Plan {
    ObjectKey waiting;
    api::Nomination room;
    std::map<ObjectKey, Mover> movers;
    bool is_seen = false;  // the nomination was in the picture
  };

  void look(const Pass& pass);
  bool try_for(const Pass& pass, const api::TrainingJob& job, std::int64_t moves_left);
  void follow(const Pass& pass);
  void ask_one_to_leave(const Pass& pass, const api::TrainingJob& waiting);
  void give_up(const Pass& pass, std::string why);

  std::optional<Plan> plan_;
  std::map<ObjectKey, Leave> leaves_;
  std::map<ObjectKey, std::string> given_up_;  // the last one
  std::optional<WallTime> looked_;
};

}  // namespace neap::controllers
