#include <fmt/format.h>

#include <algorithm>

#include "internal/checker.h"
#include "internal/compile.h"
#include "internal/evaluator.h"
#include "internal/parser.h"

namespace neap::policy {
namespace {

constexpr std::uint64_t kFoldStepsMax = 1000;

bool is_foldable(const ProgramImpl& program, const Node& node) {
  const auto constant = [&](std::uint32_t index) { return program.nodes[index].op == Op::kConst; };
  for (std::uint32_t i = 0; i < node.arg_count; ++i)
    if (!constant(program.args[node.arg_first + i])) return false;
  switch (node.op) {
    case Op::kList:
    case Op::kMap:
    case Op::kAnd:
    case Op::kOr:
      return true;
    case Op::kCall:
      return node.function != Function::kUnknown;
    case Op::kNot:
    case Op::kNegate:
      return constant(node.a);
    case Op::kSelect:
    case Op::kHas:
      return constant(node.a);
    case Op::kIndex:
    case Op::kEqual:
    case Op::kNotEqual:
    case Op::kLess:
    case Op::kLessEqual:
    case Op::kGreater:
    case Op::kGreaterEqual:
    case Op::kIn:
    case Op::kAdd:
    case Op::kSubtract:
    case Op::kMultiply:
    case Op::kDivide:
    case Op::kModulo:
      return constant(node.a) && constant(node.b);
    case Op::kTernary:
      return constant(node.a) && constant(node.b) && constant(node.c);
    default:
      return false;
  }
}

class CostEstimate {
 public:
  CostEstimate(const ProgramImpl& program, std::uint64_t size_assumed)
      : program_(program), size_assumed_(size_assumed) {}

  std::uint64_t run() {
    for (const auto& node : program_.nodes) cost_.push_back(cost_of(node));
    return cost_[program_.root];
  }

 private:
  __extension__ using Wide = unsigned __int128;

  // Elements a macro over this node may walk through.
  Wide length_of(std::uint32_t index, int depth = 0) const {
    const auto& node = program_.nodes[index];
    if (depth > 32) return size_assumed_;
    switch (node.op) {
      case Op::kConst: {
        const auto& value = program_.constants[node.a];
        return value.is(Value::Kind::kList) || value.is(Value::Kind::kMap) ? value.size() : 0;
      }
      case Op::kList:
        return node.arg_count;
      case Op::kMap:
        return node.arg_count / 2;
      case Op::kFilter:
      case Op::kTransform:
      case Op::kTransformMap:
      case Op::kTransformEntry:
        return length_of(node.a, depth + 1);
      case Op::kAdd:
        return length_of(node.a, depth + 1) + length_of(node.b, depth + 1);
      case Op::kTernary:
        return std::max(length_of(node.b, depth + 1), length_of(node.c, depth + 1));
      default:
        return size_assumed_;
    }
  }
  // Extra steps for looking at the whole operand.
  Wide touch(std::uint32_t index) const {
    const auto& node = program_.nodes[index];
    switch (node.op) {
      case Op::kConst: {
        const auto& value = program_.constants[node.a];
        const bool is_text = value.is(Value::Kind::kString) || value.is(Value::Kind::kBytes);
        return is_text ? value.as_text().size() / 16 : length_of(index);
      }
      case Op::kHas:
      case Op::kNot:
      case Op::kNegate:
      case Op::kEqual:
      case Op::kNotEqual:
      case Op::kLess:
      case Op::kLessEqual:
      case Op::kGreater:
      case Op::kGreaterEqual:
      case Op::kIn:
      case Op::kAnd:
      case Op::kOr:
      case Op::kSubtract:
      case Op::kMultiply:
      case Op::kDivide:
      case Op::kModulo:
      case Op::kAll:
      case Op::kExists:
      case Op::kExistsOne:
        return 0;
      default:
        return length_of(index);
    }
  }

  std::uint64_t cost_of(const Node& node) const {
    constexpr std::uint64_t kCeiling = std::uint64_t(1) << 60;
    Wide total = 1;
    const auto child = [&](std::uint32_t i) { total += cost_[i]; };
    switch (node.op) {
      case Op::kConst:
      case Op::kVariable:
      case Op::kSlot:
      case Op::kBlockSlot:
        break;
      case Op::kSelect:
      case Op::kHas:
      case Op::kNot:
      case Op::kNegate:
        child(node.a);
        break;
      case Op::kTernary:
        child(node.a);
        total += std::max(cost_[node.b], cost_[node.c]);
        break;
      case Op::kBlock:
        child(node.b);
        [[fallthrough]];
      case Op::kAnd:
      case Op::kOr:
      case Op::kList:
      case Op::kMap:
        for (std::uint32_t i = 0; i < node.arg_count; ++i) child(program_.args[node.arg_first + i]);
        break;
      case Op::kCall:
        for (std::uint32_t i = 0; i < node.arg_count; ++i) {
          child(program_.args[node.arg_first + i]);
          total += touch(program_.args[node.arg_first + i]);
        }
        if (node.function == Function::kMatches) total += 20;
        break;
      case Op::kAll:
      case Op::kExists:
      case Op::kExistsOne:
      case Op::kFilter:
      case Op::kTransform:
      case Op::kTransformMap:
      case Op::kTransformEntry:
        child(node.a);
        total +=
            length_of(node.a) * (Wide(1) + cost_[node.b] + (node.arg_first ? cost_[node.arg_first - 1] : 0));
        break;
      case Op::kIn:
        child(node.a);
        child(node.b);
        total += 2 * length_of(node.b);
        break;
      case Op::kBind:
      case Op::kOptionalMap:
      case Op::kOptionalFlatMap:
        child(node.a);
        child(node.b);
        break;
      case Op::kEqual:
      case Op::kNotEqual:
        // Charged once for their length and once for each comparison of elements.
        child(node.a);
        child(node.b);
        total += 2 * (touch(node.a) + touch(node.b));
        break;
      default:
        child(node.a);
        child(node.b);
        total += touch(node.a) + touch(node.b);
    }
    return total > kCeiling ? kCeiling : std::uint64_t(total);
  }

  const ProgramImpl& program_;
  const std::uint64_t size_assumed_;
  std::vector<std::uint64_t> cost_;
};

}  // namespace

void fold_constants(ProgramImpl& program) {
  const Activation nothing;
  for (std::uint32_t i = 0; i < program.nodes.size(); ++i) {
    if (program.nodes[i].op == Op::kConst || !is_foldable(program, program.nodes[i])) continue;
    Evaluator evaluator(program, nothing, {.steps_max = kFoldStepsMax});
    Value value;
    // What fails stays as it is: the fault belongs to the evaluation, where another operand may absorb it.
    if (!evaluator.eval(i, value)) continue;
    program.constants.push_back(value.owned());
    program.nodes[i] = {.op = Op::kConst,
                        .a = std::uint32_t(program.constants.size() - 1),
                        .position = program.nodes[i].position};
  }
}

Status compile_patterns(ProgramImpl& program) {
  for (auto& node : program.nodes) {
    if (node.op != Op::kCall || node.function != Function::kMatches) continue;
    const auto& pattern = program.nodes[program.args[node.arg_first + 1]];
    if (pattern.op != Op::kConst || !program.constants[pattern.a].is(Value::Kind::kString)) continue;
    const auto text = program.constants[pattern.a].as_text();
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);
    auto compiled = std::make_unique<re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
    if (!compiled->ok())
      return fail(Code::kInvalidArgument, "cel.syntax",
                  point_at(program.text, node.position,
                           fmt::format("the pattern is not valid: {}", compiled->error())));
    program.patterns.push_back(std::move(compiled));
    node.b = std::uint32_t(program.patterns.size());
  }
  return ok();
}

std::uint64_t estimate_cost(const ProgramImpl& program, std::uint64_t size_assumed) {
  return CostEstimate(program, size_assumed).run();
}

Result<Program> compile(std::string_view text, const CompileLimits& limits) {
  static const Environment anything(Checking::kNames);
  return compile(text, anything, limits);
}

Result<Program> compile(std::string_view text, const Environment& environment, const CompileLimits& limits) {
  if (text.size() > limits.text_bytes_max)
    return fail(Code::kInvalidArgument, "cel.too_large",
                fmt::format("the expression has {} bytes, above the limit of {}; split the rule", text.size(),
                            limits.text_bytes_max));
  auto impl = std::make_shared<ProgramImpl>();
  impl->text = text;
  impl->container = environment.container();
  NEAP_TRY(auto tokens, tokenize(impl->text));
  NEAP_TRY_VOID(Parser(*impl, std::move(tokens), limits).run());
  NEAP_TRY_VOID(Checker(*impl, environment).run());
  // Patterns first: folding would turn a wrong one into a fault of the evaluation.
  if (environment.checking() != Checking::kNone) NEAP_TRY_VOID(compile_patterns(*impl));
  fold_constants(*impl);
  impl->cost = estimate_cost(*impl, limits.list_size_assumed);
  if (impl->cost > limits.cost_max)
    return fail(Code::kInvalidArgument, "cel.too_costly",
                fmt::format("the expression may take {} steps, above the limit of {}; nest fewer macros",
                            impl->cost, limits.cost_max));
  return Program(std::move(impl));
}

const std::string& Program::text() const {
  static const std::string empty;
  return impl_ ? impl_->text : empty;
}
std::uint64_t Program::static_cost() const { return impl_ ? impl_->cost : 0; }
const Type& Program::type() const {
  static const Type dynamic;
  return impl_ ? impl_->type : dynamic;
}
bool Program::references(std::string_view variable) const {
  return impl_ &&
         std::find(impl_->variables.begin(), impl_->variables.end(), variable) != impl_->variables.end();
}

}  // namespace neap::policy
