// Walks the flat array of nodes with a step budget. One per evaluation; not shared between threads.
#pragma once

#include <vector>

#include "internal/node.h"

namespace neap::policy {

class Evaluator {
 public:
  Evaluator(const ProgramImpl& program, const Activation& activation, Budget budget)
      : program_(program),
        activation_(activation),
        steps_left_(budget.steps_max),
        slots_(program.slot_count),
        slots_set_(program.has_blocks ? program.slot_count : 0) {}

  // False: a fault is recorded.
  bool eval(std::uint32_t index, Value& out);
  Error error() const;
  std::uint64_t steps_left() const { return steps_left_; }

 private:
  bool fault(Fault fault, std::uint32_t index) {
    fault_ = fault;
    fault_node_ = index;
    return false;
  }
  // Long operands cost more than one step.
  bool charge(const Value& value) {
    const auto kind = value.kind();
    if (kind < Value::Kind::kString) return true;
    std::uint64_t steps = 0;
    if (kind == Value::Kind::kString || kind == Value::Kind::kBytes) steps = value.as_text().size() / 16;
    if (kind == Value::Kind::kList || kind == Value::Kind::kMap) steps = value.size();
    if (steps > steps_left_) {
      steps_left_ = 0;
      return false;
    }
    steps_left_ -= steps;
    return true;
  }
  bool charge(std::uint64_t steps) {
    steps_left_ = steps > steps_left_ ? 0 : steps_left_ - steps;
    return steps_left_ > 0;
  }

  // The operand without a copy where it is a constant; null where it is a fault.
  const Value* operand(std::uint32_t index, Value& held) {
    const Node& node = program_.nodes[index];
    if (node.op != Op::kConst) return eval(index, held) ? &held : nullptr;
    if (steps_left_ > 0) --steps_left_;
    return &program_.constants[node.a];
  }

  bool eval_variable(const Node& node, std::uint32_t index, Value& out);
  bool eval_select(const Node& node, std::uint32_t index, Value& out);
  bool eval_has(const Node& node, std::uint32_t index, Value& out);
  bool eval_arithmetic(const Node& node, std::uint32_t index, Value& out);
  bool eval_negate(const Node& node, std::uint32_t index, Value& out);
  bool eval_logic(const Node& node, std::uint32_t index, Value& out);
  bool eval_compare(const Node& node, std::uint32_t index, Value& out);
  bool eval_in(const Node& node, std::uint32_t index, Value& out);
  bool eval_index(const Node& node, std::uint32_t index, Value& out);
  Fault index_into(const Value& range, const Value& key, Value& out);
  bool eval_list(const Node& node, std::uint32_t index, Value& out);
  bool eval_map(const Node& node, std::uint32_t index, Value& out);
  bool eval_call(const Node& node, std::uint32_t index, Value& out);
  // Macros (cel_eval_macros.cc).
  bool eval_test(const Node& node, std::uint32_t index, Value& out);
  bool eval_collect(const Node& node, std::uint32_t index, Value& out);
  bool collect_entry(const Node& node, Value mapped, std::uint32_t index, Value::MapEntries& out);
  bool eval_binding(const Node& node, std::uint32_t index, Value& out);
  bool eval_block(const Node& node, Value& out);
  bool eval_block_slot(const Node& node, Value& out);
  void bind_element(const Node& node, const Value& range, std::size_t at);
  bool find_qualified(std::uint32_t index, Value& out) const;

  const ProgramImpl& program_;
  const Activation& activation_;
  std::uint64_t steps_left_;
  std::vector<Value> slots_;
  std::vector<bool> slots_set_;
  Fault fault_ = Fault::kNone;
  std::uint32_t fault_node_ = 0;
};

}  // namespace neap::policy
