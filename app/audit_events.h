// Audit entries of API requests, and how they read as audit.k8s.io/v1 Events. The ledger keeps one form; the
// other is made when somebody asks.
#pragma once

#include <optional>

#include "neap/apiserver/server.h"

namespace neap::app {

// An audit.k8s.io/v1 Policy in YAML or JSON; the error names the file and what is wrong in it.
Result<auth::AuditPolicy> load_audit_policy(io::FileSystem& files, const std::string& path);
// What the ledger keeps of one request.
Json audit_entry(apiserver::AuditRecord record, std::string id);
// An Event of level Metadata or more; nothing for entries that are about no API request. `entry` carries its
// "sequence" in the ledger and its "time".
std::optional<Json> kubernetes_audit_event(const Json& entry);
// {"kind": "EventList", ...} of those that are API requests, in order.
Json kubernetes_audit_events(const JsonArray& entries);

}  // namespace neap::app
