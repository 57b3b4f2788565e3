#include "neap/scheduler/fair_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace neap::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kOne = 1000;

WallTime minute(int m) { return WallTime{} + std::chrono::hours(1000) + std::chrono::minutes(m); }
Amounts gpus(std::int64_t count) { return {0, 0, count * kOne}; }
ShareQueue queue(std::string name, std::string parent, std::int64_t quota, std::int64_t weight = 1) {
  ShareQueue out;
  out.name = std::move(name);
  out.parent = std::move(parent);
  if (quota >= 0) out.quota = {kUnstated, kUnstated, quota * kOne};
  out.weight = weight;
  return out;
}
PendingWork job(std::string id, std::string in, std::int64_t count, int at = 0, int priority = 0) {
  return {.id = std::move(id),
          .queue = std::move(in),
          .amounts = gpus(count),
          .priority = priority,
          .since = minute(at)};
}
RunningWork run(std::string id, std::string in, std::int64_t count, int priority = 0, double lost = 0) {
  return {.id = std::move(id),
          .queue = std::move(in),
          .amounts = gpus(count),
          .priority = priority,
          .lost = lost};
}
ShareTree two_teams(std::int64_t each = 8) {
  return {
      {}, gpus(2 * each), {queue("all", "", kUnstated), queue("a", "all", each), queue("b", "all", each)}};
}
std::vector<std::string> turns(ShareTree& tree, const std::vector<PendingWork>& pending, int now = 0) {
  AdmissionOrder order(tree, pending, minute(now));
  std::vector<std::string> out;
  while (const auto i = order.next()) {
    const auto& work = pending[*i];
    if (!may_start(tree.judge(work.queue, work.amounts).admission)) continue;
    order.admit(*i);
    out.push_back(work.id);
  }
  return out;
}

TEST(ShareTree, amounts_beyond_64_bits_are_refused_not_wrapped) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  ShareTree tree({}, gpus(100), {queue("all", "", 8), queue("a", "all", 4), queue("b", "all", 4)});
  tree.charge("b", gpus(2));
  EXPECT_EQ(tree.judge("a", {kMost, kMost, kMost}).admission, Admission::kNever);
  tree.charge("b", {0, 0, kMost});
  tree.charge("b", {0, 0, kMost});
  EXPECT_FALSE(may_start(tree.judge("a", gpus(1)).admission));
}

TEST(AdmissionOrder, an_ageing_of_a_century_never_comes) {
  auto slow = queue("q", "", 4);
  slow.ageing = std::chrono::hours(876'000);
  ShareTree tree({}, gpus(4), {slow});
  EXPECT_THAT(turns(tree, {job("old", "q", 1, 0), job("urgent", "q", 1, 5, 1)}, 60),
              ElementsAre("urgent", "old"));
}

TEST(ShareTree, a_queue_without_a_parent_has_its_quota_and_no_more) {
  ShareTree tree({}, gpus(100), {queue("alone", "", 4), queue("free", "", kUnstated)});
  EXPECT_EQ(tree.judge("alone", gpus(4)).admission, Admission::kWithinQuota);
  tree.charge("alone", gpus(3));
  const auto full = tree.judge("alone", gpus(2));
  EXPECT_EQ(full.admission, Admission::kWaits);
  EXPECT_THAT(full.sentence,
              HasSubstr("queue alone: asks 2 accelerators; it holds 3 accelerators of its quota of 4 "
                        "accelerators, and 1 accelerators can be had now"));
  EXPECT_EQ(tree.judge("alone", gpus(5)).admission, Admission::kNever);
  EXPECT_EQ(tree.judge("free", gpus(5000)).admission, Admission::kWithinQuota);
  EXPECT_EQ(tree.judge("alone", {900'000, 1ll << 40, 0}).admission, Admission::kWithinQuota) << "not stated";
}

TEST(ShareTree, lends_what_is_not_used_within_both_limits) {
  auto borrower = queue("a", "all", 8);
  borrower.borrowing_max = {kNoLimit, kNoLimit, 5 * kOne};
  auto lender = queue("b", "all", 8);
  lender.lending_max = {kNoLimit, kNoLimit, 3 * kOne};
  ShareTree tree({}, gpus(16), {queue("all", "", kUnstated), borrower, lender});
  EXPECT_EQ(tree.reachable("a")[kAcceleratorsAxis], 11 * kOne) << "the lender keeps five";
  EXPECT_EQ(tree.judge("a", gpus(11)).admission, Admission::kBorrows);
  EXPECT_EQ(tree.judge("a", gpus(12)).admission, Admission::kNever);
  tree.charge("a", gpus(11));
  EXPECT_EQ(tree.borrowed("a")[kAcceleratorsAxis], 3 * kOne);
  EXPECT_EQ(tree.judge("b", gpus(5)).admission, Admission::kWithinQuota) << "it never lent these";
  EXPECT_EQ(tree.judge("b", gpus(6)).admission, Admission::kReclaims);
  EXPECT_THAT(tree.judge("b", gpus(6)).sentence, HasSubstr("lent to queue a"));
}

TEST(ShareTree, work_that_cannot_be_ended_never_borrows) {
  auto tree = two_teams();
  EXPECT_EQ(tree.judge("a", gpus(8), false).admission, Admission::kWithinQuota);
  const auto borrowing = tree.judge("a", gpus(9), false);
  EXPECT_EQ(borrowing.admission, Admission::kWaits);
  EXPECT_THAT(borrowing.sentence, HasSubstr("could not give that back"));
}

TEST(ShareTree, says_what_is_wrong_with_a_queue) {
  ShareTree tree({}, gpus(1),
                 {queue("orphan", "nobody", 1), queue("x", "y", 1), queue("y", "x", 1), queue("z", "y", 1),
                  queue("self", "self", 1), queue("top", "", 1), queue("leaf", "top", 1),
                  queue("under-orphan", "orphan", 1)});
  EXPECT_THAT(tree.problem("orphan"), HasSubstr("its parent nobody does not exist"));
  EXPECT_THAT(tree.problem("under-orphan"), HasSubstr("names a parent that does not exist"));
  for (const auto* name : {"x", "y", "z", "self"})
    EXPECT_THAT(tree.problem(name), HasSubstr("above itself")) << name;
  EXPECT_THAT(tree.problem("top"), HasSubstr("name one of them, like leaf"));
  EXPECT_THAT(tree.problem("absent"), HasSubstr("queue absent does not exist"));
  EXPECT_EQ(tree.problem("leaf"), "");
  EXPECT_EQ(tree.judge("x", gpus(0)).admission, Admission::kInvalid);
}

TEST(ShareTree, a_model_has_a_quota_of_its_own) {
  ShareQueue q;
  q.name = "q";
  q.quota = {kUnstated, kUnstated, kUnstated, 2 * kOne};
  ShareTree tree({"H200"}, {0, 0, 8 * kOne, 2 * kOne}, {q});
  EXPECT_EQ(tree.judge("q", tree.amounts_of(0, 0, "H200", 3 * kOne)).admission, Admission::kNever);
  EXPECT_EQ(tree.judge("q", tree.amounts_of(0, 0, "L4", 3 * kOne)).admission, Admission::kWithinQuota);
}

TEST(AdmissionOrder, rights_come_before_loans_and_small_shares_before_large_ones) {
  auto tree = two_teams(2);
  tree.charge("a", gpus(1));
  EXPECT_THAT(turns(tree, {job("a1", "a", 1), job("a2", "a", 1), job("b1", "b", 1, 1), job("b2", "b", 1, 1)}),
              ElementsAre("b1", "a1", "b2"));
}

TEST(AdmissionOrder, within_a_queue_priority_then_waiting_then_age) {
  ShareTree tree({}, gpus(9), {queue("q", "", kUnstated)});
  // Three hours of waiting are worth three; equal sums go to the older.
  EXPECT_THAT(turns(tree,
                    {job("young", "q", 1, 180, 2), job("urgent", "q", 1, 180, 5), job("old", "q", 1, 0, 0),
                     job("older-of-equals", "q", 1, 60, 1)},
                    180),
              ElementsAre("urgent", "old", "older-of-equals", "young"));
  auto rules = queue("q", "", kUnstated);
  rules.is_fifo = true;
  ShareTree fifo({}, gpus(9), {rules});
  EXPECT_THAT(turns(fifo, {job("late", "q", 1, 5, 9), job("early", "q", 1, 0, 0)}, 5),
              ElementsAre("early", "late"));
}

TEST(AdmissionOrder, who_waited_too_long_comes_before_priorities_and_shares_but_not_before_rights) {
  auto tree = two_teams(2);
  tree.charge("a", gpus(1));
  const std::vector<PendingWork> pending{job("starving", "a", 1, 0, -5), job("urgent", "a", 1, 250, 9),
                                         job("b1", "b", 1, 250)};
  EXPECT_THAT(turns(tree, pending, 250).front(), "starving");
  auto borrowing = two_teams(2);
  borrowing.charge("a", gpus(2));
  EXPECT_THAT(turns(borrowing, pending, 250).front(), "b1");
}

TEST(AdmissionOrder, does_not_depend_on_the_order_of_what_it_is_given) {
  std::mt19937 random(5);
  std::vector<PendingWork> pending;
  for (int i = 0; i < 60; ++i)
    pending.push_back(job("j" + std::to_string(i), i % 3 ? "a" : "b", 1 + i % 4, i % 7, i % 5));
  std::vector<std::string> first;
  for (int round = 0; round < 10; ++round) {
    auto tree = two_teams(20);
    const auto now = turns(tree, pending, 30);
    if (first.empty()) first = now;
    EXPECT_EQ(now, first);
    std::ranges::shuffle(pending, random);
  }
  EXPECT_GT(first.size(), 10u);
}

TEST(Reclaim, ends_lowest_priority_first_then_least_lost_and_only_what_was_borrowed) {
  auto tree = two_teams();
  const std::vector<RunningWork> running{run("kept", "a", 8, 5), run("cheap", "a", 2, 0, 1),
                                         run("dear", "a", 2, 0, 99), run("middle", "a", 4, 1)};
  for (const auto& work : running) tree.charge(work.queue, work.amounts);
  EXPECT_EQ(tree.judge("b", gpus(8)).admission, Admission::kReclaims);
  EXPECT_THAT(*tree.plan_reclaim("b", gpus(2), running), ElementsAre(1));
  EXPECT_THAT(*tree.plan_reclaim("b", gpus(4), running), ElementsAre(1, 2));
  EXPECT_THAT(*tree.plan_reclaim("b", gpus(8), running), ElementsAre(1, 2, 3));
  EXPECT_FALSE(tree.plan_reclaim("b", gpus(9), running)) << "above its quota nothing is its right";
}

TEST(Reclaim, takes_no_more_than_it_needs) {
  auto tree = two_teams();
  const std::vector<RunningWork> running{run("small", "a", 1, 0), run("gang", "a", 12, 1)};
  for (const auto& work : running) tree.charge(work.queue, work.amounts);
  EXPECT_THAT(*tree.plan_reclaim("b", gpus(8), running), ElementsAre(1)) << "the gang alone is enough";
}

TEST(Reclaim, leaves_work_that_must_not_end_and_other_trees_alone) {
  ShareTree tree({}, gpus(32),
                 {queue("all", "", 16), queue("a", "all", 8), queue("b", "all", 8), queue("c", "", 16)});
  auto fixed = run("fixed", "a", 12);
  fixed.may_end = false;
  const std::vector<RunningWork> running{fixed, run("elsewhere", "c", 16)};
  for (const auto& work : running) tree.charge(work.queue, work.amounts);
  EXPECT_FALSE(tree.plan_reclaim("b", gpus(8), running));
  EXPECT_TRUE(tree.reclaim_order("b", gpus(8), running).empty());
}

TEST(Reclaim, goes_up_only_as_far_as_the_right_goes) {
  // Two departments of 8; in the first, a has borrowed its sister's quota and some of the other department's.
  ShareTree tree({}, gpus(16),
                 {queue("all", "", kUnstated), queue("x", "all", kUnstated), queue("y", "all", kUnstated),
                  queue("a", "x", 4), queue("b", "x", 4), queue("c", "y", 8)});
  const std::vector<RunningWork> running{run("r1", "a", 4, 1), run("r2", "a", 4, 2), run("r3", "a", 6, 3)};
  for (const auto& work : running) tree.charge(work.queue, work.amounts);
  EXPECT_EQ(tree.borrowed("x")[kAcceleratorsAxis], 6 * kOne);
  // c's right ends where x holds no more than its own 8, though a then still borrows from b.
  const auto order = tree.reclaim_order("c", gpus(8), running);
  EXPECT_THAT(order, ElementsAre(0, 1));
  EXPECT_THAT(*tree.plan_reclaim("b", gpus(4), running), ElementsAre(0));
}

// A random forest with consistent quotas and a random load put there by the rules.
struct World {
  explicit World(unsigned seed, bool limits) : random(seed) {
    std::vector<ShareQueue> queues{queue("root", "", kUnstated)};
    for (int d = 0; d < 1 + pick(3); ++d) {
      const auto department = "d" + std::to_string(d);
      queues.push_back(queue(department, "root", kUnstated, 1 + pick(4)));
      for (int t = 0; t < 1 + pick(4); ++t) {
        ShareQueue team;
        team.name = department + "t" + std::to_string(t);
        team.parent = department;
        team.weight = 1 + pick(4);
        team.quota = {pick(20) * kOne, kUnstated, pick(12) * kOne, pick(8) * kOne};
        if (limits && pick(3) == 0) team.borrowing_max = {kNoLimit, kNoLimit, pick(6) * kOne};
        if (limits && pick(3) == 0) team.lending_max = {kNoLimit, kNoLimit, pick(6) * kOne};
        leaves.push_back(team.name);
        queues.push_back(team);
      }
    }
    tree.emplace(std::vector<std::string>{"M"}, Amounts{100 * kOne, 1, 60 * kOne, 40 * kOne}, queues);
    rules = queues;
  }
  int pick(int n) { return int(random() % unsigned(n)); }
  Amounts ask() { return tree->amounts_of((1 + pick(5)) * kOne, 0, pick(2) ? "M" : "N", pick(4) * kOne); }
  const std::string& leaf() { return leaves[std::size_t(pick(int(leaves.size())))]; }
  // Use in the root's tree, counted apart from the tree's own books.
  Amounts total() const {
    Amounts out(tree->axes(), 0);
    for (const auto& work : running)
      for (std::size_t a = 0; a < out.size(); ++a) out[a] += work.amounts[a];
    return out;
  }
  Amounts sum_of_quotas() const {
    Amounts out(tree->axes(), 0);
    for (const auto& q : rules)
      for (std::size_t a = 0; a < q.quota.size() && a < out.size(); ++a)
        out[a] += std::max<std::int64_t>(0, q.quota[a]);
    return out;
  }
  void start(std::string in, Amounts amounts) {
    running.push_back({.id = "r" + std::to_string(counter++),
                       .queue = std::move(in),
                       .amounts = std::move(amounts),
                       .priority = pick(3),
                       .lost = double(pick(100))});
    tree->charge(running.back().queue, running.back().amounts);
  }
  void stop(std::size_t i) {
    tree->release(running[i].queue, running[i].amounts);
    running.erase(running.begin() + std::ptrdiff_t(i));
  }

  std::mt19937 random;
  std::vector<std::string> leaves;
  std::vector<ShareQueue> rules;
  std::optional<ShareTree> tree;
  std::vector<RunningWork> running;
  int counter = 0;
};

TEST(ShareProperties, use_never_passes_the_sum_of_quotas_and_what_was_lent_always_comes_back) {
  int reclaims = 0, borrows = 0;
  for (unsigned seed = 0; seed < 150; ++seed) {
    World world(seed, seed % 2 == 1);
    for (int step = 0; step < 120; ++step) {
      if (world.pick(4) == 0 && !world.running.empty())
        world.stop(std::size_t(world.pick(int(world.running.size()))));
      const auto in = world.leaf();
      const auto ask = world.ask();
      const auto verdict = world.tree->judge(in, ask);
      const bool is_right = [&] {
        const auto quota = world.tree->quota(in), used = world.tree->used(in);
        for (std::size_t a = 0; a < ask.size(); ++a)
          if (ask[a] > 0 && used[a] + ask[a] > quota[a]) return false;
        return true;
      }();
      if (is_right) {
        // Departments hold the sum of their teams' quotas, so a team's right is its department's, too.
        ASSERT_LE(verdict.admission, Admission::kReclaims) << "seed " << seed << ": " << verdict.sentence;
        const auto victims = world.tree->plan_reclaim(in, ask, world.running);
        ASSERT_TRUE(victims) << "seed " << seed << " step " << step;
        auto ended = *victims;
        for (const auto i : ended) {
          ASSERT_NE(world.running[i].queue, in);
          const auto of = world.running[i].queue;
          const auto over = world.tree->borrowed(of);
          ASSERT_TRUE(std::ranges::any_of(over, [](auto amount) { return amount > 0; }))
              << "seed " << seed << ": " << of << " borrows nothing";
        }
        std::ranges::sort(ended, std::greater<>{});
        reclaims += int(!ended.empty());
        for (const auto i : ended) world.stop(i);
        ASSERT_TRUE(may_start(world.tree->judge(in, ask).admission));
        world.start(in, ask);
      } else if (may_start(verdict.admission)) {
        borrows += int(verdict.admission == Admission::kBorrows);
        world.start(in, ask);
      }
      const auto total = world.total(), most = world.sum_of_quotas();
      for (const auto axis : {kCoresAxis, kAcceleratorsAxis, kModelAxes})
        ASSERT_LE(total[axis], most[axis]) << "seed " << seed;
      for (const auto& rules : world.rules) {
        if (rules.borrowing_max.empty()) continue;
        ASSERT_LE(world.tree->borrowed(rules.name)[kAcceleratorsAxis],
                  rules.borrowing_max[kAcceleratorsAxis]);
      }
    }
    while (!world.running.empty()) world.stop(0);
    for (const auto& name : world.leaves)
      for (const auto amount : world.tree->used(name)) ASSERT_EQ(amount, 0);
  }
  EXPECT_GT(reclaims, 500);
  EXPECT_GT(borrows, 500);
}

// Small finite jobs without end, from every queue: use beyond quotas goes by weight.
TEST(ShareProperties, weighted_max_min_holds_in_the_limit) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const std::vector<std::int64_t> weights{1, 2, 1 + std::int64_t(seed % 5)};
    constexpr int kCapacity = 240;
    ShareTree tree({}, gpus(kCapacity),
                   {queue("root", "", kCapacity), queue("a", "root", 0, weights[0]),
                    queue("b", "root", 0, weights[1]), queue("c", "root", 0, weights[2])});
    const std::vector<std::string> names{"a", "b", "c"};
    std::vector<RunningWork> running;
    std::vector<double> held(3, 0);
    for (int t = 0; t < 400; ++t) {
      std::erase_if(running, [&](const auto& work) {
        if (random() % 10 != 0) return false;
        tree.release(work.queue, work.amounts);
        return true;
      });
      // c asks for little: what it leaves goes to the others by their weights.
      std::vector<PendingWork> pending;
      for (std::size_t q = 0; q < 3; ++q)
        for (int i = 0; i < (q == 2 ? 2 : kCapacity); ++i)
          pending.push_back(job(names[q] + std::to_string(i), names[q], 1, t));
      AdmissionOrder order(tree, pending, minute(t));
      while (const auto i = order.next()) {
        if (!may_start(tree.judge(pending[*i].queue, pending[*i].amounts).admission)) break;
        order.admit(*i);
        running.push_back(run(pending[*i].id, pending[*i].queue, 1));
      }
      if (t >= 200)
        for (std::size_t q = 0; q < 3; ++q)
          held[q] += double(tree.used(names[q])[kAcceleratorsAxis]) / kOne / 200;
    }
    EXPECT_NEAR(held[1] / held[0], double(weights[1]) / double(weights[0]), 0.1) << "seed " << seed;
    EXPECT_NEAR(held[0] + held[1] + held[2], kCapacity, 1);
    EXPECT_LE(held[2], 24) << "about 2 a step for 10 steps";
  }
}

TEST(ShareProperties, a_wide_gang_starts_under_a_steady_stream_of_small_jobs) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    std::mt19937 random(seed);
    auto rules = queue("q", "", 16);
    rules.ageing = std::chrono::minutes(30);
    ShareTree tree({}, gpus(16), {rules});
    std::vector<PendingWork> pending{job("gang", "q", 16, 0, 0)};
    std::vector<std::pair<int, RunningWork>> running;
    int started = -1;
    for (int t = 0; t < 400 && started < 0; ++t) {
      std::erase_if(running, [&](const auto& entry) {
        if (entry.first > t) return false;
        tree.release(entry.second.queue, entry.second.amounts);
        return true;
      });
      for (int i = 0; i < 3; ++i)
        pending.push_back(
            job("s" + std::to_string(t) + "-" + std::to_string(i), "q", 1 + int(random() % 3), t, 2));
      AdmissionOrder order(tree, pending, minute(t));
      std::set<std::size_t, std::greater<>> gone;
      while (const auto i = order.next()) {
        const auto& work = pending[*i];
        // The first that does not fit keeps its queue closed: without estimates that is the whole rule.
        if (!may_start(tree.judge("q", work.amounts).admission)) {
          order.close("q");
          continue;
        }
        order.admit(*i);
        gone.insert(*i);
        if (work.id == "gang") started = t;
        running.emplace_back(t + 1 + int(random() % 10), run(work.id, "q", work.amounts[2] / kOne));
      }
      for (const auto i : gone) pending.erase(pending.begin() + std::ptrdiff_t(i));
    }
    ASSERT_GE(started, 0) << "seed " << seed;
    // After four times its ageing nothing comes before it; then at most ten minutes to drain.
    EXPECT_LE(started, kStarvingAgeings * 30 + 11) << "seed " << seed;
  }
}

}  // namespace
}  // namespace neap::scheduler
