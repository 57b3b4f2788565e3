// Strategic merge (k8s.io/apimachinery, util/strategicpatch) for the built-in kinds: a merge patch, plus
// lists merged by the key their Go fields name (patchMergeKey in k8s.io/api), plus $-directives.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "internal/rest.h"
#include "neap/api/patch_keys.h"

namespace neap::apiserver {
namespace {

using namespace std::string_view_literals;

constexpr auto kPatch = "$patch"sv;
constexpr auto kRetainKeys = "$retainKeys"sv;
constexpr auto kSetOrder = "$setElementOrder/"sv;
constexpr auto kRemoveFromSet = "$deleteFromPrimitiveList/"sv;

std::optional<std::string_view> merge_key_of(std::string_view list, const JsonArray& patch) {
  const bool of_container = std::ranges::any_of(
      patch, [](const Json& item) { return find_path(item, {"containerPort"}) != nullptr; });
  return api::patch_merge_key(list, of_container);
}

const Json* key_value(const Json& item, std::string_view key) { return find_path(item, {key}); }

Json* find_item(JsonArray& list, std::string_view key, const Json& like) {
  const auto* wanted = key_value(like, key);
  for (auto& item : list) {
    const auto* have = key_value(item, key);
    if (wanted && have && *have == *wanted) return &item;
  }
  return nullptr;
}

// A value of a patch where nothing was before: directives and nulls mean nothing there.
Json fresh(const Json& value) {
  if (!value.is_object()) return value;
  Json out = JsonObject();
  strategic_merge(out, value);
  return out;
}

void merge_list(Json& target, const JsonArray& patch, std::string_view key) {
  const bool replaces =
      std::ranges::any_of(patch, [](const Json& item) { return get_string(item, kPatch) == "replace"; });
  if (!target.is_array() || replaces) target.emplace_array();
  auto& list = target.get_array();
  for (const auto& item : patch) {
    const auto directive = get_string(item, kPatch);
    if (directive == "replace" && item.get_object().size() == 1) continue;
    auto* have = find_item(list, key, item);
    if (directive == "delete") {
      if (have) list.erase(list.begin() + (have - list.data()));
    } else if (have) {
      strategic_merge(*have, item);
    } else {
      list.push_back(fresh(item));
    }
  }
}

// What the patch names is added.
void merge_set(Json& target, const JsonArray& patch) {
  if (!target.is_array()) target.emplace_array();
  auto& list = target.get_array();
  for (const auto& item : patch)
    if (std::ranges::find(list, item) == list.end()) list.push_back(item);
}

// Puts the elements that `order` names into its order; the others stay behind the one they followed.
void set_order(Json& target, const JsonArray& order, std::string_view list_name) {
  auto* list = target.if_array();
  if (!list) return;
  const auto key = merge_key_of(list_name, order);
  const auto rank = [&](const Json& item) -> std::size_t {
    for (std::size_t i = 0; i < order.size(); ++i) {
      const auto* wanted = key ? key_value(order[i], *key) : &order[i];
      const auto* have = key ? key_value(item, *key) : &item;
      if (wanted && have && *wanted == *have) return i;
    }
    return order.size();
  };
  std::vector<std::pair<std::pair<std::size_t, std::size_t>, Json>> ranked;  // rank, place before
  std::size_t last = 0;
  for (auto& item : *list) {
    const auto mine = rank(item);
    if (mine < order.size()) last = mine;
    ranked.emplace_back(std::pair(mine < order.size() ? mine : last, ranked.size()), std::move(item));
  }
  std::ranges::sort(ranked, {}, [](const auto& one) { return one.first; });
  for (std::size_t i = 0; i < ranked.size(); ++i) (*list)[i] = std::move(ranked[i].second);
}

void remove_from_set(JsonObject& object, std::string_view list_name, const Json& gone) {
  auto* list = object.if_contains(list_name);
  if (!list || !list->is_array() || !gone.is_array()) return;
  auto& items = list->get_array();
  for (const auto& one : gone.get_array())
    items.erase(std::remove(items.begin(), items.end(), one), items.end());
}

void retain_keys(JsonObject& object, const Json& kept) {
  if (!kept.is_array()) return;
  for (auto at = object.begin(); at != object.end();) {
    const bool keep = std::ranges::any_of(kept.get_array(), [&](const Json& key) {
      return key.is_string() && std::string_view(key.get_string()) == std::string_view(at->key());
    });
    at = keep ? std::next(at) : object.erase(at);
  }
}

void merge_member(JsonObject& object, std::string_view name, const Json& value) {
  if (value.is_null() || get_string(value, kPatch) == "delete") {
    object.erase(name);
  } else if (value.is_object()) {
    strategic_merge(object[name], value);
  } else if (value.is_array() && api::is_patch_set(name)) {
    merge_set(object[name], value.get_array());
  } else if (const auto key = value.is_array() ? merge_key_of(name, value.get_array()) : std::nullopt) {
    merge_list(object[name], value.get_array(), *key);
  } else {
    object[name] = value;
  }
}

}  // namespace

void strategic_merge(Json& target, const Json& patch) {
  const auto* members = patch.if_object();
  if (!members) {
    target = patch;
    return;
  }
  if (get_string(patch, kPatch) == "replace" || !target.is_object()) target.emplace_object();
  auto& object = target.get_object();
  for (const auto& [key, value] : *members) {
    const std::string_view name = key;
    if (name.starts_with(kRemoveFromSet)) remove_from_set(object, name.substr(kRemoveFromSet.size()), value);
    if (!name.starts_with('$')) merge_member(object, name, value);
  }
  if (const auto* kept = members->if_contains(kRetainKeys)) retain_keys(object, *kept);
  for (const auto& [key, value] : *members)
    if (const std::string_view name = key; name.starts_with(kSetOrder) && value.is_array())
      if (auto* list = object.if_contains(name.substr(kSetOrder.size())))
        set_order(*list, value.get_array(), name.substr(kSetOrder.size()));
}

}  // namespace neap::apiserver
