// Waiting between tasks of one executor. None of these types is thread-safe: use them only on the
// executor they were made with. Waiters are resumed through Executor::post, never inside the call that
// wakes them.
#pragma once

#include <coroutine>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "neap/base/context.h"
#include "neap/base/executor.h"
#include "neap/base/task.h"

namespace neap {

// Completes one suspended coroutine from a callback, on the executor's thread, exactly once.
// The adapter of callback-style sources: timers, sockets, thread pools.
template <class T>
class Completion {
 public:
  explicit Completion(Executor& executor) : state_(std::make_shared<State>(executor)) {}

  // First call wins, later ones are ignored. Thread-safe.
  void complete(T value) const {
    state_->executor.post([state = state_, v = std::move(value)]() mutable {
      if (state->value) return;
      state->value.emplace(std::move(v));
      if (state->waiter) std::exchange(state->waiter, {}).resume();
    });
  }
  Task<T> wait() const {
    struct Awaiter {
      State& state;
      bool await_ready() const noexcept { return state.value.has_value(); }
      void await_suspend(std::coroutine_handle<> h) const noexcept { state.waiter = h; }
      void await_resume() const noexcept {}
      ~Awaiter() { state.waiter = {}; }
    };
    auto keep = state_;
    co_await Awaiter{*keep};
    co_return std::move(*keep->value);
  }

 private:
  struct State {
    explicit State(Executor& e) : executor(e) {}
    Executor& executor;
    std::optional<T> value;
    std::coroutine_handle<> waiter;
  };
  std::shared_ptr<State> state_;
};

// Suspends for `duration`; kCancelled or kDeadlineExceeded when the context ends first.
Task<Status> sleep_for(Executor& executor, CallContext ctx, Duration duration);
Task<Status> sleep_until(Executor& executor, CallContext ctx, MonoTime when);
// Goes to the end of the executor's queue.
Task<void> yield_to(Executor& executor);

// Level-triggered flag: wait() returns at once while set.
class Event {
 public:
  explicit Event(Executor& executor);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void set();
  void reset();
  bool is_set() const;
  Task<Status> wait(CallContext ctx);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Edge-triggered: wakes all who wait now. `generation` lets a waiter see what it missed.
class Notifier {
 public:
  explicit Notifier(Executor& executor);
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void notify_all();
  std::uint64_t generation() const;
  // Returns when generation() != seen.
  Task<Status> wait(CallContext ctx, std::uint64_t seen);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Counting semaphore. Not fair: who releases may take the permit again before a waiter runs.
class Semaphore {
 public:
  Semaphore(Executor& executor, std::size_t permits);
  ~Semaphore();
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  class Permit {
   public:
    Permit() = default;
    explicit Permit(Semaphore* owner) : owner_(owner) {}
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      if (this != &other) {
        release();
        owner_ = std::exchange(other.owner_, nullptr);
      }
      return *this;
    }
    ~Permit() { release(); }
    void release() {
      if (owner_) std::exchange(owner_, nullptr)->give_back();
    }

   private:
    Semaphore* owner_ = nullptr;
  };
  Task<Result<Permit>> acquire(CallContext ctx);
  std::optional<Permit> try_acquire();
  std::size_t waiting() const;

 private:
  friend class Permit;
  void give_back();
  std::size_t permits_;
  std::size_t waiters_ = 0;
  Notifier changed_;
};

// Bounded queue of one consumer or several; push refuses when full (the caller decides what to drop).
template <class T>
class BoundedQueue {
 public:
  BoundedQueue(Executor& executor, std::size_t capacity) : capacity_(capacity), changed_(executor) {}
  [[nodiscard]] bool try_push(T value) {
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    changed_.notify_all();
    return true;
  }
  // nullopt once closed and empty.
  Task<Result<std::optional<T>>> pop(CallContext ctx) {
    for (;;) {
      if (!items_.empty()) {
        std::optional<T> out(std::move(items_.front()));
        items_.pop_front();
        co_return out;
      }
      if (closed_) co_return std::optional<T>{};
      NEAP_CO_TRY_VOID(co_await changed_.wait(ctx, changed_.generation()));
    }
  }
  void close() {
    closed_ = true;
    changed_.notify_all();
  }
  std::size_t size() const { return items_.size(); }

 private:
  std::size_t capacity_;
  bool closed_ = false;
  std::deque<T> items_;
  Notifier changed_;
};

}  // namespace neap
