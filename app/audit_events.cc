#include "audit_events.h"

#include <fmt/format.h>

#include "neap/api/codec.h"

namespace neap::app {
namespace {

void set_if(JsonObject& out, std::string_view key, std::string_view value) {
  if (!value.empty()) out[key] = value;
}
void copy_if(JsonObject& out, std::string_view key, const Json& entry, std::string_view from) {
  if (const auto* value = find_path(entry, {from})) out[key] = *value;
}

}  // namespace

Result<auth::AuditPolicy> load_audit_policy(io::FileSystem& files, const std::string& path) {
  const auto what = "reading the audit policy " + path;
  const auto text = files.read_file(path, 1u << 20);
  if (!text) return fail(text.error(), what);
  const auto documents = api::parse_yaml(*text, {.bytes_max = 1u << 20, .documents_max = 1});
  if (!documents) return fail(documents.error(), what);
  auto policy = auth::AuditPolicy::parse(documents->empty() ? Json() : documents->front());
  if (!policy) return fail(std::move(policy).error(), what);
  return policy;
}

Json audit_entry(apiserver::AuditRecord record, std::string id) {
  const bool is_refusal = record.status >= 400;
  JsonObject out{{"type", is_refusal ? "api-refusal" : "api"},
                 {"user", record.who.user},
                 {"verb", record.what.verb},
                 {"resource", record.what.resource},
                 {"namespace", record.what.namespace_},
                 {"name", record.what.name},
                 {"status", record.status},
                 {"reason", record.reason},
                 {"auditID", std::move(id)},
                 {"level", auth::audit_level_name(record.level)}};
  set_if(out, "apiGroup", record.what.group);
  set_if(out, "apiVersion", record.what.version);
  set_if(out, "subresource", record.what.subresource);
  set_if(out, "uri", record.origin.uri);
  set_if(out, "source", record.origin.source);
  set_if(out, "userAgent", record.origin.user_agent);
  set_if(out, "uid", record.who.uid);
  if (record.origin.received != WallTime{}) out["received"] = format_rfc3339(record.origin.received, 6);
  JsonArray groups;
  for (const auto& group : record.who.groups) groups.emplace_back(group);
  if (!groups.empty()) out["groups"] = std::move(groups);
  if (!record.request.is_null()) out["requestObject"] = std::move(record.request);
  if (!record.response.is_null()) out["responseObject"] = std::move(record.response);
  return Json(std::move(out));
}

std::optional<Json> kubernetes_audit_event(const Json& entry) {
  const auto type = get_string(entry, "type");
  if (type != "api" && type != "api-refusal") return std::nullopt;
  const auto time = get_string(entry, "time"), received = get_string(entry, "received", time);
  const auto status = get_int(entry, "status");
  JsonObject user{{"username", get_string(entry, "user")}};
  copy_if(user, "groups", entry, "groups");
  copy_if(user, "uid", entry, "uid");
  JsonObject out{
      {"kind", "Event"},
      {"apiVersion", "audit.k8s.io/v1"},
      {"level", get_string(entry, "level", "Metadata")},
      // Entries of before there were ids are told apart by their place in the ledger.
      {"auditID", get_string(entry, "auditID").empty() ? fmt::format("ledger-{}", get_int(entry, "sequence"))
                                                       : std::string(get_string(entry, "auditID"))},
      {"stage", status == 0 ? "RequestReceived" : "ResponseComplete"},
      {"requestURI", get_string(entry, "uri")},
      {"verb", get_string(entry, "verb")},
      {"user", std::move(user)},
      {"requestReceivedTimestamp", received},
      {"stageTimestamp", time}};
  if (const auto source = get_string(entry, "source"); !source.empty()) out["sourceIPs"] = JsonArray{source};
  copy_if(out, "userAgent", entry, "userAgent");
  if (const auto resource = get_string(entry, "resource"); !resource.empty()) {
    JsonObject ref{{"resource", resource}};
    for (const auto* key : {"namespace", "name", "apiGroup", "apiVersion", "subresource"})
      set_if(ref, key, get_string(entry, key));
    out["objectRef"] = std::move(ref);
  }
  if (status != 0) {
    JsonObject answer{{"metadata", JsonObject()}, {"code", status}};
    if (status >= 400) {
      answer["status"] = "Failure";
      set_if(answer, "message", get_string(entry, "reason"));
    }
    out["responseStatus"] = std::move(answer);
  }
  copy_if(out, "requestObject", entry, "requestObject");
  copy_if(out, "responseObject", entry, "responseObject");
  JsonObject notes{{"authorization.k8s.io/decision", status == 401 || status == 403 ? "forbid" : "allow"},
                   {"neap.dev/ledger-sequence", fmt::format("{}", get_int(entry, "sequence"))}};
  if (status == 403) set_if(notes, "authorization.k8s.io/reason", get_string(entry, "reason"));
  out["annotations"] = std::move(notes);
  return Json(std::move(out));
}

Json kubernetes_audit_events(const JsonArray& entries) {
  JsonArray items;
  for (const auto& entry : entries)
    if (auto event = kubernetes_audit_event(entry)) items.push_back(*std::move(event));
  return Json{{"kind", "EventList"},
              {"apiVersion", "audit.k8s.io/v1"},
              {"metadata", JsonObject()},
              {"items", std::move(items)}};
}

}  // namespace neap::app
