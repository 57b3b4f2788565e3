#include <fmt/format.h>

#include "neap/api/openapi.h"

namespace neap::api {
namespace {

std::string type_word(const Json& schema) {
  if (get_bool(schema, "x-kubernetes-int-or-string")) return "quantity";
  if (get_bool(schema, "x-kubernetes-preserve-unknown-fields")) return "anything";
  const auto type = get_string(schema, "type");
  if (type == "array") return "list of " + type_word(schema.at("items"));
  if (const Json* element = find_path(schema, {"additionalProperties"}))
    return "map of " + type_word(*element);
  if (const Json* names = find_path(schema, {"enum"})) {
    std::string out;
    for (const auto& name : names->get_array())
      out += fmt::format("{}`{}`", out.empty() ? "" : ", ",
                         std::string_view(name.get_string().data(), name.get_string().size()));
    return out;
  }
  const auto format = get_string(schema, "format");
  if (format == "date-time") return "time";
  if (format == "duration") return "duration";
  if (type == "object") return "object";
  return std::string(type);
}

// The object schema inside lists and maps.
const Json* inner_object(const Json& schema) {
  if (find_path(schema, {"properties"})) return &schema;
  for (const auto step : {"items", "additionalProperties"})
    if (const Json* inner = find_path(schema, {step})) return inner_object(*inner);
  return nullptr;
}

void add_fields(std::string& out, const Json& schema, const std::string& prefix) {
  const Json* properties = find_path(schema, {"properties"});
  if (!properties) return;
  const Json* required = find_path(schema, {"required"});
  for (const auto& member : properties->get_object()) {
    const std::string name(member.key());
    const Json& field = member.value();
    bool is_required = false;
    if (required)
      for (const auto& r : required->get_array()) is_required = is_required || r == boost::json::string(name);
    std::string notes(get_string(field, "description"));
    if (const Json* value = find_path(field, {"default"}))
      notes += fmt::format(" Default: `{}`.", to_text(*value));
    for (const auto bound : {"minimum", "maximum"})
      if (const Json* value = find_path(field, {bound}))
        notes +=
            fmt::format(" {}: {}.", std::string_view(bound) == "minimum" ? "Least" : "Most", to_text(*value));
    const std::string path = prefix + name;
    const Json* inner = inner_object(field);
    out += fmt::format("| `{}` | {} | {} | {} |\n", path, type_word(field), is_required ? "yes" : "", notes);
    if (inner) add_fields(out, *inner, path + (&field == inner ? "." : "[]."));
  }
}

}  // namespace

std::string reference_page(const KindTable& kinds) {
  std::string out =
      "# API reference\n\n"
      "Generated from the resource types; do not edit. Every kind also has `apiVersion`, `kind` and "
      "`metadata`.\n"
      "Quantities are numbers with an optional suffix (`500m`, `2`, `4Gi`), durations are like `20ms` or "
      "`5m`, times are RFC 3339.\n";
  for (const auto& kind : kinds.all()) {
    out += fmt::format("\n## {} ({})\n\n{}\n\nPath: `{}/{}{}`.", kind.kind, kind.api_version(), kind.doc,
                       kind.group.empty() ? "/api/" + kind.version : "/apis/" + kind.api_version(),
                       kind.namespaced ? "namespaces/NAMESPACE/" : "", kind.plural);
    if (!kind.short_names.empty()) out += fmt::format(" Short: `{}`.", fmt::join(kind.short_names, "`, `"));
    if (!kind.selectable_fields.empty())
      out += fmt::format(" Field selectors: `{}`.", fmt::join(kind.selectable_fields, "`, `"));
    out += "\n\n| field | type | required | meaning |\n|---|---|---|---|\n";
    Json body = kind.schema;
    auto& properties = body.at("properties").get_object();
    for (const auto name : {"apiVersion", "kind", "metadata"}) properties.stable_erase(name);
    add_fields(out, body, "");
  }
  return out;
}

}  // namespace neap::api
