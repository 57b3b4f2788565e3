// A program beside the work (exec), or the work's own output as it comes (attach).
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <optional>
#include <utility>

#include "internal/crossing_meter.h"
#include "internal/stream_answer.h"
#include "neap/base/json.h"
#include "neap/executor/log_reader.h"
#include "neap/io/channel_stream.h"

namespace neap::agent {
namespace {

using io::Channel;

constexpr std::size_t kPieceBytes = 32u << 10;
// How long an output may be silent once the program has ended: what holds it open then is not ours to wait
// for.
constexpr Duration kDrainSilence = 1s;
constexpr Duration kFollowInterval = 250ms;
constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

// A name without a slash is looked for as a shell would, in the program's own PATH.
Result<std::string> find_program(io::FileSystem& files, const std::string& name,
                                 const std::vector<std::string>& environment) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view path = kDefaultPath;
  for (const auto& entry : environment)
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  for (std::string_view rest = path; !rest.empty();) {
    const auto colon = std::min(rest.find(':'), rest.size());
    const auto candidate = std::string(rest.substr(0, colon)) + "/" + name;
    if (const auto stat = files.stat(candidate); stat && !stat->is_directory) return candidate;
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return fail(
      Code::kNotFound, "agent.exec.program",
      fmt::format("no program \"{}\" is in the PATH of the work ({}); give the whole path", name, path));
}

std::string status_text(const Status& status, int exit_code) {
  JsonObject out{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", JsonObject()}};
  out["status"] = status && exit_code == 0 ? "Success" : "Failure";
  if (!status) {
    out["message"] = status.error().message;
    out["reason"] = "InternalError";
    out["code"] = 500;
  } else if (exit_code != 0) {
    out["message"] = fmt::format("command terminated with non-zero exit code: exit status {}", exit_code);
    out["reason"] = "NonZeroExitCode";
    JsonArray causes;
    causes.push_back(JsonObject{{"reason", "ExitCode"}, {"message", std::to_string(exit_code)}});
    out["details"] = JsonObject{{"causes", std::move(causes)}};
  }
  return to_text(out);
}

class CommandSession {
 public:
  explicit CommandSession(StreamAnswer& answer)
      : answer_(answer),
        record_(answer),
        link_(answer.executor(), answer.stream),
        meter_(answer.deps.gate, answer.executor(), answer.server_site, answer.rule, answer.subject.intent),
        ended_(answer.executor()),
        drained_(answer.executor()),
        left_(answer.executor()),
        tasks_(answer.executor()) {}
  Task<Status> run(CallContext ctx);

 private:
  Status check() const;
  Task<Status> start();
  Status start_beside();
  Task<Status> follow_log();
  void spawn_tasks();
  Task<void> pump(io::Stream& from, Channel to);
  Task<void> pump_log();
  Task<Status> send(Channel to, std::string_view piece);
  Task<void> take_input();
  Task<void> take(io::ChannelMessage message);
  Task<void> watch_program();
  Task<void> watch_silence();
  Task<void> watch_link();
  // The first word counts.
  void end(std::string how, Status status = ok(), int exit_code = 0);
  MonoTime now() const { return answer_.executor().now(); }

  StreamAnswer& answer_;
  SessionRecord record_;
  io::ChannelStream link_;
  CrossingMeter meter_;
  io::AttachedProcess program_;  // without a process: the work itself, its input and its log
  std::optional<executor::LogReader> log_;
  std::string log_piece_;  // of it, read and not yet sent
  std::string how_;
  Status status_;
  int exit_code_ = 0;
  bool has_exited_ = false, is_gone_ = false, is_feeding_ = false;
  int pumps_ = 0;
  std::uint64_t bytes_in_ = 0;
  MonoTime last_byte_{};
  Event ended_, drained_, left_;
  TaskGroup tasks_;
};

void CommandSession::end(std::string how, Status status, int exit_code) {
  if (ended_.is_set()) return;
  how_ = std::move(how);
  status_ = std::move(status);
  exit_code_ = exit_code;
  ended_.set();
}

Status CommandSession::check() const {
  const auto& ask = answer_.ask;
  const auto& programs = answer_.subject.programs;
  if (!programs)
    return fail(Code::kFailedPrecondition, "agent.session.inside",
                fmt::format("allocation {} runs inside the agent and has no program to enter", ask.name));
  if (!answer_.deps.processes.is_running(programs->id))
    return fail(Code::kFailedPrecondition, "agent.session.ended",
                fmt::format("allocation {} does not run{}", ask.name,
                            answer_.subject.has_ended ? " any more" : " yet; wait until it is Running"));
  return ok();
}

Task<Status> CommandSession::start() {
  const auto& ask = answer_.ask;
  if (ask.kind == "exec") co_return start_beside();
  // Only the input is the work's own: what it writes goes into its log, and comes from there.
  if (ask.input) {
    NEAP_CO_TRY(program_.input, answer_.deps.processes.open_input(answer_.subject.programs->id));
  }
  co_return co_await follow_log();
}

// From where the log ends now: before a word of input is taken, so that the answer to it is seen.
Task<Status> CommandSession::follow_log() {
  auto& files = answer_.deps.runtime.files();
  log_.emplace(files, answer_.subject.directory, executor::LogSelection{.tail_lines = 0});
  auto first = co_await answer_.deps.runtime.offload([this] { return log_->next(); });
  if (first) log_piece_ = *std::move(first);
  if (first || first.error().code != Code::kNotFound) co_return first ? ok() : Status(fail(first.error()));
  log_.emplace(files, answer_.subject.directory, executor::LogSelection{});
  co_return ok();
}

Status CommandSession::start_beside() {
  const auto& ask = answer_.ask;
  executor::WorkSpec::Program program;
  program.argv = ask.command;
  program.environment = answer_.subject.programs->environment;
  program.working_directory = answer_.subject.programs->working_directory;
  if (program.argv.empty()) return fail(Code::kInvalidArgument, "agent.exec.command", "exec needs a command");
  NEAP_TRY(program.argv.front(),
           find_program(answer_.deps.runtime.files(), program.argv.front(), program.environment));
  if (ask.terminal) program.environment.emplace_back("TERM=xterm");
  NEAP_TRY(program_, answer_.deps.processes.start_beside(answer_.subject.programs->id, program,
                                                         {.input = ask.input, .terminal = ask.terminal}));
  return ok();
}

// Before the bytes leave: a border they cross is told first.
Task<Status> CommandSession::send(Channel to, std::string_view piece) {
  last_byte_ = now();
  NEAP_CO_TRY_VOID(co_await meter_.before(piece.size()));
  co_return co_await link_.write(tasks_.context(), to, piece);
}

Task<void> CommandSession::pump(io::Stream& from, Channel to) {
  std::string piece;
  for (;;) {
    piece.clear();
    const auto n =
        co_await from.read_some(tasks_.context().with_deadline(now() + kDrainSilence), piece, kPieceBytes);
    if (!n && n.error().code == Code::kDeadlineExceeded && !has_exited_) continue;
    if (!n || *n == 0) break;
    if (to == Channel::kErrors && !answer_.ask.errors) continue;
    if (auto sent = co_await send(to, piece); !sent) {
      end("link lost", std::move(sent));
      break;
    }
  }
  if (--pumps_ == 0) drained_.set();
}

Task<void> CommandSession::pump_log() {
  const auto& id = answer_.subject.programs->id;
  for (;;) {
    const bool is_over = !answer_.deps.processes.is_running(id);  // asked first, as for logs
    Result<std::string> piece = std::exchange(log_piece_, {});
    if (piece->empty()) piece = co_await answer_.deps.runtime.offload([this] { return log_->next(); });
    if (!piece && piece.error().code == Code::kNotFound) piece = std::string();
    if (!piece) {
      end("log lost", fail(piece.error()));
      break;
    }
    if (!piece->empty()) {
      if (auto sent = co_await send(Channel::kOutput, *piece); sent) continue;
      end("link lost");
      break;
    }
    if (is_over) {
      end("work ended");
      break;
    }
    if (!co_await sleep_for(answer_.executor(), tasks_.context(), kFollowInterval)) break;
  }
  if (--pumps_ == 0) drained_.set();
}

Task<void> CommandSession::take(io::ChannelMessage message) {
  last_byte_ = now();
  if (message.channel == Channel::kInput && program_.input) {
    bytes_in_ += message.bytes.size();
    // A program that closed its input is not told about it any more; it still runs.
    is_feeding_ = true;
    if (!co_await program_.input->write_all(tasks_.context(), message.bytes)) program_.input.reset();
    is_feeding_ = false;
  } else if (message.channel == Channel::kEnd && message.bytes == std::string(1, char(Channel::kInput))) {
    if (program_.input) (void)co_await program_.input->shutdown_write();
    program_.input.reset();
  } else if (message.channel == Channel::kResize && program_.resize) {
    const auto size = parse_json(message.bytes, {.bytes_max = 256, .depth_max = 2});
    const auto columns = size ? get_int(*size, "Width") : 0, rows = size ? get_int(*size, "Height") : 0;
    if (columns > 0 && rows > 0 && columns < 65'536 && rows < 65'536)
      (void)program_.resize(std::uint16_t(columns), std::uint16_t(rows));
  }
}

Task<void> CommandSession::take_input() {
  for (;;) {
    auto message = co_await link_.read(tasks_.context());
    if (!message || !*message) break;
    co_await take(**std::move(message));
  }
  is_gone_ = true;
  end("user left");
  left_.set();
}

Task<void> CommandSession::watch_program() {
  const auto exit = co_await program_.process->wait(tasks_.context());
  if (!exit) co_return;
  has_exited_ = true;
  // What it left running goes, too; what it wrote is still read.
  (void)program_.process->signal(SIGKILL);
  const auto code = exit->signal != 0 ? 128 + exit->signal : exit->code;
  (void)co_await drained_.wait(tasks_.context());
  end("program ended", ok(), code & 0xff);
}

Task<void> CommandSession::watch_silence() {
  static_assert(kPolicyCheck <= CrossingMeter::kUnrecordedTime);
  while (!ended_.is_set()) {
    const auto end_of_patience = last_byte_ + answer_.options.session_idle;
    if (now() >= end_of_patience) {
      end("idle", fail(Code::kDeadlineExceeded, "agent.session.idle",
                       fmt::format("the session was ended after {} without a byte",
                                   format_duration(answer_.options.session_idle))));
      co_return;
    }
    // What crossed and is not on record yet is not left waiting for the next byte.
    (void)co_await meter_.settle(false);
    if (auto still = co_await check_still_permitted(answer_); !still) {
      end("not permitted any more", std::move(still));
      co_return;
    }
    const auto next = std::min(end_of_patience, now() + kPolicyCheck);
    if (!co_await sleep_until(answer_.executor(), tasks_.context(), next)) co_return;
  }
}

// While the program takes nothing, nobody reads the link and sees its end: a sign of life finds it.
Task<void> CommandSession::watch_link() {
  while (co_await sleep_for(answer_.executor(), tasks_.context(), kPolicyCheck)) {
    if (!is_feeding_ || co_await link_.write(tasks_.context(), Channel::kOutput, {})) continue;
    is_gone_ = true;
    end("user left");
    left_.set();
    co_return;
  }
}

void CommandSession::spawn_tasks() {
  if (program_.process) {
    pumps_ = program_.errors ? 2 : 1;
    tasks_.spawn(pump(*program_.output, Channel::kOutput));
    if (program_.errors) tasks_.spawn(pump(*program_.errors, Channel::kErrors));
    tasks_.spawn(watch_program());
  } else {
    pumps_ = 1;
    tasks_.spawn(pump_log());
  }
  tasks_.spawn(take_input());
  tasks_.spawn(watch_silence());
  tasks_.spawn(watch_link());
}

Task<Status> CommandSession::run(CallContext ctx) {
  const auto soon = [&] { return ctx.with_deadline(now() + kGoodbye); };
  if (auto checked = check(); !checked) co_return co_await refuse(soon(), answer_.stream, checked.error());
  if (auto begun = co_await record_.begin(); !begun)
    co_return co_await refuse(soon(), answer_.stream, begun.error());
  last_byte_ = now();
  if (auto started = co_await start(); !started) {
    co_await record_.end("not started: " + started.error().reason, 0, 0);
    co_return co_await refuse(soon(), answer_.stream, started.error());
  }
  auto said = co_await answer_.stream.write_all(ctx, head_line(ok()));
  if (said) {
    spawn_tasks();
    if (!co_await ended_.wait(ctx))
      end("agent stops", fail(Code::kUnavailable, "agent.session.stopped", "the agent of the node stops"));
  } else {
    end("link lost");
  }
  if (program_.process) (void)program_.process->signal(SIGKILL);
  if (said && !is_gone_) {
    (void)co_await link_.write(CallContext{}.with_deadline(now() + kGoodbye), Channel::kStatus,
                               status_text(status_, exit_code_));
    (void)co_await link_.finish();
    (void)co_await left_.wait(soon());
  }
  co_await tasks_.stop();
  if (auto recorded = co_await meter_.settle(true); !recorded)
    answer_.deps.log.error("a session's crossing is not on record", {telemetry::Field(recorded.error())});
  co_await record_.end(how_, bytes_in_, meter_.total());
  co_return ok();
}

}  // namespace

Task<Status> run_command(CallContext ctx, StreamAnswer& answer) {
  CommandSession session(answer);
  co_return co_await session.run(std::move(ctx));
}

}  // namespace neap::agent
