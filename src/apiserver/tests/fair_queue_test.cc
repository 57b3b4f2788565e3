#include "internal/fair_queue.h"

#include <gtest/gtest.h>

#include <vector>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::apiserver {
namespace {

struct Bench {
  explicit Bench(FairQueue::Options options)
      : sim(1),
        runtime(sim.add_machine("hq").runtime()),
        queue(runtime.executor(), options),
        group(runtime.executor()) {}
  ~Bench() { group.abandon(); }
  // A request of `flow` that works for `time` once it has a seat.
  void request(std::string flow, Duration time = 1s) {
    group.spawn([](Bench& self, std::string name, Duration work) -> Task<void> {
      auto seat = co_await self.queue.take({}, name);
      if (!seat) {
        self.refused.push_back(name);
        co_return;
      }
      self.served.push_back(name);
      self.most = std::max(self.most, self.queue.in_use());
      (void)co_await sleep_for(self.runtime.executor(), {}, work);
    }(*this, std::move(flow), time));
  }
  io::SimWorld sim;
  io::Runtime& runtime;
  FairQueue queue;
  std::vector<std::string> served, refused;
  std::size_t most = 0;
  TaskGroup group;
};

std::size_t place_of(const std::vector<std::string>& served, std::string_view flow) {
  return std::size_t(std::ranges::find(served, flow) - served.begin());
}

TEST(FairQueue, a_flood_of_one_flow_delays_another_by_one_request_at_most) {
  Bench bench({.seats = 4, .flow_seats = 4, .flow_waiting_max = 1000, .waiting_max = 1000, .wait_max = 1h});
  for (int i = 0; i < 400; ++i) bench.request("flood");
  bench.sim.run_for(100ms);
  bench.request("quiet");
  bench.sim.run_for(2s);
  EXPECT_LE(place_of(bench.served, "quiet"), 5u) << "of 400 that came before";
  bench.sim.run_for(5min);
  EXPECT_EQ(bench.served.size(), 401u);
  EXPECT_EQ(bench.most, 4u);
  EXPECT_EQ(bench.queue.in_use() + bench.queue.waiting(), 0u);
}

TEST(FairQueue, a_flow_leaves_seats_for_others_even_when_all_its_requests_are_slow) {
  Bench bench({.seats = 4, .flow_seats = 2, .flow_waiting_max = 10, .waiting_max = 10, .wait_max = 1h});
  for (int i = 0; i < 4; ++i) bench.request("slow", 1h);
  bench.request("quick");
  bench.sim.run_for(1s);
  EXPECT_EQ(bench.served, (std::vector<std::string>{"slow", "slow", "quick"}));
}

TEST(FairQueue, flows_take_turns) {
  Bench bench({.seats = 1, .flow_seats = 1, .flow_waiting_max = 10, .waiting_max = 100, .wait_max = 1h});
  for (int i = 0; i < 3; ++i) bench.request("a");
  for (int i = 0; i < 3; ++i) bench.request("b");
  bench.sim.run_for(10s);
  EXPECT_EQ(bench.served, (std::vector<std::string>{"a", "b", "a", "b", "a", "b"}));
}

TEST(FairQueue, full_queues_and_long_waits_are_refused) {
  Bench bench({.seats = 1, .flow_seats = 1, .flow_waiting_max = 2, .waiting_max = 3, .wait_max = 5s});
  for (int i = 0; i < 4; ++i) bench.request("a", 1min);
  bench.request("b");
  bench.request("c");
  bench.sim.run_for(1s);
  EXPECT_EQ(bench.refused, (std::vector<std::string>{"a", "c"})) << "a's queue is full, then all queues";
  bench.sim.run_for(10s);
  EXPECT_EQ(bench.refused.size(), 5u) << "who waited longer than five seconds";
  EXPECT_EQ(bench.queue.waiting(), 0u);
}

TEST(FairQueue, a_request_that_goes_while_it_waits_leaves_its_seat_to_the_next) {
  Bench bench({.seats = 1, .flow_seats = 1, .flow_waiting_max = 10, .waiting_max = 10, .wait_max = 1h});
  bench.request("a", 10s);
  {
    TaskGroup others(bench.runtime.executor());
    others.spawn([](FairQueue& queue) -> Task<void> { (void)co_await queue.take({}, "gone"); }(bench.queue));
    bench.sim.run_for(1s);
    EXPECT_EQ(bench.queue.waiting(), 1u);
    others.abandon();
  }
  bench.request("b");
  bench.sim.run_for(20s);
  EXPECT_EQ(bench.served, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(bench.queue.waiting(), 0u);
}

}  // namespace
}  // namespace neap::apiserver
