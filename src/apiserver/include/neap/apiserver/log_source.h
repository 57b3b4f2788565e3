// LogSource: where the API gets the log of an allocation from. The log lies on a node; an adapter brings it
// here (the program wires one that asks the node's agent over a connection the agent opened).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "neap/base/context.h"
#include "neap/base/result.h"
#include "neap/base/task.h"

namespace neap::apiserver {

struct LogQuery {
  std::string namespace_, allocation;
  std::string user;              // who reads: policies name users
  std::int64_t tail_lines = -1;  // negative: all
  bool follow = false;           // until the work has ended, then its last lines
  // Lines that were not written before: so many seconds ago by the node's clock, or that time.
  std::optional<std::int64_t> since_seconds;
  std::optional<WallTime> since_time;
  bool timestamps = false;  // each line behind its time
};

class LogStream {
 public:
  virtual ~LogStream() = default;  // ends the reading on the node
  // Appends what came to `out`; 0 at the log's end. kUnavailable when node or link were lost before that.
  virtual Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out) = 0;
};

class LogSource {
 public:
  virtual ~LogSource() = default;
  // kNotFound: no such allocation, or it wrote nothing; kPermissionDenied: the data's policy; kUnavailable:
  // the node is out of reach; kResourceExhausted: too many logs are being read.
  virtual Task<Result<std::unique_ptr<LogStream>>> open_log(CallContext ctx, LogQuery query) = 0;
};

}  // namespace neap::apiserver
