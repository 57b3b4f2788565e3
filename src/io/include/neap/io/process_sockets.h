// Which socket of this machine is some programs' own, as the kernel tells it in /proc (proc(5)).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "neap/io/runtime.h"

namespace neap::io {

// Whose processes count: those that descend from one of `roots` or are in its session, and those in one of
// the control groups (directories, ':'-separated, as in ProcessSpec).
struct ProcessFamily {
  std::vector<std::int64_t> roots;
  std::string cgroup_path;
};

// The loopback endpoint at which one of those processes listens on TCP `port`. kNotFound
// "process.port.closed" when nobody listens there on a loopback or wildcard address, kPermissionDenied
// "process.port.other" when somebody else does. Reads all of /proc: call it through Runtime::offload.
Result<Endpoint> find_loopback_listener(std::uint16_t port, const ProcessFamily& family);

}  // namespace neap::io
