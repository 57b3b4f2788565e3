#include "internal/instantiate.h"

NEAP_INSTANTIATE_KIND(TrainingJob)
NEAP_INSTANTIATE_PART(neap::api::TrainingJobSpec)
NEAP_INSTANTIATE_PART(neap::api::TrainingJobStatus)
NEAP_INSTANTIATE_PART(neap::api::CheckpointStatus)
