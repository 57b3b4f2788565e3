#include "internal/kind_builder.h"

namespace neap::api {
namespace {

Column text(std::string name, std::string path, std::string description, int priority = 0) {
  return {std::move(name), "string", std::move(path), std::move(description), priority};
}
Column number(std::string name, std::string path, std::string description, int priority = 0) {
  return {std::move(name), "integer", std::move(path), std::move(description), priority, Json(0)};
}

// A phase that no controller has written yet is the first one.
Column phase(std::string_view first, std::string description) {
  return {"Phase",
          "string",
          "status.phase",
          std::move(description),
          0,
          Json(boost::json::string_view(first.data(), first.size()))};
}

void add_places(KindTableBuilder& builder) {
  auto& site =
      builder.add_described<Site>({"st"}, "A place with compute under one owner and one jurisdiction.");
  site.columns = {text("Tier", "spec.tier", "private, public or edge."),
                  text("Jurisdiction", "spec.jurisdiction", "Whose law holds there."),
                  number("Nodes", "status.nodes", "Nodes that joined."),
                  number("Ready", "status.nodesReady", "Nodes with a fresh lease."),
                  text("Free-CPU", "status.free.cpu", "Cores not held."),
                  text("Free-Memory", "status.free.memory", "Memory not held."),
                  text("Provider", "spec.provider", "What drives the site.", 1),
                  text("Aliases", "spec.aliases", "Other names.", 1)};
  auto& link = builder.add_described<Link>({"lk"}, "A declared or measured path between two sites.");
  link.columns = {text("From", "spec.from", "Site the bytes leave."),
                  text("To", "spec.to", "Site they reach."),
                  number("Mbps", "spec.bandwidthMbps", "Declared bandwidth."),
                  {"RTT-ms", "number", "spec.rttMs", "Declared round trip.", 0},
                  {"Measured-Mbps", "number", "status.measuredMbps", "Goodput of recent transfers.", 1},
                  {"Measured-RTT-ms", "number", "status.measuredRttMs", "Round trip agents measured.", 1}};
  auto& node = builder.add_described<Node>({"no"}, "One machine of a site, run by an agent.");
  node.columns = {text("Site", "spec.site", "Site it stands in."),
                  text("Ready", "status.conditions[type=Ready].status", "True with a fresh lease."),
                  text("Capacity-Type", "spec.capacityType", "owned, reserved, on-demand or spot."),
                  text("CPU", "status.allocatable.cpu", "Cores work may use."),
                  text("Memory", "status.allocatable.memory", "Memory work may use."),
                  text("Accelerators", "status.allocatable.accelerators", "Accelerators work may use."),
                  {"Unschedulable", "boolean", "spec.unschedulable", "True keeps new work away.", 1},
                  text("Agent", "status.agentVersion", "Version of the agent.", 1),
                  text("Kernel", "status.kernel", "Kernel release.", 1),
                  text("Limits", "status.limits", "How limits are enforced.", 1)};
  node.selectable_fields = {"spec.site", "spec.unschedulable"};
}

void add_data(KindTableBuilder& builder) {
  auto& dataset = builder.add_described<Dataset>({"ds"}, "Data with a level and a home, in parts at sites.");
  dataset.columns = {text("Level", "spec.level", "L1, L2 or L3."),
                     text("Jurisdiction", "spec.jurisdiction", "Whose law holds for it."),
                     text("Latest", "status.latestVersion", "Newest version."),
                     text("Sites", "spec.sources.*.site", "Where its parts lie.", 1)};
  auto& version =
      builder.add_described<DatasetVersion>({"dsv"}, "An immutable version of a dataset, ready to use.");
  version.columns = {text("Dataset", "spec.dataset", "Dataset it is a version of."),
                     text("Level", "spec.level", "Level of this version."),
                     text("Stored-At", "spec.storedAt", "Sites that hold the bytes."),
                     text("Digest", "spec.digest", "Over all file digests.", 1)};
  version.selectable_fields = {"spec.dataset"};
  auto& policy = builder.add_described<DataPolicy>(
      {"dp"}, "Rules about where data may be stored, moved and computed on.");
  policy.columns = {text("Rules", "spec.rules.*.name", "Rules in order.")};
  auto& model = builder.add_described<Model>({"md"}, "A model; its versions are registered artifacts.");
  model.columns = {text("Latest", "status.latestVersion", "Newest version."),
                   text("Description", "spec.description", "What it does.", 1)};
  auto& model_version =
      builder.add_described<ModelVersion>({"mv"}, "An immutable, signed version of a model.");
  model_version.columns = {text("Model", "spec.model", "Model it is a version of."),
                           text("File", "spec.file", "Layer that is served."),
                           text("Level", "spec.level", "Strictest level of its sources."),
                           text("Digest", "spec.manifestDigest", "OCI manifest.", 1),
                           text("Signed-By", "spec.signatureKeyId", "Key that signed it.", 1),
                           text("Job", "spec.lineage.job", "Job that made it.", 1)};
  model_version.selectable_fields = {"spec.model"};
}

void add_work(KindTableBuilder& builder) {
  auto& job = builder.add_described<TrainingJob>(
      {"tj"}, "A gang of processes that trains, compresses or evaluates a model.");
  job.columns = {phase("Pending", "Where it is in its life."),
                 text("Site", "status.site", "Site of the current epoch."),
                 text("Capacity", "status.capacityType", "Capacity of the current epoch."),
                 text("Step", "status.step", "Last step reported."),
                 number("Interruptions", "status.interruptions", "Times capacity was taken away."),
                 number("Replicas", "spec.replicas", "Members of the gang.", 1),
                 number("Epoch", "status.committedEpoch", "Epoch whose members may run.", 1),
                 text("Checkpoint", "status.checkpoint.step", "Last durable step.", 1),
                 text("Message", "status.message", "Why it waits or failed.", 1)};
  job.selectable_fields = {"status.phase", "status.site"};
  job.has_scale = true;
  auto& allocation = builder.add_described<Allocation>({"alloc"}, "One replica placed on one node.");
  allocation.columns = {phase("Reserved", "Where it is in its life."),
                        text("Owner", "spec.ownerName", "What it belongs to."),
                        text("Node", "spec.node", "Node it is placed on."),
                        text("Site", "spec.site", "Site of that node."),
                        number("Epoch", "spec.epoch", "Epoch of the gang."),
                        text("Desired", "spec.desired", "Run or Stop.", 1),
                        text("Reason", "status.reason", "Stable word.", 1),
                        text("Message", "status.message", "What happened.", 1)};
  allocation.selectable_fields = {"spec.node", "spec.site", "spec.ownerName", "spec.ownerKind",
                                  "status.phase"};
  auto& service = builder.add_described<InferenceService>({"isvc"}, "A model served at one or more places.");
  service.columns = {phase("Pending", "Where the rollout is."),
                     text("Model", "spec.model", "Model that is served."),
                     text("Active", "status.activeVersion", "Version all active replicas serve."),
                     number("Ready", "status.readyReplicas", "Replicas that serve."),
                     text("Places", "spec.places.*.site", "Where replicas stand."),
                     text("Wanted", "spec.modelVersion", "Version to roll out.", 1),
                     text("Message", "status.message", "Why.", 1)};
  service.selectable_fields = {"status.phase", "spec.model"};
}

void add_strategy(KindTableBuilder& builder) {
  auto& strategy = builder.add_described<DeploymentStrategy>(
      {"dst"}, "From data at the edge to a model served there: collect, train, compress, register, serve.");
  strategy.columns = {phase("Pending", "Pending, Running, Complete or Failed."),
                      text("Model", "spec.model", "Model that is made."),
                      text("Stages", "status.stages.*.phase", "Phase of each stage, in order."),
                      text("Team", "spec.team", "Team that pays.", 1),
                      text("Message", "status.message", "Why.", 1)};
  strategy.selectable_fields = {"status.phase"};
  auto& policy =
      builder.add_described<SchedulingPolicy>({"sp"}, "CEL rules that require, forbid or prefer places.");
  policy.columns = {text("Rules", "spec.rules.*.name", "Rules in order.")};
}

void add_limits(KindTableBuilder& builder) {
  auto& budget = builder.add_described<Budget>(
      {"bu"}, "What a project may spend in a period, and what happens on the way.");
  budget.columns = {text("Period", "spec.period", "day, week or month."),
                    text("Limit", "spec.limit", "Amount for one period."),
                    text("Currency", "spec.currency", "Currency of the amounts."),
                    text("Spent", "status.spent", "Billed in this period."),
                    text("Committed", "status.committed", "Expected of what runs and is not billed yet."),
                    number("Used-%", "status.percentUsed", "Spent and committed in percent of the limit."),
                    text("Action", "status.action", "none or the step of the ladder that holds now."),
                    {"Hard", "boolean", "spec.hard", "True admits nothing that would pass the limit.", 1},
                    text("Forecast", "status.forecast", "Spent by the period's end if it goes on.", 1),
                    text("Until", "status.periodEnd", "End of the period.", 1)};
  auto& queue = builder.add_described<Queue>({"qu"}, "What the jobs that name it may hold at once.");
  queue.columns = {
      text("CPU", "spec.quota.cpu", "Most cores."),
      text("CPU-Used", "status.used.cpu", "Cores held."),
      text("Memory", "spec.quota.memory", "Most memory."),
      text("Memory-Used", "status.used.memory", "Memory held."),
      text("Accelerators", "spec.quota.accelerators", "Most accelerators."),
      text("Accelerators-Used", "status.used.accelerators", "Accelerators held."),
      {"Share-%", "number", "status.sharePercent", "Dominant share of all there is.", 0},
      number("Running", "status.running", "Jobs that hold something."),
      number("Waiting", "status.waiting", "Jobs that wait for a place."),
      text("Parent", "spec.parent", "Queue above it.", 1),
      number("Weight", "spec.weight", "Its part of what is not used.", 1),
      text("CPU-Borrowed", "status.borrowed.cpu", "Cores held above the quota.", 1),
      text("Accelerators-Borrowed", "status.borrowed.accelerators", "Accelerators held above the quota.", 1),
      text("Waiting-For", "status.waitingFor", "Waiting jobs by reason.", 1),
      text("Next", "status.next", "Job whose turn it is.", 1),
      text("Reserved-From", "status.reservedFrom", "When the kept place is free.", 1),
      text("Message", "status.message", "How it stands.", 1)};
}

}  // namespace

void add_neap_kinds(KindTableBuilder& builder) {
  add_places(builder);
  add_data(builder);
  add_work(builder);
  add_strategy(builder);
  add_limits(builder);
}

}  // namespace neap::api
