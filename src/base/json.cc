#include "neap/base/json.h"

#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_stack.hpp>
#include <charconv>
#include <cmath>
#include <unordered_set>

namespace neap {
namespace {

namespace bj = boost::json;

// Builds a value from parser events and refuses what Boost's own handler would accept: duplicate keys.
struct StrictHandler {
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);

  bj::value_stack stack;
  std::vector<std::unordered_set<std::string>> keys;
  std::string key;
  std::string duplicate;
  std::string number;
  bool is_out_of_range = false;

  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_object_begin(bj::error_code&) {
    keys.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t n, bj::error_code&) {
    keys.pop_back();
    stack.push_object(n);
    return true;
  }
  bool on_array_begin(bj::error_code&) { return true; }
  bool on_array_end(std::size_t n, bj::error_code&) {
    stack.push_array(n);
    return true;
  }
  bool on_key_part(bj::string_view s, std::size_t, bj::error_code&) {
    key.append(s.data(), s.size());
    stack.push_chars(s);
    return true;
  }
  bool on_key(bj::string_view s, std::size_t, bj::error_code& ec) {
    key.append(s.data(), s.size());
    if (!keys.back().insert(key).second) {
      duplicate = key;
      ec = bj::error::syntax;
      return false;
    }
    key.clear();
    stack.push_key(s);
    return true;
  }
  bool on_string_part(bj::string_view s, std::size_t, bj::error_code&) {
    stack.push_chars(s);
    return true;
  }
  bool on_string(bj::string_view s, std::size_t, bj::error_code&) {
    stack.push_string(s);
    return true;
  }
  bool on_number_part(bj::string_view s, bj::error_code&) {
    number.append(s.data(), s.size());
    return true;
  }
  bool on_int64(std::int64_t v, bj::string_view, bj::error_code&) {
    number.clear();
    stack.push_int64(v);
    return true;
  }
  bool on_uint64(std::uint64_t v, bj::string_view, bj::error_code&) {
    number.clear();
    stack.push_uint64(v);
    return true;
  }
  // Read anew: Boost's own value may be a unit off in the last place, and would change each time it is kept.
  bool on_double(double v, bj::string_view s, bj::error_code& ec) {
    number.append(s.data(), s.size());
    (void)std::from_chars(number.data(), number.data() + number.size(), v);
    number.clear();
    if (!std::isfinite(v)) {
      is_out_of_range = true;
      ec = bj::error::syntax;
      return false;
    }
    stack.push_double(v);
    return true;
  }
  bool on_bool(bool v, bj::error_code&) {
    stack.push_bool(v);
    return true;
  }
  bool on_null(bj::error_code&) {
    stack.push_null();
    return true;
  }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }
};

void indent_into(std::string& out, const Json& value, int depth) {
  const std::string pad(std::size_t(depth + 1) * 2, ' ');
  if (value.is_object() && !value.get_object().empty()) {
    out += "{\n";
    bool first = true;
    for (const auto& member : value.get_object()) {
      if (!first) out += ",\n";
      first = false;
      out += pad;
      out += bj::serialize(bj::string_view(member.key()));
      out += ": ";
      indent_into(out, member.value(), depth + 1);
    }
    out += '\n';
    out.append(std::size_t(depth) * 2, ' ');
    out += '}';
  } else if (value.is_array() && !value.get_array().empty()) {
    out += "[\n";
    bool first = true;
    for (const auto& element : value.get_array()) {
      if (!first) out += ",\n";
      first = false;
      out += pad;
      indent_into(out, element, depth + 1);
    }
    out += '\n';
    out.append(std::size_t(depth) * 2, ' ');
    out += ']';
  } else {
    out += bj::serialize(value);
  }
}

}  // namespace

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes_max)
    return fail(Code::kResourceExhausted, "json.too_large",
                fmt::format("the JSON document has {} bytes, above the limit of {}; split it", text.size(),
                            limits.bytes_max));
  bj::parse_options options;
  options.max_depth = limits.depth_max;
  bj::basic_parser<StrictHandler> parser(options);
  parser.handler().stack.reset();
  bj::error_code ec;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && used < text.size() && text.substr(used).find_first_not_of(" \t\r\n") != std::string_view::npos)
    ec = bj::error::extra_data;
  if (ec) {
    std::size_t line = 1, column = 1;
    for (std::size_t i = 0; i < used && i < text.size(); ++i) {
      if (text[i] == '\n') {
        ++line;
        column = 1;
      } else {
        ++column;
      }
    }
    if (!parser.handler().duplicate.empty())
      return fail(Code::kInvalidArgument, "json.key.duplicate",
                  fmt::format("the key \"{}\" appears twice in one object (line {}, column {}); remove one",
                              parser.handler().duplicate, line, column));
    if (parser.handler().is_out_of_range)
      return fail(Code::kInvalidArgument, "json.number",
                  fmt::format("the number that ends at line {}, column {} is out of range; write one below "
                              "1.8e308, or a text",
                              line, column));
    return fail(
        Code::kInvalidArgument, "json.syntax",
        fmt::format("the document is not valid JSON: {} at line {}, column {}", ec.message(), line, column));
  }
  return parser.handler().stack.release();
}

std::string to_text(const Json& value) { return bj::serialize(value); }

std::string to_pretty_text(const Json& value) {
  std::string out;
  indent_into(out, value, 0);
  return out;
}

const Json* find_path(const Json& value, std::initializer_list<std::string_view> path) {
  const Json* at = &value;
  for (const auto key : path) {
    const auto* object = at->if_object();
    if (!object) return nullptr;
    const auto* next = object->if_contains(key);
    if (!next) return nullptr;
    at = next;
  }
  return at;
}
std::string_view get_string(const Json& object, std::string_view key, std::string_view otherwise) {
  const auto* member = find_path(object, {key});
  if (!member || !member->is_string()) return otherwise;
  return {member->get_string().data(), member->get_string().size()};
}
std::int64_t get_int(const Json& object, std::string_view key, std::int64_t otherwise) {
  const auto* member = find_path(object, {key});
  if (!member) return otherwise;
  if (member->is_int64()) return member->get_int64();
  if (member->is_uint64()) return std::int64_t(member->get_uint64());
  return otherwise;
}
bool get_bool(const Json& object, std::string_view key, bool otherwise) {
  const auto* member = find_path(object, {key});
  return member && member->is_bool() ? member->get_bool() : otherwise;
}
JsonObject& sub_object(JsonObject& object, std::string_view key) {
  auto& member = object[key];
  if (!member.is_object()) member.emplace_object();
  return member.get_object();
}

}  // namespace neap
