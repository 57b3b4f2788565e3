#include "internal/instantiate.h"

NEAP_INSTANTIATE_KIND(Budget)
NEAP_INSTANTIATE_KIND(Queue)
NEAP_INSTANTIATE_PART(neap::api::BudgetStatus)
NEAP_INSTANTIATE_PART(neap::api::QueueStatus)
