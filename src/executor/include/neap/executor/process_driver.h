// ProcessDriver: runs the processes of allocations so that they outlive the agent that started them.
//
// 1. What runs is written (process.json, by rename) before it counts as started; a new life of the
//    agent adopts it by pid and kernel start time, or learns that it is gone.
// 2. Output goes to files the children hold open for append; rotation copies and truncates, keeping
//    one older file, so that a log never exceeds twice its bound. Input comes, where a program takes one,
//    from a pipe with a name, which another life of the agent opens again.
// 3. stop() asks with SIGTERM and, after the grace, ends the group with SIGKILL.
// Belongs to one executor. Programs are started by argument vector, never through a shell.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "neap/base/task_group.h"
#include "neap/executor/log_times.h"
#include "neap/executor/resource_limiter.h"
#include "neap/io/attached_process.h"
#include "neap/io/process_sockets.h"
#include "neap/io/runtime.h"

namespace neap::executor {

struct WorkSpec {
  std::string id;         // allocation uid
  std::string directory;  // exists; holds process.json and log
  // One entry per process: argv and environment.
  struct Program {
    std::vector<std::string> argv, environment;
    std::string working_directory;
    bool takes_input = false;  // its standard input stays open for open_input(), else it reads an end
  };
  std::vector<Program> programs;
  io::ProcessLimits limits;  // of all programs together
};

struct WorkExit {
  // The first process that ended badly, else 0.
  int code = 0, signal = 0;
  bool code_known = true;  // false for processes adopted from an earlier life
  bool out_of_memory = false;
};

struct DriverOptions {
  std::uint64_t log_bytes_max = 8u << 20;
  Duration look_interval = kLookInterval;  // at logs: to rotate them, and to note when they changed
};

class ProcessDriver {
 public:
  ProcessDriver(io::Runtime& runtime, ResourceLimiter& limiter, DriverOptions options);
  ~ProcessDriver();

  // kAlreadyExists when `id` runs. All programs start or none stays.
  Status start(const WorkSpec& spec);
  // After a restart of the agent: true when the work of `directory` still lives and is watched again.
  Result<bool> adopt(const std::string& id, const std::string& directory);
  bool is_running(const std::string& id) const;
  std::vector<std::int64_t> pids(const std::string& id) const;
  // One more program beside those of `id`, within the same limits, in the caller's hands. It is killed when
  // the work has ended, and when this program ends. kFailedPrecondition "executor.ended" where nothing runs.
  Result<io::AttachedProcess> start_beside(const std::string& id, const WorkSpec::Program& program,
                                           const io::AttachOptions& options);
  // The input of the program of `id` that takes one. Several may write at a time; closing it ends nothing,
  // since the program holds it open itself. kFailedPrecondition "executor.input.none" where no program takes
  // input.
  Result<std::unique_ptr<io::Stream>> open_input(const std::string& id);
  // Those processes, for io::find_loopback_listener().
  io::ProcessFamily family(const std::string& id) const;
  // Returns when all processes of `id` have ended.
  Task<Result<WorkExit>> wait(CallContext ctx, std::string id);
  // SIGTERM, then SIGKILL after `grace`. Returns when all have ended.
  Task<Status> stop(CallContext ctx, std::string id, Duration grace);
  Status signal(const std::string& id, int number);
  static std::string log_path(const std::string& directory);
  // Last `bytes` of the log.
  Result<std::string> read_log_tail(const std::string& directory, std::uint64_t bytes);
  // Ends watching; processes live on.
  Task<void> close();
  void abandon();  // simulated crash: close() that cannot wait

 private:
  struct Work;
  Task<void> watch(std::shared_ptr<Work> work, std::size_t index);
  Task<void> end_beside(Work& work);
  Task<void> keep_log(std::shared_ptr<Work> work);
  void track(std::shared_ptr<Work> work);
  Status save(const Work& work);
  Result<std::unique_ptr<io::Process>> start_program(const io::ProcessSpec& process,
                                                     const std::string& input);

  io::Runtime& runtime_;
  ResourceLimiter& limiter_;
  DriverOptions options_;
  std::map<std::string, std::shared_ptr<Work>> works_;
  TaskGroup tasks_;
};

}  // namespace neap::executor
