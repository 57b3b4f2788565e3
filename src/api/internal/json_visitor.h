// JSON mapping by describe(): one writer and one reader for all described types.
//
// Writing leaves out what says nothing: empty strings, lists, maps and objects, absent optionals, and
// numbers or flags that equal a default of zero, false or "unset" (-1). Enums, required members and
// members with a default that says something are always written. Reading keeps the default of what is
// absent or null, so that reading what was written gives the same object.
#pragma once

#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "neap/api/describe.h"
#include "neap/api/meta.h"

namespace neap::api::internal {

struct NullVisitor {
  template <class... A>
  void field(A&&...) {}
};
template <class T>
concept Described = requires(NullVisitor& v) { T::describe(v); };

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;
template <class T>
inline constexpr bool is_map = false;
template <class T>
inline constexpr bool is_map<std::map<std::string, T>> = true;
template <class T>
inline constexpr bool is_quantity = false;
template <class Tag>
inline constexpr bool is_quantity<Quantity<Tag>> = true;

// Seconds where that is exact, else milli- or microseconds.
std::string write_time(WallTime time);

template <class T>
const T& default_object() {
  static const T object{};
  return object;
}

template <class T>
bool says_nothing(const T& value, const T& otherwise) {
  if constexpr (std::is_same_v<T, std::string> || is_list<T> || is_map<T>) {
    return value.empty() && otherwise.empty();
  } else if constexpr (std::is_same_v<T, bool>) {
    return !value && !otherwise;
  } else if constexpr (std::is_same_v<T, std::int64_t> || std::is_same_v<T, double>) {
    return value == otherwise && !(otherwise > 0);
  } else if constexpr (is_quantity<T>) {
    return value.value == 0 && otherwise.value == 0;
  } else if constexpr (std::is_same_v<T, Duration>) {
    return value.count() == 0 && otherwise.count() == 0;
  } else if constexpr (is_optional<T>) {
    return !value.has_value();
  } else if constexpr (std::is_same_v<T, Json>) {
    return value.is_null();
  } else {
    return false;
  }
}

template <class T>
JsonObject write_object(const T& value);

template <class T>
Json write_value(const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return Json(boost::json::string(value));
  } else if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::int64_t> ||
                       std::is_same_v<T, double> || std::is_same_v<T, Json>) {
    return Json(value);
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return Json(boost::json::string(format_bytes(value)));
  } else if constexpr (std::is_same_v<T, MilliCores> || std::is_same_v<T, MilliAccelerators>) {
    return Json(boost::json::string(format_cores(MilliCores{value.value})));
  } else if constexpr (std::is_same_v<T, MoneyMicros>) {
    return Json(value.value);
  } else if constexpr (std::is_same_v<T, Duration>) {
    return Json(boost::json::string(format_duration(value)));
  } else if constexpr (std::is_same_v<T, WallTime>) {
    return Json(boost::json::string(write_time(value)));
  } else if constexpr (std::is_enum_v<T>) {
    return Json(boost::json::string(enum_name(value)));
  } else if constexpr (is_optional<T>) {
    return value ? write_value(*value) : Json();
  } else if constexpr (is_list<T>) {
    JsonArray out;
    out.reserve(value.size());
    for (const auto& element : value) out.push_back(write_value(element));
    return Json(std::move(out));
  } else if constexpr (is_map<T>) {
    JsonObject out;
    for (const auto& [key, element] : value) out[key] = write_value(element);
    return Json(std::move(out));
  } else {
    static_assert(Described<T>, "no wire form for this member type");
    return Json(write_object(value));
  }
}

template <class T>
struct ObjectWriter {
  const T& object;
  JsonObject& out;
  template <class M>
  void field(std::string_view name, M T::* member, std::string_view, const FieldOptions& options = {}) {
    const M& value = object.*member;
    if (!options.required && says_nothing(value, default_object<T>().*member)) return;
    Json json = write_value(value);
    if constexpr (Described<M>)
      if (!options.required && json.get_object().empty()) return;
    out[name] = std::move(json);
  }
};

template <class T>
JsonObject write_object(const T& value) {
  JsonObject out;
  ObjectWriter<T> writer{value, out};
  T::describe(writer);
  return out;
}

// Where the reader stands, and the first thing it could not read.
class ReadPosition {
 public:
  void enter(std::string_view name) { steps_.push_back({name, 0}); }
  void enter(std::size_t index) { steps_.push_back({{}, index}); }
  void leave() { steps_.pop_back(); }
  std::string path() const;
  // Keeps the first problem; always false.
  bool refuse(std::string_view must, const Json& value);
  bool refuse(const Error& why);
  bool failed() const { return error_.has_value(); }
  Error take_error() { return std::move(*error_); }

 private:
  struct Step {
    std::string_view name;
    std::size_t index;
  };
  std::vector<Step> steps_;
  std::optional<Error> error_;
};

// "a string", "null", "the number 3": how a message names what was found.
std::string found_kind(const Json& value);

bool read_scalar(const Json& value, std::string& out, ReadPosition& at);
bool read_scalar(const Json& value, bool& out, ReadPosition& at);
bool read_scalar(const Json& value, std::int64_t& out, ReadPosition& at);
bool read_scalar(const Json& value, double& out, ReadPosition& at);
bool read_scalar(const Json& value, Bytes& out, ReadPosition& at);
bool read_scalar(const Json& value, MilliCores& out, ReadPosition& at);
bool read_scalar(const Json& value, MilliAccelerators& out, ReadPosition& at);
bool read_scalar(const Json& value, MoneyMicros& out, ReadPosition& at);
bool read_scalar(const Json& value, Duration& out, ReadPosition& at);
bool read_scalar(const Json& value, WallTime& out, ReadPosition& at);

// A quantity is a string or a plain number; `scale` as parse_quantity.
Result<std::int64_t> quantity_of(const Json& value, std::int64_t scale);

template <class T>
bool read_object(const Json& value, T& out, ReadPosition& at);

template <class T>
bool read_value(const Json& value, T& out, ReadPosition& at) {
  if constexpr (std::is_same_v<T, Json>) {
    out = value;
    return true;
  } else if constexpr (std::is_enum_v<T>) {
    if (!value.is_string()) return at.refuse("a string", value);
    if (parse_enum({value.get_string().data(), value.get_string().size()}, out)) return true;
    std::string names;
    for (const auto& [v, name] : EnumNames<T>::names) {
      names += names.empty() ? "one of \"" : ", \"";
      names += name;
      names += '"';
    }
    return at.refuse(names, value);
  } else if constexpr (is_optional<T>) {
    return read_value(value, out.emplace(), at);
  } else if constexpr (is_list<T>) {
    const auto* array = value.if_array();
    if (!array) return at.refuse("a list", value);
    out.clear();
    out.reserve(array->size());
    for (std::size_t i = 0; i < array->size(); ++i) {
      at.enter(i);
      if (!read_value((*array)[i], out.emplace_back(), at)) return false;
      at.leave();
    }
    return true;
  } else if constexpr (is_map<T>) {
    const auto* object = value.if_object();
    if (!object) return at.refuse("an object", value);
    out.clear();
    for (const auto& member : *object) {
      at.enter(std::string_view(member.key().data(), member.key().size()));
      if (!read_value(member.value(), out[std::string(member.key())], at)) return false;
      at.leave();
    }
    return true;
  } else if constexpr (Described<T>) {
    return read_object(value, out, at);
  } else {
    return read_scalar(value, out, at);
  }
}

template <class T>
struct ObjectReader {
  const JsonObject& in;
  T& object;
  ReadPosition& at;
  template <class M>
  void field(std::string_view name, M T::* member, std::string_view, const FieldOptions& = {}) {
    if (at.failed()) return;
    const Json* value = in.if_contains(name);
    if (!value || value->is_null()) return;
    at.enter(name);
    if (read_value(*value, object.*member, at)) at.leave();
  }
};

template <class T>
bool read_object(const Json& value, T& out, ReadPosition& at) {
  const auto* object = value.if_object();
  if (!object) return at.refuse("an object", value);
  ObjectReader<T> reader{*object, out, at};
  T::describe(reader);
  return !at.failed();
}

}  // namespace neap::api::internal
