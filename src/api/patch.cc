#include <fmt/format.h>

#include <charconv>

#include "neap/api/codec.h"

namespace neap::api {
namespace {

constexpr std::size_t kOperationsMax = 10'000;
// Operations may copy: what they copy in all is bounded, so that doubling again and again ends early.
constexpr std::size_t kCopiedMax = 4u << 20;

std::string_view text_of(const Json& value) { return {value.get_string().data(), value.get_string().size()}; }

std::size_t weight_of(const Json& value) {
  std::size_t out = 16;
  if (value.is_string()) out += value.get_string().size();
  if (value.is_array())
    for (const auto& element : value.get_array()) out += weight_of(element);
  if (value.is_object())
    for (const auto& member : value.get_object()) out += member.key().size() + weight_of(member.value());
  return out;
}

using Pointer = std::vector<std::string>;

// RFC 6901.
Result<Pointer> parse_pointer(std::string_view text) {
  Pointer out;
  if (text.empty()) return out;
  if (text[0] != '/')
    return fail(Code::kInvalidArgument, "patch.pointer",
                fmt::format("the path \"{}\" must begin with '/'", text.substr(0, 200)));
  std::string step;
  for (std::size_t i = 1; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == '/') {
      out.push_back(std::move(step));
      step.clear();
    } else if (text[i] == '~') {
      const char next = i + 1 < text.size() ? text[i + 1] : '\0';
      if (next != '0' && next != '1')
        return fail(Code::kInvalidArgument, "patch.pointer",
                    fmt::format("the path \"{}\" has a '~' that is not ~0 or ~1", text.substr(0, 200)));
      step += next == '0' ? '~' : '/';
      ++i;
    } else {
      step += text[i];
    }
  }
  return out;
}

std::unexpected<Error> absent(std::string_view path) {
  return fail(Code::kFailedPrecondition, "patch.path.absent",
              fmt::format("nothing is at \"{}\"", path.substr(0, 200)));
}

Result<std::size_t> parse_index(const std::string& step, std::size_t limit, std::string_view path) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  const bool padded = step.size() > 1 && step[0] == '0';
  if (step.empty() || padded || error != std::errc{} || end != step.data() + step.size() || index >= limit)
    return absent(path);
  return index;
}

// The value `count` steps down the pointer; null when there is none.
Json* walk(Json& root, const Pointer& pointer, std::size_t count) {
  Json* at = &root;
  for (std::size_t i = 0; i < count; ++i) {
    if (auto* object = at->if_object()) {
      at = object->if_contains(pointer[i]);
    } else if (auto* array = at->if_array()) {
      const auto index = parse_index(pointer[i], array->size(), "");
      at = index ? &(*array)[*index] : nullptr;
    } else {
      at = nullptr;
    }
    if (!at) return nullptr;
  }
  return at;
}

Status add_at(Json& root, const Pointer& pointer, std::string_view path, Json value) {
  if (pointer.empty()) {
    root = std::move(value);
    return ok();
  }
  Json* parent = walk(root, pointer, pointer.size() - 1);
  if (!parent) return absent(path.substr(0, path.rfind('/')));
  if (auto* object = parent->if_object()) {
    (*object)[pointer.back()] = std::move(value);
    return ok();
  }
  auto* array = parent->if_array();
  if (!array) return absent(path.substr(0, path.rfind('/')));
  if (pointer.back() == "-") {
    array->push_back(std::move(value));
    return ok();
  }
  NEAP_TRY(const auto index, parse_index(pointer.back(), array->size() + 1, path));
  array->insert(array->begin() + std::ptrdiff_t(index), std::move(value));
  return ok();
}

Result<Json> take_at(Json& root, const Pointer& pointer, std::string_view path) {
  if (pointer.empty())
    return fail(Code::kInvalidArgument, "patch.root", "the whole document cannot be removed");
  Json* found = walk(root, pointer, pointer.size());
  if (!found) return absent(path);
  Json out = std::move(*found);
  Json* parent = walk(root, pointer, pointer.size() - 1);
  if (auto* object = parent->if_object()) {
    object->stable_erase(pointer.back());
  } else {
    auto& array = parent->get_array();
    NEAP_TRY(const auto index, parse_index(pointer.back(), array.size(), path));
    array.erase(array.begin() + std::ptrdiff_t(index));
  }
  return out;
}

// Equal as JSON means it: 1 and 1.0 are the same number.
bool equal(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) return a == b || a.to_number<double>() == b.to_number<double>();
  if (a.is_array() && b.is_array()) {
    if (a.get_array().size() != b.get_array().size()) return false;
    for (std::size_t i = 0; i < a.get_array().size(); ++i)
      if (!equal(a.get_array()[i], b.get_array()[i])) return false;
    return true;
  }
  if (a.is_object() && b.is_object()) {
    if (a.get_object().size() != b.get_object().size()) return false;
    for (const auto& member : a.get_object()) {
      const Json* other = b.get_object().if_contains(member.key());
      if (!other || !equal(member.value(), *other)) return false;
    }
    return true;
  }
  return a == b;
}

Status apply_operation(Json& root, const Json& operation, std::size_t& copied) {
  const auto op = get_string(operation, "op");
  const Json* path_value = find_path(operation, {"path"});
  if (!path_value || !path_value->is_string())
    return fail(Code::kInvalidArgument, "patch.operation", "\"path\" is required and must be a string");
  const auto path = text_of(*path_value);
  NEAP_TRY(const auto pointer, parse_pointer(path));
  const Json* value = find_path(operation, {"value"});
  if ((op == "add" || op == "replace" || op == "test") && !value)
    return fail(Code::kInvalidArgument, "patch.operation", fmt::format("\"value\" is required for {}", op));

  if (op == "add") return add_at(root, pointer, path, *value);
  if (op == "replace") {
    Json* found = walk(root, pointer, pointer.size());
    if (!found) return absent(path);
    *found = *value;
    return ok();
  }
  if (op == "remove") {
    NEAP_TRY(const auto taken, take_at(root, pointer, path));
    (void)taken;
    return ok();
  }
  if (op == "test") {
    const Json* found = walk(root, pointer, pointer.size());
    if (!found) return absent(path);
    if (equal(*found, *value)) return ok();
    return fail(Code::kFailedPrecondition, "patch.test",
                fmt::format("the value at \"{}\" is not the one tested for", path.substr(0, 200)));
  }
  if (op == "move" || op == "copy") {
    const Json* from_value = find_path(operation, {"from"});
    if (!from_value || !from_value->is_string())
      return fail(Code::kInvalidArgument, "patch.operation", fmt::format("\"from\" is required for {}", op));
    const auto from_path = text_of(*from_value);
    NEAP_TRY(const auto from, parse_pointer(from_path));
    if (op == "copy") {
      const Json* found = walk(root, from, from.size());
      if (!found) return absent(from_path);
      copied += weight_of(*found);
      if (copied > kCopiedMax)
        return fail(Code::kResourceExhausted, "patch.too_large",
                    fmt::format("copies more than {} bytes", kCopiedMax));
      return add_at(root, pointer, path, Json(*found));
    }
    if (pointer.size() > from.size() && std::equal(from.begin(), from.end(), pointer.begin()))
      return fail(Code::kInvalidArgument, "patch.operation", "a value cannot be moved into itself");
    NEAP_TRY(auto taken, take_at(root, from, from_path));
    return add_at(root, pointer, path, std::move(taken));
  }
  return fail(
      Code::kInvalidArgument, "patch.operation",
      fmt::format("\"op\" must be add, remove, replace, move, copy or test, is \"{}\"", op.substr(0, 40)));
}

}  // namespace

void merge_patch(Json& target, const Json& patch) {
  const auto* changes = patch.if_object();
  if (!changes) {
    target = patch;
    return;
  }
  if (!target.is_object()) target.emplace_object();
  auto& object = target.get_object();
  for (const auto& change : *changes) {
    if (change.value().is_null()) {
      object.stable_erase(change.key());
    } else {
      merge_patch(object[change.key()], change.value());
    }
  }
}

Status json_patch(Json& target, const Json& operations) {
  const auto* list = operations.if_array();
  if (!list) return fail(Code::kInvalidArgument, "patch.format", "a JSON patch must be a list of operations");
  if (list->size() > kOperationsMax)
    return fail(Code::kResourceExhausted, "patch.too_large",
                fmt::format("a JSON patch may have {} operations, this one has {}; split it", kOperationsMax,
                            list->size()));
  Json result = target;
  std::size_t copied = 0;
  for (std::size_t i = 0; i < list->size(); ++i) {
    auto done = apply_operation(result, (*list)[i], copied);
    if (!done) {
      Error error = std::move(done).error();
      error.message = fmt::format("operation {} of the JSON patch: {}", i, error.message);
      return std::unexpected(std::move(error));
    }
  }
  target = std::move(result);
  return ok();
}

}  // namespace neap::api
