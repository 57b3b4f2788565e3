// The compiled form: one flat array, children before parents.
#pragma once

#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "neap/policy/cel.h"

namespace neap::policy {

enum class Op : std::uint8_t {
  kConst,     // a: constant
  kVariable,  // a: name
  kSlot,      // a: comprehension variable
  kSelect,    // a: operand, b: name
  kHas,       // a: operand, b: name
  kIndex,     // a, b
  kNot,
  kNegate,  // a
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,  // a, b
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,   // a, b
  kTernary,  // a, b, c
  kAnd,
  kOr,    // args
  kList,  // args
  kMap,   // args: key, value, key, value
  kCall,  // function, args (receiver first)
  kAll,
  kExists,
  kExistsOne,
  kFilter,     // a: range, b: body, c: slot
  kTransform,  // a: range, b: body, c: slot, arg_first: filter node + 1 or 0
};

enum class Function : std::uint8_t {
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
  kLowerAscii,
  kUpperAscii,
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
};

struct Node {
  Op op = Op::kConst;
  Function function = Function::kSize;
  std::uint32_t a = 0, b = 0, c = 0;
  std::uint32_t arg_first = 0, arg_count = 0;
  std::uint32_t position = 0;
};

struct ProgramImpl {
  std::string text;
  std::vector<Node> nodes;
  std::vector<std::uint32_t> args;
  std::vector<Value> constants;
  std::vector<std::string> names;
  std::vector<std::string> variables;
  // By node index of a `matches` call with a literal pattern.
  std::vector<std::pair<std::uint32_t, std::unique_ptr<re2::RE2>>> patterns;
  std::uint32_t root = 0;
  std::uint32_t slot_count = 0;
  std::uint64_t cost = 0;
};

// "line 2, column 7: what\n  text of the line\n        ^"
std::string point_at(std::string_view text, std::size_t position, std::string_view what);

// CEL's own spellings ("-1.5s", RFC 3339 with nine digits); false where the text is no such thing or out of
// range.
bool parse_cel_duration(std::string_view text, TimeSpan& out);
bool parse_cel_timestamp(std::string_view text, TimeSpan& out);
std::string format_cel_duration(TimeSpan span);
std::string format_cel_timestamp(TimeSpan span);
bool is_duration_in_range(const TimeSpan& span);
bool is_timestamp_in_range(const TimeSpan& span);
TimeSpan normalized(__int128 nanos);
__int128 total_nanos(const TimeSpan& span);
// Appends the UTF-8 form; false for surrogates and above U+10FFFF.
bool append_utf8(std::string& out, std::uint32_t code_point);
bool is_utf8(std::string_view text);
std::size_t count_code_points(std::string_view text);

// Deep equality with numbers compared across types, as CEL does it.
bool equal_values(const Value& a, const Value& b);
// The same, counting; false with `steps_left` 0 where the count ran out.
bool equal_values(const Value& a, const Value& b, std::uint64_t& steps_left);
// -1, 0, 1; 2 where unordered (NaN); 3 where the kinds have no order.
int compare_values(const Value& a, const Value& b);

enum class Fault : std::uint8_t {
  kNone,
  kNoVariable,
  kNoField,
  kNoKey,
  kNoOverload,
  kOverflow,
  kDivideByZero,
  kIndex,
  kConversion,
  kRegex,
  kBudget,
};

// Calls with evaluated arguments; kNone on success. `pattern` is the precompiled one or null.
Fault call_function(Function function, const Value* args, std::size_t count, const re2::RE2* pattern,
                    Value& out);
Fault arithmetic(Op op, const Value& a, const Value& b, Value& out);

}  // namespace neap::policy
