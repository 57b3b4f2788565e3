// Foreign documents (requirements of other tools, stored as applied) to the neap.dev objects they mean.
//
// Pure: a document and the picture of the cluster in, wanted objects or one precise reason out. The same
// inputs give the same objects, so that a repeated pass writes nothing. Names of derived objects come from
// their document. An error's `reason` is the condition's word (CamelCase), its message says what is missing.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "neap/controllers/cluster_state.h"

namespace neap::controllers {

// Annotations of a document, and labels of a template.
inline constexpr std::string_view kTemplateMark = "neap.dev/template";  // document: name; template: "true"
inline constexpr std::string_view kDefaultTemplateLabel = "neap.dev/default-template";
inline constexpr std::string_view kDatasetAnnotation = "neap.dev/dataset";
inline constexpr std::string_view kModelAnnotation = "neap.dev/model";
inline constexpr std::string_view kModelVersionAnnotation = "neap.dev/model-version";
inline constexpr std::string_view kSitesAnnotation = "neap.dev/sites";  // words, separated by commas
inline constexpr std::string_view kAcceleratorAnnotation = "neap.dev/accelerator";
inline constexpr std::string_view kRunAsAnnotation = "neap.dev/run-as";  // "process": without the image
inline constexpr std::string_view kGroupAnnotation = "scheduling.k8s.io/group-name";

// Guards come first in a derivation: they must be seen by everyone before the work they guard exists.
using OwnedObject = std::variant<api::DataPolicy, api::SchedulingPolicy, api::DeploymentStrategy,
                                 api::InferenceService, api::TrainingJob>;

struct Owned {
  OwnedObject object;
  std::vector<api::Condition> says;  // claims that the derived object itself must carry
};

struct Derivation {
  std::vector<Owned> objects;
  std::vector<std::string> notes;  // what was decided or left out, for the document's condition
};

Result<Derivation> derive_hybrid_strategy(const ClusterState& state, const Json& document);
Result<Derivation> derive_hybrid_policy(const Json& document);
Result<Derivation> derive_deployment(const ClusterState& state, const Json& document);
Result<Derivation> derive_job(const ClusterState& state, const Json& document);
// A gang is carried by the workloads that name it: a PodGroup owns no object of its own.
Result<Derivation> derive_pod_group(const ClusterState& state, const Json& document);

// A PodGroup with what names it. Null members where there is no such group.
struct Gang {
  const Json* group = nullptr;
  std::vector<const Json*> jobs;    // batch/v1 Jobs whose pods name it
  std::int64_t members = 0;         // of these jobs together
  std::int64_t members_wanted = 0;  // minMember
  bool is_complete() const { return group && jobs.size() == 1 && members >= members_wanted; }
};
Gang gang_of(const ClusterState& state, const std::string& ns, const std::string& group);
std::string group_named_by(const Json& job);

// Readings that derivations share.
std::string meta_text(const Json& document, std::string_view key);
std::string annotation_of(const Json& document, std::string_view key);
api::ObjectMeta derived_meta(const Json& document, std::string name);
// Sites that a word names: name, alias or label; with `tiers` also a tier word inside it (public-gpu-pool).
std::vector<const api::Site*> resolve_sites(const ClusterState& state, std::string_view word, bool tiers);
Result<std::vector<std::string>> site_names(const ClusterState& state, std::string_view word, bool tiers,
                                            std::string_view field);
// Newest registered version of a model; null when there is none.
const api::ModelVersion* newest_version(const ClusterState& state, const std::string& ns,
                                        const std::string& model);
bool is_template(const api::DeploymentStrategy& strategy);

}  // namespace neap::controllers
