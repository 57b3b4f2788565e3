// EventLoop: the real Executor, one thread around an Asio io_context, and readiness of descriptors.
//
// 1. post() is thread-safe; all else happens on the loop's thread.
// 2. Timers live in one ordered map behind a single Asio timer, so that arming and cancelling one (which
//    every socket call with a deadline does) costs no system call unless it is the earliest.
#pragma once

#include <coroutine>
#include <map>
#include <unordered_map>

#include "internal/asio.h"
#include "neap/base/context.h"
#include "neap/base/executor.h"
#include "neap/base/result.h"

namespace neap::io {

MonoTime steady_now();

class EventLoop final : public Executor {
 public:
  EventLoop();
  ~EventLoop() override;
  void post(Job job) override;
  MonoTime now() const override { return steady_now(); }
  TimerId post_at(MonoTime when, Job job) override;
  void cancel_timer(TimerId id) override;

  void run();
  void stop();
  boost::asio::io_context& context() { return io_; }

 private:
  void arm();
  void fire_due();

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer timer_;
  std::optional<MonoTime> armed_for_;
  std::uint64_t last_timer_ = 0;
  std::map<std::pair<MonoTime, std::uint64_t>, Job> timers_;
  std::unordered_map<std::uint64_t, MonoTime> timer_times_;
};

// A non-blocking descriptor whose readiness coroutines await: at most one reader and one writer.
// Shared between the object that owns the descriptor and the operations under way, so that either may
// go first. The wait for a readiness event outlives a wait that was given up, and serves the next one.
class Descriptor : public std::enable_shared_from_this<Descriptor> {
 public:
  enum class Side { kRead = 0, kWrite = 1 };

  Descriptor(EventLoop& loop, int fd);
  ~Descriptor();
  int fd() { return closed_ ? -1 : descriptor_.native_handle(); }
  bool is_closed() const { return closed_; }
  // Wakes both sides.
  void close();
  // Calls `job` at the next readiness, once; not to be mixed with coroutines on that side.
  void on_ready(Side side, Job job);
  EventLoop& loop() { return loop_; }
  // Reads in a row that did not have to wait: kept here for the stream's fairness.
  int turns = 0;

  // co_await Ready(...): ok when the side may be ready (also spuriously), or the context's error.
  class Ready {
   public:
    Ready(std::shared_ptr<Descriptor> owner, Side side, const CallContext& ctx)
        : owner_(std::move(owner)), side_(side), ctx_(ctx) {}
    Ready(const Ready&) = delete;
    Ready& operator=(const Ready&) = delete;
    ~Ready();
    bool await_ready();
    void await_suspend(std::coroutine_handle<> h);
    Status await_resume();

   private:
    std::shared_ptr<Descriptor> owner_;
    Side side_;
    const CallContext& ctx_;
    Status early_;
    std::optional<TimerId> timer_;
    CancelRegistration cancel_;
  };

 private:
  enum class Why { kPending, kReady, kCancelled, kDeadline };
  struct Wait {
    std::coroutine_handle<> waiter;
    std::uint64_t ticket = 0;
    Why why = Why::kPending;
    bool armed = false;
  };
  void arm(Side side);
  void wake(Side side, std::uint64_t ticket, Why why);
  Wait& wait_of(Side side) { return waits_[static_cast<int>(side)]; }

  EventLoop& loop_;
  boost::asio::posix::stream_descriptor descriptor_;
  bool closed_ = false;
  Wait waits_[2];
};

}  // namespace neap::io
