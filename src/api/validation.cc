#include <fmt/format.h>
#include <re2/re2.h>

#include <cmath>
#include <set>

#include "internal/bounds.h"
#include "internal/shape.h"

namespace neap::api::internal {
namespace {

// List elements and map values have no options of their own; programs and scripts may be long.
constexpr std::size_t kElementBytesMax = 64u << 10;

std::string child_path(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

class Checker {
 public:
  explicit Checker(std::vector<FieldProblem>& problems) : problems_(problems) {}

  void check(const Shape& shape, const Field* field, const Json& value, const std::string& path) {
    using enum Shape::Type;
    switch (shape.type) {
      case kAny:
        return;
      case kString:
        return check_string(field, value, path);
      case kLongText:
        if (!value.is_string()) must(path, "a string", value);
        return;
      case kBool:
        if (!value.is_bool()) must(path, "true or false", value);
        return;
      case kInteger:
      case kMoney:
        return check_integer(field, value, path);
      case kNumber:
        if (!value.is_number()) return must(path, "a number", value);
        return check_bounds(field, value.to_number<double>(), value, path);
      case kBytes:
        return check_most(quantity_of(value, 1), kBytesMax, "1Ei", value, path);
      case kCores:
        return check_most(quantity_of(value, 1000), kMilliMax, "1G", value, path);
      case kQuantity:
        return check_most(quantity_of(value, 1000), kQuantityMax, "1Pi", value, path);
      case kDuration:
        if (!value.is_string()) return must(path, "a duration like 20ms or 5m", value);
        return check_most(parse_duration(text_of(value)), kDurationMax, "876000h, a hundred years", value,
                          path);
      case kTime:
        if (!value.is_string()) return must(path, "a time like 2026-11-22T08:00:00Z", value);
        return check_time(value, path);
      case kIntOrString:
        if (!value.is_string() && !value.is_int64()) must(path, "an integer or a string", value);
        return;
      case kEnum:
        return check_enum(shape, value, path);
      case kObject:
        return check_object(shape, field, value, path);
      case kList:
        return check_list(shape, field, value, path);
      case kMap:
        return check_map(shape, field, value, path);
    }
  }

 private:
  static std::string_view text_of(const Json& value) {
    return {value.get_string().data(), value.get_string().size()};
  }
  void add(const std::string& path, std::string message) {
    // A document of nothing but mistakes must not make a reply of megabytes.
    if (problems_.size() < 100) problems_.push_back({path, std::move(message), false});
  }
  void must(const std::string& path, std::string_view what, const Json& value) {
    add(path, fmt::format("must be {}, is {}", what, found_kind(value)));
  }
  template <class T>
  void check_most(const Result<T>& result, std::type_identity_t<T> most, std::string_view most_text,
                  const Json& value, const std::string& path) {
    if (!result)
      add(path, result.error().message);
    else if (*result > most)
      add(path, fmt::format("must be at most {}, is {}", most_text, found_kind(value)));
  }
  void check_time(const Json& value, const std::string& path) {
    const auto time = parse_rfc3339(text_of(value));
    if (!time && time.error().reason != "time.range") return add(path, time.error().message);
    if (!time || *time < kTimeMin || *time > kTimeMax)
      add(path, fmt::format("must lie between {} and {}, is {}; leave it out where there is no limit",
                            format_rfc3339(kTimeMin), format_rfc3339(kTimeMax), found_kind(value)));
  }

  void check_string(const Field* field, const Json& value, const std::string& path) {
    if (!value.is_string()) return must(path, "a string", value);
    const auto text = text_of(value);
    const std::size_t max = field ? field->options.length_max : kElementBytesMax;
    if (text.size() > max)
      return add(path, fmt::format("must have at most {} bytes, has {}", max, text.size()));
    if (field && field->options.required && text.empty()) return add(path, "must not be empty");
    // An optional member that is empty means "not given", whatever the pattern.
    if (field && field->pattern && !text.empty() &&
        !re2::RE2::FullMatch({text.data(), text.size()}, *field->pattern))
      add(path, fmt::format("must match {}, is {}", field->pattern->pattern(), found_kind(value)));
  }
  void check_integer(const Field* field, const Json& value, const std::string& path) {
    if (value.is_uint64())
      return add(path, fmt::format("must fit 64 bits with a sign, is {}", to_text(value)));
    if (const auto* d = value.if_double(); d && std::trunc(*d) == *d && std::fabs(*d) <= 9007199254740992.0)
      return check_bounds(field, *d, value, path);
    if (!value.is_int64()) return must(path, "an integer", value);
    check_bounds(field, value.get_int64(), value, path);
  }
  template <class N>
  void check_bounds(const Field* field, N number, const Json& value, const std::string& path) {
    if (!field) return;
    const auto low = field->options.minimum, high = field->options.maximum;
    if (low != std::numeric_limits<std::int64_t>::min() && number < N(low))
      return add(path, fmt::format("must be at least {}, is {}", low, found_kind(value)));
    if (high != std::numeric_limits<std::int64_t>::max() && number > N(high))
      add(path, fmt::format("must be at most {}, is {}", high, found_kind(value)));
  }
  void check_enum(const Shape& shape, const Json& value, const std::string& path) {
    if (value.is_string())
      for (const auto& name : shape.names)
        if (name == text_of(value)) return;
    must(path, fmt::format("one of \"{}\"", fmt::join(shape.names, "\", \"")), value);
  }
  void check_object(const Shape& shape, const Field* field, const Json& value, const std::string& path) {
    (void)field;
    const auto* object = value.if_object();
    if (!object) return must(path, "an object", value);
    for (const auto& member : *object) {
      const std::string_view name(member.key().data(), member.key().size());
      const auto at = child_path(path, name);
      const Field* known = shape.find(name);
      if (!known) {
        if (problems_.size() < 100) problems_.push_back({at, fmt::format("unknown field \"{}\"", at), true});
        continue;
      }
      if (!member.value().is_null()) check(*known->shape, known, member.value(), at);
    }
    for (const auto& known : shape.fields) {
      if (!known.options.required) continue;
      const Json* found = object->if_contains(known.name);
      if (!found || found->is_null()) add(child_path(path, known.name), "is required");
    }
  }
  void check_list(const Shape& shape, const Field* field, const Json& value, const std::string& path) {
    const auto* array = value.if_array();
    if (!array) return must(path, "a list", value);
    if (!check_count(field, array->size(), path)) return;
    for (std::size_t i = 0; i < array->size(); ++i)
      check(*shape.element, nullptr, (*array)[i], fmt::format("{}[{}]", path, i));
    if (field && !field->options.list_map_key.empty()) check_keys(field->options.list_map_key, *array, path);
  }
  void check_map(const Shape& shape, const Field* field, const Json& value, const std::string& path) {
    const auto* object = value.if_object();
    if (!object) return must(path, "an object", value);
    if (!check_count(field, object->size(), path)) return;
    for (const auto& member : *object)
      check(*shape.element, nullptr, member.value(),
            fmt::format("{}[{}]", path, std::string_view(member.key().data(), member.key().size())));
  }
  bool check_count(const Field* field, std::size_t count, const std::string& path) {
    if (!field) return true;
    if (field->options.required && count == 0) {
      add(path, "must not be empty");
      return false;
    }
    if (count <= field->options.length_max) return true;
    add(path, fmt::format("must have at most {} entries, has {}", field->options.length_max, count));
    return false;
  }
  void check_keys(std::string_view key, const JsonArray& array, const std::string& path) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < array.size(); ++i) {
      const Json* found = find_path(array[i], {key});
      if (found && !seen.insert(to_text(*found)).second)
        add(fmt::format("{}[{}].{}", path, i, key),
            fmt::format("must be unique in the list, {} appears twice", found_kind(*found)));
    }
  }

  std::vector<FieldProblem>& problems_;
};

const Json& or_default(const Json* value, const Field& field) {
  static const Json nothing;
  if (value && !value->is_null()) return *value;
  return field.default_value.is_null() ? nothing : field.default_value;
}

bool is_empty(const Json& value) {
  if (value.is_object()) return value.get_object().empty();
  if (value.is_array()) return value.get_array().empty();
  if (value.is_string()) return value.get_string().empty();
  if (value.is_bool()) return !value.get_bool();
  if (value.is_int64()) return value.get_int64() == 0;
  return value.is_null();
}

// Equal in meaning: absent is its default, "1000m" is "1".
bool same(const Shape& shape, const Json& a, const Json& b) {
  using enum Shape::Type;
  if (a == b || (is_empty(a) && is_empty(b))) return true;
  if (shape.type == kObject && (a.is_object() || is_empty(a)) && (b.is_object() || is_empty(b))) {
    for (const auto& field : shape.fields)
      if (!same(*field.shape, or_default(find_path(a, {field.name}), field),
                or_default(find_path(b, {field.name}), field)))
        return false;
    return true;
  }
  if (shape.type == kList && a.is_array() && b.is_array()) {
    if (a.get_array().size() != b.get_array().size()) return false;
    for (std::size_t i = 0; i < a.get_array().size(); ++i)
      if (!same(*shape.element, a.get_array()[i], b.get_array()[i])) return false;
    return true;
  }
  if (shape.type == kBytes || shape.type == kCores || shape.type == kQuantity) {
    const auto scale = shape.type == kBytes ? 1 : 1000;
    const auto x = quantity_of(a, scale), y = quantity_of(b, scale);
    return x && y && *x == *y;
  }
  if (shape.type == kNumber && a.is_number() && b.is_number())
    return a.to_number<double>() == b.to_number<double>();
  return false;
}

}  // namespace

void fill_defaults(const Shape& shape, Json& value) {
  if (shape.type == Shape::Type::kList && value.is_array()) {
    for (auto& element : value.get_array()) fill_defaults(*shape.element, element);
  } else if (shape.type == Shape::Type::kMap && value.is_object()) {
    for (auto& member : value.get_object()) fill_defaults(*shape.element, member.value());
  } else if (shape.type == Shape::Type::kObject && value.is_object()) {
    auto& object = value.get_object();
    for (const auto& field : shape.fields) {
      Json* found = object.if_contains(field.name);
      if (found && !found->is_null()) {
        fill_defaults(*field.shape, *found);
      } else if (!field.default_value.is_null()) {
        object[field.name] = field.default_value;
      } else if (found) {
        object.stable_erase(field.name);  // null means "not given", as in Kubernetes
      }
    }
  }
}

void check_value(const Shape& shape, const Field* field, const Json& value, const std::string& path,
                 std::vector<FieldProblem>& problems) {
  Checker(problems).check(shape, field, value, path);
}

void check_unchanged(const Shape& shape, const Json& before, const Json& after, const std::string& path,
                     std::vector<FieldProblem>& problems) {
  for (const auto& field : shape.fields) {
    const Json& old_value = or_default(find_path(before, {field.name}), field);
    const Json& new_value = or_default(find_path(after, {field.name}), field);
    const auto at = child_path(path, field.name);
    if (field.options.immutable) {
      if (same(*field.shape, old_value, new_value)) continue;
      const bool short_enough = !old_value.is_object() && !old_value.is_array();
      problems.push_back({at,
                          short_enough
                              ? fmt::format("cannot change, is {}; delete the object and create it anew",
                                            is_empty(old_value) ? "empty" : found_kind(old_value))
                              : std::string("cannot change; delete the object and create it anew"),
                          false});
    } else if (field.shape->type == Shape::Type::kObject && old_value.is_object()) {
      check_unchanged(*field.shape, old_value, new_value, at, problems);
    }
  }
}

void check_metadata(const Json& document, bool loose_name, std::vector<FieldProblem>& problems) {
  // RFC 1123 subdomains, label keys and label values, as Kubernetes has them.
  static const re2::RE2 subdomain("[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*");
  static const re2::RE2 loose("[^/%\\x00-\\x1f]+");
  static const re2::RE2 label_key(
      "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?");
  static const re2::RE2 label_value("([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?");
  const auto matches = [](std::string_view text, const re2::RE2& pattern) {
    return re2::RE2::FullMatch({text.data(), text.size()}, pattern);
  };
  const Json* metadata = find_path(document, {"metadata"});
  if (!metadata || !metadata->is_object()) return;
  const auto name = get_string(*metadata, "name");
  if (!name.empty()) {
    const bool good =
        loose_name ? matches(name, loose) && name != "." && name != ".." : matches(name, subdomain);
    if (!good || name.size() > 253)
      problems.push_back({"metadata.name",
                          loose_name
                              ? "must be a path segment: no '/' and no '%', at most 253 bytes"
                              : fmt::format("must be lower-case letters, digits, '-' and '.', begin and end "
                                            "with a letter or digit, at most 253 bytes, is \"{}\"",
                                            name.substr(0, 64)),
                          false});
  } else if (get_string(*metadata, "generateName").empty()) {
    problems.push_back({"metadata.name", "is required (or metadata.generateName)", false});
  }
  if (const Json* labels = find_path(*metadata, {"labels"}); labels && labels->is_object())
    for (const auto& label : labels->get_object()) {
      const std::string_view key(label.key().data(), label.key().size());
      const std::size_t slash = key.rfind('/');
      const auto bare = slash == std::string_view::npos ? key : key.substr(slash + 1);
      if (!matches(key, label_key) || bare.size() > 63 || key.size() > 317)
        problems.push_back(
            {fmt::format("metadata.labels[{}]", key),
             "is not a label name: [prefix/]name of letters, digits, '-', '_' and '.', at most 63 bytes",
             false});
      if (!label.value().is_string()) continue;
      const auto value = get_string(*labels, key);
      if (!matches(value, label_value) || value.size() > 63)
        problems.push_back(
            {fmt::format("metadata.labels[{}]", key),
             fmt::format("is not a label value: letters, digits, '-', '_' and '.', at most 63 bytes, is {}",
                         found_kind(label.value())),
             false});
    }
}

}  // namespace neap::api::internal
