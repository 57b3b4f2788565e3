// Shape: what describe() says of a type, as a value. Defaults, validation, immutability, OpenAPI and the
// reference pages walk shapes, so they are ordinary code that is compiled once; kinds we serve without a
// C++ struct (ConfigMap, Role, Deployment, ...) are shapes written by hand.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "internal/json_visitor.h"
#include "neap/api/kind.h"

namespace re2 {
class RE2;
}

namespace neap::api::internal {

struct Shape;
using ShapePtr = std::shared_ptr<const Shape>;

struct Field {
  std::string name, doc;
  ShapePtr shape;
  FieldOptions options;
  Json default_value;  // null: none
  std::shared_ptr<const re2::RE2> pattern;
};

struct Shape {
  enum class Type {
    kString,
    kBool,
    kInteger,
    kNumber,
    kBytes,
    kCores,
    kQuantity,  // of what the key beside it names: cores, bytes
    kMoney,
    kDuration,
    kTime,
    kLongText,
    kIntOrString,
    kEnum,
    kObject,
    kList,
    kMap,
    kAny
  };
  Type type = Type::kAny;
  std::vector<std::string> names;  // of an enum
  std::vector<Field> fields;       // of an object, in order of declaration
  ShapePtr element;                // of a list or map

  const Field* find(std::string_view name) const;
};

Field make_field(std::string_view name, ShapePtr shape, std::string_view doc,
                 const FieldOptions& options = {}, Json default_value = {});
ShapePtr scalar(Shape::Type type);
ShapePtr object(std::vector<Field> fields);
ShapePtr list_of(ShapePtr element);
ShapePtr map_of(ShapePtr element);
ShapePtr one_of(std::vector<std::string> names);

// OpenAPI v3 schema object.
Json schema_of(const Shape& shape);

void fill_defaults(const Shape& shape, Json& value);
// Appends all problems of `value` at `path`.
void check_value(const Shape& shape, const Field* field, const Json& value, const std::string& path,
                 std::vector<FieldProblem>& problems);
// Immutable members that differ; what is absent counts as its default or as empty.
void check_unchanged(const Shape& shape, const Json& before, const Json& after, const std::string& path,
                     std::vector<FieldProblem>& problems);
// Name, labels and annotations in metadata. `loose_name` for RBAC names, which may hold colons.
void check_metadata(const Json& object, bool loose_name, std::vector<FieldProblem>& problems);

template <class T>
ShapePtr shape_of();

template <class T>
struct ShapeVisitor {
  Shape& shape;
  template <class M>
  void field(std::string_view name, M T::* member, std::string_view doc, const FieldOptions& options = {}) {
    Json otherwise;
    if constexpr (!Described<M>) {
      const M& value = default_object<T>().*member;
      bool plain = says_nothing(value, value);
      if constexpr (std::is_same_v<M, std::int64_t> || std::is_same_v<M, double>) plain = !(value > 0);
      if (!options.required && !plain) otherwise = write_value(value);
    }
    shape.fields.push_back(make_field(name, shape_of<M>(), doc, options, std::move(otherwise)));
  }
};

template <class T>
ShapePtr make_shape() {
  using enum Shape::Type;
  if constexpr (std::is_same_v<T, std::string>)
    return scalar(kString);
  else if constexpr (std::is_same_v<T, bool>)
    return scalar(kBool);
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return scalar(kInteger);
  else if constexpr (std::is_same_v<T, double>)
    return scalar(kNumber);
  else if constexpr (std::is_same_v<T, Json>)
    return scalar(kAny);
  else if constexpr (std::is_same_v<T, Bytes>)
    return scalar(kBytes);
  else if constexpr (std::is_same_v<T, MilliCores> || std::is_same_v<T, MilliAccelerators>)
    return scalar(kCores);
  else if constexpr (std::is_same_v<T, MoneyMicros>)
    return scalar(kMoney);
  else if constexpr (std::is_same_v<T, Duration>)
    return scalar(kDuration);
  else if constexpr (std::is_same_v<T, WallTime>)
    return scalar(kTime);
  else if constexpr (std::is_enum_v<T>) {
    std::vector<std::string> names;
    for (const auto& [value, name] : EnumNames<T>::names) names.emplace_back(name);
    return one_of(std::move(names));
  } else if constexpr (is_optional<T>) {
    return shape_of<typename T::value_type>();
  } else if constexpr (is_list<T>) {
    return list_of(shape_of<typename T::value_type>());
  } else if constexpr (is_map<T>) {
    return map_of(shape_of<typename T::mapped_type>());
  } else {
    static_assert(Described<T>);
    auto out = std::make_shared<Shape>();
    out->type = kObject;
    ShapeVisitor<T> visitor{*out};
    T::describe(visitor);
    return out;
  }
}

template <class T>
ShapePtr shape_of() {
  static const ShapePtr shape = make_shape<T>();
  return shape;
}

// Spec and status of each kind; defined beside the JSON instantiations.
struct KindShapes {
  ShapePtr spec, status;
};
template <class T>
KindShapes shapes_of_kind();

}  // namespace neap::api::internal
