// The 30-day median of a site's spot price, from what its spec declared over that time.
//
// A site's prices are a declaration that a feed or a person changes; the history is what this leader saw.
#pragma once

#include "neap/api/resource.h"

namespace neap::controllers {

// Adds today's price where it differs from the newest one, and forgets what ended more than 30 days ago.
void record_spot_price(const api::SiteSpec& spec, std::vector<api::SpotPrice>& history, WallTime now);
// Now's price over the median, each price counted by how long it held; 1 where there is no history.
double spot_price_to_median(const std::vector<api::SpotPrice>& history, WallTime now);

}  // namespace neap::controllers
