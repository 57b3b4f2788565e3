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
                 make_field("volumeMounts", list_of(any()), "Where volumes appear.",
                            FieldOptions{.list_map_key = "mountPath"}),
                 make_field("volumeDevices", list_of(any()), "Where block devices appear.",
                            FieldOptions{.list_map_key = "devicePath"}),
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
       make_field("volumes", list_of(any()), "Storage.", by_name),
       make_field("restartPolicy", text(), "Always, OnFailure or Never."),
       make_field("nodeSelector", map_of(text()), "Labels the node must have."),
       make_field("nodeName", text(), "Node."),
       make_field("affinity", any(), "Preferred and required places."),
       make_field("tolerations", list_of(any()), "Taints it bears."),
       make_field("topologySpreadConstraints", any(), "How replicas spread."),
       make_field("serviceAccountName", text(), "Identity it runs with."),
       make_field("serviceAccount", text(), "Old name of serviceAccountName."),
       make_field("automountServiceAccountToken", boolean(), "True mounts the token."),
       make_field("imagePullSecrets", list_of(local_reference()), "Secrets to pull images with.", by_name),
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
  const auto resources = object(
      {make_field("gpuType", text(), "Accelerator, like NVIDIA_A100."),
       make_field("replicas", integer(), "How many.", FieldOptions{.minimum = 1, .maximum = 100000}),
       make_field("costStrategy", text(),
                  "SpotPreemptible, OnDemand, PrivateFirst, Cheapest or LowestCarbon.",
                  FieldOptions{.pattern = "SpotPreemptible|OnDemand|PrivateFirst|Cheapest|LowestCarbon"})});
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

void add_priorities(KindTableBuilder& builder) {
  auto& priority = builder.add(
      {"scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", {"pc"}, false},
      "The priority of work that names it. Work of a higher one may take the place of running work of a "
      "lower "
      "one. Work that must not be interrupted makes way only with the annotation neap.dev/preemptible: "
      "\"true\" on its class.",
      {make_field(
           "value", integer(), "Higher goes first.",
           FieldOptions{.required = true, .immutable = true, .minimum = -2147483648, .maximum = 1000000000}),
       make_field("globalDefault", boolean(), "True: of work that names no class."),
       make_field("preemptionPolicy", text(), "Never: waits its turn without taking anyone's place.",
                  FieldOptions{.immutable = true, .pattern = "PreemptLowerPriority|Never"},
                  Json("PreemptLowerPriority")),
       make_field("description", text(), "What it is for.")});
  priority.columns = {{"Value", "integer", "value", "Higher goes first.", 0},
                      {"Global-Default", "boolean", "globalDefault", "Of work that names no class.", 0}};
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
}

ShapePtr job_spec() {
  return object(
      {make_field("parallelism", integer(), "At once.", FieldOptions{.minimum = 0}),
       make_field("completions", integer(), "Successes needed.", FieldOptions{.minimum = 0}),
       make_field("completionMode", text(), "NonIndexed or Indexed."),
       make_field("backoffLimit", integer(), "Failures before it gives up.", FieldOptions{.minimum = 0},
                  Json(6)),
       make_field("backoffLimitPerIndex", integer(), "Failures of one index."),
       make_field("maxFailedIndexes", integer(), "Failed indexes allowed."),
       make_field("activeDeadlineSeconds", integer(), "Seconds it may run.", FieldOptions{.minimum = 1}),
       make_field("ttlSecondsAfterFinished", integer(), "Seconds it is kept.", FieldOptions{.minimum = 0}),
       make_field("suspend", boolean(), "True keeps it from running."),
       make_field("selector", label_selector(), "Pods that belong to it."),
       make_field("manualSelector", boolean(), "True: selector was chosen by hand."),
       make_field("podFailurePolicy", any(), "What failures mean."),
       make_field("successPolicy", any(), "What success means."),
       make_field("podReplacementPolicy", text(), "When replacements start."),
       make_field("managedBy", text(), "Controller in charge."),
       make_field("template", pod_template(), "What it runs.",
                  FieldOptions{.required = true, .immutable = true})});
}

void add_jobs(KindTableBuilder& builder) {
  auto& job = builder.add(
      {"batch", "v1", "Job", "jobs", {}, true}, "A container that runs to its end; kept as applied.",
      {make_field("spec", job_spec(), "What is wanted.", kRequired),
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
  const auto job_template =
      object({make_field("metadata", shape_of<ObjectMeta>(), "Labels and annotations of each Job."),
              make_field("spec", job_spec(), "What each Job is.", kRequired)});
  auto& cron = builder.add(
      {"batch", "v1", "CronJob", "cronjobs", {"cj"}, true},
      "Jobs by the clock; kept as applied, nothing here starts them.",
      {make_field("spec",
                  object({make_field("schedule", text(), "Five cron fields.", kRequired),
                          make_field("timeZone", text(), "Time zone of the schedule."),
                          make_field("startingDeadlineSeconds", integer(), "Seconds a start may be late.",
                                     FieldOptions{.minimum = 0}),
                          make_field("concurrencyPolicy", text(), "Allow, Forbid or Replace.",
                                     FieldOptions{.pattern = "Allow|Forbid|Replace"}, Json("Allow")),
                          make_field("suspend", boolean(), "True starts nothing."),
                          make_field("jobTemplate", job_template, "What starts.", kRequired),
                          make_field("successfulJobsHistoryLimit", integer(), "Ended Jobs kept.",
                                     FieldOptions{.minimum = 0}),
                          make_field("failedJobsHistoryLimit", integer(), "Failed Jobs kept.",
                                     FieldOptions{.minimum = 0})}),
                  "What is wanted.", kRequired),
       make_field("status", any(), "What is.")});
  cron.categories = {"all"};
  cron.columns = {
      {"Schedule", "string", "spec.schedule", "Five cron fields.", 0},
      {"Suspend", "boolean", "spec.suspend", "True starts nothing.", 0, Json(false)},
      {"Last Schedule", "date", "status.lastScheduleTime", "Last start.", 0},
      {"Images", "string", "spec.jobTemplate.spec.template.spec.containers.*.image", "Images.", 1}};
}

void add_services(KindTableBuilder& builder) {
  const auto port = object({make_field("name", text(), "Name."),
                            make_field("port", integer(), "Port clients use.",
                                       FieldOptions{.required = true, .minimum = 1, .maximum = 65535}),
                            make_field("targetPort", int_or_text(), "Port of the replicas."),
                            make_field("nodePort", integer(), "Port on each node."),
                            make_field("protocol", text(), "TCP or UDP."),
                            make_field("appProtocol", text(), "Protocol above.")});
  auto& service = builder.add(
      {"", "v1", "Service", "services", {"svc"}, true},
      "An address of replicas; kept as applied, nothing here answers at it.",
      {make_field(
           "spec",
           object({make_field("type", text(), "ClusterIP, NodePort, LoadBalancer or ExternalName.",
                              FieldOptions{.pattern = "ClusterIP|NodePort|LoadBalancer|ExternalName"},
                              Json("ClusterIP")),
                   make_field("selector", map_of(text()), "Labels of the replicas."),
                   make_field("ports", list_of(port), "Ports."),
                   make_field("clusterIP", text(), "Address, or None."),
                   make_field("clusterIPs", any(), "Addresses."),
                   make_field("externalName", text(), "DNS name it stands for."),
                   make_field("externalIPs", any(), "Further addresses."),
                   make_field("externalTrafficPolicy", text(), "Cluster or Local."),
                   make_field("internalTrafficPolicy", text(), "Cluster or Local."),
                   make_field("healthCheckNodePort", integer(), "Port of health checks."),
                   make_field("ipFamilies", any(), "IPv4, IPv6."),
                   make_field("ipFamilyPolicy", text(), "SingleStack or dual."),
                   make_field("loadBalancerIP", text(), "Address of the load balancer."),
                   make_field("loadBalancerClass", text(), "Kind of load balancer."),
                   make_field("loadBalancerSourceRanges", any(), "Who may connect."),
                   make_field("allocateLoadBalancerNodePorts", boolean(), "Whether it needs node ports."),
                   make_field("publishNotReadyAddresses", boolean(), "Whether unready replicas count."),
                   make_field("sessionAffinity", text(), "None or ClientIP."),
                   make_field("sessionAffinityConfig", any(), "Of ClientIP."),
                   make_field("trafficDistribution", text(), "Preferred replicas.")}),
           "What is wanted.", kRequired),
       make_field("status", any(), "What is.")});
  service.categories = {"all"};
  service.columns = {{"Type", "string", "spec.type", "Type.", 0},
                     {"Cluster-IP", "string", "spec.clusterIP", "Address.", 0},
                     {"Port(s)", "string", "spec.ports.*.port", "Ports.", 0},
                     {"Selector", "string", "spec.selector", "Labels of the replicas.", 1}};
}

// Allocations as Pods: for `kubectl get pods`, logs and whatever else expects one.
void add_pods(KindTableBuilder& builder) {
  auto& pod =
      builder.add({"", "v1", "Pod", "pods", {"po"}, true},
                  "An Allocation as Kubernetes tools know it; only read, its Allocation is what counts.",
                  {make_field("spec", any(), "Container, node and what it holds."),
                   make_field("status", any(), "Phase, conditions and state of the container.")});
  pod.view_of = "allocations";
  pod.categories = {"all"};
  pod.selectable_fields = {"spec.nodeName", "status.phase", "spec.restartPolicy", "spec.serviceAccountName"};
  pod.columns = {
      {"Status", "string", "status.reason", "Phase of the Allocation.", 0},
      {"Restarts", "integer", "status.containerStatuses.*.restartCount", "Starts after the first.", 0},
      {"Node", "string", "spec.nodeName", "Node it runs on.", 1},
      {"Message", "string", "status.message", "What happened.", 1}};
}

}  // namespace

void add_foreign_documents(KindTableBuilder& builder) {
  add_hybrid_documents(builder);
  add_priorities(builder);
  add_workloads(builder);
  add_jobs(builder);
  add_services(builder);
  add_pods(builder);
}

}  // namespace neap::api
