#include "internal/shape.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include "neap/api/patch_keys.h"
#include "neap/base/assert.h"

namespace neap::api::internal {

const Field* Shape::find(std::string_view name) const {
  for (const auto& field : fields)
    if (field.name == name) return &field;
  return nullptr;
}

Field make_field(std::string_view name, ShapePtr shape, std::string_view doc, const FieldOptions& options,
                 Json default_value) {
  Field out{std::string(name), std::string(doc),         std::move(shape),
            options,           std::move(default_value), nullptr};
  if (!options.pattern.empty()) {
    out.pattern =
        std::make_shared<re2::RE2>(re2::StringPiece(options.pattern.data(), options.pattern.size()));
    NEAP_ASSERT(out.pattern->ok());
  }
  return out;
}
ShapePtr scalar(Shape::Type type) {
  auto out = std::make_shared<Shape>();
  out->type = type;
  return out;
}
ShapePtr object(std::vector<Field> fields) {
  auto out = std::make_shared<Shape>();
  out->type = Shape::Type::kObject;
  out->fields = std::move(fields);
  return out;
}
ShapePtr list_of(ShapePtr element) {
  auto out = std::make_shared<Shape>();
  out->type = Shape::Type::kList;
  out->element = std::move(element);
  return out;
}
ShapePtr map_of(ShapePtr element) {
  auto out = std::make_shared<Shape>();
  out->type = Shape::Type::kMap;
  out->element = std::move(element);
  return out;
}
ShapePtr one_of(std::vector<std::string> names) {
  auto out = std::make_shared<Shape>();
  out->type = Shape::Type::kEnum;
  out->names = std::move(names);
  return out;
}

namespace {

constexpr auto kNoMinimum = std::numeric_limits<std::int64_t>::min();
constexpr auto kNoMaximum = std::numeric_limits<std::int64_t>::max();

void add_options(JsonObject& out, const Field& field) {
  using enum Shape::Type;
  const auto type = field.shape->type;
  if (!field.doc.empty()) out["description"] = field.doc;
  if (!field.default_value.is_null()) out["default"] = field.default_value;
  if (type == kInteger || type == kMoney || type == kNumber) {
    if (field.options.minimum != kNoMinimum) out["minimum"] = field.options.minimum;
    if (field.options.maximum != kNoMaximum) out["maximum"] = field.options.maximum;
  }
  if (type == kString && field.pattern) out["pattern"] = fmt::format("^({})$", field.pattern->pattern());
  if (type == kList) {
    // What every object's metadata holds merges as Kubernetes merges it.
    const auto key = field.name == "ownerReferences" ? std::string_view("uid") : field.options.list_map_key;
    out["x-kubernetes-list-type"] = !key.empty() ? "map" : is_patch_set(field.name) ? "set" : "atomic";
    if (!key.empty()) out["x-kubernetes-list-map-keys"] = JsonArray{boost::json::string(key)};
  }
}

}  // namespace

Json schema_of(const Shape& shape) {
  using enum Shape::Type;
  JsonObject out;
  const auto type = [&out](std::string_view name, std::string_view format = {}) {
    out["type"] = name;
    if (!format.empty()) out["format"] = format;
  };
  switch (shape.type) {
    case kString:
      type("string");
      break;
    case kLongText:
      type("string");
      break;
    case kBool:
      type("boolean");
      break;
    case kInteger:
      type("integer", "int64");
      break;
    case kMoney:
      type("integer", "int64");
      break;
    case kNumber:
      type("number", "double");
      break;
    case kDuration:
      type("string", "duration");
      break;
    case kTime:
      type("string", "date-time");
      break;
    case kBytes:
    case kCores:
    case kQuantity:
    case kIntOrString: {
      JsonObject number, text;
      number["type"] = "integer";
      text["type"] = "string";
      out["anyOf"] = JsonArray{std::move(number), std::move(text)};
      out["x-kubernetes-int-or-string"] = true;
      break;
    }
    case kEnum: {
      type("string");
      JsonArray names;
      for (const auto& name : shape.names) names.push_back(boost::json::string(name));
      out["enum"] = std::move(names);
      break;
    }
    case kObject: {
      type("object");
      JsonObject properties;
      JsonArray required;
      for (const auto& field : shape.fields) {
        Json property = schema_of(*field.shape);
        add_options(property.get_object(), field);
        properties[field.name] = std::move(property);
        if (field.options.required) required.push_back(boost::json::string(field.name));
      }
      if (!properties.empty()) out["properties"] = std::move(properties);
      if (!required.empty()) out["required"] = std::move(required);
      break;
    }
    case kList:
      type("array");
      out["items"] = schema_of(*shape.element);
      break;
    case kMap:
      type("object");
      out["additionalProperties"] = schema_of(*shape.element);
      break;
    case kAny:
      out["x-kubernetes-preserve-unknown-fields"] = true;
      break;
  }
  return Json(std::move(out));
}

}  // namespace neap::api::internal
