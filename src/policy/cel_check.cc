#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "internal/checker.h"

namespace neap::policy {
namespace {

using K = Type::Kind;
constexpr std::size_t kTypeSizeMax = 500;

struct TypeNameRow {
  std::string_view name;
  Value::Kind kind;
  std::string_view type;
};
constexpr std::array<TypeNameRow, 14> kTypeNames{{
    {"int", Value::Kind::kInt, "type(int)"},
    {"uint", Value::Kind::kUint, "type(uint)"},
    {"double", Value::Kind::kDouble, "type(double)"},
    {"bool", Value::Kind::kBool, "type(bool)"},
    {"string", Value::Kind::kString, "type(string)"},
    {"bytes", Value::Kind::kBytes, "type(bytes)"},
    {"list", Value::Kind::kList, "type(list(dyn))"},
    {"map", Value::Kind::kMap, "type(map(dyn, dyn))"},
    {"null_type", Value::Kind::kNull, "type(null)"},
    {"type", Value::Kind::kType, "type(type)"},
    {"optional_type", Value::Kind::kOptional, "type(optional_type(dyn))"},
    {"google.protobuf.Duration", Value::Kind::kDuration, "type(duration)"},
    {"google.protobuf.Timestamp", Value::Kind::kTimestamp, "type(timestamp)"},
    {"quantity", Value::Kind::kQuantity, "type(quantity)"},
}};

std::size_t size_of(const Type& type) {
  std::size_t size = 1;
  for (const auto& parameter : type.parameters) size += size_of(parameter);
  return size;
}
Type make(K kind, std::vector<Type> parameters) {
  std::size_t size = 0;
  for (const auto& parameter : parameters) size += size_of(parameter);
  if (size > kTypeSizeMax)
    for (auto& parameter : parameters) parameter = {};
  return {.kind = kind, .name = {}, .parameters = std::move(parameters)};
}
bool is_open(const Type& type) { return type.kind == K::kDyn || type.kind == K::kParameter; }
bool is_number(const Type& type) {
  return type.kind == K::kInt || type.kind == K::kUint || type.kind == K::kDouble || is_open(type);
}

// In a container a.b: a.b.name, a.name, name.
std::vector<std::string> candidates(std::string_view container, std::string_view name, bool rooted) {
  std::vector<std::string> out;
  while (!rooted && !container.empty()) {
    out.push_back(fmt::format("{}.{}", container, name));
    const auto dot = container.rfind('.');
    container = dot == std::string_view::npos ? std::string_view() : container.substr(0, dot);
  }
  out.emplace_back(name);
  return out;
}

std::string shown_types(const std::vector<Type>& types, const TypeBindings& bindings) {
  std::string out;
  for (const auto& type : types)
    out += fmt::format("{}{}", out.empty() ? "" : ", ", to_text(bindings.resolve(type, true)));
  return out;
}

}  // namespace

Status Checker::run() {
  NEAP_TRY(const auto type, visit(program_.root));
  program_.type = bindings_.resolve(type, true);
  return ok();
}

std::unexpected<Error> Checker::refuse_always(Index index, std::string_view what) const {
  return fail(Code::kInvalidArgument, "cel.type_error",
              point_at(program_.text, program_.nodes[index].position, what));
}
Result<Type> Checker::refuse(Index index, std::string_view what) const {
  if (is_strict()) return refuse_always(index, what);
  return Type{};
}

Result<Type> Checker::visit(Index index) {
  switch (node(index).op) {
    case Op::kConst:
      switch (program_.constants[node(index).a].kind()) {
        case Value::Kind::kNull:
          return Type{.kind = K::kNull};
        case Value::Kind::kBool:
          return Type{.kind = K::kBool};
        case Value::Kind::kInt:
          return Type{.kind = K::kInt};
        case Value::Kind::kUint:
          return Type{.kind = K::kUint};
        case Value::Kind::kDouble:
          return Type{.kind = K::kDouble};
        case Value::Kind::kString:
          return Type{.kind = K::kString};
        case Value::Kind::kBytes:
          return Type{.kind = K::kBytes};
        case Value::Kind::kDuration:
          return Type{.kind = K::kDuration};
        default:
          return Type{};
      }
    case Op::kVariable:
      return visit_variable(index);
    case Op::kSlot:
      return slot_types_[node(index).a];
    case Op::kSelect:
    case Op::kHas:
      return visit_select(index);
    case Op::kIndex:
      return visit_index(index);
    case Op::kAnd:
    case Op::kOr:
      return visit_logic(index);
    case Op::kList:
      return visit_list(index);
    case Op::kMap:
      return visit_map(index);
    case Op::kCall:
      return visit_call(index);
    case Op::kAll:
    case Op::kExists:
    case Op::kExistsOne:
    case Op::kFilter:
    case Op::kTransform:
    case Op::kTransformMap:
    case Op::kTransformEntry:
      return visit_comprehension(index);
    case Op::kBind:
    case Op::kOptionalMap:
    case Op::kOptionalFlatMap:
      return visit_binding(index);
    case Op::kBlock:
      return visit_block(index);
    case Op::kBlockSlot:
      for (const auto& [expression, type] : block_types_)
        if (expression == node(index).b) return type;
      return Type{};
    default:
      return visit_operator(index);
  }
}

bool Checker::collect_chain(Index index, std::string& out, bool& rooted) const {
  const auto& at = program_.nodes[index];
  if (at.op == Op::kVariable) {
    out = program_.variables[at.a];
    rooted = at.flags & kRooted;
    return true;
  }
  if (at.op != Op::kSelect || (at.flags & kOptional) || !collect_chain(at.a, out, rooted)) return false;
  out += '.';
  out += program_.names[at.b];
  return true;
}

// True where the chain of names is one declared variable or the name of a type.
bool Checker::rewrite_qualified(Index index, Type& type) {
  std::string name;
  bool rooted = false;
  if (!collect_chain(index, name, rooted)) return false;
  for (const auto& candidate : candidates(environment_.container(), name, rooted)) {
    if (const auto* declared = environment_.find_variable(candidate)) {
      std::vector<std::pair<std::string, Type>> renamed;
      type = bindings_.instantiate(*declared, renamed);
      const auto found = std::find(program_.variables.begin(), program_.variables.end(), candidate);
      const auto at = Index(found - program_.variables.begin());
      if (found == program_.variables.end()) program_.variables.push_back(candidate);
      node(index) = {.op = Op::kVariable, .a = at, .position = node(index).position};
      return true;
    }
    for (const auto& row : kTypeNames) {
      if (row.name != candidate) continue;
      program_.constants.push_back(Value::type(row.kind));
      node(index) = {
          .op = Op::kConst, .a = Index(program_.constants.size() - 1), .position = node(index).position};
      type = parse_type(row.type).value_or(Type{});
      return true;
    }
  }
  node(index).flags |= kQualified;
  return false;
}

Result<Type> Checker::visit_variable(Index index) {
  Type type;
  if (rewrite_qualified(index, type)) return type;
  return refuse(index,
                fmt::format("there is no variable named '{}' here", program_.variables[node(index).a]));
}

Result<Type> Checker::visit_select(Index index) {
  Type type;
  const bool is_has = node(index).op == Op::kHas;
  if (!is_has && !(node(index).flags & kOptional) && rewrite_qualified(index, type)) return type;
  NEAP_TRY(const auto visited, visit(node(index).a));
  auto operand = bindings_.resolve(visited, false);
  const bool was_optional = operand.kind == K::kOptional;
  if (was_optional) {
    // A copy first: the parameter lives inside what is assigned to.
    const Type inner = operand.parameters[0];
    operand = bindings_.resolve(inner, false);
  }
  NEAP_TRY(auto field, field_type(index, operand));
  if (is_has) return Type{.kind = K::kBool};
  return was_optional || (node(index).flags & kOptional) ? make(K::kOptional, {std::move(field)}) : field;
}

Result<Type> Checker::field_type(Index index, const Type& operand) {
  switch (operand.kind) {
    case K::kParameter:
      (void)bindings_.assign(operand, Type{});
      return Type{};
    case K::kDyn:
      return Type{};
    case K::kMap:
      return operand.parameters[1];
    case K::kObject: {
      const auto* fields = environment_.find_object(operand.name);
      const auto& name = program_.names[node(index).b];
      if (!fields) return Type{};
      if (const auto found = fields->find(name); found != fields->end()) return found->second;
      std::string known;
      for (const auto& [field, type] : *fields) known += (known.empty() ? "" : ", ") + field;
      return refuse(index, fmt::format("{} has no field '{}'; it has {}", operand.name, name, known));
    }
    default:
      return refuse(index, fmt::format("a {} has no fields", to_text(bindings_.resolve(operand, true))));
  }
}

Result<Type> Checker::visit_index(Index index) {
  const auto a = node(index).a, b = node(index).b;
  NEAP_TRY(auto range, visit(a));
  NEAP_TRY(auto key, visit(b));
  const auto resolved = bindings_.resolve(range, false);
  if (resolved.kind == K::kObject) return Type{};
  const std::vector<Type> types{std::move(range), std::move(key)};
  const std::string_view name = node(index).flags & kOptional ? "_[?_]" : "_[_]";
  return resolve_overload(index, name, find_overloads(operator_overloads(), name, false), types);
}

Result<Type> Checker::visit_operator(Index index) {
  const Node at = node(index);
  const auto name = operator_name(at.op);
  std::vector<Type> types;
  NEAP_TRY(auto first, visit(at.a));
  types.push_back(std::move(first));
  if (at.op != Op::kNot && at.op != Op::kNegate) {
    NEAP_TRY(auto second, visit(at.b));
    types.push_back(std::move(second));
  }
  if (at.op == Op::kTernary) {
    NEAP_TRY(auto third, visit(at.c));
    types.push_back(std::move(third));
  }
  return resolve_overload(index, name, find_overloads(operator_overloads(), name, false), types);
}

Result<Type> Checker::visit_logic(Index index) {
  for (Index i = 0; i < node(index).arg_count; ++i) {
    const auto operand = program_.args[node(index).arg_first + i];
    NEAP_TRY(const auto type, visit(operand));
    if (!bindings_.assign(type, Type{.kind = K::kBool}))
      NEAP_TRY_VOID(refuse(operand, fmt::format("a {} is neither true nor false; compare it with something",
                                                to_text(bindings_.resolve(type, true)))));
  }
  return Type{.kind = K::kBool};
}

Type Checker::join(const Type& a, const Type& b) {
  if (bindings_.assign(a, b)) return more_general(a, b);
  return {};
}

Result<Type> Checker::visit_list(Index index) {
  std::optional<Type> element;
  for (Index i = 0; i < node(index).arg_count; ++i) {
    const auto at = node(index).arg_first + i;
    NEAP_TRY(auto type, visit(program_.args[at]));
    if (program_.args_optional[at]) {
      Type inner = bindings_.fresh();
      if (!bindings_.assign(type, make(K::kOptional, {inner})))
        NEAP_TRY_VOID(refuse(program_.args[at], "a `?` element must be an optional value"));
      type = bindings_.resolve(inner, false);
    }
    element = element ? join(bindings_.resolve(*element, false), bindings_.resolve(type, false)) : type;
  }
  return make(K::kList, {element ? *std::move(element) : bindings_.fresh()});
}

Result<Type> Checker::visit_map(Index index) {
  std::optional<Type> keys, values;
  for (Index i = 0; i + 1 < node(index).arg_count; i += 2) {
    const auto at = node(index).arg_first + i;
    NEAP_TRY(auto key, visit(program_.args[at]));
    NEAP_TRY(auto held, visit(program_.args[at + 1]));
    if (program_.args_optional[at]) {
      Type inner = bindings_.fresh();
      if (!bindings_.assign(held, make(K::kOptional, {inner})))
        NEAP_TRY_VOID(refuse(program_.args[at + 1], "a `?` entry must hold an optional value"));
      held = bindings_.resolve(inner, false);
    }
    keys = keys ? join(bindings_.resolve(*keys, false), bindings_.resolve(key, false)) : key;
    values = values ? join(bindings_.resolve(*values, false), bindings_.resolve(held, false)) : held;
  }
  if (!keys) return make(K::kMap, {bindings_.fresh(), bindings_.fresh()});
  return make(K::kMap, {*std::move(keys), *std::move(values)});
}

Result<Type> Checker::resolve_overload(Index index, std::string_view shown,
                                       const std::vector<const Overload*>& overloads,
                                       const std::vector<Type>& types) {
  std::optional<Type> result;
  for (const auto* overload : overloads) {
    if (overload->is_variadic ? types.size() < overload->parameters.size()
                              : types.size() != overload->parameters.size())
      continue;
    std::vector<std::pair<std::string, Type>> renamed;
    std::vector<Type> wanted;
    for (std::size_t i = 0; i < types.size(); ++i)
      wanted.push_back(
          bindings_.instantiate(overload->parameters[std::min(i, overload->parameters.size() - 1)], renamed));
    if (!bindings_.assign_all(types, wanted)) continue;
    const auto given = bindings_.resolve(bindings_.instantiate(overload->result, renamed), false);
    if (!result) {
      result = given;
    } else if (*result != given) {
      result = Type{};
    }
  }
  if (result) return *std::move(result);
  std::string spelled(shown);
  std::erase(spelled, '_');
  return refuse(index, fmt::format("'{}' does not take ({}); convert an operand", spelled,
                                   shown_types(types, bindings_)));
}

// `math.abs(x)` is written like a member call on a variable named math.
bool Checker::rewrite_namespaced_call(Index index) {
  std::string receiver;
  bool rooted = false;
  if (!(node(index).flags & kMember)) return false;
  if (!collect_chain(program_.args[node(index).arg_first], receiver, rooted)) return false;
  const auto full = receiver + "." + name_of(index);
  for (const auto& candidate : candidates(environment_.container(), full, rooted)) {
    bool known = is_builtin_function(candidate);
    for (const auto& declared : environment_.functions()) known |= declared.name == candidate;
    if (!known) continue;
    program_.names.push_back(candidate);
    auto& at = node(index);
    at.a = Index(program_.names.size() - 1);
    at.flags &= std::uint8_t(~kMember);
    ++at.arg_first;
    --at.arg_count;
    return true;
  }
  return false;
}

Result<Type> Checker::visit_call(Index index) {
  (void)rewrite_namespaced_call(index);
  std::vector<Type> types;
  for (Index i = 0; i < node(index).arg_count; ++i) {
    NEAP_TRY(auto type, visit(program_.args[node(index).arg_first + i]));
    types.push_back(std::move(type));
  }
  const bool is_member = node(index).flags & kMember;
  auto name = name_of(index);
  std::vector<const Overload*> overloads;
  for (const auto& candidate : candidates(is_member ? "" : environment_.container(), name, false)) {
    overloads = find_overloads(builtin_overloads(), candidate, is_member);
    for (const auto& declared : environment_.functions())
      if (declared.name == candidate && declared.is_member == is_member)
        return call_declared(index, candidate, types);
    if (!overloads.empty()) break;
  }
  if (overloads.empty()) {
    if (environment_.checking() == Checking::kNone) return Type{};
    return fail(Code::kInvalidArgument, is_strict() ? "cel.type_error" : "cel.syntax",
                point_at(program_.text, node(index).position,
                         fmt::format("there is no {} named '{}'", is_member ? "method" : "function", name)));
  }
  node(index).function = overloads.front()->function;
  bool takes_that_many = false;
  for (const auto* overload : overloads)
    takes_that_many |= overload->is_variadic ? types.size() >= overload->parameters.size()
                                             : types.size() == overload->parameters.size();
  if (!takes_that_many) {
    node(index).function = Function::kUnknown;
    if (environment_.checking() == Checking::kNone) return Type{};
    return fail(Code::kInvalidArgument, is_strict() ? "cel.type_error" : "cel.syntax",
                point_at(program_.text, node(index).position,
                         fmt::format("'{}' does not take {} argument{}", name, types.size() - is_member,
                                     types.size() - is_member == 1 ? "" : "s")));
  }
  if (node(index).function == Function::kGreatest || node(index).function == Function::kLeast)
    return visit_extreme(index, types);
  return resolve_overload(index, name, overloads, types);
}

Result<Type> Checker::call_declared(Index index, const std::string& name, const std::vector<Type>& types) {
  std::vector<Overload> table;
  for (const auto& declared : environment_.functions())
    if (declared.name == name && declared.is_member == bool(node(index).flags & kMember))
      table.push_back({.name = declared.name,
                       .function = Function::kUnknown,
                       .is_member = declared.is_member,
                       .is_variadic = false,
                       .parameters = declared.parameters,
                       .result = declared.result});
  std::vector<const Overload*> overloads;
  for (const auto& overload : table) overloads.push_back(&overload);
  return resolve_overload(index, name, overloads, types);
}

Result<Type> Checker::visit_extreme(Index index, const std::vector<Type>& types) {
  std::vector<Type> operands;
  for (const auto& type : types) operands.push_back(bindings_.resolve(type, false));
  if (operands.size() == 1 && operands[0].kind == K::kList) {
    const Type element = operands[0].parameters[0];
    operands = {bindings_.resolve(element, false)};
  }
  for (const auto& type : operands)
    if (!is_number(type))
      return refuse(
          index, fmt::format("{} compares numbers, not ({})", name_of(index), shown_types(types, bindings_)));
  for (const auto& type : operands)
    if (is_open(type) || type.kind != operands[0].kind) return Type{};
  return operands[0];
}

Result<std::pair<Type, Type>> Checker::range_types(Index index, const Type& range) {
  const auto resolved = bindings_.resolve(range, false);
  switch (resolved.kind) {
    case K::kList:
      return std::pair(Type{.kind = K::kInt}, resolved.parameters[0]);
    case K::kMap:
      return std::pair(resolved.parameters[0], resolved.parameters[1]);
    case K::kParameter:
      (void)bindings_.assign(resolved, Type{});
      return std::pair(Type{}, Type{});
    case K::kDyn:
      return std::pair(Type{}, Type{});
    default:
      NEAP_TRY_VOID(refuse(index, fmt::format("a {} cannot be walked through; use a list or a map",
                                              to_text(bindings_.resolve(resolved, true)))));
      return std::pair(Type{}, Type{});
  }
}

Result<Type> Checker::visit_comprehension(Index index) {
  const Node at = node(index);
  NEAP_TRY(const auto range, visit(at.a));
  NEAP_TRY(const auto variables, range_types(at.a, range));
  const auto& [key, held] = variables;
  const bool walks_list = bindings_.resolve(range, false).kind == K::kList;
  const Type element = walks_list ? held : key;
  slot_types_[at.c] = at.d ? key : element;
  if (at.d) slot_types_[at.d - 1] = held;
  const Type truth{.kind = K::kBool};
  if (at.arg_first) {
    NEAP_TRY(const auto filter, visit(at.arg_first - 1));
    if (!bindings_.assign(filter, truth))
      NEAP_TRY_VOID(refuse(at.arg_first - 1, "the macro's filter is neither true nor false"));
  }
  NEAP_TRY(const auto body, visit(at.b));
  switch (at.op) {
    case Op::kTransform:
      return make(K::kList, {body});
    case Op::kTransformMap:
      return make(K::kMap, {key, body});
    case Op::kTransformEntry: {
      const auto entry = bindings_.resolve(body, false);
      if (entry.kind == K::kMap || is_open(entry)) return entry;
      return refuse(at.b, "transformMapEntry needs a map of the entries to add");
    }
    default:
      if (!bindings_.assign(body, truth))
        NEAP_TRY_VOID(refuse(at.b, fmt::format("the macro's condition is a {}, neither true nor false",
                                               to_text(bindings_.resolve(body, true)))));
      if (at.op == Op::kFilter) return make(K::kList, {element});
      return truth;
  }
}

Result<Type> Checker::visit_binding(Index index) {
  const Node at = node(index);
  NEAP_TRY(const auto target, visit(at.a));
  if (at.op == Op::kBind) {
    slot_types_[at.c] = target;
    return visit(at.b);
  }
  const Type inner = bindings_.fresh();
  if (!bindings_.assign(target, make(K::kOptional, {inner})))
    NEAP_TRY_VOID(refuse(at.a, "optMap and optFlatMap are for optional values; use optional.of()"));
  slot_types_[at.c] = bindings_.resolve(inner, false);
  NEAP_TRY(const auto body, visit(at.b));
  if (at.op == Op::kOptionalMap) return make(K::kOptional, {body});
  if (!bindings_.assign(body, make(K::kOptional, {bindings_.fresh()})))
    NEAP_TRY_VOID(refuse(at.b, "optFlatMap needs an optional value; use optMap"));
  return bindings_.resolve(body, false);
}

Result<Type> Checker::visit_block(Index index) {
  const Node at = node(index);
  for (Index i = 0; i < at.arg_count; ++i) {
    const auto expression = program_.args[at.arg_first + i];
    NEAP_TRY(auto type, visit(expression));
    block_types_.emplace_back(expression, std::move(type));
  }
  return visit(at.b);
}

}  // namespace neap::policy
