// Work: TrainingJob and Allocation.
#pragma once

#include "neap/api/data.h"
#include "neap/api/meta.h"

namespace neap::api {

// A DatasetVersion or the output of another job, mounted read-only under a name.
struct InputSpec {
  std::string name, datasetVersion, fromJob, output;
  template <class V>
  static void describe(V& v) {
    v.field("name", &InputSpec::name, "Name the work finds it under.", kRequired);
    v.field("datasetVersion", &InputSpec::datasetVersion, "A DatasetVersion of this project.");
    v.field("fromJob", &InputSpec::fromJob, "A TrainingJob of this project whose output is meant.");
    v.field("output", &InputSpec::output, "Name of that job's output.");
  }
};
struct CheckpointSpec {
  std::int64_t intervalSteps = 0;
  template <class V>
  static void describe(V& v) {
    v.field("intervalSteps", &CheckpointSpec::intervalSteps, "Steps between checkpoints; 0 is none.",
            FieldOptions{.minimum = 0});
  }
};
struct QualityGate {
  std::string metric, baseline;
  double maxDropPoints = 1.0;
  double minimum = 0;
  template <class V>
  static void describe(V& v) {
    v.field("metric", &QualityGate::metric, "Metric that must not be bad, like accuracy_int8.", kRequired);
    v.field("baseline", &QualityGate::baseline, "Metric it is compared with, like accuracy_teacher.");
    v.field("maxDropPoints", &QualityGate::maxDropPoints, "Percentage points it may lie below the baseline.");
    v.field("minimum", &QualityGate::minimum, "Least value it may have, 0 to 1.");
  }
};
// Where the members of a gang lie to one another. Levels from the narrowest: island (NVLink), rack, block
// (RDMA leaf); nodes carry them as labels.
struct TopologySpec {
  std::string level, mode = "Required";
  std::int64_t sliceReplicas = 0;
  template <class V>
  static void describe(V& v) {
    v.field("level", &TopologySpec::level, "What members share: island, rack or block.",
            FieldOptions{.required = true, .pattern = "island|rack|block"});
    v.field("mode", &TopologySpec::mode,
            "Required: waits until it can be had. Preferred: takes a wider one where it cannot.",
            FieldOptions{.pattern = "Required|Preferred"});
    v.field("sliceReplicas", &TopologySpec::sliceReplicas,
            "Members, in order of rank, that must share one; 0 is the whole gang.",
            FieldOptions{.minimum = 0, .maximum = 100000});
  }
};
// command: argv; {code} is the unpacked code folder. Programs run without a shell.
struct TrainingJobSpec {
  std::string type = "training";  // training, compress, evaluate: what policies see as task.type
  std::vector<std::string> command;
  std::string code;  // digest of a tar of the code folder in the registry
  std::int64_t replicas = 1;
  std::int64_t minReplicas = 0;  // 0: a rigid gang
  std::int64_t processesPerReplica = 1;
  Resources resources;  // of each replica
  std::vector<InputSpec> inputs;
  std::map<std::string, std::string> parameters;
  std::vector<std::string> environment;
  CheckpointSpec checkpoint;
  InterruptionClass interruption = InterruptionClass::kCheckpointed;
  std::string costStrategy;  // "", SpotPreemptible, OnDemand, PrivateFirst, Cheapest, LowestCarbon
  std::vector<std::string> allowedSites, acceleratorAlternatives;
  std::optional<TopologySpec> topology;
  std::string queue, priorityClass;
  std::int64_t backoffLimit = 3;
  std::optional<WallTime> deadline;
  Duration expectedDuration{};
  std::vector<QualityGate> gates;
  bool suspend = false, openStdin = false;
  template <class V>
  static void describe(V& v) {
    v.field("type", &TrainingJobSpec::type, "training, compress or evaluate.");
    v.field("command", &TrainingJobSpec::command, "Argument vector; {code} is the unpacked code folder.",
            kRequired);
    v.field("code", &TrainingJobSpec::code, "Digest of the code archive in the registry.");
    v.field("replicas", &TrainingJobSpec::replicas, "Members of the gang.",
            FieldOptions{.minimum = 1, .maximum = 100000});
    v.field("minReplicas", &TrainingJobSpec::minReplicas,
            "Fewest members it runs with; each run takes as many as fit, up to replicas. 0: all of them.",
            FieldOptions{.minimum = 0, .maximum = 100000});
    v.field("processesPerReplica", &TrainingJobSpec::processesPerReplica, "Ranks started by each member.",
            FieldOptions{.minimum = 1, .maximum = 64});
    v.field("resources", &TrainingJobSpec::resources, "Needed by each replica.");
    v.field("inputs", &TrainingJobSpec::inputs, "Data and artifacts it reads.",
            FieldOptions{.list_map_key = "name"});
    v.field("parameters", &TrainingJobSpec::parameters, "Handed to the program.");
    v.field("environment", &TrainingJobSpec::environment, "NAME=value entries.");
    v.field("checkpoint", &TrainingJobSpec::checkpoint, "When to checkpoint.");
    v.field("interruption", &TrainingJobSpec::interruption, "never, checkpointed or restartable.");
    v.field("costStrategy", &TrainingJobSpec::costStrategy,
            "SpotPreemptible, OnDemand, PrivateFirst, Cheapest or LowestCarbon.");
    v.field("allowedSites", &TrainingJobSpec::allowedSites,
            "Only these sites, names or aliases; empty is any that policy allows.");
    v.field(
        "acceleratorAlternatives", &TrainingJobSpec::acceleratorAlternatives,
        "Accelerator models that do as well as the one that resources name, in the same number; price and "
        "place decide, and members may get different ones.",
        FieldOptions{.length_max = 16});
    v.field("topology", &TrainingJobSpec::topology, "Where its members lie to one another.");
    v.field("queue", &TrainingJobSpec::queue,
            "Queue it waits in; empty is its project's, if a queue says so, else none.");
    v.field("priorityClass", &TrainingJobSpec::priorityClass,
            "Rules select by it; a PriorityClass of that name gives its priority, else 0.");
    v.field("backoffLimit", &TrainingJobSpec::backoffLimit,
            "Failed runs before it gives up; interruptions do not count.", FieldOptions{.minimum = 0});
    v.field("deadline", &TrainingJobSpec::deadline, "When it must be done.");
    v.field("expectedDuration", &TrainingJobSpec::expectedDuration, "Estimate, like 20m.");
    v.field("gates", &TrainingJobSpec::gates, "Checks on its metrics; a failed one fails the job.");
    v.field("suspend", &TrainingJobSpec::suspend, "True keeps it from running.");
    v.field("stdin", &TrainingJobSpec::openStdin,
            "True keeps the standard input of rank 0 open for `kubectl attach -i`; else it reads an end.");
  }
};
struct CheckpointStatus {
  std::int64_t step = -1;
  std::string digest, phase;  // Sealed, Uploading, Durable
  Bytes size;
  template <class V>
  static void describe(V& v) {
    v.field("step", &CheckpointStatus::step, "Last step it contains.");
    v.field("digest", &CheckpointStatus::digest, "Blob in the registry.");
    v.field("phase", &CheckpointStatus::phase, "Sealed, Uploading or Durable.");
    v.field("size", &CheckpointStatus::size, "Bytes.");
  }
};
// One epoch of a gang: where it ran and which steps it executed.
struct RunRecord {
  std::int64_t epoch = 0, firstStep = -1, lastStep = -1;
  std::string site, capacityType, reason;
  std::vector<std::string> nodes;
  std::optional<WallTime> startedAt, endedAt;
  template <class V>
  static void describe(V& v) {
    v.field("epoch", &RunRecord::epoch, "Epoch of the gang.", kRequired);
    v.field("site", &RunRecord::site, "Site it ran on.");
    v.field("capacityType", &RunRecord::capacityType, "What kind of capacity.");
    v.field("nodes", &RunRecord::nodes, "Nodes of its members.");
    v.field("firstStep", &RunRecord::firstStep, "First step executed.");
    v.field("lastStep", &RunRecord::lastStep, "Last step executed.");
    v.field("startedAt", &RunRecord::startedAt, "Commit of the epoch.");
    v.field("endedAt", &RunRecord::endedAt, "End of the last member.");
    v.field("reason", &RunRecord::reason, "How it ended: Completed, Interrupted, Preempted, Moved, Failed.");
  }
};
struct NominationVictim {
  std::string job, message;
  std::int64_t epoch = 0;
  template <class V>
  static void describe(V& v) {
    v.field("job", &NominationVictim::job, "The job, as project/name; of a replica its allocation.",
            kRequired);
    v.field("epoch", &NominationVictim::epoch,
            "Its epoch that ends; the next one is another matter. -1: a replica of a service.");
    v.field("message", &NominationVictim::message, "Why it, in words for its owner.",
            FieldOptions{.length_max = 32768});
  }
};
// Nodes that are held for a job until the victims that lie on them have ended.
struct Nomination {
  std::vector<std::string> nodes;
  std::vector<NominationVictim> victims;
  std::string site;
  std::optional<WallTime> madeAt;
  template <class V>
  static void describe(V& v) {
    v.field("nodes", &Nomination::nodes, "Node of each member.");
    v.field("site", &Nomination::site, "Site of the first one.");
    v.field("victims", &Nomination::victims, "Jobs that end or shrink for it.",
            FieldOptions{.list_map_key = "job"});
    v.field("madeAt", &Nomination::madeAt, "When it was decided.");
  }
};
// phase: Pending, Planned, Reserved, Prepared, Running, Draining, Succeeded, Failed.
struct TrainingJobStatus {
  std::string phase = "Pending", message, site, capacityType;
  std::int64_t epoch = 0, committedEpoch = 0, interruptions = 0, failures = 0;
  std::int64_t step = -1, stepsRepeated = 0;
  std::string rendezvous;  // host:port of rank 0, of the committed epoch
  CheckpointStatus checkpoint;
  std::vector<RunRecord> runs;
  std::optional<Nomination> nomination;
  std::vector<ArtifactRef> outputs;
  Json metrics;
  std::optional<WallTime> startedAt, finishedAt;
  Json explanation;  // of the latest decision, as scheduler wrote it
  std::vector<Condition> conditions;
  template <class V>
  static void describe(V& v) {
    v.field("phase", &TrainingJobStatus::phase, "Where it is in its life.");
    v.field("message", &TrainingJobStatus::message, "Why it waits or failed.",
            FieldOptions{.length_max = 32768});
    v.field("site", &TrainingJobStatus::site, "Site of the current epoch.");
    v.field("capacityType", &TrainingJobStatus::capacityType, "Capacity of the current epoch.");
    v.field("epoch", &TrainingJobStatus::epoch, "Latest epoch planned.");
    v.field("committedEpoch", &TrainingJobStatus::committedEpoch, "Epoch whose members may run.");
    v.field("rendezvous", &TrainingJobStatus::rendezvous,
            "host:port where ranks of the committed epoch meet.");
    v.field("interruptions", &TrainingJobStatus::interruptions, "Times capacity was taken away.");
    v.field("failures", &TrainingJobStatus::failures, "Times a member failed by itself.");
    v.field("step", &TrainingJobStatus::step, "Last step reported.");
    v.field("stepsRepeated", &TrainingJobStatus::stepsRepeated,
            "Steps executed more than once, over all epochs.");
    v.field("checkpoint", &TrainingJobStatus::checkpoint, "Newest durable checkpoint.");
    v.field("runs", &TrainingJobStatus::runs, "Epochs so far.", FieldOptions{.list_map_key = "epoch"});
    v.field("nomination", &TrainingJobStatus::nomination, "Place held for it while others make room.");
    v.field("outputs", &TrainingJobStatus::outputs, "What it produced.",
            FieldOptions{.list_map_key = "name"});
    v.field("metrics", &TrainingJobStatus::metrics, "Final metrics.");
    v.field("startedAt", &TrainingJobStatus::startedAt, "First commit.");
    v.field("finishedAt", &TrainingJobStatus::finishedAt, "End.");
    v.field("explanation", &TrainingJobStatus::explanation, "Reasons of the latest decision.");
    v.field("conditions", &TrainingJobStatus::conditions, "Complete, Failed, Scheduled, Preempted.",
            FieldOptions{.list_map_key = "type"});
  }
};

// What an agent does for an allocation: exactly one of process, collect, serve is set.
struct ProcessWork {
  std::vector<std::string> command, environment;
  std::string code;
  std::vector<ArtifactRef> inputs;  // flattened; a name may contain '/' and becomes a path
  std::map<std::string, std::string> parameters;
  std::int64_t rankFirst = 0, ranks = 1, worldSize = 1;
  std::int64_t checkpointIntervalSteps = 0;
  CheckpointStatus resume;  // step -1: from the start
  bool openStdin = false;
  template <class V>
  static void describe(V& v) {
    v.field("command", &ProcessWork::command, "Argument vector.", kRequired);
    v.field("environment", &ProcessWork::environment, "NAME=value entries.");
    v.field("code", &ProcessWork::code, "Digest of the code archive.");
    v.field("inputs", &ProcessWork::inputs, "Blobs to fetch and verify before the start.");
    v.field("parameters", &ProcessWork::parameters, "Handed to the program.");
    v.field("rankFirst", &ProcessWork::rankFirst, "Rank of this member's first process.");
    v.field("ranks", &ProcessWork::ranks, "Processes of this member.");
    v.field("worldSize", &ProcessWork::worldSize, "Processes of the whole gang.");
    v.field("checkpointIntervalSteps", &ProcessWork::checkpointIntervalSteps, "Steps between checkpoints.");
    v.field("resume", &ProcessWork::resume, "Checkpoint to go on from.");
    v.field("stdin", &ProcessWork::openStdin, "True keeps standard input open for who attaches.");
  }
};
struct CollectWork {
  std::string dataset, path, declassification, version;
  DataLevel level = DataLevel::kL2;
  template <class V>
  static void describe(V& v) {
    v.field("dataset", &CollectWork::dataset, "Dataset whose part is collected.", kRequired);
    v.field("path", &CollectWork::path, "Folder below the agent's data root.", kRequired);
    v.field("level", &CollectWork::level, "Level of the raw records.", kRequired);
    v.field("declassification", &CollectWork::declassification, "Named rule that makes what may leave.",
            kRequired);
    v.field("version", &CollectWork::version, "DatasetVersion being made.", kRequired);
  }
};
struct ServeLimits {
  std::int64_t maxConcurrency = 8, maxQueue = 32;
  template <class V>
  static void describe(V& v) {
    v.field("maxConcurrency", &ServeLimits::maxConcurrency, "Requests computed at once.",
            FieldOptions{.minimum = 1});
    v.field("maxQueue", &ServeLimits::maxQueue, "Requests waiting before overflow.",
            FieldOptions{.minimum = 0});
  }
};
// A place an overloaded edge may send a request to, in order of preference; data policy still decides.
struct OverflowTarget {
  std::string node, site, endpoint;
  Tier tier = Tier::kPrivate;
  template <class V>
  static void describe(V& v) {
    v.field("node", &OverflowTarget::node, "Node that serves.", kRequired);
    v.field("site", &OverflowTarget::site, "Its site.", kRequired);
    v.field("tier", &OverflowTarget::tier, "Tier of that site.");
    v.field("endpoint", &OverflowTarget::endpoint, "host:port of its peer listener.");
  }
};
struct ServeWork {
  std::string service, model, repository, modelVersion, manifestDigest, file;
  std::string shadowModelVersion, shadowManifestDigest;
  DataLevel defaultLevel = DataLevel::kL2;
  ServeLimits limits;
  std::vector<OverflowTarget> overflow;
  template <class V>
  static void describe(V& v) {
    v.field("service", &ServeWork::service, "InferenceService it belongs to.", kRequired);
    v.field("model", &ServeWork::model, "Name clients ask for.", kRequired);
    v.field("repository", &ServeWork::repository, "Registry repository of the versions.", kRequired);
    v.field("modelVersion", &ServeWork::modelVersion, "ModelVersion that answers.", kRequired);
    v.field("manifestDigest", &ServeWork::manifestDigest, "OCI manifest of it.", kRequired);
    v.field("file", &ServeWork::file, "Layer title to load; empty is the only model layer.");
    v.field("shadowModelVersion", &ServeWork::shadowModelVersion,
            "ModelVersion that is checked on copies of live requests.");
    v.field("shadowManifestDigest", &ServeWork::shadowManifestDigest, "OCI manifest of it.");
    v.field("defaultLevel", &ServeWork::defaultLevel, "Level of requests that carry none.");
    v.field("limits", &ServeWork::limits, "When a replica counts as full.");
    v.field("overflow", &ServeWork::overflow, "Where requests may go when it is.");
  }
};
// desired: Run or Stop. Agents run a gang member only when epoch == committedEpoch.
struct AllocationSpec {
  std::string node, site;
  std::string ownerKind, ownerName;
  std::int64_t epoch = 0, committedEpoch = 0, replica = 0;
  std::string rendezvous;
  std::string desired = "Run";
  Resources resources;
  InterruptionClass interruption = InterruptionClass::kCheckpointed;
  DataLevel level = DataLevel::kL3;
  std::optional<ProcessWork> process;
  std::optional<CollectWork> collect;
  std::optional<ServeWork> serve;
  template <class V>
  static void describe(V& v) {
    v.field("node", &AllocationSpec::node, "Node it is placed on.", kImmutable);
    v.field("site", &AllocationSpec::site, "Site of that node.", kImmutable);
    v.field("ownerKind", &AllocationSpec::ownerKind, "Kind of the owner.", kImmutable);
    v.field("ownerName", &AllocationSpec::ownerName, "Name of the owner.", kImmutable);
    v.field("epoch", &AllocationSpec::epoch, "Epoch of the gang it belongs to.",
            FieldOptions{.immutable = true});
    v.field("committedEpoch", &AllocationSpec::committedEpoch,
            "Stamped once the owner's epoch is committed.");
    v.field("replica", &AllocationSpec::replica, "Index in the gang.", FieldOptions{.immutable = true});
    v.field("rendezvous", &AllocationSpec::rendezvous, "host:port where ranks meet.");
    v.field("desired", &AllocationSpec::desired, "Run or Stop.", FieldOptions{.pattern = "Run|Stop"});
    v.field("resources", &AllocationSpec::resources, "What it holds on the node.");
    v.field("interruption", &AllocationSpec::interruption, "never, checkpointed or restartable.");
    v.field("level", &AllocationSpec::level, "Strictest level of its inputs.");
    v.field("process", &AllocationSpec::process, "Run a program.");
    v.field("collect", &AllocationSpec::collect, "Prepare and send a dataset part.");
    v.field("serve", &AllocationSpec::serve, "Serve a model.");
  }
};
struct ShadowStatus {
  std::int64_t requests = 0, agreed = 0, errors = 0, labelled = 0, correct = 0;
  template <class V>
  static void describe(V& v) {
    v.field("requests", &ShadowStatus::requests, "Live requests also run on the shadow version.");
    v.field("agreed", &ShadowStatus::agreed, "Same top answer as the version that replied.");
    v.field("errors", &ShadowStatus::errors, "Shadow runs that failed.");
    v.field("labelled", &ShadowStatus::labelled, "Probe or live rows with a known label.");
    v.field("correct", &ShadowStatus::correct, "Of these, answered right.");
  }
};
// phase: Reserved, Prepared, Running, Draining, Succeeded, Failed, Released.
struct AllocationStatus {
  std::string phase = "Reserved", reason, message;
  std::optional<std::int64_t> exitCode;
  std::string rendezvous;  // offered by replica 0 when Prepared
  std::int64_t firstStep = -1, step = -1;
  CheckpointStatus checkpoint;
  std::vector<ArtifactRef> outputs;
  Json metrics;
  std::optional<DatasetPart> part;
  std::string servingVersion, digestVerified, signatureKeyId;
  ShadowStatus shadow;
  std::int64_t restarts = 0, pid = 0;
  std::optional<WallTime> startedAt, finishedAt;
  double runSeconds = 0;  // monotonic, by the agent
  std::vector<Condition> conditions;
  template <class V>
  static void describe(V& v) {
    v.field("phase", &AllocationStatus::phase,
            "Reserved, Prepared, Running, Draining, Succeeded, Failed or Released.");
    v.field("reason", &AllocationStatus::reason,
            "Stable word: Interrupted, GracefulStop, ExitCode, InputMissing.");
    v.field("message", &AllocationStatus::message, "What happened.", FieldOptions{.length_max = 32768});
    v.field("exitCode", &AllocationStatus::exitCode, "Exit code of the program.");
    v.field("rendezvous", &AllocationStatus::rendezvous, "host:port that replica 0 offers.");
    v.field("firstStep", &AllocationStatus::firstStep, "First step this run executed.");
    v.field("step", &AllocationStatus::step, "Last step this run executed.");
    v.field("checkpoint", &AllocationStatus::checkpoint, "Newest checkpoint of this run.");
    v.field("outputs", &AllocationStatus::outputs, "Artifacts in the registry.");
    v.field("metrics", &AllocationStatus::metrics,
            "Metrics the program reported; of a replica its concurrency.");
    v.field("part", &AllocationStatus::part, "What collecting made.");
    v.field("servingVersion", &AllocationStatus::servingVersion, "ModelVersion that answers now.");
    v.field("digestVerified", &AllocationStatus::digestVerified, "Digest the agent verified before serving.");
    v.field("signatureKeyId", &AllocationStatus::signatureKeyId, "Key whose signature verified.");
    v.field("shadow", &AllocationStatus::shadow, "Canary counters.");
    v.field("restarts", &AllocationStatus::restarts, "Times the agent started it again.");
    v.field("pid", &AllocationStatus::pid, "Process id on its node.");
    v.field("startedAt", &AllocationStatus::startedAt, "Start of the run.");
    v.field("finishedAt", &AllocationStatus::finishedAt, "End of the run.");
    v.field("runSeconds", &AllocationStatus::runSeconds, "Seconds it has held its resources, monotonic.");
    v.field("conditions", &AllocationStatus::conditions, "Unreachable and others.",
            FieldOptions{.list_map_key = "type"});
  }
};

}  // namespace neap::api
