// RunMoney: what a run is charged, line by line, kept as sums; and what budgets count.
//
// Invariant: every sum by a part equals the total. Threads: none; one run.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>

#include "neap/finops/metering.h"
#include "neap/scheduler/snapshot.h"
#include "neap/simulation/run.h"

namespace neap::simulation {

class RunMoney {
 public:
  RunMoney(const finops::PriceBook& prices, std::span<const scheduler::Site> sites) : prices_(prices) {
    for (const auto& site : sites) carbon_intensity_[site.name] = site.carbon_intensity;
  }

  Status charge(const finops::AllocationUsage& usage, WallTime at);
  // A route without a price is noted and costs nothing.
  Status charge(const finops::TransferUsage& usage, WallTime at);

  // Billed to a project in [from, to).
  MoneyMicros spent(const std::string& project, WallTime from, WallTime to) const;
  void watch(const std::string& project) { watched_.insert(project); }

  // `simulation.invariant` where parts do not sum to the total.
  Status report(CostReport& out, OwnershipReport& ownership) const;

 private:
  Status add(const finops::UsageLine& line, WallTime at);

  const finops::PriceBook& prices_;
  MoneyMicros total_, rented_, egress_;
  std::map<std::string, MoneyMicros> by_project_, by_team_, by_site_, by_capacity_type_, by_kind_;
  std::set<std::string> unpriced_, watched_;
  std::map<std::string, double> carbon_intensity_, carbon_kg_;  // by site
  std::set<std::string> carbon_unknown_;
  std::map<std::string, std::map<WallTime, MoneyMicros>> billed_;  // of watched projects
};

}  // namespace neap::simulation
