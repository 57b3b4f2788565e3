// LogRelay: shows the logs of this node's work to who may see them, over connections that the agent opens.
//
// 1. One request to the server waits for work to do; each log then has a connection of its own, so that a
// slow reader
//    holds nobody up. At most kLogStreamsMax at once.
// 2. Nothing leaves without the egress gate: work on L1 or L2 data shows its log only to a user whom an allow
// rule of
//    a DataPolicy names. Refusals are recorded, and crossings while they happen (crossing_meter.h).
// 3. A log ends when its reader goes, when the link breaks, and, unless it is followed, at its end.
// Belongs to the agent's executor.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "neap/agent/egress_gate.h"
#include "neap/base/task_group.h"
#include "neap/io/http.h"

namespace neap::agent {

inline constexpr std::size_t kLogStreamsMax = 16;

class CrossingMeter;

class LogRelay {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    io::HttpClient& server;
    EgressGate& gate;
    telemetry::Logger& log;
    std::function<std::optional<LogSubject>(const std::string& ns, const std::string& name)> find;
  };
  LogRelay(Dependencies deps, std::string node, std::string server_site);
  void start();
  Task<void> stop();

 private:
  struct Ask {
    std::string id, namespace_, name, user;
    std::int64_t tail_lines = -1;
    bool follow = false;
  };
  Task<void> keep_asking();
  Task<Result<std::vector<Ask>>> fetch_asks();
  Task<void> serve(Ask ask);
  Task<Status> show(CallContext ctx, io::Stream& stream, const Ask& ask, bool is_too_many);
  Task<Result<LogSubject>> permitted(const Ask& ask, bool is_too_many, std::string& rule);
  Task<Status> copy(CallContext ctx, io::Stream& stream, const Ask& ask, LogSubject subject,
                    CrossingMeter& meter);

  Dependencies deps_;
  std::string node_, server_site_;
  std::size_t open_ = 0;
  TaskGroup tasks_;
};

}  // namespace neap::agent
