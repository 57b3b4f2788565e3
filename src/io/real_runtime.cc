#include "neap/io/real_runtime.h"

#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <cerrno>

#include "internal/event_loop.h"
#include "internal/posix_files.h"
#include "internal/posix_processes.h"
#include "internal/sockets.h"
#include "internal/worker_pool.h"
#include "neap/base/assert.h"

namespace neap::io {
namespace {

class RealClock final : public Clock {
 public:
  MonoTime now() const override { return steady_now(); }
  WallTime wall() const override {
    return WallTime(
        std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()));
  }
};

class KernelRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    while (!out.empty()) {
      const ssize_t n = ::getrandom(out.data(), out.size(), 0);
      if (n < 0) {
        NEAP_ASSERT(errno == EINTR);
        continue;
      }
      out = out.subspan(static_cast<std::size_t>(n));
    }
  }
};

class RealRuntimeImpl final : public RealRuntime {
 public:
  explicit RealRuntimeImpl(const RealRuntimeOptions& options)
      : workers_(std::make_unique<WorkerPool>(options.worker_threads)),
        network_(loop_, *workers_),
        processes_(loop_) {
    ::signal(SIGPIPE, SIG_IGN);
  }
  ~RealRuntimeImpl() override {
    signals_.clear();
    // Workers post to the loop: they end before it does.
    workers_.reset();
  }

  Executor& executor() override { return loop_; }
  const Clock& clock() const override { return clock_; }
  Random& random() override { return random_; }
  Network& network() override { return network_; }
  FileSystem& files() override { return files_; }
  Subprocesses& subprocesses() override { return processes_; }
  Task<void> run_blocking(std::move_only_function<void()> job) override {
    Completion<bool> done(loop_);
    workers_->submit([done, work = std::move(job)]() mutable {
      work();
      done.complete(true);
    });
    (void)co_await done.wait();
  }

  void run() override { loop_.run(); }
  void stop() override { loop_.stop(); }
  void on_signal(int number, std::function<void()> handler) override {
    auto& set = signals_.emplace_back(std::make_unique<boost::asio::signal_set>(loop_.context(), number));
    listen_for(*set, std::move(handler));
  }

 private:
  static void listen_for(boost::asio::signal_set& set, std::function<void()> handler) {
    set.async_wait([&set, handler = std::move(handler)](const boost::system::error_code& error, int) mutable {
      if (error) return;
      handler();
      listen_for(set, std::move(handler));
    });
  }

  EventLoop loop_;
  RealClock clock_;
  KernelRandom random_;
  PosixFileSystem files_;
  std::unique_ptr<WorkerPool> workers_;
  SocketNetwork network_;
  PosixSubprocesses processes_;
  std::vector<std::unique_ptr<boost::asio::signal_set>> signals_;
};

}  // namespace

std::size_t raise_open_files_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return 1024;
  const auto before = files.rlim_cur;
  files.rlim_cur = files.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : before;
}

std::unique_ptr<RealRuntime> RealRuntime::create(const RealRuntimeOptions& options) {
  return std::make_unique<RealRuntimeImpl>(options);
}

}  // namespace neap::io
