#include "neap/scheduler/job_order.h"

#include <gtest/gtest.h>

#include "neap/scheduler/burst.h"
#include "neap/scheduler/interleave.h"

namespace neap::scheduler {
namespace {

TEST(ChooseKnown, serves_the_wide_short_gang_first_and_both_where_there_is_room) {
  const std::vector<QueuedJob> jobs{{.gpus = 8, .remaining_s = 9}, {.gpus = 1, .remaining_s = 80}};
  EXPECT_EQ(choose_known(jobs, 8), (std::vector<std::size_t>{0}));
  EXPECT_EQ(choose_known(jobs, 16).size(), 2u);
}

TEST(ChooseByRate, skips_what_does_not_fit_and_serves_equals_one_after_the_other) {
  const std::vector<QueuedJob> jobs{{.gpus = 16}, {.gpus = 8, .attained_s = 1}, {.gpus = 8, .attained_s = 5}};
  const std::vector<double> rates{9, 1, 1};
  EXPECT_EQ(choose_by_rate(jobs, rates, 8), (std::vector<std::size_t>{2}));
}

TEST(ServiceHistory, prefers_the_young_until_ended_jobs_say_otherwise) {
  ServiceHistory history;
  const std::vector<QueuedJob> jobs{{.gpus = 1, .attained_s = 0}, {.gpus = 1, .attained_s = 50'000}};
  const auto before = history.completion_rates(jobs);
  EXPECT_GT(before[0], before[1]);
  // All that ended took about a day: who is near it is worth more than who begins.
  for (int job = 0; job < 500; ++job) history.ended(1, 70'000);
  const auto after = history.completion_rates(jobs);
  EXPECT_GT(after[1], after[0]);
}

TEST(ServiceHistory, learns_by_gang_size) {
  ServiceHistory history;
  for (int job = 0; job < 200; ++job) {
    history.ended(1, 100);
    history.ended(8, 1'000'000);
  }
  const std::vector<QueuedJob> jobs{{.gpus = 1}, {.gpus = 8}};
  const auto rates = history.completion_rates(jobs);
  EXPECT_GT(rates[0], 10 * rates[1]);
}

TEST(Interleaving, gives_complements_more_than_their_turns_and_counts_a_lone_job_as_one) {
  Interleaving interleaving({{500, {450, 8, 0}}, {430, {0.6, 410, 0}}});
  EXPECT_EQ(interleaving.speeds(std::vector{0}), std::vector{1.0});
  const auto speeds = interleaving.speeds(std::vector{0, 1});
  EXPECT_GT(speeds[0] + speeds[1], 1.4);
  for (const double speed : speeds) EXPECT_LE(speed, 1.0);
  const auto twins = interleaving.speeds(std::vector{1, 1});
  EXPECT_LT(twins[0] + twins[1], 1.0);
  for (const auto& blend : *interleaving.blends({0, 1}))
    EXPECT_NE(blend.kinds, (std::vector<std::size_t>{1, 1}));
}

TEST(GroupByRate, shares_only_when_places_are_short) {
  Interleaving interleaving({{500, {450, 8, 0}}, {430, {0.6, 410, 0}}});
  const std::vector<QueuedJob> jobs{{.gpus = 8, .profile = 0}, {.gpus = 8, .profile = 1}};
  const std::vector<double> rates{1, 1};
  EXPECT_EQ(group_by_rate(jobs, rates, 16, interleaving).size(), 2u);
  const auto shared = group_by_rate(jobs, rates, 8, interleaving);
  ASSERT_EQ(shared.size(), 1u);
  EXPECT_EQ(shared[0].size(), 2u);
}

TEST(DelaysSaved, counts_who_waits_behind_and_half_of_those_who_may_turn_out_longer) {
  const std::vector<QueuedJob> jobs{{.gpus = 8, .remaining_s = 10, .attained_s = 9000},
                                    {.gpus = 1, .remaining_s = 1000, .attained_s = 0},
                                    {.gpus = 1, .remaining_s = 20, .attained_s = 500}};
  // Areas 80, 1000, 20: the last job delays all three.
  EXPECT_EQ(delays_saved_known(jobs), (std::vector<double>{8 * 2, 1, 3}));
  // Service had 8 x 9600, 600, 1100 (ten minutes are nothing): the second job is the newest.
  EXPECT_EQ(delays_saved_blind(jobs), (std::vector<double>{8 * (1 + 1.0), 3, 2 + 0.5}));
  EXPECT_EQ(sharing_review_after_s(0), 600);
  EXPECT_EQ(sharing_review_after_s(7200), 7200);
  EXPECT_TRUE(delays_saved_blind({}).empty());
}

TEST(ChooseBursts, sends_whom_the_forecast_keeps_too_long_and_nobody_else) {
  NodePool pool(1, 8);
  std::vector<PrivateRun> runs{{*pool.take(8), 5}};
  // 8 x 10 GPU-hours are worth 6.08 h, 8 x 2 are worth 1.2 h.
  const std::vector<WaitingGang> queue{{.gpus = 8, .run_h = 10}, {.gpus = 8, .run_h = 2}};
  EXPECT_EQ(choose_bursts(pool, runs, queue, {}), (std::vector<std::size_t>{1}));
  const auto starts = forecast_starts_h(pool, runs, queue);
  EXPECT_EQ(starts, (std::vector<double>{5, 15}));
  EXPECT_EQ(choose_bursts(pool, runs, queue, {.wait_h_per_gpu_hour = 0}).size(), 2u);
}

TEST(OrderHomecoming, brings_most_remaining_work_first_and_leaves_the_young_and_the_nearly_done) {
  const std::vector<CloudRun> runs{{8, 0.5, 9}, {1, 50, 2}, {8, 10, 2}, {8, 99, 0.2}};
  EXPECT_EQ(order_homecoming(runs, {}, {}), (std::vector<std::size_t>{2, 1}));
}

TEST(OrderHomecoming, asks_for_more_the_more_time_moves_have_cost) {
  const std::vector<CloudRun> runs{{8, 100, 2}, {8, 5, 2}, {1, 15, 2}};  // 800, 40, 15 GPU-hours
  EXPECT_DOUBLE_EQ(home_saved_min({}, {.lost_h = 0, .run_h = 1000}), 20);
  EXPECT_EQ(order_homecoming(runs, {}, {.lost_h = 0, .run_h = 1000}), (std::vector<std::size_t>{0, 1}));
  // The whole share of 0.1 % is used: five times as much.
  EXPECT_NEAR(home_saved_min({}, {.lost_h = 1, .run_h = 1000}), 100, 1e-9);
  EXPECT_EQ(order_homecoming(runs, {}, {.lost_h = 1, .run_h = 1000}), (std::vector<std::size_t>{0}));
  EXPECT_TRUE(order_homecoming(runs, {}, {.lost_h = 3, .run_h = 1000}).empty());
}

TEST(NodePool, a_small_gang_spares_free_nodes_that_are_few_unless_its_like_fill_half_of_one) {
  NodePool pool(4, 8);
  const auto first = pool.take_sparing(1, 1);
  ASSERT_TRUE(first);  // four free nodes are many
  while (pool.take(8)) {
  }
  EXPECT_EQ(pool.take_sparing(2, 2)->nodes, first->nodes);  // beside the first
  NodePool scarce(4, 8);
  for (int node = 0; node < 3; ++node) (void)scarce.take(8);
  EXPECT_FALSE(scarce.take_sparing(2, 2));
  EXPECT_TRUE(scarce.take_sparing(2, 4));
  EXPECT_FALSE(scarce.take(8));
}

}  // namespace
}  // namespace neap::scheduler
