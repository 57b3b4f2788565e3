#include "neap/executor/process_driver.h"

#include <fmt/format.h>

#include <csignal>

#include "neap/base/json.h"

namespace neap::executor {

struct ProcessDriver::Work {
  Work(io::Runtime& runtime, std::string work_id, std::string dir)
      : id(std::move(work_id)),
        directory(std::move(dir)),
        times(runtime.files(), log_path(directory)),
        ended(runtime.executor()) {}
  std::string id, directory;
  LogTimesWriter times;
  std::string group;  // its control groups
  std::vector<std::unique_ptr<io::Process>> processes;
  std::vector<std::weak_ptr<io::Process>> beside;
  std::size_t living = 0;
  WorkExit exit;
  bool failed_seen = false;
  Event ended;
};

namespace {
std::string state_path(const std::string& directory) { return directory + "/process.json"; }
std::string input_path(const std::string& directory) { return directory + "/input"; }
}  // namespace

ProcessDriver::ProcessDriver(io::Runtime& runtime, ResourceLimiter& limiter, DriverOptions options)
    : runtime_(runtime), limiter_(limiter), options_(options), tasks_(runtime.executor()) {}
ProcessDriver::~ProcessDriver() = default;

std::string ProcessDriver::log_path(const std::string& directory) { return directory + "/log"; }

Status ProcessDriver::save(const Work& work) {
  JsonArray processes;
  for (const auto& p : work.processes)
    processes.push_back(Json{{"pid", p->pid()}, {"start", p->start_identity()}});
  return runtime_.files().write_file_atomic(state_path(work.directory),
                                            to_text(Json{{"id", work.id}, {"processes", processes}}));
}

Status ProcessDriver::start(const WorkSpec& spec) {
  if (is_running(spec.id))
    return fail(Code::kAlreadyExists, "executor.running", fmt::format("work {} already runs", spec.id));
  NEAP_TRY(const auto group, limiter_.create_group(spec.id, spec.limits));
  auto work = std::make_shared<Work>(runtime_, spec.id, spec.directory);
  work->group = group;
  for (const auto& program : spec.programs) {
    io::ProcessSpec process;
    process.argv = program.argv;
    process.environment = program.environment;
    process.working_directory = program.working_directory;
    process.stdout_path = process.stderr_path = log_path(spec.directory);
    process.cgroup_path = group;
    auto started = start_program(process, program.takes_input ? input_path(spec.directory) : std::string());
    if (!started) {
      for (auto& p : work->processes) (void)p->signal(SIGKILL);
      return fail(std::move(started).error(),
                  "starting " + (program.argv.empty() ? std::string("nothing") : program.argv.front()));
    }
    work->processes.push_back(*std::move(started));
  }
  if (auto saved = save(*work); !saved) {
    for (auto& p : work->processes) (void)p->signal(SIGKILL);
    return saved;
  }
  track(std::move(work));
  return ok();
}

Result<std::unique_ptr<io::Process>> ProcessDriver::start_program(const io::ProcessSpec& process,
                                                                  const std::string& input) {
  if (input.empty()) return runtime_.subprocesses().start(process);
  NEAP_TRY_VOID(io::make_input_pipe(input));
  return io::start_with_input_pipe(runtime_, process, input);
}

Result<bool> ProcessDriver::adopt(const std::string& id, const std::string& directory) {
  if (is_running(id)) return true;
  auto text = runtime_.files().read_file(state_path(directory));
  if (!text)
    return text.error().code == Code::kNotFound ? Result<bool>(false) : fail(std::move(text).error());
  NEAP_TRY(const auto state, parse_json(*text));
  auto work = std::make_shared<Work>(runtime_, id, directory);
  work->exit.code_known = false;
  if (const auto* list = find_path(state, {"processes"}); list && list->is_array())
    for (const auto& entry : list->get_array()) {
      auto process =
          runtime_.subprocesses().adopt(get_int(entry, "pid"), std::string(get_string(entry, "start")));
      if (process) work->processes.push_back(*std::move(process));
    }
  if (work->processes.empty()) return false;
  if (auto group = limiter_.create_group(id, {})) work->group = *std::move(group);
  track(std::move(work));
  return true;
}

void ProcessDriver::track(std::shared_ptr<Work> work) {
  work->living = work->processes.size();
  works_[work->id] = work;
  for (std::size_t i = 0; i < work->processes.size(); ++i) tasks_.spawn(watch(work, i));
  tasks_.spawn(keep_log(work));
}

Task<void> ProcessDriver::watch(std::shared_ptr<Work> work, std::size_t index) {
  auto status = co_await work->processes[index]->wait(tasks_.context());
  if (!status && status.error().code == Code::kCancelled) co_return;
  const io::ExitStatus end = status ? *status : io::ExitStatus{.code = -1, .signal = 0};
  const bool bad = end.code != 0 || end.signal != 0;
  if (bad && !work->failed_seen) {
    work->failed_seen = true;
    work->exit.code = end.code;
    work->exit.signal = end.signal;
  }
  if (--work->living > 0) co_return;
  co_await end_beside(*work);
  if (const auto usage = limiter_.usage(work->id)) work->exit.out_of_memory = usage->out_of_memory;
  limiter_.remove_group(work->id);
  (void)runtime_.files().remove(state_path(work->directory));
  (void)work->times.look(true);
  work->ended.set();
}

// What was started beside the work goes with it, before its control group can.
Task<void> ProcessDriver::end_beside(Work& work) {
  constexpr Duration kKilledWithin = 2s;
  const auto all = std::exchange(work.beside, {});
  for (const auto& known : all)
    if (const auto process = known.lock()) (void)process->signal(SIGKILL);
  const auto end = runtime_.executor().now() + kKilledWithin;
  for (const auto& known : all)
    if (const auto process = known.lock()) (void)co_await process->wait(tasks_.context().with_deadline(end));
}

Task<void> ProcessDriver::keep_log(std::shared_ptr<Work> work) {
  const auto path = log_path(work->directory);
  while (!work->ended.is_set()) {
    if (!co_await sleep_for(runtime_.executor(), tasks_.context(), options_.look_interval)) co_return;
    const auto stat = runtime_.files().stat(path);
    // Without its times a log is a log all the same.
    if (stat && !work->ended.is_set()) (void)work->times.look(false);
    if (!stat || stat->size <= options_.log_bytes_max) continue;
    auto text = runtime_.files().read_file(path, 4 * options_.log_bytes_max);
    if (text && runtime_.files().write_file_atomic(path + ".1", *text)) {
      (void)work->times.rotate(path + ".1");
      if (auto file = runtime_.files().open(path, io::OpenMode::kReadWrite)) (void)(*file)->truncate(0);
    }
  }
}

bool ProcessDriver::is_running(const std::string& id) const {
  const auto it = works_.find(id);
  return it != works_.end() && !it->second->ended.is_set();
}

std::vector<std::int64_t> ProcessDriver::pids(const std::string& id) const {
  std::vector<std::int64_t> out;
  if (const auto it = works_.find(id); it != works_.end())
    for (const auto& p : it->second->processes) out.push_back(p->pid());
  return out;
}

Result<io::AttachedProcess> ProcessDriver::start_beside(const std::string& id,
                                                        const WorkSpec::Program& program,
                                                        const io::AttachOptions& options) {
  // Also while it ends: what began then would outlive it.
  if (!is_running(id) || works_.at(id)->living == 0)
    return fail(Code::kFailedPrecondition, "executor.ended",
                "the work does not run, so nothing runs beside it");
  auto& work = *works_.at(id);
  io::ProcessSpec process;
  process.argv = program.argv;
  process.environment = program.environment;
  process.working_directory = program.working_directory;
  process.cgroup_path = work.group;
  process.parent_death_signal = SIGKILL;
  NEAP_TRY(auto started, io::start_attached(runtime_, process, options));
  std::erase_if(work.beside, [](const auto& known) { return known.expired(); });
  work.beside.push_back(started.process);
  return started;
}

Result<std::unique_ptr<io::Stream>> ProcessDriver::open_input(const std::string& id) {
  if (!is_running(id))
    return fail(Code::kFailedPrecondition, "executor.ended",
                "the work does not run, so nothing reads its input");
  auto input = io::open_input_pipe(runtime_, input_path(works_.at(id)->directory));
  if (!input && input.error().code == Code::kNotFound)
    return fail(
        Code::kFailedPrecondition, "executor.input.none",
        "the program reads no input: its job was made without `stdin: true`; make it with that, attach "
        "without -i, or use exec");
  return input;
}

io::ProcessFamily ProcessDriver::family(const std::string& id) const {
  const auto it = works_.find(id);
  return {.roots = pids(id), .cgroup_path = it == works_.end() ? std::string() : it->second->group};
}

Task<Result<WorkExit>> ProcessDriver::wait(CallContext ctx, std::string id) {
  const auto it = works_.find(id);
  if (it == works_.end())
    co_return fail(Code::kNotFound, "executor.unknown", fmt::format("no work {} was started here", id));
  const auto work = it->second;
  NEAP_CO_TRY_VOID(co_await work->ended.wait(ctx));
  co_return work->exit;
}

Status ProcessDriver::signal(const std::string& id, int number) {
  const auto it = works_.find(id);
  if (it == works_.end() || it->second->ended.is_set())
    return fail(Code::kNotFound, "executor.unknown", fmt::format("work {} does not run", id));
  for (auto& p : it->second->processes) (void)p->signal(number);
  return ok();
}

Task<Status> ProcessDriver::stop(CallContext ctx, std::string id, Duration grace) {
  const auto it = works_.find(id);
  if (it == works_.end() || it->second->ended.is_set()) co_return ok();
  const auto work = it->second;
  (void)signal(id, SIGTERM);
  auto soon = ctx.with_deadline(runtime_.executor().now() + grace);
  auto waited = co_await work->ended.wait(soon);
  if (waited) co_return ok();
  if (waited.error().code == Code::kCancelled) co_return fail(std::move(waited).error());
  (void)signal(id, SIGKILL);
  co_return co_await work->ended.wait(ctx);
}

Result<std::string> ProcessDriver::read_log_tail(const std::string& directory, std::uint64_t bytes) {
  NEAP_TRY(auto file, runtime_.files().open(log_path(directory), io::OpenMode::kRead));
  NEAP_TRY(const auto size, file->size());
  std::string out;
  std::uint64_t at = size > bytes ? size - bytes : 0;
  while (at < size) {
    NEAP_TRY(const auto read, file->read_at(at, out, std::size_t(size - at)));
    if (read == 0) break;
    at += read;
  }
  return out;
}

Task<void> ProcessDriver::close() { co_await tasks_.stop(); }
void ProcessDriver::abandon() { tasks_.abandon(); }

}  // namespace neap::executor
