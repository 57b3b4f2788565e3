#include "internal/object_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::apiserver {

std::string kind_prefix(const api::KindEntry& kind) {
  return fmt::format("{}{}/{}/", kRegistry, kind.group, kind.plural);
}

std::string list_prefix(const api::KindEntry& kind, std::string_view ns) {
  if (!kind.namespaced || ns.empty()) return kind_prefix(kind);
  return fmt::format("{}{}/{}/{}/", kRegistry, kind.group, kind.plural, ns);
}

// Cluster-scoped objects have the empty namespace, so that every key has the same shape.
std::string object_key(const api::KindEntry& kind, std::string_view ns, std::string_view name) {
  return fmt::format("{}{}/{}/{}/{}", kRegistry, kind.group, kind.plural,
                     kind.namespaced ? ns : std::string_view(), name);
}

KeyParts split_key(std::string_view key) {
  KeyParts out;
  if (!key.starts_with(kRegistry)) return out;
  key.remove_prefix(kRegistry.size());
  for (auto* part : {&out.group, &out.plural, &out.ns}) {
    const auto slash = key.find('/');
    if (slash == std::string_view::npos) return {};
    *part = key.substr(0, slash);
    key.remove_prefix(slash + 1);
  }
  out.name = key;
  return out;
}

std::string stored_text(Json object) {
  auto& members = object.get_object();
  auto& metadata = metadata_of(object);
  metadata.erase("resourceVersion");
  JsonObject ordered;
  ordered.reserve(members.size());
  for (const auto* head : {"apiVersion", "kind", "metadata"})
    if (auto* value = members.if_contains(head)) ordered[head] = std::move(*value);
  for (auto& member : members)
    if (!ordered.contains(member.key())) ordered[member.key()] = std::move(member.value());
  return to_text(ordered);
}

std::string text_with_revision(std::string_view text, Revision revision) {
  // The first "metadata":{ is the object's own: apiVersion and kind before it are words without quotes.
  constexpr std::string_view kMark = "\"metadata\":{";
  const auto at = text.find(kMark);
  if (at == std::string_view::npos) return std::string(text);
  const auto split = at + kMark.size();
  const bool more = split < text.size() && text[split] != '}';
  return fmt::format("{}\"resourceVersion\":\"{}\"{}{}", text.substr(0, split), to_number(revision),
                     more ? "," : "", text.substr(split));
}

Json with_revision(Json object, Revision revision) {
  metadata_of(object)["resourceVersion"] = fmt::format("{}", to_number(revision));
  return object;
}

JsonObject& metadata_of(Json& object) {
  if (!object.is_object()) object.emplace_object();
  return sub_object(object.get_object(), "metadata");
}

std::string_view meta_string(const Json& object, std::string_view key) {
  const auto* metadata = find_path(object, {"metadata"});
  return metadata ? get_string(*metadata, key) : std::string_view();
}

namespace {
const JsonArray* finalizers_of(const Json& object) {
  const auto* list = find_path(object, {"metadata", "finalizers"});
  return list ? list->if_array() : nullptr;
}
bool is_word(const Json& value, std::string_view word) {
  return value.is_string() && std::string_view(value.get_string()) == word;
}
}  // namespace

bool has_finalizer(const Json& object, std::string_view finalizer) {
  const auto* list = finalizers_of(object);
  return list && std::ranges::any_of(*list, [&](const Json& one) { return is_word(one, finalizer); });
}
std::size_t finalizer_count(const Json& object) {
  const auto* list = finalizers_of(object);
  return list ? list->size() : 0;
}
bool is_terminating(const Json& object) { return !meta_string(object, "deletionTimestamp").empty(); }

bool remove_finalizer(Json& object, std::string_view finalizer) {
  if (!has_finalizer(object, finalizer)) return false;
  auto& metadata = metadata_of(object);
  JsonArray kept;
  for (auto& one : metadata["finalizers"].get_array())
    if (!is_word(one, finalizer)) kept.push_back(std::move(one));
  if (kept.empty())
    metadata.erase("finalizers");
  else
    metadata["finalizers"] = std::move(kept);
  return true;
}

bool same_object(const Json& a, const Json& b) {
  const auto strip = [](Json value) {
    auto& metadata = metadata_of(value);
    metadata.erase("resourceVersion");
    if (auto* managed = metadata.if_contains("managedFields"); managed && managed->is_array())
      for (auto& entry : managed->get_array())
        if (entry.is_object()) entry.get_object().erase("time");
    return value;
  };
  return strip(a) == strip(b);
}

}  // namespace neap::apiserver
