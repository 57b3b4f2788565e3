// Macros: calls that bind variables, recognised by name and by the number of arguments.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "internal/parser.h"

namespace neap::policy {
namespace {

constexpr int kWholeExpression = 1;

struct MacroRow {
  std::string_view name;
  Op op;
  // Arguments with the variables.
  std::size_t arguments_min, arguments_max;
  bool two_variables;
};
constexpr std::array<MacroRow, 15> kMacros{{
    {"all", Op::kAll, 2, 2, false},
    {"exists", Op::kExists, 2, 2, false},
    {"exists_one", Op::kExistsOne, 2, 2, false},
    {"existsOne", Op::kExistsOne, 2, 2, false},
    {"filter", Op::kFilter, 2, 2, false},
    {"map", Op::kTransform, 2, 3, false},
    {"all", Op::kAll, 3, 3, true},
    {"exists", Op::kExists, 3, 3, true},
    {"exists_one", Op::kExistsOne, 3, 3, true},
    {"existsOne", Op::kExistsOne, 3, 3, true},
    {"transformList", Op::kTransform, 3, 4, true},
    {"transformMap", Op::kTransformMap, 3, 4, true},
    {"transformMapEntry", Op::kTransformEntry, 3, 4, true},
    {"optMap", Op::kOptionalMap, 2, 2, false},
    {"optFlatMap", Op::kOptionalFlatMap, 2, 2, false},
}};

}  // namespace

// Arguments of the call whose '(' is here, by counting commas outside of brackets.
std::size_t Parser::count_arguments() const {
  int depth = 0;
  std::size_t commas = 0;
  for (std::size_t i = at_; i < tokens_.size(); ++i) {
    const auto& token = tokens_[i];
    if (token.kind != TokenKind::kPunct) continue;
    if (token.text == "(" || token.text == "[" || token.text == "{") ++depth;
    if (token.text == ")" || token.text == "]" || token.text == "}") --depth;
    if (depth == 1 && token.text == ",") {
      const auto& next = tokens_[i + 1];
      commas += !is_punct(next, ")");
    }
    if (depth == 0) return i == at_ + 1 ? 0 : commas + 1;
  }
  return 0;
}

const Parser::Scope* Parser::find_scope(std::string_view name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
    if (scope->name == name) return &*scope;
  return nullptr;
}
Parser::Index Parser::open_scope(std::string name) {
  const Index slot = slots_used_++;
  out_.slot_count = std::max(out_.slot_count, slots_used_);
  scopes_.push_back({std::move(name), slot});
  return slot;
}
void Parser::close_scope() {
  scopes_.pop_back();
  --slots_used_;
}

Result<bool> Parser::parse_macro(Index& left, const Token& name) {
  const MacroRow* row = nullptr;
  bool known = false;
  // Counting walks the call's tokens: only where the name is a macro's.
  for (const auto& candidate : kMacros) known |= candidate.name == name.text;
  if (!known) return false;
  const auto count = count_arguments();
  for (const auto& candidate : kMacros)
    if (candidate.name == name.text && count >= candidate.arguments_min && count <= candidate.arguments_max)
      row = &candidate;
  if (!row) return false;
  if (row->op == Op::kOptionalMap || row->op == Op::kOptionalFlatMap) {
    NEAP_TRY(left, parse_optional_macro(left, name, row->op));
  } else {
    NEAP_TRY(left, parse_comprehension(left, name, row->op, row->two_variables));
  }
  return true;
}

// `cel.iterVar(0, 1)` as an optimiser writes it, where a name could stand.
bool Parser::at_generated_variable() const {
  return here().kind == TokenKind::kName && here().text == "cel" && is_punct(ahead(1), ".") &&
         (ahead(2).text == "iterVar" || ahead(2).text == "accuVar") && is_punct(ahead(3), "(") &&
         ahead(4).kind == TokenKind::kIntMagnitude && is_punct(ahead(5), ",") &&
         ahead(6).kind == TokenKind::kIntMagnitude && is_punct(ahead(7), ")");
}
std::string Parser::take_generated_variable() {
  auto name = fmt::format("@{}:{}:{}", ahead(2).text, ahead(4).value.as_uint(), ahead(6).value.as_uint());
  at_ += 8;
  return name;
}
Result<std::string> Parser::parse_macro_variable() {
  if (at_generated_variable()) return take_generated_variable();
  const Token token = here();
  if (token.kind != TokenKind::kName)
    return refuse("unexpected", "the macro's first argument is a plain name");
  ++at_;
  return std::string(token.text);
}

Result<Parser::Index> Parser::parse_comprehension(Index range, const Token& name, Op op, bool two_variables) {
  NEAP_TRY_VOID(expect("("));
  NEAP_TRY(auto variable, parse_macro_variable());
  NEAP_TRY_VOID(expect(","));
  Node node{.op = op, .a = range};
  std::string second;
  if (two_variables) {
    const auto position = here().position;
    NEAP_TRY(second, parse_macro_variable());
    if (second == variable) return refuse_at(position, "both variables of the macro have one name");
    NEAP_TRY_VOID(expect(","));
  }
  node.c = open_scope(std::move(variable));
  if (two_variables) node.d = open_scope(std::move(second)) + 1;
  NEAP_TRY(auto body, parse(kWholeExpression));
  const bool transforms = op == Op::kTransform || op == Op::kTransformMap || op == Op::kTransformEntry;
  if (transforms && take(",")) {
    node.arg_first = body + 1;
    NEAP_TRY(body, parse(kWholeExpression));
  }
  if (two_variables) close_scope();
  close_scope();
  NEAP_TRY_VOID(expect(")"));
  node.b = body;
  return add(node, name.position, {range, body, node.arg_first ? node.arg_first - 1 : body});
}

Result<Parser::Index> Parser::parse_optional_macro(Index target, const Token& name, Op op) {
  NEAP_TRY_VOID(expect("("));
  NEAP_TRY(auto variable, parse_macro_variable());
  NEAP_TRY_VOID(expect(","));
  const auto slot = open_scope(std::move(variable));
  NEAP_TRY(const auto body, parse(kWholeExpression));
  close_scope();
  NEAP_TRY_VOID(expect(")"));
  return add({.op = op, .a = target, .b = body, .c = slot}, name.position, {target, body});
}

Result<bool> Parser::parse_cel_macro(Index& out) {
  if (here().text != "cel" || !is_punct(ahead(1), ".") || !is_punct(ahead(3), "(") || find_scope("cel"))
    return false;
  const auto position = here().position;
  if (at_generated_variable()) {
    const auto variable = take_generated_variable();
    const auto* scope = find_scope(variable);
    if (!scope) return refuse_at(position, "this generated variable is bound by no macro around it");
    NEAP_TRY(out, add({.op = Op::kSlot, .a = scope->slot}, position));
    return true;
  }
  const auto what = ahead(2).text;
  if (what != "bind" && what != "block" && what != "index") return false;
  at_ += 4;
  if (what == "bind") {
    NEAP_TRY(out, parse_bind(position));
  } else if (what == "block") {
    NEAP_TRY(out, parse_block(position));
  } else {
    NEAP_TRY(out, parse_block_index(position));
  }
  return true;
}

Result<Parser::Index> Parser::parse_bind(std::size_t position) {
  NEAP_TRY(auto variable, parse_macro_variable());
  NEAP_TRY_VOID(expect(","));
  NEAP_TRY(const auto bound, parse(kWholeExpression));
  NEAP_TRY_VOID(expect(","));
  const auto slot = open_scope(std::move(variable));
  NEAP_TRY(const auto body, parse(kWholeExpression));
  close_scope();
  NEAP_TRY_VOID(expect(")"));
  return add({.op = Op::kBind, .a = bound, .b = body, .c = slot}, position, {bound, body});
}

Result<Parser::Index> Parser::parse_block(std::size_t position) {
  constexpr Index kSlotsMax = 1000;
  NEAP_TRY_VOID(expect("["));
  // A shared expression may be evaluated while another one's macro runs, so no slot is used twice.
  const auto outer = slots_used_;
  const auto first = out_.slot_count;
  slots_used_ = first;
  blocks_.emplace_back();
  while (!at_punct("]")) {
    if (blocks_.back().size() >= kSlotsMax)
      return refuse_at(here().position, "a block of more than 1000 expressions");
    NEAP_TRY(const auto expression, parse(kWholeExpression));
    const auto slot = std::max(out_.slot_count, slots_used_);
    blocks_.back().push_back({slot, expression});
    slots_used_ = slot + 1;
    out_.slot_count = slots_used_;
    if (!take(",")) break;
  }
  NEAP_TRY_VOID(expect("]"));
  NEAP_TRY_VOID(expect(","));
  const auto end = out_.slot_count;
  NEAP_TRY(const auto body, parse(kWholeExpression));
  NEAP_TRY_VOID(expect(")"));
  std::vector<Index> expressions;
  for (const auto& shared : blocks_.back()) expressions.push_back(shared.expression);
  blocks_.pop_back();
  slots_used_ = outer;
  out_.has_blocks = true;
  Node node{.op = Op::kBlock, .b = body, .c = first, .d = end};
  set_args(node, expressions);
  return add(node, position, {body});
}

Result<Parser::Index> Parser::parse_block_index(std::size_t position) {
  if (blocks_.empty()) return refuse_at(position, "cel.index() outside of a cel.block()");
  const auto& block = blocks_.back();
  if (here().kind != TokenKind::kIntMagnitude || here().value.as_uint() >= block.size())
    return refuse_at(position, "cel.index() names an expression that does not stand before it");
  const auto shared = block[std::size_t(here().value.as_uint())];
  ++at_;
  NEAP_TRY_VOID(expect(")"));
  return add({.op = Op::kBlockSlot, .a = shared.slot, .b = shared.expression}, position, {shared.expression});
}

}  // namespace neap::policy
