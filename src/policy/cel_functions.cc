#include "internal/functions.h"

#include <array>

#include "internal/node.h"

#include "neap/base/assert.h"

namespace neap::policy {
namespace {

struct Row {
  // `name(parameters): result`, or `receiver.name(parameters): result`; `...` after the last parameter.
  std::string_view signature;
  Function function;
};

// A member's receiver stands before a '|', because function names may be dotted themselves.
constexpr auto kRows = std::to_array<Row>({
    {"size(string): int", Function::kSize},
    {"size(bytes): int", Function::kSize},
    {"size(list(A)): int", Function::kSize},
    {"size(map(A, B)): int", Function::kSize},
    {"string|size(): int", Function::kSize},
    {"bytes|size(): int", Function::kSize},
    {"list(A)|size(): int", Function::kSize},
    {"map(A, B)|size(): int", Function::kSize},
    {"string|startsWith(string): bool", Function::kStartsWith},
    {"string|endsWith(string): bool", Function::kEndsWith},
    {"string|contains(string): bool", Function::kContains},
    {"string|matches(string): bool", Function::kMatches},
    {"matches(string, string): bool", Function::kMatches},
    {"int(int): int", Function::kInt},
    {"int(uint): int", Function::kInt},
    {"int(double): int", Function::kInt},
    {"int(string): int", Function::kInt},
    {"int(timestamp): int", Function::kInt},
    {"int(duration): int", Function::kInt},
    {"uint(uint): uint", Function::kUint},
    {"uint(int): uint", Function::kUint},
    {"uint(double): uint", Function::kUint},
    {"uint(string): uint", Function::kUint},
    {"double(double): double", Function::kDouble},
    {"double(int): double", Function::kDouble},
    {"double(uint): double", Function::kDouble},
    {"double(string): double", Function::kDouble},
    {"string(string): string", Function::kString},
    {"string(bool): string", Function::kString},
    {"string(int): string", Function::kString},
    {"string(uint): string", Function::kString},
    {"string(double): string", Function::kString},
    {"string(bytes): string", Function::kString},
    {"string(timestamp): string", Function::kString},
    {"string(duration): string", Function::kString},
    {"string(quantity): string", Function::kString},
    {"bytes(bytes): bytes", Function::kBytes},
    {"bytes(string): bytes", Function::kBytes},
    {"bool(bool): bool", Function::kBool},
    {"bool(string): bool", Function::kBool},
    {"duration(duration): duration", Function::kDuration},
    {"duration(int): duration", Function::kDuration},
    {"duration(string): duration", Function::kDuration},
    {"timestamp(timestamp): timestamp", Function::kTimestamp},
    {"timestamp(int): timestamp", Function::kTimestamp},
    {"timestamp(string): timestamp", Function::kTimestamp},
    {"dyn(A): dyn", Function::kDyn},
    {"type(A): type(A)", Function::kType},
    // Beyond the language definition: the smallest and the largest of a list or of the arguments.
    {"min(list(A)): A", Function::kMin},
    {"min(A...): A", Function::kMin},
    {"max(list(A)): A", Function::kMax},
    {"max(A...): A", Function::kMax},
    {"timestamp|getFullYear(): int", Function::kFullYear},
    {"timestamp|getFullYear(string): int", Function::kFullYear},
    {"timestamp|getMonth(): int", Function::kMonth},
    {"timestamp|getMonth(string): int", Function::kMonth},
    {"timestamp|getDate(): int", Function::kDate},
    {"timestamp|getDate(string): int", Function::kDate},
    {"timestamp|getDayOfMonth(): int", Function::kDayOfMonth},
    {"timestamp|getDayOfMonth(string): int", Function::kDayOfMonth},
    {"timestamp|getDayOfWeek(): int", Function::kDayOfWeek},
    {"timestamp|getDayOfWeek(string): int", Function::kDayOfWeek},
    {"timestamp|getDayOfYear(): int", Function::kDayOfYear},
    {"timestamp|getDayOfYear(string): int", Function::kDayOfYear},
    {"timestamp|getHours(): int", Function::kHours},
    {"timestamp|getHours(string): int", Function::kHours},
    {"duration|getHours(): int", Function::kHours},
    {"timestamp|getMinutes(): int", Function::kMinutes},
    {"timestamp|getMinutes(string): int", Function::kMinutes},
    {"duration|getMinutes(): int", Function::kMinutes},
    {"timestamp|getSeconds(): int", Function::kSeconds},
    {"timestamp|getSeconds(string): int", Function::kSeconds},
    {"duration|getSeconds(): int", Function::kSeconds},
    {"timestamp|getMilliseconds(): int", Function::kMilliseconds},
    {"timestamp|getMilliseconds(string): int", Function::kMilliseconds},
    {"duration|getMilliseconds(): int", Function::kMilliseconds},
    // Strings.
    {"string|charAt(int): string", Function::kCharAt},
    {"string|indexOf(string): int", Function::kIndexOf},
    {"string|indexOf(string, int): int", Function::kIndexOf},
    {"string|lastIndexOf(string): int", Function::kLastIndexOf},
    {"string|lastIndexOf(string, int): int", Function::kLastIndexOf},
    {"list(string)|join(): string", Function::kJoin},
    {"list(string)|join(string): string", Function::kJoin},
    {"string|lowerAscii(): string", Function::kLowerAscii},
    {"string|upperAscii(): string", Function::kUpperAscii},
    {"string|replace(string, string): string", Function::kReplace},
    {"string|replace(string, string, int): string", Function::kReplace},
    {"string|reverse(): string", Function::kReverse},
    {"string|split(string): list(string)", Function::kSplit},
    {"string|split(string, int): list(string)", Function::kSplit},
    {"string|substring(int): string", Function::kSubstring},
    {"string|substring(int, int): string", Function::kSubstring},
    {"string|trim(): string", Function::kTrim},
    {"strings.quote(string): string", Function::kQuote},
    {"string|format(list(dyn)): string", Function::kFormat},
    {"base64.encode(bytes): string", Function::kEncodeBase64},
    {"base64.decode(string): bytes", Function::kDecodeBase64},
    // Mathematics; greatest and least are typed by the checker itself.
    {"math.greatest(dyn...): dyn", Function::kGreatest},
    {"math.least(dyn...): dyn", Function::kLeast},
    {"math.abs(int): int", Function::kAbs},
    {"math.abs(uint): uint", Function::kAbs},
    {"math.abs(double): double", Function::kAbs},
    {"math.ceil(double): double", Function::kCeil},
    {"math.floor(double): double", Function::kFloor},
    {"math.round(double): double", Function::kRound},
    {"math.trunc(double): double", Function::kTrunc},
    {"math.sign(int): int", Function::kSign},
    {"math.sign(uint): uint", Function::kSign},
    {"math.sign(double): double", Function::kSign},
    {"math.sqrt(int): double", Function::kSqrt},
    {"math.sqrt(uint): double", Function::kSqrt},
    {"math.sqrt(double): double", Function::kSqrt},
    {"math.isNaN(double): bool", Function::kIsNan},
    {"math.isInf(double): bool", Function::kIsInf},
    {"math.isFinite(double): bool", Function::kIsFinite},
    {"math.bitAnd(int, int): int", Function::kBitAnd},
    {"math.bitAnd(uint, uint): uint", Function::kBitAnd},
    {"math.bitOr(int, int): int", Function::kBitOr},
    {"math.bitOr(uint, uint): uint", Function::kBitOr},
    {"math.bitXor(int, int): int", Function::kBitXor},
    {"math.bitXor(uint, uint): uint", Function::kBitXor},
    {"math.bitNot(int): int", Function::kBitNot},
    {"math.bitNot(uint): uint", Function::kBitNot},
    {"math.bitShiftLeft(int, int): int", Function::kBitShiftLeft},
    {"math.bitShiftLeft(uint, int): uint", Function::kBitShiftLeft},
    {"math.bitShiftRight(int, int): int", Function::kBitShiftRight},
    {"math.bitShiftRight(uint, int): uint", Function::kBitShiftRight},
    // Optional values.
    {"optional.none(): optional_type(A)", Function::kOptionalNone},
    {"optional.of(A): optional_type(A)", Function::kOptionalOf},
    {"optional.ofNonZeroValue(A): optional_type(A)", Function::kOptionalOfNonZero},
    {"optional_type(A)|hasValue(): bool", Function::kHasValue},
    {"optional_type(A)|value(): A", Function::kValue},
    {"optional_type(A)|or(optional_type(A)): optional_type(A)", Function::kOr},
    {"optional_type(A)|orValue(A): A", Function::kOrValue},
    {"optional.unwrap(list(optional_type(A))): list(A)", Function::kUnwrap},
    {"list(optional_type(A))|unwrapOpt(): list(A)", Function::kUnwrap},
    // Quantities with the suffixes of Kubernetes.
    {"quantity(string): quantity", Function::kQuantity},
    {"quantity(int): quantity", Function::kQuantity},
    {"quantity(quantity): quantity", Function::kQuantity},
    {"isQuantity(string): bool", Function::kIsQuantity},
    {"quantity|sign(): int", Function::kQuantitySign},
    {"quantity|isInteger(): bool", Function::kIsInteger},
    {"quantity|asInteger(): int", Function::kAsInteger},
    {"quantity|asApproximateFloat(): double", Function::kAsApproximateFloat},
    {"quantity|add(quantity): quantity", Function::kQuantityAdd},
    {"quantity|add(int): quantity", Function::kQuantityAdd},
    {"quantity|sub(quantity): quantity", Function::kQuantitySub},
    {"quantity|sub(int): quantity", Function::kQuantitySub},
    {"quantity|compareTo(quantity): int", Function::kCompareTo},
    {"quantity|isGreaterThan(quantity): bool", Function::kIsGreaterThan},
    {"quantity|isLessThan(quantity): bool", Function::kIsLessThan},
});

constexpr auto kOperatorRows = std::to_array<std::string_view>({
    "!_(bool): bool",
    "-_(int): int",
    "-_(double): double",
    "_==_(A, A): bool",
    "_!=_(A, A): bool",
    "@in(A, list(A)): bool",
    "@in(A, map(A, B)): bool",
    "_?_:_(bool, A, A): A",
    "_+_(int, int): int",
    "_+_(uint, uint): uint",
    "_+_(double, double): double",
    "_+_(string, string): string",
    "_+_(bytes, bytes): bytes",
    "_+_(list(A), list(A)): list(A)",
    "_+_(timestamp, duration): timestamp",
    "_+_(duration, timestamp): timestamp",
    "_+_(duration, duration): duration",
    "_-_(int, int): int",
    "_-_(uint, uint): uint",
    "_-_(double, double): double",
    "_-_(timestamp, timestamp): duration",
    "_-_(timestamp, duration): timestamp",
    "_-_(duration, duration): duration",
    "_*_(int, int): int",
    "_*_(uint, uint): uint",
    "_*_(double, double): double",
    "_/_(int, int): int",
    "_/_(uint, uint): uint",
    "_/_(double, double): double",
    "_%_(int, int): int",
    "_%_(uint, uint): uint",
    "_[_](list(A), int): A",
    "_[_](map(A, B), A): B",
    "_[_](optional_type(list(A)), int): optional_type(A)",
    "_[_](optional_type(map(A, B)), A): optional_type(B)",
    "_[?_](list(A), int): optional_type(A)",
    "_[?_](map(A, B), A): optional_type(B)",
    "_[?_](optional_type(list(A)), int): optional_type(A)",
    "_[?_](optional_type(map(A, B)), A): optional_type(B)",
});
// Each for <, <=, > and >=; numbers compare across their types.
constexpr auto kOrderedPairs = std::to_array<std::string_view>({
    "bool, bool",
    "int, int",
    "int, uint",
    "int, double",
    "uint, uint",
    "uint, int",
    "uint, double",
    "double, double",
    "double, int",
    "double, uint",
    "string, string",
    "bytes, bytes",
    "timestamp, timestamp",
    "duration, duration",
    "quantity, quantity",
});

Type type_of(std::string_view text) {
  auto type = parse_type(text);
  NEAP_ASSERT(type.has_value());
  return *std::move(type);
}

Overload read_row(const Row& row) {
  Overload out;
  out.function = row.function;
  auto text = row.signature;
  if (const auto bar = text.find('|'); bar != std::string_view::npos) {
    out.is_member = true;
    out.parameters.push_back(type_of(text.substr(0, bar)));
    text.remove_prefix(bar + 1);
  }
  const auto open = text.find('('), close = text.rfind("): ");
  NEAP_ASSERT(open != std::string_view::npos && close != std::string_view::npos);
  out.name = text.substr(0, open);
  out.result = type_of(text.substr(close + 3));
  auto inside = text.substr(open + 1, close - open - 1);
  out.is_variadic = inside.ends_with("...");
  if (out.is_variadic) inside.remove_suffix(3);
  int depth = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= inside.size() && !inside.empty(); ++i) {
    if (i < inside.size() && inside[i] == '(') ++depth;
    if (i < inside.size() && inside[i] == ')') --depth;
    if (i < inside.size() && (inside[i] != ',' || depth > 0)) continue;
    out.parameters.push_back(type_of(inside.substr(start, i - start)));
    start = i + 2;
  }
  return out;
}

}  // namespace

std::span<const Overload> builtin_overloads() {
  static const std::vector<Overload> table = [] {
    std::vector<Overload> out;
    for (const auto& row : kRows) out.push_back(read_row(row));
    return out;
  }();
  return table;
}

std::vector<const Overload*> find_overloads(std::span<const Overload> table, std::string_view name,
                                            bool is_member) {
  std::vector<const Overload*> out;
  for (const auto& overload : table)
    if (overload.is_member == is_member && overload.name == name) out.push_back(&overload);
  return out;
}

std::span<const Overload> operator_overloads() {
  static const std::vector<Overload> table = [] {
    std::vector<Overload> out;
    for (const auto& row : kOperatorRows) out.push_back(read_row({row, Function::kUnknown}));
    for (const std::string_view op : {"_<_", "_<=_", "_>_", "_>=_"})
      for (const auto& pair : kOrderedPairs)
        out.push_back(read_row({std::string(op) + "(" + std::string(pair) + "): bool", Function::kUnknown}));
    return out;
  }();
  return table;
}

std::string_view operator_name(Op op) {
  switch (op) {
    case Op::kNot:
      return "!_";
    case Op::kNegate:
      return "-_";
    case Op::kEqual:
      return "_==_";
    case Op::kNotEqual:
      return "_!=_";
    case Op::kLess:
      return "_<_";
    case Op::kLessEqual:
      return "_<=_";
    case Op::kGreater:
      return "_>_";
    case Op::kGreaterEqual:
      return "_>=_";
    case Op::kIn:
      return "@in";
    case Op::kAdd:
      return "_+_";
    case Op::kSubtract:
      return "_-_";
    case Op::kMultiply:
      return "_*_";
    case Op::kDivide:
      return "_/_";
    case Op::kModulo:
      return "_%_";
    case Op::kTernary:
      return "_?_:_";
    default:
      return {};
  }
}

bool is_builtin_function(std::string_view name) {
  for (const auto& overload : builtin_overloads())
    if (!overload.is_member && overload.name == name) return true;
  return false;
}

}  // namespace neap::policy
