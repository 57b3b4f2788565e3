#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;
constexpr auto kIntMax = std::numeric_limits<std::int64_t>::max();
constexpr auto kIntMin = std::numeric_limits<std::int64_t>::min();

Fault give(Value& out, Value value) {
  out = std::move(value);
  return Fault::kNone;
}

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

Fault size_of(const Value& v, Value& out) {
  switch (v.kind()) {
    case K::kString:
      return give(out, Value::integer(std::int64_t(count_code_points(v.as_text()))));
    case K::kBytes:
      return give(out, Value::integer(std::int64_t(v.as_text().size())));
    case K::kList:
    case K::kMap:
      return give(out, Value::integer(std::int64_t(v.size())));
    default:
      return Fault::kNoOverload;
  }
}

// "+08:00", "-8:30", "UTC"; named zones need a database that a pure module does not read.
bool parse_zone(std::string_view text, std::int64_t& seconds) {
  seconds = 0;
  if (text.empty() || text == "UTC" || text == "Z") return true;
  std::size_t at = 0;
  const int sign = text[0] == '-' ? -1 : 1;
  if (text[0] == '-' || text[0] == '+') ++at;
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon - at < 1 || colon - at > 2 || text.size() - colon != 3)
    return false;
  int part[2] = {0, 0};
  for (std::size_t i = at; i < text.size(); ++i) {
    if (i == colon) continue;
    if (text[i] < '0' || text[i] > '9') return false;
    part[i > colon] = part[i > colon] * 10 + (text[i] - '0');
  }
  seconds = sign * (part[0] * 3600 + part[1] * 60);
  return true;
}

Fault time_part(Function function, const Value* args, std::size_t count, Value& out) {
  if (args[0].is(K::kDuration) && count == 1) {
    const auto span = args[0].as_time();
    switch (function) {
      case Function::kHours:
        return give(out, Value::integer(span.seconds / 3600));
      case Function::kMinutes:
        return give(out, Value::integer(span.seconds / 60));
      case Function::kSeconds:
        return give(out, Value::integer(span.seconds));
      case Function::kMilliseconds:
        return give(out, Value::integer(span.nanos / 1'000'000));
      default:
        return Fault::kNoOverload;
    }
  }
  if (!args[0].is(K::kTimestamp) || (count == 2 && !args[1].is(K::kString))) return Fault::kNoOverload;
  std::int64_t zone = 0;
  if (count == 2 && !parse_zone(args[1].as_text(), zone)) return Fault::kConversion;
  const auto span = args[0].as_time();
  const std::chrono::sys_seconds at{std::chrono::seconds(span.seconds + zone)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{at - day};
  std::int64_t value = 0;
  switch (function) {
    case Function::kFullYear:
      value = int(date.year());
      break;
    case Function::kMonth:
      value = unsigned(date.month()) - 1;
      break;
    case Function::kDate:
      value = unsigned(date.day());
      break;
    case Function::kDayOfMonth:
      value = unsigned(date.day()) - 1;
      break;
    case Function::kDayOfWeek:
      value = std::chrono::weekday(day).c_encoding();
      break;
    case Function::kDayOfYear:
      value = (day - std::chrono::sys_days(date.year() / std::chrono::January / 1)).count();
      break;
    case Function::kHours:
      value = clock.hours().count();
      break;
    case Function::kMinutes:
      value = clock.minutes().count();
      break;
    case Function::kSeconds:
      value = clock.seconds().count();
      break;
    case Function::kMilliseconds:
      value = span.nanos / 1'000'000;
      break;
    default:
      return Fault::kNoOverload;
  }
  return give(out, Value::integer(value));
}

Fault extreme(Function function, const Value* args, std::size_t count, Value& out) {
  std::vector<Value> elements;
  if (count == 1 && args[0].is(K::kList)) {
    for (std::size_t i = 0; i < args[0].size(); ++i) elements.push_back(args[0].element(i));
    args = elements.data();
    count = elements.size();
  }
  if (count == 0) return Fault::kNoOverload;
  Value best = args[0];
  for (std::size_t i = 1; i < count; ++i) {
    const int order = compare_values(args[i], best);
    if (order > 1) return Fault::kNoOverload;
    if (order == (function == Function::kMin ? -1 : 1)) best = args[i];
  }
  return give(out, std::move(best));
}

Fault text_call(Function function, const Value* args, const re2::RE2* pattern, Value& out) {
  if (!args[0].is(K::kString) || !args[1].is(K::kString)) return Fault::kNoOverload;
  const auto text = args[0].as_text(), other = args[1].as_text();
  switch (function) {
    case Function::kStartsWith:
      return give(out, Value::boolean(text.starts_with(other)));
    case Function::kEndsWith:
      return give(out, Value::boolean(text.ends_with(other)));
    case Function::kContains:
      return give(out, Value::boolean(text.find(other) != std::string_view::npos));
    default:
      break;
  }
  const re2::StringPiece subject(text.data(), text.size());
  if (pattern) return give(out, Value::boolean(re2::RE2::PartialMatch(subject, *pattern)));
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  const re2::RE2 compiled(re2::StringPiece(other.data(), other.size()), options);
  return compiled.ok() ? give(out, Value::boolean(re2::RE2::PartialMatch(subject, compiled))) : Fault::kRegex;
}

}  // namespace

Fault call_function(Function function, const Value* args, std::size_t count, const re2::RE2* pattern,
                    Value& out) {
  switch (function) {
    case Function::kSize:
      return size_of(args[0], out);
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
    case Function::kMatches:
      return text_call(function, args, pattern, out);
    case Function::kInt:
      return to_int(args[0], out);
    case Function::kUint:
      return to_uint(args[0], out);
    case Function::kDouble:
      return to_double(args[0], out);
    case Function::kString:
      return to_text_value(args[0], out);
    case Function::kBool:
      return to_bool(args[0], out);
    case Function::kBytes:
      if (args[0].is(K::kBytes)) return give(out, args[0]);
      return args[0].is(K::kString) ? give(out, Value::bytes(std::string(args[0].as_text())))
                                    : Fault::kNoOverload;
    case Function::kDuration: {
      if (args[0].is(K::kDuration)) return give(out, args[0]);
      if (!args[0].is(K::kString)) return Fault::kNoOverload;
      TimeSpan span;
      return parse_cel_duration(args[0].as_text(), span) ? give(out, Value::duration(span))
                                                         : Fault::kConversion;
    }
    case Function::kTimestamp: {
      if (args[0].is(K::kTimestamp)) return give(out, args[0]);
      TimeSpan span;
      if (args[0].is(K::kInt)) {
        span = {args[0].as_int(), 0};
        return is_timestamp_in_range(span) ? give(out, Value::timestamp(span)) : Fault::kOverflow;
      }
      if (!args[0].is(K::kString)) return Fault::kNoOverload;
      return parse_cel_timestamp(args[0].as_text(), span) ? give(out, Value::timestamp(span))
                                                          : Fault::kConversion;
    }
    case Function::kDyn:
      return give(out, args[0]);
    case Function::kType:
      return give(out, Value::type(args[0].kind()));
    case Function::kMin:
    case Function::kMax:
      return extreme(function, args, count, out);
    case Function::kLowerAscii:
    case Function::kUpperAscii: {
      if (!args[0].is(K::kString)) return Fault::kNoOverload;
      std::string text(args[0].as_text());
      for (char& c : text) {
        if (function == Function::kLowerAscii && c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
        if (function == Function::kUpperAscii && c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
      }
      return give(out, Value::string(std::move(text)));
    }
    default:
      return time_part(function, args, count, out);
  }
}

namespace {

Fault int_arithmetic(Op op, std::int64_t a, std::int64_t b, Value& out) {
  std::int64_t r = 0;
  switch (op) {
    case Op::kAdd:
      if (__builtin_add_overflow(a, b, &r)) return Fault::kOverflow;
      break;
    case Op::kSubtract:
      if (__builtin_sub_overflow(a, b, &r)) return Fault::kOverflow;
      break;
    case Op::kMultiply:
      if (__builtin_mul_overflow(a, b, &r)) return Fault::kOverflow;
      break;
    default:
      if (b == 0) return Fault::kDivideByZero;
      if (a == kIntMin && b == -1) return Fault::kOverflow;
      r = op == Op::kDivide ? a / b : a % b;
  }
  return give(out, Value::integer(r));
}

Fault uint_arithmetic(Op op, std::uint64_t a, std::uint64_t b, Value& out) {
  std::uint64_t r = 0;
  switch (op) {
    case Op::kAdd:
      if (__builtin_add_overflow(a, b, &r)) return Fault::kOverflow;
      break;
    case Op::kSubtract:
      if (__builtin_sub_overflow(a, b, &r)) return Fault::kOverflow;
      break;
    case Op::kMultiply:
      if (__builtin_mul_overflow(a, b, &r)) return Fault::kOverflow;
      break;
    default:
      if (b == 0) return Fault::kDivideByZero;
      r = op == Op::kDivide ? a / b : a % b;
  }
  return give(out, Value::unsigned_integer(r));
}

Fault time_arithmetic(Op op, const Value& a, const Value& b, Value& out) {
  if (op != Op::kAdd && op != Op::kSubtract) return Fault::kNoOverload;
  const __int128 x = total_nanos(a.as_time()), y = total_nanos(b.as_time());
  const bool a_is_point = a.is(K::kTimestamp), b_is_point = b.is(K::kTimestamp);
  if ((a_is_point && b_is_point && op == Op::kAdd) || (!a_is_point && b_is_point && op == Op::kSubtract))
    return Fault::kNoOverload;
  const __int128 r = op == Op::kAdd ? x + y : x - y;
  if (a_is_point != b_is_point) {
    TimeSpan span = normalized(r);
    if (span.nanos < 0) span = {span.seconds - 1, span.nanos + 1'000'000'000};
    return is_timestamp_in_range(span) ? give(out, Value::timestamp(span)) : Fault::kOverflow;
  }
  // The difference of two points must fit 64-bit nanoseconds, as the conformance tests have it.
  if (a_is_point && (r > kIntMax || r < kIntMin)) return Fault::kOverflow;
  const TimeSpan span = normalized(r);
  return is_duration_in_range(span) ? give(out, Value::duration(span)) : Fault::kOverflow;
}

}  // namespace

Fault arithmetic(Op op, const Value& a, const Value& b, Value& out) {
  if (a.is(K::kInt) && b.is(K::kInt)) return int_arithmetic(op, a.as_int(), b.as_int(), out);
  if (a.is(K::kUint) && b.is(K::kUint)) return uint_arithmetic(op, a.as_uint(), b.as_uint(), out);
  if (a.is(K::kDouble) && b.is(K::kDouble)) {
    const double x = a.as_double(), y = b.as_double();
    switch (op) {
      case Op::kAdd:
        return give(out, Value::real(x + y));
      case Op::kSubtract:
        return give(out, Value::real(x - y));
      case Op::kMultiply:
        return give(out, Value::real(x * y));
      case Op::kDivide:
        return give(out, Value::real(x / y));
      default:
        return Fault::kNoOverload;
    }
  }
  const auto is_time = [](const Value& v) { return v.is(K::kDuration) || v.is(K::kTimestamp); };
  if (is_time(a) && is_time(b)) return time_arithmetic(op, a, b, out);
  if (op != Op::kAdd || a.kind() != b.kind()) return Fault::kNoOverload;
  if (a.is(K::kString) || a.is(K::kBytes)) {
    std::string joined(a.as_text());
    joined += b.as_text();
    return give(out, a.is(K::kString) ? Value::string(std::move(joined)) : Value::bytes(std::move(joined)));
  }
  if (a.is(K::kList)) {
    std::vector<Value> joined;
    joined.reserve(a.size() + b.size());
    for (std::size_t i = 0; i < a.size(); ++i) joined.push_back(a.element(i));
    for (std::size_t i = 0; i < b.size(); ++i) joined.push_back(b.element(i));
    return give(out, Value::list(std::move(joined)));
  }
  return Fault::kNoOverload;
}

}  // namespace neap::policy
