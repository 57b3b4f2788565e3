// AllocationTable: the allocations of this node: desired from the server, actual from the workers, both in
// the local store before anything else happens.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "internal/worker.h"

namespace neap::agent {

class AllocationTable {
 public:
  AllocationTable(const Agent::Dependencies& deps, const AgentOptions& options, LeaseFacts lease);
  ~AllocationTable();

  // Everything the local store knows, running again where it should.
  Task<Status> restore(CallContext ctx);
  // An object as the server has it. Written locally before it is acted on.
  Task<Status> apply(CallContext ctx, const api::Allocation& desired);
  // The server no longer has it.
  Task<Status> remove(CallContext ctx, const std::string& ns, const std::string& name);
  // Keeps only these (after a fresh list); the others were deleted while the link was down.
  Task<Status> retain(CallContext ctx, const std::set<std::pair<std::string, std::string>>& names);
  // Asks all work that can move to drain: the node is being taken away.
  void drain_all(const std::string& reason);
  bool has_running_work() const;
  std::optional<WorkSubject> find_work(const std::string& ns, const std::string& name) const;

  // Statuses that changed since they were last sent, oldest first; confirm() after the server took one.
  std::vector<api::Allocation> unsent() const;
  void confirm(const api::Allocation& sent);
  Notifier& changed() { return changed_; }

  Task<void> stop();
  void abandon();

 private:
  struct Entry {
    std::unique_ptr<Worker> worker;
    std::uint64_t version = 0, sent_version = 0;
    bool running = false;  // run() has not returned: the worker must stay
    bool deleted = false;
    std::optional<api::Allocation> successor;  // of the same name, once this one has stopped
  };
  using Key = std::pair<std::string, std::string>;
  void launch(const api::Allocation& allocation, bool confirmed);
  Task<void> run(Key key, Worker* worker);
  Task<Status> persist(CallContext ctx, const api::Allocation& allocation);
  Task<void> keep_persisting();

  const Agent::Dependencies& deps_;
  const AgentOptions& options_;
  LeaseFacts lease_;
  std::map<Key, Entry> entries_;
  std::set<Key> unsaved_;
  Notifier changed_;
  TaskGroup tasks_;
};

}  // namespace neap::agent
