// One assignment under construction: who is where, what is free, what it is worth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "neap/base/draw.h"
#include "neap/scheduler/assignment.h"

namespace neap::scheduler {

class AssignmentState {
 public:
  // What runs, where it runs. `problem` must outlive the state.
  explicit AssignmentState(const AssignmentProblem& problem);

  std::int32_t place(std::size_t task) const { return place_[task]; }
  const std::vector<std::int32_t>& places() const { return place_; }
  double value() const { return value_; }
  bool is_running(std::size_t task) const {
    return !problem_->current.empty() && problem_->current[task] != AssignmentProblem::kNowhere;
  }
  bool is_pinned(std::size_t task) const {
    return is_running(task) && !problem_->is_pinned.empty() && problem_->is_pinned[task] != 0;
  }
  // Admitted there, not pinned elsewhere, and room (the task's own present place does not count).
  bool can_move(std::size_t task, std::int32_t to) const;
  void put(std::size_t task, std::int32_t to);
  void remove(std::size_t task);

  // Of all places that admit the task, room or not; 0 where none does.
  double best_value(std::size_t task) const;
  // Largest share of all places' capacity that the task asks of any resource.
  double share(std::size_t task) const;
  // To the best place with room; false where there is none.
  bool insert_best(std::size_t task);
  // All of `tasks`, those first that would lose most by waiting. False where a running task found no place.
  bool insert(std::vector<std::size_t> tasks, Draw& draw);

  Assignment to_assignment() const;

 private:
  double worth(std::size_t task, std::int32_t at) const;
  bool has_room(std::size_t task, std::int32_t at) const;

  const AssignmentProblem* problem_;
  std::vector<std::int32_t> place_;
  std::vector<std::int64_t> free_;
  double value_ = 0;
};

}  // namespace neap::scheduler
