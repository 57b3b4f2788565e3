#include "internal/instantiate.h"

NEAP_INSTANTIATE_KIND(Dataset)
NEAP_INSTANTIATE_KIND(DatasetVersion)
NEAP_INSTANTIATE_KIND(DataPolicy)
NEAP_INSTANTIATE_PART(neap::api::DatasetSpec)
NEAP_INSTANTIATE_PART(neap::api::DatasetPart)
NEAP_INSTANTIATE_PART(neap::api::DatasetVersionSpec)
NEAP_INSTANTIATE_PART(neap::api::DataPolicySpec)
