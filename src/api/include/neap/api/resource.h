// Resource<Spec, Status>: a typed object of the API, and the aliases of all kinds of neap.dev/v1.
#pragma once

#include "neap/api/budget.h"
#include "neap/api/site.h"
#include "neap/api/strategy.h"

namespace neap::api {

template <class SpecT, class StatusT>
struct Resource {
  using Spec = SpecT;
  using StatusType = StatusT;
  ObjectMeta metadata;
  Spec spec;
  StatusType status;
};

using Site = Resource<SiteSpec, SiteStatus>;
using Link = Resource<LinkSpec, LinkStatus>;
using Node = Resource<NodeSpec, NodeStatus>;
using Dataset = Resource<DatasetSpec, DatasetStatus>;
using DatasetVersion = Resource<DatasetVersionSpec, DatasetVersionStatus>;
using DataPolicy = Resource<DataPolicySpec, EmptyStatus>;
using SchedulingPolicy = Resource<SchedulingPolicySpec, EmptyStatus>;
using Budget = Resource<BudgetSpec, BudgetStatus>;
using Queue = Resource<QueueSpec, QueueStatus>;
using TrainingJob = Resource<TrainingJobSpec, TrainingJobStatus>;
using Allocation = Resource<AllocationSpec, AllocationStatus>;
using Model = Resource<ModelSpec, ModelStatus>;
using ModelVersion = Resource<ModelVersionSpec, EmptyStatus>;
using InferenceService = Resource<InferenceServiceSpec, InferenceServiceStatus>;
using DeploymentStrategy = Resource<DeploymentStrategySpec, DeploymentStrategyStatus>;

// Kind word and plural of each alias: KindOf<Site>::kind == "Site", ::plural == "sites".
template <class T>
struct KindOf;
#define NEAP_KIND(Type, Plural, Namespaced)            \
  template <>                                          \
  struct KindOf<Type> {                                \
    static constexpr std::string_view kind = #Type;    \
    static constexpr std::string_view plural = Plural; \
    static constexpr bool namespaced = Namespaced;     \
  };
NEAP_KIND(Site, "sites", false)
NEAP_KIND(Link, "links", false)
NEAP_KIND(Node, "nodes", false)
NEAP_KIND(Dataset, "datasets", true)
NEAP_KIND(DatasetVersion, "datasetversions", true)
NEAP_KIND(DataPolicy, "datapolicies", true)
NEAP_KIND(SchedulingPolicy, "schedulingpolicies", true)
NEAP_KIND(Budget, "budgets", true)
NEAP_KIND(Queue, "queues", false)
NEAP_KIND(TrainingJob, "trainingjobs", true)
NEAP_KIND(Allocation, "allocations", true)
NEAP_KIND(Model, "models", true)
NEAP_KIND(ModelVersion, "modelversions", true)
NEAP_KIND(InferenceService, "inferenceservices", true)
NEAP_KIND(DeploymentStrategy, "deploymentstrategies", true)
#undef NEAP_KIND

// JSON mapping from describe(). Unknown members are ignored here; strictness is KindTable's.
// Instantiated in api/ for every alias above.
template <class T>
Json to_json(const T& object);
template <class T>
Result<T> from_json(const Json& value);

}  // namespace neap::api
