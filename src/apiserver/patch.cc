#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "internal/rest.h"

namespace neap::apiserver {
namespace {

using namespace std::string_view_literals;

// Merge keys of the lists in the built-in kinds that clients patch strategically.
constexpr std::array kMergeKeys{std::pair{"ownerReferences"sv, "uid"sv}, std::pair{"secrets"sv, "name"sv},
                                std::pair{"imagePullSecrets"sv, "name"sv},
                                std::pair{"conditions"sv, "type"sv}};

std::optional<std::string_view> merge_key_of(std::string_view list) {
  for (const auto& [name, key] : kMergeKeys)
    if (name == list) return key;
  return {};
}

bool is_directive(std::string_view key) {
  return key.starts_with("$setElementOrder/") || key.starts_with("$retainKeys") || key == "$patch" ||
         key.starts_with("$deleteFromPrimitiveList/");
}

void merge_list(Json& target, const JsonArray& patch, std::string_view key) {
  if (!target.is_array()) target.emplace_array();
  auto& list = target.get_array();
  for (const auto& item : patch) {
    const auto wanted = get_string(item, key);
    const auto at =
        std::ranges::find_if(list, [&](const Json& have) { return get_string(have, key) == wanted; });
    if (get_string(item, "$patch") == "delete") {
      if (at != list.end()) list.erase(at);
    } else if (at != list.end()) {
      strategic_merge(*at, item);
    } else {
      list.push_back(item);
    }
  }
}

// Finalizers are a set: what the patch names is added.
void merge_set(Json& target, const JsonArray& patch) {
  if (!target.is_array()) target.emplace_array();
  auto& list = target.get_array();
  for (const auto& item : patch)
    if (std::ranges::find(list, item) == list.end()) list.push_back(item);
}

}  // namespace

void strategic_merge(Json& target, const Json& patch) {
  const auto* members = patch.if_object();
  if (!members) {
    target = patch;
    return;
  }
  if (get_string(patch, "$patch") == "replace" || !target.is_object()) target.emplace_object();
  auto& object = target.get_object();
  for (const auto& [key, value] : *members) {
    const std::string_view name = key;
    constexpr auto kRemove = "$deleteFromPrimitiveList/"sv;
    if (name.starts_with(kRemove) && value.is_array()) {
      if (auto* list = object.if_contains(name.substr(kRemove.size())); list && list->is_array())
        for (const auto& gone : value.get_array()) {
          auto& items = list->get_array();
          items.erase(std::remove(items.begin(), items.end(), gone), items.end());
        }
    }
    if (is_directive(name)) continue;
    if (value.is_null() || get_string(value, "$patch") == "delete") {
      object.erase(name);
    } else if (value.is_object()) {
      strategic_merge(object[name], value);
    } else if (value.is_array() && name == "finalizers") {
      merge_set(object[name], value.get_array());
    } else if (const auto merge_key = merge_key_of(name); value.is_array() && merge_key) {
      merge_list(object[name], value.get_array(), *merge_key);
    } else {
      object[name] = value;
    }
  }
}

}  // namespace neap::apiserver
