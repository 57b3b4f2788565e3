// What both runtimes promise: network, files, timers, offloaded work.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neap/base/task_group.h"
#include "tests/worlds.h"

namespace neap::io {
namespace {

template <class World>
class RuntimeContract : public ::testing::Test {
 public:
  World world;
  Runtime& runtime() { return world.runtime(); }
  std::unique_ptr<Listener> listen() { return std::move(*runtime().network().listen(world.any_endpoint())); }
  std::string path(const std::string& name) const { return world.directory() + "/" + name; }
};
using Worlds = ::testing::Types<RealWorld, SimulatedWorld>;
TYPED_TEST_SUITE(RuntimeContract, Worlds);

Task<std::string> read_until_end(Stream& stream) {
  std::string out;
  for (;;) {
    auto n = co_await stream.read_some({}, out, 10'000);
    if (!n || *n == 0) co_return out;
  }
}

TYPED_TEST(RuntimeContract, streams_carry_bytes_both_ways_and_half_close) {
  auto listener = this->listen();
  TaskGroup group(this->runtime().executor());
  group.spawn([](Listener& l) -> Task<void> {
    auto stream = co_await l.accept({});
    const auto text = co_await read_until_end(**stream);
    EXPECT_TRUE(co_await (*stream)->write_all({}, text + text));
  }(*listener));
  this->world.run([](Runtime& runtime, Listener& l, TaskGroup& g) -> Task<void> {
    auto stream = co_await runtime.network().connect({}, l.local());
    EXPECT_TRUE(stream);
    const std::string sent(2'000'000, 'z');
    EXPECT_TRUE(co_await (*stream)->write_all({}, sent));
    EXPECT_FALSE((*stream)->has_ended());
    EXPECT_TRUE(co_await (*stream)->shutdown_write());
    const auto got = co_await read_until_end(**stream);
    EXPECT_EQ(got.size(), 2 * sent.size());
    co_await g.stop();
  }(this->runtime(), *listener, group));
}

TYPED_TEST(RuntimeContract, a_read_ends_with_its_deadline_its_cancellation_or_a_close) {
  auto listener = this->listen();
  this->world.run([](Runtime& runtime, Listener& l) -> Task<void> {
    auto& executor = runtime.executor();
    auto client = co_await runtime.network().connect({}, l.local());
    auto server = co_await l.accept({});
    std::string out;
    auto late = co_await (*client)->read_some(CallContext{}.with_deadline(executor.now() + 5ms), out, 10);
    EXPECT_TRUE(!late && late.error().code == Code::kDeadlineExceeded);
    CancelSource cancel;
    const auto timer = executor.post_at(executor.now() + 5ms, [&cancel] { cancel.cancel(); });
    auto cancelled = co_await (*client)->read_some(CallContext{}.with_cancel(cancel.token()), out, 10);
    EXPECT_TRUE(!cancelled && cancelled.error().code == Code::kCancelled);
    executor.cancel_timer(timer);
    executor.post_at(executor.now() + 5ms, [&client] { (*client)->close(); });
    auto closed = co_await (*client)->read_some({}, out, 10);
    EXPECT_TRUE(!closed && closed.error().code == Code::kCancelled);
    // The other operations were given up, not the stream: the peer still reads its end.
    auto end = co_await (*server)->read_some({}, out, 10);
    EXPECT_TRUE(end && *end == 0);
    EXPECT_TRUE((*server)->has_ended());
  }(this->runtime(), *listener));
}

TYPED_TEST(RuntimeContract, a_writer_waits_for_a_reader_that_is_slow) {
  auto listener = this->listen();
  this->world.run([](Runtime& runtime, Listener& l) -> Task<void> {
    auto client = co_await runtime.network().connect({}, l.local());
    auto server = co_await l.accept({});
    const std::string large(64u << 20, 'w');
    auto stuck =
        co_await (*client)->write_all(CallContext{}.with_deadline(runtime.executor().now() + 50ms), large);
    EXPECT_TRUE(!stuck && stuck.error().code == Code::kDeadlineExceeded);
  }(this->runtime(), *listener));
}

TYPED_TEST(RuntimeContract, connecting_to_nobody_is_refused_and_a_port_is_taken_once) {
  auto listener = this->listen();
  EXPECT_EQ(this->runtime().network().listen(listener->local()).error().code, Code::kAlreadyExists);
  const auto where = listener->local();
  listener->close();
  this->world.run([](Runtime& runtime, Endpoint endpoint) -> Task<void> {
    auto stream = co_await runtime.network().connect({}, endpoint);
    EXPECT_TRUE(!stream && stream.error().code == Code::kUnavailable);
  }(this->runtime(), where));
}

TYPED_TEST(RuntimeContract, unix_sockets_work_and_a_stale_one_is_replaced) {
  const Endpoint endpoint{{}, 0, this->path("s.sock")};
  for (int life = 0; life < 2; ++life) {
    auto listener = this->runtime().network().listen(endpoint);
    ASSERT_TRUE(listener) << listener.error().to_string();
    this->world.run([](Runtime& runtime, Listener& l) -> Task<void> {
      auto client = co_await runtime.network().connect({}, l.local());
      auto server = co_await l.accept({});
      EXPECT_TRUE(client && server);
      EXPECT_TRUE(co_await (*client)->write_all({}, "hello"));
      std::string out;
      (void)co_await (*server)->read_some({}, out, 100);
      EXPECT_EQ(out, "hello");
    }(this->runtime(), **listener));
  }
}

TYPED_TEST(RuntimeContract, files_are_written_read_listed_renamed_and_removed) {
  auto& files = this->runtime().files();
  ASSERT_TRUE(files.make_directories(this->path("a/b")));
  EXPECT_EQ(files.open(this->path("a/none"), OpenMode::kRead).error().code, Code::kNotFound);
  EXPECT_EQ(files.open(this->path("x/y"), OpenMode::kCreate).error().code, Code::kNotFound);
  auto file = files.open(this->path("a/f"), OpenMode::kCreateNew);
  ASSERT_TRUE(file);
  EXPECT_EQ(files.open(this->path("a/f"), OpenMode::kCreateNew).error().code, Code::kAlreadyExists);
  EXPECT_TRUE((*file)->write_at(3, "def"));
  EXPECT_TRUE((*file)->write_at(0, "abc"));
  EXPECT_EQ((*file)->size().value(), 6u);
  std::string out = "> ";
  EXPECT_EQ((*file)->read_at(2, out, 3).value(), 3u);
  EXPECT_EQ(out, "> cde");
  EXPECT_EQ((*file)->read_at(99, out, 3).value(), 0u);
  EXPECT_TRUE((*file)->truncate(2));
  EXPECT_TRUE((*file)->sync());
  EXPECT_EQ(files.read_file(this->path("a/f")).value(), "ab");
  EXPECT_EQ(files.read_file(this->path("a/f"), 1).error().code, Code::kResourceExhausted);
  EXPECT_TRUE(files.write_file_atomic(this->path("a/f"), "whole", 0600));
  EXPECT_TRUE(files.rename(this->path("a/f"), this->path("a/b/g")));
  EXPECT_EQ(files.list(this->path("a")).value(), std::vector<std::string>{"b"});
  EXPECT_EQ(files.read_file(this->path("a/b/g")).value(), "whole");
  EXPECT_TRUE(files.stat(this->path("a/b")).value().is_directory);
  EXPECT_EQ(files.remove(this->path("a/b")).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(files.remove(this->path("a/zz")).error().code, Code::kNotFound);
  EXPECT_TRUE(files.remove_tree(this->path("a")));
  EXPECT_TRUE(files.remove_tree(this->path("a")));
  EXPECT_FALSE(files.exists(this->path("a/b/g")));
  auto missing = files.read_file(this->path("a/none"));
  EXPECT_NE(missing.error().message.find(this->path("a/none")), std::string::npos);
}

TYPED_TEST(RuntimeContract, timers_fire_in_order_and_not_after_cancellation) {
  std::vector<int> fired;
  this->world.run([](Executor& executor, std::vector<int>& out) -> Task<void> {
    const auto start = executor.now();
    executor.post_at(start + 20ms, [&out] { out.push_back(2); });
    executor.post_at(start + 10ms, [&out] { out.push_back(1); });
    const auto never = executor.post_at(start + 15ms, [&out] { out.push_back(9); });
    executor.cancel_timer(never);
    (void)co_await sleep_for(executor, {}, 40ms);
    EXPECT_GE(executor.now() - start, 40ms);
  }(this->runtime().executor(), fired));
  EXPECT_EQ(fired, (std::vector<int>{1, 2}));
}

TYPED_TEST(RuntimeContract, offloaded_work_returns_its_value) {
  this->world.run([](Runtime& runtime) -> Task<void> {
    const int answer = co_await runtime.offload([] { return 42; });
    EXPECT_EQ(answer, 42);
  }(this->runtime()));
}

TYPED_TEST(RuntimeContract, writers_of_one_file_at_once_all_succeed_and_leave_one_of_their_contents) {
  ASSERT_TRUE(this->runtime().files().make_directories(this->path("w")));
  const auto path = this->path("w/f");
  this->world.run([](Runtime& runtime, std::string target) -> Task<void> {
    int done = 0;
    TaskGroup group(runtime.executor());
    for (char letter = 'a'; letter < 'i'; ++letter)
      group.spawn([](Runtime& its, std::string file, std::string content, int& count) -> Task<void> {
        for (int round = 0; round < 20; ++round) {
          const Status written =
              co_await its.offload([&] { return its.files().write_file_atomic(file, content); });
          EXPECT_TRUE(written) << written.error().to_string();
        }
        ++count;
      }(runtime, target, std::string(4000 + letter * 100, letter), done));
    while (done < 8) (void)co_await sleep_for(runtime.executor(), {}, 1ms);
    const auto left = runtime.files().read_file(target).value();
    EXPECT_EQ(left, std::string(4000 + left.front() * 100, left.front()));
    EXPECT_EQ(runtime.files().list(target.substr(0, target.rfind('/'))).value().size(), 1u);
    co_await group.stop();
  }(this->runtime(), path));
}

TYPED_TEST(RuntimeContract, random_values_differ_and_stay_in_bounds) {
  auto& random = this->runtime().random();
  EXPECT_NE(random.uuid(), random.uuid());
  EXPECT_EQ(random.uuid().size(), 36u);
  EXPECT_EQ(random.uuid()[14], '4');
  EXPECT_EQ(random.hex(4).size(), 8u);
  for (int i = 0; i < 200; ++i) EXPECT_LT(random.below(3), 3u);
}

TEST(Endpoint, parses_what_it_prints_and_refuses_the_rest) {
  for (const char* good : {"127.0.0.1:80", "[::1]:8080", "host.name:443", "unix:/run/neap.sock"})
    EXPECT_EQ(Endpoint::parse(good).value().to_string(), good);
  for (const char* bad :
       {"", "host", "host:", ":80", "host:99999", "::1:80", "[::1]", "[::1", "unix:", "a b:1", "h:-1"})
    EXPECT_EQ(Endpoint::parse(bad).error().code, Code::kInvalidArgument) << bad;
}

// --- real processes

class Processes : public ::testing::Test {
 protected:
  RealWorld world;
  Runtime& runtime = world.runtime();
  ProcessSpec shell(std::string script) const {
    return {.argv = {"/bin/sh", "-c", std::move(script)},
            .environment = {"GREETING=hello world"},
            .stdout_path = world.directory() + "/out",
            .stderr_path = world.directory() + "/out"};
  }
  Result<ExitStatus> wait(Process& process) {
    Result<ExitStatus> out = fail(Error{});
    world.run([](Process& p, Result<ExitStatus>& result) -> Task<void> { result = co_await p.wait({}); }(
                                                             process, out));
    return out;
  }
};

TEST_F(Processes, report_their_exit_code_and_append_their_output) {
  for (int i = 0; i < 2; ++i) {
    auto process = runtime.subprocesses().start(shell("echo \"$GREETING\"; echo problem >&2; exit 7"));
    ASSERT_TRUE(process) << process.error().to_string();
    EXPECT_EQ(wait(**process)->code, 7);
  }
  EXPECT_EQ(runtime.files().read_file(world.directory() + "/out").value(),
            "hello world\nproblem\nhello world\nproblem\n");
}

TEST_F(Processes, a_signal_reaches_the_whole_group) {
  auto process = runtime.subprocesses().start(shell("sleep 1000 & sleep 1000"));
  ASSERT_TRUE(process);
  EXPECT_TRUE((*process)->signal(15));
  EXPECT_EQ(wait(**process)->signal, 15);
}

TEST_F(Processes, asked_to_end_with_their_parent_end_with_it_however_it_ends) {
#if __has_feature(thread_sanitizer)
  GTEST_SKIP() << "the thread sanitizer ends a forked program that starts threads";
#endif
  // The parent is a program of its own: it starts a process that would outlive it, writes its pid, and is
  // killed.
  const auto pid_file = world.directory() + "/pid";
  const pid_t parent = ::fork();
  if (parent == 0) {
    auto own = RealRuntime::create();
    auto child = own->subprocesses().start({.argv = {"/bin/sleep", "1000"}, .parent_death_signal = 9});
    if (child) (void)own->files().write_file_atomic(pid_file, std::to_string((*child)->pid()));
    ::pause();
    ::_exit(0);
  }
  ASSERT_GT(parent, 0);
  for (int i = 0; i < 2000 && !runtime.files().exists(pid_file); ++i) ::usleep(10'000);
  const auto pid = std::stoi(runtime.files().read_file(pid_file).value());
  ASSERT_EQ(::kill(pid, 0), 0);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  // Whoever inherits it may take its time to reap it: a zombie has ended, too.
  const auto has_ended = [&] {
    const auto stat = runtime.files().read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
    return !stat || stat->find(") Z") != std::string::npos || stat->find(") X") != std::string::npos;
  };
  for (int i = 0; i < 2000 && !has_ended(); ++i) ::usleep(10'000);
  EXPECT_TRUE(has_ended());
}

TEST_F(Processes, that_cannot_start_say_why) {
  auto absent = runtime.subprocesses().start({.argv = {"/no/such/program"}});
  EXPECT_EQ(absent.error().code, Code::kNotFound);
  auto directory = shell("true");
  directory.working_directory = "/no/such/directory";
  EXPECT_EQ(runtime.subprocesses().start(directory).error().code, Code::kNotFound);
  auto group = shell("true");
  group.cgroup_path = world.directory() + "/no-group";
  EXPECT_NE(runtime.subprocesses().start(group).error().message.find("control group"), std::string::npos);
  EXPECT_EQ(runtime.subprocesses().start({}).error().code, Code::kInvalidArgument);
}

TEST_F(Processes, can_be_adopted_by_pid_and_start_time_only) {
  auto process = runtime.subprocesses().start(shell("sleep 1000"));
  ASSERT_TRUE(process);
  const auto pid = (*process)->pid();
  EXPECT_EQ(runtime.subprocesses().adopt(pid, "1").error().code, Code::kNotFound);
  auto adopted = runtime.subprocesses().adopt(pid, (*process)->start_identity());
  ASSERT_TRUE(adopted) << adopted.error().to_string();
  EXPECT_TRUE((*adopted)->signal(9));
  EXPECT_EQ(wait(**process)->signal, 9);
  EXPECT_EQ(wait(**adopted)->code, -1);
  EXPECT_EQ((*adopted)->signal(9).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace neap::io
