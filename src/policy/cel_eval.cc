#include <fmt/format.h>

#include <array>
#include <cmath>

#include "internal/evaluator.h"

namespace neap::policy {
namespace {

using K = Value::Kind;

struct FaultRow {
  Fault fault;
  std::string_view reason, words;
};
constexpr std::array<FaultRow, 13> kFaults{{
    {Fault::kNoVariable, "cel.no_such_variable", "this name has no value here"},
    {Fault::kNoField, "cel.no_such_field", "there is no such field; guard it with has()"},
    {Fault::kNoKey, "cel.no_such_key", "the map has no such key; guard it with `in`"},
    {Fault::kNoOverload, "cel.no_such_overload",
     "the operands do not fit this operation; convert one of them"},
    {Fault::kNoFunction, "cel.no_such_function", "there is no such function"},
    {Fault::kOverflow, "cel.overflow", "the result is out of range"},
    {Fault::kDivideByZero, "cel.divide_by_zero", "division by zero"},
    {Fault::kIndex, "cel.index", "the index is outside, or a map key repeats"},
    {Fault::kConversion, "cel.conversion", "the value cannot be converted"},
    {Fault::kRegex, "cel.regex", "the pattern is not a valid RE2 expression"},
    {Fault::kNoValue, "cel.no_value", "the optional value is empty; use orValue()"},
    {Fault::kFormat, "cel.format", "the format and its arguments do not fit"},
    {Fault::kBudget, "cel.budget", "the evaluation took more steps than its budget allows"},
}};

const Value& inner_of(const Value& optional) { return optional.optional_value(); }

}  // namespace

bool Evaluator::eval(std::uint32_t index, Value& out) {
  const Node& node = program_.nodes[index];
  if (steps_left_ == 0) return fault(Fault::kBudget, index);
  --steps_left_;
  switch (node.op) {
    case Op::kConst:
      out = program_.constants[node.a].view();
      return true;
    case Op::kSlot:
      out = slots_[node.a];
      return true;
    case Op::kVariable:
      return activation_.find(program_.variables[node.a], out) || eval_variable(node, index, out);
    case Op::kSelect:
      return eval_select(node, index, out);
    case Op::kHas:
      return eval_has(node, index, out);
    case Op::kIndex:
      return eval_index(node, index, out);
    case Op::kNot:
      if (!eval(node.a, out)) return false;
      if (!out.is(K::kBool)) return fault(Fault::kNoOverload, index);
      out = Value::boolean(!out.as_bool());
      return true;
    case Op::kNegate:
      return eval_negate(node, index, out);
    case Op::kTernary:
      if (!eval(node.a, out)) return false;
      if (!out.is(K::kBool)) return fault(Fault::kNoOverload, index);
      return eval(out.as_bool() ? node.b : node.c, out);
    case Op::kAnd:
    case Op::kOr:
      return eval_logic(node, index, out);
    case Op::kEqual:
    case Op::kNotEqual:
    case Op::kLess:
    case Op::kLessEqual:
    case Op::kGreater:
    case Op::kGreaterEqual:
      return eval_compare(node, index, out);
    case Op::kIn:
      return eval_in(node, index, out);
    case Op::kAdd:
    case Op::kSubtract:
    case Op::kMultiply:
    case Op::kDivide:
    case Op::kModulo:
      return eval_arithmetic(node, index, out);
    case Op::kList:
      return eval_list(node, index, out);
    case Op::kMap:
      return eval_map(node, index, out);
    case Op::kCall:
      return eval_call(node, index, out);
    case Op::kAll:
    case Op::kExists:
    case Op::kExistsOne:
      return eval_test(node, index, out);
    case Op::kFilter:
    case Op::kTransform:
    case Op::kTransformMap:
    case Op::kTransformEntry:
      return eval_collect(node, index, out);
    case Op::kBind:
    case Op::kOptionalMap:
    case Op::kOptionalFlatMap:
      return eval_binding(node, index, out);
    case Op::kBlock:
      return eval_block(node, out);
    case Op::kBlockSlot:
      return eval_block_slot(node, out);
  }
  return fault(Fault::kNoOverload, index);
}

Error Evaluator::error() const {
  for (const auto& row : kFaults)
    if (row.fault == fault_)
      return {row.fault == Fault::kBudget ? Code::kResourceExhausted : Code::kInvalidArgument,
              std::string(row.reason),
              point_at(program_.text, program_.nodes[fault_node_].position, row.words),
              {}};
  return {Code::kInternal, "cel.internal", "the evaluation failed without a reason", {}};
}

// The chain a.b.c as one variable, longest container first; only where names were not checked before.
bool Evaluator::find_qualified(std::uint32_t index, Value& out) const {
  std::string name;
  auto at = index;
  for (;; at = program_.nodes[at].a) {
    const auto& node = program_.nodes[at];
    // The root may have been the name of a type and is a constant now.
    if (node.op != Op::kVariable && node.op != Op::kSelect) return false;
    const auto& part = node.op == Op::kVariable ? program_.variables[node.a] : program_.names[node.b];
    name = name.empty() ? part : part + "." + name;
    if (node.op == Op::kVariable) break;
  }
  std::string_view container = program_.nodes[at].flags & kRooted ? "" : std::string_view(program_.container);
  while (!container.empty()) {
    if (activation_.find(fmt::format("{}.{}", container, name), out)) return true;
    const auto dot = container.rfind('.');
    container = dot == std::string_view::npos ? std::string_view() : container.substr(0, dot);
  }
  return activation_.find(name, out);
}

[[gnu::noinline]] bool Evaluator::eval_variable(const Node& node, std::uint32_t index, Value& out) {
  return ((node.flags & kQualified) && find_qualified(index, out)) || fault(Fault::kNoVariable, index);
}

// The dispatcher above holds no values of its own, so that its frame stays small: rules are mostly selects.
[[gnu::noinline]] bool Evaluator::eval_select(const Node& node, std::uint32_t index, Value& out) {
  if ((node.flags & kQualified) && activation_.has_dotted_names() && find_qualified(index, out)) return true;
  const Node& operand = program_.nodes[node.a];
  Value map;
  if (operand.op == Op::kVariable) {
    if (!activation_.find(program_.variables[operand.a], map) && !eval_variable(operand, node.a, map))
      return false;
  } else if (!eval(node.a, map)) {
    return false;
  }
  bool optional = node.flags & kOptional;
  if (map.is(K::kOptional)) {
    if (map.size() == 0) {
      out = std::move(map);
      return true;
    }
    optional = true;
    map = Value(inner_of(map));
  }
  if (!map.is(K::kMap)) return fault(Fault::kNoOverload, index);
  const bool found = map.find_member(program_.names[node.b], out);
  if (!optional) return found || fault(Fault::kNoField, index);
  out = found ? Value::optional(std::move(out)) : Value::none();
  return true;
}
[[gnu::noinline]] bool Evaluator::eval_has(const Node& node, std::uint32_t index, Value& out) {
  Value map, ignored;
  if (!eval(node.a, map)) return false;
  if (map.is(K::kOptional)) {
    if (map.size() == 0) {
      out = Value::boolean(false);
      return true;
    }
    map = Value(inner_of(map));
  }
  if (!map.is(K::kMap)) return fault(Fault::kNoOverload, index);
  out = Value::boolean(map.find_member(program_.names[node.b], ignored));
  return true;
}
[[gnu::noinline]] bool Evaluator::eval_arithmetic(const Node& node, std::uint32_t index, Value& out) {
  Value a, b;
  if (!eval(node.a, a) || !eval(node.b, b)) return false;
  if (!charge(a) || !charge(b)) return fault(Fault::kBudget, index);
  const Fault result = arithmetic(node.op, a, b, out);
  return result == Fault::kNone || fault(result, index);
}

[[gnu::noinline]] bool Evaluator::eval_negate(const Node& node, std::uint32_t index, Value& out) {
  if (!eval(node.a, out)) return false;
  if (out.is(K::kDouble)) {
    out = Value::real(-out.as_double());
    return true;
  }
  if (!out.is(K::kInt)) return fault(Fault::kNoOverload, index);
  std::int64_t negated = 0;
  if (__builtin_sub_overflow(std::int64_t(0), out.as_int(), &negated)) return fault(Fault::kOverflow, index);
  out = Value::integer(negated);
  return true;
}

// An operand that decides wins over faults of the others, whichever side they stand on.
[[gnu::noinline]] bool Evaluator::eval_logic(const Node& node, std::uint32_t index, Value& out) {
  const bool decides = node.op == Op::kOr;
  Fault held = Fault::kNone;
  std::uint32_t held_node = 0;
  for (std::uint32_t i = 0; i < node.arg_count; ++i) {
    bool good = eval(program_.args[node.arg_first + i], out);
    if (good && !out.is(K::kBool)) good = fault(Fault::kNoOverload, index);
    if (!good) {
      if (fault_ == Fault::kBudget) return false;
      if (held == Fault::kNone) {
        held = fault_;
        held_node = fault_node_;
      }
      continue;
    }
    if (out.as_bool() == decides) {
      fault_ = Fault::kNone;
      return true;
    }
  }
  if (held != Fault::kNone) return fault(held, held_node);
  out = Value::boolean(!decides);
  return true;
}

[[gnu::noinline]] bool Evaluator::eval_compare(const Node& node, std::uint32_t index, Value& out) {
  Value held_a, held_b;
  const Value* a = operand(node.a, held_a);
  if (!a) return false;
  const Value* b = operand(node.b, held_b);
  if (!b) return false;
  if (!charge(*a) || !charge(*b)) return fault(Fault::kBudget, index);
  if (node.op == Op::kEqual || node.op == Op::kNotEqual) {
    out = Value::boolean(equal_values(*a, *b, steps_left_) == (node.op == Op::kEqual));
    return steps_left_ > 0 || fault(Fault::kBudget, index);
  }
  const int order = compare_values(*a, *b);
  if (order == 3) return fault(Fault::kNoOverload, index);
  const bool holds = order != 2 && (node.op == Op::kLess        ? order < 0
                                    : node.op == Op::kLessEqual ? order <= 0
                                    : node.op == Op::kGreater   ? order > 0
                                                                : order >= 0);
  out = Value::boolean(holds);
  return true;
}

[[gnu::noinline]] bool Evaluator::eval_in(const Node& node, std::uint32_t index, Value& out) {
  Value held_element, held_range;
  const Value* element = operand(node.a, held_element);
  if (!element) return false;
  const Value* range = operand(node.b, held_range);
  if (!range) return false;
  if (!charge(*range)) return fault(Fault::kBudget, index);
  if (range->is(K::kMap)) {
    Value ignored;
    out = Value::boolean(range->find(*element, ignored));
    return true;
  }
  if (!range->is(K::kList)) return fault(Fault::kNoOverload, index);
  bool found = false;
  if (const auto* elements = range->elements()) {
    for (std::size_t i = 0; i < elements->size() && !found; ++i)
      found = equal_values(*element, (*elements)[i], steps_left_);
  } else {
    for (std::size_t i = 0; i < range->size() && !found; ++i)
      found = equal_values(*element, range->element(i), steps_left_);
  }
  out = Value::boolean(found);
  return steps_left_ > 0 || fault(Fault::kBudget, index);
}

Fault Evaluator::index_into(const Value& range, const Value& key, Value& out) {
  if (range.is(K::kMap)) {
    if (key.is(K::kDouble) && key.as_double() != std::trunc(key.as_double())) return Fault::kNoKey;
    if (!key.is(K::kDouble) && !key.is(K::kString) && !key.is(K::kInt) && !key.is(K::kUint) &&
        !key.is(K::kBool))
      return Fault::kNoOverload;
    if (!charge(range)) return Fault::kBudget;
    return range.find(key, out) ? Fault::kNone : Fault::kNoKey;
  }
  if (!range.is(K::kList)) return Fault::kNoOverload;
  std::uint64_t at = 0;
  if (key.is(K::kInt) && key.as_int() >= 0) {
    at = std::uint64_t(key.as_int());
  } else if (key.is(K::kUint)) {
    at = key.as_uint();
  } else if (key.is(K::kDouble) && key.as_double() >= 0 && key.as_double() < 1e15 &&
             key.as_double() == std::trunc(key.as_double())) {
    at = std::uint64_t(key.as_double());
  } else {
    return key.is(K::kInt) || key.is(K::kDouble) ? Fault::kIndex : Fault::kNoOverload;
  }
  if (at >= range.size()) return Fault::kIndex;
  out = range.element(std::size_t(at));
  return Fault::kNone;
}

[[gnu::noinline]] bool Evaluator::eval_index(const Node& node, std::uint32_t index, Value& out) {
  Value range, key;
  if (!eval(node.a, range) || !eval(node.b, key)) return false;
  bool optional = node.flags & kOptional;
  if (range.is(K::kOptional)) {
    if (range.size() == 0) {
      out = std::move(range);
      return true;
    }
    optional = true;
    range = Value(inner_of(range));
  }
  const Fault result = index_into(range, key, out);
  if (!optional) return result == Fault::kNone || fault(result, index);
  if (result != Fault::kNone && result != Fault::kNoKey && result != Fault::kIndex)
    return fault(result, index);
  out = result == Fault::kNone ? Value::optional(std::move(out)) : Value::none();
  return true;
}

[[gnu::noinline]] bool Evaluator::eval_list(const Node& node, std::uint32_t index, Value& out) {
  std::vector<Value> elements;
  elements.reserve(node.arg_count);
  for (std::uint32_t i = 0; i < node.arg_count; ++i) {
    Value element;
    if (!eval(program_.args[node.arg_first + i], element)) return false;
    if (program_.args_optional[node.arg_first + i]) {
      if (!element.is(K::kOptional)) return fault(Fault::kNoOverload, index);
      if (element.size() == 0) continue;
      element = Value(inner_of(element));
    }
    elements.push_back(std::move(element));
  }
  out = Value::list(std::move(elements));
  return true;
}

[[gnu::noinline]] bool Evaluator::eval_map(const Node& node, std::uint32_t index, Value& out) {
  Value::MapEntries entries;
  entries.reserve(node.arg_count / 2);
  for (std::uint32_t i = 0; i + 1 < node.arg_count; i += 2) {
    Value key, held;
    if (!eval(program_.args[node.arg_first + i], key) || !eval(program_.args[node.arg_first + i + 1], held))
      return false;
    if (!key.is(K::kString) && !key.is(K::kInt) && !key.is(K::kUint) && !key.is(K::kBool))
      return fault(Fault::kNoOverload, index);
    if (program_.args_optional[node.arg_first + i]) {
      if (!held.is(K::kOptional)) return fault(Fault::kNoOverload, index);
      if (held.size() == 0) continue;
      held = Value(inner_of(held));
    }
    for (const auto& entry : entries)
      if (equal_values(entry.first, key)) return fault(Fault::kIndex, index);
    entries.emplace_back(std::move(key), std::move(held));
  }
  out = Value::map(std::move(entries));
  return true;
}

[[gnu::noinline]] bool Evaluator::eval_call(const Node& node, std::uint32_t index, Value& out) {
  if (node.function == Function::kUnknown) return fault(Fault::kNoFunction, index);
  std::array<Value, 4> few;
  std::vector<Value> many;
  Value* args = few.data();
  if (node.arg_count > few.size()) {
    many.resize(node.arg_count);
    args = many.data();
  }
  // What is never looked at is not evaluated.
  const bool is_lazy = node.function == Function::kOr || node.function == Function::kOrValue;
  for (std::uint32_t i = 0; i < node.arg_count; ++i) {
    if (!eval(program_.args[node.arg_first + i], args[i])) return false;
    if (!charge(args[i])) return fault(Fault::kBudget, index);
    if (is_lazy && i == 0) {
      if (!args[0].is(K::kOptional)) return fault(Fault::kNoOverload, index);
      if (args[0].size() == 0) continue;
      out = node.function == Function::kOr ? args[0] : Value(inner_of(args[0]));
      return true;
    }
  }
  const re2::RE2* pattern = node.b ? program_.patterns[node.b - 1].get() : nullptr;
  const Fault result = call_function(node.function, args, node.arg_count, pattern, steps_left_, out);
  return result == Fault::kNone || fault(result, index);
}

namespace {

Status refuse_empty() {
  return fail(Code::kFailedPrecondition, "cel.empty", "no expression was compiled; compile one first");
}

}  // namespace

Result<Value> evaluate(const Program& program, const Activation& activation, Budget budget) {
  if (program.is_empty()) return fail(refuse_empty().error());
  Evaluator evaluator(*program.impl(), activation, budget);
  Value out;
  if (!evaluator.eval(program.impl()->root, out)) return fail(evaluator.error());
  std::uint64_t elements_left = budget.steps_max;
  Value owned = out.owned_within(elements_left);
  if (elements_left == 0)
    return fail(Code::kResourceExhausted, "cel.budget",
                "the result has more elements than the budget allows; build less");
  return owned;
}

Result<bool> evaluate_condition(const Program& program, const Activation& activation, Budget budget) {
  if (program.is_empty()) return fail(refuse_empty().error());
  Evaluator evaluator(*program.impl(), activation, budget);
  Value out;
  if (!evaluator.eval(program.impl()->root, out)) return fail(evaluator.error());
  if (!out.is(K::kBool))
    return fail(
        Code::kInvalidArgument, "cel.not_a_condition",
        fmt::format(
            "the expression gives a {}, but a condition must be true or false; compare it with something",
            kind_name(out.kind())));
  return out.as_bool();
}

}  // namespace neap::policy
