// Pratt parser that writes the compiled form directly; macros are recognised where they are called, so that
// their variable is in scope while the body is parsed.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "internal/lexer.h"
#include "internal/node.h"

namespace neap::policy {
namespace {

struct FunctionRow {
  std::string_view name;
  Function function;
  // Arguments with the receiver counted; which spellings are legal.
  std::uint32_t args_min, args_max;
  bool is_global, is_member;
};
constexpr std::uint32_t kMany = 100;
constexpr std::array<FunctionRow, 29> kFunctions{{
    {"size", Function::kSize, 1, 1, true, true},
    {"startsWith", Function::kStartsWith, 2, 2, false, true},
    {"endsWith", Function::kEndsWith, 2, 2, false, true},
    {"contains", Function::kContains, 2, 2, false, true},
    {"matches", Function::kMatches, 2, 2, true, true},
    {"int", Function::kInt, 1, 1, true, false},
    {"uint", Function::kUint, 1, 1, true, false},
    {"double", Function::kDouble, 1, 1, true, false},
    {"string", Function::kString, 1, 1, true, false},
    {"bytes", Function::kBytes, 1, 1, true, false},
    {"bool", Function::kBool, 1, 1, true, false},
    {"duration", Function::kDuration, 1, 1, true, false},
    {"timestamp", Function::kTimestamp, 1, 1, true, false},
    {"dyn", Function::kDyn, 1, 1, true, false},
    {"type", Function::kType, 1, 1, true, false},
    {"min", Function::kMin, 1, kMany, true, false},
    {"max", Function::kMax, 1, kMany, true, false},
    {"lowerAscii", Function::kLowerAscii, 1, 1, false, true},
    {"upperAscii", Function::kUpperAscii, 1, 1, false, true},
    {"getFullYear", Function::kFullYear, 1, 2, false, true},
    {"getMonth", Function::kMonth, 1, 2, false, true},
    {"getDate", Function::kDate, 1, 2, false, true},
    {"getDayOfMonth", Function::kDayOfMonth, 1, 2, false, true},
    {"getDayOfWeek", Function::kDayOfWeek, 1, 2, false, true},
    {"getDayOfYear", Function::kDayOfYear, 1, 2, false, true},
    {"getHours", Function::kHours, 1, 2, false, true},
    {"getMinutes", Function::kMinutes, 1, 2, false, true},
    {"getSeconds", Function::kSeconds, 1, 2, false, true},
    {"getMilliseconds", Function::kMilliseconds, 1, 2, false, true},
}};

struct TypeRow {
  std::string_view name;
  Value::Kind kind;
};
constexpr std::array<TypeRow, 12> kTypes{{
    {"int", Value::Kind::kInt},
    {"uint", Value::Kind::kUint},
    {"double", Value::Kind::kDouble},
    {"bool", Value::Kind::kBool},
    {"string", Value::Kind::kString},
    {"bytes", Value::Kind::kBytes},
    {"list", Value::Kind::kList},
    {"map", Value::Kind::kMap},
    {"null_type", Value::Kind::kNull},
    {"type", Value::Kind::kType},
    {"google.protobuf.Duration", Value::Kind::kDuration},
    {"google.protobuf.Timestamp", Value::Kind::kTimestamp},
}};

// Words that CEL keeps for itself.
constexpr std::array<std::string_view, 17> kReserved{
    "as",  "break", "const",   "continue",  "else",   "for", "function", "if",   "import",
    "let", "loop",  "package", "namespace", "return", "var", "void",     "while"};

enum Binding { kTernaryLevel = 1, kOrLevel, kAndLevel, kRelationLevel, kSumLevel, kProductLevel };

struct Infix {
  std::string_view text;
  int level;
  Op op;
};
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

class Parser {
 public:
  Parser(ProgramImpl& out, std::vector<Token> tokens, const CompileLimits& limits)
      : out_(out), tokens_(std::move(tokens)), limits_(limits) {}

  Status run() {
    NEAP_TRY(out_.root, parse(kTernaryLevel));
    if (here().kind != TokenKind::kEnd) return refuse("unexpected", "expected an operator or the end");
    for (std::size_t i = 0; i < out_.nodes.size(); ++i) cost_.push_back(cost_of(out_.nodes[i]));
    out_.cost = cost_[out_.root];
    if (out_.cost > limits_.cost_max)
      return fail(Code::kInvalidArgument, "cel.too_costly",
                  fmt::format("the expression may take {} steps, above the limit of {}; nest fewer macros",
                              out_.cost, limits_.cost_max));
    return ok();
  }

 private:
  using Index = std::uint32_t;

  const Token& here() const { return tokens_[at_]; }
  bool at_punct(std::string_view text) const {
    return here().kind == TokenKind::kPunct && here().text == text;
  }
  bool take(std::string_view text) {
    if (!at_punct(text)) return false;
    ++at_;
    return true;
  }
  std::unexpected<Error> refuse_at(std::size_t position, std::string what) const {
    return fail(Code::kInvalidArgument, "cel.syntax", point_at(out_.text, position, what));
  }
  std::unexpected<Error> refuse(std::string_view verb, std::string_view hint) const {
    const auto& token = here();
    std::string shown = token.kind == TokenKind::kEnd ? "end of the expression"
                        : token.text.empty()          ? "literal"
                                                      : fmt::format("'{}'", token.text);
    return refuse_at(token.position, fmt::format("{} {}; {}", verb, shown, hint));
  }
  Status expect(std::string_view text) {
    if (take(text)) return ok();
    return refuse("unexpected", fmt::format("expected '{}'", text));
  }

  Result<Index> add(Node node, std::size_t position, std::initializer_list<Index> children = {}) {
    int height = 0;
    for (const auto child : children) height = std::max(height, height_[child]);
    for (std::uint32_t i = 0; i < node.arg_count; ++i)
      height = std::max(height, height_[out_.args[node.arg_first + i]]);
    if (height + 1 > limits_.depth_max)
      return fail(Code::kInvalidArgument, "cel.too_deep",
                  point_at(out_.text, position,
                           fmt::format("nested deeper than {}; split the rule", limits_.depth_max)));
    if (out_.nodes.size() >= limits_.nodes_max)
      return fail(Code::kInvalidArgument, "cel.too_large",
                  fmt::format("the expression has more than {} parts; split the rule", limits_.nodes_max));
    node.position = std::uint32_t(position);
    out_.nodes.push_back(node);
    height_.push_back(height + 1);
    return Index(out_.nodes.size() - 1);
  }
  Result<Index> add_constant(Value value, std::size_t position) {
    out_.constants.push_back(std::move(value));
    return add({.op = Op::kConst, .a = Index(out_.constants.size() - 1)}, position);
  }
  void set_args(Node& node, const std::vector<Index>& args) {
    node.arg_first = Index(out_.args.size());
    node.arg_count = Index(args.size());
    out_.args.insert(out_.args.end(), args.begin(), args.end());
  }
  static Index intern(std::vector<std::string>& names, std::string_view name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return Index(found - names.begin());
    names.emplace_back(name);
    return Index(names.size() - 1);
  }

  Result<Index> parse(int level) {
    if (++depth_ > limits_.depth_max)
      return fail(Code::kInvalidArgument, "cel.too_deep",
                  point_at(out_.text, here().position,
                           fmt::format("nested deeper than {}; split the rule", limits_.depth_max)));
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

  Result<Index> parse_infix(Index left, const Infix& infix) {
    const auto position = here().position;
    ++at_;
    NEAP_TRY(const auto right, parse(infix.level + 1));
    return add({.op = infix.op, .a = left, .b = right}, position, {left, right});
  }
  // a && b && c is one node, so that long rules stay flat.
  Result<Index> parse_chain(Index left, const Infix& infix) {
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

  Result<Index> parse_unary() {
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

  Result<Index> parse_primary() {
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
    if (at_punct(".") && tokens_[at_ + 1].kind == TokenKind::kName) {
      ++at_;
      return parse_name(true);
    }
    if (token.kind == TokenKind::kName) return parse_name(false);
    return refuse("unexpected", "expected a value, a name or '('");
  }

  Result<Index> parse_name(bool rooted) {
    const Token token = here();
    if (std::find(kReserved.begin(), kReserved.end(), token.text) != kReserved.end())
      return refuse_at(token.position, fmt::format("'{}' is a reserved word; use another name", token.text));
    ++at_;
    if (at_punct("(")) return parse_global_call(token);
    if (!rooted)
      for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
        if (scope->first == token.text) return add({.op = Op::kSlot, .a = scope->second}, token.position);
    for (const auto& row : kTypes) {
      if (row.name == token.text) return add_constant(Value::type(row.kind), token.position);
      if (token.text == "google" && take_qualified(row.name))
        return add_constant(Value::type(row.kind), token.position);
    }
    return add({.op = Op::kVariable, .a = intern(out_.variables, token.text)}, token.position);
  }
  // After `google`: takes `.protobuf.Name` where it spells `name`.
  bool take_qualified(std::string_view name) {
    if (at_ + 3 >= tokens_.size()) return false;
    const auto& t = tokens_;
    if (t[at_].text != "." || t[at_ + 1].text != "protobuf" || t[at_ + 2].text != ".") return false;
    if (name != fmt::format("google.protobuf.{}", t[at_ + 3].text)) return false;
    at_ += 4;
    return true;
  }

  Result<Index> parse_global_call(const Token& name) {
    if (name.text == "has") return parse_has(name);
    NEAP_TRY(const auto args, parse_args());
    return add_call(name, args, false);
  }
  Result<Index> parse_has(const Token& name) {
    NEAP_TRY_VOID(expect("("));
    NEAP_TRY(const auto operand, parse(kTernaryLevel));
    NEAP_TRY_VOID(expect(")"));
    if (out_.nodes[operand].op != Op::kSelect)
      return refuse_at(name.position, "has() takes a field, like has(task.deadline)");
    out_.nodes[operand].op = Op::kHas;
    return operand;
  }
  Result<std::vector<Index>> parse_args() {
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
  Result<Index> add_call(const Token& name, const std::vector<Index>& args, bool is_member) {
    const FunctionRow* row = nullptr;
    for (const auto& candidate : kFunctions)
      if (candidate.name == name.text && (is_member ? candidate.is_member : candidate.is_global))
        row = &candidate;
    if (!row)
      return refuse_at(name.position, fmt::format("there is no {} named '{}'",
                                                  is_member ? "method" : "function", name.text));
    if (args.size() < row->args_min || args.size() > row->args_max)
      return refuse_at(name.position,
                       fmt::format("'{}' does not take {} argument{}", name.text, args.size() - is_member,
                                   args.size() - is_member == 1 ? "" : "s"));
    Node node{.op = Op::kCall, .function = row->function};
    set_args(node, args);
    NEAP_TRY(const auto call, add(node, name.position));
    if (row->function == Function::kMatches) NEAP_TRY_VOID(compile_pattern(call, args[1], name.position));
    return call;
  }
  Status compile_pattern(Index call, Index pattern, std::size_t position) {
    if (out_.nodes[pattern].op != Op::kConst) return ok();
    const auto& value = out_.constants[out_.nodes[pattern].a];
    if (!value.is(Value::Kind::kString)) return ok();
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);
    auto compiled =
        std::make_unique<re2::RE2>(re2::StringPiece(value.as_text().data(), value.as_text().size()), options);
    if (!compiled->ok())
      return refuse_at(position, fmt::format("the pattern is not valid: {}", compiled->error()));
    out_.patterns.emplace_back(call, std::move(compiled));
    return ok();
  }

  Result<Index> parse_postfix(Index left) {
    for (;;) {
      const auto position = here().position;
      if (take("[")) {
        NEAP_TRY(const auto index, parse(kTernaryLevel));
        NEAP_TRY_VOID(expect("]"));
        NEAP_TRY(left, add({.op = Op::kIndex, .a = left, .b = index}, position, {left, index}));
      } else if (take(".")) {
        const Token name = here();
        // `in`, `true` and the like are legal field names after a dot in no version of CEL.
        if (name.kind != TokenKind::kName && name.kind != TokenKind::kQuotedName)
          return refuse("unexpected", "expected a field name after '.'");
        ++at_;
        if (name.kind == TokenKind::kName && at_punct("(")) {
          NEAP_TRY(left, parse_member_call(left, name));
        } else {
          NEAP_TRY(left, add({.op = Op::kSelect, .a = left, .b = intern(out_.names, name.text)},
                             name.position, {left}));
        }
      } else if (at_punct("{")) {
        return refuse("unexpected", "messages are not supported; write a map, like {'key': 1}");
      } else {
        return left;
      }
    }
  }

  Result<Index> parse_member_call(Index receiver, const Token& name) {
    struct Macro {
      std::string_view name;
      Op op;
    };
    for (const auto& macro : std::array<Macro, 5>{{{"all", Op::kAll},
                                                   {"exists", Op::kExists},
                                                   {"exists_one", Op::kExistsOne},
                                                   {"filter", Op::kFilter},
                                                   {"map", Op::kTransform}}})
      if (macro.name == name.text) return parse_macro(receiver, name, macro.op);
    NEAP_TRY(auto args, parse_args());
    args.insert(args.begin(), receiver);
    return add_call(name, args, true);
  }
  Result<Index> parse_macro(Index range, const Token& name, Op op) {
    NEAP_TRY_VOID(expect("("));
    const Token variable = here();
    if (variable.kind != TokenKind::kName)
      return refuse("unexpected", "the macro's first argument is a plain name");
    ++at_;
    NEAP_TRY_VOID(expect(","));
    const Index slot = Index(scopes_.size());
    out_.slot_count = std::max(out_.slot_count, slot + 1);
    scopes_.emplace_back(variable.text, slot);
    NEAP_TRY(auto body, parse(kTernaryLevel));
    Node node{.op = op, .a = range, .c = slot};
    if (op == Op::kTransform && take(",")) {
      node.arg_first = body + 1;
      NEAP_TRY(body, parse(kTernaryLevel));
    }
    scopes_.pop_back();
    NEAP_TRY_VOID(expect(")"));
    node.b = body;
    return add(node, name.position, {range, body, node.arg_first ? node.arg_first - 1 : body});
  }

  Result<Index> parse_list() {
    const auto position = here().position;
    ++at_;
    std::vector<Index> elements;
    bool constant = true;
    while (!at_punct("]")) {
      NEAP_TRY(const auto element, parse(kTernaryLevel));
      elements.push_back(element);
      constant = constant && out_.nodes[element].op == Op::kConst;
      if (!take(",")) break;
    }
    NEAP_TRY_VOID(expect("]"));
    if (constant) {
      std::vector<Value> values;
      for (const auto element : elements) values.push_back(out_.constants[out_.nodes[element].a]);
      return add_constant(Value::list(std::move(values)), position);
    }
    Node node{.op = Op::kList};
    set_args(node, elements);
    return add(node, position);
  }
  Result<Index> parse_map() {
    const auto position = here().position;
    ++at_;
    std::vector<Index> entries;
    while (!at_punct("}")) {
      NEAP_TRY(const auto key, parse(kTernaryLevel));
      NEAP_TRY_VOID(expect(":"));
      NEAP_TRY(const auto held, parse(kTernaryLevel));
      entries.push_back(key);
      entries.push_back(held);
      if (!take(",")) break;
    }
    NEAP_TRY_VOID(expect("}"));
    Node node{.op = Op::kMap};
    set_args(node, entries);
    return add(node, position);
  }

  std::uint64_t cost_of(const Node& node) const {
    constexpr std::uint64_t kCeiling = std::uint64_t(1) << 60;
    __extension__ using Wide = unsigned __int128;
    Wide total = 1;
    const auto child = [&](Index i) { total += cost_[i]; };
    switch (node.op) {
      case Op::kConst:
      case Op::kVariable:
      case Op::kSlot:
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
      case Op::kAnd:
      case Op::kOr:
      case Op::kList:
      case Op::kMap:
      case Op::kCall:
        for (Index i = 0; i < node.arg_count; ++i) child(out_.args[node.arg_first + i]);
        if (node.op == Op::kCall && node.function == Function::kMatches) total += 20;
        break;
      case Op::kAll:
      case Op::kExists:
      case Op::kExistsOne:
      case Op::kFilter:
      case Op::kTransform: {
        child(node.a);
        const auto& range = out_.nodes[node.a];
        const Wide count = range.op == Op::kConst && out_.constants[range.a].is(Value::Kind::kList)
                               ? out_.constants[range.a].size()
                               : limits_.list_size_assumed;
        total += count * (1 + cost_[node.b] + (node.arg_first ? cost_[node.arg_first - 1] : 0));
        break;
      }
      default:
        child(node.a);
        child(node.b);
    }
    return total > kCeiling ? kCeiling : std::uint64_t(total);
  }

  ProgramImpl& out_;
  std::vector<Token> tokens_;
  const CompileLimits& limits_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::vector<int> height_;
  std::vector<std::uint64_t> cost_;
  std::vector<std::pair<std::string_view, Index>> scopes_;
};

}  // namespace

Result<Program> compile(std::string_view text, const CompileLimits& limits) {
  if (text.size() > limits.text_bytes_max)
    return fail(Code::kInvalidArgument, "cel.too_large",
                fmt::format("the expression has {} bytes, above the limit of {}; split the rule", text.size(),
                            limits.text_bytes_max));
  auto impl = std::make_shared<ProgramImpl>();
  impl->text = text;
  NEAP_TRY(auto tokens, tokenize(impl->text));
  NEAP_TRY_VOID(Parser(*impl, std::move(tokens), limits).run());
  return Program(std::move(impl));
}

const std::string& Program::text() const {
  static const std::string empty;
  return impl_ ? impl_->text : empty;
}
std::uint64_t Program::static_cost() const { return impl_ ? impl_->cost : 0; }
bool Program::references(std::string_view variable) const {
  return impl_ &&
         std::find(impl_->variables.begin(), impl_->variables.end(), variable) != impl_->variables.end();
}

}  // namespace neap::policy
