// Runtime: everything of the outside world that Neap touches, as seams.
//
// The real one (real_runtime.h) drives an event loop, sockets, files and processes; the simulated one
// (fakes: sim_runtime.h) runs many machines in one thread on a virtual clock with seeded faults. Code
// outside io/ and app/ sees only these interfaces.
//
// Threads: all calls and all coroutine resumptions happen on executor()'s thread, but for what its
// comment says is thread-safe. Bytes travel as std::string and std::string_view.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/context.h"
#include "neap/base/executor.h"
#include "neap/base/result.h"
#include "neap/base/sync.h"
#include "neap/base/task.h"

namespace neap::io {

// "127.0.0.1:8080", "[::1]:0", "host.name:443" or "unix:/path/of/socket".
struct Endpoint {
  std::string host;        // empty for a Unix socket
  std::uint16_t port = 0;  // 0 = any free one, when listening
  std::string unix_path;
  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// Who is at the other end of a TLS stream, after verification against the configured roots.
struct PeerCertificate {
  std::string common_name;                 // "system:node:hq-1"
  std::vector<std::string> organizations;  // {"system:nodes"}
  std::string sha256;                      // hex of the DER certificate
  std::string serial;
  WallTime not_after{};  // default: not known
};

// A bidirectional byte stream. At most one read and one write at a time. Destroying it closes it.
class Stream {
 public:
  virtual ~Stream() = default;
  // Appends up to `max` bytes to `out`; 0 = the peer ended its side.
  virtual Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) = 0;
  // Writes all of `data`, which must live until the call returns.
  virtual Task<Status> write_all(CallContext ctx, std::string_view data) = 0;
  virtual Task<Status> shutdown_write() = 0;
  // Ends both directions now; pending calls return kCancelled or kUnavailable.
  virtual void close() = 0;
  virtual Endpoint peer() const = 0;
  // True when the peer is known to be gone, without waiting: asked before an idle stream is used again.
  virtual bool has_ended() const { return false; }
  // Set on TLS streams whose peer showed a certificate that verified.
  virtual const PeerCertificate* peer_certificate() const { return nullptr; }
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual Task<Result<std::unique_ptr<Stream>>> accept(CallContext ctx) = 0;
  virtual Endpoint local() const = 0;
  virtual void close() = 0;
};

class Network {
 public:
  virtual ~Network() = default;
  // TCP (TCP_NODELAY set) or Unix. kUnavailable when refused or unreachable.
  virtual Task<Result<std::unique_ptr<Stream>>> connect(CallContext ctx, Endpoint endpoint) = 0;
  virtual Result<std::unique_ptr<Listener>> listen(Endpoint endpoint) = 0;
};

// Cryptographically strong in the real runtime, seeded in the simulated one. Thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;
  std::uint64_t next();
  // [0, bound), unbiased; bound > 0.
  std::uint64_t below(std::uint64_t bound);
  std::string hex(std::size_t bytes);
  std::string uuid();
};

// An open file for positional access. Synchronous; wrap heavy use in Runtime::offload.
class File {
 public:
  virtual ~File() = default;
  // Appends up to `max` bytes from `offset` to `out`; returns how many, 0 at the end.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::string& out, std::size_t max) = 0;
  virtual Status write_at(std::uint64_t offset, std::string_view data) = 0;
  virtual Result<std::uint64_t> size() = 0;
  virtual Status truncate(std::uint64_t size) = 0;
  // Durable after this returns, and not before.
  virtual Status sync() = 0;
};

enum class OpenMode { kRead, kReadWrite, kCreate, kCreateNew };

struct FileStat {
  std::uint64_t size = 0;
  bool is_directory = false;
  WallTime modified{};
};

// Thread-safe. Paths are absolute or relative to the process. Errors name the path.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<FileStat> stat(const std::string& path) = 0;                       // kNotFound
  virtual Result<std::vector<std::string>> list(const std::string& directory) = 0;  // names, sorted
  virtual Status make_directories(const std::string& path, unsigned mode = 0755) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;       // kNotFound
  virtual Status remove_tree(const std::string& path) = 0;  // no error when absent
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Status set_mode(const std::string& path, unsigned mode) = 0;

  bool exists(const std::string& path);
  // Whole file; kResourceExhausted above max_bytes.
  Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes = 64u << 20);
  // Temporary file, fsync, rename, directory fsync: the old content or the new, never a mixture.
  Status write_file_atomic(const std::string& path, std::string_view data, unsigned mode = 0644);
};

struct ProcessLimits {
  std::int64_t cpu_millicores = 0;  // 0 = none
  std::int64_t memory_bytes = 0;
};

struct ProcessSpec {
  std::vector<std::string> argv;         // argv[0] is the program's path; never a shell line
  std::vector<std::string> environment;  // "NAME=value", the whole of it
  std::string working_directory;
  std::string stdout_path;  // appended to; empty = /dev/null
  std::string stderr_path;  // may equal stdout_path
  bool new_session = true;  // own process group, so that a signal reaches all of it
  std::string cgroup_path;  // cgroup directories to join, separated by ':'; empty = none
  // Sent to the process when this program ends, however it ends; 0 = it may outlive this program. Counts for
  // programs started from a thread that lives as long as the program (Linux, prctl(2) PR_SET_PDEATHSIG).
  int parent_death_signal = 0;
};

struct ExitStatus {
  int code = 0;    // exit code, when signal == 0
  int signal = 0;  // the signal that ended it
};

// A child process, or one that an earlier life of this program started.
class Process {
 public:
  virtual ~Process() = default;  // does not end the process
  virtual std::int64_t pid() const = 0;
  // Kernel start time of the pid, so that a reused pid is not taken for the old process.
  virtual std::string start_identity() const = 0;
  virtual Task<Result<ExitStatus>> wait(CallContext ctx) = 0;
  // To the whole process group.
  virtual Status signal(int number) = 0;
};

class Subprocesses {
 public:
  virtual ~Subprocesses() = default;
  virtual Result<std::unique_ptr<Process>> start(const ProcessSpec& spec) = 0;
  // kNotFound when no such process lives any more. The exit code of an adopted one cannot be known:
  // wait() returns code -1 when it is gone.
  virtual Result<std::unique_ptr<Process>> adopt(std::int64_t pid, const std::string& start_identity) = 0;
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Executor& executor() = 0;
  virtual const Clock& clock() const = 0;
  virtual Random& random() = 0;
  virtual Network& network() = 0;
  virtual FileSystem& files() = 0;
  virtual Subprocesses& subprocesses() = 0;
  // Runs `job` on a worker thread (inline in simulation) and resumes on the executor.
  virtual Task<void> run_blocking(std::move_only_function<void()> job) = 0;

  template <class F, class R = std::invoke_result_t<F>>
  Task<R> offload(F work) {
    std::optional<R> out;
    co_await run_blocking([&out, &work] { out.emplace(work()); });
    co_return std::move(*out);
  }
};

}  // namespace neap::io
