#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "neap/scheduler/deadline_planner.h"

namespace neap::scheduler {
namespace {

using Tier = Capacity::Tier;

// Offers of zones that come and go; `patience` is the mean length of a spell in ticks.
std::vector<std::vector<ZoneOffer>> make_offers(std::mt19937& random, std::size_t zones, std::size_t ticks,
                                                int patience) {
  std::vector<ZoneOffer> now(zones);
  for (auto& offer : now) offer = {random() % 2 == 0, 0.5 + 0.01 * (random() % 100)};
  std::vector<std::vector<ZoneOffer>> offers;
  for (std::size_t tick = 0; tick < ticks; ++tick) {
    for (auto& offer : now)
      if (random() % static_cast<unsigned>(patience) == 0) offer.is_available = !offer.is_available;
    offers.push_back(now);
  }
  return offers;
}

// Finishing time in ticks; -1: not within the offers.
template <typename Decide>
std::int64_t run(const DeadlineJob& job, const std::vector<std::vector<ZoneOffer>>& offers, Decide decide,
                 std::vector<Capacity>* choices = nullptr) {
  DeadlineProgress now;
  for (std::size_t tick = 0; tick < offers.size(); ++tick) {
    now.elapsed_s = static_cast<std::int64_t>(tick) * job.tick_s;
    if (now.held.tier != Tier::kNone) {
      now.done_s += std::max<std::int64_t>(job.tick_s - now.pending_s, 0);
      now.pending_s = std::max<std::int64_t>(now.pending_s - job.tick_s, 0);
    }
    if (now.done_s >= job.work_s) return static_cast<std::int64_t>(tick);
    if (now.held.is_spot() && !offers[tick][now.held.zone].is_available) now.held = Capacity::none();
    if (now.held.tier == Tier::kNone) now.pending_s = 0;
    const Capacity choice = decide(now, offers[tick]);
    EXPECT_TRUE(!choice.is_spot() || offers[tick][choice.zone].is_available);
    if (choices != nullptr) choices->push_back(choice);
    now.pending_s = pending_after(job, now, choice);
    now.held = choice;
  }
  return -1;
}

DeadlineJob make_job(std::mt19937& random) {
  DeadlineJob job{.tick_s = 1 + static_cast<std::int64_t>(random() % 900), .on_demand_price = 3};
  job.changeover_s = static_cast<std::int64_t>(random()) % (5 * job.tick_s);
  job.work_s = 1 + static_cast<std::int64_t>(random()) % (60 * job.tick_s);
  const auto ticks = (job.work_s + job.changeover_s + job.tick_s - 1) / job.tick_s;
  // As tight as on-demand can do, or with room.
  job.deadline_s = (ticks + static_cast<std::int64_t>(random() % 2 * (random() % 60))) * job.tick_s +
                   static_cast<std::int64_t>(random()) % job.tick_s;
  return job;
}

TEST(KeepsDeadline, counts_whole_ticks) {
  // 3 ticks of work; a changeover takes half a tick, so on-demand from nothing needs 4 ticks.
  const DeadlineJob job{.work_s = 300, .deadline_s = 500, .changeover_s = 50, .tick_s = 100};
  DeadlineProgress now;
  EXPECT_TRUE(keeps_deadline(job, now, Capacity::none()));
  // Half a tick of work, then on-demand anew: 250 + 50 s in 4 ticks.
  EXPECT_TRUE(keeps_deadline(job, now, Capacity::spot(0)));
  now.elapsed_s = 100;
  EXPECT_FALSE(keeps_deadline(job, now, Capacity::none()));
  EXPECT_TRUE(keeps_deadline(job, now, Capacity::spot(0)));
  EXPECT_TRUE(keeps_deadline(job, now, Capacity::on_demand()));
  now.elapsed_s = 101;  // a part of a tick is none
  EXPECT_FALSE(keeps_deadline(job, now, Capacity::spot(0)));
  EXPECT_FALSE(keeps_deadline(job, now, Capacity::on_demand()));
  now.held = Capacity::on_demand();
  EXPECT_TRUE(keeps_deadline(job, now, Capacity::on_demand()));
}

TEST(KeepsDeadline, whoever_asks_it_before_each_choice_is_never_late) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    const auto job = make_job(random);
    const auto offers = make_offers(random, 1 + random() % 3, 400, 1 + static_cast<int>(random() % 12));
    const auto end = run(job, offers, [&](const DeadlineProgress& now, std::span<const ZoneOffer> zones) {
      // Any choice at random, as foolish as it comes, if the net lets it.
      std::vector<Capacity> choices{now.held};
      if (keeps_deadline(job, now, Capacity::none())) choices.push_back(Capacity::none());
      for (std::size_t zone = 0; zone < zones.size(); ++zone)
        if (zones[zone].is_available) choices.push_back(Capacity::spot(zone));
      const auto choice = choices[random() % choices.size()];
      return keeps_deadline(job, now, choice) ? choice : Capacity::on_demand();
    });
    ASSERT_GE(end, 0) << seed;
    ASSERT_LE(end * job.tick_s, job.deadline_s) << seed;
  }
}

TEST(DeadlinePlanner, is_never_late_where_on_demand_would_not_be) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto job = make_job(random);
    const auto zones = 1 + random() % 4;
    const auto offers = make_offers(random, zones, 400, 1 + static_cast<int>(random() % 30));
    DeadlinePlanner planner(job);
    SpotHistory history(zones);
    const auto end = run(job, offers, [&](const DeadlineProgress& now, std::span<const ZoneOffer> offered) {
      history.observe(offered);
      return planner.decide(now, offered, history);
    });
    ASSERT_GE(end, 0) << seed;
    ASSERT_LE(end * job.tick_s, job.deadline_s) << seed;
  }
}

TEST(DeadlinePlanner, the_same_offers_give_the_same_choices) {
  std::mt19937 random(7);
  const DeadlineJob job{60'000, 90'000, 720, 600, 3};
  const auto offers = make_offers(random, 3, 150, 9);
  std::vector<Capacity> first, second;
  for (auto* choices : {&first, &second}) {
    DeadlinePlanner planner(job);
    SpotHistory history(3);
    run(
        job, offers,
        [&](const DeadlineProgress& now, std::span<const ZoneOffer> offered) {
          history.observe(offered);
          return planner.decide(now, offered, history);
        },
        choices);
  }
  EXPECT_EQ(first, second);
}

TEST(DeadlinePlanner, takes_spot_that_is_cheaper_and_leaves_spot_that_is_dearer) {
  const DeadlineJob job{60'000, 90'000, 720, 600, 3};
  for (const double price : {1.0, 5.0}) {
    DeadlinePlanner planner(job);
    SpotHistory history(1);
    const std::vector<ZoneOffer> offer{{true, price}};
    history.observe(offer);
    EXPECT_EQ(planner.decide({}, offer, history).is_spot(), price < 3) << price;
  }
}

TEST(DeadlinePlanner, a_deadline_that_cannot_be_met_runs_on_demand_at_once) {
  const DeadlineJob job{60'000, 50'000, 720, 600, 3};
  DeadlinePlanner planner(job);
  SpotHistory history(1);
  const std::vector<ZoneOffer> offer{{true, 1}};
  history.observe(offer);
  EXPECT_EQ(planner.decide({}, offer, history), Capacity::on_demand());
}

TEST(DeadlinePlanner, plans_a_month_in_seconds_within_its_bound) {
  for (const std::int64_t slack_s : {1, 10'000, 2'000'000}) {
    const DeadlineJob job{2'592'000, 2'592'000 + slack_s, 0, 1, 3};
    DeadlinePlanner planner(job, {.cells_max = 20'000});
    SpotHistory history(1);
    const std::vector<ZoneOffer> offer{{true, 1}};
    history.observe(offer);
    EXPECT_TRUE(planner.decide({}, offer, history).is_spot()) << slack_s;
  }
}

TEST(SpotHistory, learns_that_short_spells_end_and_long_ones_last) {
  SpotHistory history(1);
  // Spells of 1 tick, with one of 60 after every fourth.
  for (int round = 0; round < 40; ++round)
    for (const int length : {1, 1, 1, 1, 60})
      for (int tick = 0; tick < 2 * length; ++tick)
        history.observe(std::vector<ZoneOffer>{{tick < length, 1}});
  const auto chances = history.reclaim_chances(0);
  EXPECT_GT(chances[0], 0.5F);
  EXPECT_LT(chances[4], 0.05F);
  EXPECT_DOUBLE_EQ(history.usual_price(), 1);
}

// Zone 0 flickers in spells of 3 ticks, zone 1 in spells of 40; `ticks` of it.
SpotHistory make_unequal_history(int ticks) {
  SpotHistory history(2);
  for (int tick = 0; tick < ticks; ++tick)
    history.observe(std::vector<ZoneOffer>{{tick / 3 % 2 == 0, 1}, {tick / 40 % 2 == 0, 1}});
  return history;
}

TEST(SpotHistory, a_zone_whose_spells_end_early_is_frailer) {
  const auto history = make_unequal_history(800);
  EXPECT_GT(history.frailty(0), 1.2);
  EXPECT_LT(history.frailty(1), 0.8);
  EXPECT_DOUBLE_EQ(SpotHistory(1).frailty(0), 1);
}

TEST(SpotHistory, learns_that_a_sheltered_zone_has_a_refuge) {
  const auto history = make_unequal_history(800);
  EXPECT_GT(history.refuge_chance(1), 0.8);
  EXPECT_LT(history.refuge_chance(0), 0.3);
  EXPECT_GT(history.shelter_chance(1), history.shelter_chance(0));
}

TEST(DeadlinePlanner, takes_the_sturdier_of_two_zones_of_one_price_and_one_age) {
  auto history = make_unequal_history(800);
  const std::vector<ZoneOffer> none{{false, 1}, {false, 1}}, both{{true, 1}, {true, 1}};
  for (int tick = 0; tick < 4; ++tick) history.observe(none);
  history.observe(both);
  DeadlinePlanner planner({60'000, 90'000, 720, 195, 3});
  EXPECT_EQ(planner.decide({}, both, history), Capacity::spot(1));
}

TEST(DeadlinePlanner, coarser_tables_cost_a_little_and_never_the_deadline) {
  double fine_ticks = 0, coarse_ticks = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const DeadlineJob job{120 * 600, 200 * 600, 720, 600, 3};
    const auto offers = make_offers(random, 2, 210, 12);
    for (const std::size_t cells : {10'000, 600}) {
      DeadlinePlanner planner(job, {.cells_max = cells});
      SpotHistory history(2);
      std::vector<Capacity> choices;
      const auto end = run(
          job, offers,
          [&](const DeadlineProgress& now, std::span<const ZoneOffer> offered) {
            history.observe(offered);
            return planner.decide(now, offered, history);
          },
          &choices);
      ASSERT_GE(end, 0) << seed;
      ASSERT_LE(end * job.tick_s, job.deadline_s) << seed;
      (cells == 600 ? coarse_ticks : fine_ticks) +=
          static_cast<double>(std::ranges::count(choices, Capacity::on_demand()));
    }
  }
  EXPECT_LE(coarse_ticks, fine_ticks + 60 * 3);
}

}  // namespace
}  // namespace neap::scheduler
