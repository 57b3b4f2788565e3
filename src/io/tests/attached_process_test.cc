// Programs in the caller's hands, and whose listening socket is whose: real processes.
#include "neap/io/attached_process.h"

#include <signal.h>
#include <unistd.h>

#include "neap/io/process_sockets.h"
#include "tests/worlds.h"

namespace neap::io {
namespace {

Task<std::string> read_until_end(Stream& stream) {
  std::string out;
  for (;;) {
    const auto n = co_await stream.read_some({}, out, 65'536);
    if (!n || *n == 0) co_return out;
  }
}

ProcessSpec shell(const std::string& script) {
  ProcessSpec out;
  out.argv = {"/bin/sh", "-c", script};
  out.environment = {"PATH=/usr/bin:/bin"};
  return out;
}

TEST(AttachedProcess, output_errors_input_and_exit_code_are_the_callers) {
  RealWorld world;
  world.run([](Runtime& runtime) -> Task<void> {
    auto started = start_attached(runtime, shell("cat; echo wrong >&2; exit 7"), {.input = true});
    EXPECT_TRUE(started) << started.error().to_string();
    if (!started) co_return;
    EXPECT_TRUE(co_await started->input->write_all({}, "typed"));
    EXPECT_TRUE(co_await started->input->shutdown_write());
    EXPECT_EQ(co_await read_until_end(*started->output), "typed");
    EXPECT_EQ(co_await read_until_end(*started->errors), "wrong\n");
    const auto exit = co_await started->process->wait({});
    EXPECT_TRUE(exit && exit->code == 7);
    EXPECT_FALSE(started->resize(80, 25));
  }(world.runtime()));
}

TEST(AttachedProcess, a_terminal_has_a_size_and_a_session) {
  RealWorld world;
  world.run([](Runtime& runtime) -> Task<void> {
    auto started =
        start_attached(runtime, shell("read go; stty size; test -t 0 && test -t 2 && echo on-a-terminal"),
                       {.input = true, .terminal = true});
    EXPECT_TRUE(started) << started.error().to_string();
    if (!started) co_return;
    EXPECT_FALSE(started->errors);
    EXPECT_TRUE(started->resize(101, 33));
    EXPECT_TRUE(co_await started->input->write_all({}, "go\n"));
    const auto shown = co_await read_until_end(*started->output);
    EXPECT_NE(shown.find("33 101"), std::string::npos) << shown;
    EXPECT_NE(shown.find("on-a-terminal"), std::string::npos) << shown;
    EXPECT_TRUE(co_await started->process->wait({}));
  }(world.runtime()));
}

TEST(AttachedProcess, a_signal_reaches_all_it_started) {
  RealWorld world;
  world.run([](Runtime& runtime) -> Task<void> {
    auto started = start_attached(runtime, shell("sleep 1000 & echo up; sleep 1000"), {});
    EXPECT_TRUE(started);
    if (!started) co_return;
    std::string got;
    EXPECT_TRUE(co_await started->output->read_some({}, got, 100));
    EXPECT_TRUE(started->process->signal(SIGKILL));
    // The end comes only when nobody holds the pipe any more.
    EXPECT_EQ(co_await read_until_end(*started->output), "");
    const auto exit = co_await started->process->wait({});
    EXPECT_TRUE(exit && exit->signal == SIGKILL);
  }(world.runtime()));
}

TEST(InputPipe, writers_come_and_go_while_the_program_waits) {
  RealWorld world;
  world.run([](Runtime& runtime, std::string folder) -> Task<void> {
    auto spec = shell("read a; read b; echo \"$a $b\"; exec 0<&-; echo closed; exec sleep 1000");
    spec.stdout_path = folder + "/out";
    EXPECT_TRUE(make_input_pipe(folder + "/input"));
    auto process = start_with_input_pipe(runtime, spec, folder + "/input");
    EXPECT_TRUE(process) << process.error().to_string();
    if (!process) co_return;
    for (const auto* line : {"one\n", "two\n"}) {
      auto input = open_input_pipe(runtime, folder + "/input");
      EXPECT_TRUE(input) << input.error().to_string();
      if (!input) co_return;
      EXPECT_TRUE(co_await (*input)->write_all({}, line));
      EXPECT_TRUE(co_await (*input)->shutdown_write());
    }
    std::string out;
    while (!out.ends_with("closed\n")) {
      EXPECT_TRUE(co_await sleep_for(runtime.executor(), {}, 20ms));
      out = runtime.files().read_file(folder + "/out").value_or("");
    }
    EXPECT_EQ(out, "one two\nclosed\n");
    const auto late = open_input_pipe(runtime, folder + "/input");
    EXPECT_EQ(late ? std::string() : late.error().reason, "process.input.closed");
    EXPECT_TRUE((*process)->signal(SIGKILL));
    EXPECT_TRUE(co_await (*process)->wait({}));
  }(world.runtime(), world.directory()));
}

TEST(InputPipe, holds_a_bounded_amount_and_then_lets_writers_wait) {
  RealWorld world;
  world.run([](Runtime& runtime, std::string folder) -> Task<void> {
    EXPECT_TRUE(make_input_pipe(folder + "/input"));
    auto process = start_with_input_pipe(runtime, shell("exec sleep 1000"), folder + "/input");
    EXPECT_TRUE(process);
    if (!process) co_return;
    auto input = open_input_pipe(runtime, folder + "/input");
    EXPECT_TRUE(input);
    if (!input) co_return;
    const auto soon = CallContext{}.with_deadline(runtime.executor().now() + 200ms);
    const auto much = co_await (*input)->write_all(soon, std::string(1u << 20, 'x'));
    EXPECT_FALSE(much);
    if (!much) EXPECT_EQ(much.error().code, Code::kDeadlineExceeded);
    EXPECT_TRUE((*process)->signal(SIGKILL));
    EXPECT_TRUE(co_await (*process)->wait({}));
  }(world.runtime(), world.directory()));
}

TEST(InputPipe, something_else_in_its_place_is_not_written_to) {
  RealWorld world;
  auto& files = world.runtime().files();
  const auto path = world.directory() + "/input";
  EXPECT_EQ(open_input_pipe(world.runtime(), path).error().code, Code::kNotFound);
  ASSERT_TRUE(files.write_file_atomic(path, "kept"));
  EXPECT_EQ(open_input_pipe(world.runtime(), path).error().reason, "process.input.kind");
  EXPECT_EQ(files.read_file(path).value_or(""), "kept");
}

TEST(AttachedProcess, a_simulated_machine_says_that_it_has_none) {
  SimulatedWorld world;
  const auto started = start_attached(world.runtime(), shell("true"), {});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().reason, "process.attached.simulated");
}

TEST(ProcessSockets, a_listener_is_found_among_its_own_and_nobody_elses) {
  RealWorld world;
  auto here = std::move(*world.runtime().network().listen({"127.0.0.1", 0, {}}));
  const auto port = here->local().port;
  const auto own = find_loopback_listener(port, {.roots = {::getpid()}, .cgroup_path = {}});
  ASSERT_TRUE(own) << own.error().to_string();
  EXPECT_EQ(*own, (Endpoint{"127.0.0.1", port, {}}));
  world.run([](Runtime& runtime, std::uint16_t p) -> Task<void> {
    auto other = start_attached(runtime, shell("echo up; sleep 1000"), {});
    EXPECT_TRUE(other);
    if (!other) co_return;
    std::string got;
    EXPECT_TRUE(co_await other->output->read_some({}, got, 100));
    const auto taken = find_loopback_listener(p, {.roots = {other->process->pid()}, .cgroup_path = {}});
    EXPECT_FALSE(taken);
    if (!taken) EXPECT_EQ(taken.error().reason, "process.port.other");
    EXPECT_TRUE(other->process->signal(SIGKILL));
    EXPECT_TRUE(co_await other->process->wait({}));
  }(world.runtime(), port));
  here->close();
  const auto closed = find_loopback_listener(port, {.roots = {::getpid()}, .cgroup_path = {}});
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().reason, "process.port.closed");
}

}  // namespace
}  // namespace neap::io
