#include "internal/instantiate.h"

NEAP_INSTANTIATE_KIND(Model)
NEAP_INSTANTIATE_KIND(ModelVersion)
NEAP_INSTANTIATE_KIND(InferenceService)
NEAP_INSTANTIATE_PART(neap::api::ModelVersionSpec)
NEAP_INSTANTIATE_PART(neap::api::InferenceServiceSpec)
NEAP_INSTANTIATE_PART(neap::api::InferenceServiceStatus)
