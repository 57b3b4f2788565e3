// Shorthand for shapes of Kubernetes kinds, and the shapes several of them share.
#pragma once

#include "internal/shape.h"

namespace neap::api::internal {

inline ShapePtr text() { return scalar(Shape::Type::kString); }
inline ShapePtr integer() { return scalar(Shape::Type::kInteger); }
inline ShapePtr boolean() { return scalar(Shape::Type::kBool); }
inline ShapePtr any() { return scalar(Shape::Type::kAny); }
inline ShapePtr time() { return scalar(Shape::Type::kTime); }
inline ShapePtr quantity() { return scalar(Shape::Type::kQuantity); }
inline ShapePtr int_or_text() { return scalar(Shape::Type::kIntOrString); }
// Values of a ConfigMap: bounded by the document alone.
inline ShapePtr long_text() { return scalar(Shape::Type::kLongText); }

inline ShapePtr object_reference() {
  return object({make_field("apiVersion", text(), "API version."), make_field("kind", text(), "Kind."),
                 make_field("namespace", text(), "Namespace."), make_field("name", text(), "Name."),
                 make_field("uid", text(), "UID."), make_field("resourceVersion", text(), "Version."),
                 make_field("fieldPath", text(), "Part of the object.")});
}
inline ShapePtr local_reference() { return object({make_field("name", text(), "Name.")}); }

// PodTemplateSpec as far as an agent or a member cluster needs it.
ShapePtr pod_template();
ShapePtr label_selector();

}  // namespace neap::api::internal
