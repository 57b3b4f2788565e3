// Models and services: Model, ModelVersion, InferenceService.
#pragma once

#include "neap/api/work.h"

namespace neap::api {

struct ModelSpec {
  std::string description;
  std::vector<std::string> trustedKeys;  // PEM; empty: the platform's own key
  template <class V>
  static void describe(V& v) {
    v.field("description", &ModelSpec::description, "What it does.");
    v.field("trustedKeys", &ModelSpec::trustedKeys, "Public keys (PEM) whose signature is accepted.",
            FieldOptions{.length_max = 16});
  }
};
struct ModelStatus {
  std::string latestVersion;
  template <class V>
  static void describe(V& v) {
    v.field("latestVersion", &ModelStatus::latestVersion, "Newest ModelVersion.");
  }
};
struct Lineage {
  std::vector<std::string> datasetDigests;
  std::string job, codeDigest, teacherDigest;
  template <class V>
  static void describe(V& v) {
    v.field("datasetDigests", &Lineage::datasetDigests, "Digests of the dataset versions it was made from.");
    v.field("job", &Lineage::job, "Job that made it.");
    v.field("codeDigest", &Lineage::codeDigest, "Digest of the code that ran.");
    v.field("teacherDigest", &Lineage::teacherDigest, "Digest of the model it was distilled from.");
  }
};
struct ModelVersionSpec {
  std::string model, repository, manifestDigest, file;
  DataLevel level = DataLevel::kL1;
  std::vector<ArtifactRef> files;
  std::string signatureKeyId;
  Lineage lineage;
  Json metrics;
  template <class V>
  static void describe(V& v) {
    v.field("model", &ModelVersionSpec::model, "Model it is a version of.", kImmutable);
    v.field("repository", &ModelVersionSpec::repository, "Registry repository.", kImmutable);
    v.field("manifestDigest", &ModelVersionSpec::manifestDigest, "OCI manifest.", kImmutable);
    v.field("file", &ModelVersionSpec::file, "Layer that is served.", kImmutable);
    v.field("level", &ModelVersionSpec::level, "Strictest level of its sources after declassification.",
            kImmutable);
    v.field("files", &ModelVersionSpec::files, "Layers.",
            FieldOptions{.immutable = true, .list_map_key = "name"});
    v.field("signatureKeyId", &ModelVersionSpec::signatureKeyId, "Key that signed the manifest.",
            FieldOptions{.immutable = true});
    v.field("lineage", &ModelVersionSpec::lineage, "Where it came from.", FieldOptions{.immutable = true});
    v.field("metrics", &ModelVersionSpec::metrics, "Metrics at registration.",
            FieldOptions{.immutable = true});
  }
};

struct ServicePlace {
  std::string site;
  std::int64_t replicas = 1;
  std::string role = "active";  // active or standby
  std::optional<std::int64_t> minReplicas;
  template <class V>
  static void describe(V& v) {
    v.field("site", &ServicePlace::site, "Site name or alias; * is wherever policy and price say.",
            kRequired);
    v.field("replicas", &ServicePlace::replicas, "Replicas there.",
            FieldOptions{.minimum = 0, .maximum = 1000});
    v.field("minReplicas", &ServicePlace::minReplicas,
            "Fewest replicas there while the tide lends what is idle; absent lends nothing.",
            FieldOptions{.minimum = 1, .maximum = 1000});
    v.field("role", &ServicePlace::role, "active serves clients; standby takes overflow.",
            FieldOptions{.pattern = "active|standby"});
  }
};
struct CanarySpec {
  std::string site;
  std::int64_t minRequests = 50;
  double minAgreement = 0.95, minAccuracy = 0;
  Duration timeout{std::chrono::minutes(5)};
  template <class V>
  static void describe(V& v) {
    v.field("site", &CanarySpec::site, "Where a new version goes first; empty is the first active place.");
    v.field("minRequests", &CanarySpec::minRequests, "Live requests to compare before it goes on.",
            FieldOptions{.minimum = 0});
    v.field("minAgreement", &CanarySpec::minAgreement, "Least share of equal top answers.");
    v.field("minAccuracy", &CanarySpec::minAccuracy, "Least accuracy on labelled rows.");
    v.field("timeout", &CanarySpec::timeout, "After this the rollout goes back.");
  }
};
// What its idle replicas hold works for others meanwhile, at places with minReplicas.
struct TideSpec {
  Duration takeBack{std::chrono::minutes(5)};
  std::int64_t reserve = 1;
  template <class V>
  static void describe(V& v) {
    v.field("takeBack", &TideSpec::takeBack,
            "From asking for capacity until a replica answers on it: others drain, it starts.");
    v.field("reserve", &TideSpec::reserve, "Replicas kept beside the forecast at each place.",
            FieldOptions{.minimum = 0, .maximum = 1000});
  }
};
struct InferenceServiceSpec {
  std::string model, modelVersion;
  std::vector<ServicePlace> places;
  Resources resources;
  DataLevel defaultLevel = DataLevel::kL2;
  ServeLimits limits;
  CanarySpec canary;
  Duration latencyTarget{};
  std::string queue, priorityClass;
  std::optional<TideSpec> tide;
  template <class V>
  static void describe(V& v) {
    v.field("model", &InferenceServiceSpec::model, "Model that is served.", kImmutable);
    v.field("modelVersion", &InferenceServiceSpec::modelVersion, "Version to roll out.", kRequired);
    v.field("places", &InferenceServiceSpec::places, "Where replicas stand.",
            FieldOptions{.required = true, .list_map_key = "site"});
    v.field("resources", &InferenceServiceSpec::resources, "Needed by each replica.");
    v.field("defaultLevel", &InferenceServiceSpec::defaultLevel, "Level of requests that carry none.");
    v.field("limits", &InferenceServiceSpec::limits, "When a replica counts as full.");
    v.field("canary", &InferenceServiceSpec::canary, "How a new version is checked.");
    v.field("latencyTarget", &InferenceServiceSpec::latencyTarget, "What clients are promised, like 20ms.");
    v.field("queue", &InferenceServiceSpec::queue,
            "Queue whose quota its replicas count against; empty is its project's, if a queue says so, else "
            "none.");
    v.field("priorityClass", &InferenceServiceSpec::priorityClass,
            "Rules select by it; a PriorityClass of that name gives its priority, else 0.");
    v.field("tide", &InferenceServiceSpec::tide, "Lends what is idle; absent lends nothing.");
  }
};
struct ServiceReplica {
  std::string site, node, allocation, phase, servingVersion, endpoint, role;
  template <class V>
  static void describe(V& v) {
    v.field("allocation", &ServiceReplica::allocation, "Allocation of the replica.", kRequired);
    v.field("site", &ServiceReplica::site, "Site.");
    v.field("node", &ServiceReplica::node, "Node.");
    v.field("role", &ServiceReplica::role, "active or standby.");
    v.field("phase", &ServiceReplica::phase, "Phase of the allocation.");
    v.field("servingVersion", &ServiceReplica::servingVersion, "Version that answers there.");
    v.field("endpoint", &ServiceReplica::endpoint, "Where clients of the site reach it.");
  }
};
// A replica that is stopped while other work uses what it held.
struct ReplicaLoan {
  std::string allocation, site, node, job;
  std::optional<WallTime> since, until;
  template <class V>
  static void describe(V& v) {
    v.field("allocation", &ReplicaLoan::allocation, "Name of the replica's allocation.", kRequired);
    v.field("site", &ReplicaLoan::site, "Site.");
    v.field("node", &ReplicaLoan::node, "Node on which it stood.");
    v.field("job", &ReplicaLoan::job, "Job that has its place, as project/name.");
    v.field("since", &ReplicaLoan::since, "When it was lent.");
    v.field("until", &ReplicaLoan::until, "When the job begins to make room again, at the latest.");
  }
};
// phase: Pending, Staging, Canary, Checking, Expanding, Complete, RollingBack, RolledBack.
struct InferenceServiceStatus {
  std::string phase = "Pending", message, activeVersion, previousVersion, rolledBackVersion;
  std::int64_t readyReplicas = 0, observedGeneration = 0;
  std::vector<ServiceReplica> replicas;
  std::vector<ReplicaLoan> loans;
  std::map<std::string, Nomination> nominations;  // by allocation
  ShadowStatus canary;
  std::optional<WallTime> phaseSince;
  Json explanation;
  std::vector<Condition> conditions;
  template <class V>
  static void describe(V& v) {
    v.field("phase", &InferenceServiceStatus::phase, "Where the rollout is.");
    v.field("message", &InferenceServiceStatus::message, "Why.", FieldOptions{.length_max = 32768});
    v.field("activeVersion", &InferenceServiceStatus::activeVersion,
            "Version that all active replicas serve.");
    v.field("previousVersion", &InferenceServiceStatus::previousVersion, "Version before it.");
    v.field("rolledBackVersion", &InferenceServiceStatus::rolledBackVersion,
            "Version whose check failed; not tried again.");
    v.field("readyReplicas", &InferenceServiceStatus::readyReplicas, "Replicas that serve.");
    v.field("observedGeneration", &InferenceServiceStatus::observedGeneration,
            "Generation this status is about.");
    v.field("replicas", &InferenceServiceStatus::replicas, "Each replica.",
            FieldOptions{.list_map_key = "allocation"});
    v.field("loans", &InferenceServiceStatus::loans, "Replicas whose place is lent, to whom and until when.",
            FieldOptions{.list_map_key = "allocation"});
    v.field("nominations", &InferenceServiceStatus::nominations,
            "Places held for replicas until others have made room, by the allocation's name.");
    v.field("canary", &InferenceServiceStatus::canary, "Counters of the latest check.");
    v.field("phaseSince", &InferenceServiceStatus::phaseSince, "Since when.");
    v.field("explanation", &InferenceServiceStatus::explanation, "Reasons of the latest decision.");
    v.field("conditions", &InferenceServiceStatus::conditions, "Available, Placed.",
            FieldOptions{.list_map_key = "type"});
  }
};

}  // namespace neap::api
