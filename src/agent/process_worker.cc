// Runs a program: fetch -> Prepared -> (epoch committed) -> Running -> Succeeded | Failed | Released.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "internal/job_socket.h"
#include "internal/worker.h"

namespace neap::agent {
namespace {

// A program that was asked to stop and could save its state exits so (EX_TEMPFAIL); python/neap does.
constexpr int kExitInterrupted = 75;
constexpr Duration kLeasePoll = 250ms;
constexpr std::size_t kSocketPathMax = 100;  // sockaddr_un holds 108 bytes

class ProcessWorker final : public Worker {
 public:
  using Worker::Worker;
  Task<void> run(CallContext ctx) override;
  WorkSubject subject() const override;

 private:
  const api::ProcessWork& work() const { return *allocation_.spec.process; }
  std::string inputs_directory() const { return directory() + "/inputs"; }
  std::string checkpoint_path() const { return inputs_directory() + "/.checkpoint"; }
  Task<Status> prepare(CallContext ctx);
  Task<Status> fetch_code(CallContext ctx);
  Task<Status> place_input(CallContext ctx, std::string digest, std::string target);
  Task<Result<std::string>> offer_rendezvous(CallContext ctx);
  Task<bool> wait_for_commit(CallContext ctx);
  Status start_programs();
  executor::WorkSpec::Program program(std::int64_t local_rank) const;
  Json job_document(std::int64_t rank) const;
  Task<void> supervise(CallContext ctx);
  Task<void> finish(CallContext ctx, executor::WorkExit exit);
  std::string socket_path() const;
  JobCallbacks callbacks();
  Task<Result<std::string>> seal_checkpoint(std::string path, std::int64_t step);
  Task<void> upload_checkpoints(CallContext ctx);
  Task<Status> send_output(std::string name, std::string path, Json metadata);

  std::unique_ptr<JobSocket> socket_;
  struct Sealed {
    std::string path;
    std::int64_t step = -1;
  };
  std::optional<Sealed> newest_;  // not yet durable
  bool uploading_ = false;
  CallContext life_;
};

WorkSubject ProcessWorker::subject() const {
  auto out = Worker::subject();
  auto beside = program(0);
  out.programs = {.id = allocation_.metadata.uid,
                  .working_directory = std::move(beside.working_directory),
                  .environment = std::move(beside.environment)};
  return out;
}

Task<void> ProcessWorker::run(CallContext ctx) {
  life_ = ctx;
  const auto& id = allocation_.metadata.uid;
  if (allocation_.status.phase == "Running" || allocation_.status.phase == "Draining") {
    const auto adopted = context_.deps.processes.adopt(id, directory());
    if (!adopted || !*adopted) {
      report("Released", "Interrupted", "the program did not survive the restart of its node");
      co_return;
    }
    mark_started();
  } else {
    mark_started();
    auto prepared = co_await prepare(ctx);
    if (ctx.cancel.is_cancelled()) co_return;
    if (!prepared) {
      report("Failed", "InputMissing", prepared.error().to_string());
      co_return;
    }
    if (!co_await wait_for_commit(ctx)) co_return;
  }
  socket_ = std::make_unique<JobSocket>(context_.deps.runtime, socket_path(), directory(), callbacks());
  if (auto started = socket_->start(); !started) {
    report("Failed", "Socket", started.error().to_string());
    co_return;
  }
  if (!context_.deps.processes.is_running(id)) {
    if (auto started = start_programs(); !started) {
      report("Failed", "Start", started.error().to_string());
      co_await socket_->stop();
      co_return;
    }
    report("Running");
  }
  co_await supervise(ctx);
  co_await socket_->stop();
}

Task<Status> ProcessWorker::prepare(CallContext ctx) {
  auto& files = context_.deps.runtime.files();
  NEAP_CO_TRY_VOID(files.make_directories(inputs_directory(), 0700));
  for (const auto* name : {"/outputs", "/checkpoints", "/code"})
    NEAP_CO_TRY_VOID(files.make_directories(directory() + name, 0700));
  NEAP_CO_TRY_VOID(co_await fetch_code(ctx));
  for (const auto& input : work().inputs) {
    if (input.name.find("..") != std::string::npos || input.name.starts_with('/'))
      co_return fail(Code::kInvalidArgument, "agent.input.name",
                     fmt::format("input name \"{}\" leaves its folder", input.name));
    NEAP_CO_TRY_VOID(co_await place_input(ctx, input.digest, inputs_directory() + "/" + input.name));
  }
  if (work().resume.step >= 0)
    NEAP_CO_TRY_VOID(co_await place_input(ctx, work().resume.digest, checkpoint_path()));
  if (allocation_.spec.replica == 0 && work().worldSize > 1) {
    NEAP_CO_TRY(allocation_.status.rendezvous, co_await offer_rendezvous(ctx));
  }
  report("Prepared");
  co_return ok();
}

// Content-addressed bytes are never changed: inputs are links to them where the file system can.
Task<Status> ProcessWorker::place_input(CallContext ctx, std::string digest, std::string target) {
  auto& files = context_.deps.runtime.files();
  NEAP_CO_TRY(const auto source,
              co_await context_.deps.blobs.fetch(ctx, std::string(kArtifactRepository), digest));
  if (const auto slash = target.rfind('/'); slash != std::string::npos)
    NEAP_CO_TRY_VOID(files.make_directories(target.substr(0, slash), 0700));
  if (files.exists(target)) co_return ok();
  NEAP_CO_TRY(auto from, files.open(source, io::OpenMode::kRead));
  NEAP_CO_TRY(auto to, files.open(target + ".part", io::OpenMode::kCreate));
  std::string buffer;
  for (std::uint64_t at = 0;;) {
    buffer.clear();
    NEAP_CO_TRY(const auto got, from->read_at(at, buffer, 1u << 20));
    if (got == 0) break;
    NEAP_CO_TRY_VOID(to->write_at(at, buffer));
    at += got;
  }
  co_return files.rename(target + ".part", target);
}

Task<Status> ProcessWorker::fetch_code(CallContext ctx) {
  if (work().code.empty()) co_return ok();
  NEAP_CO_TRY(const auto archive, co_await context_.deps.blobs.fetch(
                                      ctx, allocation_.metadata.namespace_ + "/code", work().code));
  io::ProcessSpec tar;
  tar.argv = {"/bin/tar", "--extract", "--no-same-owner", "--no-same-permissions",
              "--file",   archive,     "--directory",     directory() + "/code"};
  tar.environment = {"PATH=/usr/bin:/bin"};
  tar.stdout_path = tar.stderr_path = executor::ProcessDriver::log_path(directory());
  NEAP_CO_TRY(auto process, context_.deps.runtime.subprocesses().start(tar));
  NEAP_CO_TRY(const auto exit, co_await process->wait(ctx));
  if (exit.code != 0 || exit.signal != 0)
    co_return fail(Code::kInvalidArgument, "agent.code.archive",
                   fmt::format("the code archive {} could not be unpacked (tar ended with {}); push it as an "
                               "uncompressed or gzip tar",
                               work().code, exit.code));
  co_return ok();
}

// Rank 0 names a port that is free now; ranks of the committed epoch meet there.
Task<Result<std::string>> ProcessWorker::offer_rendezvous(CallContext) {
  io::Endpoint meeting;
  meeting.host = context_.options.advertise_host;
  auto listener = context_.deps.runtime.network().listen(meeting);
  if (!listener) {
    // Others know this machine by a name or an address that is not its own (NAT): any of its own will do.
    io::Endpoint any;
    any.host = "0.0.0.0";
    listener = context_.deps.runtime.network().listen(any);
  }
  if (!listener) co_return fail(std::move(listener).error());
  meeting.port = (*listener)->local().port;
  (*listener)->close();
  co_return meeting.to_string();
}

// True when this member may run; false when it has ended before it could.
Task<bool> ProcessWorker::wait_for_commit(CallContext ctx) {
  for (;;) {
    const auto seen = wake_.generation();
    if (stop_wanted()) {
      report("Released", stop_reason(), "stopped before its epoch was committed");
      co_return false;
    }
    if (lease_is_lost()) {
      report("Released", "LeaseExpired", "the server was out of reach; another member may have its place");
      co_return false;
    }
    // What the disk remembers may be outdated: a start needs the server's word from after the restart.
    if (allocation_.spec.committedEpoch == allocation_.spec.epoch && confirmed_ &&
        context_.lease.is_renewed())
      co_return true;
    if (allocation_.spec.committedEpoch > allocation_.spec.epoch) {
      report("Released", "Superseded",
             fmt::format("epoch {} was committed instead", allocation_.spec.committedEpoch));
      co_return false;
    }
    (void)co_await wake_.wait(ctx.with_deadline(context_.executor().now() + kLeasePoll), seen);
    if (ctx.cancel.is_cancelled()) co_return false;
  }
}

std::string ProcessWorker::socket_path() const {
  const auto name = allocation_.metadata.uid.substr(0, 8);
  auto path = context_.options.state_directory + "/run/" + name + ".sock";
  if (path.size() > kSocketPathMax) path = "/tmp/neap-" + allocation_.metadata.uid + ".sock";
  return path;
}

Json ProcessWorker::job_document(std::int64_t rank) const {
  JsonObject inputs;
  for (const auto& input : work().inputs) {
    const auto top = input.name.substr(0, input.name.find('/'));
    inputs[top] = inputs_directory() + "/" + top;
  }
  JsonObject parameters;
  for (const auto& [name, value] : work().parameters) parameters[name] = value;
  Json resume;
  if (work().resume.step >= 0) resume = {{"path", checkpoint_path()}, {"step", work().resume.step}};
  return Json{{"name", allocation_.spec.ownerName},
              {"epoch", allocation_.spec.epoch},
              {"rank", rank},
              {"world_size", work().worldSize},
              {"inputs", std::move(inputs)},
              {"outputs_dir", directory() + "/outputs"},
              {"checkpoint_dir", directory() + "/checkpoints"},
              {"resume", std::move(resume)},
              {"checkpoint_interval_steps", work().checkpointIntervalSteps},
              {"parameters", std::move(parameters)},
              // Who watches the lease while no agent runs here.
              {"lease", Json{{"file", context_.options.state_directory + "/lease"},
                             {"seconds", to_seconds(context_.options.lease_duration)},
                             {"grace_seconds", to_seconds(context_.options.lease_stop_grace)}}}};
}

executor::WorkSpec::Program ProcessWorker::program(std::int64_t local_rank) const {
  const auto rank = work().rankFirst + local_rank;
  executor::WorkSpec::Program out;
  for (auto argument : work().command) {
    for (const auto& [from, to] :
         {std::pair<std::string_view, const std::string&>{"{code}", directory() + "/code"},
          std::pair<std::string_view, const std::string&>{"{python}", context_.options.python}})
      for (auto at = argument.find(from); at != std::string::npos; at = argument.find(from, at + to.size()))
        argument.replace(at, from.size(), to);
    out.argv.push_back(std::move(argument));
  }
  out.working_directory = directory() + "/outputs";
  const auto& meet = allocation_.spec.rendezvous;
  const auto colon = meet.rfind(':');
  out.environment = {"PATH=/usr/local/bin:/usr/bin:/bin",
                     "HOME=" + directory(),
                     "LANG=C.UTF-8",
                     "PYTHONUNBUFFERED=1",
                     "PYTHONPATH=" + context_.options.python_path + ":" + directory() + "/code",
                     "NEAP_SOCKET=" + socket_path(),
                     fmt::format("NEAP_JOB_FILE={}/job-{}.json", directory(), rank),
                     fmt::format("RANK={}", rank),
                     fmt::format("LOCAL_RANK={}", local_rank),
                     fmt::format("WORLD_SIZE={}", work().worldSize),
                     fmt::format("LOCAL_WORLD_SIZE={}", work().ranks)};
  if (colon != std::string::npos) {
    out.environment.push_back("MASTER_ADDR=" + meet.substr(0, colon));
    out.environment.push_back("MASTER_PORT=" + meet.substr(colon + 1));
  }
  for (const auto& entry : work().environment) out.environment.push_back(entry);
  return out;
}

Status ProcessWorker::start_programs() {
  executor::WorkSpec spec;
  spec.id = allocation_.metadata.uid;
  spec.directory = directory();
  spec.limits = {.cpu_millicores = allocation_.spec.resources.cpu.value,
                 .memory_bytes = allocation_.spec.resources.memory.value};
  for (std::int64_t i = 0; i < work().ranks; ++i) {
    const auto rank = work().rankFirst + i;
    NEAP_TRY_VOID(context_.deps.runtime.files().write_file_atomic(
        fmt::format("{}/job-{}.json", directory(), rank), to_text(job_document(rank)), 0600));
    spec.programs.push_back(program(i));
    spec.programs.back().takes_input = work().openStdin && rank == 0;
  }
  NEAP_TRY_VOID(context_.deps.processes.start(spec));
  const auto pids = context_.deps.processes.pids(spec.id);
  if (!pids.empty()) allocation_.status.pid = pids.front();
  return ok();
}

// Waits for the programs to end, and asks them to when somebody wants that or the lease has run out.
Task<void> ProcessWorker::supervise(CallContext ctx) {
  auto& processes = context_.deps.processes;
  const auto id = allocation_.metadata.uid;
  bool asked = false;
  std::optional<MonoTime> lost;
  while (processes.is_running(id)) {
    const auto now = context_.executor().now();
    if (!lost && lease_is_lost()) {
      lost = now;
      request_stop("LeaseExpired");
    }
    // A successor starts soon after the lease ended, however long this one would like to save its state.
    if (lost && now - *lost > context_.options.lease_stop_grace) (void)processes.signal(id, SIGKILL);
    if (!asked && stop_wanted()) {
      asked = true;
      report("Draining", stop_reason(), "asked to checkpoint and stop");
      background().spawn([](executor::ProcessDriver& driver, CallContext c, std::string work_id,
                            Duration grace) -> Task<void> {
        (void)co_await driver.stop(c, work_id, grace);
      }(processes, ctx, id, context_.options.stop_grace));
    }
    (void)co_await processes.wait(ctx.with_deadline(now + kLeasePoll), id);
    if (ctx.cancel.is_cancelled()) co_return;
  }
  auto exit = co_await processes.wait(ctx, id);
  co_await finish(ctx, exit ? *exit : executor::WorkExit{.code = -1});
}

Task<void> ProcessWorker::finish(CallContext ctx, executor::WorkExit exit) {
  // Whatever was sealed must be durable before anybody plans with it, or the node goes away first.
  while (uploading_ || newest_) {
    const auto seen = wake_.generation();
    if (!uploading_) break;
    if (!co_await wake_.wait(ctx, seen)) co_return;
  }
  auto& status = allocation_.status;
  status.exitCode = exit.code;
  const bool interrupted =
      exit.code == kExitInterrupted || (stop_wanted() && (exit.signal != 0 || exit.code != 0));
  if (exit.code == 0 && exit.signal == 0 && exit.code_known) {
    report("Succeeded", "Completed");
  } else if (!exit.code_known && !stop_wanted()) {
    // An adopted program's exit code is lost; its final metrics tell whether it finished.
    const bool complete = status.metrics.is_object() && !status.metrics.get_object().empty();
    complete ? report("Succeeded", "Completed")
             : report("Released", "Interrupted", "the program ended while its agent was restarting");
  } else if (interrupted) {
    report("Released", stop_wanted() ? stop_reason() : "Interrupted",
           fmt::format("stopped at step {}", status.step));
  } else {
    auto tail = context_.deps.processes.read_log_tail(directory(), 2000);
    report("Failed", exit.out_of_memory ? "OutOfMemory" : "ExitCode",
           fmt::format("the program ended with {} {}{}; the end of its log: {}",
                       exit.signal ? "signal" : "exit code", exit.signal ? exit.signal : exit.code,
                       exit.out_of_memory ? " because it used more memory than it asked for" : "",
                       tail.value_or("(none)")));
  }
}

JobCallbacks ProcessWorker::callbacks() {
  JobCallbacks out;
  out.job = [this](std::int64_t rank) { return job_document(rank); };
  out.progress = [this](std::int64_t step, const Json&) {
    auto& s = allocation_.status;
    if (step > s.step) s.step = step;
    account_time();
    touch();
  };
  out.first_step = [this](std::int64_t step) {
    auto& s = allocation_.status;
    if (step >= 0 && (s.firstStep < 0 || step < s.firstStep)) s.firstStep = step;
  };
  out.checkpoint = [this](std::string path, std::int64_t step) {
    return seal_checkpoint(std::move(path), step);
  };
  out.output = [this](std::string name, std::string path, Json metadata) {
    return send_output(std::move(name), std::move(path), std::move(metadata));
  };
  out.metrics = [this](const Json& metrics) {
    allocation_.status.metrics = metrics;
    touch();
  };
  return out;
}

Task<Result<std::string>> ProcessWorker::seal_checkpoint(std::string path, std::int64_t step) {
  NEAP_CO_TRY(const auto stat, context_.deps.runtime.files().stat(path));
  auto& checkpoint = allocation_.status.checkpoint;
  if (checkpoint.phase == "Durable" && step <= checkpoint.step) co_return std::string("durable");
  newest_ = Sealed{.path = std::move(path), .step = step};
  if (checkpoint.phase != "Durable") {
    checkpoint.phase = "Sealed";
    checkpoint.size = Bytes{std::int64_t(stat.size)};
  }
  if (!uploading_) {
    uploading_ = true;
    background().spawn(upload_checkpoints(life_));
  }
  co_return std::string("sealed");
}

// One upload at a time, always of the newest: an older one that was overtaken is not worth its bytes.
Task<void> ProcessWorker::upload_checkpoints(CallContext ctx) {
  Duration pause = 200ms;
  while (newest_) {
    const auto sealed = *newest_;
    auto sent = co_await context_.deps.blobs.send(ctx, intent("store"),
                                                  fmt::format("checkpoint-{}", sealed.step), sealed.path, {});
    if (sent) {
      auto& checkpoint = allocation_.status.checkpoint;
      checkpoint.step = sealed.step;
      checkpoint.digest = sent->digest;
      checkpoint.size = sent->size;
      checkpoint.phase = "Durable";
      if (newest_->step == sealed.step) newest_.reset();
      pause = 200ms;
      touch();
      continue;
    }
    if (ctx.cancel.is_cancelled()) break;
    context_.deps.log.warning("a checkpoint could not be sent yet", {{"error", sent.error().to_string()}});
    if (sent.error().code == Code::kPermissionDenied) {
      newest_.reset();
      break;
    }
    if (!co_await sleep_for(context_.executor(), ctx, pause)) break;
    pause = std::min<Duration>(pause * 2, 5s);
  }
  uploading_ = false;
  wake_.notify_all();
}

Task<Status> ProcessWorker::send_output(std::string name, std::string path, Json metadata) {
  if (name.empty() || name.size() > 200)
    co_return fail(Code::kInvalidArgument, "agent.job.output", "\"name\" must have 1 to 200 characters");
  NEAP_CO_TRY(auto artifact, co_await context_.deps.blobs.send(life_, intent("store"), name, path, {}));
  artifact.name = name;
  artifact.metadata = std::move(metadata);
  auto& outputs = allocation_.status.outputs;
  std::erase_if(outputs, [&](const auto& o) { return o.name == name; });
  outputs.push_back(std::move(artifact));
  touch();
  co_return ok();
}

}  // namespace

std::unique_ptr<Worker> make_process_worker(WorkerContext context, api::Allocation allocation,
                                            std::function<void()> changed) {
  return std::make_unique<ProcessWorker>(std::move(context), std::move(allocation), std::move(changed));
}

}  // namespace neap::agent
