#include <gtest/gtest.h>

#include "neap/base/json.h"
#include "neap/base/quantity.h"
#include "neap/base/saturate.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"

namespace neap {
namespace {

// The smallest executor: a queue and timers on a hand-moved clock.
class QueueExecutor final : public Executor {
 public:
  void post(Job job) override { queue_.push_back(std::move(job)); }
  MonoTime now() const override { return now_; }
  TimerId post_at(MonoTime when, Job job) override {
    const auto id = ++last_;
    timers_.emplace(std::pair{when, id}, std::move(job));
    return TimerId{id};
  }
  void cancel_timer(TimerId id) override {
    std::erase_if(timers_, [&](const auto& t) { return t.first.second == std::uint64_t(id); });
  }
  void run_all() {
    for (;;) {
      if (!queue_.empty()) {
        auto job = std::move(queue_.front());
        queue_.pop_front();
        job();
      } else if (!timers_.empty()) {
        auto node = timers_.extract(timers_.begin());
        now_ = std::max(now_, node.key().first);
        node.mapped()();
      } else {
        return;
      }
    }
  }

 private:
  MonoTime now_{};
  std::uint64_t last_ = 0;
  std::deque<Job> queue_;
  std::map<std::pair<MonoTime, std::uint64_t>, Job> timers_;
};

Task<int> add_one(int value) { co_return value + 1; }

TEST(Task, returns_the_value_of_the_awaited_task) {
  QueueExecutor executor;
  TaskGroup group(executor);
  int seen = 0;
  group.spawn([](int& out) -> Task<void> { out = co_await add_one(41); }(seen));
  executor.run_all();
  EXPECT_EQ(seen, 42);
}

TEST(TaskGroup, stop_cancels_a_sleeping_task_and_waits_for_it) {
  QueueExecutor executor;
  TaskGroup group(executor);
  std::string end;
  group.spawn([](Executor& e, CallContext ctx, std::string& out) -> Task<void> {
    auto status = co_await sleep_for(e, ctx, 1h);
    out = status ? "slept" : status.error().reason;
  }(executor, group.context(), end));
  TaskGroup stopper(executor);
  bool stopped = false;
  stopper.spawn([](TaskGroup& g, bool& out) -> Task<void> {
    co_await g.stop();
    out = true;
  }(group, stopped));
  executor.run_all();
  EXPECT_TRUE(stopped);
  EXPECT_EQ(end, "call.cancelled");
  EXPECT_LT(executor.now().time_since_epoch(), Duration(1h));
  EXPECT_FALSE(group.spawn([]() -> Task<void> { co_return; }()));
}

TEST(Event, wait_ends_at_the_deadline_when_nobody_sets_it) {
  QueueExecutor executor;
  Event event(executor);
  TaskGroup group(executor);
  Code code{};
  group.spawn([](Executor& e, Event& ev, Code& out) -> Task<void> {
    auto status = co_await ev.wait(CallContext{}.with_deadline(e.now() + 5s));
    if (!status) out = status.error().code;
  }(executor, event, code));
  executor.run_all();
  EXPECT_EQ(code, Code::kDeadlineExceeded);
  EXPECT_EQ(executor.now().time_since_epoch(), Duration(5s));
}

TEST(BoundedQueue, refuses_when_full_and_drains_after_close) {
  QueueExecutor executor;
  BoundedQueue<int> queue(executor, 2);
  EXPECT_TRUE(queue.try_push(1));
  EXPECT_TRUE(queue.try_push(2));
  EXPECT_FALSE(queue.try_push(3));
  queue.close();
  std::vector<int> seen;
  TaskGroup group(executor);
  group.spawn([](BoundedQueue<int>& q, std::vector<int>& out) -> Task<void> {
    for (;;) {
      auto item = co_await q.pop({});
      if (!item || !*item) co_return;
      out.push_back(**item);
    }
  }(queue, seen));
  executor.run_all();
  EXPECT_EQ(seen, (std::vector{1, 2}));
}

TEST(Json, numbers_come_back_as_they_were_however_long) {
  for (const auto* text : {"9223372036666666666666666666666666854775807", "0.1", "1.7976931348623157e308",
                           "5e-324", "123456789012345678901234567890.125", "-0.30000000000000004"}) {
    const auto value = parse_json(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(value->as_double(), std::strtod(text, nullptr)) << text;
    EXPECT_EQ(*parse_json(to_text(*value)), *value) << text;
  }
}

TEST(Json, refuses_numbers_without_end_and_says_where) {
  const auto parsed = parse_json("[1,\n -1e400]");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().reason, "json.number");
  EXPECT_NE(parsed.error().message.find("line 2"), std::string::npos) << parsed.error().message;
}

TEST(Json, refuses_duplicate_keys_and_says_where) {
  const auto parsed = parse_json("{\"a\": 1,\n \"a\": 2}");
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().reason, "json.key.duplicate");
  EXPECT_NE(parsed.error().message.find("line 2"), std::string::npos) << parsed.error().message;
}

TEST(Json, refuses_depth_size_and_trailing_text) {
  EXPECT_FALSE(parse_json(std::string(100, '[') + std::string(100, ']')).has_value());
  EXPECT_FALSE(parse_json("[1,2,3]", JsonLimits{.bytes_max = 3, .depth_max = 8}).has_value());
  EXPECT_FALSE(parse_json("{} x").has_value());
  EXPECT_FALSE(parse_json("").has_value());
  EXPECT_EQ(to_text(*parse_json(" {\"b\":[1,-2,3.5,\"x\",null,true]} ")),
            "{\"b\":[1,-2,3.5E0,\"x\",null,true]}");
}

TEST(Quantity, follows_the_kubernetes_grammar) {
  struct Case {
    std::string_view text;
    std::int64_t scale, want;
  };
  for (const auto& c : std::initializer_list<Case>{{"2Gi", 1, 2ll << 30},
                                                   {"500m", 1000, 500},
                                                   {"1.5", 1000, 1500},
                                                   {"1e3", 1, 1000},
                                                   {"0.1", 1, 1},
                                                   {"100M", 1, 100'000'000},
                                                   {"1n", 1000, 1},
                                                   {"8E", 1, 8'000'000'000'000'000'000}})
    EXPECT_EQ(parse_quantity(c.text, c.scale).value_or(-1), c.want) << c.text;
  for (const auto text : {"", "-1", "abc", "1Xi", "16E", "1e99", "1.2.3", "9999999999999999999999999999"})
    EXPECT_FALSE(parse_quantity(text, 1).has_value()) << text;
}

TEST(Saturate, sums_and_products_stay_at_the_end_of_the_range) {
  constexpr auto kLeast = std::numeric_limits<std::int64_t>::min(),
                 kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(add_saturated(kMost, 1), kMost);
  EXPECT_EQ(add_saturated(kLeast, -1), kLeast);
  EXPECT_EQ(add_saturated(3, -5), -2);
  EXPECT_EQ(subtract_saturated(kLeast, 1), kLeast);
  EXPECT_EQ(subtract_saturated(kMost, -1), kMost);
  EXPECT_EQ(multiply_saturated(std::int64_t(1) << 60, 100'000), kMost);
  EXPECT_EQ(multiply_saturated(kLeast, 2), kLeast);
  EXPECT_EQ(multiply_saturated(-3, -4), 12);
  EXPECT_EQ(whole_within(1e300, 0, kMost), kMost);
  EXPECT_EQ(whole_within(-1e300, kLeast, kMost), kLeast);
  EXPECT_EQ(whole_within(std::nan(""), 7, 9), 7);
  EXPECT_EQ(whole_within(8.9, 7, 9), 8);
}

TEST(Time, rfc3339_and_durations_round_trip) {
  EXPECT_EQ(format_rfc3339(*parse_rfc3339("2026-11-22T20:50:54.123456Z"), 6), "2026-11-22T20:50:54.123456Z");
  EXPECT_EQ(format_rfc3339(*parse_rfc3339("2026-11-22T22:50:54+02:00")), "2026-11-22T20:50:54Z");
  EXPECT_FALSE(parse_rfc3339("2026-13-01T00:00:00Z").has_value());
  for (const auto* far : {"0001-01-01T00:00:00Z", "1899-12-31T23:59:59Z", "9999-12-31T23:59:59Z"}) {
    ASSERT_FALSE(parse_rfc3339(far)) << far;
    EXPECT_EQ(parse_rfc3339(far).error().reason, "time.range");
  }
  EXPECT_GT(*parse_rfc3339("2189-12-31T23:59:59Z") - *parse_rfc3339("1900-01-01T00:00:00Z"), Duration{0});
  EXPECT_EQ(*parse_duration("1h30m"), Duration(90min));
  EXPECT_EQ(*parse_duration("20ms"), Duration(20ms));
  EXPECT_FALSE(parse_duration("20").has_value());
  EXPECT_EQ(format_duration(90min), "1h30m");
}

}  // namespace
}  // namespace neap
