#include "internal/discovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "internal/request.h"
#include "neap/crypto/digest.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kOpenApiV2Type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
constexpr std::string_view kOpenApiV3 = "/openapi/v3";

bool is_review(const api::KindEntry& kind) {
  return find_review_kind(kind.group, kind.version, kind.plural) != nullptr;
}

JsonArray verbs_of(const api::KindEntry& kind) {
  if (is_review(kind)) return {"create"};
  if (!kind.view_of.empty()) return {"get", "list", "watch"};
  if (kind.group.empty() && kind.plural == "namespaces")
    return {"create", "delete", "get", "list", "patch", "update", "watch"};
  return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
}

JsonArray subresource_verbs(const api::KindEntry& kind, std::string_view name) {
  if (name == "token") return {"create"};
  if (name == "exec" || name == "attach" || name == "portforward") return {"create", "get"};
  if (kind.view_of.empty() && (name == "status" || name == "scale")) return {"get", "patch", "update"};
  return {"get"};
}

JsonArray words(const std::vector<std::string>& list) {
  JsonArray out;
  for (const auto& word : list) out.emplace_back(word);
  return out;
}

// The aggregated version the client takes first; empty when it takes none.
std::string_view aggregated_version(std::string_view accept) {
  while (!accept.empty()) {
    const auto comma = accept.find(',');
    const auto part = accept.substr(0, comma);
    accept = comma == std::string_view::npos ? std::string_view() : accept.substr(comma + 1);
    const auto has = [&](std::string_view parameter) {
      const auto at = part.find(parameter);
      return at != std::string_view::npos &&
             (at + parameter.size() == part.size() || part[at + parameter.size()] == ';');
    };
    if (part.find(kJson) == std::string_view::npos || !has(";g=apidiscovery.k8s.io") ||
        !has(";as=APIGroupDiscoveryList")) {
      // Plain JSON ahead of the others is a wish, too.
      if (part.find(kJson) != std::string_view::npos && part.find(";g=") == std::string_view::npos) return {};
      continue;
    }
    if (has(";v=v2")) return "v2";
    if (has(";v=v2beta1")) return "v2beta1";
  }
  return {};
}

std::string version_text(std::string_view version) {
  const auto digits = version.starts_with('v') ? version.substr(1) : version;
  const auto dot = digits.find('.');
  const auto second = dot == std::string_view::npos ? dot : digits.find('.', dot + 1);
  return to_text(
      JsonObject{{"major", digits.substr(0, dot)},
                 {"minor", dot == std::string_view::npos ? "0" : digits.substr(dot + 1, second - dot - 1)},
                 {"gitVersion", version},
                 {"gitCommit", ""},
                 {"gitTreeState", "clean"},
                 {"buildDate", "1970-01-01T00:00:00Z"},
                 {"goVersion", ""},
                 {"compiler", "clang"},
                 {"platform", "linux/amd64"}});
}

}  // namespace

std::vector<Discovery::GroupVersion> Discovery::group_versions() const {
  std::vector<GroupVersion> out;
  const auto add = [&out](const api::KindEntry& kind) {
    auto at = std::ranges::find_if(
        out, [&](const GroupVersion& g) { return g.group == kind.group && g.version == kind.version; });
    if (at == out.end()) at = out.insert(out.end(), {kind.group, kind.version, {}});
    at->kinds.push_back(&kind);
  };
  for (const auto& kind : kinds_.all()) add(kind);
  for (const auto& review : review_kinds())
    add(*find_review_kind(review.group, review.version, review.plural));
  return out;
}

std::vector<std::pair<std::string, std::string>> Discovery::subresources_of(
    const api::KindEntry& kind) const {
  std::vector<std::pair<std::string, std::string>> out;  // name, kind
  if (kind.has_status) out.emplace_back("status", kind.kind);
  if (kind.group.empty() && kind.plural == "serviceaccounts") out.emplace_back("token", "TokenRequest");
  if (kind.has_scale) out.emplace_back("scale", "Scale");
  for (const auto& extra : subresources_)
    if (extra.plural == kind.plural) out.emplace_back(extra.subresource, kind.kind);
  for (const auto& stream : streams_)
    if (stream.plural == kind.plural) out.emplace_back(stream.subresource, kind.kind);
  return out;
}

Json Discovery::aggregated_resource(const api::KindEntry& kind) const {
  const auto response = [](std::string_view group, std::string_view version, std::string_view word) {
    return JsonObject{{"group", group}, {"version", version}, {"kind", word}};
  };
  JsonObject out{{"resource", kind.plural},
                 {"responseKind", response(kind.group, kind.version, kind.kind)},
                 {"scope", kind.namespaced ? "Namespaced" : "Cluster"},
                 {"singularResource", kind.singular},
                 {"verbs", verbs_of(kind)}};
  if (!kind.short_names.empty()) out["shortNames"] = words(kind.short_names);
  if (!kind.categories.empty()) out["categories"] = words(kind.categories);
  JsonArray below;
  for (const auto& [name, word] : subresources_of(kind)) {
    below.push_back(JsonObject{
        {"subresource", name},
        {"responseKind", name == "scale"   ? response("autoscaling", "v1", "Scale")
                         : name == "token" ? response("authentication.k8s.io", "v1", "TokenRequest")
                                           : response(kind.group, kind.version, word)},
        {"verbs", subresource_verbs(kind, name)}});
  }
  if (!below.empty()) out["subresources"] = std::move(below);
  return out;
}

Json Discovery::aggregated(bool core, std::string_view version) const {
  JsonArray items;
  for (const auto& group : group_versions()) {
    if (group.group.empty() != core) continue;
    JsonArray resources;
    for (const auto* kind : group.kinds) resources.push_back(aggregated_resource(*kind));
    JsonObject entry{
        {"version", group.version}, {"freshness", "Current"}, {"resources", std::move(resources)}};
    const auto same = std::ranges::find_if(items, [&](const Json& item) {
      return get_string(*find_path(item, {"metadata"}), "name") == group.group;
    });
    if (same != items.end()) {
      same->get_object()["versions"].get_array().push_back(std::move(entry));
      continue;
    }
    JsonObject metadata{{"creationTimestamp", nullptr}};
    if (!core) metadata["name"] = group.group;
    items.push_back(JsonObject{{"metadata", std::move(metadata)}, {"versions", JsonArray{std::move(entry)}}});
  }
  return JsonObject{{"kind", "APIGroupDiscoveryList"},
                    {"apiVersion", fmt::format("apidiscovery.k8s.io/{}", version)},
                    {"metadata", JsonObject()},
                    {"items", std::move(items)}};
}

Json Discovery::resource_list(const GroupVersion& group) const {
  JsonArray resources;
  for (const auto* kind : group.kinds) {
    JsonObject one{{"name", kind->plural},
                   {"singularName", kind->singular},
                   {"namespaced", kind->namespaced},
                   {"kind", kind->kind},
                   {"verbs", verbs_of(*kind)}};
    if (!kind->short_names.empty()) one["shortNames"] = words(kind->short_names);
    if (!kind->categories.empty()) one["categories"] = words(kind->categories);
    resources.push_back(std::move(one));
    for (const auto& [name, word] : subresources_of(*kind)) {
      JsonObject below{{"name", kind->plural + "/" + name},
                       {"singularName", ""},
                       {"namespaced", kind->namespaced},
                       {"kind", word}};
      below["verbs"] = subresource_verbs(*kind, name);
      if (name == "scale" || name == "token") {
        below["group"] = name == "scale" ? "autoscaling" : "authentication.k8s.io";
        below["version"] = "v1";
      }
      resources.push_back(std::move(below));
    }
  }
  const auto name = group.group.empty() ? group.version : group.group + "/" + group.version;
  return JsonObject{{"kind", "APIResourceList"},
                    {"apiVersion", "v1"},
                    {"groupVersion", name},
                    {"resources", std::move(resources)}};
}

Json Discovery::group_object(const std::vector<GroupVersion>& all, std::string_view group) const {
  JsonArray versions;
  for (const auto& one : all)
    if (one.group == group)
      versions.push_back(
          JsonObject{{"groupVersion", one.group + "/" + one.version}, {"version", one.version}});
  Json preferred = versions.front();
  return JsonObject{
      {"name", group}, {"versions", std::move(versions)}, {"preferredVersion", std::move(preferred)}};
}

// Built when the first client asks: a server of agents alone never pays for it.
const api::OpenApi& Discovery::open_api() const {
  if (&kinds_ == &api::KindTable::standard()) return api::OpenApi::standard();
  if (!open_api_) open_api_.emplace(kinds_);
  return *open_api_;
}

const Discovery::Document& Discovery::keep(const std::string& key, std::string content_type,
                                           std::string text) const {
  auto etag = fmt::format("\"{}\"", crypto::sha256(text).hex().substr(0, 32));
  return documents_.insert_or_assign(key, Document{std::move(text), std::move(content_type), std::move(etag)})
      .first->second;
}

const Discovery::Document* Discovery::find_document(const io::HttpRequest& request) const {
  auto path = request.path;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const auto version = path == "/api" || path == "/apis" ? aggregated_version(request.headers.get("Accept"))
                                                         : std::string_view();
  const auto key = fmt::format("{}#{}", path, version);
  if (const auto known = documents_.find(key); known != documents_.end()) return &known->second;
  const auto json = [&](const Json& value) { return &keep(key, std::string(kJson), to_text(value)); };
  if (!version.empty())
    return &keep(key,
                 fmt::format("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", version),
                 to_text(aggregated(path == "/api", version)));
  const auto all = group_versions();
  if (path == "/version") return &keep(key, std::string(kJson), version_text(version_));
  if (path == "/api")
    return json(JsonObject{{"kind", "APIVersions"},
                           {"apiVersion", "v1"},
                           {"versions", {"v1"}},
                           {"serverAddressByClientCIDRs", JsonArray()}});
  if (path == "/apis") {
    JsonArray groups;
    for (const auto& one : all) {
      const bool seen =
          std::ranges::any_of(groups, [&](const Json& g) { return get_string(g, "name") == one.group; });
      if (!one.group.empty() && !seen) groups.push_back(group_object(all, one.group));
    }
    return json(JsonObject{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}});
  }
  if (path == "/openapi/v2")
    return &keep(key, std::string(kOpenApiV2Type), api::openapi_v2(kinds_, open_api()));
  if (path == kOpenApiV3) return &keep(key, std::string(kJson), open_api().index());
  if (path.starts_with(kOpenApiV3)) {
    const auto* document = open_api().find(std::string_view(path).substr(kOpenApiV3.size() + 1));
    return document ? &keep(key, std::string(kJson), document->text) : nullptr;
  }
  for (const auto& one : all) {
    const auto own_path =
        one.group.empty() ? "/api/" + one.version : "/apis/" + one.group + "/" + one.version;
    if (path == own_path) return json(resource_list(one));
    if (!one.group.empty() && path == "/apis/" + one.group) {
      Json group = group_object(all, one.group);
      group.get_object()["kind"] = "APIGroup";
      group.get_object()["apiVersion"] = "v1";
      return json(group);
    }
  }
  return nullptr;
}

std::optional<io::HttpResponse> Discovery::answer(const io::HttpRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD") return {};
  const auto* document = find_document(request);
  if (!document) return {};
  io::HttpResponse out;
  out.headers.set("ETag", document->etag);
  out.headers.set("Vary", "Accept");
  out.headers.set("Cache-Control", "no-cache, private");
  if (request.headers.get("If-None-Match") == document->etag) {
    out.status = 304;
    return out;
  }
  out.headers.set("Content-Type", document->content_type);
  out.body = document->text;
  return out;
}

}  // namespace neap::apiserver
