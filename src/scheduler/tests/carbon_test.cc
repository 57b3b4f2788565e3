#include "neap/scheduler/carbon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/world.h"

namespace neap::scheduler {
namespace {

using ::testing::HasSubstr;

// Coal at the cheapest cloud, hydropower at the dearer one, nothing stated at home.
Snapshot make_stated_world() {
  auto world = make_world();
  world.sites[2].carbon_intensity = 20;
  world.sites[3].carbon_intensity = 800;
  return world;
}

Request make_training() {
  auto request = make_request("train", 4, 16, 1000);
  request.each.accelerator_model = "nvidia-a100";
  return request;
}

TEST(Carbon, grams_follow_the_devices_power_and_the_places_intensity) {
  const auto amounts = [](std::string model, int devices, int cores) {
    return finops::ResourceAmounts{{cores * 1000}, {}, std::move(model), {devices * 1000}};
  };
  EXPECT_DOUBLE_EQ(power_watts(amounts("nvidia-a100", 2, 8)), 840);
  EXPECT_DOUBLE_EQ(power_watts(amounts("NVIDIA-A10G", 1, 0)), 300) << "an A10G is no A10";
  EXPECT_DOUBLE_EQ(power_watts(amounts("somebody's", 1, 0)), 300);
  EXPECT_DOUBLE_EQ(carbon_grams_per_hour(amounts("nvidia-t4", 10, 0), 500), 350);
  EXPECT_EQ(carbon_score(0), 0) << "who does not tell gains nothing";
  EXPECT_DOUBLE_EQ(carbon_score(400), 50);
  EXPECT_GT(carbon_score(20), carbon_score(800));
}

TEST(Carbon, decides_only_where_the_request_or_the_weights_ask) {
  const auto world = make_stated_world();
  auto request = make_training();
  const auto site_of = [&](const Request& asked, const Options& options) {
    return decide(world, std::vector{asked}, options).decisions.front().placements.at(0).site;
  };
  EXPECT_EQ(site_of(request, make_options()), "cloud-b");
  auto options = make_options();
  options.weights.carbon = 1;
  EXPECT_EQ(site_of(request, options), "cloud-a");
  request.cost_strategy = CostStrategy::kLowestCarbon;
  EXPECT_EQ(site_of(request, make_options()), "cloud-a");
  const auto weights = carbon_first({});
  EXPECT_EQ(weights.cost, 0);
  EXPECT_EQ(weights.carbon, Weights{}.cost);
}

TEST(Carbon, never_wins_against_a_guard) {
  auto request = make_training();
  request.cost_strategy = CostStrategy::kLowestCarbon;
  request.data = {{.dataset = "d", .level = DataLevel::kL1, .home_site = "hq"}};
  const auto plan = decide(make_stated_world(), std::vector{request}, make_options());
  EXPECT_EQ(plan.decisions[0].placements.at(0).site, "hq");
}

TEST(Carbon, explanations_state_grams_where_they_are_known_and_nothing_elsewhere) {
  auto request = make_training();
  request.replicas = 2;
  const auto plan = decide(make_stated_world(), std::vector{request}, make_options());
  ASSERT_TRUE(plan.decisions[0].is_placed);
  ASSERT_TRUE(plan.decisions[0].carbon_grams_per_hour.has_value());
  EXPECT_NEAR(*plan.decisions[0].carbon_grams_per_hour, 2 * 0.42 * 800, 1e-9);
  const auto text = render_explanation(to_json(plan.decisions[0], plan.currency));
  EXPECT_THAT(text, HasSubstr("672 g CO2e/h"));
  EXPECT_THAT(text, HasSubstr("carbon 33"));
  const auto silent = decide(make_world(), std::vector{request}, make_options());
  EXPECT_FALSE(silent.decisions[0].carbon_grams_per_hour.has_value());
  EXPECT_THAT(render_explanation(to_json(silent.decisions[0], silent.currency)),
              ::testing::Not(HasSubstr("CO2e")));
}

TEST(Carbon, is_a_word_that_policies_know) {
  auto world = make_stated_world();
  world.rules = {
      policy::make_rule("clean", "!has(site.carbon_intensity) || site.carbon_intensity < 100.0", "require(*)")
          .value(),
      policy::make_rule("no-coal", "has(site.carbon_intensity) && site.carbon_intensity > 500.0", "forbid(*)")
          .value()};
  const auto plan = decide(world, std::vector{make_training()}, make_options());
  ASSERT_TRUE(plan.decisions[0].is_placed);
  EXPECT_NE(plan.decisions[0].placements[0].site, "cloud-b");
  for (const auto& site : plan.decisions[0].sites)
    if (site.site == "cloud-b") {
      ASSERT_TRUE(site.refusal.has_value());
      EXPECT_THAT(site.refusal->sentence, HasSubstr("no-coal"));
    }
}

}  // namespace
}  // namespace neap::scheduler
