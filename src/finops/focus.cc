#include "neap/finops/focus.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <vector>

#include "neap/finops/budget.h"

namespace neap::finops {
namespace {

using Wide = unsigned __int128;
constexpr std::uint64_t kNano = 1'000'000'000;

// Columns of FOCUS 1.2 for the criteria that hold here: sub accounts, tags, resource types, regions, unit
// prices, a public price list, more than one pricing category. Discounts by commitment, capacity
// reservations, zones and several currencies are not sold, so their columns are left out as the specification
// asks.
constexpr std::array kColumns{
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
};

struct Service {
  std::string_view category, name, subcategory, resource_type;
};
Service service_of(LineKind kind) {
  switch (kind) {
    case LineKind::kCompute:
      return {"Compute", "Neap Compute", "Other (Compute)", "Allocation"};
    case LineKind::kEgress:
      return {"Networking", "Neap Transfer", "Other (Networking)", "Transfer"};
    case LineKind::kStorage:
      return {"Storage", "Neap Storage", "Other (Storage)", "Volume"};
  }
  return {};
}

std::string_view pricing_category(CapacityType type) {
  switch (type) {
    case CapacityType::kSpot:
      return "Dynamic";
    case CapacityType::kReserved:
      return "Committed";
    case CapacityType::kOwned:
    case CapacityType::kOnDemand:
      return "Standard";
  }
  return "Other";
}

// As the specification's unit format writes them.
std::string_view unit_of(Meter meter) {
  switch (meter) {
    case Meter::kCores:
      return "Core-Hours";
    case Meter::kMemory:
      return "GiB-Hours";
    case Meter::kAccelerators:
      return "Accelerator-Hours";
    case Meter::kBytesMoved:
      return "GB";
    case Meter::kBytesStored:
      return "GiB-Months";
  }
  return "";
}

// What one `units x milliseconds` is in the unit of the price.
Wide divisor_of(Meter meter) {
  constexpr Wide hour = 3'600'000, gib = Wide(1) << 30;
  switch (meter) {
    case Meter::kCores:
    case Meter::kAccelerators:
      return 1000 * hour;
    case Meter::kMemory:
      return gib * hour;
    case Meter::kBytesStored:
      return gib * 730 * hour;
    case Meter::kBytesMoved:
      return 1'000'000'000;
  }
  return 1;
}

Wide billionths(Wide unit_milliseconds, Meter meter) {
  const auto divisor = divisor_of(meter);
  const auto whole = unit_milliseconds / divisor;
  const auto rest = unit_milliseconds % divisor;
  return whole * kNano + (rest * kNano + divisor / 2) / divisor;
}

// `value` / 10^places without trailing zeros: no more digits than the specification's numeric format needs.
std::string decimal(Wide value, int places) {
  std::string digits;
  for (auto left = value; left != 0; left /= 10) digits.insert(digits.begin(), char('0' + int(left % 10)));
  if (digits.size() <= std::size_t(places)) digits.insert(0, std::size_t(places) + 1 - digits.size(), '0');
  digits.insert(digits.end() - places, '.');
  while (digits.back() == '0') digits.pop_back();
  if (digits.back() == '.') digits.pop_back();
  return digits;
}

std::string money(std::int64_t micros) {
  return (micros < 0 ? "-" : "") + decimal(micros < 0 ? Wide(0) - Wide(micros) : Wide(micros), 6);
}

std::string quoted(std::string_view field) {
  if (field.find_first_of(",\"\r\n") == field.npos) return std::string(field);
  std::string out = "\"";
  for (const char c : field) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

struct Month {
  WallTime start, end;
};
Month month_of(WallTime at) {
  const auto bounds = compute_period(BudgetPeriod::kMonth, at);
  return {bounds.start, bounds.end};
}

}  // namespace

Status FocusExport::add(const UsageLine& line, WallTime end) {
  // Metered at the very end of an hour, the usage lies in that hour.
  const auto hour = std::chrono::floor<std::chrono::hours>(end - Duration(1));
  Key key{.hour = hour,
          .owner = line.owner,
          .kind = line.kind,
          .meter = line.meter,
          .site = line.site,
          .to_site = line.to_site,
          .capacity_type = line.capacity_type,
          .allocation = line.allocation,
          .accelerator_model = line.accelerator_model,
          .unit_price = line.unit_price.value};
  if (!rows_.contains(key) && rows_.size() >= options_.rows_max)
    return fail(Code::kResourceExhausted, "focus.rows",
                fmt::format("the export would have more than {} rows; export a shorter period or one project",
                            options_.rows_max));
  std::int64_t total = 0;
  if (__builtin_add_overflow(total_.value, line.amount.value, &total))
    return fail(Code::kInvalidArgument, "price.overflow",
                "the bill's total does not fit in 63 bits of micro-units; export a shorter period");
  total_.value = total;
  auto& sum = rows_[std::move(key)];
  sum.unit_milliseconds += Wide(line.units) * Wide(line.kind == LineKind::kEgress ? 1 : line.milliseconds);
  sum.micros += line.amount.value;
  return ok();
}

MoneyMicros FocusExport::list_price(const Key& key) const {
  const bool is_reduced =
      key.capacity_type == CapacityType::kSpot || key.capacity_type == CapacityType::kReserved;
  const auto* rates = options_.prices && is_reduced && key.kind == LineKind::kCompute
                          ? options_.prices->find_rates(key.site, CapacityType::kOnDemand)
                          : nullptr;
  if (!rates) return {key.unit_price};
  if (key.meter == Meter::kCores) return rates->per_core_hour;
  if (key.meter == Meter::kMemory) return rates->per_gib_hour;
  const auto found = rates->per_accelerator_hour.find(key.accelerator_model);
  return found == rates->per_accelerator_hour.end() ? MoneyMicros{key.unit_price} : found->second;
}

std::string FocusExport::row(const Key& key, const Sum& sum) const {
  const auto service = service_of(key.kind);
  const auto quantity = billionths(sum.unit_milliseconds, key.meter);
  const auto list = list_price(key);
  const auto month = month_of(key.hour);
  const auto billed = money(sum.micros);
  const auto contracted = decimal(quantity * Wide(key.unit_price), 15);
  const auto meter = std::string(meter_name(key.meter));
  const auto sku = fmt::format("{}/{}{}{}", key.site, meter, key.accelerator_model.empty() ? "" : "/",
                               key.accelerator_model) +
                   (key.to_site.empty() ? "" : "/to/" + key.to_site);
  const auto capacity = std::string(capacity_type_name(key.capacity_type));
  const bool is_compute = key.kind == LineKind::kCompute;
  const auto what =
      is_compute ? fmt::format("{} {} at {} for {}", capacity, meter, key.site, key.allocation)
      : key.kind == LineKind::kEgress
          ? fmt::format("bytes from {} to {}, transfer {}", key.site, key.to_site, key.allocation)
          : fmt::format("bytes stored at {} for {}", key.site, key.allocation);
  JsonObject tags, details;
  if (!key.owner.team.empty()) tags["team"] = key.owner.team;
  if (!key.owner.model.empty()) tags["model"] = key.owner.model;
  if (!key.accelerator_model.empty()) details["x_AcceleratorModel"] = key.accelerator_model;
  if (is_compute) details["x_CapacityType"] = capacity;
  const auto category = is_compute ? pricing_category(key.capacity_type) : "Standard";
  const std::array<std::string, kColumns.size()> fields{
      billed,
      options_.billing_account,
      options_.billing_account,
      options_.prices ? options_.prices->currency() : "USD",
      format_rfc3339(month.end),
      format_rfc3339(month.start),
      "Usage",
      "",  // no correction
      what,
      "Usage-Based",
      format_rfc3339(key.hour + std::chrono::hours(1)),
      format_rfc3339(key.hour),
      decimal(quantity, 9),
      std::string(unit_of(key.meter)),
      contracted,
      money(key.unit_price),
      billed,  // EffectiveCost: nothing is amortised
      key.site,
      decimal(quantity * Wide(list.value), 15),
      money(list.value),
      std::string(category),
      decimal(quantity, 9),
      std::string(unit_of(key.meter)),
      key.site,
      key.site,
      key.site,
      key.site,
      key.allocation,
      key.allocation,
      std::string(service.resource_type),
      std::string(service.category),
      std::string(service.name),
      std::string(service.subcategory),
      sku,
      meter,
      details.empty() ? "" : to_text(Json(std::move(details))),
      fmt::format("{}/{}/{}", sku, is_compute ? capacity : category, money(key.unit_price)),
      key.owner.project,
      key.owner.project,
      "Project",
      to_text(Json(std::move(tags))),
  };
  std::vector<std::string> out;
  for (const auto& field : fields) out.push_back(quoted(field));
  return fmt::format("{}\n", fmt::join(out, ","));
}

std::string FocusExport::to_csv() const {
  auto out = fmt::format("{}\n", fmt::join(kColumns, ","));
  for (const auto& [key, sum] : rows_) out += row(key, sum);
  return out;
}

}  // namespace neap::finops
