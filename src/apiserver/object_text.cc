#include "internal/object_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

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

std::string stored_text(const Json& object) {
  const auto& members = object.get_object();
  std::string out = "{";
  const auto add = [&out](std::string_view key, const Json& value) {
    if (out.size() > 1) out += ',';
    out += to_text(Json(boost::json::string(key)));
    out += ':';
    out += to_text(value);
  };
  constexpr std::array<std::string_view, 3> kHead{"apiVersion", "kind", "metadata"};
  for (const auto head : kHead) {
    const auto* value = members.if_contains(head);
    if (!value) continue;
    if (head != "metadata" || !find_path(*value, {"resourceVersion"})) {
      add(head, *value);
      continue;
    }
    auto metadata = *value;
    metadata.get_object().erase("resourceVersion");
    add(head, metadata);
  }
  for (const auto& member : members)
    if (std::ranges::find(kHead, std::string_view(member.key())) == kHead.end())
      add(member.key(), member.value());
  return out + '}';
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

namespace {
// Equal but for the members that `skipped` names.
template <class Skip>
bool same_members(const JsonObject& a, const JsonObject& b, Skip skipped) {
  const auto all_in = [&](const JsonObject& from, const JsonObject& to, bool compares) {
    return std::ranges::all_of(from, [&](const auto& member) {
      if (skipped(std::string_view(member.key()))) return true;
      const auto* other = to.if_contains(member.key());
      return other && (!compares || *other == member.value());
    });
  };
  return all_in(a, b, true) && all_in(b, a, false);
}
// Lists of who owns which field; when they wrote does not count.
bool same_managers(const Json* a, const Json* b) {
  const auto* left = a ? a->if_array() : nullptr;
  const auto* right = b ? b->if_array() : nullptr;
  if (!left || !right) return !a == !b && (!a || *a == *b);
  return std::ranges::equal(*left, *right, [](const Json& x, const Json& y) {
    if (!x.is_object() || !y.is_object()) return x == y;
    return same_members(x.get_object(), y.get_object(), [](std::string_view key) { return key == "time"; });
  });
}
}  // namespace

bool same_object(const Json& a, const Json& b) {
  if (!a.is_object() || !b.is_object()) return a == b;
  static const JsonObject kNone;
  const auto metadata = [](const Json& object) -> const JsonObject& {
    const auto* value = find_path(object, {"metadata"});
    return value && value->is_object() ? value->get_object() : kNone;
  };
  const auto &left = metadata(a), &right = metadata(b);
  return same_members(
             left, right,
             [](std::string_view key) { return key == "resourceVersion" || key == "managedFields"; }) &&
         same_managers(left.if_contains("managedFields"), right.if_contains("managedFields")) &&
         same_members(a.get_object(), b.get_object(), [](std::string_view key) { return key == "metadata"; });
}

bool same_wish(const Json& a, const Json& b) {
  return same_members(a.get_object(), b.get_object(),
                      [](std::string_view key) { return key == "metadata" || key == "status"; });
}

}  // namespace neap::apiserver
