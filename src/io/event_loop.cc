#include "internal/event_loop.h"

#include "neap/base/assert.h"

namespace neap::io {
namespace asio = boost::asio;

MonoTime steady_now() {
  return MonoTime(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

EventLoop::EventLoop() : work_(io_.get_executor()), timer_(io_) {}
EventLoop::~EventLoop() {
  // Jobs may own objects whose destructors cancel other timers.
  auto timers = std::exchange(timers_, {});
  timer_times_.clear();
}

void EventLoop::post(Job job) { asio::post(io_, std::move(job)); }

TimerId EventLoop::post_at(MonoTime when, Job job) {
  const std::uint64_t id = ++last_timer_;
  timers_.emplace(std::pair{when, id}, std::move(job));
  timer_times_.emplace(id, when);
  if (!armed_for_ || when < *armed_for_) arm();
  return TimerId{id};
}

void EventLoop::cancel_timer(TimerId id) {
  const auto it = timer_times_.find(static_cast<std::uint64_t>(id));
  if (it == timer_times_.end()) return;
  const auto key = std::pair{it->second, it->first};
  timer_times_.erase(it);
  // The job is destroyed after the maps are consistent again.
  [[maybe_unused]] const auto doomed = timers_.extract(key);
}

void EventLoop::arm() {
  if (timers_.empty()) {
    armed_for_.reset();
    return;
  }
  armed_for_ = timers_.begin()->first.first;
  timer_.expires_at(std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(armed_for_->time_since_epoch())));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error != asio::error::operation_aborted) fire_due();
  });
}

void EventLoop::fire_due() {
  armed_for_.reset();
  const MonoTime due = now();
  while (!timers_.empty() && timers_.begin()->first.first <= due) {
    auto node = timers_.extract(timers_.begin());
    timer_times_.erase(node.key().second);
    node.mapped()();
  }
  if (!armed_for_ || (!timers_.empty() && timers_.begin()->first.first < *armed_for_)) arm();
}

void EventLoop::run() {
  io_.restart();
  io_.run();
}

void EventLoop::stop() {
  asio::post(io_, [this] { io_.stop(); });
}

Descriptor::Descriptor(EventLoop& loop, int fd) : loop_(loop), descriptor_(loop.context(), fd) {}
Descriptor::~Descriptor() { close(); }

void Descriptor::close() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  descriptor_.close(ignored);
}

void Descriptor::arm(Side side) {
  Wait& wait = wait_of(side);
  if (wait.armed) return;
  if (closed_) {
    loop_.post(
        [self = shared_from_this(), side, ticket = wait.ticket] { self->wake(side, ticket, Why::kReady); });
    return;
  }
  wait.armed = true;
  descriptor_.async_wait(side == Side::kRead ? asio::posix::descriptor_base::wait_read
                                             : asio::posix::descriptor_base::wait_write,
                         [self = shared_from_this(), side](const boost::system::error_code&) {
                           Wait& w = self->wait_of(side);
                           w.armed = false;
                           self->wake(side, w.ticket, Why::kReady);
                         });
}

void Descriptor::on_ready(Side side, Job job) {
  descriptor_.async_wait(
      side == Side::kRead ? asio::posix::descriptor_base::wait_read
                          : asio::posix::descriptor_base::wait_write,
      [self = shared_from_this(), j = std::move(job)](const boost::system::error_code& e) mutable {
        if (!e) j();
      });
}

void Descriptor::wake(Side side, std::uint64_t ticket, Why why) {
  Wait& wait = wait_of(side);
  if (wait.ticket != ticket || wait.why != Why::kPending || !wait.waiter) return;
  wait.why = why;
  std::exchange(wait.waiter, {}).resume();
}

bool Descriptor::Ready::await_ready() {
  early_ = ctx_.check(owner_->loop_.now());
  return !early_;
}

void Descriptor::Ready::await_suspend(std::coroutine_handle<> h) {
  Wait& wait = owner_->wait_of(side_);
  NEAP_ASSERT(!wait.waiter);
  wait.waiter = h;
  wait.why = Why::kPending;
  const std::uint64_t ticket = ++wait.ticket;
  owner_->arm(side_);
  cancel_ = ctx_.cancel.on_cancel([owner = owner_, side = side_, ticket] {
    owner->loop_.post([owner, side, ticket] { owner->wake(side, ticket, Why::kCancelled); });
  });
  if (ctx_.deadline)
    timer_ = owner_->loop_.post_at(*ctx_.deadline, [owner = owner_, side = side_, ticket] {
      owner->wake(side, ticket, Why::kDeadline);
    });
}

Status Descriptor::Ready::await_resume() {
  if (!early_) return early_;
  switch (owner_->wait_of(side_).why) {
    case Why::kCancelled:
      return fail(Code::kCancelled, "call.cancelled", "the call was cancelled");
    case Why::kDeadline:
      return fail(Code::kDeadlineExceeded, "call.deadline", "the call's deadline has passed");
    default:
      return ok();
  }
}

Descriptor::Ready::~Ready() {
  Wait& wait = owner_->wait_of(side_);
  wait.waiter = {};
  if (timer_) owner_->loop_.cancel_timer(*timer_);
}

}  // namespace neap::io
