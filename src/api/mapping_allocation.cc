#include "internal/instantiate.h"

NEAP_INSTANTIATE_KIND(Allocation)
NEAP_INSTANTIATE_PART(neap::api::AllocationSpec)
NEAP_INSTANTIATE_PART(neap::api::AllocationStatus)
NEAP_INSTANTIATE_PART(neap::api::ProcessWork)
NEAP_INSTANTIATE_PART(neap::api::CollectWork)
NEAP_INSTANTIATE_PART(neap::api::ServeWork)
NEAP_INSTANTIATE_PART(neap::api::ShadowStatus)
