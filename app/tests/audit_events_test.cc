#include "audit_events.h"

#include <gtest/gtest.h>

namespace neap::app {
namespace {

apiserver::AuditRecord record(int status) {
  apiserver::AuditRecord out;
  out.who = {.user = "alice", .groups = {"dev", "system:authenticated"}};
  out.what.verb = "create";
  out.what.group = "neap.dev";
  out.what.version = "v1";
  out.what.resource = "trainingjobs";
  out.what.namespace_ = "team-a";
  out.what.name = "surface";
  out.what.is_resource = true;
  out.status = status;
  out.reason = status >= 400 ? "no rule allows it" : "";
  out.origin = {.uri = "/apis/neap.dev/v1/namespaces/team-a/trainingjobs",
                .source = "10.0.0.7",
                .user_agent = "kubectl",
                .received = WallTime(std::chrono::seconds(1'800'000'000))};
  return out;
}
Json kept(apiserver::AuditRecord of) {
  auto entry = audit_entry(std::move(of), "id-1");
  entry.get_object()["time"] = "2027-01-15T08:00:00.500Z";
  entry.get_object()["sequence"] = 7;
  return entry;
}

TEST(AuditEvents, an_entry_reads_as_an_event_of_kubernetes) {
  auto of = record(201);
  of.level = auth::AuditLevel::kRequest;
  of.request = Json{{"kind", "TrainingJob"}};
  const auto event = kubernetes_audit_event(kept(of)).value();
  EXPECT_EQ(get_string(event, "kind"), "Event");
  EXPECT_EQ(get_string(event, "apiVersion"), "audit.k8s.io/v1");
  EXPECT_EQ(get_string(event, "level"), "Request");
  EXPECT_EQ(get_string(event, "auditID"), "id-1");
  EXPECT_EQ(get_string(event, "stage"), "ResponseComplete");
  EXPECT_EQ(get_string(event, "requestURI"), "/apis/neap.dev/v1/namespaces/team-a/trainingjobs");
  EXPECT_EQ(get_string(event, "requestReceivedTimestamp"), "2027-01-15T08:00:00.000000Z");
  EXPECT_EQ(get_string(event, "stageTimestamp"), "2027-01-15T08:00:00.500Z");
  EXPECT_EQ(*find_path(event, {"sourceIPs"}), Json(JsonArray{"10.0.0.7"}));
  EXPECT_EQ(*find_path(event, {"objectRef", "apiGroup"}), Json("neap.dev"));
  EXPECT_EQ(*find_path(event, {"responseStatus", "code"}), Json(201));
  EXPECT_EQ(*find_path(event, {"requestObject", "kind"}), Json("TrainingJob"));
  EXPECT_EQ(*find_path(event, {"user", "groups"}), Json(JsonArray{"dev", "system:authenticated"}));
  EXPECT_EQ(*find_path(event, {"annotations", "authorization.k8s.io/decision"}), Json("allow"));
}

TEST(AuditEvents, a_refusal_says_why_and_other_entries_are_no_events) {
  const auto event = kubernetes_audit_event(kept(record(403))).value();
  EXPECT_EQ(*find_path(event, {"annotations", "authorization.k8s.io/decision"}), Json("forbid"));
  EXPECT_EQ(*find_path(event, {"annotations", "authorization.k8s.io/reason"}), Json("no rule allows it"));
  EXPECT_EQ(*find_path(event, {"responseStatus", "status"}), Json("Failure"));
  EXPECT_FALSE(kubernetes_audit_event(Json{{"type", "crossing"}}));
  const auto list =
      kubernetes_audit_events({kept(record(200)), Json{{"type", "crossing"}}, kept(record(403))});
  EXPECT_EQ(find_path(list, {"items"})->get_array().size(), 2u);
  EXPECT_EQ(get_string(list, "kind"), "EventList");
}

TEST(AuditEvents, an_entry_of_an_older_version_has_an_id_too) {
  const auto event = kubernetes_audit_event(Json{{"type", "api"},
                                                 {"user", "admin"},
                                                 {"verb", "delete"},
                                                 {"status", 200},
                                                 {"sequence", 3},
                                                 {"time", "t"}})
                         .value();
  EXPECT_EQ(get_string(event, "auditID"), "ledger-3");
  EXPECT_EQ(get_string(event, "level"), "Metadata");
  EXPECT_EQ(get_string(event, "requestReceivedTimestamp"), "t");
}

}  // namespace
}  // namespace neap::app
