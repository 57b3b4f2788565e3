#include "neap/scheduler/backfill.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using ::testing::HasSubstr;

Snapshot machines(int count, int cores, int devices = 0) {
  Snapshot out;
  out.sites = {{"hq", Tier::kPrivate, "DE", {}, {}, 1}};
  for (int i = 0; i < count; ++i)
    out.nodes.push_back(make_node("n" + std::to_string(i), "hq", cores, 64, devices));
  return out;
}
Request gang(std::string id, int replicas, int cores, std::optional<Duration> takes,
             int milli_accelerators = 0) {
  auto out = make_request(std::move(id), cores, 1, milli_accelerators);
  out.replicas = replicas;
  out.duration_estimate = takes;
  return out;
}
// Takes what the request asks from the node, and says when it comes back.
Release hold(Snapshot& world, std::size_t node, int cores, std::optional<Duration> left) {
  world.nodes[node].cores_free.value -= cores * 1000;
  Release out{.node = world.nodes[node].name, .cores = {cores * 1000}, .memory = {}, .accelerators = {}};
  if (left) out.ends = make_options().now + *left;
  return out;
}
WallTime in(Duration time) { return make_options().now + time; }

TEST(Backfill, keeps_the_earliest_place_for_the_first_and_lets_pass_what_does_not_delay_it) {
  auto world = machines(2, 8);
  std::vector<Release> releases{hold(world, 0, 6, hours(1)), hold(world, 1, 6, hours(3))};
  BackfillBoard board(world, releases, make_options());
  const auto wide = gang("wide", 2, 7, hours(5));
  EXPECT_FALSE(board.place(wide).is_placed);
  const auto reserved = board.reserve(wide);
  ASSERT_TRUE(reserved);
  EXPECT_EQ(reserved->from, in(hours(3)));
  EXPECT_EQ(reserved->until, in(hours(8)));
  EXPECT_TRUE(board.place(gang("ends-before", 1, 2, hours(3))).is_placed);
  const auto late = board.place(gang("ends-after", 1, 2, hours(4)));
  EXPECT_FALSE(late.is_placed);
  ASSERT_TRUE(late.pending);
  EXPECT_EQ(late.pending->guard, Guard::kReserved);
  EXPECT_THAT(late.pending->sentence,
              HasSubstr("would delay wide, for which a place is kept from 2026-11-22T15:00"));
  EXPECT_TRUE(board.place(gang("leaves-room", 1, 1, std::nullopt)).is_placed);
  EXPECT_FALSE(board.place(gang("no-estimate", 1, 2, std::nullopt)).is_placed);
}

TEST(Backfill, a_place_that_depends_on_work_without_an_end_is_kept_free_of_everything_new) {
  auto world = machines(2, 8);
  std::vector<Release> releases{hold(world, 0, 6, std::nullopt)};
  BackfillBoard board(world, releases, make_options());
  const auto wide = gang("wide", 2, 8, hours(1));
  const auto reserved = board.reserve(wide);
  ASSERT_TRUE(reserved);
  EXPECT_FALSE(reserved->from);
  const auto brief = board.place(gang("brief", 1, 1, minutes(1)));
  EXPECT_FALSE(brief.is_placed) << "the end of what nobody knows may be now";
  EXPECT_THAT(brief.pending->sentence, HasSubstr("states no duration"));
}

TEST(Backfill, reserves_nothing_for_what_never_fits) {
  auto world = machines(2, 8);
  std::vector<Release> releases{hold(world, 0, 6, hours(1))};
  BackfillBoard board(world, releases, make_options());
  EXPECT_FALSE(board.reserve(gang("huge", 3, 8, hours(1))));
  EXPECT_TRUE(board.place(gang("any", 1, 8, hours(99))).is_placed);
}

TEST(Backfill, a_second_reservation_keeps_clear_of_the_first) {
  auto world = machines(1, 8);
  std::vector<Release> releases{hold(world, 0, 6, hours(1))};
  BackfillBoard board(world, releases, make_options());
  EXPECT_EQ(board.reserve(gang("first", 1, 6, hours(2)))->from, in(hours(1)));
  EXPECT_EQ(board.reserve(gang("second", 1, 4, hours(2)))->from, in(hours(3)));
  EXPECT_EQ(board.reserve(gang("beside", 1, 3, hours(9)))->from, in(hours(3))) << "beside the second";
  EXPECT_TRUE(board.place(gang("short", 1, 2, hours(3))).is_placed);
}

TEST(Backfill, counts_devices_one_by_one) {
  auto world = machines(1, 64, 4);
  world.nodes[0].devices_free = {0, 0, 1000, 1000};
  const std::vector<Release> releases{{.node = "n0",
                                       .cores = {},
                                       .memory = {},
                                       .accelerators = {2000},
                                       .devices = {0, 1},
                                       .ends = in(hours(1))}};
  BackfillBoard board(world, releases, make_options());
  EXPECT_EQ(board.reserve(gang("three", 1, 1, hours(4), 3000))->from, in(hours(1)));
  EXPECT_TRUE(board.place(gang("one", 1, 1, hours(9), 1000)).is_placed);
  EXPECT_FALSE(board.place(gang("two-more", 1, 1, hours(9), 1000)).is_placed);
  EXPECT_TRUE(board.place(gang("brief", 1, 1, hours(1), 1000)).is_placed);
}

TEST(Backfill, what_runs_longer_than_stated_is_expected_to_be_late_once_more) {
  const auto now = in({});
  EXPECT_EQ(expected_end(in(-hours(1)), hours(3), now), in(hours(2)));
  EXPECT_EQ(expected_end(in(-hours(3)), hours(2), now), in(hours(1)));
  EXPECT_EQ(expected_end(in(-hours(2)), hours(2), now), in(minutes(1)));
}

struct Trial {
  double busy = 0, makespan = 0;
  int passed = 0, reserved = 0;
};

// Jobs in the order they come; the first that does not fit gets a place, the others pass or do not.
Trial play(unsigned seed, bool backfills) {
  std::mt19937 random(seed);
  struct Job {
    Request request;
    WallTime comes, promised = WallTime::max();
  };
  struct Run {
    std::vector<Release> parts;
    WallTime ends;
  };
  constexpr int kNodes = 4, kCores = 8;
  const auto world = machines(kNodes, kCores, 2);
  std::vector<Job> waiting;
  for (int i = 0; i < 40; ++i) {
    const bool is_wide = random() % 4 == 0;
    auto request = gang("j" + std::to_string(i), is_wide ? 1 + int(random() % kNodes) : 1,
                        1 + int(random() % (is_wide ? 8 : 4)), minutes(5 * (1 + random() % 24)),
                        random() % 3 == 0 ? 1000 : 0);
    waiting.push_back({std::move(request), in(minutes(5 * (random() % 40)))});
  }
  std::ranges::sort(waiting, {}, [](const Job& job) { return std::pair(job.comes, job.request.id); });
  std::vector<Run> running;
  Trial out;
  for (auto now = in({}); !waiting.empty(); now += minutes(5)) {
    std::erase_if(running, [&](const Run& run) { return run.ends <= now; });
    auto free = world;
    std::vector<Release> releases;
    for (const auto& run : running)
      for (const auto& part : run.parts) {
        auto& node = *std::ranges::find(free.nodes, part.node, &Node::name);
        node.cores_free -= part.cores;
        node.memory_free -= part.memory;
        for (const auto device : part.devices) node.devices_free[device] -= 1000;
        releases.push_back(part);
      }
    auto options = make_options();
    options.now = now;
    options.suggestions_max = 0;
    BackfillBoard board(free, releases, options);
    bool is_first = true;
    for (auto job = waiting.begin(); job != waiting.end() && job->comes <= now;) {
      const auto& request = job->request;
      const auto decision = board.place(request);
      if (decision.is_placed) {
        EXPECT_LE(now, job->promised) << "seed " << seed << ": " << request.id << " starts late";
        out.passed += int(!is_first);
        Run run{.parts = {}, .ends = now + *request.duration_estimate};
        for (const auto& placement : decision.placements)
          run.parts.push_back({.node = placement.node,
                               .cores = request.each.cores,
                               .memory = request.each.memory,
                               .accelerators = request.each.accelerators,
                               .devices = placement.devices,
                               .ends = run.ends});
        out.busy += double(request.replicas) * double(request.each.cores.value) *
                    std::chrono::duration<double>(*request.duration_estimate).count();
        out.makespan = std::max(out.makespan, std::chrono::duration<double>(run.ends - in({})).count());
        running.push_back(std::move(run));
        job = waiting.erase(job);
        continue;
      }
      if (!backfills) break;
      if (is_first) {
        const auto reserved = board.reserve(request);
        EXPECT_TRUE(reserved && reserved->from) << "seed " << seed;
        if (!reserved || !reserved->from) return out;
        EXPECT_GT(*reserved->from, now);
        job->promised = std::min(job->promised, *reserved->from);
        ++out.reserved;
      }
      is_first = false;
      ++job;
    }
  }
  return out;
}

TEST(BackfillProperties, no_reserved_job_starts_later_than_promised_and_machines_are_busier_than_without) {
  double with = 0, without = 0;
  int passed = 0, reserved = 0;
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const auto filled = play(seed, true), plain = play(seed, false);
    EXPECT_DOUBLE_EQ(filled.busy, plain.busy) << "the same work";
    EXPECT_LE(filled.makespan, plain.makespan * 1.05) << "seed " << seed;
    with += filled.busy / filled.makespan;
    without += plain.busy / plain.makespan;
    passed += filled.passed;
    reserved += filled.reserved;
  }
  EXPECT_GT(with, without);
  EXPECT_GT(passed, 50);
  EXPECT_GT(reserved, 50);
  RecordProperty("utilisation_gain_percent", std::to_string((with / without - 1) * 100));
}

}  // namespace
}  // namespace neap::scheduler
