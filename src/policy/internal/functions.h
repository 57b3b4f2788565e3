// The functions of the language: one row of text per overload, which the checker, the call dispatch and the
// reference page read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "neap/policy/environment.h"

namespace neap::policy {

enum class Function : std::uint8_t {
  kUnknown,
  kSize,
  kStartsWith,
  kEndsWith,
  kContains,
  kMatches,
  kInt,
  kUint,
  kDouble,
  kString,
  kBytes,
  kBool,
  kDuration,
  kTimestamp,
  kDyn,
  kType,
  kMin,
  kMax,
  kFullYear,
  kMonth,
  kDate,
  kDayOfMonth,
  kDayOfWeek,
  kDayOfYear,
  kHours,
  kMinutes,
  kSeconds,
  kMilliseconds,
  kCharAt,
  kIndexOf,
  kLastIndexOf,
  kJoin,
  kLowerAscii,
  kUpperAscii,
  kReplace,
  kReverse,
  kSplit,
  kSubstring,
  kTrim,
  kQuote,
  kFormat,
  kEncodeBase64,
  kDecodeBase64,
  kGreatest,
  kLeast,
  kAbs,
  kCeil,
  kFloor,
  kRound,
  kTrunc,
  kSign,
  kSqrt,
  kIsNan,
  kIsInf,
  kIsFinite,
  kBitAnd,
  kBitOr,
  kBitXor,
  kBitNot,
  kBitShiftLeft,
  kBitShiftRight,
  kOptionalNone,
  kOptionalOf,
  kOptionalOfNonZero,
  kHasValue,
  kValue,
  kOr,
  kOrValue,
  kUnwrap,
  kQuantity,
  kIsQuantity,
  kQuantitySign,
  kIsInteger,
  kAsInteger,
  kAsApproximateFloat,
  kQuantityAdd,
  kQuantitySub,
  kCompareTo,
  kIsGreaterThan,
  kIsLessThan,
};

struct Overload {
  std::string name;
  Function function = Function::kUnknown;
  bool is_member = false;
  // The last parameter may come any number of times.
  bool is_variadic = false;
  // Receiver first.
  std::vector<Type> parameters;
  Type result;
};

// Overloads of the language, in the order of the table.
std::span<const Overload> builtin_overloads();
// All with that name and style; empty where there is no such function.
std::vector<const Overload*> find_overloads(std::span<const Overload> table, std::string_view name,
                                            bool is_member);
// The same for operators: `_+_`, `_[_]`, `_?_:_`.
std::span<const Overload> operator_overloads();
enum class Op : std::uint8_t;
std::string_view operator_name(Op op);
bool is_builtin_function(std::string_view name);

}  // namespace neap::policy
