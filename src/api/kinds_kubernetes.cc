// The parts of v1, coordination.k8s.io and rbac.authorization.k8s.io that Neap serves itself. Fields as
// k8s.io/api (v1.33) names them.
#include "internal/kind_builder.h"
#include "internal/kubernetes_shapes.h"

namespace neap::api {
namespace {

using namespace internal;

void add_core(KindTableBuilder& builder) {
  auto& ns = builder.add(
      {"", "v1", "Namespace", "namespaces", {"ns"}, false},
      "A project: the unit of tenancy, quota, budget and bill.",
      {make_field("spec",
                  object({make_field("finalizers", list_of(text()),
                                     "Must be empty before the namespace goes away.")}),
                  "What is wanted."),
       make_field("status",
                  object({make_field("phase", text(), "Active or Terminating."),
                          make_field("conditions", list_of(any()), "Claims about the namespace.")}),
                  "What is.")});
  ns.columns = {{"Status", "string", "status.phase", "Active or Terminating.", 0}};
  ns.selectable_fields = {"status.phase"};

  const auto reference = object_reference();
  auto& event = builder.add(
      {"", "v1", "Event", "events", {"ev"}, true}, "Something that happened to an object.",
      {make_field("involvedObject", reference, "Object it is about.", kRequired),
       make_field("reason", text(), "Stable machine word."),
       make_field("message", text(), "What happened, why, what to do next.",
                  FieldOptions{.length_max = 32768}),
       make_field("source",
                  object({make_field("component", text(), "Component that reports."),
                          make_field("host", text(), "Node it runs on.")}),
                  "Who reports."),
       make_field("firstTimestamp", time(), "First time it happened."),
       make_field("lastTimestamp", time(), "Last time it happened."),
       make_field("count", integer(), "How often."), make_field("type", text(), "Normal or Warning."),
       make_field("eventTime", time(), "When it was first seen, in microseconds."),
       make_field("series",
                  object({make_field("count", integer(), "How often."),
                          make_field("lastObservedTime", time(), "Last time.")}),
                  "Repetitions."),
       make_field("action", text(), "What was done."),
       make_field("related", reference, "Another object it is about."),
       make_field("reportingComponent", text(), "Controller that reports."),
       make_field("reportingInstance", text(), "Instance of the controller.")});
  event.columns = {{"Last Seen", "date", "lastTimestamp", "Last time it happened.", 0},
                   {"Type", "string", "type", "Normal or Warning.", 0},
                   {"Reason", "string", "reason", "Stable machine word.", 0},
                   {"Object", "string", "involvedObject.name", "Object it is about.", 0},
                   {"Message", "string", "message", "What happened.", 0},
                   {"Count", "integer", "count", "How often.", 1},
                   {"Source", "string", "source.component", "Who reports.", 1}};
  event.selectable_fields = {"involvedObject.kind",
                             "involvedObject.namespace",
                             "involvedObject.name",
                             "involvedObject.uid",
                             "involvedObject.apiVersion",
                             "involvedObject.resourceVersion",
                             "involvedObject.fieldPath",
                             "reason",
                             "type",
                             "reportingComponent"};

  // Kubernetes allows 1 MiB in all; each value alone is bounded here, the document by the server.
  const FieldOptions many{.length_max = 100'000};
  builder.add({"", "v1", "ConfigMap", "configmaps", {"cm"}, true}, "Configuration as keys and values.",
              {make_field("data", map_of(long_text()), "Texts by key.", many),
               make_field("binaryData", map_of(long_text()), "Base64 bytes by key.", many),
               make_field("immutable", boolean(), "True: data cannot change any more.")});
  auto& secret = builder.add(
      {"", "v1", "Secret", "secrets", {}, true}, "Confidential keys and values.",
      {make_field("data", map_of(long_text()), "Base64 bytes by key.", many),
       make_field("stringData", map_of(long_text()), "Texts by key; written into data.", many),
       make_field("type", text(), "What kind of secret.", FieldOptions{.immutable = true}, Json("Opaque")),
       make_field("immutable", boolean(), "True: data cannot change any more.")});
  secret.columns = {{"Type", "string", "type", "What kind of secret.", 0}};
  secret.selectable_fields = {"type"};
  builder.add({"", "v1", "ServiceAccount", "serviceaccounts", {"sa"}, true}, "An identity of programs.",
              {make_field("secrets", list_of(reference), "Secrets it may use."),
               make_field("imagePullSecrets", list_of(local_reference()), "Secrets to pull images with."),
               make_field("automountServiceAccountToken", boolean(), "True mounts its token into work.")});

  const auto amounts = map_of(quantity());
  auto& quota = builder.add(
      {"", "v1", "ResourceQuota", "resourcequotas", {"quota"}, true}, "What one project may hold.",
      {make_field("spec",
                  object({make_field("hard", amounts,
                                     "Limits by name: count/PLURAL.GROUP, requests.cpu, requests.memory, "
                                     "requests.MODEL for accelerators."),
                          make_field("scopes", list_of(text()), "Kept, not used."),
                          make_field("scopeSelector", any(), "Kept, not used.")}),
                  "What is wanted."),
       make_field("status",
                  object({make_field("hard", amounts, "Limits that are enforced."),
                          make_field("used", amounts, "What is held.")}),
                  "What is.")});
  quota.columns = {{"Request", "string", "status.used", "What is held.", 0},
                   {"Limit", "string", "spec.hard", "Limits.", 0}};
}

void add_coordination(KindTableBuilder& builder) {
  auto& lease = builder.add(
      {"coordination.k8s.io", "v1", "Lease", "leases", {}, true},
      "A claim that must be renewed: heartbeat or leadership.",
      {make_field(
          "spec",
          object({make_field("holderIdentity", text(), "Who holds it."),
                  make_field("leaseDurationSeconds", integer(),
                             "Seconds without renewal until it may be taken.", FieldOptions{.minimum = 1}),
                  make_field("acquireTime", time(), "When it was taken."),
                  make_field("renewTime", time(), "When it was last renewed."),
                  make_field("leaseTransitions", integer(), "Times it changed hands.",
                             FieldOptions{.minimum = 0}),
                  make_field("strategy", text(), "How a new holder is picked."),
                  make_field("preferredHolder", text(), "Who should take it next.")}),
          "The claim.")});
  lease.columns = {{"Holder", "string", "spec.holderIdentity", "Who holds it.", 0}};
}

void add_rbac(KindTableBuilder& builder) {
  const std::string group = "rbac.authorization.k8s.io";
  const auto names = list_of(text());
  const auto rules = list_of(
      object({make_field("verbs", names, "get, list, watch, create, update, patch, delete or *.", kRequired),
              make_field("apiGroups", names, "Groups; \"\" is v1, * is any."),
              make_field("resources", names, "Plurals, also plural/subresource; * is any."),
              make_field("resourceNames", names, "Only these objects; empty is any."),
              make_field("nonResourceURLs", names, "Paths outside the resource API.")}));
  const auto subjects = list_of(
      object({make_field("kind", one_of({"User", "Group", "ServiceAccount"}), "What is named.", kRequired),
              make_field("apiGroup", text(), "Group of the kind."),
              make_field("name", text(), "Name of the subject.", kRequired),
              make_field("namespace", text(), "Namespace of a service account.")}));
  const auto role_ref =
      object({make_field("apiGroup", text(), "rbac.authorization.k8s.io."),
              make_field("kind", one_of({"Role", "ClusterRole"}), "What is named.", kRequired),
              make_field("name", text(), "Name of the role.", kRequired)});
  const FieldOptions fixed{.required = true, .immutable = true};
  builder.add({group, "v1", "Role", "roles", {}, true}, "Permissions in one project.",
              {make_field("rules", rules, "What is allowed.")});
  builder.add({group, "v1", "ClusterRole", "clusterroles", {}, false},
              "Permissions everywhere, or for binding in a project.",
              {make_field("rules", rules, "What is allowed."),
               make_field("aggregationRule", any(), "Roles whose rules are added.")});
  for (const bool cluster : {false, true}) {
    auto& binding = builder.add(
        {group,
         "v1",
         cluster ? "ClusterRoleBinding" : "RoleBinding",
         cluster ? "clusterrolebindings" : "rolebindings",
         {},
         !cluster},
        cluster ? "Gives a role to subjects everywhere." : "Gives a role to subjects in one project.",
        {make_field("subjects", subjects, "Who gets it."),
         make_field("roleRef", role_ref, "The role.", fixed)});
    binding.columns = {{"Role", "string", "roleRef.name", "The role.", 0},
                       {"Subjects", "string", "subjects.*.name", "Who gets it.", 1}};
  }
}

}  // namespace

void add_kubernetes_kinds(KindTableBuilder& builder) {
  add_core(builder);
  add_coordination(builder);
  add_rbac(builder);
}

}  // namespace neap::api
