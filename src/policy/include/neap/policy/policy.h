// Placement rules: a CEL condition and what it requires, forbids or prefers.
//
// A rule is asked for one candidate place at a time. `require`: where the condition holds, the place must be
// among the target. `forbid`: where it holds, it must not be. `prefer`: where it holds and the place is among
// the target, the score gains `weight`. A condition that fails to evaluate makes `require` and `forbid`
// refuse the place (fail closed, with the error as reason) and `prefer` have no effect.
//
// Thread safety: values. Pure: no clock, no I/O.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"
#include "neap/policy/cel.h"

namespace neap::policy {

enum class Tier : std::uint8_t { kEdge, kPrivate, kPublic };
std::string_view tier_name(Tier tier);
// "edge", "private", "public".
std::optional<Tier> parse_tier(std::string_view text);

enum class CapacityType : std::uint8_t { kOwned, kReserved, kOnDemand, kSpot };
inline constexpr std::size_t kCapacityTypeCount = 4;
std::string_view capacity_type_name(CapacityType type);
std::optional<CapacityType> parse_capacity_type(std::string_view text);

// What a target may name about a site; borrowed from the caller's snapshot.
struct SiteFacts {
  std::string_view name;
  Tier tier = Tier::kPrivate;
  std::span<const std::string> aliases;
  std::span<const std::pair<std::string, std::string>> labels;
};

// How a target word was understood, for explanations.
enum class TargetMeaning : std::uint8_t { kAnything, kName, kAlias, kLabel, kTierWord, kUnknown };

struct ResolvedTarget {
  TargetMeaning meaning = TargetMeaning::kUnknown;
  // Parallel to the sites given: true where the site is meant.
  std::vector<bool> sites;
};

// A word resolves to sites by, in this order and stopping at the first that matches any site: exact name;
// alias; label (`key=value`, or a plain word equal to any label's value); then the documented fallback: a
// tier word inside it ("edge", "private", "public", split at '-' and '_': public_cloud_gpu_pool means every
// public site). '-' and
// '_' are the same letter and capitals do not matter. An empty word means every site.
ResolvedTarget resolve_target(std::string_view word, std::span<const SiteFacts> sites);

enum class Effect : std::uint8_t { kRequire, kForbid, kPrefer };
std::string_view effect_name(Effect effect);

struct PolicyRule {
  std::string name;
  Program condition;
  Effect effect = Effect::kRequire;
  // Points added by kPrefer, on the scheduler's 0..100 scale; negative repels.
  double weight = 0;
  // See resolve_target.
  std::string target;
  // Narrows the target to one kind of capacity.
  std::optional<CapacityType> capacity_type;
  // As the author wrote it.
  std::string action;
};

// The word `*` is every place. `schedule_to(edge_cluster)` and `require(x)`: require. `forbid(x)`,
// `never(x)`: forbid. `prefer(x)`, `prefer(x, 20)`, `avoid(x)`: prefer. `x` may be `spot`, `reserved`,
// `owned`, `on-demand` for a kind of capacity. The condition is checked against placement_environment().
// Reasons `policy.action.syntax`, `cel.*`.
Result<PolicyRule> make_rule(std::string_view name, std::string_view condition, std::string_view action);

// The document with the top key `SchedulingPolicy`: a list of {name, condition, action}. Unknown fields are
// refused by name (`policy.field.unknown`), as are duplicate names.
Result<std::vector<PolicyRule>> rules_from_policy_list(const Json& document);

// `ai.hybridcloud/v1 SchedulingPolicy`: selects workloads whose `task.priority_class` is
// `spec.priorityClass`. Name, condition text and action of each make the same rule again. Latency/ForceEdge
// becomes a guard (edge sites only, and none whose RTT to the consumer is above the threshold);
// Cost/PreemptibleCloud a preference for spot while `price.spot < price.spot_median_30d`, or below a price
// named as the threshold ("0.95").
Result<std::vector<PolicyRule>> rules_from_hybridcloud_policy(const Json& document);

}  // namespace neap::policy
