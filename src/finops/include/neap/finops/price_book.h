// What compute and moved bytes cost.
//
// Every price is integer micro-units of `currency` per unit and hour (or per decimal GB moved). An unknown
// price is an error, never zero: public catalogues use 0 for "unknown", so zero must be stated to be meant.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "neap/base/json.h"
#include "neap/base/quantity.h"
#include "neap/base/result.h"

namespace neap::finops {

enum class CapacityType : std::uint8_t { kOwned, kReserved, kOnDemand, kSpot };
std::string_view capacity_type_name(CapacityType type);
std::optional<CapacityType> parse_capacity_type(std::string_view text);

struct Rates {
  MoneyMicros per_core_hour;
  MoneyMicros per_gib_hour;
  // By normalised accelerator model ("nvidia-a100").
  std::map<std::string, MoneyMicros, std::less<>> per_accelerator_hour;
};

// What one replica or one allocation holds.
struct ResourceAmounts {
  MilliCores cores;
  Bytes memory;
  std::string accelerator_model;
  MilliAccelerators accelerators;
};

class PriceBook {
 public:
  PriceBook() = default;
  explicit PriceBook(std::string currency) : currency_(std::move(currency)) {}

  const std::string& currency() const { return currency_; }
  void set_rates(std::string site, CapacityType type, Rates rates);
  // An empty `to` is everywhere without a price of its own.
  void set_egress(std::string from, std::string to, MoneyMicros per_gb);
  void set_storage(std::string site, MoneyMicros per_gib_month);

  const Rates* find_rates(std::string_view site, CapacityType type) const;
  // Zero inside one site; nothing where no price is known.
  std::optional<MoneyMicros> find_egress(std::string_view from, std::string_view to) const;
  std::optional<MoneyMicros> find_storage(std::string_view site) const;

  // Reasons `price.rates.unknown`, `price.accelerator.unknown`, `price.overflow`.
  Result<MoneyMicros> compute_hourly(std::string_view site, CapacityType type,
                                     const ResourceAmounts& amounts) const;

 private:
  std::string currency_ = "USD";
  std::map<std::pair<std::string, CapacityType>, Rates, std::less<>> rates_;
  std::map<std::pair<std::string, std::string>, MoneyMicros, std::less<>> egress_;
  std::map<std::string, MoneyMicros, std::less<>> storage_;
};

// {"currency": "USD", "sites": {"hq": {"owned": {"core": "0.02", "gib": "0.003", "accelerators":
// {"nvidia-a100": "1.1"}}}},
//  "egress": [{"from": "cloud-a", "to": "hq", "perGB": "0.09"}], "storage": {"hq": "0.01"}}; amounts are
//  decimal text.
Result<PriceBook> parse_price_book(const Json& document);

// "0.0315" to 31500; at most six decimals, no sign, so that nothing is rounded on the way in.
Result<MoneyMicros> parse_money(std::string_view text);

// floor-free product quotient a * b * c / divisor, rounded half to even; `price.overflow` beyond 63 bits.
Result<std::int64_t> multiply_divide(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t divisor);

}  // namespace neap::finops
