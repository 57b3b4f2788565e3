// describe(): one declaration per type, from which JSON mapping, validation, defaults, OpenAPI, columns
// and the reference pages come.
//
// A described struct has `template <class V> static void describe(V& v)` that calls, per member,
//   v.field("wireName", &Type::member, "One sentence.", FieldOptions{...});
// The default of a field is the member's initialiser. A visitor never needs an object to see the shape.
//
// Wire types of members: std::string, bool, std::int64_t, double, Json (anything), Bytes, MilliCores,
// MilliAccelerators (quantity strings), MoneyMicros (integer), Duration ("20ms"), std::optional<WallTime>
// (RFC 3339), enums (below), described structs, std::optional<T>, std::vector<T>,
// std::map<std::string, T>.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

namespace neap::api {

struct FieldOptions {
  bool required = false;
  bool immutable = false;  // an update that changes it is refused
  std::int64_t minimum = std::numeric_limits<std::int64_t>::min();
  std::int64_t maximum = std::numeric_limits<std::int64_t>::max();
  std::size_t length_max = 4096;       // strings: bytes; lists and maps: entries
  std::string_view pattern = {};       // RE2-style, whole string; empty = any
  std::string_view list_map_key = {};  // lists merged by this member (x-kubernetes-list-map-keys)
};

inline constexpr FieldOptions kRequired{.required = true};
inline constexpr FieldOptions kImmutable{.required = true, .immutable = true};

// enum class Tier {...}; specialise:
//   template <> struct EnumNames<Tier> { static constexpr std::array names{std::pair{Tier::kEdge, "edge"sv},
//   ...}; };
template <class E>
struct EnumNames;

template <class E>
constexpr std::string_view enum_name(E value) {
  for (const auto& [v, name] : EnumNames<E>::names)
    if (v == value) return name;
  return {};
}
template <class E>
constexpr bool parse_enum(std::string_view text, E& out) {
  for (const auto& [v, name] : EnumNames<E>::names)
    if (name == text) {
      out = v;
      return true;
    }
  return false;
}

}  // namespace neap::api
