// Bill lines as a FOCUS 1.2 dataset (FinOps Open Cost and Usage Specification, June 2025), in CSV.
//
// Lines are summed to one row for each hour, owner, meter, allocation or transfer, and price. BilledCost is
// the sum of the lines' amounts, so the export's total is the bill's to the micro-unit. ListCost and
// ContractedCost are, as the specification demands, exactly unit price times quantity, and so differ from it
// by rounding alone.
//
// Threads: values; an export belongs to one caller.
#pragma once

#include <compare>
#include <map>
#include <string>
#include <string_view>

#include "neap/base/time.h"
#include "neap/finops/metering.h"

namespace neap::finops {

struct FocusOptions {
  // Who is billed: the installation's name.
  std::string billing_account;
  // Rates of today; a spot or reserved line's list price is the on-demand price of the same site where there
  // is one.
  const PriceBook* prices = nullptr;
  // Refused beyond: `focus.rows`.
  std::size_t rows_max = 2'000'000;
};

class FocusExport {
 public:
  explicit FocusExport(FocusOptions options) : options_(std::move(options)) {}

  // `end` is when the usage was metered. Reasons: `focus.rows`, `price.overflow`.
  Status add(const UsageLine& line, WallTime end);
  // Header and rows, ordered by hour; comma-separated, LF, UTF-8, null as an empty field.
  std::string to_csv() const;
  MoneyMicros total() const { return total_; }

 private:
  struct Key {
    WallTime hour;
    Attribution owner;
    LineKind kind;
    Meter meter;
    std::string site, to_site;
    CapacityType capacity_type;
    std::string allocation, accelerator_model;
    std::int64_t unit_price;
    auto operator<=>(const Key&) const = default;
  };
  struct Sum {
    unsigned __int128 unit_milliseconds = 0;
    std::int64_t micros = 0;
  };
  std::string row(const Key& key, const Sum& sum) const;
  MoneyMicros list_price(const Key& key) const;

  FocusOptions options_;
  std::map<Key, Sum> rows_;
  MoneyMicros total_;
};

}  // namespace neap::finops
