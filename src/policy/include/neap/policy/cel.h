// A CEL engine (Common Expression Language, the language definition of google/cel-spec), own implementation:
// text -> tokens -> Pratt parser -> type checker -> folded, flat array of nodes -> evaluation with a step
// budget.
//
// The whole language without protobuf messages, with the extensions strings, math, encoders, bindings,
// blocks, two-variable macros, optional values and Kubernetes quantities; docs/reference/cel.md lists the
// functions and the conformance result. Beyond CEL: AND/OR/NOT in capitals, duration literals (20ms, 1h30m),
// min() and max().
//
// Thread safety: Program and Value are immutable after construction and may be shared; Activation is not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"
#include "neap/base/time.h"

namespace neap::policy {

class Value;

// A variable whose members are computed when a rule asks for them. Must outlive the evaluation.
class ObjectView {
 public:
  virtual ~ObjectView() = default;
  // False where the member does not exist; then `has()` is false and a select is an error.
  virtual bool find(std::string_view member, Value& out) const = 0;
};

// Seconds and nanoseconds of one sign; covers CEL's whole range, which 64-bit nanoseconds do not.
struct TimeSpan {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
  friend auto operator<=>(const TimeSpan&, const TimeSpan&) = default;
};

class Value {
 public:
  enum class Kind : std::uint8_t {
    kNull,
    kBool,
    kInt,
    kUint,
    kDouble,
    kString,
    kBytes,
    kDuration,
    kTimestamp,
    kList,
    kMap,
    kType,
    kOptional,
    kQuantity,
  };
  using MapEntries = std::vector<std::pair<Value, Value>>;

  Value() = default;
  static Value boolean(bool v);
  static Value integer(std::int64_t v);
  static Value unsigned_integer(std::uint64_t v);
  static Value real(double v);
  static Value string(std::string v);
  static Value bytes(std::string v);
  static Value duration(Duration v);
  static Value duration(TimeSpan v);
  static Value timestamp(WallTime v);
  static Value timestamp(TimeSpan since_epoch);
  static Value list(std::vector<Value> v);
  static Value map(MapEntries v);
  static Value type(Kind v);
  static Value optional(Value v);
  static Value none();
  // In billionths, as Kubernetes' resource.Quantity keeps them; |v| <= 2^63 * 10^9.
  __extension__ static Value quantity(__int128 nanos);
  // Borrowing: what is pointed at must outlive the value and every evaluation that sees it.
  static Value borrowed_string(std::string_view v);
  static Value borrowed(const Json& v);
  static Value borrowed(const ObjectView& v);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  // The payload; the caller has checked the kind.
  bool as_bool() const { return u_.boolean; }
  std::int64_t as_int() const { return u_.integer; }
  std::uint64_t as_uint() const { return u_.natural; }
  double as_double() const { return u_.real; }
  std::string_view as_text() const { return {u_.text.data, u_.text.size}; }
  TimeSpan as_time() const { return u_.time; }
  Kind as_type() const { return u_.type; }
  __extension__ __int128 as_quantity() const {
    return __int128((unsigned __int128)(std::uint64_t(u_.quantity.high)) << 64 | u_.quantity.low);
  }
  // The caller has checked that size() is 1.
  const Value& optional_value() const { return u_.list->front(); }
  // The elements of a list that is not JSON, else null.
  const std::vector<Value>* elements() const {
    return kind_ == Kind::kList && rep_ == Rep::kOwned ? u_.list : nullptr;
  }
  // Saturates at what 64-bit nanoseconds hold.
  Duration as_duration() const;

  // Lists and maps of either representation (own, Json). An ObjectView counts as an empty map; an optional
  // value has 0 or 1 elements.
  std::size_t size() const;
  Value element(std::size_t index) const;
  std::pair<Value, Value> entry(std::size_t index) const;
  bool find(const Value& key, Value& out) const;
  bool find_member(std::string_view key, Value& out) const;

  // The same without a share in what it points at: no atomic count; the original must outlive it.
  Value view() const {
    Value out;
    out.kind_ = kind_;
    out.rep_ = rep_;
    out.u_ = u_;
    return out;
  }
  // A value that borrows nothing; `elements_left` reaches 0 where it was cut off.
  Value owned() const;
  Value owned_within(std::uint64_t& elements_left) const;
  // As protobuf's JSON mapping has it: timestamps and durations as text, bytes in base64, doubles that JSON
  // cannot name as "NaN", "Infinity", "-Infinity"; types and quantities as text, an empty optional as null.
  Json to_json() const;
  std::string to_text() const;

 private:
  enum class Rep : std::uint8_t { kInline, kOwned, kJson, kView };
  Kind kind_ = Kind::kNull;
  Rep rep_ = Rep::kInline;
  union Payload {
    Payload() : integer(0) {}
    bool boolean;
    std::int64_t integer;
    std::uint64_t natural;
    double real;
    Kind type;
    struct {
      const char* data;
      std::size_t size;
    } text;
    TimeSpan time;
    struct {
      std::int64_t high;
      std::uint64_t low;
    } quantity;
    const Json* json;
    const ObjectView* view;
    const std::vector<Value>* list;
    const MapEntries* entries;
  } u_;
  std::shared_ptr<const void> owner_;
};

std::string_view kind_name(Value::Kind kind);

// The variables a program may name. Copies values, borrows what they borrow; names are borrowed too.
class Activation {
 public:
  Activation() = default;
  // Every member of the object is a variable. `object` must outlive the activation.
  explicit Activation(const Json& object);
  // Later bindings of one name replace earlier ones.
  Activation& bind(std::string_view name, Value value);
  bool find(std::string_view name, Value& out) const;
  // True where a variable is called like a path (`a.b`).
  bool has_dotted_names() const { return has_dotted_names_; }

 private:
  const Json* object_ = nullptr;
  bool has_dotted_names_ = false;
  std::vector<std::pair<std::string_view, Value>> bound_;
};

struct CompileLimits {
  std::size_t text_bytes_max = 64 * 1024;
  std::size_t nodes_max = 20'000;
  int depth_max = 128;
  // Static worst-case cost in steps; lists and maps of unknown length count as `list_size_assumed` elements,
  // unknown strings as that many characters.
  std::uint64_t cost_max = 1'000'000'000;
  std::uint64_t list_size_assumed = 100;
};

struct Budget {
  std::uint64_t steps_max = 1'000'000;
};

class Environment;
struct Type;
struct ProgramImpl;

class Program {
 public:
  Program() = default;
  explicit Program(std::shared_ptr<const ProgramImpl> impl) : impl_(std::move(impl)) {}
  bool is_empty() const { return impl_ == nullptr; }
  const std::string& text() const;
  std::uint64_t static_cost() const;
  // What the checker found the expression to give; dyn where it could not tell.
  const Type& type() const;
  // True where the expression names this variable (task, site, node, ...): callers cache by it.
  bool references(std::string_view variable) const;
  const ProgramImpl* impl() const { return impl_.get(); }

 private:
  std::shared_ptr<const ProgramImpl> impl_;
};

// Where in an expression an error of this header lies; both count from 1, columns in characters.
struct Place {
  std::uint64_t line = 0, column = 0;
};
std::optional<Place> find_place(std::string_view error_message);

// Variables may be anything; functions must exist. kInvalidArgument `cel.syntax` with line, column and a
// caret under the place; `cel.too_large`, `cel.too_deep`, `cel.too_costly` for limits.
Result<Program> compile(std::string_view text, const CompileLimits& limits = {});
// The same against declared names; `cel.type_error` where a name or a type does not fit.
Result<Program> compile(std::string_view text, const Environment& environment,
                        const CompileLimits& limits = {});

// Reasons: `cel.no_such_variable`, `cel.no_such_field`, `cel.no_such_key`, `cel.no_such_overload`,
// `cel.no_such_function`, `cel.overflow`, `cel.divide_by_zero`, `cel.index`, `cel.conversion`, `cel.regex`,
// `cel.no_value`, `cel.format`, `cel.budget`.
Result<Value> evaluate(const Program& program, const Activation& activation, Budget budget = {});
// The same for a condition; a result that is not a bool is `cel.not_a_condition`.
Result<bool> evaluate_condition(const Program& program, const Activation& activation, Budget budget = {});

}  // namespace neap::policy
