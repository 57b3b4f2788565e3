#include "neap/api/openapi.h"

#include <fmt/format.h>

#include <map>

#include "neap/api/patch_keys.h"

namespace neap::api {
namespace {

constexpr std::string_view kObjectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
constexpr std::string_view kListMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
constexpr std::string_view kJson = "application/json";

// "neap.dev" -> "dev.neap": component names read from the general to the special, as in Java packages.
std::string component_name(const KindEntry& kind) {
  std::string prefix;
  std::string_view rest = kind.group;
  while (!rest.empty()) {
    const auto dot = rest.rfind('.');
    const auto part = dot == std::string_view::npos ? rest : rest.substr(dot + 1);
    prefix += fmt::format("{}.", part);
    rest = dot == std::string_view::npos ? std::string_view{} : rest.substr(0, dot);
  }
  if (prefix.empty()) prefix = "core.";
  return fmt::format("{}{}.{}", prefix, kind.version, kind.kind);
}

JsonObject reference(std::string_view component) {
  JsonObject out;
  out["$ref"] = fmt::format("#/components/schemas/{}", component);
  return out;
}
JsonObject schema_content(std::initializer_list<std::string_view> media_types, std::string_view component) {
  JsonObject content;
  for (const auto type : media_types) {
    JsonObject entry;
    if (component.empty())
      entry["schema"] = JsonObject{{"type", "object"}};
    else
      entry["schema"] = reference(component);
    content[type] = std::move(entry);
  }
  JsonObject out;
  out["content"] = std::move(content);
  return out;
}

JsonObject parameter(std::string_view name, std::string_view in, std::string_view type,
                     std::string_view doc) {
  JsonObject out;
  out["name"] = name;
  out["in"] = in;
  if (in == "path") out["required"] = true;
  out["description"] = doc;
  out["schema"] = JsonObject{{"type", boost::json::string_view(type.data(), type.size())}};
  return out;
}

JsonArray write_parameters() {
  return JsonArray{parameter("dryRun", "query", "string", "All: validate and admit, store nothing."),
                   parameter("fieldManager", "query", "string", "Name of whoever makes this change."),
                   parameter("fieldValidation", "query", "string",
                             "Ignore, Warn or Strict: what to do about unknown fields.")};
}
JsonArray list_parameters() {
  return JsonArray{
      parameter("labelSelector", "query", "string", "Only objects with these labels."),
      parameter("fieldSelector", "query", "string", "Only objects with these fields."),
      parameter("limit", "query", "integer", "Most objects in one answer."),
      parameter("continue", "query", "string", "Where the last answer ended."),
      parameter("resourceVersion", "query", "string", "Version to list at or watch from."),
      parameter("watch", "query", "boolean", "Stream changes instead of listing."),
      parameter("allowWatchBookmarks", "query", "boolean", "Send the position from time to time."),
      parameter("timeoutSeconds", "query", "integer", "End the watch after this time.")};
}

// Tells clients that compute strategic merge patches themselves how the server merges.
void add_patch_keys(Json& schema, bool in_container) {
  if (auto* items = schema.is_object() ? schema.get_object().if_contains("items") : nullptr)
    add_patch_keys(*items, in_container);
  auto* properties = schema.is_object() ? schema.get_object().if_contains("properties") : nullptr;
  if (!properties || !properties->is_object()) return;
  for (auto& [key, value] : properties->get_object()) {
    const std::string_view name = key;
    add_patch_keys(value, in_container || name == "containers" || name == "initContainers");
    if (get_string(value, "type") != "array") continue;
    const auto merge_key = patch_merge_key(name, in_container);
    if (merge_key) value.get_object()["x-kubernetes-patch-merge-key"] = *merge_key;
    if (merge_key || is_patch_set(name)) value.get_object()["x-kubernetes-patch-strategy"] = "merge";
  }
}

class GroupDocument {
 public:
  GroupDocument(std::string group, std::string version)
      : group_(std::move(group)), version_(std::move(version)) {}

  std::string path() const {
    return group_.empty() ? fmt::format("api/{}", version_) : fmt::format("apis/{}/{}", group_, version_);
  }

  void add(const KindEntry& kind) {
    const std::string component = component_name(kind);
    Json schema = kind.schema;
    if (!kind.group.ends_with("neap.dev")) add_patch_keys(schema, false);
    Json& metadata = schema.at("properties").at("metadata");
    if (!schemas_.contains(kObjectMeta)) {
      Json meta = metadata;
      meta.get_object()["description"] = "Name, labels and what the server keeps of every object.";
      schemas_[kObjectMeta] = std::move(meta);
      JsonObject list_meta;
      list_meta["type"] = "object";
      list_meta["properties"] =
          JsonObject{{"resourceVersion", JsonObject{{"type", "string"}}},
                     {"continue", JsonObject{{"type", "string"}}},
                     {"remainingItemCount", JsonObject{{"type", "integer"}, {"format", "int64"}}}};
      schemas_[kListMeta] = std::move(list_meta);
    }
    JsonObject meta_reference;
    meta_reference["description"] = "Name, labels and what the server keeps.";
    meta_reference["allOf"] = JsonArray{reference(kObjectMeta)};
    metadata = std::move(meta_reference);
    schemas_[component] = std::move(schema);

    JsonObject items;
    items["type"] = "array";
    items["items"] = reference(component);
    JsonObject list;
    list["type"] = "object";
    list["properties"] = JsonObject{{"apiVersion", JsonObject{{"type", "string"}}},
                                    {"kind", JsonObject{{"type", "string"}}},
                                    {"metadata", reference(kListMeta)},
                                    {"items", std::move(items)}};
    list["required"] = JsonArray{"items"};
    schemas_[component + "List"] = std::move(list);
    add_paths(kind, component);
  }

  std::string text() && {
    JsonObject info;
    info["title"] = "Neap";
    info["version"] = version_;
    JsonObject components;
    components["schemas"] = std::move(schemas_);
    JsonObject out;
    out["openapi"] = "3.0.0";
    out["info"] = std::move(info);
    out["paths"] = std::move(paths_);
    out["components"] = std::move(components);
    return to_text(Json(std::move(out)));
  }

 private:
  static JsonObject operation(const KindEntry& kind, std::string_view action, std::string_view answer,
                              JsonArray parameters) {
    JsonObject gvk;
    gvk["group"] = kind.group;
    gvk["kind"] = kind.kind;
    gvk["version"] = kind.version;
    JsonObject ok = schema_content({kJson}, answer);
    ok["description"] = "OK";
    JsonObject responses;
    responses[action == "post" ? "201" : "200"] = std::move(ok);
    JsonObject out;
    out["operationId"] =
        fmt::format("{}{}{}{}", action, kind.version, kind.kind, answer.ends_with("List") ? "List" : "");
    if (!parameters.empty()) out["parameters"] = std::move(parameters);
    out["responses"] = std::move(responses);
    out["x-kubernetes-action"] = action;
    out["x-kubernetes-group-version-kind"] = std::move(gvk);
    return out;
  }

  void add_paths(const KindEntry& kind, const std::string& component) {
    const std::string root = fmt::format("/{}/", path());
    const std::string collection = kind.namespaced
                                       ? fmt::format("{}namespaces/{{namespace}}/{}", root, kind.plural)
                                       : root + kind.plural;
    JsonArray at_collection;
    if (kind.namespaced) at_collection.push_back(parameter("namespace", "path", "string", "The project."));
    JsonArray at_item = at_collection;
    at_item.push_back(parameter("name", "path", "string", "Name of the object."));

    JsonObject post = operation(kind, "post", component, write_parameters());
    post["requestBody"] = schema_content({kJson, "application/yaml"}, component);
    JsonObject of_collection;
    of_collection["get"] = operation(kind, "list", component + "List", list_parameters());
    of_collection["post"] = std::move(post);
    if (!at_collection.empty()) of_collection["parameters"] = at_collection;
    paths_[collection] = std::move(of_collection);
    if (kind.namespaced) {
      JsonObject everywhere;
      everywhere["get"] = operation(kind, "list", component + "List", list_parameters());
      paths_[root + kind.plural] = std::move(everywhere);
    }
    const auto item_operations = [&](bool with_delete) {
      JsonObject put = operation(kind, "put", component, write_parameters());
      put["requestBody"] = schema_content({kJson, "application/yaml"}, component);
      JsonArray patch_parameters = write_parameters();
      patch_parameters.push_back(
          parameter("force", "query", "boolean", "Take over fields of other managers in an apply."));
      JsonObject patch = operation(kind, "patch", component, std::move(patch_parameters));
      patch["requestBody"] = schema_content(
          {"application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"},
          "");
      JsonObject out;
      out["get"] = operation(kind, "get", component, {});
      out["put"] = std::move(put);
      out["patch"] = std::move(patch);
      if (with_delete)
        out["delete"] = operation(kind, "delete", "",
                                  JsonArray{parameter("dryRun", "query", "string", "All: change nothing.")});
      out["parameters"] = at_item;
      return out;
    };
    paths_[collection + "/{name}"] = item_operations(true);
    if (kind.has_status) paths_[collection + "/{name}/status"] = item_operations(false);
  }

  std::string group_, version_;
  JsonObject paths_, schemas_;
};

// FNV-1a: tells two texts apart in a cache, nothing more.
std::string text_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return fmt::format("{:016X}", hash);
}

}  // namespace

OpenApi::OpenApi(const KindTable& kinds) {
  std::map<std::pair<std::string, std::string>, GroupDocument> groups;
  for (const auto& kind : kinds.all())
    groups.try_emplace({kind.group, kind.version}, kind.group, kind.version).first->second.add(kind);
  JsonObject paths;
  for (auto& [key, group] : groups) {
    Document document;
    document.path = group.path();
    document.text = std::move(group).text();
    document.hash = text_hash(document.text);
    JsonObject entry;
    entry["serverRelativeURL"] = fmt::format("/openapi/v3/{}?hash={}", document.path, document.hash);
    paths[document.path] = std::move(entry);
    documents_.push_back(std::move(document));
  }
  JsonObject index;
  index["paths"] = std::move(paths);
  index_ = to_text(Json(std::move(index)));
}

const OpenApi& OpenApi::standard() {
  static const OpenApi documents(KindTable::standard());
  return documents;
}

const OpenApi::Document* OpenApi::find(std::string_view path) const {
  for (const auto& document : documents_)
    if (document.path == path) return &document;
  return nullptr;
}

}  // namespace neap::api
