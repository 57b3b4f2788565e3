// StreamRelay: what readers and users ask of this node's work, over connections that the agent opens: logs,
// commands run beside the work, its output as it comes, its ports.
//
// 1. One request to the server waits for what is asked; each answer then has a connection of its own, so that
//    a slow reader holds nobody up. At most kStreamsMax at once.
// 2. Nothing leaves without the egress gate: work on L1 or L2 data shows its log, or takes a session, only
// for
//    a user whom an allow rule of a DataPolicy names. Refusals are recorded, and crossings while they happen
//    (crossing_meter.h).
// 3. A session is on record before it begins and when it has ended, with bytes and seconds.
// 4. An answer ends when its reader goes, when the link breaks, at the end of the work; a session also after
//    session_idle without a byte, and with the agent. What it started is killed then.
// Belongs to the agent's executor.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "neap/agent/egress_gate.h"
#include "neap/base/task_group.h"
#include "neap/executor/process_driver.h"
#include "neap/io/http.h"

namespace neap::agent {

inline constexpr std::size_t kStreamsMax = 64;

// What is asked, as the server put it.
struct StreamAsk {
  std::string id, kind;  // log, exec, attach, port-forward
  std::string namespace_, name, user;
  std::int64_t tail_lines = -1;
  std::optional<WallTime> since;
  bool follow = false, with_times = false;
  std::vector<std::string> command;
  bool input = false, errors = true, terminal = false;
  std::int64_t port = 0;  // 0: only whether ports may be reached, for as long as that holds
};

class StreamRelay {
 public:
  struct Options {
    Duration session_idle = std::chrono::hours(1);
  };
  struct Dependencies {
    io::Runtime& runtime;
    io::HttpClient& server;
    EgressGate& gate;
    executor::ProcessDriver& processes;
    telemetry::Logger& log;
    std::function<std::optional<WorkSubject>(const std::string& ns, const std::string& name)> find;
  };
  StreamRelay(Dependencies deps, std::string node, std::string server_site, Options options);
  StreamRelay(Dependencies deps, std::string node, std::string server_site)
      : StreamRelay(std::move(deps), std::move(node), std::move(server_site), Options{}) {}
  void start();
  Task<void> stop();

 private:
  Task<void> keep_asking();
  Task<Result<std::vector<StreamAsk>>> fetch_asks();
  Task<void> serve(StreamAsk ask);
  Task<Status> answer(CallContext ctx, io::Stream& stream, StreamAsk ask, bool is_too_many);

  Dependencies deps_;
  std::string node_, server_site_;
  Options options_;
  std::size_t open_ = 0;
  TaskGroup tasks_;
};

}  // namespace neap::agent
