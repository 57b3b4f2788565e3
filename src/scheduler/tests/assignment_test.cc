#include "neap/scheduler/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "neap/base/draw.h"
#include "neap/scheduler/capacity_split.h"

namespace neap::scheduler {
namespace {

constexpr auto kNowhere = AssignmentProblem::kNowhere;

AssignmentProblem draw_problem(Draw& draw, std::size_t tasks, std::size_t places, bool has_running) {
  AssignmentProblem problem{.tasks = tasks, .places = places, .resources = 2};
  for (std::size_t i = 0; i < tasks * 2; ++i) problem.demand.push_back(std::int64_t(1 + draw.below(9)));
  for (std::size_t i = 0; i < places * 2; ++i)
    problem.capacity.push_back(std::int64_t(draw.below(10 * tasks / places + 1)));
  for (std::size_t i = 0; i < tasks * places; ++i)
    problem.value.push_back(draw.below(5) == 0 ? -1 : draw.unit());
  if (!has_running) return problem;
  auto free = problem.capacity;
  for (std::size_t task = 0; task < tasks; ++task) {
    const auto at = draw.below(places);
    const bool fits =
        problem.demand[2 * task] <= free[2 * at] && problem.demand[2 * task + 1] <= free[2 * at + 1];
    problem.current.push_back(fits && draw.below(2) == 0 ? std::int32_t(at) : kNowhere);
    if (problem.current.back() != kNowhere)
      for (std::size_t r = 0; r < 2; ++r) free[2 * at + r] -= problem.demand[2 * task + r];
    problem.is_pinned.push_back(draw.below(3) == 0);
    problem.move_cost.push_back(0.1 * draw.unit());
  }
  return problem;
}

// What every answer must hold, checked from the problem alone.
void expect_valid(const AssignmentProblem& problem, const Assignment& found) {
  ASSERT_EQ(found.place.size(), problem.tasks);
  auto free = problem.capacity;
  double value = 0;
  for (std::size_t task = 0; task < problem.tasks; ++task) {
    const auto at = found.place[task];
    const auto runs_at = problem.current.empty() ? kNowhere : problem.current[task];
    if (runs_at != kNowhere) {
      ASSERT_NE(at, kNowhere) << "a running task was dropped";
      if (problem.is_pinned[task]) EXPECT_EQ(at, runs_at);
    }
    if (at == kNowhere) continue;
    const double own = problem.value[task * problem.places + std::size_t(at)];
    if (at != runs_at) EXPECT_GE(own, 0) << "a guard was overruled";
    value += at == runs_at ? std::max(own, 0.0) : own - (runs_at == kNowhere ? 0 : problem.move_cost[task]);
    for (std::size_t r = 0; r < 2; ++r)
      EXPECT_GE(free[2 * std::size_t(at) + r] -= problem.demand[2 * task + r], 0) << "a place is overfull";
  }
  EXPECT_NEAR(value, found.value, 1e-9);
}

// By trying everything: 4^7 at most.
double best_of_all(const AssignmentProblem& problem, std::size_t task, std::vector<std::int64_t>& free) {
  if (task == problem.tasks) return 0;
  double best = best_of_all(problem, task + 1, free);
  for (std::size_t at = 0; at < problem.places; ++at) {
    const double own = problem.value[task * problem.places + at];
    if (own < 0 || problem.demand[2 * task] > free[2 * at] || problem.demand[2 * task + 1] > free[2 * at + 1])
      continue;
    for (std::size_t r = 0; r < 2; ++r) free[2 * at + r] -= problem.demand[2 * task + r];
    best = std::max(best, own + best_of_all(problem, task + 1, free));
    for (std::size_t r = 0; r < 2; ++r) free[2 * at + r] += problem.demand[2 * task + r];
  }
  return best;
}

TEST(Assignment, holds_capacity_guards_and_pins_whatever_the_problem) {
  Draw draw(11);
  for (int round = 0; round < 60; ++round) {
    const auto problem = draw_problem(draw, 1 + draw.below(25), 1 + draw.below(6), round % 2 == 0);
    ASSERT_TRUE(problem.check().has_value()) << problem.check().error().message;
    const auto greedy = assign_greedily(problem);
    const auto found =
        search_assignment(problem, {.seed = 5, .islands = 2, .population = 3, .generations = 4});
    expect_valid(problem, greedy);
    expect_valid(problem, found);
    EXPECT_GE(found.value, greedy.value - 1e-9);
  }
}

TEST(Assignment, finds_the_optimum_of_problems_small_enough_to_try_everything) {
  Draw draw(12);
  for (int round = 0; round < 40; ++round) {
    const auto problem = draw_problem(draw, 7, 3, false);
    auto free = problem.capacity;
    const double best = best_of_all(problem, 0, free);
    EXPECT_NEAR(search_assignment(problem, {.seed = 1}).value, best, 0.02 * best) << "round " << round;
  }
}

TEST(Assignment, a_seed_fixes_the_answer) {
  Draw draw(13);
  const auto problem = draw_problem(draw, 30, 5, true);
  const AssignmentSearch search{.seed = 77, .islands = 2, .population = 3, .generations = 5};
  EXPECT_EQ(search_assignment(problem, search).place, search_assignment(problem, search).place);
}

TEST(Assignment, steps_keep_every_place_within_its_capacity_at_every_moment) {
  Draw draw(14);
  std::size_t moves = 0;
  for (int round = 0; round < 60; ++round) {
    const auto problem = draw_problem(draw, 20, 4, true);
    const auto target =
        search_assignment(problem, {.seed = 3, .islands = 2, .population = 3, .generations = 4});
    auto place = problem.current;
    auto free = problem.capacity;
    const auto hold = [&](std::size_t task, std::int32_t at, int sign) {
      if (at == kNowhere) return;
      for (std::size_t r = 0; r < 2; ++r)
        free[2 * std::size_t(at) + r] -= sign * problem.demand[2 * task + r];
    };
    for (std::size_t task = 0; task < problem.tasks; ++task) hold(task, place[task], 1);
    for (const auto& step : order_steps(problem, target)) {
      EXPECT_EQ(place[step.task], step.from);
      EXPECT_EQ(target.place[step.task], step.to);
      moves += step.from != kNowhere;
      hold(step.task, step.to, 1);  // it runs at both until the new one has started
      EXPECT_TRUE(std::ranges::all_of(free, [](auto left) { return left >= 0; }));
      hold(step.task, step.from, -1);
      place[step.task] = step.to;
    }
  }
  EXPECT_GT(moves, 0u);
}

TEST(Assignment, a_ring_of_full_places_stays_as_it_is) {
  AssignmentProblem problem{.tasks = 2, .places = 2, .resources = 1};
  problem.demand = {4, 4};
  problem.capacity = {4, 4};
  problem.value = {0.1, 1.0, 1.0, 0.1};
  problem.current = {0, 1};
  const auto target = search_assignment(problem, {});
  EXPECT_EQ(target.moves, 2u);
  EXPECT_TRUE(order_steps(problem, target).empty());
}

TEST(Assignment, refuses_a_problem_that_contradicts_itself) {
  AssignmentProblem problem{
      .tasks = 1, .places = 1, .resources = 1, .demand = {2}, .capacity = {1}, .value = {1}};
  EXPECT_TRUE(problem.check().has_value());
  problem.current = {0};
  EXPECT_FALSE(problem.check().has_value());
  problem.current = {3};
  EXPECT_FALSE(problem.check().has_value());
  problem.current = {};
  problem.value = {};
  EXPECT_FALSE(problem.check().has_value());
}

TEST(Assignment, fitness_prefers_cheap_near_and_compliant_places) {
  const FitnessWeights weights{.cost = 0.5, .latency = 0.3, .compliance = 0.2};
  EXPECT_DOUBLE_EQ(compute_fitness(weights, 2, 2, 10, 10, 1), 1.0);
  EXPECT_DOUBLE_EQ(compute_fitness(weights, 4, 2, 40, 10, 0), 0.25 + 0.075);
  EXPECT_DOUBLE_EQ(compute_fitness(weights, 0, 0, 0, 0, 0), 0.8);
}

TEST(CapacitySplit, fills_the_cheapest_first) {
  const std::vector<CapacityOffer> offers{{"private", 100, {500'000}}, {"public", 200, {300'000}}};
  const auto split = split_demand(offers, 150);
  ASSERT_TRUE(split.has_value());
  EXPECT_EQ(split->units, (std::vector<std::int64_t>{0, 150}));
  EXPECT_EQ(split->cost.value, 45'000'000);
  EXPECT_EQ(split_demand(offers, 250)->units, (std::vector<std::int64_t>{50, 200}));
}

TEST(CapacitySplit, says_how_much_is_missing) {
  const std::vector<CapacityOffer> offers{{"private", 100, {500'000}}};
  const auto split = split_demand(offers, 150);
  ASSERT_FALSE(split.has_value());
  EXPECT_EQ(split.error().reason, "split.infeasible");
  EXPECT_NE(split.error().message.find("50 more"), std::string::npos);
  EXPECT_FALSE(split_demand(offers, -1).has_value());
  EXPECT_FALSE(
      split_demand(std::vector<CapacityOffer>{{"x", 1'000'000'000, {1'000'000'000'000}}}, 1'000'000'000)
          .has_value());
}

}  // namespace
}  // namespace neap::scheduler
