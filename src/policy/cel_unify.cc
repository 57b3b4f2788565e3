#include <charconv>

#include "internal/checker.h"

namespace neap::policy {
namespace {

using K = Type::Kind;
constexpr int kDepthMax = 64;

std::size_t id_of(const Type& parameter) {
  std::size_t id = 0;
  std::from_chars(parameter.name.data() + 1, parameter.name.data() + parameter.name.size(), id);
  return id;
}

bool is_less_specific_or_equal(const Type& a, const Type& b) {
  if (a.kind == K::kDyn || a.kind == K::kParameter) return true;
  if (b.kind == K::kDyn || b.kind == K::kParameter) return false;
  if (a.kind == K::kType && b.kind == K::kType) return true;
  if (a.kind != b.kind || a.name != b.name || a.parameters.size() != b.parameters.size()) return false;
  for (std::size_t i = 0; i < a.parameters.size(); ++i)
    if (!is_less_specific_or_equal(a.parameters[i], b.parameters[i])) return false;
  return true;
}

// Null stands in for what other implementations hold by reference.
bool takes_null(const Type& type) {
  return type.kind == K::kNull || type.kind == K::kOpaque || type.kind == K::kOptional ||
         type.kind == K::kObject || type.kind == K::kDuration || type.kind == K::kTimestamp ||
         type.kind == K::kQuantity;
}

}  // namespace

const Type& more_general(const Type& a, const Type& b) {
  if (a.kind == K::kNull) return b;
  return b.kind == K::kNull || is_less_specific_or_equal(a, b) ? a : b;
}

Type TypeBindings::fresh() {
  Type out{.kind = K::kParameter, .name = "#" + std::to_string(bound_.size())};
  bound_.emplace_back();
  return out;
}

Type TypeBindings::instantiate(const Type& type, std::vector<std::pair<std::string, Type>>& renamed) {
  if (type.kind == K::kParameter) {
    for (const auto& [name, made] : renamed)
      if (name == type.name) return made;
    renamed.emplace_back(type.name, fresh());
    return renamed.back().second;
  }
  Type out{.kind = type.kind, .name = type.name};
  for (const auto& parameter : type.parameters) out.parameters.push_back(instantiate(parameter, renamed));
  return out;
}

Type TypeBindings::resolve(const Type& type, bool free_to_dyn) const {
  std::size_t parts_left = kTypeSizeMax;
  return resolve_within(type, free_to_dyn, parts_left);
}

Type TypeBindings::resolve_within(const Type& type, bool free_to_dyn, std::size_t& parts_left) const {
  if (parts_left == 0) return {};
  --parts_left;
  if (type.kind == K::kParameter) {
    const auto& bound = bound_[id_of(type)];
    if (bound) return resolve_within(*bound, free_to_dyn, parts_left);
    return free_to_dyn ? Type{} : type;
  }
  Type out{.kind = type.kind, .name = type.name};
  for (const auto& parameter : type.parameters)
    out.parameters.push_back(resolve_within(parameter, free_to_dyn, parts_left));
  return out;
}

bool TypeBindings::assign(const Type& from, const Type& to) {
  const auto mark = trail_.size();
  steps_left_ = kStepsMax;
  if (try_assign(from, to, 0)) return true;
  undo_to(mark);
  return false;
}
bool TypeBindings::assign_all(const std::vector<Type>& from, const std::vector<Type>& to) {
  const auto mark = trail_.size();
  steps_left_ = kStepsMax;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (!try_assign(from[i], to[i], 0)) {
      undo_to(mark);
      return false;
    }
  return true;
}

bool TypeBindings::try_assign(const Type& from, const Type& to, int depth) {
  if (depth > kDepthMax || steps_left_ == 0) return true;
  --steps_left_;
  if (to.kind == K::kParameter) {
    const auto [fits, was_bound] = try_bind(from, to, depth);
    if (fits) return true;
    if (was_bound) return false;
  }
  if (from.kind == K::kParameter) return try_bind(to, from, depth).first;
  if (from.kind == K::kDyn || to.kind == K::kDyn) return true;
  if (from.kind == K::kNull) return takes_null(to);
  if (to.kind == K::kNull) return takes_null(from);
  // Types of types compare as values do: type(int) == type(string) is a question, not a mistake.
  if (from.kind == K::kType && to.kind == K::kType) return true;
  if (from.kind != to.kind || from.name != to.name || from.parameters.size() != to.parameters.size())
    return false;
  for (std::size_t i = 0; i < from.parameters.size(); ++i)
    if (!try_assign(from.parameters[i], to.parameters[i], depth + 1)) return false;
  return true;
}

std::pair<bool, bool> TypeBindings::try_bind(const Type& type, const Type& parameter, int depth) {
  if (type.kind == K::kParameter && type.name == parameter.name) return {true, true};
  const auto id = id_of(parameter);
  if (bound_[id]) {
    const Type held = *bound_[id];
    if (held == type) return {true, true};
    if (!try_assign(type, held, depth + 1)) return {false, true};
    const Type& wider = more_general(type, held);
    std::size_t parts_left = kTypeSizeMax;
    if (wider != held && !mentions(wider, id, parts_left)) bind(id, wider);
    return {true, true};
  }
  std::size_t parts_left = kTypeSizeMax;
  if (mentions(type, id, parts_left)) return {false, false};
  bind(id, type);
  return {true, false};
}

// True, too, where the type is too large to tell: then it is not bound.
bool TypeBindings::mentions(const Type& type, std::size_t id, std::size_t& parts_left) const {
  if (parts_left == 0) return true;
  --parts_left;
  if (type.kind == K::kParameter) {
    if (id_of(type) == id) return true;
    const auto& bound = bound_[id_of(type)];
    return bound && mentions(*bound, id, parts_left);
  }
  for (const auto& parameter : type.parameters)
    if (mentions(parameter, id, parts_left)) return true;
  return false;
}

void TypeBindings::bind(std::size_t id, Type type) {
  trail_.emplace_back(id, std::move(bound_[id]));
  bound_[id] = std::move(type);
}
void TypeBindings::undo_to(std::size_t mark) {
  while (trail_.size() > mark) {
    bound_[trail_.back().first] = std::move(trail_.back().second);
    trail_.pop_back();
  }
}

}  // namespace neap::policy
