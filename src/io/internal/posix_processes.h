#pragma once

#include "internal/event_loop.h"
#include "neap/io/runtime.h"

namespace neap::io {

// What a child gets instead of files; -1: the file of its ProcessSpec. They stay the caller's.
struct ChildDescriptors {
  int input = -1, output = -1, errors = -1;
  bool terminal = false;  // they are one, and it controls the child's session
};

// Children by fork and exec, watched through pidfds (Linux 5.3 or later).
class PosixSubprocesses final : public Subprocesses {
 public:
  explicit PosixSubprocesses(EventLoop& loop) : loop_(loop) {}
  Result<std::unique_ptr<Process>> start(const ProcessSpec& spec) override;
  // With descriptors given, the child leads a session whatever `spec` says.
  Result<std::unique_ptr<Process>> start_with(const ProcessSpec& spec, const ChildDescriptors& given);
  Result<std::unique_ptr<Process>> adopt(std::int64_t pid, const std::string& start_identity) override;

 private:
  EventLoop& loop_;
};

}  // namespace neap::io
