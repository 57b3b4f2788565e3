// FairQueue: seats for requests at work, shared out among flows (one flow a user, an agent, a project's
// accounts), after the idea of Kubernetes' API priority and fairness (KEP-1040), with one level.
//
// 1. No more than `seats` requests hold a seat, and no more than `flow_seats` of one flow.
// 2. A request that finds no seat waits in its flow's own queue; a free seat goes to the waiting flow that
//    holds the fewest, and among equals to the one served longest ago, or never and come first. So a flow
//    with one request at a time waits for at most one request of each other flow, however many those have
//    queued.
// 3. A flow's queue, all waiting requests together, and the wait are bounded; beyond, kResourceExhausted.
// 4. A waiting request that is cancelled or destroyed leaves no trace.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "neap/base/context.h"
#include "neap/base/executor.h"
#include "neap/base/result.h"
#include "neap/base/sync.h"
#include "neap/base/task.h"
#include "neap/base/time.h"

namespace neap::apiserver {

class FairQueue {
 public:
  struct Options {
    std::size_t seats = 512;
    std::size_t flow_seats = 256;
    std::size_t flow_waiting_max = 256;  // 0: nobody waits
    std::size_t waiting_max = 4096;
    Duration wait_max = 10s;
  };
  // Given back when it goes.
  class Seat {
   public:
    Seat(FairQueue& queue, std::string flow) : queue_(&queue), flow_(std::move(flow)) {}
    Seat(Seat&& other) noexcept
        : queue_(std::exchange(other.queue_, nullptr)), flow_(std::move(other.flow_)) {}
    Seat& operator=(Seat&&) = delete;
    ~Seat() {
      if (queue_) queue_->release(flow_);
    }

   private:
    FairQueue* queue_;
    std::string flow_;
  };

  FairQueue(Executor& executor, Options options) : executor_(executor), options_(options) {}
  // kResourceExhausted when the queues are full or the wait got too long.
  Task<Result<Seat>> take(CallContext ctx, std::string flow);
  std::size_t in_use() const { return in_use_; }
  std::size_t waiting() const { return waiting_; }

 private:
  struct Waiter {
    explicit Waiter(Executor& executor) : event(executor) {}
    Event event;
    bool granted = false;
  };
  struct Flow {
    std::size_t in_use = 0;
    std::uint64_t served_at = 0, came_at = 0;  // turns
    std::deque<Waiter*> waiters;
    bool is_in_line = false;
    std::tuple<std::size_t, std::uint64_t, std::uint64_t> rank() const {
      return {in_use, served_at, came_at};
    }
  };
  class Place;
  // Takes the flow out of the line before its rank or its waiters change, and puts it back where it belongs.
  template <class Change>
  void change(Flow& flow, Change change);
  void seat(Flow& flow);
  void release(const std::string& flow);
  void grant();
  void drop_if_idle(const std::string& flow);

  Executor& executor_;
  const Options options_;
  std::map<std::string, Flow, std::less<>> flows_;
  // Flows that wait and may take a seat, the next one first: thousands wait when all agents come back at
  // once.
  std::set<std::pair<std::tuple<std::size_t, std::uint64_t, std::uint64_t>, Flow*>> line_;
  std::size_t in_use_ = 0, waiting_ = 0;
  std::uint64_t turns_ = 0;
};

}  // namespace neap::apiserver
