// The compiled form: one flat array, children before parents.
#pragma once

#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "internal/functions.h"
#include "neap/policy/cel.h"
#include "neap/policy/environment.h"

namespace neap::policy {

enum class Op : std::uint8_t {
  kConst,     // a: constant
  kVariable,  // a: name
  kSlot,      // a: slot of a macro's variable
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
  kCall,  // a: name, b: precompiled pattern + 1 or 0, args (receiver first)
  // Macros. a: range, b: body, c: slot, d: second slot + 1 or 0, arg_first: filter node + 1 or 0.
  kAll,
  kExists,
  kExistsOne,
  kFilter,
  kTransform,
  kTransformMap,
  kTransformEntry,
  // a: target, b: body, c: slot.
  kBind,
  kOptionalMap,
  kOptionalFlatMap,
  kBlock,      // args: the shared expressions, b: body, slots c..d-1 are theirs
  kBlockSlot,  // a: slot, b: the expression that fills it
};

// How a node was written, or what the checker found out.
enum NodeFlag : std::uint8_t {
  kOptional = 1,   // a.?b, a[?b]
  kMember = 2,     // receiver.call()
  kRooted = 4,     // .name
  kQualified = 8,  // a chain of plain names that a dotted variable may shadow
};

struct Node {
  Op op = Op::kConst;
  std::uint8_t flags = 0;
  Function function = Function::kUnknown;
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  std::uint32_t arg_first = 0, arg_count = 0;
  std::uint32_t position = 0;
};

struct ProgramImpl {
  std::string text;
  std::vector<Node> nodes;
  std::vector<std::uint32_t> args;
  // Parallel to `args`: true for `[?x]` and `{?k: v}`.
  std::vector<bool> args_optional;
  std::vector<Value> constants;
  // Fields, functions and variables, each once.
  std::vector<std::string> names;
  std::vector<std::string> variables;
  std::string container;
  std::vector<std::unique_ptr<re2::RE2>> patterns;
  std::uint32_t root = 0;
  std::uint32_t slot_count = 0;
  bool has_blocks = false;
  std::uint64_t cost = 0;
  Type type;
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
std::string format_double(double value);
bool parse_quantity_text(std::string_view text, __int128& nanos);
std::string format_quantity(__int128 nanos);
std::string encode_base64(std::string_view bytes);
bool decode_base64(std::string_view text, std::string& out);
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
  kNoFunction,
  kOverflow,
  kDivideByZero,
  kIndex,
  kConversion,
  kRegex,
  kNoValue,
  kFormat,
  kBudget,
};

// False, and nothing left, where the budget does not cover `steps`.
inline bool spend(std::uint64_t& steps_left, std::uint64_t steps) {
  steps_left = steps > steps_left ? 0 : steps_left - steps;
  return steps_left > 0;
}
Fault give(Value& out, Value value);
// Calls with evaluated arguments, receiver first; `pattern` is the precompiled one or null. `steps_left` is
// charged by calls whose work or result is larger than their operands.
Fault call_function(Function function, const Value* args, std::size_t count, const re2::RE2* pattern,
                    std::uint64_t& steps_left, Value& out);
Fault arithmetic(Op op, const Value& a, const Value& b, Value& out);

// Families of call_function, each in its own file.
Fault call_conversion(Function function, const Value& v, Value& out);
Fault call_string(Function function, const Value* args, std::size_t count, std::uint64_t& steps_left,
                  Value& out);
Fault call_format(const Value& pattern, const Value& args, std::uint64_t& steps_left, Value& out);
Fault call_math(Function function, const Value* args, std::size_t count, Value& out);
Fault call_quantity(Function function, const Value* args, Value& out);
Fault call_time(Function function, const Value* args, std::size_t count, Value& out);

// Seconds east of Greenwich that the named zone ("Europe/Berlin", "+08:00", "UTC") keeps at `seconds`; false
// where there is no such zone.
bool find_zone_offset(std::string_view zone, std::int64_t seconds, std::int64_t& offset);

}  // namespace neap::policy
