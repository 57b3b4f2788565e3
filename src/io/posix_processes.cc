#include "internal/posix_processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "internal/posix_files.h"

namespace neap::io {
namespace {

// Field 22 of /proc/PID/stat: clock ticks between boot and the start of the process; empty when gone.
std::string start_time_of(std::int64_t pid) {
  PosixFileSystem files;
  auto text = files.read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!text) return {};
  // The second field is the program's name in parentheses, which may itself contain spaces and ')'.
  const auto close = text->rfind(')');
  if (close == std::string::npos) return {};
  std::string_view rest = std::string_view(*text).substr(close + 1);
  int field = 2;
  std::string_view state;
  for (std::size_t at = 0; at < rest.size();) {
    while (at < rest.size() && rest[at] == ' ') ++at;
    const auto end = std::min(rest.find(' ', at), rest.size());
    ++field;
    if (field == 3) state = rest.substr(at, end - at);
    if (field == 22)
      return state == "Z" || state == "X" ? std::string() : std::string(rest.substr(at, end - at));
    at = end;
  }
  return {};
}

struct Watch {
  explicit Watch(EventLoop& loop) : exited(loop) {}
  ~Watch() {
    if (descriptor) descriptor->close();
    // The status is fetched without reaping, so that the pid stays ours until now.
    if (is_child && status) ::waitpid(static_cast<pid_t>(pid), nullptr, WNOHANG);
  }
  std::int64_t pid = 0;
  bool is_child = false;
  bool leads_group = false;
  std::shared_ptr<Descriptor> descriptor;
  std::optional<ExitStatus> status;
  Event exited;
};

void note_exit(const std::shared_ptr<Watch>& watch) {
  if (watch->status) return;
  ExitStatus status;
  if (watch->is_child) {
    siginfo_t report{};
    if (::waitid(P_PID, static_cast<id_t>(watch->pid), &report, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        report.si_pid == 0) {
      status.code = -1;
    } else if (report.si_code == CLD_EXITED) {
      status.code = report.si_status;
    } else {
      status.signal = report.si_status;
    }
  } else {
    status.code = -1;
  }
  watch->status = status;
  watch->descriptor->close();
  watch->exited.set();
}

Status begin_watch(EventLoop& loop, const std::shared_ptr<Watch>& watch) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(watch->pid), 0));
  if (fd < 0) {
    if (errno == ESRCH)
      return fail(Code::kNotFound, "process.absent", fmt::format("there is no process {}", watch->pid));
    return fail(Code::kUnavailable, "process.watch",
                fmt::format("cannot watch process {}: {}; Linux 5.3 or later is needed", watch->pid,
                            std::strerror(errno)));
  }
  watch->descriptor = std::make_shared<Descriptor>(loop, fd);
  // Kept alive by the handler, so that a child whose Process object was dropped is reaped all the same.
  watch->descriptor->on_ready(Descriptor::Side::kRead, [watch] { note_exit(watch); });
  return ok();
}

class PosixProcess final : public Process {
 public:
  PosixProcess(std::shared_ptr<Watch> watch, std::string identity)
      : watch_(std::move(watch)), identity_(std::move(identity)) {}
  std::int64_t pid() const override { return watch_->pid; }
  std::string start_identity() const override { return identity_; }
  Task<Result<ExitStatus>> wait(CallContext ctx) override { return wait_for(watch_, std::move(ctx)); }
  Status signal(int number) override {
    if (!watch_->is_child && (watch_->status || start_time_of(watch_->pid) != identity_))
      return fail(Code::kNotFound, "process.absent", fmt::format("process {} has ended", watch_->pid));
    const auto target = static_cast<pid_t>(watch_->leads_group ? -watch_->pid : watch_->pid);
    if (::kill(target, number) == 0) return ok();
    if (errno == ESRCH)
      return fail(Code::kNotFound, "process.absent", fmt::format("process {} has ended", watch_->pid));
    return fail(Code::kPermissionDenied, "process.signal",
                fmt::format("cannot signal process {}: {}", watch_->pid, std::strerror(errno)));
  }

 private:
  static Task<Result<ExitStatus>> wait_for(std::shared_ptr<Watch> watch, CallContext ctx) {
    NEAP_CO_TRY_VOID(co_await watch->exited.wait(std::move(ctx)));
    co_return *watch->status;
  }
  std::shared_ptr<Watch> watch_;
  std::string identity_;
};

// What the child does between fork and exec, prepared before fork: no allocation after it.
struct Launch {
  std::vector<char*> argv, environment;
  std::vector<std::string> cgroup_files;
  const char* directory = nullptr;
  const char* stdout_path = "/dev/null";
  const char* stderr_path = "/dev/null";
  ChildDescriptors given;
  bool new_session = true;
  int parent_death_signal = 0;
  pid_t parent = 0;
  int report_fd = -1;
};
struct LaunchError {
  int step = 0;  // index into kSteps
  int number = 0;
};
constexpr std::string_view kSteps[] = {"",
                                       "join the control group",
                                       "change to the working directory",
                                       "open standard output",
                                       "open standard error",
                                       "execute",
                                       "ask to end with its parent",
                                       "take its terminal"};

[[noreturn]] void child_fail(const Launch& launch, int step) {
  const LaunchError error{step, errno};
  [[maybe_unused]] const auto n = ::write(launch.report_fd, &error, sizeof(error));
  ::_exit(127);
}

int open_output(const char* path) { return ::open(path, O_WRONLY | O_CREAT | O_APPEND, 0640); }

// Async-signal-safe calls only.
[[noreturn]] void run_child(const Launch& launch) {
  if (launch.new_session) ::setsid();
  if (launch.parent_death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, launch.parent_death_signal) != 0) child_fail(launch, 6);
    // A parent that ended before the call sends nothing any more.
    if (::getppid() != launch.parent) ::_exit(127);
  }
  // The parent's handlers are gone after exec, its ignored signals and its mask are not.
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  for (const auto& file : launch.cgroup_files) {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "0", 1) != 1) child_fail(launch, 1);
    ::close(fd);
  }
  if (launch.directory && ::chdir(launch.directory) != 0) child_fail(launch, 2);
  const auto& given = launch.given;
  const int in = given.input >= 0 ? given.input : ::open("/dev/null", O_RDONLY);
  const int out = given.output >= 0 ? given.output : open_output(launch.stdout_path);
  if (out < 0) child_fail(launch, 3);
  const int err = given.errors >= 0 ? given.errors : open_output(launch.stderr_path);
  if (err < 0) child_fail(launch, 4);
  if (given.terminal && ::ioctl(in, TIOCSCTTY, 0) != 0) child_fail(launch, 7);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  // Everything else this program opened is close-on-exec, but libraries may have been less careful.
  ::syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  ::execve(launch.argv[0], launch.argv.data(), launch.environment.data());
  child_fail(launch, 5);
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

Status check_spec(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv[0].empty())
    return fail(Code::kInvalidArgument, "process.argv", "a process needs argv[0], the path of its program");
  for (const auto* list : {&spec.argv, &spec.environment})
    for (const auto& text : *list)
      if (text.find('\0') != std::string::npos)
        return fail(Code::kInvalidArgument, "process.argv",
                    "an argument or environment entry contains a NUL");
  return ok();
}

}  // namespace

Result<std::unique_ptr<Process>> PosixSubprocesses::start(const ProcessSpec& spec) {
  return start_with(spec, {});
}

Result<std::unique_ptr<Process>> PosixSubprocesses::start_with(const ProcessSpec& spec,
                                                               const ChildDescriptors& given) {
  NEAP_TRY_VOID(check_spec(spec));
  Launch launch;
  launch.given = given;
  launch.argv = pointers_to(spec.argv);
  launch.environment = pointers_to(spec.environment);
  launch.new_session = spec.new_session || given.output >= 0;
  launch.parent_death_signal = spec.parent_death_signal;
  launch.parent = ::getpid();
  if (!spec.working_directory.empty()) launch.directory = spec.working_directory.c_str();
  if (!spec.stdout_path.empty()) launch.stdout_path = spec.stdout_path.c_str();
  if (!spec.stderr_path.empty()) launch.stderr_path = spec.stderr_path.c_str();
  for (std::string_view rest = spec.cgroup_path; !rest.empty();) {
    const auto end = std::min(rest.find(':'), rest.size());
    if (end > 0) launch.cgroup_files.push_back(std::string(rest.substr(0, end)) + "/cgroup.procs");
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return file_error(errno, "open a pipe for", spec.argv[0]);
  launch.report_fd = report[1];
  // No handler of ours may run in the child before exec.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) run_child(launch);
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(report[1]);
  if (pid < 0) {
    ::close(report[0]);
    return fail(Code::kResourceExhausted, "process.fork",
                fmt::format("cannot start {}: {}", spec.argv[0], std::strerror(fork_error)));
  }
  LaunchError error;
  ssize_t n = 0;
  do n = ::read(report[0], &error, sizeof(error));
  while (n < 0 && errno == EINTR);
  ::close(report[0]);
  if (n == static_cast<ssize_t>(sizeof(error))) {
    ::waitpid(pid, nullptr, 0);
    const std::string verb(kSteps[static_cast<std::size_t>(error.step)]);
    return file_error(error.number, verb + " for", spec.argv[0]);
  }
  auto watch = std::make_shared<Watch>(loop_);
  watch->pid = pid;
  watch->is_child = true;
  watch->leads_group = launch.new_session;
  const std::string identity = start_time_of(pid);
  NEAP_TRY_VOID(begin_watch(loop_, watch));
  return std::make_unique<PosixProcess>(std::move(watch), identity);
}

Result<std::unique_ptr<Process>> PosixSubprocesses::adopt(std::int64_t pid,
                                                          const std::string& start_identity) {
  auto watch = std::make_shared<Watch>(loop_);
  watch->pid = pid;
  if (pid <= 0)
    return fail(Code::kInvalidArgument, "process.pid", fmt::format("{} is not a process id", pid));
  // The pidfd first: from then on the identity we read cannot be that of a later owner of the pid.
  NEAP_TRY_VOID(begin_watch(loop_, watch));
  if (start_identity.empty() || start_time_of(pid) != start_identity) {
    watch->descriptor->close();
    return fail(Code::kNotFound, "process.absent",
                fmt::format("process {} has ended, or its pid belongs to another one now", pid));
  }
  watch->leads_group = ::getpgid(static_cast<pid_t>(pid)) == pid;
  return std::make_unique<PosixProcess>(std::move(watch), start_identity);
}

}  // namespace neap::io
