// SessionSource: where the API reaches running work from: exec, attach and port-forward. The work is on a
// node; an adapter brings it here (the program wires one that asks the node's agent over a connection the
// agent opened).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "neap/base/context.h"
#include "neap/base/result.h"
#include "neap/base/task.h"
#include "neap/io/runtime.h"

namespace neap::apiserver {

struct SessionQuery {
  enum class Kind { kExec, kAttach, kPortForward };
  Kind kind = Kind::kExec;
  std::string namespace_, allocation;
  std::string user;  // policies name users
  std::vector<std::string> command;
  bool input = false, errors = false, terminal = false;
  // Of the node's loopback; 0: only whether ports of the work may be reached, until they cannot any more.
  std::uint16_t port = 0;
};

class SessionSource {
 public:
  virtual ~SessionSource() = default;
  // kExec, kAttach: frames of an io::ChannelStream. kPortForward: the connection's bytes, or none for port 0.
  // kNotFound: no such allocation or program; kPermissionDenied: the data's policy; kFailedPrecondition: it
  // does not run; kUnavailable: the node is out of reach; kResourceExhausted: too many at once. Dropping the
  // stream ends the session.
  virtual Task<Result<std::unique_ptr<io::Stream>>> open_session(CallContext ctx, SessionQuery query) = 0;
};

}  // namespace neap::apiserver
