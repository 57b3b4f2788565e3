#include "internal/instantiate.h"

NEAP_INSTANTIATE_KIND(Site)
NEAP_INSTANTIATE_KIND(Link)
NEAP_INSTANTIATE_KIND(Node)
NEAP_INSTANTIATE_PART(neap::api::ObjectMeta)
NEAP_INSTANTIATE_PART(neap::api::Condition)
NEAP_INSTANTIATE_PART(neap::api::Resources)
NEAP_INSTANTIATE_PART(neap::api::ArtifactRef)
NEAP_INSTANTIATE_PART(neap::api::SiteSpec)
NEAP_INSTANTIATE_PART(neap::api::NodeSpec)
NEAP_INSTANTIATE_PART(neap::api::NodeStatus)
NEAP_INSTANTIATE_PART(neap::api::LinkSpec)
