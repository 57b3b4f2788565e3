// Definitions of to_json and from_json; included by the mapping_*.cc files alone, which instantiate them.
#pragma once

#include "internal/shape.h"
#include "neap/api/resource.h"

namespace neap::api {
namespace internal {

template <class T>
inline constexpr bool is_resource = false;
template <class S, class U>
inline constexpr bool is_resource<Resource<S, U>> = true;

// Adds apiVersion, kind and metadata; checks them when reading. Not templates, to be compiled once.
JsonObject resource_head(std::string_view kind, const ObjectMeta& metadata);
bool read_resource_head(std::string_view kind, const JsonObject& in, ObjectMeta& metadata, ReadPosition& at);

template <class M>
bool read_part(const JsonObject& in, std::string_view name, M& out, ReadPosition& at) {
  const Json* value = in.if_contains(name);
  if (!value || value->is_null()) return true;
  at.enter(name);
  if (!read_value(*value, out, at)) return false;
  at.leave();
  return true;
}

template <class T>
KindShapes shapes_of_kind() {
  return {shape_of<typename T::Spec>(),
          std::is_same_v<typename T::StatusType, EmptyStatus> ? nullptr : shape_of<typename T::StatusType>()};
}

}  // namespace internal

template <class T>
Json to_json(const T& object) {
  if constexpr (internal::is_resource<T>) {
    JsonObject out = internal::resource_head(KindOf<T>::kind, object.metadata);
    out["spec"] = internal::write_object(object.spec);
    if (JsonObject status = internal::write_object(object.status); !status.empty())
      out["status"] = std::move(status);
    return Json(std::move(out));
  } else {
    return internal::write_value(object);
  }
}

template <class T>
Result<T> from_json(const Json& value) {
  internal::ReadPosition at;
  T out{};
  if constexpr (internal::is_resource<T>) {
    const auto* in = value.if_object();
    if (!in) {
      at.refuse("an object", value);
    } else if (internal::read_resource_head(KindOf<T>::kind, *in, out.metadata, at) &&
               internal::read_part(*in, "spec", out.spec, at)) {
      internal::read_part(*in, "status", out.status, at);
    }
  } else {
    internal::read_value(value, out, at);
  }
  if (at.failed()) return std::unexpected(at.take_error());
  return out;
}

}  // namespace neap::api

// A part that is read and written on its own (an agent's saved state, a log line).
#define NEAP_INSTANTIATE_PART(Type)                          \
  template neap::Json neap::api::to_json<Type>(const Type&); \
  template neap::Result<Type> neap::api::from_json<Type>(const neap::Json&);
#define NEAP_INSTANTIATE_KIND(Type)                                                                \
  template neap::Json neap::api::to_json<neap::api::Type>(const neap::api::Type&);                 \
  template neap::Result<neap::api::Type> neap::api::from_json<neap::api::Type>(const neap::Json&); \
  template neap::api::internal::KindShapes neap::api::internal::shapes_of_kind<neap::api::Type>();
