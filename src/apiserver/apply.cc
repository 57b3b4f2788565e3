// Server-side apply: who manages which field, as FieldsV1 sets (k8s.io/apimachinery, meta/v1, FieldsV1).
// A leaf is {}; members are "f:<name>"; elements of a list that merges by keys are "k:{...}" with a "." of
// their own, those of a set are "v:<value>". Other lists are leaves. Writers that name themselves (the
// fieldManager parameter) are recorded from the object's creation on; what Neap's own parts make is not,
// until somebody applies it: it then belongs to "before-first-apply", as in Kubernetes.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "internal/rest.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kBeforeFirstApply = "before-first-apply";

const Json* schema_member(const Json* schema, std::string_view name) {
  if (!schema) return nullptr;
  if (const auto* found = find_path(*schema, {"properties", name})) return found;
  const auto* additional = find_path(*schema, {"additionalProperties"});
  return additional && additional->is_object() ? additional : nullptr;
}
// How a list merges: by keys, as a set of plain values, or (neither) as one value.
struct ListKeys {
  std::vector<std::string_view> names;
  bool is_set = false;
  bool empty() const { return names.empty() && !is_set; }
};
ListKeys list_keys(const Json* schema) {
  ListKeys out;
  if (!schema) return out;
  out.is_set = get_string(*schema, "x-kubernetes-list-type") == "set";
  if (const auto* keys = find_path(*schema, {"x-kubernetes-list-map-keys"}); keys && keys->is_array())
    for (const auto& key : keys->get_array())
      if (key.is_string()) out.names.emplace_back(key.get_string());
  return out;
}
std::string element_key(const Json& element, const ListKeys& keys) {
  if (keys.is_set) return "v:" + to_text(element);
  JsonObject out;
  for (const auto key : keys.names)
    if (const auto* value = find_path(element, {key})) out[key] = *value;
  return "k:" + to_text(out);
}
// Where each element of a list that merges by keys stands; the first where two have the same key.
using ElementIndex = std::unordered_map<std::string, std::size_t>;
ElementIndex index_of(const Json* list, const ListKeys& keys) {
  ElementIndex out;
  if (list && list->is_array() && !keys.empty())
    for (std::size_t at = 0; at < list->get_array().size(); ++at)
      out.try_emplace(element_key(list->get_array()[at], keys), at);
  return out;
}
const Json* find_in(const Json* list, const ElementIndex& index, std::string_view key) {
  const auto it = index.find(std::string(key));
  return it == index.end() ? nullptr : &list->get_array()[it->second];
}
const Json* items_of(const Json* schema) { return schema ? find_path(*schema, {"items"}) : nullptr; }

JsonObject fields_of(const Json& value, const Json* schema) {
  JsonObject out;
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object)
      out["f:" + std::string(key)] = fields_of(member, schema_member(schema, std::string_view(key)));
  } else if (const auto keys = list_keys(schema); value.is_array() && !keys.empty()) {
    for (const auto& element : value.get_array()) {
      auto fields = fields_of(element, items_of(schema));
      if (!keys.is_set) fields["."] = JsonObject();
      out[element_key(element, keys)] = std::move(fields);
    }
  }
  return out;
}

// a without the leaves of b.
JsonObject minus(const JsonObject& a, const JsonObject& b) {
  JsonObject out;
  for (const auto& [key, value] : a) {
    const auto* other = b.if_contains(key);
    if (!other) {
      out[key] = value;
      continue;
    }
    if (value.get_object().empty()) continue;
    auto rest = minus(value.get_object(), other->get_object());
    if (!rest.empty()) out[key] = std::move(rest);
  }
  return out;
}
void add(JsonObject& a, const JsonObject& b) {
  for (const auto& [key, value] : b) {
    auto& mine = a[key];
    if (!mine.is_object()) mine.emplace_object();
    add(mine.get_object(), value.get_object());
  }
}
// Well-formed sets are objects of objects; what a client may have written otherwise is dropped.
bool is_field_set(const Json& value, int depth = 0) {
  if (!value.is_object() || depth > 64) return false;
  return std::ranges::all_of(value.get_object(),
                             [&](const auto& m) { return is_field_set(m.value(), depth + 1); });
}

void merge(Json& live, const Json& applied, const Json* schema) {
  if (applied.is_object()) {
    if (!live.is_object()) live.emplace_object();
    for (const auto& [key, value] : applied.get_object())
      merge(live.get_object()[key], value, schema_member(schema, std::string_view(key)));
    return;
  }
  const auto keys = list_keys(schema);
  if (applied.is_array() && live.is_array() && !keys.empty()) {
    auto& list = live.get_array();
    auto known = index_of(&live, keys);
    for (const auto& element : applied.get_array()) {
      const auto [at, is_new] = known.try_emplace(element_key(element, keys), list.size());
      if (is_new)
        list.push_back(element);
      else
        merge(list[at->second], element, items_of(schema));
    }
    return;
  }
  live = applied;
}

void erase_fields(Json& live, const JsonObject& gone, const Json* schema) {
  const auto elements = index_of(&live, list_keys(schema));
  std::unordered_set<std::size_t> erased;
  for (const auto& [key, below] : gone) {
    const std::string_view name = key;
    if (name.starts_with("f:") && live.is_object()) {
      auto& object = live.get_object();
      auto* member = object.if_contains(name.substr(2));
      if (!member) continue;
      if (!below.get_object().empty())
        erase_fields(*member, below.get_object(), schema_member(schema, name.substr(2)));
      const bool emptied = (member->is_object() && member->get_object().empty()) ||
                           (member->is_array() && member->get_array().empty());
      if (below.get_object().empty() || emptied) object.erase(name.substr(2));
    } else if (const auto element = elements.find(std::string(name)); element != elements.end()) {
      if (name.starts_with("v:") || below.get_object().contains("."))
        erased.insert(element->second);
      else
        erase_fields(live.get_array()[element->second], below.get_object(), items_of(schema));
    }
  }
  if (erased.empty()) return;
  JsonArray kept;
  for (std::size_t at = 0; at < live.get_array().size(); ++at)
    if (!erased.contains(at)) kept.push_back(std::move(live.get_array()[at]));
  live = std::move(kept);
}

// Paths that both sets hold where the applied value is not the live one; answers them as a set, too.
JsonObject find_conflicts(const JsonObject& ours, const JsonObject& theirs, const Json* live,
                          const Json* applied, const Json* schema, const std::string& path,
                          std::vector<std::string>& out) {
  JsonObject taken;
  const auto keys = list_keys(schema);
  const auto live_index = index_of(live, keys), applied_index = index_of(applied, keys);
  for (const auto& [key, below] : ours) {
    const auto* other = theirs.if_contains(key);
    const std::string_view name = key;
    if (!other || name == ".") continue;
    const Json* live_child = nullptr;
    const Json* applied_child = nullptr;
    const Json* child_schema = nullptr;
    auto child_path = path;
    if (name.starts_with("f:")) {
      child_schema = schema_member(schema, name.substr(2));
      if (live) live_child = find_path(*live, {name.substr(2)});
      if (applied) applied_child = find_path(*applied, {name.substr(2)});
      child_path += fmt::format(".{}", name.substr(2));
    } else {
      child_schema = items_of(schema);
      live_child = find_in(live, live_index, name);
      applied_child = find_in(applied, applied_index, name);
      child_path += fmt::format("[{}]", name.substr(2));
    }
    if (below.get_object().empty() || other->get_object().empty()) {
      // Naming an object without naming members claims none of them.
      const bool only_named =
          live_child && applied_child && live_child->is_object() && applied_child->is_object();
      if (!only_named && (!live_child || !applied_child || *live_child != *applied_child)) {
        out.push_back(child_path);
        taken[key] = *other;
      }
    } else {
      auto inner = find_conflicts(below.get_object(), other->get_object(), live_child, applied_child,
                                  child_schema, child_path, out);
      if (!inner.empty()) taken[key] = std::move(inner);
    }
  }
  return taken;
}

// The leaves in which two values differ.
JsonObject changed_fields(const Json& before, const Json& after, const Json* schema) {
  JsonObject out;
  if (before.is_object() && after.is_object()) {
    for (const auto& [key, value] : after.get_object()) {
      const auto* old_value = before.get_object().if_contains(key);
      const auto* child_schema = schema_member(schema, std::string_view(key));
      if (!old_value) {
        out["f:" + std::string(key)] = fields_of(value, child_schema);
      } else if (*old_value != value) {
        out["f:" + std::string(key)] = changed_fields(*old_value, value, child_schema);
      }
    }
    for (const auto& [key, value] : before.get_object())
      if (!after.get_object().contains(key))
        out["f:" + std::string(key)] = fields_of(value, schema_member(schema, std::string_view(key)));
    return out;
  }
  const auto keys = list_keys(schema);
  if (keys.empty() || !before.is_array() || !after.is_array()) return out;
  const auto old_index = index_of(&before, keys), new_index = index_of(&after, keys);
  for (const auto& element : after.get_array()) {
    const auto key = element_key(element, keys);
    const auto* old_element = find_in(&before, old_index, key);
    if (old_element && *old_element == element) continue;
    out[key] = old_element ? changed_fields(*old_element, element, items_of(schema))
                           : fields_of(element, items_of(schema));
    if (!old_element && !keys.is_set) out[key].get_object()["."] = JsonObject();
  }
  for (const auto& element : before.get_array())
    if (const auto key = element_key(element, keys); !new_index.contains(key)) {
      out[key] = fields_of(element, items_of(schema));
      if (!keys.is_set) out[key].get_object()["."] = JsonObject();
    }
  return out;
}

// The fields of `last` that still are what `live` holds.
JsonObject agreed_fields(const Json& last, const Json& live, const Json* schema) {
  JsonObject out;
  const auto keep = [&out](std::string name, const Json& mine, const Json& theirs, const Json* child_schema) {
    if (mine == theirs) {
      out[name] = fields_of(mine, child_schema);
    } else if (auto inner = agreed_fields(mine, theirs, child_schema); !inner.empty()) {
      out[name] = std::move(inner);
    }
  };
  if (last.is_object() && live.is_object()) {
    for (const auto& [key, value] : last.get_object())
      if (const auto* other = live.get_object().if_contains(key))
        keep("f:" + std::string(key), value, *other, schema_member(schema, std::string_view(key)));
  } else if (const auto keys = list_keys(schema); !keys.empty() && last.is_array() && live.is_array()) {
    const auto index = index_of(&live, keys);
    for (const auto& mine : last.get_array()) {
      const auto key = element_key(mine, keys);
      if (const auto* theirs = find_in(&live, index, key)) keep(key, mine, *theirs, items_of(schema));
    }
  }
  return out;
}

// What `kubectl apply` without --server-side wrote last, as far as it still stands: its later server-side
// self may take it over without force (as kube-apiserver's last-applied manager allows).
JsonObject last_applied_fields(const Json& live, const Json* schema) {
  const auto* text =
      find_path(live, {"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"});
  if (!text || !text->is_string()) return {};
  const auto last =
      parse_json(std::string_view(text->get_string()), {.bytes_max = 1u << 20, .depth_max = 64});
  return last && last->is_object() ? agreed_fields(*last, live, schema) : JsonObject();
}

// What nobody manages: identity, and what the server keeps.
Json manageable(Json object) {
  auto& members = object.get_object();
  members.erase("apiVersion");
  members.erase("kind");
  if (auto* metadata = members.if_contains("metadata"); metadata && metadata->is_object()) {
    auto& m = metadata->get_object();
    for (const auto* key :
         {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
          "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "generateName", "selfLink"})
      m.erase(key);
    if (m.empty()) members.erase("metadata");
  }
  return object;
}

Json wished(const Json& object) {
  auto out = manageable(object);
  out.get_object().erase("status");
  return out;
}

JsonArray managers_of(const Json& object) {
  JsonArray out;
  if (const auto* list = find_path(object, {"metadata", "managedFields"}); list && list->is_array())
    for (const auto& entry : list->get_array())
      if (const auto* fields = find_path(entry, {"fieldsV1"}); fields && is_field_set(*fields))
        out.push_back(entry);
  return out;
}
JsonObject& fields_of_entry(Json& entry) { return entry.get_object()["fieldsV1"].get_object(); }

Json manager_entry(const api::KindEntry& kind, std::string_view manager, std::string_view operation,
                   std::string_view subresource, JsonObject fields, WallTime now) {
  JsonObject out{
      {"manager", manager},          {"operation", operation},   {"apiVersion", kind.api_version()},
      {"time", format_rfc3339(now)}, {"fieldsType", "FieldsV1"}, {"fieldsV1", std::move(fields)}};
  if (!subresource.empty()) out["subresource"] = subresource;
  return out;
}

void drop_empty_managers(JsonArray& managers) {
  JsonArray kept;
  for (auto& entry : managers)
    if (!fields_of_entry(entry).empty()) kept.push_back(std::move(entry));
  managers = std::move(kept);
}

}  // namespace

Outcome<Json> apply_configuration(const api::KindEntry& kind, const Json* live, const Json& applied,
                                  std::string_view manager, bool force, WallTime now) {
  if (!applied.is_object())
    return bad_request("api.apply.shape", "the applied configuration must be one object");
  if (get_string(applied, "apiVersion") != kind.api_version() || get_string(applied, "kind") != kind.kind)
    return bad_request("api.apply.kind",
                       fmt::format("the applied configuration must carry apiVersion {} and kind {}",
                                   kind.api_version(), kind.kind));
  if (const auto* managed = find_path(applied, {"metadata", "managedFields"}); managed && !managed->is_null())
    return bad_request("api.apply.managed_fields",
                       "metadata.managedFields must be nil: the server keeps them; leave them out of what is "
                       "applied");
  Json wanted = applied;
  drop_nulls(wanted);
  const Json* schema = &kind.schema;
  const auto ours = fields_of(manageable(wanted), schema);
  Json object = live ? *live : Json(JsonObject());
  auto managers = live ? managers_of(*live) : JsonArray();
  // What stood there before anybody kept track belongs to somebody, if to nobody in particular.
  if (live && managers.empty())
    managers.push_back(
        manager_entry(kind, kBeforeFirstApply, "Update", "", fields_of(wished(*live), schema), now));
  JsonObject previous;
  JsonObject others;
  std::vector<std::pair<std::string, std::string>> conflicts;
  const auto own_past = live && manager == "kubectl" ? last_applied_fields(*live, schema) : JsonObject();
  for (auto& entry : managers) {
    auto& fields = fields_of_entry(entry);
    if (get_string(entry, "operation") == "Apply" && get_string(entry, "manager") == manager &&
        get_string(entry, "subresource").empty()) {
      previous = fields;
      fields.clear();
      continue;
    }
    std::vector<std::string> paths;
    const auto taken = find_conflicts(ours, fields, live, &wanted, schema, "", paths);
    const bool is_own = !own_past.empty() && minus(taken, own_past).empty();
    if (!is_own)
      for (auto& path : paths) conflicts.emplace_back(get_string(entry, "manager"), std::move(path));
    if (force || is_own) fields = minus(fields, taken);
    add(others, fields);
  }
  if (!conflicts.empty() && !force) {
    Failure failure(Error{Code::kAborted, "api.apply.conflict", {}, {}});
    auto& message = failure.error.message;
    message =
        fmt::format("Apply failed with {} conflict{}:", conflicts.size(), conflicts.size() == 1 ? "" : "s");
    for (const auto& [who, path] : conflicts) {
      const auto text = fmt::format("conflict with \"{}\" using {}", who, kind.api_version());
      message += fmt::format(" {}: {}", text, path);
      failure.causes.push_back(
          JsonObject{{"reason", "FieldManagerConflict"}, {"message", text}, {"field", path}});
    }
    return std::unexpected(std::move(failure));
  }
  erase_fields(object, minus(minus(previous, ours), others), schema);
  if (auto* metadata = wanted.get_object().if_contains("metadata"); metadata && metadata->is_object())
    metadata->get_object().erase("managedFields");
  merge(object, wanted, schema);
  managers.push_back(manager_entry(kind, manager, "Apply", "", ours, now));
  drop_empty_managers(managers);
  metadata_of(object)["managedFields"] = std::move(managers);
  return object;
}

void record_create(const api::KindEntry& kind, Json& object, std::string_view manager, WallTime now) {
  metadata_of(object)["managedFields"] =
      JsonArray{manager_entry(kind, manager, "Update", "", fields_of(wished(object), &kind.schema), now)};
}

void record_update(const api::KindEntry& kind, const Json& before, Json& after, std::string_view manager,
                   std::string_view subresource, WallTime now) {
  // The object's own list: a client may have rewritten it, as kubectl does when it moves to server-side
  // apply.
  auto managers = managers_of(after);
  if (managers.empty()) {
    metadata_of(after).erase("managedFields");
    return;
  }
  const auto changed = changed_fields(manageable(before), manageable(after), &kind.schema);
  if (changed.empty()) return;
  JsonObject mine;
  for (auto& entry : managers) {
    auto& fields = fields_of_entry(entry);
    if (get_string(entry, "operation") == "Update" && get_string(entry, "manager") == manager &&
        get_string(entry, "subresource") == subresource) {
      mine = std::move(fields);
      fields = {};
    } else {
      fields = minus(fields, changed);
    }
  }
  add(mine, changed);
  // What the update removed belongs to nobody any more.
  const auto present = fields_of(manageable(after), &kind.schema);
  mine = minus(mine, minus(mine, present));
  managers.push_back(manager_entry(kind, manager.empty() ? "unknown" : manager, "Update", subresource,
                                   std::move(mine), now));
  drop_empty_managers(managers);
  metadata_of(after)["managedFields"] = std::move(managers);
}

}  // namespace neap::apiserver
