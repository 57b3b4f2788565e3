// TaskGroup: owns the detached tasks of one service.
//
// 1. A spawned task starts at the executor's next turn and its frame is freed when it ends.
// 2. stop() cancels context() and returns once every task has ended; nothing can be spawned after.
// 3. The group must be stopped before it is destroyed (asserted), so no task outlives its owner.
#pragma once

#include <cstddef>
#include <memory>

#include "neap/base/context.h"
#include "neap/base/executor.h"
#include "neap/base/task.h"

namespace neap {

class TaskGroup {
 public:
  explicit TaskGroup(Executor& executor);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // False when the group is stopping: the task is dropped unstarted.
  bool spawn(Task<void> task);
  // Carries the group's cancellation.
  CallContext context() const;
  std::size_t running() const;
  Task<void> stop();
  // For simulated crashes: destroys all frames now, without letting them finish.
  void abandon();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace neap
