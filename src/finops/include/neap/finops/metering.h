// Usage to bill lines.
//
// One line per metered thing of one allocation over one interval. A line's amount is rounded once, half to
// even, from units x time x price in wide integers; totals are sums of lines. Nothing is billed without an
// allocation or a transfer id.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "neap/finops/price_book.h"

namespace neap::finops {

enum class LineKind : std::uint8_t { kCompute, kEgress, kStorage };
std::string_view line_kind_name(LineKind kind);
enum class Meter : std::uint8_t { kCores, kMemory, kAccelerators, kBytesMoved, kBytesStored };
std::string_view meter_name(Meter meter);

// Who pays and for what.
struct Attribution {
  std::string project;
  std::string team;
  std::string model;
  auto operator<=>(const Attribution&) const = default;
};

struct UsageLine {
  Attribution owner;
  LineKind kind = LineKind::kCompute;
  Meter meter = Meter::kCores;
  std::string site;
  // Egress: where the bytes went.
  std::string to_site;
  CapacityType capacity_type = CapacityType::kOwned;
  // Allocation name, or transfer id for egress.
  std::string allocation;
  std::string accelerator_model;
  // Millicores, bytes or thousandths of an accelerator.
  std::int64_t units = 0;
  // Monotonic time billed; 0 for egress.
  std::int64_t milliseconds = 0;
  // Decimal text in `quantity_unit` (core-hours, GiB-hours, accelerator-hours, GB, GiB-months), for people
  // and FOCUS.
  std::string quantity;
  std::string quantity_unit;
  MoneyMicros unit_price;
  MoneyMicros amount;
};

struct AllocationUsage {
  Attribution owner;
  std::string allocation;
  std::string site;
  CapacityType capacity_type = CapacityType::kOwned;
  ResourceAmounts held;
  std::int64_t milliseconds = 0;
};

struct TransferUsage {
  Attribution owner;
  std::string transfer;
  std::string from_site, to_site;
  Bytes moved;
};

struct StorageUsage {
  Attribution owner;
  std::string holder;
  std::string site;
  Bytes stored;
  std::int64_t milliseconds = 0;
};

// A line each for cores, memory and accelerators held (none for what is zero).
Result<std::vector<UsageLine>> price_allocation(const PriceBook& book, const AllocationUsage& usage);
Result<UsageLine> price_egress(const PriceBook& book, const TransferUsage& usage);
// A month is 730 hours, as catalogues count it.
Result<UsageLine> price_storage(const PriceBook& book, const StorageUsage& usage);

// `price.overflow` where 63 bits do not hold it.
Result<MoneyMicros> sum_amounts(std::span<const UsageLine> lines);

}  // namespace neap::finops
