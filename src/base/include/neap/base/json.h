// Json: the one dynamic value (Boost.JSON), and a strict parser for it.
//
// Thread safety: as any value type. Numbers: integers stay integers up to 64 bits.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <initializer_list>
#include <string>
#include <string_view>

#include "neap/base/result.h"

namespace neap {

using Json = boost::json::value;
using JsonObject = boost::json::object;
using JsonArray = boost::json::array;

struct JsonLimits {
  std::size_t bytes_max = 16u << 20;
  std::size_t depth_max = 64;
};

// Whole-document parse. kInvalidArgument with line and column for bad syntax, a duplicate key
// (`json.key.duplicate`), invalid UTF-8, or a limit that was passed.
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});
std::string to_text(const Json& value);
// Two-space indented, for people.
std::string to_pretty_text(const Json& value);

// Walks object members; nullptr when any is absent or not an object.
const Json* find_path(const Json& value, std::initializer_list<std::string_view> path);
// Member as the type asked for; the default when absent or of another type.
std::string_view get_string(const Json& object, std::string_view key, std::string_view otherwise = {});
std::int64_t get_int(const Json& object, std::string_view key, std::int64_t otherwise = 0);
bool get_bool(const Json& object, std::string_view key, bool otherwise = false);
// Object member by key, made (as an object) where absent.
JsonObject& sub_object(JsonObject& object, std::string_view key);

}  // namespace neap
