// ClusterState: the typed, in-memory picture that all controllers of one leader read.
//
// Fed from watches by ClusterWatcher; every reconcile pass sees one consistent-enough picture and
// writes through the API with compare-and-swap, so a stale read costs a retry, never a wrong write.
// Belongs to one executor.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>

#include "neap/api/resource.h"
#include "neap/base/time.h"
#include "neap/controllers/object_map.h"

namespace neap::controllers {

// Kinds of other tools from which neap.dev objects are derived; `plural`.`group` is their key.
struct DocumentKind {
  std::string_view key, group, version, kind, plural;
};
inline constexpr std::string_view kHybridStrategies = "deploymentstrategies.ai.hybrid.io";
inline constexpr std::string_view kHybridPolicies = "schedulingpolicies.ai.hybridcloud";
inline constexpr std::string_view kPodGroups = "podgroups.scheduling.volcano.sh";
inline constexpr std::string_view kDeployments = "deployments.apps";
inline constexpr std::string_view kBatchJobs = "jobs.batch";
inline constexpr std::array kDocumentKinds{
    DocumentKind{kHybridPolicies, "ai.hybridcloud", "v1", "SchedulingPolicy", "schedulingpolicies"},
    DocumentKind{kHybridStrategies, "ai.hybrid.io", "v1", "DeploymentStrategy", "deploymentstrategies"},
    DocumentKind{kPodGroups, "scheduling.volcano.sh", "v1beta1", "PodGroup", "podgroups"},
    DocumentKind{kDeployments, "apps", "v1", "Deployment", "deployments"},
    DocumentKind{kBatchJobs, "batch", "v1", "Job", "jobs"}};
// Read as they stand: nothing is derived from them.
inline constexpr DocumentKind kPriorityClasses{"priorityclasses.scheduling.k8s.io", "scheduling.k8s.io", "v1",
                                               "PriorityClass", "priorityclasses"};
// Documents as applied; shared, because the picture is copied for every pass.
using DocumentMap = std::map<ObjectKey, std::shared_ptr<const Json>>;

// A lease as this leader sees it: the clock of the node that renews it may be wrong, and a leader that was
// away has not seen what happened meanwhile, so only changes of renewTime count, by the leader's own clock.
struct LeaseView {
  std::string renew_time;
  MonoTime seen{};  // when renew_time last changed here
  Duration duration{std::chrono::seconds(40)};
};

class ClusterState {
 public:
  template <class T>
  const ObjectMap<T>& all() const {
    return std::get<ObjectMap<T>>(maps_);
  }
  template <class T>
  ObjectMap<T>& all() {
    return std::get<ObjectMap<T>>(maps_);
  }
  template <class T>
  const T* find(const std::string& ns, const std::string& name) const {
    return all<T>().find_pointer({ns, name});
  }
  std::map<std::string, LeaseView> leases;                    // by node name
  std::map<std::string, DocumentMap, std::less<>> documents;  // by DocumentKind::key

  // Allocations of one owner, whose names all begin with its name and a hyphen; `epoch` < 0 means any.
  std::vector<const api::Allocation*> allocations_of(const std::string& ns, std::string_view owner_kind,
                                                     const std::string& owner_name,
                                                     std::int64_t epoch = -1) const;
  // By name, alias or "name" label; null when nothing matches.
  const api::Site* resolve_site(const std::string& word) const;

 private:
  std::tuple<ObjectMap<api::Site>, ObjectMap<api::Link>, ObjectMap<api::Node>, ObjectMap<api::Dataset>,
             ObjectMap<api::DatasetVersion>, ObjectMap<api::DataPolicy>, ObjectMap<api::SchedulingPolicy>,
             ObjectMap<api::TrainingJob>, ObjectMap<api::Allocation>, ObjectMap<api::Model>,
             ObjectMap<api::ModelVersion>, ObjectMap<api::InferenceService>,
             ObjectMap<api::DeploymentStrategy>, ObjectMap<api::Budget>, ObjectMap<api::Queue>>
      maps_;
};

// Reserved, Prepared, Running, Draining: it still holds its resources.
bool holds_resources(const api::Allocation& allocation);
bool is_ended(const api::Allocation& allocation);
bool condition_is_true(const std::vector<api::Condition>& conditions, std::string_view type);

}  // namespace neap::controllers
