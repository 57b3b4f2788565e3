// Quantities as types, and the Kubernetes quantity grammar ("2Gi", "500m", "1e3") at the wire.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "neap/base/result.h"

namespace neap {

template <class Tag>
struct Quantity {
  std::int64_t value = 0;
  friend constexpr auto operator<=>(const Quantity&, const Quantity&) = default;
  constexpr Quantity& operator+=(Quantity other) {
    value += other.value;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity other) {
    value -= other.value;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.value + b.value}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.value - b.value}; }
};

using Bytes = Quantity<struct BytesTag>;
// Thousandths of a core.
using MilliCores = Quantity<struct MilliCoresTag>;
// Thousandths of an accelerator: fractions are whole numbers here.
using MilliAccelerators = Quantity<struct MilliAcceleratorsTag>;
// Millionths of one unit of a named currency. Sums are exact.
using MoneyMicros = Quantity<struct MoneyMicrosTag>;

// Kubernetes grammar to a whole number of `1/scale` units, rounded up as Kubernetes does: scale 1 for
// bytes, 1000 for cores and accelerators. Refuses negatives and what overflows 63 bits.
Result<std::int64_t> parse_quantity(std::string_view text, std::int64_t scale);
Result<Bytes> parse_bytes(std::string_view text);
Result<MilliCores> parse_cores(std::string_view text);
Result<MilliAccelerators> parse_accelerators(std::string_view text);
// Canonical spellings: "2Gi", "1500m", "3".
std::string format_bytes(Bytes bytes);
std::string format_cores(MilliCores cores);
// "12.345678" for 12345678 micros.
std::string format_money(MoneyMicros micros);

}  // namespace neap
