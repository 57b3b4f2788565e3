#include <fmt/format.h>

#include <array>
#include <cmath>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;

struct FaultRow {
  Fault fault;
  std::string_view reason, words;
};
constexpr std::array<FaultRow, 10> kFaults{{
    {Fault::kNoVariable, "cel.no_such_variable", "this name has no value here"},
    {Fault::kNoField, "cel.no_such_field", "there is no such field; guard it with has()"},
    {Fault::kNoKey, "cel.no_such_key", "the map has no such key; guard it with `in`"},
    {Fault::kNoOverload, "cel.no_such_overload",
     "the operands do not fit this operation; convert one of them"},
    {Fault::kOverflow, "cel.overflow", "the result is out of range"},
    {Fault::kDivideByZero, "cel.divide_by_zero", "division by zero"},
    {Fault::kIndex, "cel.index", "the index is outside the list, or a map key repeats"},
    {Fault::kConversion, "cel.conversion", "the text cannot be converted"},
    {Fault::kRegex, "cel.regex", "the pattern is not a valid RE2 expression"},
    {Fault::kBudget, "cel.budget", "the evaluation took more steps than its budget allows"},
}};

class Evaluator {
 public:
  Evaluator(const ProgramImpl& program, const Activation& activation, Budget budget)
      : program_(program),
        activation_(activation),
        steps_left_(budget.steps_max),
        slots_(program.slot_count) {}

  // False: a fault is recorded.
  bool eval(std::uint32_t index, Value& out) {
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
        return activation_.find(program_.variables[node.a], out) || fault(Fault::kNoVariable, index);
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
      case Op::kMap:
        return eval_literal(node, index, out);
      case Op::kCall:
        return eval_call(node, index, out);
      default:
        return eval_macro(node, index, out);
    }
  }

  Error error() const {
    for (const auto& row : kFaults)
      if (row.fault == fault_)
        return {row.fault == Fault::kBudget ? Code::kResourceExhausted : Code::kInvalidArgument,
                std::string(row.reason),
                point_at(program_.text, program_.nodes[fault_node_].position, row.words),
                {}};
    return {Code::kInternal, "cel.internal", "the evaluation failed without a reason", {}};
  }

 private:
  bool fault(Fault fault, std::uint32_t index) {
    fault_ = fault;
    fault_node_ = index;
    return false;
  }
  // Long operands cost more than one step.
  bool charge(const Value& value) {
    std::uint64_t steps = 0;
    if (value.is(K::kString) || value.is(K::kBytes)) steps = value.as_text().size() / 16;
    if (value.is(K::kList) || value.is(K::kMap)) steps = value.size();
    if (steps > steps_left_) {
      steps_left_ = 0;
      return false;
    }
    steps_left_ -= steps;
    return true;
  }

  // The dispatcher above holds no values of its own, so that its frame stays small: rules are mostly selects.
  [[gnu::noinline]] bool eval_select(const Node& node, std::uint32_t index, Value& out) {
    const Node& operand = program_.nodes[node.a];
    Value map;
    if (operand.op == Op::kVariable) {
      if (!activation_.find(program_.variables[operand.a], map)) return fault(Fault::kNoVariable, node.a);
    } else if (!eval(node.a, map)) {
      return false;
    }
    if (!map.is(K::kMap)) return fault(Fault::kNoOverload, index);
    return map.find_member(program_.names[node.b], out) || fault(Fault::kNoField, index);
  }
  [[gnu::noinline]] bool eval_has(const Node& node, std::uint32_t index, Value& out) {
    Value map, ignored;
    if (!eval(node.a, map)) return false;
    if (!map.is(K::kMap)) return fault(Fault::kNoOverload, index);
    out = Value::boolean(map.find_member(program_.names[node.b], ignored));
    return true;
  }
  [[gnu::noinline]] bool eval_arithmetic(const Node& node, std::uint32_t index, Value& out) {
    Value a, b;
    if (!eval(node.a, a) || !eval(node.b, b)) return false;
    if (!charge(a) || !charge(b)) return fault(Fault::kBudget, index);
    const Fault result = arithmetic(node.op, a, b, out);
    return result == Fault::kNone || fault(result, index);
  }

  [[gnu::noinline]] bool eval_negate(const Node& node, std::uint32_t index, Value& out) {
    if (!eval(node.a, out)) return false;
    if (out.is(K::kDouble)) {
      out = Value::real(-out.as_double());
      return true;
    }
    if (!out.is(K::kInt)) return fault(Fault::kNoOverload, index);
    std::int64_t negated = 0;
    if (__builtin_sub_overflow(std::int64_t(0), out.as_int(), &negated))
      return fault(Fault::kOverflow, index);
    out = Value::integer(negated);
    return true;
  }

  // An operand that decides wins over faults of the others, whichever side they stand on.
  [[gnu::noinline]] bool eval_logic(const Node& node, std::uint32_t index, Value& out) {
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

  [[gnu::noinline]] bool eval_compare(const Node& node, std::uint32_t index, Value& out) {
    Value a, b;
    if (!eval(node.a, a) || !eval(node.b, b)) return false;
    if (!charge(a) || !charge(b)) return fault(Fault::kBudget, index);
    if (node.op == Op::kEqual || node.op == Op::kNotEqual) {
      out = Value::boolean(equal_values(a, b, steps_left_) == (node.op == Op::kEqual));
      return steps_left_ > 0 || fault(Fault::kBudget, index);
    }
    const int order = compare_values(a, b);
    if (order == 3) return fault(Fault::kNoOverload, index);
    const bool holds = order != 2 && (node.op == Op::kLess        ? order < 0
                                      : node.op == Op::kLessEqual ? order <= 0
                                      : node.op == Op::kGreater   ? order > 0
                                                                  : order >= 0);
    out = Value::boolean(holds);
    return true;
  }

  [[gnu::noinline]] bool eval_in(const Node& node, std::uint32_t index, Value& out) {
    Value element, range;
    if (!eval(node.a, element) || !eval(node.b, range)) return false;
    if (!charge(range)) return fault(Fault::kBudget, index);
    if (range.is(K::kMap)) {
      Value ignored;
      out = Value::boolean(range.find(element, ignored));
      return true;
    }
    if (!range.is(K::kList)) return fault(Fault::kNoOverload, index);
    bool found = false;
    for (std::size_t i = 0; i < range.size() && !found; ++i)
      found = equal_values(element, range.element(i), steps_left_);
    out = Value::boolean(found);
    return steps_left_ > 0 || fault(Fault::kBudget, index);
  }

  [[gnu::noinline]] bool eval_index(const Node& node, std::uint32_t index, Value& out) {
    Value range, key;
    if (!eval(node.a, range) || !eval(node.b, key)) return false;
    if (range.is(K::kMap)) {
      if (key.is(K::kDouble)
              ? key.as_double() != std::trunc(key.as_double())
              : !key.is(K::kString) && !key.is(K::kInt) && !key.is(K::kUint) && !key.is(K::kBool))
        return fault(Fault::kNoOverload, index);
      if (!charge(range)) return fault(Fault::kBudget, index);
      return range.find(key, out) || fault(Fault::kNoKey, index);
    }
    if (!range.is(K::kList)) return fault(Fault::kNoOverload, index);
    std::uint64_t at = 0;
    if (key.is(K::kInt) && key.as_int() >= 0) {
      at = std::uint64_t(key.as_int());
    } else if (key.is(K::kUint)) {
      at = key.as_uint();
    } else if (key.is(K::kDouble) && key.as_double() >= 0 && key.as_double() < 1e15 &&
               key.as_double() == std::trunc(key.as_double())) {
      at = std::uint64_t(key.as_double());
    } else {
      return fault(key.is(K::kInt) || key.is(K::kDouble) ? Fault::kIndex : Fault::kNoOverload, index);
    }
    if (at >= range.size()) return fault(Fault::kIndex, index);
    out = range.element(std::size_t(at));
    return true;
  }

  [[gnu::noinline]] bool eval_literal(const Node& node, std::uint32_t index, Value& out) {
    std::vector<Value> parts(node.arg_count);
    for (std::uint32_t i = 0; i < node.arg_count; ++i)
      if (!eval(program_.args[node.arg_first + i], parts[i])) return false;
    if (node.op == Op::kList) {
      out = Value::list(std::move(parts));
      return true;
    }
    Value::MapEntries entries;
    for (std::size_t i = 0; i + 1 < parts.size(); i += 2) {
      const auto kind = parts[i].kind();
      if (kind != K::kString && kind != K::kInt && kind != K::kUint && kind != K::kBool)
        return fault(Fault::kNoOverload, index);
      for (const auto& entry : entries)
        if (equal_values(entry.first, parts[i])) return fault(Fault::kIndex, index);
      entries.emplace_back(std::move(parts[i]), std::move(parts[i + 1]));
    }
    out = Value::map(std::move(entries));
    return true;
  }

  [[gnu::noinline]] bool eval_call(const Node& node, std::uint32_t index, Value& out) {
    std::array<Value, 3> few;
    std::vector<Value> many;
    Value* args = few.data();
    if (node.arg_count > few.size()) {
      many.resize(node.arg_count);
      args = many.data();
    }
    for (std::uint32_t i = 0; i < node.arg_count; ++i) {
      if (!eval(program_.args[node.arg_first + i], args[i])) return false;
      if (!charge(args[i])) return fault(Fault::kBudget, index);
    }
    const re2::RE2* pattern = nullptr;
    if (node.function == Function::kMatches)
      for (const auto& [call, compiled] : program_.patterns)
        if (call == index) pattern = compiled.get();
    const Fault result = call_function(node.function, args, node.arg_count, pattern, out);
    return result == Fault::kNone || fault(result, index);
  }

  [[gnu::noinline]] bool eval_macro(const Node& node, std::uint32_t index, Value& out) {
    Value range;
    if (!eval(node.a, range)) return false;
    if (!range.is(K::kList) && !range.is(K::kMap)) return fault(Fault::kNoOverload, index);
    std::vector<Value> kept;
    std::size_t matches = 0;
    Fault held = Fault::kNone;
    std::uint32_t held_node = 0;
    const bool short_circuits = node.op == Op::kAll || node.op == Op::kExists;
    for (std::size_t i = 0; i < range.size(); ++i) {
      const Value element = range.is(K::kList) ? range.element(i) : range.entry(i).first;
      slots_[node.c] = element;
      if (node.op == Op::kTransform) {
        if (node.arg_first) {
          Value wanted;
          if (!eval(node.arg_first - 1, wanted)) return false;
          if (!wanted.is(K::kBool)) return fault(Fault::kNoOverload, index);
          if (!wanted.as_bool()) continue;
        }
        Value mapped;
        if (!eval(node.b, mapped)) return false;
        kept.push_back(std::move(mapped));
        continue;
      }
      Value holds;
      bool good = eval(node.b, holds);
      if (good && !holds.is(K::kBool)) good = fault(Fault::kNoOverload, index);
      if (!good) {
        if (!short_circuits || fault_ == Fault::kBudget) return false;
        held = fault_;
        held_node = fault_node_;
        continue;
      }
      if (short_circuits && holds.as_bool() == (node.op == Op::kExists)) {
        out = Value::boolean(node.op == Op::kExists);
        return true;
      }
      if (!holds.as_bool()) continue;
      ++matches;
      if (node.op == Op::kFilter) kept.push_back(element);
    }
    if (held != Fault::kNone) return fault(held, held_node);
    switch (node.op) {
      case Op::kAll:
        out = Value::boolean(true);
        break;
      case Op::kExists:
        out = Value::boolean(false);
        break;
      case Op::kExistsOne:
        out = Value::boolean(matches == 1);
        break;
      default:
        out = Value::list(std::move(kept));
    }
    return true;
  }

  const ProgramImpl& program_;
  const Activation& activation_;
  std::uint64_t steps_left_;
  std::vector<Value> slots_;
  Fault fault_ = Fault::kNone;
  std::uint32_t fault_node_ = 0;
};

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
