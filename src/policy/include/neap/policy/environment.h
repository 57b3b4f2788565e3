// What an expression may name and of which type: the input of the type checker.
//
// Types are written as CEL's own tools print them: `int`, `list(string)`, `map(string, dyn)`,
// `optional_type(int)`, `type(int)`, `timestamp`, `duration`, `quantity`; capital single letters are type
// parameters; any other name is an opaque type, or an object whose fields were declared.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "neap/base/result.h"

namespace neap::policy {

struct Type {
  enum class Kind : std::uint8_t {
    kDyn,
    kNull,
    kBool,
    kInt,
    kUint,
    kDouble,
    kString,
    kBytes,
    kDuration,
    kTimestamp,
    kQuantity,
    kList,
    kMap,
    kOptional,
    kType,
    kOpaque,
    kObject,
    kParameter,
  };
  Kind kind = Kind::kDyn;
  // kOpaque, kObject, kParameter.
  std::string name;
  std::vector<Type> parameters;

  friend bool operator==(const Type&, const Type&) = default;
};

// "list(map(string, int))".
std::string to_text(const Type& type);
// Reason `cel.type`.
Result<Type> parse_type(std::string_view text);

enum class Checking : std::uint8_t {
  // Names and calls are looked up when they are evaluated.
  kNone,
  // Functions must exist; variables may be anything.
  kNames,
  // Variables must be declared and every operand must have a type that fits.
  kTypes,
};

struct FunctionDeclaration {
  std::string name;
  bool is_member = false;
  std::vector<Type> parameters;
  Type result;
};

class Environment {
 public:
  explicit Environment(Checking checking = Checking::kTypes) : checking_(checking) {}

  // Names may be dotted. A text that is no type is a programmer's error and ends the process.
  Environment& variable(std::string_view name, std::string_view type);
  Environment& variable(std::string_view name, Type type);
  // An object type; a field that is not listed is an error at compile time.
  Environment& object(std::string_view type_name,
                      std::initializer_list<std::pair<std::string_view, std::string_view>> fields);
  // Known to the checker only: a call is `cel.no_such_function` when it is evaluated.
  Environment& function(FunctionDeclaration declaration);
  // Names are looked up in a.b.c, then a.b, then a, then as written.
  Environment& container(std::string_view name);

  Checking checking() const { return checking_; }
  const std::string& container() const { return container_; }
  const Type* find_variable(std::string_view name) const;
  const std::map<std::string, Type, std::less<>>* find_object(std::string_view type_name) const;
  const std::vector<FunctionDeclaration>& functions() const { return functions_; }

 private:
  Checking checking_;
  std::string container_;
  std::map<std::string, Type, std::less<>> variables_;
  std::map<std::string, std::map<std::string, Type, std::less<>>, std::less<>> objects_;
  std::vector<FunctionDeclaration> functions_;
};

// The names a placement rule may use: task, data, site, node, price (objects), now (timestamp).
const Environment& placement_environment();

}  // namespace neap::policy
