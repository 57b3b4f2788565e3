#pragma once

#include "internal/event_loop.h"
#include "neap/io/runtime.h"

namespace neap::io {

// Children by fork and exec, watched through pidfds (Linux 5.3 or later).
class PosixSubprocesses final : public Subprocesses {
 public:
  explicit PosixSubprocesses(EventLoop& loop) : loop_(loop) {}
  Result<std::unique_ptr<Process>> start(const ProcessSpec& spec) override;
  Result<std::unique_ptr<Process>> adopt(std::int64_t pid, const std::string& start_identity) override;

 private:
  EventLoop& loop_;
};

}  // namespace neap::io
