// ServerLink: everything that passes between agent and API: the node, its lease, desired allocations in,
// statuses out. Every loop survives the server's absence and goes on where it was.
#pragma once

#include <map>
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
  bool lease_is_renewed() const { return renewed_ && lease_is_valid(); }
  std::uint64_t lease_lapses() const { return lapses_; }
  // The lease of the life before goes on: programs that outlived it have no more time than that.
  void restore_lease();
  bool is_connected() const { return connected_; }
  void set_notice(std::string condition, std::string reason, std::string message);

 private:
  Task<void> keep_node();
  Task<void> keep_lease();
  Task<void> follow_allocations();
  Task<void> send_statuses();
  Task<Status> write_node();
  Task<Status> renew_lease();
  Task<Status> list_and_watch();
  void lease_was_renewed(MonoTime asked);
  Task<Status> send_one(api::Allocation allocation);
  api::NodeStatus node_status() const;
  Task<bool> pause(Duration& backoff);

  const Agent::Dependencies& deps_;
  const AgentOptions& options_;
  AllocationTable& table_;
  MonoTime born_;
  std::optional<MonoTime> renewed_;
  std::uint64_t lapses_ = 0;
  // The allocations were listed since the lease last lapsed. Until then what this node would report may be
  // about work that the server has given up.
  bool in_step_ = false;
  std::optional<CancelSource> round_;  // ends the watch, whose connection may be dead without knowing
  Notifier lease_changed_;
  bool connected_ = false;
  struct Notice {
    std::string reason, message;
  };
  // By condition; without a message the condition is taken off the Node, also what an earlier life put there.
  std::map<std::string, Notice> notices_{{"Interrupting", {}}, {"CertificateEnding", {}}};
  Notifier node_changed_;
  TaskGroup tasks_;
};

}  // namespace neap::agent
