#include "internal/run_money.h"

#include <fmt/format.h>

#include <array>

#include "neap/scheduler/carbon.h"
#include "neap/simulation/scenario.h"

namespace neap::simulation {
namespace {

Status add_to(MoneyMicros& sum, MoneyMicros part) {
  if (!__builtin_add_overflow(sum.value, part.value, &sum.value)) return ok();
  return fail(Code::kOutOfRange, "price.overflow",
              "the cost does not fit 63 bits of millionths; simulate a shorter time or correct the prices");
}

}  // namespace

Status RunMoney::add(const finops::UsageLine& line, WallTime at) {
  NEAP_TRY_VOID(add_to(total_, line.amount));
  NEAP_TRY_VOID(add_to(by_project_[line.owner.project], line.amount));
  NEAP_TRY_VOID(add_to(by_team_[line.owner.team], line.amount));
  NEAP_TRY_VOID(add_to(by_site_[line.site], line.amount));
  const bool is_egress = line.kind == finops::LineKind::kEgress;
  const std::string type(is_egress ? "egress" : finops::capacity_type_name(line.capacity_type));
  NEAP_TRY_VOID(add_to(by_capacity_type_[type], line.amount));
  NEAP_TRY_VOID(add_to(by_kind_[std::string(finops::meter_name(line.meter))], line.amount));
  if (is_egress) NEAP_TRY_VOID(add_to(egress_, line.amount));
  if (!is_egress && line.capacity_type != finops::CapacityType::kOwned)
    NEAP_TRY_VOID(add_to(rented_, line.amount));
  if (watched_.contains(line.owner.project))
    NEAP_TRY_VOID(add_to(billed_[line.owner.project][at], line.amount));
  return ok();
}

Status RunMoney::charge(const finops::AllocationUsage& usage, WallTime at) {
  if (usage.milliseconds <= 0) return ok();
  constexpr double kGramsPerKg = 1000;
  if (const auto site = carbon_intensity_.find(usage.site);
      site != carbon_intensity_.end() && site->second > 0)
    carbon_kg_[usage.site] += scheduler::carbon_grams_per_hour(usage.held, site->second) / kGramsPerKg *
                              double(usage.milliseconds) / double(kHourMs);
  else
    carbon_unknown_.insert(usage.site);
  NEAP_TRY(const auto lines, finops::price_allocation(prices_, usage));
  for (const auto& line : lines) NEAP_TRY_VOID(add(line, at));
  return ok();
}

Status RunMoney::charge(const finops::TransferUsage& usage, WallTime at) {
  if (usage.moved.value <= 0 || usage.from_site == usage.to_site) return ok();
  if (!prices_.find_egress(usage.from_site, usage.to_site)) {
    unpriced_.insert(usage.from_site + " to " + usage.to_site);
    return ok();
  }
  NEAP_TRY(const auto line, finops::price_egress(prices_, usage));
  return add(line, at);
}

MoneyMicros RunMoney::spent(const std::string& project, WallTime from, WallTime to) const {
  MoneyMicros out;
  const auto found = billed_.find(project);
  if (found == billed_.end()) return out;
  for (auto at = found->second.lower_bound(from); at != found->second.end() && at->first < to; ++at)
    out += at->second;
  return out;
}

Status RunMoney::report(CostReport& out, OwnershipReport& ownership) const {
  out = {.currency = prices_.currency(),
         .total = total_,
         .by_project = by_project_,
         .by_team = by_team_,
         .by_site = by_site_,
         .by_capacity_type = by_capacity_type_,
         .by_kind = by_kind_,
         .unpriced = {unpriced_.begin(), unpriced_.end()}};
  for (const auto* parts : std::array{&by_project_, &by_team_, &by_site_, &by_capacity_type_, &by_kind_}) {
    MoneyMicros sum;
    for (const auto& [key, amount] : *parts) sum += amount;
    if (sum != total_)
      return fail(
          Code::kInternal, "simulation.invariant",
          fmt::format(
              "parts of the cost sum to {} and the total is {}; this is a defect: report the scenario",
              format_money(sum), format_money(total_)));
  }
  out.carbon_kg_by_site = carbon_kg_;
  out.carbon_unknown = {carbon_unknown_.begin(), carbon_unknown_.end()};
  ownership.rented = rented_;
  ownership.egress = egress_;
  return ok();
}

}  // namespace neap::simulation
