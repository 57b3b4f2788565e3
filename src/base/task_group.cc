#include "neap/base/task_group.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <unordered_map>

#include "neap/base/sync.h"

namespace neap {
namespace detail {
void unhandled_task_exception() noexcept {
  try {
    std::rethrow_exception(std::current_exception());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "neap: exception left a task: %s\n", e.what());
  } catch (...) {
    std::fprintf(stderr, "neap: unknown exception left a task\n");
  }
  std::fflush(stderr);
  std::abort();
}

namespace {
// A root coroutine that a TaskGroup starts and destroys by handle.
struct Root {
  struct promise_type {
    Root get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { unhandled_task_exception(); }
  };
  std::coroutine_handle<promise_type> handle;
};
}  // namespace
}  // namespace detail

struct TaskGroup::State : std::enable_shared_from_this<State> {
  explicit State(Executor& e) : executor(e), idle(e) { idle.set(); }
  Executor& executor;
  CancelSource cancel;
  Event idle;
  bool stopping = false;
  std::uint64_t next_id = 1;
  std::unordered_map<std::uint64_t, std::coroutine_handle<>> roots;

  void finished(std::uint64_t id) {
    roots.erase(id);
    if (roots.empty()) idle.set();
  }
  static detail::Root run(std::shared_ptr<State> state, std::uint64_t id, Task<void> task) {
    {
      Task<void> own = std::move(task);
      co_await std::move(own);
    }
    state->finished(id);
  }
};

TaskGroup::TaskGroup(Executor& executor) : state_(std::make_shared<State>(executor)) {}
TaskGroup::~TaskGroup() { NEAP_ASSERT(state_->roots.empty()); }

bool TaskGroup::spawn(Task<void> task) {
  if (state_->stopping) return false;
  const std::uint64_t id = state_->next_id++;
  auto root = State::run(state_, id, std::move(task));
  state_->roots.emplace(id, root.handle);
  state_->idle.reset();
  state_->executor.post([state = state_, id] {
    if (auto it = state->roots.find(id); it != state->roots.end()) it->second.resume();
  });
  return true;
}
CallContext TaskGroup::context() const {
  return CallContext{.deadline = {}, .cancel = state_->cancel.token(), .trace_id = {}};
}
std::size_t TaskGroup::running() const { return state_->roots.size(); }
Task<void> TaskGroup::stop() {
  auto state = state_;
  state->stopping = true;
  state->cancel.cancel();
  auto status = co_await state->idle.wait({});
  NEAP_ASSERT(status.has_value());
}
void TaskGroup::abandon() {
  state_->stopping = true;
  auto roots = std::exchange(state_->roots, {});
  for (auto& [id, handle] : roots) handle.destroy();
  state_->idle.set();
}

}  // namespace neap
