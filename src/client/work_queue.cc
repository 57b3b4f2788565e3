#include "neap/client/work_queue.h"

#include <algorithm>

namespace neap::client {

struct WorkQueue::State : std::enable_shared_from_this<WorkQueue::State> {
  State(Executor& e, WorkQueueOptions o) : executor(e), options(o), tokens(o.burst), changed(e) {}

  Executor& executor;
  WorkQueueOptions options;
  std::deque<std::string> ready;
  std::set<std::string> queued;   // in `ready`
  std::set<std::string> working;  // given out
  std::set<std::string> again;    // added while in work
  struct Delayed {
    MonoTime when;
    TimerId timer;
  };
  std::map<std::string, Delayed> delayed;
  std::map<std::string, int> failures;
  double tokens;
  MonoTime refilled{};
  bool closed = false;
  Notifier changed;

  bool has_room(const std::string& key) const {
    return queued.contains(key) || working.contains(key) || delayed.contains(key) ||
           queued.size() + working.size() + delayed.size() < options.keys_max;
  }
  bool add(std::string key) {
    if (closed || !has_room(key)) return false;
    if (const auto found = delayed.find(key); found != delayed.end()) {
      executor.cancel_timer(found->second.timer);
      delayed.erase(found);
    }
    if (working.contains(key)) {
      again.insert(std::move(key));
      return true;
    }
    if (!queued.insert(key).second) return true;
    ready.push_back(std::move(key));
    changed.notify_all();
    return true;
  }
  void cancel_timers() {
    for (const auto& [key, entry] : delayed) executor.cancel_timer(entry.timer);
    delayed.clear();
  }
  // How long until the next key may go out.
  Duration wait_for_token() {
    if (options.keys_per_second <= 0) return Duration{0};
    const MonoTime now = executor.now();
    if (refilled == MonoTime{}) refilled = now;
    tokens = std::min(double(options.burst), tokens + to_seconds(now - refilled) * options.keys_per_second);
    refilled = now;
    if (tokens >= 1) return Duration{0};
    return std::chrono::ceil<std::chrono::microseconds>(
        std::chrono::duration<double>((1 - tokens) / options.keys_per_second));
  }
};

WorkQueue::WorkQueue(Executor& executor, WorkQueueOptions options)
    : state_(std::make_shared<State>(executor, options)) {}
WorkQueue::~WorkQueue() { state_->cancel_timers(); }

bool WorkQueue::add(std::string key) { return state_->add(std::move(key)); }

bool WorkQueue::add_after(std::string key, Duration delay) {
  auto& s = *state_;
  if (delay <= Duration{0}) return add(std::move(key));
  if (s.closed || !s.has_room(key)) return false;
  if (s.queued.contains(key)) return true;  // it comes earlier anyway
  const MonoTime when = s.executor.now() + delay;
  if (const auto found = s.delayed.find(key); found != s.delayed.end()) {
    if (found->second.when <= when) return true;
    s.executor.cancel_timer(found->second.timer);
    s.delayed.erase(found);
  }
  const auto timer = s.executor.post_at(when, [weak = std::weak_ptr(state_), key] {
    const auto state = weak.lock();
    if (!state || state->delayed.erase(key) == 0) return;
    state->add(key);
  });
  s.delayed[std::move(key)] = {when, timer};
  return true;
}

bool WorkQueue::retry(std::string key) {
  auto& s = *state_;
  const int count = s.failures[key]++;
  Duration delay = s.options.retry_first;
  for (int i = 0; i < count && delay < s.options.retry_max; ++i) delay *= 2;
  return add_after(std::move(key), std::min(delay, s.options.retry_max));
}
void WorkQueue::forget(const std::string& key) { state_->failures.erase(key); }
int WorkQueue::retries(const std::string& key) const {
  const auto found = state_->failures.find(key);
  return found == state_->failures.end() ? 0 : found->second;
}

Task<Result<std::optional<std::string>>> WorkQueue::get(CallContext ctx) {
  const auto s = state_;
  for (;;) {
    NEAP_CO_TRY_VOID(ctx.check(s->executor.now()));
    if (!s->ready.empty()) {
      if (const Duration wait = s->wait_for_token(); wait > Duration{0}) {
        NEAP_CO_TRY_VOID(co_await sleep_for(s->executor, ctx, wait));
        continue;
      }
      if (s->options.keys_per_second > 0) s->tokens -= 1;
      std::optional<std::string> out(std::move(s->ready.front()));
      s->ready.pop_front();
      s->queued.erase(*out);
      s->working.insert(*out);
      co_return out;
    }
    if (s->closed) co_return std::optional<std::string>{};
    NEAP_CO_TRY_VOID(co_await s->changed.wait(ctx, s->changed.generation()));
  }
}

void WorkQueue::done(const std::string& key) {
  auto& s = *state_;
  s.working.erase(key);
  if (s.again.erase(key) > 0) s.add(key);
}

void WorkQueue::close() {
  state_->closed = true;
  state_->cancel_timers();
  state_->changed.notify_all();
}
std::size_t WorkQueue::size() const { return state_->ready.size(); }

}  // namespace neap::client
