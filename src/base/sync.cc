#include "neap/base/sync.h"

#include <list>

namespace neap {
namespace {

// One suspended waiter of an Event or Notifier. It is resumed by posting, and told why.
struct Waiter {
  std::coroutine_handle<> handle;
  enum class Why { kPending, kWoken, kCancelled, kDeadline } why = Why::kPending;
};
using WaiterPtr = std::shared_ptr<Waiter>;

void wake(Executor& executor, const WaiterPtr& waiter, Waiter::Why why) {
  executor.post([waiter, why] {
    if (waiter->why != Waiter::Why::kPending || !waiter->handle) return;
    waiter->why = why;
    std::exchange(waiter->handle, {}).resume();
  });
}

struct WaitAwaiter {
  Waiter& waiter;
  bool await_ready() const noexcept { return waiter.why != Waiter::Why::kPending; }
  void await_suspend(std::coroutine_handle<> h) const noexcept { waiter.handle = h; }
  void await_resume() const noexcept {}
  ~WaitAwaiter() { waiter.handle = {}; }
};

// Suspends until `waiter` is woken, the context is cancelled or its deadline passes.
Task<Status> wait_on(Executor& executor, CallContext ctx, WaiterPtr waiter) {
  NEAP_CO_TRY_VOID(ctx.check(executor.now()));
  const auto registration =
      ctx.cancel.on_cancel([&executor, waiter] { wake(executor, waiter, Waiter::Why::kCancelled); });
  struct Timer {
    Executor& executor;
    std::optional<TimerId> id;
    ~Timer() {
      if (id) executor.cancel_timer(*id);
    }
  } timer{executor, {}};
  if (ctx.deadline)
    timer.id = executor.post_at(*ctx.deadline,
                                [&executor, waiter] { wake(executor, waiter, Waiter::Why::kDeadline); });
  co_await WaitAwaiter{*waiter};
  switch (waiter->why) {
    case Waiter::Why::kCancelled:
      co_return fail(Code::kCancelled, "call.cancelled", "the call was cancelled");
    case Waiter::Why::kDeadline:
      co_return fail(Code::kDeadlineExceeded, "call.deadline", "the call's deadline has passed");
    default:
      co_return ok();
  }
}

struct WaiterList {
  std::list<WaiterPtr> waiters;
  void wake_all(Executor& executor) {
    for (auto& w : waiters) wake(executor, w, Waiter::Why::kWoken);
    waiters.clear();
  }
};

}  // namespace

struct Event::State {
  explicit State(Executor& e) : executor(e) {}
  Executor& executor;
  bool set = false;
  WaiterList list;
};
Event::Event(Executor& executor) : state_(std::make_shared<State>(executor)) {}
Event::~Event() = default;
void Event::set() {
  state_->set = true;
  state_->list.wake_all(state_->executor);
}
void Event::reset() { state_->set = false; }
bool Event::is_set() const { return state_->set; }
Task<Status> Event::wait(CallContext ctx) {
  auto state = state_;
  if (state->set) co_return ok();
  auto waiter = std::make_shared<Waiter>();
  state->list.waiters.push_back(waiter);
  auto status = co_await wait_on(state->executor, std::move(ctx), waiter);
  if (!status) state->list.waiters.remove(waiter);
  co_return status;
}

struct Notifier::State {
  explicit State(Executor& e) : executor(e) {}
  Executor& executor;
  std::uint64_t generation = 0;
  WaiterList list;
};
Notifier::Notifier(Executor& executor) : state_(std::make_shared<State>(executor)) {}
Notifier::~Notifier() = default;
void Notifier::notify_all() {
  ++state_->generation;
  state_->list.wake_all(state_->executor);
}
std::uint64_t Notifier::generation() const { return state_->generation; }
Task<Status> Notifier::wait(CallContext ctx, std::uint64_t seen) {
  auto state = state_;
  if (state->generation != seen) co_return ok();
  auto waiter = std::make_shared<Waiter>();
  state->list.waiters.push_back(waiter);
  auto status = co_await wait_on(state->executor, std::move(ctx), waiter);
  if (!status) state->list.waiters.remove(waiter);
  co_return status;
}

Task<Status> sleep_until(Executor& executor, CallContext ctx, MonoTime when) {
  auto waiter = std::make_shared<Waiter>();
  struct Timer {
    Executor& executor;
    TimerId id;
    ~Timer() { executor.cancel_timer(id); }
  } timer{executor,
          executor.post_at(when, [&executor, waiter] { wake(executor, waiter, Waiter::Why::kWoken); })};
  co_return co_await wait_on(executor, std::move(ctx), waiter);
}
Task<Status> sleep_for(Executor& executor, CallContext ctx, Duration duration) {
  return sleep_until(executor, std::move(ctx), executor.now() + duration);
}
Task<void> yield_to(Executor& executor) {
  auto waiter = std::make_shared<Waiter>();
  wake(executor, waiter, Waiter::Why::kWoken);
  co_await WaitAwaiter{*waiter};
}

Semaphore::Semaphore(Executor& executor, std::size_t permits) : permits_(permits), changed_(executor) {}
Semaphore::~Semaphore() = default;
Task<Result<Semaphore::Permit>> Semaphore::acquire(CallContext ctx) {
  while (permits_ == 0) {
    ++waiters_;
    auto status = co_await changed_.wait(ctx, changed_.generation());
    --waiters_;
    if (!status) co_return fail(std::move(status).error());
  }
  --permits_;
  co_return Permit(this);
}
std::optional<Semaphore::Permit> Semaphore::try_acquire() {
  if (permits_ == 0) return std::nullopt;
  --permits_;
  return Permit(this);
}
std::size_t Semaphore::waiting() const { return waiters_; }
void Semaphore::give_back() {
  ++permits_;
  changed_.notify_all();
}

}  // namespace neap
