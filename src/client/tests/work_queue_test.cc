#include "neap/client/work_queue.h"

#include "tests/sim_run.h"

namespace neap::client {
namespace {

class WorkQueueTest : public testing::Test {
 protected:
  // The next key, or "-" when none comes within `wait`.
  std::string next(WorkQueue& queue, Duration wait = 0s) {
    std::string out = "-";
    sim_.run([](WorkQueue& q, Executor& e, Duration w, std::string& key) -> Task<void> {
      CallContext ctx;
      const auto got = co_await q.get(ctx.with_deadline(e.now() + w + 1us));
      if (got) key = *got ? **got : "closed";
    }(queue, sim_.runtime().executor(), wait, out));
    return out;
  }
  SimRun sim_;
};

TEST_F(WorkQueueTest, gives_each_key_once_and_again_only_after_done) {
  WorkQueue queue(sim_.runtime().executor());
  queue.add("a");
  queue.add("b");
  queue.add("a");
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(next(queue), "a");
  queue.add("a");
  queue.add("a");
  EXPECT_EQ(next(queue), "b");
  EXPECT_EQ(next(queue), "-") << "a is in work";
  queue.done("a");
  queue.done("b");
  EXPECT_EQ(next(queue), "a");
  queue.done("a");
  EXPECT_EQ(next(queue), "-");
}

TEST_F(WorkQueueTest, a_delayed_key_comes_at_the_earliest_of_its_times) {
  WorkQueue queue(sim_.runtime().executor());
  queue.add_after("a", 10s);
  queue.add_after("a", 2s);
  queue.add_after("a", 30s);
  EXPECT_EQ(next(queue, 1s), "-");
  EXPECT_EQ(next(queue, 2s), "a");
  queue.done("a");
  EXPECT_EQ(next(queue, 1min), "-");
  queue.add_after("b", 1h);
  queue.add("b");
  EXPECT_EQ(next(queue), "b");
}

TEST_F(WorkQueueTest, retries_double_up_to_a_limit_until_forgotten) {
  WorkQueue queue(sim_.runtime().executor(), {.retry_first = 1s, .retry_max = 4s});
  for (const auto wait : {1s, 2s, 4s, 4s}) {
    queue.retry("a");
    EXPECT_EQ(next(queue, wait - 10ms), "-");
    EXPECT_EQ(next(queue, 1s), "a");
    queue.done("a");
  }
  EXPECT_EQ(queue.retries("a"), 4);
  queue.forget("a");
  queue.retry("a");
  EXPECT_EQ(next(queue, 1010ms), "a");
}

TEST_F(WorkQueueTest, keeps_to_its_rate_after_a_burst) {
  WorkQueue queue(sim_.runtime().executor(), {.keys_per_second = 10, .burst = 3});
  for (int i = 0; i < 30; ++i) queue.add(std::to_string(i));
  int given = 0;
  const MonoTime end = sim_.runtime().executor().now() + 1s;
  while (sim_.runtime().executor().now() < end && next(queue, 50ms) != "-") ++given;
  while (sim_.runtime().executor().now() < end)
    if (next(queue, 50ms) != "-") ++given;
  EXPECT_GE(given, 12);
  EXPECT_LE(given, 14);
}

TEST_F(WorkQueueTest, refuses_new_keys_when_full_and_ends_after_close) {
  WorkQueue queue(sim_.runtime().executor(), {.keys_max = 2});
  EXPECT_TRUE(queue.add("a"));
  EXPECT_TRUE(queue.add_after("b", 1h));
  EXPECT_FALSE(queue.add("c"));
  EXPECT_TRUE(queue.add("a")) << "a known key takes no room";
  queue.close();
  EXPECT_FALSE(queue.add("a"));
  EXPECT_EQ(next(queue), "a");
  EXPECT_EQ(next(queue), "closed");
}

}  // namespace
}  // namespace neap::client
