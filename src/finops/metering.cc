#include "neap/finops/metering.h"

#include <fmt/format.h>

#include <array>

namespace neap::finops {
namespace {

constexpr std::int64_t kGiB = std::int64_t(1) << 30;
constexpr std::int64_t kHourMs = 3'600'000;
constexpr std::int64_t kMonthMs = 730 * kHourMs;
constexpr std::int64_t kGB = 1'000'000'000;

// units x milliseconds / divisor as decimal text with six places, truncated: the amount is never computed
// from it.
std::string decimal_quantity(std::int64_t units, std::int64_t milliseconds, std::int64_t unit_scale,
                             std::int64_t time_scale) {
  const auto scale = (unsigned __int128)(unit_scale) * (unsigned __int128)(time_scale);
  const auto product = (unsigned __int128)(units) * (unsigned __int128)(milliseconds);
  const auto whole = std::uint64_t(product / scale);
  const auto rest = product % scale;
  // The divisor stays below 2^73, so a million times the rest fits.
  const auto fraction = std::uint64_t(rest * 1'000'000 / scale);
  return fmt::format("{}.{:06}", whole, fraction);
}

struct Metered {
  Meter meter;
  std::int64_t units, unit_scale;
  MoneyMicros price;
  std::string_view unit_name;
};

Status refuse_unbilled(std::string_view id, std::int64_t milliseconds, std::int64_t units) {
  if (id.empty())
    return fail(Code::kInvalidArgument, "metering.unattributed",
                "usage without an allocation or transfer cannot be billed; name it");
  if (milliseconds < 0 || units < 0)
    return fail(Code::kInvalidArgument, "metering.negative",
                fmt::format("{}: usage is never negative; correct the record", id));
  return ok();
}

Status finish_line(UsageLine& line, const Metered& metered, std::int64_t time_scale) {
  line.meter = metered.meter;
  line.units = metered.units;
  line.unit_price = metered.price;
  line.quantity = decimal_quantity(metered.units, line.milliseconds, metered.unit_scale, time_scale);
  line.quantity_unit = metered.unit_name;
  std::int64_t divisor = 0;
  if (__builtin_mul_overflow(metered.unit_scale, time_scale, &divisor))
    return fail(Code::kInternal, "metering.scale", "a billing unit is too fine to divide by");
  NEAP_TRY(const auto amount,
           multiply_divide(metered.units, line.milliseconds, metered.price.value, divisor));
  line.amount = MoneyMicros{amount};
  return ok();
}

}  // namespace

std::string_view line_kind_name(LineKind kind) {
  constexpr std::array<std::string_view, 3> names{"compute", "egress", "storage"};
  return names[std::size_t(kind)];
}
std::string_view meter_name(Meter meter) {
  constexpr std::array<std::string_view, 5> names{"cores", "memory", "accelerators", "bytes-moved",
                                                  "bytes-stored"};
  return names[std::size_t(meter)];
}

Result<std::vector<UsageLine>> price_allocation(const PriceBook& book, const AllocationUsage& usage) {
  NEAP_TRY_VOID(refuse_unbilled(usage.allocation, usage.milliseconds, usage.held.cores.value));
  const auto* rates = book.find_rates(usage.site, usage.capacity_type);
  if (!rates)
    return fail(
        Code::kNotFound, "price.rates.unknown",
        fmt::format("there is no price for {} capacity at {}, which {} used; add it to the price book",
                    capacity_type_name(usage.capacity_type), usage.site, usage.allocation));
  std::vector<Metered> metered;
  if (usage.held.cores.value != 0)
    metered.push_back({Meter::kCores, usage.held.cores.value, 1000, rates->per_core_hour, "core-hours"});
  if (usage.held.memory.value != 0)
    metered.push_back({Meter::kMemory, usage.held.memory.value, kGiB, rates->per_gib_hour, "GiB-hours"});
  if (usage.held.accelerators.value != 0) {
    const auto price = rates->per_accelerator_hour.find(usage.held.accelerator_model);
    if (price == rates->per_accelerator_hour.end())
      return fail(Code::kNotFound, "price.accelerator.unknown",
                  fmt::format("there is no price for {} at {}, which {} used; add it to the price book",
                              usage.held.accelerator_model, usage.site, usage.allocation));
    metered.push_back(
        {Meter::kAccelerators, usage.held.accelerators.value, 1000, price->second, "accelerator-hours"});
  }
  std::vector<UsageLine> lines;
  for (const auto& what : metered) {
    UsageLine line{.owner = usage.owner,
                   .kind = LineKind::kCompute,
                   .site = usage.site,
                   .capacity_type = usage.capacity_type,
                   .allocation = usage.allocation,
                   .milliseconds = usage.milliseconds};
    if (what.meter == Meter::kAccelerators) line.accelerator_model = usage.held.accelerator_model;
    NEAP_TRY_VOID(finish_line(line, what, kHourMs));
    lines.push_back(std::move(line));
  }
  return lines;
}

Result<UsageLine> price_egress(const PriceBook& book, const TransferUsage& usage) {
  NEAP_TRY_VOID(refuse_unbilled(usage.transfer, 0, usage.moved.value));
  const auto price = book.find_egress(usage.from_site, usage.to_site);
  if (!price)
    return fail(
        Code::kNotFound, "price.egress.unknown",
        fmt::format("there is no price per GB from {} to {}; add it to the price book (0 if it is free)",
                    usage.from_site, usage.to_site));
  UsageLine line{.owner = usage.owner,
                 .kind = LineKind::kEgress,
                 .meter = Meter::kBytesMoved,
                 .site = usage.from_site,
                 .to_site = usage.to_site,
                 .allocation = usage.transfer,
                 .units = usage.moved.value};
  line.unit_price = *price;
  line.quantity = decimal_quantity(usage.moved.value, 1, kGB, 1);
  line.quantity_unit = "GB";
  NEAP_TRY(const auto amount, multiply_divide(usage.moved.value, price->value, 1, kGB));
  line.amount = MoneyMicros{amount};
  return line;
}

Result<UsageLine> price_storage(const PriceBook& book, const StorageUsage& usage) {
  NEAP_TRY_VOID(refuse_unbilled(usage.holder, usage.milliseconds, usage.stored.value));
  const auto price = book.find_storage(usage.site);
  if (!price)
    return fail(Code::kNotFound, "price.storage.unknown",
                fmt::format("there is no storage price at {}; add it to the price book (0 if it is free)",
                            usage.site));
  UsageLine line{.owner = usage.owner,
                 .kind = LineKind::kStorage,
                 .site = usage.site,
                 .allocation = usage.holder,
                 .milliseconds = usage.milliseconds};
  NEAP_TRY_VOID(
      finish_line(line, {Meter::kBytesStored, usage.stored.value, kGiB, *price, "GiB-months"}, kMonthMs));
  return line;
}

Result<MoneyMicros> sum_amounts(std::span<const UsageLine> lines) {
  std::int64_t total = 0;
  for (const auto& line : lines)
    if (__builtin_add_overflow(total, line.amount.value, &total))
      return fail(Code::kOutOfRange, "price.overflow",
                  "the bill's total does not fit 63 bits; split the period");
  return MoneyMicros{total};
}

}  // namespace neap::finops
