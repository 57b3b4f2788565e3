// Conversions between kinds: int(), uint(), double(), string(), bytes(), bool(), duration(), timestamp().
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;
constexpr auto kIntMax = std::numeric_limits<std::int64_t>::max();
constexpr auto kIntMin = std::numeric_limits<std::int64_t>::min();

bool parse_whole(std::string_view text, bool is_signed, Value& out) {
  std::size_t at = 0;
  const bool negative = is_signed && !text.empty() && text[0] == '-';
  if (negative || (!text.empty() && text[0] == '+')) ++at;
  if (at == text.size()) return false;
  __int128 value = 0;
  for (; at < text.size(); ++at) {
    if (text[at] < '0' || text[at] > '9') return false;
    value = value * 10 + (text[at] - '0');
    if (value > (__int128(1) << 64)) return false;
  }
  if (negative) value = -value;
  if (is_signed && (value > kIntMax || value < kIntMin)) return false;
  if (!is_signed && value > std::numeric_limits<std::uint64_t>::max()) return false;
  out = is_signed ? Value::integer(std::int64_t(value)) : Value::unsigned_integer(std::uint64_t(value));
  return true;
}

Fault to_int(const Value& v, Value& out) {
  switch (v.kind()) {
    case K::kInt:
      return give(out, v);
    case K::kUint:
      return v.as_uint() > std::uint64_t(kIntMax) ? Fault::kOverflow
                                                  : give(out, Value::integer(std::int64_t(v.as_uint())));
    case K::kDouble:
      // The language definition leaves no integer at either end of the range: doubles cannot name it exactly.
      if (!(v.as_double() > -9223372036854775808.0 && v.as_double() < 9223372036854775808.0))
        return Fault::kOverflow;
      return give(out, Value::integer(std::int64_t(v.as_double())));
    case K::kString:
      return parse_whole(v.as_text(), true, out) ? Fault::kNone : Fault::kConversion;
    case K::kTimestamp:
      return give(out, Value::integer(v.as_time().seconds));
    case K::kDuration:
      return give(out, Value::integer(v.as_time().seconds));
    default:
      return Fault::kNoOverload;
  }
}

Fault to_uint(const Value& v, Value& out) {
  switch (v.kind()) {
    case K::kUint:
      return give(out, v);
    case K::kInt:
      return v.as_int() < 0 ? Fault::kOverflow
                            : give(out, Value::unsigned_integer(std::uint64_t(v.as_int())));
    case K::kDouble:
      if (!(v.as_double() > -1.0 && v.as_double() < 18446744073709551616.0)) return Fault::kOverflow;
      if (v.as_double() < 0) return Fault::kOverflow;
      return give(out, Value::unsigned_integer(std::uint64_t(v.as_double())));
    case K::kString:
      return parse_whole(v.as_text(), false, out) ? Fault::kNone : Fault::kConversion;
    default:
      return Fault::kNoOverload;
  }
}

Fault to_double(const Value& v, Value& out) {
  switch (v.kind()) {
    case K::kDouble:
      return give(out, v);
    case K::kInt:
      return give(out, Value::real(double(v.as_int())));
    case K::kUint:
      return give(out, Value::real(double(v.as_uint())));
    case K::kString: {
      const std::string text(v.as_text());
      if (text.empty() || text.size() > 400 || std::isspace(static_cast<unsigned char>(text[0])))
        return Fault::kConversion;
      char* end = nullptr;
      const double value = std::strtod(text.c_str(), &end);
      return end == text.c_str() + text.size() ? give(out, Value::real(value)) : Fault::kConversion;
    }
    default:
      return Fault::kNoOverload;
  }
}

Fault to_text_value(const Value& v, Value& out) {
  switch (v.kind()) {
    case K::kString:
      return give(out, v);
    case K::kBytes:
      return is_utf8(v.as_text()) ? give(out, Value::string(std::string(v.as_text()))) : Fault::kConversion;
    case K::kUint:
      return give(out, Value::string(fmt::format("{}", v.as_uint())));
    case K::kBool:
    case K::kInt:
    case K::kDouble:
    case K::kDuration:
    case K::kTimestamp:
    case K::kQuantity:
      return give(out, Value::string(v.to_text()));
    default:
      return Fault::kNoOverload;
  }
}

Fault to_bool(const Value& v, Value& out) {
  if (v.is(K::kBool)) return give(out, v);
  if (!v.is(K::kString)) return Fault::kNoOverload;
  const auto text = v.as_text();
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return give(out, Value::boolean(true));
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return give(out, Value::boolean(false));
  return Fault::kConversion;
}

Fault to_duration(const Value& v, Value& out) {
  if (v.is(K::kDuration)) return give(out, v);
  TimeSpan span{};
  if (v.is(K::kInt)) {
    span.seconds = v.as_int();
    return is_duration_in_range(span) ? give(out, Value::duration(span)) : Fault::kOverflow;
  }
  if (!v.is(K::kString)) return Fault::kNoOverload;
  return parse_cel_duration(v.as_text(), span) ? give(out, Value::duration(span)) : Fault::kConversion;
}

Fault to_timestamp(const Value& v, Value& out) {
  if (v.is(K::kTimestamp)) return give(out, v);
  TimeSpan span{};
  if (v.is(K::kInt)) {
    span.seconds = v.as_int();
    return is_timestamp_in_range(span) ? give(out, Value::timestamp(span)) : Fault::kOverflow;
  }
  if (!v.is(K::kString)) return Fault::kNoOverload;
  return parse_cel_timestamp(v.as_text(), span) ? give(out, Value::timestamp(span)) : Fault::kConversion;
}

}  // namespace

Fault call_conversion(Function function, const Value& v, Value& out) {
  switch (function) {
    case Function::kInt:
      return to_int(v, out);
    case Function::kUint:
      return to_uint(v, out);
    case Function::kDouble:
      return to_double(v, out);
    case Function::kString:
      return to_text_value(v, out);
    case Function::kBool:
      return to_bool(v, out);
    case Function::kDuration:
      return to_duration(v, out);
    case Function::kTimestamp:
      return to_timestamp(v, out);
    default:
      if (v.is(K::kBytes)) return give(out, v);
      return v.is(K::kString) ? give(out, Value::bytes(std::string(v.as_text()))) : Fault::kNoOverload;
  }
}

}  // namespace neap::policy
