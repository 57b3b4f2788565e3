// Resolves names and calls in place and finds the type of every node, with the unification of cel-go's
// checker (type parameters bind to the most general type seen; null fits what has a reference kind).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "internal/node.h"

namespace neap::policy {

// Bindings of type parameters, with a trail so that a failed attempt leaves no trace. Bound parameters may
// make a type exponentially larger than the text it came from, so every walk has a budget: a resolved type is
// cut to dyn beyond `kTypeSizeMax` parts, and a question that takes too long is answered leniently.
class TypeBindings {
 public:
  Type fresh();
  // A copy of `type` whose named parameters (A, B, ...) are fresh ones; equal names get equal ones.
  Type instantiate(const Type& type, std::vector<std::pair<std::string, Type>>& renamed);
  // Replaces bound parameters; free ones too, by dyn, where `free_to_dyn`.
  Type resolve(const Type& type, bool free_to_dyn) const;
  // All or nothing: `from` may be given where `to` is wanted.
  bool assign(const Type& from, const Type& to);
  bool assign_all(const std::vector<Type>& from, const std::vector<Type>& to);

 private:
  Type resolve_within(const Type& type, bool free_to_dyn, std::size_t& parts_left) const;
  bool try_assign(const Type& from, const Type& to, int depth);
  // Substitution of the free parameter `parameter`: {fits, was bound already}.
  std::pair<bool, bool> try_bind(const Type& type, const Type& parameter, int depth);
  bool mentions(const Type& type, std::size_t id, std::size_t& parts_left) const;
  void bind(std::size_t id, Type type);
  void undo_to(std::size_t mark);

  static constexpr std::size_t kTypeSizeMax = 500;
  static constexpr std::size_t kStepsMax = 10'000;
  std::size_t steps_left_ = 0;
  std::vector<std::optional<Type>> bound_;
  std::vector<std::pair<std::size_t, std::optional<Type>>> trail_;
};

// The one of both that says less: dyn before int.
const Type& more_general(const Type& a, const Type& b);

class Checker {
 public:
  Checker(ProgramImpl& program, const Environment& environment)
      : program_(program), environment_(environment), slot_types_(program.slot_count) {}
  Status run();

 private:
  using Index = std::uint32_t;

  Result<Type> visit(Index index);
  Result<Type> visit_variable(Index index);
  Result<Type> visit_select(Index index);
  Result<Type> visit_index(Index index);
  Result<Type> visit_operator(Index index);
  Result<Type> visit_logic(Index index);
  Result<Type> visit_list(Index index);
  Result<Type> visit_map(Index index);
  Result<Type> visit_call(Index index);
  Result<Type> visit_extreme(Index index, const std::vector<Type>& types);
  Result<Type> visit_comprehension(Index index);
  Result<Type> visit_binding(Index index);
  Result<Type> visit_block(Index index);
  // What the variables of a macro over `range` are bound to.
  Result<std::pair<Type, Type>> range_types(Index index, const Type& range);
  Result<Type> field_type(Index index, const Type& operand);
  Result<Type> resolve_overload(Index index, std::string_view shown,
                                const std::vector<const Overload*>& overloads,
                                const std::vector<Type>& types);
  Result<Type> call_declared(Index index, const std::string& name, const std::vector<Type>& types);

  bool rewrite_qualified(Index index, Type& type);
  bool collect_chain(Index index, std::string& out, bool& rooted) const;
  bool rewrite_namespaced_call(Index index);
  Type join(const Type& a, const Type& b);
  // dyn where types are not enforced.
  Result<Type> refuse(Index index, std::string_view what) const;
  std::unexpected<Error> refuse_always(Index index, std::string_view what) const;
  bool is_strict() const { return environment_.checking() == Checking::kTypes; }
  Node& node(Index index) { return program_.nodes[index]; }
  const std::string& name_of(Index index) { return program_.names[node(index).a]; }

  ProgramImpl& program_;
  const Environment& environment_;
  TypeBindings bindings_;
  std::vector<Type> slot_types_;
  std::vector<std::pair<Index, Type>> block_types_;
};

}  // namespace neap::policy
