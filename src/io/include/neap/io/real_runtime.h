// The Runtime of a real process: Asio event loop, kernel sockets and files, child processes.
// Made only by app/ and by tests of real things.
#pragma once

#include <memory>

#include "neap/base/task_group.h"
#include "neap/io/runtime.h"

namespace neap::io {

struct RealRuntimeOptions {
  unsigned worker_threads = 2;
};

// Raises this process's limit of open files as far as it may, and says how many it may open now.
std::size_t raise_open_files_limit();

class RealRuntime : public Runtime {
 public:
  static std::unique_ptr<RealRuntime> create(const RealRuntimeOptions& options = {});
  // Runs the loop on this thread until stop(). SIGPIPE is ignored.
  virtual void run() = 0;
  // Thread-safe and signal-safe enough: only posts.
  virtual void stop() = 0;
  // Calls `handler` on the executor for each arrival of the signal.
  virtual void on_signal(int number, std::function<void()> handler) = 0;
  // Runs the loop until `task` ends. For tests and command-line programs.
  template <class T>
  T run_task(Task<T> task);
};

template <class T>
T RealRuntime::run_task(Task<T> task) {
  TaskGroup group(executor());
  if constexpr (std::is_void_v<T>) {
    group.spawn([](RealRuntime& self, Task<void> inner) -> Task<void> {
      co_await std::move(inner);
      self.stop();
    }(*this, std::move(task)));
    run();
  } else {
    std::optional<T> out;
    group.spawn([](RealRuntime& self, Task<T> inner, std::optional<T>& result) -> Task<void> {
      result.emplace(co_await std::move(inner));
      self.stop();
    }(*this, std::move(task), out));
    run();
    return std::move(*out);
  }
}

}  // namespace neap::io
