// What a call does, by family, and arithmetic.
#include <limits>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;
constexpr auto kIntMax = std::numeric_limits<std::int64_t>::max();
constexpr auto kIntMin = std::numeric_limits<std::int64_t>::min();

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

Fault text_call(Function function, const Value* args, const re2::RE2* pattern, std::uint64_t& steps_left,
                Value& out) {
  if (!args[0].is(K::kString) || !args[1].is(K::kString)) return Fault::kNoOverload;
  const auto text = args[0].as_text(), other = args[1].as_text();
  switch (function) {
    case Function::kStartsWith:
      return give(out, Value::boolean(text.starts_with(other)));
    case Function::kEndsWith:
      return give(out, Value::boolean(text.ends_with(other)));
    case Function::kContains:
      if (!spend(steps_left, text.size() / 64 * (other.size() / 64))) return Fault::kBudget;
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

bool is_zero(const Value& v) {
  switch (v.kind()) {
    case K::kNull:
      return true;
    case K::kBool:
      return !v.as_bool();
    case K::kInt:
      return v.as_int() == 0;
    case K::kUint:
      return v.as_uint() == 0;
    case K::kDouble:
      return v.as_double() == 0;
    case K::kString:
    case K::kBytes:
      return v.as_text().empty();
    case K::kDuration:
      return v.as_time() == TimeSpan{};
    case K::kList:
    case K::kMap:
    case K::kOptional:
      return v.size() == 0;
    default:
      return false;
  }
}

Fault call_optional(Function function, const Value* args, Value& out) {
  switch (function) {
    case Function::kOptionalNone:
      return give(out, Value::none());
    case Function::kOptionalOf:
      return give(out, Value::optional(args[0]));
    case Function::kOptionalOfNonZero:
      return give(out, is_zero(args[0]) ? Value::none() : Value::optional(args[0]));
    case Function::kUnwrap: {
      if (!args[0].is(K::kList)) return Fault::kNoOverload;
      std::vector<Value> held;
      for (std::size_t i = 0; i < args[0].size(); ++i) {
        const Value element = args[0].element(i);
        if (!element.is(K::kOptional)) return Fault::kNoOverload;
        if (element.size() == 1) held.push_back(element.optional_value());
      }
      return give(out, Value::list(std::move(held)));
    }
    default:
      break;
  }
  if (!args[0].is(K::kOptional)) return Fault::kNoOverload;
  if (function == Function::kHasValue) return give(out, Value::boolean(args[0].size() == 1));
  if (function == Function::kValue)
    return args[0].size() == 1 ? give(out, Value(args[0].optional_value())) : Fault::kNoValue;
  // Only an empty receiver comes here: the evaluator answers for the others without the argument.
  if (function == Function::kOr && !args[1].is(K::kOptional)) return Fault::kNoOverload;
  return give(out, args[1]);
}

}  // namespace

Fault give(Value& out, Value value) {
  out = std::move(value);
  return Fault::kNone;
}

Fault call_function(Function function, const Value* args, std::size_t count, const re2::RE2* pattern,
                    std::uint64_t& steps_left, Value& out) {
  if (function >= Function::kQuantity) return call_quantity(function, args, out);
  if (function >= Function::kOptionalNone) return call_optional(function, args, out);
  if (function >= Function::kGreatest) return call_math(function, args, count, out);
  if (function == Function::kFormat) return call_format(args[0], args[1], steps_left, out);
  if (function >= Function::kCharAt) return call_string(function, args, count, steps_left, out);
  if (function >= Function::kFullYear) return call_time(function, args, count, out);
  switch (function) {
    case Function::kSize:
      return size_of(args[0], out);
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
    case Function::kMatches:
      return text_call(function, args, pattern, steps_left, out);
    case Function::kDyn:
      return give(out, args[0]);
    case Function::kType:
      return give(out, Value::type(args[0].kind()));
    case Function::kMin:
    case Function::kMax:
      return extreme(function, args, count, out);
    case Function::kUnknown:
      return Fault::kNoFunction;
    default:
      return call_conversion(function, args[0], out);
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
