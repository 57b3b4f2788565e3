// Evaluation of what binds variables.
#include "internal/evaluator.h"

namespace neap::policy {
namespace {
using K = Value::Kind;
}

void Evaluator::bind_element(const Node& node, const Value& range, std::size_t at) {
  if (range.is(K::kList)) {
    if (node.d) slots_[node.c] = Value::integer(std::int64_t(at));
    slots_[node.d ? node.d - 1 : node.c] = range.element(at);
    return;
  }
  auto [key, held] = range.entry(at);
  slots_[node.c] = std::move(key);
  if (node.d) slots_[node.d - 1] = std::move(held);
}

// all, exists, exists_one. The first two absorb faults where another element decides.
[[gnu::noinline]] bool Evaluator::eval_test(const Node& node, std::uint32_t index, Value& out) {
  Value range;
  if (!eval(node.a, range)) return false;
  if (!range.is(K::kList) && !range.is(K::kMap)) return fault(Fault::kNoOverload, index);
  const bool counts = node.op == Op::kExistsOne, decides = node.op == Op::kExists;
  std::size_t matches = 0;
  Fault held = Fault::kNone;
  std::uint32_t held_node = 0;
  for (std::size_t i = 0, size = range.size(); i < size; ++i) {
    bind_element(node, range, i);
    bool good = eval(node.b, out);
    if (good && !out.is(K::kBool)) good = fault(Fault::kNoOverload, index);
    if (!good) {
      if (counts || fault_ == Fault::kBudget) return false;
      held = fault_;
      held_node = fault_node_;
      continue;
    }
    if (counts) {
      matches += out.as_bool();
    } else if (out.as_bool() == decides) {
      fault_ = Fault::kNone;
      return true;
    }
  }
  if (held != Fault::kNone) return fault(held, held_node);
  out = Value::boolean(counts ? matches == 1 : !decides);
  return true;
}

bool Evaluator::collect_entry(const Node& node, Value mapped, std::uint32_t index, Value::MapEntries& out) {
  if (node.op == Op::kTransformMap) {
    out.emplace_back(slots_[node.c], std::move(mapped));
    return true;
  }
  if (!mapped.is(K::kMap)) return fault(Fault::kNoOverload, index);
  for (std::size_t i = 0; i < mapped.size(); ++i) {
    auto [key, held] = mapped.entry(i);
    if (!charge(out.size() + 1)) return fault(Fault::kBudget, index);
    for (const auto& entry : out)
      if (equal_values(entry.first, key)) return fault(Fault::kIndex, index);
    out.emplace_back(std::move(key), std::move(held));
  }
  return true;
}

// filter, map, transformList, transformMap, transformMapEntry.
[[gnu::noinline]] bool Evaluator::eval_collect(const Node& node, std::uint32_t index, Value& out) {
  Value range;
  if (!eval(node.a, range)) return false;
  if (!range.is(K::kList) && !range.is(K::kMap)) return fault(Fault::kNoOverload, index);
  std::vector<Value> kept;
  Value::MapEntries entries;
  const std::uint32_t test = node.op == Op::kFilter ? node.b + 1 : node.arg_first;
  for (std::size_t i = 0, size = range.size(); i < size; ++i) {
    bind_element(node, range, i);
    if (test) {
      Value wanted;
      if (!eval(test - 1, wanted)) return false;
      if (!wanted.is(K::kBool)) return fault(Fault::kNoOverload, index);
      if (!wanted.as_bool()) continue;
    }
    if (node.op == Op::kFilter) {
      kept.push_back(slots_[node.c]);
      continue;
    }
    Value mapped;
    if (!eval(node.b, mapped)) return false;
    if (node.op == Op::kTransform) {
      kept.push_back(std::move(mapped));
    } else if (!collect_entry(node, std::move(mapped), index, entries)) {
      return false;
    }
  }
  const bool is_list = node.op == Op::kFilter || node.op == Op::kTransform;
  out = is_list ? Value::list(std::move(kept)) : Value::map(std::move(entries));
  return true;
}

[[gnu::noinline]] bool Evaluator::eval_binding(const Node& node, std::uint32_t index, Value& out) {
  Value target;
  if (!eval(node.a, target)) return false;
  if (node.op == Op::kBind) {
    slots_[node.c] = std::move(target);
    return eval(node.b, out);
  }
  if (!target.is(K::kOptional)) return fault(Fault::kNoOverload, index);
  if (target.size() == 0) {
    out = std::move(target);
    return true;
  }
  slots_[node.c] = target.optional_value();
  if (!eval(node.b, out)) return false;
  if (node.op == Op::kOptionalMap) {
    out = Value::optional(Value(out));
    return true;
  }
  return out.is(K::kOptional) || fault(Fault::kNoOverload, index);
}

[[gnu::noinline]] bool Evaluator::eval_block(const Node& node, Value& out) {
  for (auto slot = node.c; slot < node.d; ++slot) slots_set_[slot] = false;
  return eval(node.b, out);
}
[[gnu::noinline]] bool Evaluator::eval_block_slot(const Node& node, Value& out) {
  if (!slots_set_[node.a]) {
    Value shared;
    if (!eval(node.b, shared)) return false;
    slots_[node.a] = std::move(shared);
    slots_set_[node.a] = true;
  }
  out = slots_[node.a];
  return true;
}

}  // namespace neap::policy
