// Quantities as Kubernetes writes them (apimachinery's resource.Quantity): "1Gi", "500m", "1.5e3".
#include <fmt/format.h>

#include <array>
#include <limits>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;
constexpr __int128 kNano = 1'000'000'000;
constexpr __int128 kNanosMax = (__int128(1) << 63) * kNano;

struct Suffix {
  std::string_view text;
  // The suffix means numerator / denominator.
  std::int64_t numerator, denominator;
};
constexpr std::array<Suffix, 15> kSuffixes{{
    {"", 1, 1},
    {"n", 1, 1'000'000'000},
    {"u", 1, 1'000'000},
    {"m", 1, 1000},
    {"k", 1000, 1},
    {"M", 1'000'000, 1},
    {"G", 1'000'000'000, 1},
    {"T", 1'000'000'000'000, 1},
    {"P", 1'000'000'000'000'000, 1},
    {"E", 1'000'000'000'000'000'000, 1},
    {"Ki", std::int64_t(1) << 10, 1},
    {"Mi", std::int64_t(1) << 20, 1},
    {"Gi", std::int64_t(1) << 30, 1},
    {"Ti", std::int64_t(1) << 40, 1},
    {"Pi", std::int64_t(1) << 50, 1},
}};
constexpr Suffix kExbi{"Ei", std::int64_t(1) << 60, 1};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// 10^exponent with "e3" or "E-3"; false where the text is no exponent.
bool read_exponent(std::string_view text, int& exponent) {
  if (text.size() < 2 || (text[0] != 'e' && text[0] != 'E')) return false;
  std::size_t at = 1;
  const bool negative = text[at] == '-';
  if (text[at] == '-' || text[at] == '+') ++at;
  if (at == text.size() || text.size() - at > 3) return false;
  exponent = 0;
  for (; at < text.size(); ++at) {
    if (!is_digit(text[at])) return false;
    exponent = exponent * 10 + (text[at] - '0');
  }
  if (negative) exponent = -exponent;
  return true;
}

// digits * 10^-places * numerator / denominator in nanos, rounded away from zero; false where too large.
bool scale(__int128 digits, int power_of_ten, const Suffix& suffix, __int128& nanos) {
  __int128 value = digits;
  int power = power_of_ten + 9;
  __int128 divisor = suffix.denominator;
  if (__builtin_mul_overflow(value, __int128(suffix.numerator), &value)) return false;
  for (; power > 0; --power)
    if (__builtin_mul_overflow(value, __int128(10), &value)) return value == 0;
  for (; power < 0; ++power)
    if (__builtin_mul_overflow(divisor, __int128(10), &divisor)) {
      nanos = value != 0;
      return true;
    }
  nanos = value / divisor + (value % divisor != 0);
  return nanos <= kNanosMax;
}

Fault give_quantity(Value& out, __int128 nanos) {
  if (nanos > kNanosMax || nanos < -kNanosMax) return Fault::kOverflow;
  return give(out, Value::quantity(nanos));
}

}  // namespace

bool parse_quantity_text(std::string_view text, __int128& nanos) {
  constexpr int kDigitsMax = 25;
  std::size_t at = 0;
  const bool negative = !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) ++at;
  __int128 digits = 0;
  int places = 0, seen = 0, significant = 0;
  bool point = false;
  for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !point)); ++at) {
    if (text[at] == '.') {
      point = true;
      continue;
    }
    ++seen;
    digits = digits * 10 + (text[at] - '0');
    significant += digits != 0;
    if (significant > kDigitsMax) return false;
    places += point;
  }
  if (seen == 0) return false;
  const auto rest = text.substr(at);
  int exponent = 0;
  bool good = false;
  if (rest.size() > 1 && read_exponent(rest, exponent)) {
    good = scale(digits, exponent - places, kSuffixes[0], nanos);
  } else if (rest == kExbi.text) {
    good = scale(digits, -places, kExbi, nanos);
  } else {
    for (const auto& suffix : kSuffixes)
      if (suffix.text == rest) good = scale(digits, -places, suffix, nanos);
  }
  if (negative) nanos = -nanos;
  return good;
}

// The largest suffix that leaves a whole number; binary ones first where 1024 divides.
std::string format_quantity(__int128 nanos) {
  const bool negative = nanos < 0;
  const __int128 size = negative ? -nanos : nanos;
  const auto spelled = [&](__int128 count, std::string_view suffix) {
    return fmt::format("{}{}{}", negative ? "-" : "", std::uint64_t(count), suffix);
  };
  if (size == 0) return "0";
  if (size % kNano == 0 && (size / kNano) % 1024 == 0 && (size / kNano) % 1000 != 0) {
    const __int128 whole = size / kNano;
    if (whole % kExbi.numerator == 0) return spelled(whole / kExbi.numerator, kExbi.text);
    for (std::size_t i = kSuffixes.size(); i-- > 10;)
      if (whole % kSuffixes[i].numerator == 0)
        return spelled(whole / kSuffixes[i].numerator, kSuffixes[i].text);
  }
  for (std::size_t i = 10; i-- > 4;)
    if (size % (kNano * kSuffixes[i].numerator) == 0)
      return spelled(size / (kNano * kSuffixes[i].numerator), kSuffixes[i].text);
  if (size % kNano == 0) return spelled(size / kNano, "");
  for (std::size_t i = 4; i-- > 1;)
    if (size % (kNano / kSuffixes[i].denominator) == 0) {
      const __int128 count = size / (kNano / kSuffixes[i].denominator);
      // More digits than 64 bits hold: whole part and fraction.
      if (count <= std::numeric_limits<std::int64_t>::max()) return spelled(count, kSuffixes[i].text);
    }
  return fmt::format("{}{}.{:09}", negative ? "-" : "", std::uint64_t(size / kNano),
                     std::uint64_t(size % kNano));
}

Fault call_quantity(Function function, const Value* args, Value& out) {
  if (function == Function::kQuantity || function == Function::kIsQuantity) {
    __int128 nanos = 0;
    const bool is_text = args[0].is(K::kString);
    if (function == Function::kIsQuantity)
      return is_text ? give(out, Value::boolean(parse_quantity_text(args[0].as_text(), nanos)))
                     : Fault::kNoOverload;
    if (args[0].is(K::kQuantity)) return give(out, args[0]);
    if (args[0].is(K::kInt)) return give_quantity(out, args[0].as_int() * kNano);
    if (!is_text) return Fault::kNoOverload;
    return parse_quantity_text(args[0].as_text(), nanos) ? give_quantity(out, nanos) : Fault::kConversion;
  }
  if (!args[0].is(K::kQuantity)) return Fault::kNoOverload;
  const __int128 a = args[0].as_quantity();
  switch (function) {
    case Function::kQuantitySign:
      return give(out, Value::integer((a > 0) - (a < 0)));
    case Function::kIsInteger:
      return give(out,
                  Value::boolean(a % kNano == 0 && a / kNano <= std::numeric_limits<std::int64_t>::max()));
    case Function::kAsInteger:
      if (a % kNano != 0) return Fault::kConversion;
      if (a / kNano > std::numeric_limits<std::int64_t>::max()) return Fault::kOverflow;
      return give(out, Value::integer(std::int64_t(a / kNano)));
    case Function::kAsApproximateFloat:
      return give(out, Value::real(double(a) / 1e9));
    default:
      break;
  }
  const bool takes_int = function == Function::kQuantityAdd || function == Function::kQuantitySub;
  if (!args[1].is(K::kQuantity) && !(takes_int && args[1].is(K::kInt))) return Fault::kNoOverload;
  const __int128 b = args[1].is(K::kInt) ? args[1].as_int() * kNano : args[1].as_quantity();
  switch (function) {
    case Function::kQuantityAdd:
      return give_quantity(out, a + b);
    case Function::kQuantitySub:
      return give_quantity(out, a - b);
    case Function::kCompareTo:
      return give(out, Value::integer((a > b) - (a < b)));
    case Function::kIsGreaterThan:
      return give(out, Value::boolean(a > b));
    case Function::kIsLessThan:
      return give(out, Value::boolean(a < b));
    default:
      return Fault::kNoOverload;
  }
}

}  // namespace neap::policy
