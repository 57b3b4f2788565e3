// OpenAPI v2 as clients before Kubernetes 1.27 read it: a gnostic Document in protobuf
// (google/gnostic-models, openapiv2/OpenAPIv2.proto). Schemas are the v3 ones; of the paths only the PATCH
// operations are listed, which is where clients look for the parameters a kind takes.
#include <fmt/format.h>

#include "neap/api/openapi.h"

namespace neap::api {
namespace {

class Message {
 public:
  void text(int id, std::string_view value) {
    varint(std::uint64_t(id) << 3 | 2);
    varint(value.size());
    out_ += value;
  }
  void flag(int id, bool value) {
    varint(std::uint64_t(id) << 3);
    varint(value ? 1 : 0);
  }
  void message(int id, const Message& value) { text(id, value.out_); }
  std::string take() && { return std::move(out_); }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += char(std::uint8_t(value) | 0x80);
    out_ += char(value);
  }
  std::string out_;
};

std::string_view view(const Json& value) {
  return value.is_string() ? std::string_view(value.get_string()) : std::string_view();
}

// NamedAny{1: name, 2: Any{2: YAML}}; JSON is YAML.
Message named_any(std::string_view name, const Json& value) {
  Message any, out;
  any.text(2, to_text(value));
  out.text(1, name);
  out.message(2, any);
  return out;
}

Message schema_message(const Json& schema);

// {1: name, 2: schema}
Message named_schema(std::string_view name, const Json& schema) {
  Message out;
  out.text(1, name);
  out.message(2, schema_message(schema));
  return out;
}

Message properties_message(const JsonObject& properties) {
  Message out;
  for (const auto& [key, value] : properties) out.message(1, named_schema(key, value));
  return out;
}

std::string v2_reference(std::string_view reference) {
  constexpr std::string_view kFrom = "#/components/schemas/";
  return fmt::format("#/definitions/{}",
                     reference.starts_with(kFrom) ? reference.substr(kFrom.size()) : reference);
}

Message schema_message(const Json& schema) {
  Message out;
  const auto* members = schema.if_object();
  if (!members) return out;
  const auto* reference = members->if_contains("$ref");
  // v2 readers know no allOf: a reference beside a description stands directly.
  if (const auto* all = members->if_contains("allOf"); !reference && all && all->is_array())
    reference = all->get_array().empty() ? nullptr : find_path(all->get_array().front(), {"$ref"});
  if (reference) out.text(1, v2_reference(view(*reference)));
  if (const auto format = get_string(schema, "format"); !format.empty()) out.text(2, format);
  if (const auto text = get_string(schema, "description"); !text.empty()) out.text(4, text);
  if (const auto* required = members->if_contains("required"); required && required->is_array())
    for (const auto& name : required->get_array()) out.text(19, view(name));
  if (const auto* more = members->if_contains("additionalProperties"); more && more->is_object()) {
    Message item;
    item.message(1, schema_message(*more));
    out.message(21, item);
  }
  auto type = get_string(schema, "type");
  if (get_bool(schema, "x-kubernetes-int-or-string")) type = "string";
  if (!type.empty()) {
    Message item;
    item.text(1, type);
    out.message(22, item);
  }
  if (const auto* items = members->if_contains("items")) {
    Message item;
    item.message(1, schema_message(*items));
    out.message(23, item);
  }
  if (const auto* properties = members->if_contains("properties"); properties && properties->is_object())
    out.message(25, properties_message(properties->get_object()));
  for (const auto& [key, value] : *members)
    if (std::string_view(key).starts_with("x-kubernetes-")) out.message(31, named_any(key, value));
  return out;
}

// ParametersItem{1: Parameter{2: NonBodyParameter{3: QueryParameterSubSchema}}}
Message query_parameter(std::string_view name) {
  Message query, non_body, parameter, item;
  query.text(2, "query");
  query.text(4, name);
  query.text(6, "string");
  non_body.message(3, query);
  parameter.message(2, non_body);
  item.message(1, parameter);
  return item;
}

Message patch_path(std::string_view path, const KindEntry& kind) {
  Message operation, item, out;
  operation.text(5, fmt::format("patch{}{}{}", kind.group, kind.version, kind.kind));
  for (const auto* name : {"dryRun", "fieldManager", "fieldValidation"})
    operation.message(8, query_parameter(name));
  operation.message(13, named_any("x-kubernetes-action", Json("patch")));
  operation.message(
      13, named_any("x-kubernetes-group-version-kind",
                    JsonObject{{"group", kind.group}, {"kind", kind.kind}, {"version", kind.version}}));
  item.message(8, operation);
  out.text(1, path);
  out.message(2, item);
  return out;
}

}  // namespace

std::string openapi_v2(const KindTable& kinds, const OpenApi& documents) {
  Message info, paths, definitions, out;
  info.text(1, "Neap");
  info.text(2, "v1");
  for (const auto& kind : kinds.all()) {
    const auto root = kind.group.empty() ? fmt::format("/api/{}/", kind.version)
                                         : fmt::format("/apis/{}/{}/", kind.group, kind.version);
    paths.message(2, patch_path(fmt::format("{}{}{}/{{name}}", root,
                                            kind.namespaced ? "namespaces/{namespace}/" : "", kind.plural),
                                kind));
  }
  JsonObject schemas;
  for (const auto& document : documents.all())
    if (const auto parsed = parse_json(document.text))
      if (const auto* all = find_path(*parsed, {"components", "schemas"}); all && all->is_object())
        for (const auto& [key, value] : all->get_object()) schemas[key] = value;
  for (const auto& [key, value] : schemas) definitions.message(1, named_schema(key, value));
  out.text(1, "2.0");
  out.message(2, info);
  out.message(8, paths);
  out.message(9, definitions);
  return std::move(out).take();
}

}  // namespace neap::api
