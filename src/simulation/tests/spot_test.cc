#include "neap/simulation/spot.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "neap/simulation/sample.h"
#include "neap/simulation/spot_worlds.h"
#include "tests/public_trace.h"

namespace neap::simulation {
namespace {

constexpr SpotRule kOnline[] = {SpotRule::kOnDemand, SpotRule::kGreedy, SpotRule::kUniformProgress,
                                SpotRule::kMarkov, SpotRule::kNeap};

SpotWindow make_window(std::string_view text) {
  auto windows = parse_spot_windows(text, "t", {});
  EXPECT_TRUE(windows) << windows.error().to_string();
  return windows->front();
}

SpotSummary play(std::span<const SpotWindow> windows, const SpotTerms& terms, SpotRule rule) {
  const auto runs = simulate_spot(windows, terms, rule);
  EXPECT_TRUE(runs) << runs.error().to_string();
  return runs ? summarize_spot(*runs) : SpotSummary{};
}

// Zones that come and go in spells of random length, with prices that wander.
SpotWindow make_random_window(Draw& draw, std::size_t zones, std::size_t ticks, std::int64_t tick_s) {
  SpotWindow window{.id = "r", .tick_s = tick_s};
  for (std::size_t index = 0; index < zones; ++index) {
    SpotZone zone{.name = fmt::format("z{}", index)};
    bool is_available = draw.below(2) == 0;
    while (zone.available.size() < ticks) {
      const auto length = 1 + draw.below(draw.below(3) == 0 ? 40 : 4);
      zone.available.insert(zone.available.end(), length, is_available);
      zone.prices.insert(zone.prices.end(), length, static_cast<float>(0.5 + draw.unit()));
      is_available = !is_available;
    }
    zone.available.resize(ticks);
    zone.prices.resize(ticks);
    window.zones.push_back(std::move(zone));
  }
  return window;
}

// Tries every sequence of choices.
double exhaust(const SpotWindow& window, const SpotTerms& terms, scheduler::DeadlineProgress now,
               std::size_t tick) {
  using scheduler::Capacity;
  if (now.done_s >= terms.work_s) return 0;
  const scheduler::DeadlineJob job{terms.work_s, terms.deadline_s, terms.changeover_s, window.tick_s, 0};
  if (tick == window.ticks() || static_cast<std::int64_t>(tick + 1) * window.tick_s > terms.deadline_s)
    return INFINITY;
  if (now.held.is_spot() && window.zones[now.held.zone].available[tick] == 0) now.held = Capacity::none();
  std::vector<std::pair<Capacity, double>> choices{{Capacity::none(), 0},
                                                   {Capacity::on_demand(), terms.on_demand_price}};
  for (std::size_t zone = 0; zone < window.zones.size(); ++zone)
    if (window.zones[zone].available[tick] != 0)
      choices.emplace_back(Capacity::spot(zone), window.zones[zone].prices[tick]);
  double best = INFINITY;
  for (const auto& [choice, price] : choices) {
    const auto pending = scheduler::pending_after(job, now, choice);
    auto next = now;
    next.held = choice;
    if (choice.tier != Capacity::Tier::kNone)
      next.done_s += std::max<std::int64_t>(window.tick_s - pending, 0);
    next.pending_s = std::max<std::int64_t>(pending - window.tick_s, 0);
    best = std::min(
        best, price * static_cast<double>(window.tick_s) / 3600 + exhaust(window, terms, next, tick + 1));
  }
  return best;
}

TEST(SpotTrace, lines_with_prices_that_share_an_id_are_one_window) {
  const auto windows =
      parse_spot_windows("# c\na_x 0 600 s 0110 1.5x3,2x1\nb_x 0 600 s 1111 1x4\nc 0 600 s 01\n", "t", {});
  ASSERT_TRUE(windows);
  ASSERT_EQ(windows->size(), 2u);
  EXPECT_EQ(windows->front().zones.size(), 2u);
  EXPECT_FLOAT_EQ(windows->front().zones[0].prices[3], 2);
  EXPECT_FLOAT_EQ(windows->back().zones[0].prices[1], 0.9731F);
  SpotTraceOptions options{.zones = {"b"}, .pins_zones = true};
  EXPECT_EQ(parse_spot_windows("a_x 0 600 s 0110 1x4\nb_x 0 600 s 1111 1x4\n", "t", options)->size(), 1u);
  options.zones = {"nowhere"};
  EXPECT_EQ(parse_spot_windows("a_x 0 600 s 0110 1x4\n", "t", options).error().code, Code::kNotFound);
}

TEST(SpotTrace, refuses_what_is_no_trace_and_names_the_line) {
  for (const std::string_view bad :
       {"", "# only a comment\n", "a 0 600 s\n", "a 0 600 s 01 1x2 more\n", "a 0 0 s 01\n", "a 0 -600 s 01\n",
        "a 0 6e2 s 01\n", "a 0 600 s 012\n", "a 0 600 s 01 1x1\n", "a 0 600 s 01 1x3\n",
        "a 0 600 s 01 nanx2\n", "a 0 600 s 01 infx2\n", "a 0 600 s 01 -1x2\n",
        "a 0 600 s 01 1x99999999999999999999\n", "a 0 600 s 01 x2\n", "a 0 600 s 01 1x2\nb 0 600 s 011 1x3\n",
        "a 0 600 s 01 1x2\nb 0 300 s 01 1x2\n", "a 0 600 s 01 1x2\na 0 600 s 01 1x2\n", "\xff\xfe\n"})
    EXPECT_FALSE(parse_spot_windows(bad, "t", {})) << bad;
  const auto error = parse_spot_windows("a 0 600 s 01\n\nb 0 600 s 0z\n", "trace.txt", {}).error();
  EXPECT_NE(error.to_string().find("trace.txt line 3"), std::string::npos) << error.to_string();
}

TEST(Spot, charges_whole_ticks_and_a_changeover_for_each_instance) {
  // 2 h of work in ticks of 1 h, changeover 30 min: spot, lost after its first tick, back one tick later.
  const std::vector<SpotWindow> windows{make_window("z 0 3600 s 1011111111\n")};
  const SpotTerms terms{.work_s = 7200, .deadline_s = 10 * 3600, .changeover_s = 1800, .on_demand_price = 3};
  // On-demand: 3 ticks.
  EXPECT_DOUBLE_EQ(play(windows, terms, SpotRule::kOnDemand).cost_mean, 9);
  // Spot: half a tick of work, lost; then half, whole: 3 ticks, which is exactly the work.
  EXPECT_NEAR(play(windows, terms, SpotRule::kGreedy).cost_mean, 3 * 0.9731, 1e-6);
  EXPECT_NEAR(play(windows, terms, SpotRule::kOptimum).cost_mean, 3 * 0.9731, 1e-6);
  EXPECT_EQ(play(windows, terms, SpotRule::kGreedy).late, 0);
}

TEST(Spot, what_ends_after_the_window_or_the_deadline_is_late) {
  const std::vector<SpotWindow> windows{make_window("z 0 3600 s 11\n")};
  SpotTerms terms{.work_s = 3 * 3600, .deadline_s = 10 * 3600, .changeover_s = 0};
  for (const auto rule : kOnline) EXPECT_EQ(play(windows, terms, rule).late, 1);
  EXPECT_EQ(play(windows, terms, SpotRule::kOptimum).late, 1);
  EXPECT_TRUE(std::isinf(play(windows, terms, SpotRule::kOptimum).cost_mean));
}

TEST(Spot, the_optimum_is_what_trying_everything_finds) {
  Draw draw(3);
  for (int round = 0; round < 60; ++round) {
    const auto zones = 1 + draw.below(2);
    const std::vector<SpotWindow> windows{make_random_window(draw, zones, zones == 1 ? 9 : 7, 600)};
    const SpotTerms terms{
        .work_s = static_cast<std::int64_t>(600 * (1 + draw.below(4)) - 200 * draw.below(2)),
        .deadline_s = static_cast<std::int64_t>(600 * (4 + draw.below(5))),
        .changeover_s = static_cast<std::int64_t>(200 * draw.below(8))};
    const double expected = exhaust(windows[0], terms, {}, 0);
    const auto found = play(windows, terms, SpotRule::kOptimum);
    EXPECT_EQ(found.late, std::isinf(expected)) << round;
    if (!std::isinf(expected)) EXPECT_NEAR(found.cost_mean, expected, 1e-6) << round;
  }
}

TEST(Spot, nobody_is_late_where_on_demand_is_not_and_nobody_beats_the_optimum) {
  Draw draw(5);
  for (int round = 0; round < 120; ++round) {
    const std::int64_t tick_s = draw.below(2) == 0 ? 600 : 195;
    const std::vector<SpotWindow> windows{make_random_window(draw, 1 + draw.below(4), 150, tick_s)};
    SpotTerms terms{.changeover_s = static_cast<std::int64_t>(15 * draw.below(100))};
    terms.work_s = tick_s * static_cast<std::int64_t>(5 + draw.below(70)) +
                   static_cast<std::int64_t>(15 * draw.below(13));
    // From a deadline that leaves no room at all.
    const auto need = (terms.work_s + terms.changeover_s + tick_s - 1) / tick_s * tick_s;
    terms.deadline_s = need + tick_s * static_cast<std::int64_t>(draw.below(2) * draw.below(40));
    const auto optimum = play(windows, terms, SpotRule::kOptimum);
    for (const auto rule : kOnline) {
      const auto found = play(windows, terms, rule);
      EXPECT_EQ(found.late, 0) << name_of(rule) << " round " << round;
      EXPECT_GE(found.cost_mean, optimum.cost_mean - 1e-6) << name_of(rule) << " round " << round;
      EXPECT_EQ(found.cost_mean, play(windows, terms, rule).cost_mean) << name_of(rule);
    }
  }
}

TEST(Spot, the_planner_is_never_late_and_holds_its_own_in_worlds_it_was_not_developed_on) {
  double to_uniform = 0, to_markov = 0;
  const auto worlds = make_spot_worlds(1, 12);
  for (const auto& world : worlds) {
    const auto neap = play(world.windows, world.terms, SpotRule::kNeap);
    const double uniform = play(world.windows, world.terms, SpotRule::kUniformProgress).cost_mean;
    EXPECT_EQ(neap.late, 0) << world.name;
    EXPECT_LT(neap.cost_mean, 1.03 * uniform) << world.name;
    to_uniform += std::log(neap.cost_mean / uniform) / static_cast<double>(worlds.size());
    const double markov = play(world.windows, world.terms, SpotRule::kMarkov).cost_mean;
    to_markov += std::log(neap.cost_mean / markov) / static_cast<double>(worlds.size());
  }
  EXPECT_LT(std::exp(to_uniform), 0.96);
  // Which is given the chances counted over these very windows.
  EXPECT_LT(std::exp(to_markov), 1.02);
}

TEST(Spot, a_generated_world_has_the_share_of_availability_it_names_and_is_the_same_again) {
  const auto worlds = make_spot_worlds(1, 40), again = make_spot_worlds(1, 40);
  const auto& exponential = worlds.front();
  double available = 0, ticks = 0;
  for (const auto& window : exponential.windows)
    for (const auto bit : window.zones.front().available) available += bit, ticks += 1;
  EXPECT_NEAR(available / ticks, 0.25, 0.05) << exponential.name;
  for (std::size_t n = 0; n < worlds.size(); ++n) {
    EXPECT_EQ(worlds[n].windows.back().zones.back().available,
              again[n].windows.back().zones.back().available);
    for (const auto& zone : worlds[n].windows.back().zones)
      EXPECT_GE(static_cast<std::int64_t>(zone.prices.size()) * worlds[n].windows.back().tick_s,
                worlds[n].terms.deadline_s);
  }
}

TEST(Spot, refuses_terms_that_no_replay_can_take) {
  const std::vector<SpotWindow> windows{make_window("z 0 600 s 11\n")};
  for (const SpotTerms& terms :
       {SpotTerms{0, 600, 0}, SpotTerms{600, 599, 0}, SpotTerms{600, 1200, -1}, SpotTerms{600, 1200, 1201},
        SpotTerms{600, 1200, 0, NAN}, SpotTerms{600, std::int64_t{1} << 40, 0}})
    EXPECT_FALSE(simulate_spot(windows, terms, SpotRule::kGreedy));
  EXPECT_EQ(simulate_spot(windows, {360'000, 31'000'000, 7}, SpotRule::kOptimum).error().code,
            Code::kResourceExhausted);
  EXPECT_FALSE(parse_spot_rule("best"));
}

std::vector<SpotWindow> load(const std::string& name, std::vector<std::string> zones) {
  auto windows =
      parse_spot_windows(read_public_trace("spot-traces/" + name), name, {.zones = std::move(zones)});
  return windows ? *std::move(windows) : std::vector<SpotWindow>{};
}

SpotTerms hours(double work, double deadline, double changeover) {
  const auto seconds = [](double value) { return static_cast<std::int64_t>(std::llround(value * 3600)); };
  return {seconds(work), seconds(deadline), seconds(changeover)};
}

TEST(SpotData, yardsticks_give_the_published_costs) {
  const auto single = load("windows-single.txt", {});
  const auto multi = load("windows-multi.txt", {});
  if (single.empty() || multi.empty()) GTEST_SKIP() << "NEAP_DATA is not set or has no spot-traces";
  struct Row {
    const std::vector<SpotWindow>& windows;
    SpotTerms terms;
    SpotRule rule;
    double mean, tolerance = 0.0006;
  };
  for (const Row& row : {Row{single, hours(48, 52, 0.05), SpotRule::kOnDemand, 147.390},
                         {single, hours(48, 52, 0.05), SpotRule::kGreedy, 127.280},
                         {single, hours(48, 60, 0.2), SpotRule::kUniformProgress, 106.979},
                         {single, hours(48, 52, 0.2), SpotRule::kOptimum, 106.767},
                         {single, hours(48, 70, 0.2), SpotRule::kMarkov, 97.241},
                         {multi, hours(24, 36, 0.2), SpotRule::kGreedy, 46.74, 0.006},
                         {multi, hours(48, 56, 0.2), SpotRule::kUniformProgress, 103.22, 0.006},
                         {multi, hours(24, 30, 0.2), SpotRule::kOptimum, 43.73, 0.006}}) {
    const auto found = play(row.windows, row.terms, row.rule);
    EXPECT_NEAR(found.cost_mean, row.mean, row.tolerance) << name_of(row.rule);
    EXPECT_EQ(found.late, 0) << name_of(row.rule);
  }
}

TEST(SpotData, the_planner_is_cheaper_than_uniform_progress_and_than_markov) {
  const auto multi = load("windows-multi.txt", {});
  const auto single = load("windows-single.txt", {});
  if (multi.empty() || single.empty()) GTEST_SKIP() << "NEAP_DATA is not set or has no spot-traces";
  std::vector<SpotWindow> fifth;
  for (std::size_t at = 0; at < single.size(); at += 5) fifth.push_back(single[at]);
  const auto check = [](const std::vector<SpotWindow>& windows, const SpotTerms& terms) {
    const auto neap = play(windows, terms, SpotRule::kNeap);
    EXPECT_EQ(neap.late, 0);
    EXPECT_LT(neap.cost_mean, play(windows, terms, SpotRule::kUniformProgress).cost_mean);
    EXPECT_LT(neap.cost_mean, play(windows, terms, SpotRule::kMarkov).cost_mean);
  };
  check(multi, hours(24, 36, 0.2));
  check(multi, hours(48, 56, 0.2));
  check(fifth, hours(48, 52, 0.2));
  check(fifth, hours(48, 60, 0.05));
}

}  // namespace
}  // namespace neap::simulation
