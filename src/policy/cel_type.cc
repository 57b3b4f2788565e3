// Types as text, and the declarations an expression is checked against.
#include <fmt/format.h>

#include <array>

#include "neap/base/assert.h"
#include "neap/policy/environment.h"

namespace neap::policy {
namespace {

using K = Type::Kind;
constexpr int kDepthMax = 32;

struct NameRow {
  std::string_view name;
  K kind;
  std::size_t parameters;
};
constexpr std::array<NameRow, 17> kNames{{
    {"dyn", K::kDyn, 0},
    {"null", K::kNull, 0},
    {"bool", K::kBool, 0},
    {"int", K::kInt, 0},
    {"uint", K::kUint, 0},
    {"double", K::kDouble, 0},
    {"string", K::kString, 0},
    {"bytes", K::kBytes, 0},
    {"duration", K::kDuration, 0},
    {"timestamp", K::kTimestamp, 0},
    {"quantity", K::kQuantity, 0},
    {"list", K::kList, 1},
    {"map", K::kMap, 2},
    {"optional_type", K::kOptional, 1},
    {"type", K::kType, 1},
    {"google.protobuf.Duration", K::kDuration, 0},
    {"google.protobuf.Timestamp", K::kTimestamp, 0},
}};

class TypeReader {
 public:
  explicit TypeReader(std::string_view text) : text_(text) {}
  Result<Type> run() {
    NEAP_TRY(auto type, read(0));
    if (at_ != text_.size()) return refuse();
    return type;
  }

 private:
  std::unexpected<Error> refuse() const {
    return fail(Code::kInvalidArgument, "cel.type",
                fmt::format("\"{}\" is no type (see character {}); write int, list(string), map(string, dyn)",
                            text_, at_ + 1));
  }
  Result<Type> read(int depth) {
    if (depth > kDepthMax) return refuse();
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '(' && text_[at_] != ')' && text_[at_] != ',') ++at_;
    const auto name = text_.substr(start, at_ - start);
    if (name.empty()) return refuse();
    Type type{.kind = K::kOpaque};
    std::size_t wanted = 0;
    bool known = false;
    for (const auto& row : kNames)
      if (row.name == name) {
        type.kind = row.kind;
        wanted = row.parameters;
        known = true;
      }
    if (!known) {
      type.name = name;
      if (name.size() == 1 && name[0] >= 'A' && name[0] <= 'Z') type.kind = K::kParameter;
    }
    if (at_ < text_.size() && text_[at_] == '(') {
      do {
        ++at_;
        while (at_ < text_.size() && text_[at_] == ' ') ++at_;
        NEAP_TRY(auto parameter, read(depth + 1));
        type.parameters.push_back(std::move(parameter));
      } while (at_ < text_.size() && text_[at_] == ',');
      if (at_ >= text_.size() || text_[at_] != ')') return refuse();
      ++at_;
    }
    // `type` alone is the type of types.
    const bool is_bare_type = type.kind == K::kType && type.parameters.empty();
    if (known && type.parameters.empty() && !is_bare_type) type.parameters.resize(wanted);
    if (known && type.parameters.size() != wanted && !is_bare_type) return refuse();
    return type;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Type must_parse(std::string_view text) {
  auto type = parse_type(text);
  NEAP_ASSERT(type.has_value());
  return *std::move(type);
}

}  // namespace

std::string to_text(const Type& type) {
  std::string out = type.name;
  for (const auto& row : kNames)
    if (out.empty() && row.kind == type.kind) out = row.name;
  if (type.parameters.empty()) return out;
  out += '(';
  for (std::size_t i = 0; i < type.parameters.size(); ++i) {
    if (i > 0) out += ", ";
    out += to_text(type.parameters[i]);
  }
  return out + ')';
}

Result<Type> parse_type(std::string_view text) { return TypeReader(text).run(); }

Environment& Environment::variable(std::string_view name, std::string_view type) {
  return variable(name, must_parse(type));
}
Environment& Environment::variable(std::string_view name, Type type) {
  if (type.kind == K::kOpaque && objects_.contains(type.name)) type.kind = K::kObject;
  variables_.insert_or_assign(std::string(name), std::move(type));
  return *this;
}
Environment& Environment::object(
    std::string_view type_name, std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  auto& held = objects_[std::string(type_name)];
  for (const auto& [field, type] : fields) held.insert_or_assign(std::string(field), must_parse(type));
  return *this;
}
Environment& Environment::function(FunctionDeclaration declaration) {
  functions_.push_back(std::move(declaration));
  return *this;
}
Environment& Environment::container(std::string_view name) {
  container_ = name;
  return *this;
}
const Type* Environment::find_variable(std::string_view name) const {
  const auto found = variables_.find(name);
  return found == variables_.end() ? nullptr : &found->second;
}
const std::map<std::string, Type, std::less<>>* Environment::find_object(std::string_view type_name) const {
  const auto found = objects_.find(type_name);
  return found == objects_.end() ? nullptr : &found->second;
}

const Environment& placement_environment() {
  static const Environment environment = [] {
    Environment out;
    out.object("task", {{"type", "string"},
                        {"kind", "string"},
                        {"gpu_demand", "dyn"},
                        {"accelerators", "dyn"},
                        {"latency_requirement", "duration"},
                        {"priority_class", "string"},
                        {"priority", "int"},
                        {"data_level", "string"},
                        {"accelerator", "string"},
                        {"replicas", "int"},
                        {"cpu", "double"},
                        {"memory", "int"},
                        {"interruptible", "bool"},
                        {"interruption", "string"},
                        {"duration", "duration"},
                        {"deadline", "timestamp"},
                        {"project", "string"},
                        {"team", "string"},
                        {"model", "string"},
                        {"queue", "string"},
                        {"id", "string"}});
    out.object("data", {{"level", "string"},
                        {"bytes", "int"},
                        {"home", "string"},
                        {"jurisdiction", "string"},
                        {"datasets", "list(string)"}});
    out.object("site", {{"name", "string"},
                        {"tier", "string"},
                        {"jurisdiction", "string"},
                        {"labels", "map(string, string)"},
                        {"rtt", "duration"},
                        {"bandwidth", "double"},
                        {"carbon_intensity", "double"}});
    out.object("node", {{"name", "string"},
                        {"kind", "string"},
                        {"capacity_type", "string"},
                        {"tier", "string"},
                        {"labels", "map(string, string)"},
                        {"accelerator", "string"},
                        {"accelerators", "int"},
                        {"accelerator_memory", "int"},
                        {"accelerators_free", "dyn"},
                        {"cpu", "double"},
                        {"cpu_free", "double"},
                        {"memory", "int"},
                        {"memory_free", "int"},
                        {"load", "double"},
                        {"versions", "map(string, string)"}});
    out.object("price", {{"owned", "double"},
                         {"reserved", "double"},
                         {"on_demand", "double"},
                         {"spot", "double"},
                         {"spot_median_30d", "double"}});
    for (const std::string_view name : {"task", "data", "site", "node", "price"}) out.variable(name, name);
    out.variable("now", "timestamp");
    return out;
  }();
  return environment;
}

}  // namespace neap::policy
