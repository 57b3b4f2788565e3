#include "neap/io/attached_process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "internal/posix_files.h"
#include "internal/posix_processes.h"

namespace neap::io {
namespace {

using Side = Descriptor::Side;

// Closed when it goes, unless it was given away.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

struct PipeEnds {
  OwnedFd reads, writes;
};
Result<PipeEnds> make_pipe(const std::string& what) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return file_error(errno, "open a pipe for", what);
  return PipeEnds{OwnedFd(ends[0]), OwnedFd(ends[1])};
}

std::shared_ptr<Descriptor> adopt(EventLoop& loop, OwnedFd fd) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return std::make_shared<Descriptor>(loop, fd.release());
}

std::unexpected<Error> closed_error() {
  return fail(Code::kCancelled, "process.stream.closed", "the stream was closed on this side");
}

Task<Result<std::size_t>> read_from(std::shared_ptr<Descriptor> pipe, CallContext ctx, std::string& out,
                                    std::size_t max) {
  static thread_local std::array<char, 64u << 10> scratch;
  // Others get their turn beside a program that never stops writing.
  co_await yield_to(pipe->loop());
  NEAP_CO_TRY_VOID(ctx.check(pipe->loop().now()));
  for (;;) {
    if (pipe->is_closed()) co_return closed_error();
    const ssize_t n = ::read(pipe->fd(), scratch.data(), std::min(max, scratch.size()));
    if (n >= 0) {
      out.append(scratch.data(), static_cast<std::size_t>(n));
      co_return static_cast<std::size_t>(n);
    }
    if (errno == EINTR) continue;
    if (errno == EIO) co_return std::size_t{0};  // a terminal that no program holds any more
    if (errno != EAGAIN) co_return file_error(errno, "read from", "a program");
    NEAP_CO_TRY_VOID(co_await Descriptor::Ready(pipe, Side::kRead, ctx));
  }
}

Task<Status> write_to(std::shared_ptr<Descriptor> pipe, CallContext ctx, std::string_view data) {
  NEAP_CO_TRY_VOID(ctx.check(pipe->loop().now()));
  while (!data.empty()) {
    if (pipe->is_closed()) co_return closed_error();
    const ssize_t n = ::write(pipe->fd(), data.data(), data.size());
    if (n >= 0) {
      data.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return file_error(errno, "write to", "a program");
    NEAP_CO_TRY_VOID(co_await Descriptor::Ready(pipe, Side::kWrite, ctx));
  }
  co_return ok();
}

// One end of a pipe, or a terminal, which its input and its output share.
class PipeStream final : public Stream {
 public:
  enum class Ends { kWithThis, kWithTheOther };
  PipeStream(std::shared_ptr<Descriptor> pipe, Ends ends) : pipe_(std::move(pipe)), ends_(ends) {}
  ~PipeStream() override { close(); }
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    return read_from(pipe_, std::move(ctx), out, max);
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    return write_to(pipe_, std::move(ctx), data);
  }
  Task<Status> shutdown_write() override {
    close();
    co_return ok();
  }
  void close() override {
    if (ends_ == Ends::kWithThis) pipe_->close();
  }
  Endpoint peer() const override { return {}; }

 private:
  std::shared_ptr<Descriptor> pipe_;
  Ends ends_;
};

Result<AttachedProcess> start_with_pipes(EventLoop& loop, const ProcessSpec& spec, bool wants_input) {
  const auto& name = spec.argv.empty() ? std::string("a program") : spec.argv.front();
  PipeEnds in;
  if (wants_input) {
    NEAP_TRY(in, make_pipe(name));
  }
  NEAP_TRY(auto out, make_pipe(name));
  NEAP_TRY(auto err, make_pipe(name));
  AttachedProcess made;
  NEAP_TRY(made.process, PosixSubprocesses(loop).start_with(spec, {.input = in.reads.get(),
                                                                   .output = out.writes.get(),
                                                                   .errors = err.writes.get(),
                                                                   .terminal = false}));
  using Ends = PipeStream::Ends;
  if (wants_input)
    made.input = std::make_unique<PipeStream>(adopt(loop, std::move(in.writes)), Ends::kWithThis);
  made.output = std::make_unique<PipeStream>(adopt(loop, std::move(out.reads)), Ends::kWithThis);
  made.errors = std::make_unique<PipeStream>(adopt(loop, std::move(err.reads)), Ends::kWithThis);
  made.resize = [](std::uint16_t, std::uint16_t) -> Status {
    return fail(Code::kFailedPrecondition, "process.terminal.none", "the program has no terminal");
  };
  return made;
}

Result<AttachedProcess> start_with_terminal(EventLoop& loop, const ProcessSpec& spec, bool wants_input) {
  OwnedFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  std::array<char, 128> name{};
  if (master.get() < 0 || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0 ||
      ::ptsname_r(master.get(), name.data(), name.size()) != 0)
    return file_error(errno, "open", "a pseudoterminal");
  OwnedFd slave(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (slave.get() < 0) return file_error(errno, "open", name.data());
  AttachedProcess made;
  NEAP_TRY(made.process,
           PosixSubprocesses(loop).start_with(
               spec, {.input = slave.get(), .output = slave.get(), .errors = slave.get(), .terminal = true}));
  const auto terminal = adopt(loop, std::move(master));
  using Ends = PipeStream::Ends;
  if (wants_input) made.input = std::make_unique<PipeStream>(terminal, Ends::kWithTheOther);
  made.output = std::make_unique<PipeStream>(terminal, Ends::kWithThis);
  made.resize = [terminal](std::uint16_t columns, std::uint16_t rows) -> Status {
    const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    if (terminal->is_closed()) return closed_error();
    if (::ioctl(terminal->fd(), TIOCSWINSZ, &size) != 0)
      return file_error(errno, "set the size of", "a terminal");
    return ok();
  };
  return made;
}

}  // namespace

Result<AttachedProcess> start_attached(Runtime& runtime, const ProcessSpec& spec,
                                       const AttachOptions& options) {
  auto* loop = dynamic_cast<EventLoop*>(&runtime.executor());
  if (!loop)
    return fail(Code::kUnimplemented, "process.attached.simulated",
                "programs of a simulated machine have no descriptors to attach to");
  return options.terminal ? start_with_terminal(*loop, spec, options.input)
                          : start_with_pipes(*loop, spec, options.input);
}

Status make_input_pipe(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return file_error(errno, "remove", path);
  if (::mkfifo(path.c_str(), 0600) != 0) return file_error(errno, "make the pipe", path);
  return ok();
}

Result<std::unique_ptr<Process>> start_with_input_pipe(Runtime& runtime, const ProcessSpec& spec,
                                                       const std::string& path) {
  auto* loop = dynamic_cast<EventLoop*>(&runtime.executor());
  if (!loop) return runtime.subprocesses().start(spec);
  // For both directions: as long as the program holds it there is somebody who may still write.
  const OwnedFd pipe(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (pipe.get() < 0) return file_error(errno, "open", path);
  return PosixSubprocesses(*loop).start_with(
      spec, {.input = pipe.get(), .output = -1, .errors = -1, .terminal = false});
}

Result<std::unique_ptr<Stream>> open_input_pipe(Runtime& runtime, const std::string& path) {
  auto* loop = dynamic_cast<EventLoop*>(&runtime.executor());
  if (!loop)
    return fail(Code::kUnimplemented, "process.attached.simulated",
                "programs of a simulated machine have no input to write to");
  OwnedFd pipe(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  if (pipe.get() < 0 && errno == ENXIO)
    return fail(Code::kFailedPrecondition, "process.input.closed",
                "the program has closed its input; nothing more can be typed into it");
  if (pipe.get() < 0) return file_error(errno, "open", path);
  struct stat found{};
  if (::fstat(pipe.get(), &found) != 0 || !S_ISFIFO(found.st_mode))
    return fail(Code::kFailedPrecondition, "process.input.kind", path + " is no pipe any more");
  return std::make_unique<PipeStream>(adopt(*loop, std::move(pipe)), PipeStream::Ends::kWithThis);
}

}  // namespace neap::io
