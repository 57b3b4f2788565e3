// What is remembered of a site's spot capacity, in its status: prices, and when it was there.
//
// A site's prices are a declaration that a feed or a person changes; the history is what leaders saw.
#pragma once

#include "neap/api/resource.h"

namespace neap::controllers {

// Adds today's price where it differs from the newest one, and forgets what ended more than 30 days ago.
void record_spot_price(const api::SiteSpec& spec, std::vector<api::SpotPrice>& history, WallTime now);
// Adds whether spot capacity is there where that changed; the newest 500 changes of 30 days are kept.
void record_spot_spell(bool is_available, std::vector<api::SpotSpell>& history, WallTime now);
// Now's price over the median, each price counted by how long it held; 1 where there is no history.
double spot_price_to_median(const std::vector<api::SpotPrice>& history, WallTime now);

}  // namespace neap::controllers
