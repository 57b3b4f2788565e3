// The math extension.
#include <bit>
#include <cmath>
#include <limits>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;

bool is_number(const Value& v) { return v.is(K::kInt) || v.is(K::kUint) || v.is(K::kDouble); }

Fault call_extreme(Function function, const Value* args, std::size_t count, Value& out) {
  std::vector<Value> elements;
  if (count == 1 && args[0].is(K::kList)) {
    for (std::size_t i = 0; i < args[0].size(); ++i) elements.push_back(args[0].element(i));
    args = elements.data();
    count = elements.size();
  }
  if (count == 0) return Fault::kNoOverload;
  std::size_t best = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_number(args[i])) return Fault::kNoOverload;
    if (compare_values(args[i], args[best]) == (function == Function::kLeast ? -1 : 1)) best = i;
  }
  return give(out, Value(args[best]));
}

Fault call_real(Function function, double x, Value& out) {
  switch (function) {
    case Function::kAbs:
      return give(out, Value::real(std::fabs(x)));
    case Function::kCeil:
      return give(out, Value::real(std::ceil(x)));
    case Function::kFloor:
      return give(out, Value::real(std::floor(x)));
    case Function::kRound:
      return give(out, Value::real(std::round(x)));
    case Function::kTrunc:
      return give(out, Value::real(std::trunc(x)));
    case Function::kSign:
      return give(out, Value::real(std::isnan(x) ? x : double(x > 0) - double(x < 0)));
    case Function::kSqrt:
      return give(out, Value::real(std::sqrt(x)));
    case Function::kIsNan:
      return give(out, Value::boolean(std::isnan(x)));
    case Function::kIsInf:
      return give(out, Value::boolean(std::isinf(x)));
    case Function::kIsFinite:
      return give(out, Value::boolean(std::isfinite(x)));
    default:
      return Fault::kNoOverload;
  }
}

Fault call_whole(Function function, const Value& v, Value& out) {
  const bool is_int = v.is(K::kInt);
  switch (function) {
    case Function::kAbs:
      if (!is_int || v.as_int() >= 0) return give(out, v);
      if (v.as_int() == std::numeric_limits<std::int64_t>::min()) return Fault::kOverflow;
      return give(out, Value::integer(-v.as_int()));
    case Function::kSign:
      if (!is_int) return give(out, Value::unsigned_integer(v.as_uint() > 0));
      return give(out, Value::integer((v.as_int() > 0) - (v.as_int() < 0)));
    case Function::kSqrt:
      return give(out, Value::real(std::sqrt(is_int ? double(v.as_int()) : double(v.as_uint()))));
    case Function::kBitNot:
      return give(out, is_int ? Value::integer(~v.as_int()) : Value::unsigned_integer(~v.as_uint()));
    default:
      return Fault::kNoOverload;
  }
}

std::uint64_t bits_of(const Value& v) {
  return v.is(K::kInt) ? std::bit_cast<std::uint64_t>(v.as_int()) : v.as_uint();
}

Fault call_bits(Function function, const Value& a, const Value& b, Value& out) {
  if (!(a.is(K::kInt) || a.is(K::kUint))) return Fault::kNoOverload;
  const bool shifts = function == Function::kBitShiftLeft || function == Function::kBitShiftRight;
  if (shifts ? !b.is(K::kInt) : b.kind() != a.kind()) return Fault::kNoOverload;
  const std::uint64_t x = bits_of(a), y = bits_of(b);
  std::uint64_t r = 0;
  switch (function) {
    case Function::kBitAnd:
      r = x & y;
      break;
    case Function::kBitOr:
      r = x | y;
      break;
    case Function::kBitXor:
      r = x ^ y;
      break;
    default:
      if (b.as_int() < 0) return Fault::kOverflow;
      // Right shifts bring in zeros for signed numbers, too.
      if (b.as_int() < 64) r = function == Function::kBitShiftLeft ? x << y : x >> y;
  }
  return give(out,
              a.is(K::kInt) ? Value::integer(std::bit_cast<std::int64_t>(r)) : Value::unsigned_integer(r));
}

}  // namespace

Fault call_math(Function function, const Value* args, std::size_t count, Value& out) {
  if (function == Function::kGreatest || function == Function::kLeast)
    return call_extreme(function, args, count, out);
  if (count == 2) return call_bits(function, args[0], args[1], out);
  if (args[0].is(K::kDouble)) return call_real(function, args[0].as_double(), out);
  return is_number(args[0]) ? call_whole(function, args[0], out) : Fault::kNoOverload;
}

}  // namespace neap::policy
