#include "internal/table.h"

#include <fmt/format.h>

#include "neap/api/printing.h"

namespace neap::apiserver {

Json table_of(const api::KindEntry& kind, std::vector<Json> objects, Revision revision,
              std::string_view continue_token, std::string_view include, WallTime now) {
  using Rows = api::TableOptions::Rows;
  JsonArray items;
  items.reserve(objects.size());
  for (auto& object : objects) items.push_back(std::move(object));
  JsonObject metadata{{"resourceVersion", fmt::format("{}", to_number(revision))}};
  if (!continue_token.empty()) metadata["continue"] = continue_token;
  const Json list = JsonObject{{"kind", kind.kind + "List"},
                               {"apiVersion", kind.api_version()},
                               {"metadata", std::move(metadata)},
                               {"items", std::move(items)}};
  api::TableOptions options;
  options.now = now;
  options.rows = include == "Object" ? Rows::kObject : include == "None" ? Rows::kNothing : Rows::kMetadata;
  return api::to_table(kind, list, options);
}

Json table_of_bookmark(const Json& bookmark) {
  const auto* metadata = find_path(bookmark, {"metadata"});
  return JsonObject{
      {"kind", "Table"},
      {"apiVersion", "meta.k8s.io/v1"},
      {"metadata", JsonObject{{"resourceVersion", metadata ? get_string(*metadata, "resourceVersion") : ""}}},
      {"columnDefinitions", JsonArray()},
      {"rows", JsonArray{JsonObject{{"cells", JsonArray()}, {"object", bookmark}}}}};
}

Json partial_of(const Json& object) {
  const auto* metadata = find_path(object, {"metadata"});
  return JsonObject{{"kind", "PartialObjectMetadata"},
                    {"apiVersion", "meta.k8s.io/v1"},
                    {"metadata", metadata ? *metadata : Json(JsonObject())}};
}

Json scale_of(const api::KindEntry&, const Json& object) {
  JsonObject metadata;
  if (const auto* from = find_path(object, {"metadata"}); from && from->is_object())
    for (const auto* key : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
      if (const auto* value = from->get_object().if_contains(key)) metadata[key] = *value;
  const auto number = [&](std::string_view part) {
    const auto* at = find_path(object, {part});
    return at ? get_int(*at, "replicas") : 0;
  };
  std::string selector;
  if (const auto* labels = find_path(object, {"spec", "selector", "matchLabels"});
      labels && labels->is_object())
    for (const auto& [key, value] : labels->get_object())
      if (value.is_string())
        selector += (selector.empty() ? "" : ",") + std::string(key) + "=" + std::string(value.get_string());
  return JsonObject{{"kind", "Scale"},
                    {"apiVersion", "autoscaling/v1"},
                    {"metadata", std::move(metadata)},
                    {"spec", JsonObject{{"replicas", number("spec")}}},
                    {"status", JsonObject{{"replicas", number("status")}, {"selector", selector}}}};
}

}  // namespace neap::apiserver
