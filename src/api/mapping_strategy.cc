#include "internal/instantiate.h"

NEAP_INSTANTIATE_KIND(SchedulingPolicy)
NEAP_INSTANTIATE_KIND(DeploymentStrategy)
NEAP_INSTANTIATE_PART(neap::api::SchedulingPolicySpec)
NEAP_INSTANTIATE_PART(neap::api::DeploymentStrategySpec)
NEAP_INSTANTIATE_PART(neap::api::DeploymentStrategyStatus)
