// The grammar of the language definition, with capitals AND, OR, NOT beside it. Macros are in cel_macros.cc.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "internal/parser.h"

namespace neap::policy {

struct Infix {
  std::string_view text;
  int level;
  Op op;
};

namespace {

// Words that CEL keeps for itself.
constexpr std::array<std::string_view, 17> kReserved{
    "as",  "break", "const",   "continue",  "else",   "for", "function", "if",   "import",
    "let", "loop",  "package", "namespace", "return", "var", "void",     "while"};

enum Binding { kTernaryLevel = 1, kOrLevel, kAndLevel, kRelationLevel, kSumLevel, kProductLevel };

constexpr std::array<Infix, 14> kInfix{{
    {"||", kOrLevel, Op::kOr},
    {"&&", kAndLevel, Op::kAnd},
    {"==", kRelationLevel, Op::kEqual},
    {"!=", kRelationLevel, Op::kNotEqual},
    {"<", kRelationLevel, Op::kLess},
    {"<=", kRelationLevel, Op::kLessEqual},
    {">", kRelationLevel, Op::kGreater},
    {">=", kRelationLevel, Op::kGreaterEqual},
    {"in", kRelationLevel, Op::kIn},
    {"+", kSumLevel, Op::kAdd},
    {"-", kSumLevel, Op::kSubtract},
    {"*", kProductLevel, Op::kMultiply},
    {"/", kProductLevel, Op::kDivide},
    {"%", kProductLevel, Op::kModulo},
}};

}  // namespace

Status Parser::run() {
  NEAP_TRY(out_.root, parse(kTernaryLevel));
  if (here().kind != TokenKind::kEnd) return refuse("unexpected", "expected an operator or the end");
  return ok();
}

bool Parser::take(std::string_view text) {
  if (!at_punct(text)) return false;
  ++at_;
  return true;
}
Status Parser::expect(std::string_view text) {
  if (take(text)) return ok();
  return refuse("unexpected", fmt::format("expected '{}'", text));
}
std::unexpected<Error> Parser::refuse_at(std::size_t position, std::string_view what) const {
  return fail(Code::kInvalidArgument, "cel.syntax", point_at(out_.text, position, what));
}
std::unexpected<Error> Parser::refuse(std::string_view verb, std::string_view hint) const {
  const auto& token = here();
  const std::string shown = token.kind == TokenKind::kEnd ? "end of the expression"
                            : token.text.empty()          ? "literal"
                                                          : fmt::format("'{}'", token.text);
  return refuse_at(token.position, fmt::format("{} {}; {}", verb, shown, hint));
}
std::unexpected<Error> Parser::refuse_depth(std::size_t position) const {
  return fail(
      Code::kInvalidArgument, "cel.too_deep",
      point_at(out_.text, position, fmt::format("nested deeper than {}; split the rule", limits_.depth_max)));
}

Result<Parser::Index> Parser::add(Node node, std::size_t position, std::initializer_list<Index> children) {
  int height = 0;
  for (const auto child : children) height = std::max(height, height_[child]);
  for (std::uint32_t i = 0; i < node.arg_count; ++i)
    height = std::max(height, height_[out_.args[node.arg_first + i]]);
  if (height + 1 > limits_.depth_max) return refuse_depth(position);
  if (out_.nodes.size() >= limits_.nodes_max)
    return fail(Code::kInvalidArgument, "cel.too_large",
                fmt::format("the expression has more than {} parts; split the rule", limits_.nodes_max));
  node.position = std::uint32_t(position);
  out_.nodes.push_back(node);
  height_.push_back(height + 1);
  return Index(out_.nodes.size() - 1);
}
Result<Parser::Index> Parser::add_constant(Value value, std::size_t position) {
  out_.constants.push_back(std::move(value));
  return add({.op = Op::kConst, .a = Index(out_.constants.size() - 1)}, position);
}
void Parser::set_args(Node& node, const std::vector<Index>& args, const std::vector<bool>& optional) {
  node.arg_first = Index(out_.args.size());
  node.arg_count = Index(args.size());
  out_.args.insert(out_.args.end(), args.begin(), args.end());
  for (std::size_t i = 0; i < args.size(); ++i)
    out_.args_optional.push_back(i < optional.size() && optional[i]);
}
Parser::Index Parser::intern(std::vector<std::string>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return Index(found - names.begin());
  names.emplace_back(name);
  return Index(names.size() - 1);
}

Result<Parser::Index> Parser::parse(int level) {
  if (++depth_ > limits_.depth_max) return refuse_depth(here().position);
  NEAP_TRY(auto left, parse_unary());
  for (;;) {
    const Infix* infix = nullptr;
    for (const auto& row : kInfix)
      if (at_punct(row.text) && row.level >= level) infix = &row;
    if (!infix) break;
    NEAP_TRY(left, infix->op == Op::kAnd || infix->op == Op::kOr ? parse_chain(left, *infix)
                                                                 : parse_infix(left, *infix));
  }
  if (level == kTernaryLevel && at_punct("?")) {
    const auto position = here().position;
    ++at_;
    NEAP_TRY(const auto yes, parse(kOrLevel));
    NEAP_TRY_VOID(expect(":"));
    NEAP_TRY(const auto no, parse(kTernaryLevel));
    NEAP_TRY(left, add({.op = Op::kTernary, .a = left, .b = yes, .c = no}, position, {left, yes, no}));
  }
  --depth_;
  return left;
}

Result<Parser::Index> Parser::parse_infix(Index left, const Infix& infix) {
  const auto position = here().position;
  ++at_;
  NEAP_TRY(const auto right, parse(infix.level + 1));
  return add({.op = infix.op, .a = left, .b = right}, position, {left, right});
}
// a && b && c is one node, so that long rules stay flat.
Result<Parser::Index> Parser::parse_chain(Index left, const Infix& infix) {
  const auto position = here().position;
  std::vector<Index> parts{left};
  while (take(infix.text)) {
    NEAP_TRY(const auto part, parse(infix.level + 1));
    parts.push_back(part);
  }
  Node node{.op = infix.op};
  set_args(node, parts);
  return add(node, position);
}

Result<Parser::Index> Parser::parse_unary() {
  const auto position = here().position;
  // As in the documents that write NOT: it binds weaker than a comparison.
  if (take("NOT")) {
    NEAP_TRY(const auto operand, parse(kRelationLevel));
    return add({.op = Op::kNot, .a = operand}, position, {operand});
  }
  if (at_punct("!") || at_punct("-")) {
    const bool negate = at_punct("-");
    ++at_;
    if (negate && here().kind == TokenKind::kIntMagnitude) {
      const auto magnitude = here().value.as_uint();
      if (magnitude > std::uint64_t(std::numeric_limits<std::int64_t>::max()) + 1)
        return refuse_at(position, "this number does not fit 64 bits");
      ++at_;
      NEAP_TRY(const auto constant, add_constant(Value::integer(std::int64_t(0 - magnitude)), position));
      return parse_postfix(constant);
    }
    if (++depth_ > limits_.depth_max) return refuse_at(position, "too many signs; remove some");
    NEAP_TRY(const auto operand, parse_unary());
    --depth_;
    return add({.op = negate ? Op::kNegate : Op::kNot, .a = operand}, position, {operand});
  }
  NEAP_TRY(const auto primary, parse_primary());
  return parse_postfix(primary);
}

Result<Parser::Index> Parser::parse_primary() {
  const Token token = here();
  if (token.kind == TokenKind::kLiteral) {
    ++at_;
    return add_constant(token.value, token.position);
  }
  if (token.kind == TokenKind::kIntMagnitude) {
    if (token.value.as_uint() > std::uint64_t(std::numeric_limits<std::int64_t>::max()))
      return refuse_at(token.position, "this int does not fit 63 bits; append u for an unsigned one");
    ++at_;
    return add_constant(Value::integer(std::int64_t(token.value.as_uint())), token.position);
  }
  if (take("(")) {
    NEAP_TRY(const auto inner, parse(kTernaryLevel));
    NEAP_TRY_VOID(expect(")"));
    return inner;
  }
  if (at_punct("[")) return parse_list();
  if (at_punct("{")) return parse_map();
  if (at_punct(".") && ahead(1).kind == TokenKind::kName) {
    ++at_;
    return parse_name(true);
  }
  if (token.kind == TokenKind::kName) return parse_name(false);
  return refuse("unexpected", "expected a value, a name or '('");
}

Result<Parser::Index> Parser::parse_name(bool rooted) {
  const Token token = here();
  if (std::find(kReserved.begin(), kReserved.end(), token.text) != kReserved.end())
    return refuse_at(token.position, fmt::format("'{}' is a reserved word; use another name", token.text));
  Index macro = 0;
  NEAP_TRY(const bool is_macro, parse_cel_macro(macro));
  if (is_macro) return macro;
  ++at_;
  const std::uint8_t flags = rooted ? kRooted : 0;
  if (at_punct("(")) {
    if (token.text == "has") return parse_has(token);
    NEAP_TRY(const auto args, parse_args());
    return add_call(token, args, flags);
  }
  if (const auto* scope = rooted ? nullptr : find_scope(token.text))
    return add({.op = Op::kSlot, .a = scope->slot}, token.position);
  return add({.op = Op::kVariable, .flags = flags, .a = intern(out_.variables, token.text)}, token.position);
}

Result<Parser::Index> Parser::parse_has(const Token& name) {
  NEAP_TRY_VOID(expect("("));
  NEAP_TRY(const auto operand, parse(kTernaryLevel));
  NEAP_TRY_VOID(expect(")"));
  if (out_.nodes[operand].op != Op::kSelect)
    return refuse_at(name.position, "has() takes a field, like has(task.deadline)");
  out_.nodes[operand].op = Op::kHas;
  return operand;
}
Result<std::vector<Parser::Index>> Parser::parse_args() {
  NEAP_TRY_VOID(expect("("));
  std::vector<Index> args;
  while (!at_punct(")")) {
    NEAP_TRY(const auto arg, parse(kTernaryLevel));
    args.push_back(arg);
    if (!take(",")) break;
  }
  NEAP_TRY_VOID(expect(")"));
  return args;
}
Result<Parser::Index> Parser::add_call(const Token& name, const std::vector<Index>& args,
                                       std::uint8_t flags) {
  Node node{.op = Op::kCall, .flags = flags, .a = intern(out_.names, name.text)};
  set_args(node, args);
  return add(node, name.position);
}

Result<Parser::Index> Parser::parse_postfix(Index left) {
  for (;;) {
    const auto position = here().position;
    if (take("[")) {
      const std::uint8_t flags = take("?") ? kOptional : 0;
      NEAP_TRY(const auto index, parse(kTernaryLevel));
      NEAP_TRY_VOID(expect("]"));
      NEAP_TRY(left, add({.op = Op::kIndex, .flags = flags, .a = left, .b = index}, position, {left, index}));
    } else if (take(".")) {
      NEAP_TRY(left, parse_member(left));
    } else if (at_punct("{")) {
      return refuse("unexpected", "messages are not supported; write a map, like {'key': 1}");
    } else {
      return left;
    }
  }
}

Result<Parser::Index> Parser::parse_member(Index left) {
  const std::uint8_t flags = take("?") ? kOptional : 0;
  const Token name = here();
  if (name.kind != TokenKind::kName && name.kind != TokenKind::kQuotedName)
    return refuse("unexpected", "expected a field name after '.'");
  ++at_;
  if (name.kind == TokenKind::kName && at_punct("(") && !flags) {
    NEAP_TRY(const bool is_macro, parse_macro(left, name));
    if (is_macro) return left;
    NEAP_TRY(auto args, parse_args());
    args.insert(args.begin(), left);
    return add_call(name, args, kMember);
  }
  return add({.op = Op::kSelect, .flags = flags, .a = left, .b = intern(out_.names, name.text)},
             name.position, {left});
}

Result<Parser::Index> Parser::parse_list() {
  const auto position = here().position;
  ++at_;
  std::vector<Index> elements;
  std::vector<bool> optional;
  while (!at_punct("]")) {
    optional.push_back(take("?"));
    NEAP_TRY(const auto element, parse(kTernaryLevel));
    elements.push_back(element);
    if (!take(",")) break;
  }
  NEAP_TRY_VOID(expect("]"));
  Node node{.op = Op::kList};
  set_args(node, elements, optional);
  return add(node, position);
}
Result<Parser::Index> Parser::parse_map() {
  const auto position = here().position;
  ++at_;
  std::vector<Index> entries;
  std::vector<bool> optional;
  while (!at_punct("}")) {
    optional.resize(entries.size() + 2);
    optional[entries.size()] = take("?");
    NEAP_TRY(const auto key, parse(kTernaryLevel));
    NEAP_TRY_VOID(expect(":"));
    NEAP_TRY(const auto held, parse(kTernaryLevel));
    entries.push_back(key);
    entries.push_back(held);
    if (!take(",")) break;
  }
  NEAP_TRY_VOID(expect("}"));
  Node node{.op = Op::kMap};
  set_args(node, entries, optional);
  return add(node, position);
}

}  // namespace neap::policy
