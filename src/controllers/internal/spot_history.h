// What is remembered of a site's spot capacity, in its status: prices, and when it was there.
//
// A site's prices are a declaration that a feed or a person changes; the history is what leaders saw.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "neap/api/resource.h"
#include "neap/scheduler/spot_history.h"

namespace neap::controllers {

// Adds today's price where it differs from the newest one, and forgets what ended more than 30 days ago.
void record_spot_price(const api::SiteSpec& spec, std::vector<api::SpotPrice>& history, WallTime now);
// Adds whether spot capacity is there where that changed; the newest 500 changes of 30 days are kept.
void record_spot_spell(bool is_available, std::vector<api::SpotSpell>& history, WallTime now);
// Now's price over the median, each price counted by how long it held; 1 where there is no history.
double spot_price_to_median(const std::vector<api::SpotPrice>& history, WallTime now);

// The scheduler's knowledge of spot capacity at sites, made of the spells that their status remembers: a new
// leader replays them, then each tick adds itself.
//
// 1. A replay looks at most kLooksMax times at a zone, over all zones, and at most kTicksMax ticks back: of 5
//    sites the last fortnight where a tick is a minute, of 50 the last 33 hours. That is some milliseconds in
//    which nothing else is decided.
// 2. A zone changes at most kChangesPerDayMax times in a day; beyond that it stays what it was until a day
// has
//    passed since the earliest of them. A node that flaps every minute says something about itself, and would
//    else outweigh all that was learned of a month of spells.
// Belongs to the loop's executor.
class SpotRecord {
 public:
  static constexpr std::int64_t kLooksMax = 100'000, kTicksMax = 20'000;
  static constexpr std::size_t kChangesPerDayMax = 96;

  struct Zone {
    std::string site;
    const std::vector<api::SpotSpell>* spells = nullptr;  // in order of time; not empty
  };
  // Goes on to `now`. True where it began anew, because the sites are not those of the last time.
  bool observe(const std::vector<Zone>& zones, Duration tick, WallTime now);

  const std::vector<std::string>& zones() const { return names_; }
  // Not before the first observe().
  const scheduler::SpotHistory& history() const { return *history_; }
  // At zones, since it began anew.
  std::int64_t looks() const { return looks_; }

 private:
  struct Seen {
    bool is_available = false;
    std::vector<WallTime> changes;  // of the last day
    std::size_t next = 0;           // spell that may hold at the next look

    bool look(bool is_available_now, WallTime at);
  };

  std::vector<std::string> names_;
  std::vector<Seen> seen_;
  std::optional<scheduler::SpotHistory> history_;
  WallTime observed_{};
  std::int64_t looks_ = 0;
};

}  // namespace neap::controllers
