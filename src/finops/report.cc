#include "neap/finops/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace neap::finops {
namespace {

std::vector<Group> group_by(std::span<const UsageLine> lines, auto key_of) {
  std::map<std::string, Group> groups;
  for (const auto& line : lines) {
    auto& group = groups[std::string(key_of(line))];
    group.amount += line.amount;
    ++group.line_count;
  }
  std::vector<Group> out;
  for (auto& [key, group] : groups) {
    group.key = key;
    out.push_back(std::move(group));
  }
  std::sort(out.begin(), out.end(), [](const Group& a, const Group& b) {
    return a.amount != b.amount ? a.amount > b.amount : a.key < b.key;
  });
  return out;
}

Json groups_to_json(const std::vector<Group>& groups) {
  JsonArray out;
  for (const auto& group : groups)
    out.push_back(
        JsonObject{{"key", group.key}, {"amount", format_money(group.amount)}, {"lines", group.line_count}});
  return out;
}

// The same usage at another site; nothing where no price is known there.
Result<MoneyMicros> reprice(const UsageLine& line, const PriceBook& book, const std::string& site,
                            CapacityType type) {
  switch (line.kind) {
    case LineKind::kCompute: {
      AllocationUsage usage{.allocation = line.allocation,
                            .site = site,
                            .capacity_type = type,
                            .milliseconds = line.milliseconds};
      if (line.meter == Meter::kCores) usage.held.cores = {line.units};
      if (line.meter == Meter::kMemory) usage.held.memory = {line.units};
      if (line.meter == Meter::kAccelerators) {
        usage.held.accelerators = {line.units};
        usage.held.accelerator_model = line.accelerator_model;
      }
      NEAP_TRY(const auto lines, price_allocation(book, usage));
      return sum_amounts(lines);
    }
    case LineKind::kStorage: {
      NEAP_TRY(const auto priced, price_storage(book, {.holder = line.allocation,
                                                       .site = site,
                                                       .stored = {line.units},
                                                       .milliseconds = line.milliseconds}));
      return priced.amount;
    }
    case LineKind::kEgress:
      break;
  }
  // What went to the place that now does everything stays where it is made.
  if (line.to_site == site) return MoneyMicros{};
  NEAP_TRY(const auto priced, price_egress(book, {.transfer = line.allocation,
                                                  .from_site = site,
                                                  .to_site = line.to_site,
                                                  .moved = {line.units}}));
  return priced.amount;
}

}  // namespace

Result<Report> build_report(std::string_view currency, std::span<const UsageLine> lines) {
  Report report;
  report.currency = currency;
  NEAP_TRY(report.total, sum_amounts(lines));
  report.by_project = group_by(lines, [](const UsageLine& l) -> std::string_view { return l.owner.project; });
  report.by_team = group_by(lines, [](const UsageLine& l) -> std::string_view { return l.owner.team; });
  report.by_model = group_by(lines, [](const UsageLine& l) -> std::string_view { return l.owner.model; });
  report.by_kind = group_by(lines, [](const UsageLine& l) { return line_kind_name(l.kind); });
  report.by_site = group_by(lines, [](const UsageLine& l) -> std::string_view { return l.site; });
  report.by_capacity_type =
      group_by(lines, [](const UsageLine& l) { return capacity_type_name(l.capacity_type); });
  return report;
}

Json to_json(const Report& report) {
  return JsonObject{{"currency", report.currency},
                    {"total", format_money(report.total)},
                    {"byProject", groups_to_json(report.by_project)},
                    {"byTeam", groups_to_json(report.by_team)},
                    {"byModel", groups_to_json(report.by_model)},
                    {"byKind", groups_to_json(report.by_kind)},
                    {"bySite", groups_to_json(report.by_site)},
                    {"byCapacityType", groups_to_json(report.by_capacity_type)}};
}

Result<Comparison> compare(std::span<const UsageLine> lines, const PriceBook& book,
                           const ComparisonSites& sites) {
  Comparison out;
  NEAP_TRY(out.actual, sum_amounts(lines));
  std::set<std::string> unpriced;
  const auto total_at = [&](const std::string& site, CapacityType type) -> Result<MoneyMicros> {
    std::int64_t total = 0;
    for (const auto& line : lines) {
      auto amount = reprice(line, book, site, type);
      if (!amount && amount.error().code != Code::kNotFound) return amount;
      if (!amount) {
        unpriced.insert(amount.error().message);
        amount = line.amount;
      }
      if (__builtin_add_overflow(total, amount->value, &total))
        return fail(Code::kOutOfRange, "price.overflow",
                    "the compared bill does not fit 63 bits; split the period");
    }
    return MoneyMicros{total};
  };
  NEAP_TRY(out.all_public, total_at(sites.public_site, CapacityType::kOnDemand));
  NEAP_TRY(out.all_private, total_at(sites.private_site, CapacityType::kOwned));
  if (out.all_public.value > 0)
    out.saved_basis_points =
        std::int64_t(__int128(out.all_public.value - out.actual.value) * 10'000 / out.all_public.value);
  out.unpriced.assign(unpriced.begin(), unpriced.end());
  return out;
}

Json to_json(const Comparison& comparison) {
  JsonArray unpriced;
  for (const auto& sentence : comparison.unpriced) unpriced.push_back(Json(boost::json::string(sentence)));
  return JsonObject{{"actual", format_money(comparison.actual)},
                    {"allPublic", format_money(comparison.all_public)},
                    {"allPrivate", format_money(comparison.all_private)},
                    {"savedBasisPoints", comparison.saved_basis_points},
                    {"unpriced", std::move(unpriced)}};
}

}  // namespace neap::finops
