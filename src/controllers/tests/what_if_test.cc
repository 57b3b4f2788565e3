#include "internal/what_if.h"

#include <gtest/gtest.h>

#include "internal/placement.h"
#include "tests/fixture.h"

namespace neap::controllers {
namespace {

// A dear private site whose node is half taken, and a public one with a cheap spot node and an on-demand one.
class WhatIfTest : public ::testing::Test {
 protected:
  WhatIfTest() : machine_(world_.add_machine("hq")), client_(machine_.runtime()) {
    add_site("hq", api::Tier::kPrivate, {{api::CapacityType::kOwned, 200'000}});
    add_site("cloud-a", api::Tier::kPublic,
             {{api::CapacityType::kSpot, 10'000}, {api::CapacityType::kOnDemand, 40'000}});
    add_node("hq-1", "hq", api::CapacityType::kOwned);
    add_node("spot-1", "cloud-a", api::CapacityType::kSpot);
    add_node("demand-1", "cloud-a", api::CapacityType::kOnDemand);
    api::Allocation taken;
    taken.metadata.name = "taken";
    taken.metadata.namespace_ = "other";
    taken.spec.node = "hq-1";
    taken.spec.resources.cpu = MilliCores{2000};
    taken.status.phase = "Running";
    state_.all<api::Allocation>()[{"other", "taken"}] = taken;
  }
  void add_site(std::string name, api::Tier tier,
                std::vector<std::pair<api::CapacityType, std::int64_t>> prices) {
    api::Site site;
    site.metadata.name = name;
    site.spec.tier = tier;
    for (const auto& [type, price] : prices) {
      api::CapacityPrice own;
      own.capacityType = type;
      own.perCoreHour = MoneyMicros{price};
      site.spec.prices.push_back(own);
    }
    state_.all<api::Site>()[{"", name}] = site;
  }
  void add_node(std::string name, std::string site, api::CapacityType type) {
    api::Node node;
    node.metadata.name = name;
    node.spec.site = site;
    node.spec.capacityType = type;
    node.status.allocatable.cpu = MilliCores{4000};
    node.status.allocatable.memory = Bytes{8LL << 30};
    api::set_condition(node.status.conditions,
                       {.type = "Ready", .status = "True", .reason = "Heartbeat", .message = {}},
                       machine_.runtime().clock().wall());
    state_.all<api::Node>()[{"", name}] = node;
  }
  Result<Json> ask(const Json& object, Duration duration = {}) {
    const RecordSink decisions = [](Json) -> Task<Status> { co_return ok(); };
    const Pass pass{machine_.runtime(), client_, publisher_, decisions, options_, state_, reserved_, {}};
    return what_if(pass, object, "team", duration);
  }
  static Json job(std::int64_t cores) {
    return Json{{"apiVersion", "neap.dev/v1"},
                {"kind", "TrainingJob"},
                {"metadata", {{"name", "train"}}},
                {"spec",
                 {{"command", JsonArray{Json("run")}},
                  {"expectedDuration", "2h"},
                  {"resources", {{"cpu", std::to_string(cores)}}}}}};
  }
  static const Json* variant(const Json& answer, std::string_view name) {
    for (const auto& one : answer.at("variants").get_array())
      if (get_string(one, "variant") == name) return &one;
    return nullptr;
  }

  io::SimWorld world_{5};
  io::SimMachine& machine_;
  client::FakeResourceClient client_;
  NoPublisher publisher_;
  Options options_;
  ClusterState state_;
  Reservations reserved_;
};

TEST_F(WhatIfTest, compares_private_public_and_spot_for_the_whole_duration) {
  const auto answer = ask(job(2));
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  const auto* spot = variant(*answer, "spot");
  ASSERT_TRUE(spot != nullptr && find_path(*spot, {"totalMicros"}) != nullptr) << to_text(*answer);
  EXPECT_EQ(get_int(*spot, "totalMicros"), 2 * 2 * 10'000);
  EXPECT_EQ(get_int(*variant(*answer, "all-private"), "totalMicros"), 2 * 2 * 200'000);
  EXPECT_EQ(get_int(*variant(*answer, "no-spot"), "totalMicros"), 2 * 2 * 40'000);
  const auto longer = ask(job(2), std::chrono::hours(10));
  ASSERT_TRUE(longer.has_value());
  EXPECT_EQ(get_int(*variant(*longer, "spot"), "totalMicros"), 10 * 2 * 10'000);
}

TEST_F(WhatIfTest, states_grams_of_carbon_where_the_site_states_its_electricity) {
  state_.all<api::Site>()[{"", "hq"}].spec.carbonIntensity = 500;
  const auto answer = ask(job(2));
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  const auto* own = variant(*answer, "all-private");
  ASSERT_TRUE(own != nullptr && find_path(*own, {"carbonGramsPerHour"}) != nullptr) << to_text(*answer);
  EXPECT_DOUBLE_EQ(own->at("carbonGramsPerHour").as_double(), 5) << "two cores of 5 W at 500 g/kWh";
  EXPECT_EQ(find_path(*variant(*answer, "spot"), {"carbonGramsPerHour"}), nullptr);
}

TEST_F(WhatIfTest, says_why_a_variant_holds_no_place_and_that_an_idle_platform_would) {
  const auto answer = ask(job(4));
  ASSERT_TRUE(answer.has_value());
  const auto* all_private = variant(*answer, "all-private");
  EXPECT_FALSE(all_private->at("placed").get_bool());
  EXPECT_FALSE(get_string(*all_private, "why").empty());
  EXPECT_TRUE(variant(*answer, "idle")->at("placed").get_bool());
}

TEST_F(WhatIfTest, shows_what_each_rule_costs) {
  api::SchedulingPolicy policy;
  policy.metadata.name = "house-rules";
  policy.spec.rules.push_back({.name = "stay", .condition = "true", .action = "forbid(public)"});
  state_.all<api::SchedulingPolicy>()[{"team", "house-rules"}] = policy;
  const auto answer = ask(job(2));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(get_int(*variant(*answer, "now"), "totalMicros"), 2 * 2 * 200'000);
  const auto* without = variant(*answer, "without rule stay");
  ASSERT_NE(without, nullptr);
  EXPECT_LT(get_int(*without, "totalMicros"), 2 * 2 * 200'000);
}

TEST_F(WhatIfTest, refuses_more_replicas_than_it_decides_at_once) {
  auto large = job(1);
  large.at("spec").as_object()["replicas"] = std::int64_t(1) << 60;
  auto refused = ask(large);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, "plan.replicas");
  const auto service = [](std::int64_t first, std::int64_t second) {
    return Json{{"kind", "InferenceService"},
                {"metadata", {{"name", "serve"}}},
                {"spec",
                 {{"model", "m"},
                  {"places", JsonArray{Json{{"site", "hq"}, {"replicas", first}},
                                       Json{{"site", "cloud-a"}, {"replicas", second}}}}}}};
  };
  for (const auto& [first, second] :
       {std::pair<std::int64_t, std::int64_t>{1ll << 62, 1ll << 62}, {600, 600}, {1001, -1000}, {0, 0}}) {
    refused = ask(service(first, second));
    ASSERT_FALSE(refused.has_value()) << first << " and " << second;
    EXPECT_EQ(refused.error().reason, "plan.replicas");
  }
}

TEST_F(WhatIfTest, refuses_kinds_and_names_it_does_not_know) {
  const auto kind = ask(Json{{"apiVersion", "v1"}, {"kind", "ConfigMap"}});
  ASSERT_FALSE(kind.has_value());
  EXPECT_EQ(kind.error().reason, "plan.kind");
  auto lost = job(1);
  lost.at("spec").as_object()["allowedSites"] = JsonArray{Json("nowhere")};
  const auto site = ask(lost);
  ASSERT_FALSE(site.has_value());
  EXPECT_NE(site.error().message.find("nowhere"), std::string::npos);
}

}  // namespace
}  // namespace neap::controllers
