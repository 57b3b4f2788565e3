// Faults of the simulated world.
#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::io {
namespace {

// Two machines; "hq" echoes on port 80.
class Pair {
 public:
  explicit Pair(std::uint64_t seed)
      : world(seed),
        hq(world.add_machine("hq")),
        edge(world.add_machine("edge")),
        group(hq.runtime().executor()) {
    listener = std::move(*hq.runtime().network().listen({"hq", 80, {}}));
    group.spawn(accept_all(*listener, group));
  }
  ~Pair() { group.abandon(); }
  static Task<void> accept_all(Listener& listener, TaskGroup& group) {
    for (;;) {
      auto stream = co_await listener.accept({});
      if (!stream) co_return;
      group.spawn(echo(std::move(*stream)));
    }
  }
  static Task<void> echo(std::unique_ptr<Stream> stream) {
    for (;;) {
      std::string data;
      auto n = co_await stream->read_some({}, data, 1000);
      if (!n || *n == 0 || !co_await stream->write_all({}, data)) co_return;
    }
  }
  // Runs `task` as a program of "edge".
  void run(Task<void> task, Duration limit = 1h) {
    TaskGroup own(edge.runtime().executor());
    own.spawn(std::move(task));
    world.run_for(limit, [&] { return own.running() == 0; });
    EXPECT_EQ(own.running(), 0u);
    own.abandon();
  }
  SimWorld world;
  SimMachine& hq;
  SimMachine& edge;
  TaskGroup group;
  std::unique_ptr<Listener> listener;
};

Task<void> talk(Runtime& runtime, int rounds, std::string& log) {
  auto stream = co_await runtime.network().connect({}, {"hq", 80, {}});
  for (int i = 0; stream && i < rounds; ++i) {
    const std::string text = runtime.random().hex(8);
    if (!co_await (*stream)->write_all({}, text)) co_return;
    std::string got;
    while (got.size() < text.size()) {
      auto n = co_await (*stream)->read_some({}, got, 100);
      if (!n || *n == 0) co_return;
    }
    log += got;
  }
}

TEST(SimWorld, the_same_seed_gives_the_same_trace_and_another_seed_another) {
  const auto trace = [](std::uint64_t seed) {
    Pair pair(seed);
    pair.world.set_faults({.delay_min = 1ms, .delay_max = 30ms, .disconnect_probability = 0.05});
    std::string log;
    pair.run(talk(pair.edge.runtime(), 20, log));
    return pair.world.trace_hash();
  };
  EXPECT_EQ(trace(1), trace(1));
  EXPECT_NE(trace(1), trace(2));
}

TEST(SimWorld, a_partition_stalls_bytes_and_healing_delivers_them_in_order) {
  Pair pair(3);
  pair.run([](Pair& p) -> Task<void> {
    auto& runtime = p.edge.runtime();
    auto stream = co_await runtime.network().connect({}, {"hq", 80, {}});
    EXPECT_TRUE(stream);
    p.world.set_partition("edge", "hq", true);
    EXPECT_TRUE(co_await (*stream)->write_all({}, "one "));
    EXPECT_TRUE(co_await (*stream)->write_all({}, "two "));
    std::string got;
    const auto patience = CallContext{}.with_deadline(runtime.executor().now() + 10s);
    auto n = co_await (*stream)->read_some(patience, got, 100);
    EXPECT_TRUE(!n && n.error().code == Code::kDeadlineExceeded);
    auto other = co_await runtime.network().connect(patience.with_deadline(runtime.executor().now() + 1s),
                                                    {"hq", 80, {}});
    EXPECT_TRUE(!other && other.error().code == Code::kDeadlineExceeded);
    p.world.set_partition("edge", "hq", false);
    while (got.size() < 8) {
      auto more = co_await (*stream)->read_some({}, got, 100);
      if (!more || *more == 0) break;
    }
    EXPECT_EQ(got, "one two ");
  }(pair));
}

TEST(SimWorld, a_crash_resets_the_peers_and_drops_posted_work) {
  Pair pair(4);
  bool ran = false;
  pair.run([](Pair& p, bool& flag) -> Task<void> {
    auto& runtime = p.edge.runtime();
    auto stream = co_await runtime.network().connect({}, {"hq", 80, {}});
    (void)co_await sleep_for(runtime.executor(), {}, 1s);
    p.hq.runtime().executor().post_at(p.world.now() + 1s, [&flag] { flag = true; });
    p.group.abandon();
    p.world.crash("hq");
    std::string got;
    auto n = co_await (*stream)->read_some({}, got, 100);
    EXPECT_TRUE(!n || *n == 0);
    (void)co_await sleep_for(runtime.executor(), {}, 5s);
    auto again = co_await runtime.network().connect({}, {"hq", 80, {}});
    EXPECT_TRUE(!again && again.error().reason == "net.refused");
  }(pair, ran));
  EXPECT_FALSE(ran);
}

TEST(SimWorld, a_crash_keeps_what_was_synced_and_at_most_a_prefix_of_the_rest) {
  std::set<std::string> outcomes;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SimWorld world(seed);
    auto& machine = world.add_machine("hq");
    auto& files = machine.runtime().files();
    ASSERT_TRUE(files.make_directories("/d"));
    auto file = files.open("/d/log", OpenMode::kCreate);
    ASSERT_TRUE((*file)->write_at(0, "synced."));
    ASSERT_TRUE((*file)->sync());
    ASSERT_TRUE((*file)->write_at(7, "first."));
    ASSERT_TRUE((*file)->write_at(13, "second."));
    world.crash("hq");
    EXPECT_EQ((*file)->write_at(0, "x").error().code, Code::kUnavailable);
    const auto left = files.read_file("/d/log").value();
    EXPECT_TRUE(std::string("synced.first.second.").starts_with(left)) << left;
    EXPECT_GE(left.size(), 7u);
    outcomes.insert(left);
  }
  EXPECT_GT(outcomes.size(), 5u);  // whole, torn and lost tails all occur
}

TEST(SimWorld, an_atomic_write_is_old_or_new_after_a_crash_at_any_fault) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SimWorld world(seed);
    auto& machine = world.add_machine("hq");
    auto& files = machine.runtime().files();
    ASSERT_TRUE(files.make_directories("/d"));
    ASSERT_TRUE(files.write_file_atomic("/d/f", "old"));
    if (seed % 3 == 1) machine.fail_next_syncs(1, Code::kDataLoss);
    if (seed % 3 == 2) machine.fail_next_writes(1, Code::kResourceExhausted);
    const bool acknowledged = files.write_file_atomic("/d/f", "new").has_value();
    EXPECT_EQ(acknowledged, seed % 3 == 0);
    world.crash("hq");
    const auto left = files.read_file("/d/f").value();
    if (acknowledged) EXPECT_EQ(left, "new");
    EXPECT_TRUE(left == "old" || left == "new");
    seen.insert(left);
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(SimWorld, a_rename_without_a_directory_sync_may_be_undone_by_a_crash) {
  std::set<bool> renamed;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SimWorld world(seed);
    auto& files = world.add_machine("hq").runtime().files();
    ASSERT_TRUE(files.make_directories("/d"));
    ASSERT_TRUE(files.write_file_atomic("/d/a", "x"));
    ASSERT_TRUE(files.rename("/d/a", "/d/b"));
    world.crash("hq");
    EXPECT_NE(files.exists("/d/a"), files.exists("/d/b"));
    renamed.insert(files.exists("/d/b"));
  }
  EXPECT_EQ(renamed.size(), 2u);
}

TEST(SimWorld, disks_fill_up_and_clocks_are_skewed) {
  SimWorld world(1);
  auto& machine = world.add_machine("hq");
  auto& files = machine.runtime().files();
  machine.set_disk_capacity(10);
  auto file = files.open("/f", OpenMode::kCreate);
  EXPECT_TRUE((*file)->write_at(0, "0123456789"));
  EXPECT_EQ((*file)->write_at(5, "abcdef").error().code, Code::kResourceExhausted);
  const auto before = machine.runtime().clock().wall();
  machine.set_clock_skew(-5s);
  EXPECT_EQ(machine.runtime().clock().wall(), before - 5s);
}

TEST(SimWorld, child_processes_follow_their_script_and_survive_their_programs_end) {
  SimWorld world(1);
  auto& machine = world.add_machine("edge");
  machine.set_behaviour([](const ProcessSpec& spec) -> Result<SimProgram> {
    if (spec.argv[0] == "/train")
      return SimProgram{
          .run_for = 10s,
          .exit_code = 3,
          .stdout_text = "epoch 1\n",
          .reactions = {{15, {.ignored = false, .after = 2s, .status = {.code = 0, .signal = 0}}}}};
    return fail(Code::kNotFound, "file.absent", "there is no such program");
  });
  auto& children = machine.runtime().subprocesses();
  EXPECT_EQ(children.start({.argv = {"/other"}}).error().code, Code::kNotFound);
  auto first = children.start({.argv = {"/train"}, .stdout_path = "/tmp/log"});
  auto second = children.start({.argv = {"/train"}, .stdout_path = "/tmp/log"});
  const auto pid = (*second)->pid();
  const auto identity = (*second)->start_identity();
  EXPECT_TRUE((*first)->signal(15));
  ExitStatus status{.code = 99, .signal = 0};
  TaskGroup group(machine.runtime().executor());
  group.spawn([](Process& p, ExitStatus& out) -> Task<void> { out = *co_await p.wait({}); }(**first, status));
  world.run_for(1s);
  EXPECT_EQ(status.code, 99);
  world.run_for(2s);
  EXPECT_EQ(status.code, 0);
  EXPECT_EQ(machine.runtime().files().read_file("/tmp/log").value(), "epoch 1\nepoch 1\n");
  second->reset();
  world.kill_program("edge");
  EXPECT_TRUE(children.adopt(pid, identity));
  EXPECT_EQ(machine.running_processes(), std::vector<std::int64_t>{pid});
  world.crash("edge");
  EXPECT_EQ(children.adopt(pid, identity).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace neap::io
