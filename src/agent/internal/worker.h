// Worker: carries out one allocation. The AllocationTable owns it, tells it what is desired, and sends on
// what it reports.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "neap/agent/agent.h"
#include "neap/base/task_group.h"

namespace neap::agent {

// What work that must not run twice asks about the node's lease.
struct LeaseFacts {
  std::function<bool()> is_valid;         // no successor can have been started yet
  std::function<bool()> is_renewed;       // valid, and by a renewal of this life of the agent
  std::function<std::uint64_t()> lapses;  // times it ran out; work from before a lapse may have a successor
};

// What all workers of an agent share.
struct WorkerContext {
  const Agent::Dependencies& deps;
  const AgentOptions& options;
  LeaseFacts lease;
  TaskGroup& background;  // of the agent

  Executor& executor() const { return deps.runtime.executor(); }
  WallTime wall() const { return deps.runtime.clock().wall(); }
};

class Worker {
 public:
  Worker(WorkerContext context, api::Allocation allocation, std::function<void()> changed);
  virtual ~Worker() = default;
  // Runs until the allocation has ended; survives desired-state changes through update().
  virtual Task<void> run(CallContext ctx) = 0;

  // New desired state from the server.
  void update(const api::Allocation& desired);
  // The server still wants it, as of this life of the agent; what was restored from disk waits for that.
  void confirm();
  // Stop soon: the node is being taken away, or the owner asked.
  void request_stop(std::string reason);
  const api::Allocation& allocation() const { return allocation_; }
  bool has_ended() const;
  virtual WorkSubject subject() const;

 protected:
  void report(std::string phase, std::string reason = {}, std::string message = {});
  // True when the lease ran out since this worker was made: its place may have been given away.
  bool lease_is_lost() const { return !context_.lease.is_valid() || context_.lease.lapses() != lapses_; }
  void touch() { changed_(); }
  bool stop_wanted() const { return !stop_reason_.empty() || allocation_.spec.desired == "Stop"; }
  std::string stop_reason() const { return stop_reason_.empty() ? "Stopped" : stop_reason_; }
  std::string directory() const;
  TaskGroup& background() { return context_.background; }
  ExportIntent intent(std::string purpose) const;
  // Seconds this allocation has held its resources, over restarts of the agent.
  void mark_started();
  void account_time();

  WorkerContext context_;
  api::Allocation allocation_;
  Notifier wake_;  // desired state or progress changed
  bool confirmed_ = false;

 private:
  std::function<void()> changed_;
  std::string stop_reason_;
  std::uint64_t lapses_;
  std::optional<MonoTime> counting_since_;
};

std::unique_ptr<Worker> make_process_worker(WorkerContext context, api::Allocation allocation,
                                            std::function<void()> changed);
std::unique_ptr<Worker> make_collect_worker(WorkerContext context, api::Allocation allocation,
                                            std::function<void()> changed);
std::unique_ptr<Worker> make_serve_worker(WorkerContext context, api::Allocation allocation,
                                          std::function<void()> changed);

}  // namespace neap::agent
