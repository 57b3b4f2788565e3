// Where an object would run and what it would cost, decided by the engine that would place it, on copies of
// the world in which something is different. Nothing is written.
#include "internal/what_if.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "internal/placement.h"
#include "neap/finops/metering.h"

namespace neap::controllers {
namespace {

using policy::CapacityType;
using policy::Tier;
constexpr std::size_t kRulesMax = 16;
// What is planned was not stored, so nothing has looked at it yet; it is decided many times over, at once.
constexpr std::int64_t kMembersMax = 1000;

struct Variant {
  std::string name;
  scheduler::Snapshot world;
};

template <class Keep>
Variant with_nodes(std::string name, const scheduler::Snapshot& world, Keep keep) {
  Variant out{std::move(name), world};
  std::erase_if(out.world.nodes, [&](const scheduler::Node& node) { return !keep(node); });
  return out;
}

std::vector<Variant> variants_of(const scheduler::Snapshot& world) {
  std::set<std::string, std::less<>> public_sites;
  for (const auto& site : world.sites)
    if (site.tier == Tier::kPublic) public_sites.insert(site.name);
  std::vector<Variant> out;
  out.push_back({"now", world});
  out.push_back(
      with_nodes("all-private", world, [&](const auto& node) { return !public_sites.contains(node.site); }));
  out.push_back(
      with_nodes("all-public", world, [&](const auto& node) { return public_sites.contains(node.site); }));
  out.push_back(
      with_nodes("spot", world, [](const auto& node) { return node.capacity_type == CapacityType::kSpot; }));
  out.push_back(with_nodes("no-spot", world,
                           [](const auto& node) { return node.capacity_type != CapacityType::kSpot; }));
  Variant idle{"idle", world};
  idle.world.running.clear();
  for (auto& node : idle.world.nodes) {
    node.cores_free = node.cores_allocatable;
    node.memory_free = node.memory_allocatable;
    std::ranges::fill(node.devices_free, 1000);
  }
  out.push_back(std::move(idle));
  for (std::size_t i = 0; i < std::min(world.rules.size(), kRulesMax); ++i) {
    Variant without{"without rule " + world.rules[i].name, world};
    without.world.rules.erase(without.world.rules.begin() + std::ptrdiff_t(i));
    out.push_back(std::move(without));
  }
  return out;
}

// The hours' price and the egress; absent where a price is not known.
Result<std::optional<MoneyMicros>> total_of(const scheduler::Plan& plan, Duration duration) {
  constexpr std::int64_t kHourMs = 3'600'000;
  MoneyMicros total;
  for (const auto& decision : plan.decisions) {
    if (!decision.cost_per_hour) return std::nullopt;
    NEAP_TRY(const auto hours,
             finops::multiply_divide(decision.cost_per_hour->value,
                                     std::chrono::duration_cast<std::chrono::milliseconds>(duration).count(),
                                     1, kHourMs));
    if (__builtin_add_overflow(total.value, hours, &total.value) ||
        __builtin_add_overflow(total.value, decision.egress_cost.value, &total.value))
      return fail(Code::kInvalidArgument, "price.overflow",
                  "the cost does not fit in 63 bits of micro-units; plan fewer hours");
  }
  return total;
}

Result<Json> describe(const Variant& variant, const scheduler::Plan& plan, Duration duration) {
  JsonArray places;
  std::string why;
  bool is_placed = true, is_carbon_known = true;
  double grams_per_hour = 0;
  MoneyMicros hourly, egress;
  for (const auto& decision : plan.decisions) {
    is_placed = is_placed && decision.is_placed;
    if (!decision.is_placed && why.empty())
      why = decision.pending ? decision.pending->sentence : "no place fits";
    for (const auto& placement : decision.placements)
      places.push_back(Json{{"site", placement.site},
                            {"node", placement.node},
                            {"capacityType", policy::capacity_type_name(placement.capacity_type)}});
    if (decision.cost_per_hour) hourly.value += decision.cost_per_hour->value;
    egress.value += decision.egress_cost.value;
    is_carbon_known = is_carbon_known && decision.carbon_grams_per_hour.has_value();
    grams_per_hour += decision.carbon_grams_per_hour.value_or(0);
  }
  JsonObject out{{"variant", variant.name}, {"placed", is_placed}};
  if (!is_placed) {
    out["why"] = why;
    return Json(std::move(out));
  }
  out["places"] = std::move(places);
  if (is_carbon_known) out["carbonGramsPerHour"] = grams_per_hour;
  NEAP_TRY(const auto total, total_of(plan, duration));
  if (total) {
    out["costPerHourMicros"] = hourly.value;
    out["egressMicros"] = egress.value;
    out["totalMicros"] = total->value;
  } else {
    out["why"] = "the price of a place is not known; set it in its Site";
  }
  return Json(std::move(out));
}

struct Asked {
  std::vector<scheduler::Request> requests;
  std::string project, owner;
  Duration duration{};
};

Status check_members(std::int64_t members) {
  if (members >= 1 && members <= kMembersMax) return ok();
  return fail(
      Code::kInvalidArgument, "plan.replicas",
      fmt::format("from 1 to {} replicas are planned, all places together; change replicas", kMembersMax));
}

Result<Asked> read_object(const Pass& pass, const Json& object, const std::string& project) {
  Asked out{.requests = {}, .project = project, .owner = {}, .duration = {}};
  const auto kind = get_string(object, "kind");
  if (kind == "TrainingJob") {
    NEAP_TRY(auto job, api::from_json<api::TrainingJob>(object));
    NEAP_TRY_VOID(check_members(job.spec.replicas));
    job.metadata.namespace_ = project;
    NEAP_TRY(const auto inputs, resolve_inputs(pass, job));
    NEAP_TRY(auto request, job_request(pass, job, inputs));
    out.owner = "TrainingJob/" + project + "/" + job.metadata.name;
    out.duration = job.spec.expectedDuration;
    out.requests.push_back(std::move(request));
    return out;
  }
  if (kind == "InferenceService") {
    NEAP_TRY(auto service, api::from_json<api::InferenceService>(object));
    service.metadata.namespace_ = project;
    std::int64_t members = 0;
    for (const auto& place : service.spec.places)
      members =
          std::min(kMembersMax + 1, place.replicas < 0 ? kMembersMax + 1
                                                       : members + std::min(kMembersMax + 1, place.replicas));
    NEAP_TRY_VOID(check_members(members));
    std::int64_t replica = 0;
    for (const auto& place : service.spec.places)
      for (std::int64_t i = 0; i < place.replicas; ++i, ++replica) {
        NEAP_TRY(auto request, replica_request(pass, service, place, replica));
        out.requests.push_back(std::move(request));
      }
    return out;
  }
  return fail(
      Code::kInvalidArgument, "plan.kind",
      fmt::format(
          "\"{}\" is not planned as it is; plan a TrainingJob or an InferenceService (a strategy makes "
          "one of each)",
          kind));
}

}  // namespace

Result<Json> what_if(const Pass& pass, const Json& object, const std::string& project, Duration duration) {
  NEAP_TRY(const auto asked, read_object(pass, object, project));
  if (duration.count() == 0)
    duration = asked.duration.count() > 0 ? asked.duration : Duration(std::chrono::hours(1));
  NEAP_TRY(const auto world, snapshot_of(pass, asked.project, {asked.owner}));
  scheduler::Options options;
  options.now = pass.wall();
  options.seed = pass.options.seed;
  JsonObject out{{"hours", to_seconds(duration) / 3600}};
  JsonArray variants;
  for (const auto& variant : variants_of(world)) {
    const auto plan = scheduler::decide(variant.world, asked.requests, options);
    if (variant.name == "now") {
      out["currency"] = plan.currency;
      out["plan"] = scheduler::to_json(plan);
    }
    NEAP_TRY(auto described, describe(variant, plan, duration));
    variants.push_back(std::move(described));
  }
  out["variants"] = std::move(variants);
  return Json(std::move(out));
}

}  // namespace neap::controllers
