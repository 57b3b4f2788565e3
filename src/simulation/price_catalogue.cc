#include "neap/simulation/price_catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "neap/simulation/csv.h"

namespace neap::simulation {
namespace {

std::string own_name(std::string_view model, const CatalogueChoice& choice) {
  if (const auto found = choice.models.find(std::string(model)); found != choice.models.end())
    return found->second;
  std::string out = "nvidia-";
  for (const char c : model)
    out += c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c == ' ' || c == '_' ? '-' : c;
  return out;
}

std::string_view family_of(std::string_view model) {
  if (model.starts_with("A100")) return "a2-";
  if (model.starts_with("H100") || model.starts_with("H200")) return "a3-";
  if (model.starts_with("L4")) return "g2-";
  return "n1-";
}

struct Row {
  std::string_view instance, model;
  double count = 0, vcpus = 0;
};

// One column of prices: on demand or spot.
struct PriceColumn {
  std::size_t column;
  finops::Rates* rates;
  std::map<std::string, double, std::less<>> per_core;  // by family; "" is any machine without accelerators
  std::map<std::string_view, bool> families;            // wanted by accelerators that are priced alone
};

void keep_least(std::map<std::string, double, std::less<>>& into, std::string_view key, double value) {
  const auto [at, is_new] = into.emplace(key, value);
  if (!is_new) at->second = std::min(at->second, value);
}

// Unknown where empty or zero.
Result<std::optional<double>> price_at(const CsvTable& table, std::size_t row, std::size_t column,
                                       std::string_view name) {
  if (table.text(row, column).empty()) return std::nullopt;
  NEAP_TRY(const auto value, table.number(row, column));
  if (value < 0 || value > 1e6)
    return fail(Code::kInvalidArgument, "simulation.csv",
                fmt::format("{}:{}: a price is {}; 0 to 1,000,000 an hour is expected", name, table.line(row),
                            value));
  if (value == 0) return std::nullopt;
  return value;
}

void add_price(PriceColumn& column, const Row& row, double price, const CatalogueChoice& choice) {
  if (row.model.empty()) {
    if (row.vcpus <= 0) return;
    keep_least(column.per_core, "", price / row.vcpus);
    for (const auto* family : {"a2-", "a3-", "g2-", "n1-"})
      if (row.instance.starts_with(family)) keep_least(column.per_core, family, price / row.vcpus);
    return;
  }
  if (row.count <= 0) return;
  const MoneyMicros each{std::llround(price * 1e6 / row.count)};
  const auto [at, is_new] = column.rates->per_accelerator_hour.emplace(own_name(row.model, choice), each);
  if (!is_new) at->second = std::min(at->second, each);
  if (row.instance.empty()) column.families[family_of(row.model)] = true;
}

void settle_cores(PriceColumn& column) {
  double per_core = 0;
  for (const auto& [family, wanted] : column.families)
    if (const auto found = column.per_core.find(family); wanted && found != column.per_core.end())
      per_core = std::max(per_core, found->second);
  if (column.rates->per_accelerator_hour.empty())
    if (const auto found = column.per_core.find(""); found != column.per_core.end()) per_core = found->second;
  column.rates->per_core_hour = {std::llround(per_core * 1e6)};
}

}  // namespace

Result<CatalogueRates> read_catalogue(std::string_view text, std::string_view name,
                                      const CatalogueChoice& choice) {
  NEAP_TRY(const auto table, CsvTable::parse(text, name, 1'000'000));
  NEAP_TRY(const auto instance, table.column("InstanceType"));
  NEAP_TRY(const auto model, table.column("AcceleratorName"));
  NEAP_TRY(const auto count, table.column("AcceleratorCount"));
  NEAP_TRY(const auto vcpus, table.column("vCPUs"));
  NEAP_TRY(const auto price, table.column("Price"));
  NEAP_TRY(const auto spot, table.column("SpotPrice"));
  NEAP_TRY(const auto region, table.column("Region"));
  const bool has_zone = table.has("AvailabilityZone");
  const auto zone = has_zone ? table.column("AvailabilityZone").value() : 0;
  CatalogueRates out;
  PriceColumn columns[]{{price, &out.on_demand, {}, {}}, {spot, &out.spot, {}, {}}};
  for (std::size_t row = 0; row < table.rows(); ++row) {
    if (table.text(row, region) != choice.region) continue;
    if (!choice.zone.empty() && (!has_zone || table.text(row, zone) != choice.zone)) continue;
    Row one{.instance = table.text(row, instance), .model = table.text(row, model)};
    if (!one.model.empty()) {
      NEAP_TRY(one.count, table.number(row, count));
    }
    if (!table.text(row, vcpus).empty()) {
      NEAP_TRY(one.vcpus, table.number(row, vcpus));
    }
    for (auto& column : columns) {
      NEAP_TRY(const auto found, price_at(table, row, column.column, name));
      if (found) add_price(column, one, *found, choice);
    }
  }
  for (auto& column : columns) settle_cores(column);
  if (out.on_demand.per_accelerator_hour.empty() && out.on_demand.per_core_hour.value == 0)
    return fail(Code::kNotFound, "simulation.catalogue",
                fmt::format("{}: has no price in region {}{}; write a region as its column Region has it",
                            name, choice.region, choice.zone.empty() ? "" : ", zone " + choice.zone));
  return out;
}

}  // namespace neap::simulation
