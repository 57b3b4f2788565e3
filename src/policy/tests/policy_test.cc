#include "neap/policy/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace neap::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct World {
  std::vector<std::string> aliases{"public-cloud-gpu-cluster"};
  std::vector<std::pair<std::string, std::string>> labels{{"pool", "blue"}};
  std::vector<SiteFacts> sites{{"edge-1", Tier::kEdge, {}, {}},
                               {"hq", Tier::kPrivate, {}, labels},
                               {"cloud-a", Tier::kPublic, aliases, {}},
                               {"cloud-b", Tier::kPublic, {}, {}}};
};

TEST(Policy, place_names_resolve_by_name_then_alias_then_label_then_tier_word) {
  World w;
  const auto at = [&](std::string_view word) { return resolve_target(word, w.sites); };
  EXPECT_THAT(at("HQ").sites, ElementsAre(false, true, false, false));
  EXPECT_THAT(at("public_cloud_gpu_cluster").sites, ElementsAre(false, false, true, false));
  EXPECT_EQ(at("public_cloud_gpu_cluster").meaning, TargetMeaning::kAlias);
  EXPECT_THAT(at("blue").sites, ElementsAre(false, true, false, false));
  EXPECT_THAT(at("pool=blue").sites, ElementsAre(false, true, false, false));
  EXPECT_THAT(at("public_cloud_gpu_pool").sites, ElementsAre(false, false, true, true));
  EXPECT_EQ(at("edge_cluster").meaning, TargetMeaning::kTierWord);
  EXPECT_EQ(at("hedge_fund").meaning, TargetMeaning::kUnknown);
  EXPECT_THAT(at("").sites, ElementsAre(true, true, true, true));
}

TEST(Policy, a_policy_list_document_becomes_guards) {
  const Json document = parse_json(R"j({"SchedulingPolicy": [
    {"name": "realtime", "condition": "task.type == 'inference' AND task.latency_requirement < 20ms", "action": "schedule_to(edge_cluster)"},
    {"name": "big", "condition": "task.type == 'training' AND task.gpu_demand > 8", "action": "schedule_to(public_cloud_gpu_pool)"}]
})j")
                            .value();
  const auto rules = rules_from_policy_list(document).value();
  ASSERT_EQ(rules.size(), 2u);
  EXPECT_EQ(rules[0].effect, Effect::kRequire);
  EXPECT_EQ(rules[0].target, "edge_cluster");
  const Json task = parse_json(R"j({"task": {"type": "training", "gpu_demand": 16}})j").value();
  EXPECT_TRUE(evaluate_condition(rules[1].condition, Activation(task)).value());
}

TEST(Policy, unknown_fields_and_actions_are_refused_by_name) {
  const auto refuse = [](std::string_view text) {
    return rules_from_policy_list(parse_json(text).value()).error();
  };
  EXPECT_THAT(
      refuse(
          R"j({"SchedulingPolicy": [{"name": "a", "condition": "true", "action": "schedule_to(x)", "prio": 1
}]
})j")
          .message,
      HasSubstr("\"prio\""));
  EXPECT_EQ(refuse(R"j({"SchedulingPolicy": [{"name": "a", "condition": "true", "action": "teleport(x)"
  }]
  })j")
                .reason,
            "policy.action.syntax");
  EXPECT_EQ(refuse(R"j({"SchedulingPolicy": [{"name": "a", "condition": "true ==", "action": "prefer(x)"
  }]
  })j")
                .reason,
            "cel.syntax");
  EXPECT_EQ(refuse(R"j({"SchedulingPolicy": {}})j").reason, "policy.field.invalid");
  EXPECT_EQ(refuse(R"j([])j").reason, "policy.field.invalid");
  for (const std::string_view action : {"", "schedule_to", "schedule_to()", "prefer(x, y)", "prefer(x, nan)",
                                        "schedule_to(a, 3)", "schedule_to((x))", ")"})
    EXPECT_EQ(make_rule("r", "true", action).error().reason, "policy.action.syntax") << action;
}

TEST(Policy, a_hybridcloud_policy_guards_latency_and_prefers_cheap_spot) {
  const Json document =
      parse_json(
          R"j({"apiVersion": "ai.hybridcloud/v1", "kind": "SchedulingPolicy", "metadata": {"name": "p"},
    "spec": {"priorityClass": "critical-'realtime", "constraints": [
      {"type": "Latency", "threshold": "10ms", "action": "ForceEdge"},
      {"type": "Cost", "threshold": "spot-price-low", "action": "PreemptibleCloud"}]}})j")
          .value();
  const auto rules = rules_from_hybridcloud_policy(document).value();
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(rules[0].effect, Effect::kForbid);
  EXPECT_EQ(rules[1].effect, Effect::kForbid);
  EXPECT_EQ(rules[2].effect, Effect::kPrefer);
  EXPECT_EQ(rules[2].capacity_type, CapacityType::kSpot);
  const Json low =
      parse_json(
          R"j({"task": {"priority_class": "critical-'realtime"}, "price": {"spot": 0.9, "spot_median_30d": 1.1}})j")
          .value();
  EXPECT_TRUE(evaluate_condition(rules[2].condition, Activation(low)).value());
  const Json other =
      parse_json(R"j({"task": {"priority_class": "batch"}, "price": {"spot": 0.9, "spot_median_30d": 1.1}})j")
          .value();
  EXPECT_FALSE(evaluate_condition(rules[2].condition, Activation(other)).value());
  for (const auto& rule : rules) {
    const auto again = make_rule(rule.name, rule.condition.text(), rule.action);
    ASSERT_TRUE(again) << rule.name << ": " << again.error().message;
    EXPECT_EQ(again->effect, rule.effect);
    EXPECT_EQ(again->target, rule.target);
    EXPECT_EQ(again->capacity_type, rule.capacity_type);
    EXPECT_EQ(again->weight, rule.weight);
  }
}

}  // namespace
}  // namespace neap::policy
