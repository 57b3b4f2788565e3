#include "internal/fair_queue.h"

#include <algorithm>

namespace neap::apiserver {

template <class Change>
void FairQueue::change(Flow& flow, Change change) {
  if (flow.is_in_line) line_.erase({flow.rank(), &flow});
  change();
  flow.is_in_line = !flow.waiters.empty() && flow.in_use < options_.flow_seats;
  if (flow.is_in_line) line_.insert({flow.rank(), &flow});
}

// A waiting request's entry in its flow's queue, taken out again whichever way the wait ends.
class FairQueue::Place {
 public:
  Place(FairQueue& queue, std::string flow)
      : queue_(queue), flow_(std::move(flow)), waiter_(queue.executor_) {
    auto& own = queue_.flows_[flow_];
    if (own.came_at == 0) own.came_at = ++queue_.turns_;
    queue_.change(own, [&] { own.waiters.push_back(&waiter_); });
    ++queue_.waiting_;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    if (waiter_.granted && !taken_) {
      queue_.release(flow_);
    } else if (!waiter_.granted) {
      auto& own = queue_.flows_[flow_];
      queue_.change(own, [&] { own.waiters.erase(std::ranges::find(own.waiters, &waiter_)); });
      --queue_.waiting_;
      queue_.drop_if_idle(flow_);
    }
  }
  Waiter& waiter() { return waiter_; }
  Seat take() {
    taken_ = true;
    return {queue_, flow_};
  }

 private:
  FairQueue& queue_;
  const std::string flow_;
  Waiter waiter_;
  bool taken_ = false;
};

void FairQueue::seat(Flow& flow) {
  ++in_use_;
  change(flow, [&] {
    ++flow.in_use;
    flow.served_at = ++turns_;
  });
}

void FairQueue::drop_if_idle(const std::string& name) {
  const auto at = flows_.find(name);
  if (at != flows_.end() && at->second.in_use == 0 && at->second.waiters.empty()) flows_.erase(at);
}

void FairQueue::release(const std::string& name) {
  const auto at = flows_.find(name);
  --in_use_;
  change(at->second, [&] { --at->second.in_use; });
  grant();
  drop_if_idle(name);
}

void FairQueue::grant() {
  while (in_use_ < options_.seats && !line_.empty()) {
    Flow& next = *line_.begin()->second;
    auto* waiter = next.waiters.front();
    change(next, [&] { next.waiters.pop_front(); });
    --waiting_;
    seat(next);
    waiter->granted = true;
    waiter->event.set();
  }
}

Task<Result<FairQueue::Seat>> FairQueue::take(CallContext ctx, std::string flow) {
  const auto refusal = [] {
    return fail(Code::kResourceExhausted, "api.requests.too_many",
                "the server has received too many requests and has asked us to try again later");
  };
  const auto at = flows_.find(flow);
  const auto mine = at == flows_.end() ? std::size_t{0} : at->second.in_use;
  // Whoever waits in this flow came first; those of other flows wait because their flow is full.
  const bool is_next = at == flows_.end() || at->second.waiters.empty();
  if (in_use_ < options_.seats && mine < options_.flow_seats && is_next) {
    seat(flows_[flow]);
    co_return Seat(*this, std::move(flow));
  }
  const auto ahead = at == flows_.end() ? std::size_t{0} : at->second.waiters.size();
  if (ahead >= options_.flow_waiting_max || waiting_ >= options_.waiting_max || options_.seats == 0)
    co_return refusal();
  Place place(*this, std::move(flow));
  const auto waited =
      co_await place.waiter().event.wait(ctx.with_deadline(executor_.now() + options_.wait_max));
  // Both may have happened by now; a seat that was given counts.
  if (place.waiter().granted) co_return place.take();
  if (waited) co_return refusal();
  if (waited.error().code == Code::kDeadlineExceeded) co_return refusal();
  co_return std::unexpected(waited.error());
}

}  // namespace neap::apiserver
