// Bill lines to totals, and to what the same usage would have cost elsewhere.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "neap/finops/metering.h"

namespace neap::finops {

struct Group {
  std::string key;
  MoneyMicros amount;
  std::size_t line_count = 0;
};

// Each list of groups covers all lines once, so each sums to `total`.
struct Report {
  std::string currency;
  MoneyMicros total;
  std::vector<Group> by_project, by_team, by_model, by_kind, by_site, by_capacity_type;
};
Result<Report> build_report(std::string_view currency, std::span<const UsageLine> lines);
Json to_json(const Report& report);

// The two ends of the hybrid range. `public_site` is priced on demand; `private_site` as owned.
struct ComparisonSites {
  std::string public_site;
  std::string private_site;
};

struct Comparison {
  MoneyMicros actual;
  // Everything on the public site on demand, with the egress that then arises: what went from elsewhere to
  // the public site is free (ingress), and what was sent to any other place leaves the public site.
  MoneyMicros all_public;
  // Everything on the private site as owned capacity; transfers leave from there.
  MoneyMicros all_private;
  // Against all_public, in hundredths of a percent of it; negative where public is cheaper.
  std::int64_t saved_basis_points = 0;
  // Accelerator models and routes with no price there; their usage is counted at its actual amount.
  std::vector<std::string> unpriced;
};
Result<Comparison> compare(std::span<const UsageLine> lines, const PriceBook& book,
                           const ComparisonSites& sites);
Json to_json(const Comparison& comparison);

}  // namespace neap::finops
