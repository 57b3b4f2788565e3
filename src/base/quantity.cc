#include "neap/base/quantity.h"

#include <fmt/format.h>

#include <array>
#include <limits>

namespace neap {
namespace {

struct Suffix {
  std::string_view text;
  __int128 numerator;
  __int128 denominator;
};
constexpr std::array<Suffix, 16> kSuffixes{{
    {"Ki", __int128(1) << 10, 1},
    {"Mi", __int128(1) << 20, 1},
    {"Gi", __int128(1) << 30, 1},
    {"Ti", __int128(1) << 40, 1},
    {"Pi", __int128(1) << 50, 1},
    {"Ei", __int128(1) << 60, 1},
    {"n", 1, 1'000'000'000},
    {"u", 1, 1'000'000},
    {"m", 1, 1000},
    {"", 1, 1},
    {"k", 1000, 1},
    {"M", 1'000'000, 1},
    {"G", 1'000'000'000, 1},
    {"T", 1'000'000'000'000, 1},
    {"P", 1'000'000'000'000'000, 1},
    {"E", 1'000'000'000'000'000'000, 1},
}};

}  // namespace

Result<std::int64_t> parse_quantity(std::string_view text, std::int64_t scale) {
  const auto bad = [&](std::string_view why) {
    return fail(
        Code::kInvalidArgument, "quantity.format",
        fmt::format(
            "\"{}\" is not a quantity ({}); write a number with an optional suffix, like 500m, 2 or 4Gi",
            text, why));
  };
  if (text.empty() || text.size() > 40) return bad("empty or too long");
  std::size_t at = 0;
  if (text[at] == '+') ++at;
  if (at < text.size() && text[at] == '-') return bad("negative");
  __int128 number = 0, divisor = 1;
  bool digit = false, dot = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !dot) {
      dot = true;
    } else if (c >= '0' && c <= '9') {
      digit = true;
      if (number > __int128(1'000'000'000'000'000'000) * 1000) return bad("too large");
      number = number * 10 + (c - '0');
      if (dot) divisor *= 10;
    } else {
      break;
    }
  }
  if (!digit) return bad("no digits");
  std::string_view rest = text.substr(at);
  __int128 numerator = 1, denominator = 1;
  if (rest.size() >= 2 && (rest[0] == 'e' || rest[0] == 'E') &&
      ((rest[1] >= '0' && rest[1] <= '9') || rest[1] == '-' || rest[1] == '+')) {
    std::size_t i = 1;
    const bool negative = rest[i] == '-';
    if (rest[i] == '-' || rest[i] == '+') ++i;
    int exponent = 0;
    if (i == rest.size()) return bad("no exponent");
    for (; i < rest.size(); ++i) {
      if (rest[i] < '0' || rest[i] > '9') return bad("bad exponent");
      exponent = exponent * 10 + (rest[i] - '0');
      if (exponent > 18) return bad("exponent above 18");
    }
    for (int k = 0; k < exponent; ++k) (negative ? denominator : numerator) *= 10;
  } else {
    bool known = false;
    for (const auto& s : kSuffixes)
      if (s.text == rest) {
        numerator = s.numerator;
        denominator = s.denominator;
        known = true;
      }
    if (!known) return bad("unknown suffix");
  }
  if (number != 0 && numerator > (__int128(1) << 62)) return bad("too large");
  // number < 2^71 and numerator < 2^61 would overflow together, so bound their product first.
  if (numerator > 1 && number > (__int128(1) << 66) / numerator * 1024) return bad("too large");
  const __int128 top = number * numerator;
  if (top > (__int128(1) << 110) / scale) return bad("too large");
  const __int128 bottom = divisor * denominator;
  const __int128 value = (top * scale + bottom - 1) / bottom;
  if (value > std::numeric_limits<std::int64_t>::max()) return bad("too large");
  return std::int64_t(value);
}

Result<Bytes> parse_bytes(std::string_view text) {
  NEAP_TRY(const auto value, parse_quantity(text, 1));
  return Bytes{value};
}
Result<MilliCores> parse_cores(std::string_view text) {
  NEAP_TRY(const auto value, parse_quantity(text, 1000));
  return MilliCores{value};
}
Result<MilliAccelerators> parse_accelerators(std::string_view text) {
  NEAP_TRY(const auto value, parse_quantity(text, 1000));
  return MilliAccelerators{value};
}

std::string format_bytes(Bytes bytes) {
  constexpr std::array<std::string_view, 5> units{"Ki", "Mi", "Gi", "Ti", "Pi"};
  std::int64_t value = bytes.value;
  std::string_view unit;
  for (const auto u : units) {
    if (value == 0 || value % 1024 != 0) break;
    value /= 1024;
    unit = u;
  }
  return fmt::format("{}{}", value, unit);
}
std::string format_cores(MilliCores cores) {
  return cores.value % 1000 == 0 ? fmt::format("{}", cores.value / 1000) : fmt::format("{}m", cores.value);
}
std::string format_money(MoneyMicros micros) {
  const bool negative = micros.value < 0;
  const std::uint64_t v = negative ? 0 - std::uint64_t(micros.value) : std::uint64_t(micros.value);
  return fmt::format("{}{}.{:06}", negative ? "-" : "", v / 1'000'000, v % 1'000'000);
}

}  // namespace neap
