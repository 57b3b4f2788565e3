// ServerLink: everything that passes between agent and API: the node, its lease, desired allocations in,
// statuses out. Every loop survives the server's absence and goes on where it was.
#pragma once

#include <optional>
#include <string>

#include "internal/allocation_table.h"

namespace neap::agent {

class ServerLink {
 public:
  ServerLink(const Agent::Dependencies& deps, const AgentOptions& options, AllocationTable& table);
  void start();
  Task<void> stop();
  void abandon();

  // True until the lease that the server last confirmed has run out: a successor may run elsewhere after.
  bool lease_is_valid() const;
  bool is_connected() const { return connected_; }
  void set_interrupting(std::string message);

 private:
  Task<void> keep_node();
  Task<void> keep_lease();
  Task<void> follow_allocations();
  Task<void> send_statuses();
  Task<Status> write_node();
  Task<Status> renew_lease();
  Task<Status> list_and_watch();
  Task<Status> send_one(api::Allocation allocation);
  api::NodeStatus node_status() const;
  Task<bool> pause(Duration& backoff);

  const Agent::Dependencies& deps_;
  const AgentOptions& options_;
  AllocationTable& table_;
  MonoTime born_;
  std::optional<MonoTime> renewed_;
  bool connected_ = false;
  std::string interrupting_;
  Notifier node_changed_;
  TaskGroup tasks_;
};

}  // namespace neap::agent
