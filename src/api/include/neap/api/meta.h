// Metadata shared by all resources, and the small types that recur.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/describe.h"
#include "neap/base/id.h"
#include "neap/base/json.h"
#include "neap/base/quantity.h"
#include "neap/base/time.h"

namespace neap::api {

using namespace std::string_view_literals;  // NOLINT: names in EnumNames tables

inline constexpr std::string_view kGroup = "neap.dev";
inline constexpr std::string_view kVersion = "v1";

using Labels = std::map<std::string, std::string>;

struct OwnerReference {
  std::string apiVersion, kind, name, uid;
  bool controller = false;
  bool blockOwnerDeletion = false;
  template <class V>
  static void describe(V& v) {
    v.field("apiVersion", &OwnerReference::apiVersion, "API version of the owner.", kRequired);
    v.field("kind", &OwnerReference::kind, "Kind of the owner.", kRequired);
    v.field("name", &OwnerReference::name, "Name of the owner.", kRequired);
    v.field("uid", &OwnerReference::uid, "UID of the owner.", kRequired);
    v.field("controller", &OwnerReference::controller, "True for the one owner that manages this object.");
    v.field("blockOwnerDeletion", &OwnerReference::blockOwnerDeletion,
            "Foreground deletion of the owner waits for this.");
  }
};

struct ObjectMeta {
  std::string name, generateName, namespace_, uid, resourceVersion;
  std::int64_t generation = 0;
  std::optional<WallTime> creationTimestamp, deletionTimestamp;
  std::optional<std::int64_t> deletionGracePeriodSeconds;
  Labels labels, annotations;
  std::vector<std::string> finalizers;
  std::vector<OwnerReference> ownerReferences;
  Json managedFields;
  template <class V>
  static void describe(V& v) {
    v.field("name", &ObjectMeta::name, "Unique within its namespace (or the cluster).");
    v.field("generateName", &ObjectMeta::generateName, "Prefix for a name the server completes.");
    v.field("namespace", &ObjectMeta::namespace_, "The project the object belongs to.");
    v.field("uid", &ObjectMeta::uid, "Unique over all time; set by the server.");
    v.field("resourceVersion", &ObjectMeta::resourceVersion,
            "Opaque position of the last write; set by the server.");
    v.field("generation", &ObjectMeta::generation, "Grows with every change of spec; set by the server.");
    v.field("creationTimestamp", &ObjectMeta::creationTimestamp, "Set by the server.");
    v.field("deletionTimestamp", &ObjectMeta::deletionTimestamp,
            "Set while finalizers keep a deleted object.");
    v.field("deletionGracePeriodSeconds", &ObjectMeta::deletionGracePeriodSeconds,
            "Grace asked for at deletion.");
    v.field("labels", &ObjectMeta::labels, "For selection; `team` and `model` also for the bill.");
    v.field("annotations", &ObjectMeta::annotations, "Free text for tools.",
            FieldOptions{.length_max = 262144});
    v.field("finalizers", &ObjectMeta::finalizers, "Must be empty before the object goes away.");
    v.field("ownerReferences", &ObjectMeta::ownerReferences, "Objects this one is deleted with.");
    v.field("managedFields", &ObjectMeta::managedFields, "Field ownership of server-side apply.");
  }
};

struct Condition {
  std::string type, status, reason, message;
  std::optional<WallTime> lastTransitionTime;
  std::int64_t observedGeneration = 0;
  template <class V>
  static void describe(V& v) {
    v.field("type", &Condition::type, "What is claimed, like Ready.", kRequired);
    v.field("status", &Condition::status, "True, False or Unknown.", kRequired);
    v.field("reason", &Condition::reason, "Stable machine word.");
    v.field("message", &Condition::message, "What happened, why, what to do next.",
            FieldOptions{.length_max = 32768});
    v.field("lastTransitionTime", &Condition::lastTransitionTime, "When status last changed.");
    v.field("observedGeneration", &Condition::observedGeneration, "Generation the claim is about.");
  }
};

enum class Tier { kPrivate, kPublic, kEdge };
template <>
struct EnumNames<Tier> {
  static constexpr std::array names{std::pair{Tier::kPrivate, "private"sv},
                                    std::pair{Tier::kPublic, "public"sv}, std::pair{Tier::kEdge, "edge"sv}};
};

enum class CapacityType { kOwned, kReserved, kOnDemand, kSpot };
template <>
struct EnumNames<CapacityType> {
  static constexpr std::array names{
      std::pair{CapacityType::kOwned, "owned"sv}, std::pair{CapacityType::kReserved, "reserved"sv},
      std::pair{CapacityType::kOnDemand, "on-demand"sv}, std::pair{CapacityType::kSpot, "spot"sv}};
};

// L1 core: never leaves its domain. L2 business: leaves only encrypted and logged, where policy allows.
// L3 public. The order is strictness: what is made from several sources has the strictest level.
enum class DataLevel { kL1 = 1, kL2 = 2, kL3 = 3 };
template <>
struct EnumNames<DataLevel> {
  static constexpr std::array names{std::pair{DataLevel::kL1, "L1"sv}, std::pair{DataLevel::kL2, "L2"sv},
                                    std::pair{DataLevel::kL3, "L3"sv}};
};

enum class InterruptionClass { kNever, kCheckpointed, kRestartable };
template <>
struct EnumNames<InterruptionClass> {
  static constexpr std::array names{std::pair{InterruptionClass::kNever, "never"sv},
                                    std::pair{InterruptionClass::kCheckpointed, "checkpointed"sv},
                                    std::pair{InterruptionClass::kRestartable, "restartable"sv}};
};

struct Resources {
  MilliCores cpu;
  Bytes memory;
  std::map<std::string, MilliAccelerators> accelerators;  // model -> amount, like "NVIDIA_A100": "1"
  template <class V>
  static void describe(V& v) {
    v.field("cpu", &Resources::cpu, "Cores, like 500m or 2.");
    v.field("memory", &Resources::memory, "Bytes, like 512Mi.");
    v.field("accelerators", &Resources::accelerators,
            "Accelerators by normalised model name; fractions allowed.");
  }
};

// A named blob in the registry's content store.
struct ArtifactRef {
  std::string name, digest;
  Bytes size;
  std::string mediaType;
  Json metadata;
  template <class V>
  static void describe(V& v) {
    v.field("name", &ArtifactRef::name, "Name within its owner.", kRequired);
    v.field("digest", &ArtifactRef::digest, "sha256:<hex> of the bytes.",
            FieldOptions{.required = true, .pattern = "sha256:[0-9a-f]{64}"});
    v.field("size", &ArtifactRef::size, "Bytes.");
    v.field("mediaType", &ArtifactRef::mediaType, "OCI media type.");
    v.field("metadata", &ArtifactRef::metadata, "Facts its producer reported.");
  }
};

// Sets or replaces the condition of that type; keeps lastTransitionTime when status did not change.
void set_condition(std::vector<Condition>& conditions, Condition next, WallTime now);
const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type);

}  // namespace neap::api
