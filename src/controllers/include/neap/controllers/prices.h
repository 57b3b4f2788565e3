// The price book that the sites and links of a cluster state add up to.
#pragma once

#include "neap/controllers/cluster_state.h"
#include "neap/finops/price_book.h"

namespace neap::controllers {

finops::PriceBook price_book_of(const ClusterState& state);
finops::CapacityType to_finops(api::CapacityType type);

}  // namespace neap::controllers
