#pragma once

#include "internal/event_loop.h"
#include "internal/worker_pool.h"
#include "neap/io/runtime.h"

namespace neap::io {

// TCP and Unix sockets of the kernel. Names are resolved on the worker pool.
class SocketNetwork final : public Network {
 public:
  SocketNetwork(EventLoop& loop, WorkerPool& workers) : loop_(loop), workers_(workers) {}
  Task<Result<std::unique_ptr<Stream>>> connect(CallContext ctx, Endpoint endpoint) override;
  Result<std::unique_ptr<Listener>> listen(Endpoint endpoint) override;

 private:
  EventLoop& loop_;
  WorkerPool& workers_;
};

}  // namespace neap::io
