// Documents of others that are stored as they stand (requirements, section 11); a controller derives
// neap.dev objects from them.
#include "internal/kind_builder.h"
#include "internal/kubernetes_shapes.h"

namespace neap::api {
namespace internal {

ShapePtr label_selector() {
  return object(
      {make_field("matchLabels", map_of(text()), "Labels that must be equal."),
       make_field("matchExpressions",
                  list_of(object({make_field("key", text(), "Label.", kRequired),
                                  make_field("operator", one_of({"In", "NotIn", "Exists", "DoesNotExist"}),
                                             "How.", kRequired),
                                  make_field("values", list_of(text()), "Values of In and NotIn.")})),
                  "Conditions that must all hold.")});
}

namespace {

ShapePtr container() {
  const auto resources =
      object({make_field("limits", map_of(quantity()), "Most it may use: cpu, memory, nvidia.com/gpu."),
              make_field("requests", map_of(quantity()), "Least it needs."),
              make_field("claims", any(), "Resource claims.")});
  const auto env = object({make_field("name", text(), "Name of the variable.", kRequired),
                           make_field("value", long_text(), "Its value."),
                           make_field("valueFrom", any(), "Where its value comes from.")});
  const auto port = object({make_field("name", text(), "Name."),
                            make_field("containerPort", integer(), "Port.",
                                       FieldOptions{.required = true, .minimum = 1, .maximum = 65535}),
                            make_field("hostPort", integer(), "Port on the node."),
                            make_field("hostIP", text(), "Address on the node."),
                            make_field("protocol", text(), "TCP or UDP.")});
  return object({make_field("name", text(), "Name of the container.", kRequired),
                 make_field("image", text(), "OCI image."),
                 make_field("command", list_of(text()), "Replaces the entry point of the image."),
                 make_field("args", list_of(text()), "Arguments of the command."),
                 make_field("workingDir", text(), "Working directory."),
                 make_field("env", list_of(env), "Environment.", FieldOptions{.list_map_key = "name"}),
                 make_field("envFrom", any(), "Environment from ConfigMaps and Secrets."),
                 make_field("ports", list_of(port), "Ports it listens on."),
                 make_field("resources", resources, "What it needs and may use."),
                 make_field("volumeMounts", any(), "Where volumes appear."),
                 make_field("volumeDevices", any(), "Where block devices appear."),
                 make_field("imagePullPolicy", text(), "Always, IfNotPresent or Never."),
                 make_field("livenessProbe", any(), "Failing restarts it."),
                 make_field("readinessProbe", any(), "Failing takes it out of service."),
                 make_field("startupProbe", any(), "Holds the others back until it passed."),
                 make_field("lifecycle", any(), "Hooks."),
                 make_field("securityContext", any(), "User, groups, capabilities."),
                 make_field("restartPolicy", text(), "Of a sidecar."),
                 make_field("resizePolicy", any(), "Resize in place."),
                 make_field("terminationMessagePath", text(), "File of the last message."),
                 make_field("terminationMessagePolicy", text(), "How the last message is found."),
                 make_field("stdin", boolean(), "Keeps stdin open."),
                 make_field("stdinOnce", boolean(), "Closes stdin after one client."),
                 make_field("tty", boolean(), "Gives it a terminal.")});
}

}  // namespace

ShapePtr pod_template() {
  const auto containers = list_of(container());
  const FieldOptions by_name{.list_map_key = "name"};
  const auto spec = object(
      {make_field("containers", containers, "Programs.",
                  FieldOptions{.required = true, .list_map_key = "name"}),
       make_field("initContainers", containers, "Programs that run first.", by_name),
       make_field("volumes", any(), "Storage."),
       make_field("restartPolicy", text(), "Always, OnFailure or Never."),
       make_field("nodeSelector", map_of(text()), "Labels the node must have."),
       make_field("nodeName", text(), "Node."),
       make_field("affinity", any(), "Preferred and required places."),
       make_field("tolerations", any(), "Taints it bears."),
       make_field("topologySpreadConstraints", any(), "How replicas spread."),
       make_field("serviceAccountName", text(), "Identity it runs with."),
       make_field("serviceAccount", text(), "Old name of serviceAccountName."),
       make_field("automountServiceAccountToken", boolean(), "True mounts the token."),
       make_field("imagePullSecrets", list_of(local_reference()), "Secrets to pull images with."),
       make_field("securityContext", any(), "Defaults of its containers."),
       make_field("terminationGracePeriodSeconds", integer(), "Seconds between asking and ending.",
                  FieldOptions{.minimum = 0}),
       make_field("activeDeadlineSeconds", integer(), "Seconds it may run.", FieldOptions{.minimum = 1}),
       make_field("priorityClassName", text(), "Priority class."),
       make_field("priority", integer(), "Priority."),
       make_field("preemptionPolicy", text(), "Whether it may displace others."),
       make_field("schedulerName", text(), "Scheduler."),
       make_field("schedulingGates", any(), "Holds that keep it unscheduled."),
       make_field("runtimeClassName", text(), "Runtime."),
       make_field("hostNetwork", boolean(), "Uses the node's network."),
       make_field("hostPID", boolean(), "Sees the node's processes."),
       make_field("hostIPC", boolean(), "Shares the node's IPC."),
       make_field("shareProcessNamespace", boolean(), "Containers see each other."),
       make_field("hostname", text(), "Host name."),
       make_field("subdomain", text(), "Subdomain."),
       make_field("hostAliases", any(), "Host file entries."),
       make_field("dnsPolicy", text(), "How names are resolved."),
       make_field("dnsConfig", any(), "Name servers."),
       make_field("enableServiceLinks", boolean(), "Variables for services."),
       make_field("overhead", map_of(quantity()), "Added needs."),
       make_field("resourceClaims", any(), "Resource claims."),
       make_field("os", any(), "Operating system.")});
  return object({make_field("metadata", shape_of<ObjectMeta>(), "Labels and annotations of each replica."),
                 make_field("spec", spec, "What each replica runs.", kRequired)});
}

}  // namespace internal

namespace {

using namespace internal;

void add_hybrid_documents(KindTableBuilder& builder) {
  const auto resources =
      object({make_field("gpuType", text(), "Accelerator, like NVIDIA_A100."),
              make_field("replicas", integer(), "How many.", FieldOptions{.minimum = 1, .maximum = 100000}),
              make_field("costStrategy", text(), "SpotPreemptible, OnDemand or PrivateFirst.",
                         FieldOptions{.pattern = "SpotPreemptible|OnDemand|PrivateFirst"})});
  const auto edge = object(
      {make_field("location", text(), "Site name, alias or label.", kRequired),
       make_field("latencyTarget", scalar(Shape::Type::kDuration),
                  "What clients there are promised, like 10ms."),
       make_field("dataSovereignty", text(), "Strict: nothing derived from this location's data leaves it.",
                  FieldOptions{.pattern = "Strict|Relaxed"})});
  const auto after = object({make_field("action", text(), "DistillAndPush.", kRequired),
                             make_field("targetEdge", list_of(edge), "Where the model goes.",
                                        FieldOptions{.list_map_key = "location"})});
  auto& strategy = builder.add(
      {"ai.hybrid.io", "v1", "DeploymentStrategy", "deploymentstrategies", {}, true},
      "Train in a cloud, distil and push to edges; kept as applied, a neap.dev DeploymentStrategy is derived "
      "from it.",
      {make_field("spec",
                  object({make_field("workloadType", text(), "Training or Inference.", kRequired),
                          make_field("targetCloud", text(), "Where it trains: site name, alias or label."),
                          make_field("resources", resources, "What it needs."),
                          make_field("postTraining", after, "What happens to the trained model.")}),
                  "What is wanted.", kRequired),
       make_field("status", any(), "What is; written by the controller that derives.")});
  strategy.columns = {
      {"Workload", "string", "spec.workloadType", "Training or Inference.", 0},
      {"Target", "string", "spec.targetCloud", "Where it trains.", 0},
      {"Edges", "string", "spec.postTraining.targetEdge.*.location", "Where the model goes.", 0}};

  const auto constraint =
      object({make_field("type", text(), "Latency or Cost.", kRequired),
              make_field("threshold", text(), "Bound, like 10ms or spot-price-low.", kRequired),
              make_field("action", text(), "ForceEdge or PreemptibleCloud.", kRequired)});
  auto& policy = builder.add(
      {"ai.hybridcloud", "v1", "SchedulingPolicy", "schedulingpolicies", {}, true},
      "Constraints for workloads of a priority class; kept as applied.",
      {make_field(
           "spec",
           object({make_field("priorityClass", text(), "Workloads it selects.", kRequired),
                   make_field("constraints", list_of(constraint), "Guards and preferences.", kRequired)}),
           "What is wanted.", kRequired),
       make_field("status", any(), "What is.")});
  policy.columns = {{"Priority-Class", "string", "spec.priorityClass", "Workloads it selects.", 0}};

  auto& group =
      builder.add({"scheduling.volcano.sh", "v1beta1", "PodGroup", "podgroups", {"pg"}, true},
                  "A gang that starts together or not at all; kept as applied.",
                  {make_field("spec",
                              object({make_field("minMember", integer(), "Members that must start together.",
                                                 FieldOptions{.minimum = 0}),
                                      make_field("minTaskMember", map_of(integer()), "Members per task."),
                                      make_field("minResources", map_of(quantity()),
                                                 "Needed by these members: cpu, memory, nvidia.com/gpu."),
                                      make_field("queue", text(), "Queue it waits in."),
                                      make_field("priorityClassName", text(), "Priority class.")}),
                              "What is wanted.", kRequired),
                   make_field("status", any(), "What is.")});
  group.columns = {{"Min-Member", "integer", "spec.minMember", "Members that must start together.", 0},
                   {"Queue", "string", "spec.queue", "Queue it waits in.", 0},
                   {"Status", "string", "status.phase", "Phase.", 0}};
}

void add_workloads(KindTableBuilder& builder) {
  auto& deployment = builder.add(
      {"apps", "v1", "Deployment", "deployments", {"deploy"}, true},
      "Replicas of a container, kept running; kept as applied.",
      {make_field("spec",
                  object({make_field("replicas", integer(), "How many.",
                                     FieldOptions{.minimum = 0, .maximum = 100000}, Json(1)),
                          // Stock Kubernetes demands it; here it is filled in when absent.
                          make_field("selector", label_selector(), "Pods that belong to it.",
                                     FieldOptions{.immutable = true}),
                          make_field("template", pod_template(), "What each replica runs.", kRequired),
                          make_field("strategy", any(), "How replicas are replaced."),
                          make_field("minReadySeconds", integer(), "Seconds until a replica counts.",
                                     FieldOptions{.minimum = 0}),
                          make_field("revisionHistoryLimit", integer(), "Old revisions kept.",
                                     FieldOptions{.minimum = 0}),
                          make_field("progressDeadlineSeconds", integer(), "Seconds a rollout may take.",
                                     FieldOptions{.minimum = 0}),
                          make_field("paused", boolean(), "True holds rollouts.")}),
                  "What is wanted.", kRequired),
       make_field("status",
                  object({make_field("replicas", integer(), "Replicas there are."),
                          make_field("readyReplicas", integer(), "Replicas that serve."),
                          make_field("updatedReplicas", integer(), "Replicas of the newest template."),
                          make_field("availableReplicas", integer(), "Replicas that count."),
                          make_field("unavailableReplicas", integer(), "Replicas still missing."),
                          make_field("observedGeneration", integer(), "Generation this status is about."),
                          make_field("collisionCount", integer(), "Name collisions."),
                          make_field("terminatingReplicas", integer(), "Replicas going away."),
                          make_field("conditions", any(), "Claims.")}),
                  "What is.")});
  deployment.has_scale = true;
  deployment.categories = {"all"};
  deployment.columns = {
      {"Ready", "string", "status.readyReplicas/spec.replicas", "Replicas that serve, of those wanted.", 0},
      {"Up-to-date", "string", "status.updatedReplicas", "Replicas of the newest template.", 0},
      {"Available", "string", "status.availableReplicas", "Replicas that count.", 0},
      {"Containers", "string", "spec.template.spec.containers.*.name", "Containers.", 1},
      {"Images", "string", "spec.template.spec.containers.*.image", "Images.", 1}};
  auto& job = builder.add(
      {"batch", "v1", "Job", "jobs", {}, true}, "A container that runs to its end; kept as applied.",
      {make_field(
           "spec",
           object({make_field("parallelism", integer(), "At once.", FieldOptions{.minimum = 0}),
                   make_field("completions", integer(), "Successes needed.", FieldOptions{.minimum = 0}),
                   make_field("completionMode", text(), "NonIndexed or Indexed."),
                   make_field("backoffLimit", integer(), "Failures before it gives up.",
                              FieldOptions{.minimum = 0}, Json(6)),
                   make_field("backoffLimitPerIndex", integer(), "Failures of one index."),
                   make_field("maxFailedIndexes", integer(), "Failed indexes allowed."),
                   make_field("activeDeadlineSeconds", integer(), "Seconds it may run.",
                              FieldOptions{.minimum = 1}),
                   make_field("ttlSecondsAfterFinished", integer(), "Seconds it is kept.",
                              FieldOptions{.minimum = 0}),
                   make_field("suspend", boolean(), "True keeps it from running."),
                   make_field("selector", label_selector(), "Pods that belong to it."),
                   make_field("manualSelector", boolean(), "True: selector was chosen by hand."),
                   make_field("podFailurePolicy", any(), "What failures mean."),
                   make_field("successPolicy", any(), "What success means."),
                   make_field("podReplacementPolicy", text(), "When replacements start."),
                   make_field("managedBy", text(), "Controller in charge."),
                   make_field("template", pod_template(), "What it runs.",
                              FieldOptions{.required = true, .immutable = true})}),
           "What is wanted.", kRequired),
       make_field(
           "status",
           object({make_field("active", integer(), "Running."),
                   make_field("succeeded", integer(), "Succeeded."),
                   make_field("failed", integer(), "Failed."), make_field("ready", integer(), "Ready."),
                   make_field("terminating", integer(), "Going away."),
                   make_field("startTime", time(), "Start."), make_field("completionTime", time(), "End."),
                   make_field("completedIndexes", text(), "Indexes done."),
                   make_field("failedIndexes", text(), "Indexes failed."),
                   make_field("uncountedTerminatedPods", any(), "Not counted yet."),
                   make_field("conditions", any(), "Claims.")}),
           "What is.")});
  job.categories = {"all"};
  job.columns = {{"Completions", "integer", "status.succeeded", "Successes.", 0},
                 {"Active", "integer", "status.active", "Running.", 0},
                 {"Images", "string", "spec.template.spec.containers.*.image", "Images.", 1}};
}

}  // namespace

void add_foreign_documents(KindTableBuilder& builder) {
  add_hybrid_documents(builder);
  add_workloads(builder);
}

}  // namespace neap::api
