// What the steps of a budget's ladder do to new work, and what is said of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

using finops::BudgetAction;
using ::testing::HasSubstr;

// 90 % of the limit spent, and the step is at 80.
ProjectBudget budget_at(BudgetAction action, int jobs_running = 0) {
  return {
      .budget = {.name = "monthly", .project = "vision", .limit = {100'000'000}, .ladder = {{80, action}}},
      .state = {{90'000'000}, {}},
      .open_ended = std::chrono::hours(1),
      .jobs_running = jobs_running};
}

Snapshot world_with_t4() {
  auto world = make_world();
  auto small = make_node("hq-t4", "hq", 8, 32, 2);
  small.accelerator_model = "nvidia-t4";
  world.nodes.push_back(small);
  return world;
}

const Change* find_change(const Decision& decision, ChangeKind kind) {
  for (const auto& change : decision.would_fit)
    if (change.kind == kind) return &change;
  return nullptr;
}

TEST(BudgetLadder, cheaper_accelerator_lets_work_that_takes_any_start_on_the_cheapest_alone) {
  auto world = world_with_t4();
  auto request = make_request("r", 1, 1, 1000);
  request.pinned_site = "hq";
  world.budgets = {budget_at(BudgetAction::kCheaperAccelerator)};
  EXPECT_EQ(decide_one(world, request).placements.at(0).node, "hq-t4");
  for (auto& free : world.nodes.back().devices_free) free = 0;
  const auto waits = decide_one(world, request);
  EXPECT_FALSE(waits.is_placed) << "it waits for the cheap one rather than take a dear one";
  EXPECT_THAT(
      reason_at(waits, "hq").refusal->sentence,
      HasSubstr("only the cheapest accelerator that fits is used, nvidia-t4 at 0.323000 an hour and not "
                "nvidia-a100 at 1.223000"));
  EXPECT_TRUE(find_change(waits, ChangeKind::kRaiseBudget));
}

TEST(BudgetLadder, what_names_a_dear_accelerator_alone_waits_and_learns_which_other_would_do) {
  auto world = world_with_t4();
  auto request = make_request("r", 1, 1, 1000);
  request.each.accelerator_model = "nvidia-a100";
  EXPECT_TRUE(decide_one(world, request).is_placed);
  world.budgets = {budget_at(BudgetAction::kCheaperAccelerator)};
  const auto waits = decide_one(world, request);
  EXPECT_FALSE(waits.is_placed);
  EXPECT_EQ(waits.pending->guard, Guard::kBudget);
  EXPECT_THAT(waits.pending->sentence, HasSubstr("the work names no other model"));
  const auto* allow = find_change(waits, ChangeKind::kAllowAccelerator);
  ASSERT_TRUE(allow);
  EXPECT_EQ(allow->name, "nvidia-t4");
  apply_change(world, request, *allow);
  EXPECT_EQ(decide_one(world, request).placements.at(0).node, "hq-t4");
}

TEST(BudgetLadder, an_accelerator_that_is_too_small_or_forbidden_is_not_the_cheapest_that_fits) {
  auto world = world_with_t4();
  world.budgets = {budget_at(BudgetAction::kCheaperAccelerator)};
  auto request = make_request("r", 16, 1, 1000);  // more cores than the small node has
  request.pinned_site = "hq";
  EXPECT_EQ(decide_one(world, request).placements.at(0).node, "hq-a");
  request.each.cores = {1000};
  request.excluded_nodes = {"hq-t4"};
  EXPECT_EQ(decide_one(world, request).placements.at(0).node, "hq-a");
  request.excluded_nodes.clear();
  request.each.accelerator_model = "nvidia-a100";
  request.accelerator_alternatives = {"nvidia-h100"};
  EXPECT_EQ(decide_one(world, request).placements.at(0).node, "hq-a") << "of those that it says would do";
  auto plain = make_request("plain");
  plain.pinned_site = "hq";
  EXPECT_TRUE(decide_one(world, plain).is_placed) << "work without accelerators is not asked";
}

TEST(BudgetLadder, lower_concurrency_starts_elastic_gangs_at_their_least_and_says_so) {
  auto world = make_world();
  auto gang = make_request("g", 1, 1, 1000);
  gang.replicas = 4;
  gang.replicas_min = 2;
  EXPECT_EQ(decide_one(world, gang).placements.size(), 4u);
  world.budgets = {budget_at(BudgetAction::kLowerConcurrency)};
  const auto lowered = decide_one(world, gang);
  ASSERT_EQ(lowered.placements.size(), 2u);
  EXPECT_THAT(lowered.note, HasSubstr("starts with 2 of its 4 replicas"));
  EXPECT_THAT(render_explanation(to_json(lowered, "EUR")), HasSubstr("note: budget monthly"));
  gang.topology = TopologyAsk{.level = TopologyLevel::kIsland, .is_required = false, .slice_replicas = 4};
  EXPECT_EQ(decide_one(world, gang).placements.size(), 4u) << "slices stay whole";
  gang.replicas_min = 0;
  EXPECT_EQ(decide_one(world, gang).placements.size(), 4u) << "a rigid gang has no smaller size";
}

TEST(BudgetLadder, lower_concurrency_lets_one_job_start_beside_another_and_no_more) {
  auto world = make_world();
  world.budgets = {budget_at(BudgetAction::kLowerConcurrency, 1)};
  const std::vector<Request> requests{make_request("first"), make_request("second")};
  const auto plan = decide(world, requests, make_options());
  EXPECT_TRUE(plan.decisions[0].is_placed);
  const auto& second = plan.decisions[1];
  EXPECT_FALSE(second.is_placed);
  EXPECT_THAT(second.pending->sentence, HasSubstr("2 jobs of project vision hold a place"));
  const auto* await = find_change(second, ChangeKind::kAwaitJobs);
  ASSERT_TRUE(await);
  EXPECT_EQ(await->sentence, "wait until 1 of the 2 jobs of project vision that hold a place has ended");
  world.budgets[0].jobs_running = 7;
  EXPECT_EQ(find_change(decide_one(world, requests[0]), ChangeKind::kAwaitJobs)->count, 6);
  auto service = requests[0];
  service.kind = TaskKind::kInference;
  EXPECT_TRUE(decide_one(world, service).is_placed) << "services are no jobs";
  auto other = requests[0];
  other.project = "speech";
  EXPECT_TRUE(decide_one(world, other).is_placed);
}

}  // namespace
}  // namespace neap::scheduler
