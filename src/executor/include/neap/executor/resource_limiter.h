// ResourceLimiter: CPU and memory limits through cgroups, v2 or v1, found by their files.
//
// One group per allocation below <root>/neap. Where the kernel offers none that can be written, limits
// are not enforced and description() says why: the agent shows that on its Node.
// Not thread-safe: belongs to the agent's executor. Source: kernel documentation, cgroup-v2.rst and
// cgroup-v1/{cpuacct,memory}.rst.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "neap/io/runtime.h"

namespace neap::executor {

struct GroupUsage {
  std::int64_t cpu_microseconds = 0;
  std::int64_t memory_bytes = 0;
  bool out_of_memory = false;  // the kernel ended a process of the group for lack of memory
};

class ResourceLimiter {
 public:
  enum class Layout { kNone, kV1, kV2 };
  // `root` is where cgroups are mounted; tests hand in a folder of their own. `owner` keeps the groups of
  // several agents on one machine apart.
  static ResourceLimiter detect(io::FileSystem& files, std::string owner,
                                std::string root = "/sys/fs/cgroup");

  Layout layout() const { return layout_; }
  // "cgroup-v2", "cgroup-v1" or "none: <why>".
  const std::string& description() const { return description_; }
  // Makes the group and sets its limits (0 = none). Returns the directories a process joins, ':'-separated;
  // empty where limits are not enforced.
  Result<std::string> create_group(const std::string& id, const io::ProcessLimits& limits);
  std::optional<GroupUsage> usage(const std::string& id) const;
  // No error when absent. A group with living processes stays.
  void remove_group(const std::string& id);

 private:
  ResourceLimiter(io::FileSystem& files, std::string owner, std::string root);
  bool probe_v2();
  bool probe_v1();
  std::vector<std::string> directories(const std::string& id) const;

  io::FileSystem& files_;
  std::string owner_, root_;
  Layout layout_ = Layout::kNone;
  std::string description_;
};

}  // namespace neap::executor
