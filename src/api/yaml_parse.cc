// YAML text to Json through libyaml's events, with the scalar rules of the Go parser that kubectl uses
// (YAML 1.1 core types: yes/no/on/off/y/n are booleans, 0777 is octal, dates stay strings).
#include <fmt/format.h>
#include <yaml.h>

#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "internal/yaml_scalar.h"
#include "neap/api/codec.h"

namespace neap::api {
namespace {

struct Weight {
  std::size_t nodes = 0, bytes = 0;
};
struct Anchor {
  Json value;
  Weight weight;
};

struct EventDeleter {
  void operator()(yaml_event_t* event) const {
    yaml_event_delete(event);
    delete event;
  }
};
using EventPtr = std::unique_ptr<yaml_event_t, EventDeleter>;

std::string_view view(const yaml_char_t* text) {
  return text ? std::string_view(reinterpret_cast<const char*>(text)) : std::string_view{};
}

class YamlReader {
 public:
  YamlReader(std::string_view text, const YamlLimits& limits) : limits_(limits), source_bytes_(text.size()) {
    ok_ = yaml_parser_initialize(&parser_) == 1;
    if (!ok_) return;
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~YamlReader() {
    if (ok_) yaml_parser_delete(&parser_);
  }
  YamlReader(const YamlReader&) = delete;
  YamlReader& operator=(const YamlReader&) = delete;

  Result<std::vector<Json>> read_all() {
    if (!ok_)
      return fail(Code::kResourceExhausted, "yaml.memory", "the YAML parser could not start: out of memory");
    std::vector<Json> out;
    for (;;) {
      NEAP_TRY(auto event, next());
      if (event->type == YAML_STREAM_END_EVENT) return out;
      if (event->type != YAML_DOCUMENT_START_EVENT) continue;
      anchors_.clear();
      if (out.size() >= limits_.documents_max)
        return refuse(event->start_mark, Code::kResourceExhausted, "yaml.documents",
                      fmt::format("has more than {} documents; split the file", limits_.documents_max));
      NEAP_TRY(auto first, next());
      Weight weight;
      NEAP_TRY(auto value, read_node(*first, 0, weight));
      // A document of nothing but comments is no document.
      if (!value.is_null() || first->end_mark.index > first->start_mark.index)
        out.push_back(std::move(value));
    }
  }

 private:
  std::unexpected<Error> refuse(const yaml_mark_t& mark, Code code, std::string reason,
                                std::string_view what) {
    return fail(
        code, std::move(reason),
        fmt::format("the YAML document {} (line {}, column {})", what, mark.line + 1, mark.column + 1));
  }
  std::unexpected<Error> syntax(const yaml_mark_t& mark, std::string_view what) {
    return refuse(mark, Code::kInvalidArgument, "yaml.syntax", what);
  }

  Result<EventPtr> next() {
    auto raw = std::make_unique<yaml_event_t>();
    if (yaml_parser_parse(&parser_, raw.get()) != 1) {
      const auto mark = parser_.error == YAML_READER_ERROR ? parser_.mark : parser_.problem_mark;
      return syntax(mark,
                    fmt::format("is not valid: {}{}{}", parser_.problem ? parser_.problem : "unreadable",
                                parser_.context ? " " : "", parser_.context ? parser_.context : ""));
    }
    return EventPtr(raw.release());
  }

  // Counts before anything is built, so that a bomb is refused while it is still small.
  Status spend(Weight& weight, Weight more, const yaml_mark_t& mark) {
    weight.nodes += more.nodes;
    weight.bytes += more.bytes;
    total_.nodes += more.nodes;
    total_.bytes += more.bytes;
    if (total_.nodes > limits_.nodes_max)
      return refuse(mark, Code::kResourceExhausted, "yaml.nodes",
                    fmt::format("has more than {} values once aliases are expanded; make it smaller",
                                limits_.nodes_max));
    // Text may appear once as it is and three times more through aliases and anchors.
    if (total_.bytes > limits_.bytes_max * 4)
      return refuse(mark, Code::kResourceExhausted, "yaml.bytes",
                    fmt::format("grows beyond {} bytes once aliases are expanded; make it smaller",
                                limits_.bytes_max * 4));
    return ok();
  }

  Status keep_anchor(const yaml_char_t* name, const Json& value, Weight weight, const yaml_mark_t& mark) {
    if (!name) return ok();
    Weight ignored;
    NEAP_TRY_VOID(spend(ignored, weight, mark));
    anchors_[std::string(view(name))] = {value, weight};
    return ok();
  }

  Result<Json> read_node(const yaml_event_t& event, std::size_t depth, Weight& weight) {
    if (depth >= limits_.depth_max)
      return refuse(event.start_mark, Code::kResourceExhausted, "yaml.depth",
                    fmt::format("is nested deeper than {} levels; flatten it", limits_.depth_max));
    switch (event.type) {
      case YAML_ALIAS_EVENT: {
        const auto found = anchors_.find(std::string(view(event.data.alias.anchor)));
        if (found == anchors_.end())
          return syntax(event.start_mark, fmt::format("uses the alias \"{}\" before that anchor is complete",
                                                      view(event.data.alias.anchor)));
        NEAP_TRY_VOID(spend(weight, found->second.weight, event.start_mark));
        return found->second.value;
      }
      case YAML_SCALAR_EVENT: {
        const auto& scalar = event.data.scalar;
        Weight own{1, scalar.length};
        NEAP_TRY_VOID(spend(weight, own, event.start_mark));
        NEAP_TRY(auto value, read_scalar(event));
        NEAP_TRY_VOID(keep_anchor(scalar.anchor, value, own, event.start_mark));
        return value;
      }
      case YAML_SEQUENCE_START_EVENT:
        return read_sequence(event, depth, weight);
      case YAML_MAPPING_START_EVENT:
        return read_mapping(event, depth, weight);
      default:
        return syntax(event.start_mark, "ends where a value is expected");
    }
  }

  Result<Json> read_sequence(const yaml_event_t& start, std::size_t depth, Weight& weight) {
    const auto tag = view(start.data.sequence_start.tag);
    if (!tag.empty() && tag != "!" && tag != YAML_SEQ_TAG) return unknown_tag(start, tag);
    Weight own;
    NEAP_TRY_VOID(spend(own, {1, 0}, start.start_mark));
    JsonArray out;
    for (;;) {
      NEAP_TRY(auto event, next());
      if (event->type == YAML_SEQUENCE_END_EVENT) break;
      NEAP_TRY(auto value, read_node(*event, depth + 1, own));
      out.push_back(std::move(value));
    }
    weight.nodes += own.nodes;
    weight.bytes += own.bytes;
    Json value(std::move(out));
    NEAP_TRY_VOID(keep_anchor(start.data.sequence_start.anchor, value, own, start.start_mark));
    return value;
  }

  Result<Json> read_mapping(const yaml_event_t& start, std::size_t depth, Weight& weight) {
    const auto tag = view(start.data.mapping_start.tag);
    if (!tag.empty() && tag != "!" && tag != YAML_MAP_TAG) return unknown_tag(start, tag);
    Weight own;
    NEAP_TRY_VOID(spend(own, {1, 0}, start.start_mark));
    JsonObject out;
    for (;;) {
      NEAP_TRY(auto event, next());
      if (event->type == YAML_MAPPING_END_EVENT) break;
      NEAP_TRY(const auto key, read_key(*event, own));
      NEAP_TRY(auto value_event, next());
      NEAP_TRY(auto value, read_node(*value_event, depth + 1, own));
      if (!out.emplace(key, std::move(value)).second)
        return refuse(event->start_mark, Code::kInvalidArgument, "yaml.key.duplicate",
                      fmt::format("has the key \"{}\" twice in one mapping; remove one", key));
    }
    weight.nodes += own.nodes;
    weight.bytes += own.bytes;
    Json value(std::move(out));
    NEAP_TRY_VOID(keep_anchor(start.data.mapping_start.anchor, value, own, start.start_mark));
    return value;
  }

  Result<std::string> read_key(const yaml_event_t& event, Weight& weight) {
    if (event.type != YAML_SCALAR_EVENT)
      return syntax(event.start_mark, "has a key that is not a plain word; keys are texts");
    NEAP_TRY_VOID(spend(weight, {1, event.data.scalar.length}, event.start_mark));
    const std::string_view text(reinterpret_cast<const char*>(event.data.scalar.value),
                                event.data.scalar.length);
    if (text == "<<" && event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
      return refuse(event.start_mark, Code::kInvalidArgument, "yaml.merge_key",
                    "uses a merge key (<<), which is not supported; write the members out");
    NEAP_TRY(const auto key, read_scalar(event));
    if (key.is_string()) return std::string(key.get_string());
    if (key.is_null()) return syntax(event.start_mark, "has an empty key");
    return key.is_double() ? fmt::format("{}", key.get_double()) : to_text(key);
  }

  std::unexpected<Error> unknown_tag(const yaml_event_t& event, std::string_view tag) {
    return refuse(
        event.start_mark, Code::kInvalidArgument, "yaml.tag",
        fmt::format("uses the tag \"{}\", which is not one of the core types; remove it", tag.substr(0, 80)));
  }

  Result<Json> read_scalar(const yaml_event_t& event) {
    const auto& scalar = event.data.scalar;
    const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
    const auto tag = view(scalar.tag);
    const Json string_value(boost::json::string_view(text.data(), text.size()));
    if (tag == YAML_STR_TAG || tag == "!") return string_value;
    if (tag.empty() && scalar.style != YAML_PLAIN_SCALAR_STYLE) return string_value;
    NEAP_TRY(auto value, internal::resolve_yaml_scalar(text));
    if (tag.empty()) return value;
    const bool fits = (tag == YAML_NULL_TAG && value.is_null()) ||
                      (tag == YAML_BOOL_TAG && value.is_bool()) ||
                      (tag == YAML_INT_TAG && (value.is_int64() || value.is_uint64())) ||
                      (tag == YAML_FLOAT_TAG && value.is_number());
    if (fits) return tag == YAML_FLOAT_TAG ? Json(value.to_number<double>()) : value;
    if (tag == YAML_NULL_TAG || tag == YAML_BOOL_TAG || tag == YAML_INT_TAG || tag == YAML_FLOAT_TAG)
      return syntax(event.start_mark,
                    fmt::format("has \"{}\" under the tag {}, which it is not", text.substr(0, 80), tag));
    return unknown_tag(event, tag);
  }

  YamlLimits limits_;
  std::size_t source_bytes_;
  yaml_parser_t parser_{};
  bool ok_ = false;
  std::map<std::string, Anchor> anchors_;
  Weight total_;
};

}  // namespace

namespace internal {
namespace {

// [-+]? ( .digits | digits[.digits] ) ([eE][-+]?digits)?
bool looks_like_float(std::string_view t) {
  std::size_t i = 0, digits = 0, fraction = 0;
  if (i < t.size() && (t[i] == '-' || t[i] == '+')) ++i;
  while (i < t.size() && t[i] >= '0' && t[i] <= '9') ++i, ++digits;
  if (i < t.size() && t[i] == '.') {
    ++i;
    while (i < t.size() && t[i] >= '0' && t[i] <= '9') ++i, ++fraction;
  }
  if (digits + fraction == 0) return false;
  if (i < t.size() && (t[i] == 'e' || t[i] == 'E')) {
    ++i;
    if (i < t.size() && (t[i] == '-' || t[i] == '+')) ++i;
    const std::size_t first = i;
    while (i < t.size() && t[i] >= '0' && t[i] <= '9') ++i;
    if (i == first) return false;
  }
  return i == t.size();
}

std::optional<Json> parse_integer(std::string_view t) {
  const bool negative = t[0] == '-';
  if (t[0] == '-' || t[0] == '+') t.remove_prefix(1);
  int base = 10;
  if (t.size() > 1 && t[0] == '0') {
    const char mark = t[1];
    base = mark == 'x' || mark == 'X' ? 16 : mark == 'b' || mark == 'B' ? 2 : 8;
    t.remove_prefix(base == 8 && mark != 'o' && mark != 'O' ? 1 : 2);
  }
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), number, base);
  if (t.empty() || error != std::errc{} || end != t.data() + t.size()) return std::nullopt;
  if (negative) {
    if (number > std::uint64_t(1) << 63) return std::nullopt;
    return Json(std::int64_t(0 - number));
  }
  if (number > std::uint64_t(std::numeric_limits<std::int64_t>::max())) return Json(number);
  return Json(std::int64_t(number));
}

}  // namespace

Result<Json> resolve_yaml_scalar(std::string_view text) {
  static const std::set<std::string_view> nulls{"", "~", "null", "Null", "NULL"};
  static const std::set<std::string_view> trues{"y",    "Y",    "yes", "Yes", "YES", "true",
                                                "True", "TRUE", "on",  "On",  "ON"};
  static const std::set<std::string_view> falses{"n",     "N",     "no",  "No",  "NO", "false",
                                                 "False", "FALSE", "off", "Off", "OFF"};
  static const std::set<std::string_view> endless{".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf", "+.INF",
                                                  "-.inf", "-.Inf", "-.INF", ".nan",  ".NaN",  ".NAN"};
  if (nulls.contains(text)) return Json();
  if (trues.contains(text)) return Json(true);
  if (falses.contains(text)) return Json(false);
  if (endless.contains(text))
    return fail(Code::kInvalidArgument, "yaml.number",
                fmt::format("\"{}\" has no counterpart in JSON; write a finite number", text));
  const char first = text[0];
  const bool numeric = (first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.';
  if (numeric && text.size() <= 128) {
    std::string plain;
    for (const char c : text)
      if (c != '_') plain += c;
    if (plain.empty()) return Json(boost::json::string(text));
    if (auto integer = parse_integer(plain)) return *integer;
    if (looks_like_float(plain)) {
      const char* begin = plain.data() + (plain[0] == '+' ? 1 : 0);
      double number = 0;
      const auto [end, error] = std::from_chars(begin, plain.data() + plain.size(), number);
      if (error == std::errc{} && std::isfinite(number)) return Json(number);
      return fail(Code::kInvalidArgument, "yaml.number",
                  fmt::format("the number {} is out of range; quote it if it is a text", text));
    }
  }
  return Json(boost::json::string(text));
}

}  // namespace internal

Result<std::vector<Json>> parse_yaml(std::string_view text, const YamlLimits& limits) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.size() > limits.bytes_max)
    return fail(Code::kResourceExhausted, "yaml.too_large",
                fmt::format("the document has {} bytes, above the limit of {}; split it", text.size(),
                            limits.bytes_max));
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (text[first] == '{' || text[first] == '[')) {
    auto json = parse_json(text, {limits.bytes_max, limits.depth_max});
    if (json) return std::vector<Json>{*std::move(json)};
    if (json.error().reason == "json.key.duplicate") return std::unexpected(json.error());
  }
  YamlReader reader(text, limits);
  return reader.read_all();
}

}  // namespace neap::api
