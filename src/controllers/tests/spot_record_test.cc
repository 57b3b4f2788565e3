// What a leader makes of the spells that sites remember: how much it reads again, and how often a zone counts
// as having changed.
#include <gtest/gtest.h>

#include "internal/spot_history.h"

namespace neap::controllers {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using Spells = std::vector<api::SpotSpell>;

const WallTime kNow{days(20'000)};

// Available and not in turn, each so long, until now.
Spells spells(Duration each, int count) {
  Spells out;
  for (int i = count; i > 0; --i) out.push_back({.since = kNow - i * each, .available = i % 2 == 0});
  return out;
}

TEST(SpotRecord, reads_a_bounded_part_again_however_many_sites_and_spells_there_are) {
  const auto long_ago = spells(hours(2), 360);
  for (const int sites : {1, 5, 50, 400}) {
    SpotRecord record;
    std::vector<SpotRecord::Zone> zones;
    for (int i = 0; i < sites; ++i) zones.push_back({.site = "s" + std::to_string(i), .spells = &long_ago});
    EXPECT_TRUE(record.observe(zones, minutes(1), kNow));
    EXPECT_LE(record.looks(), SpotRecord::kLooksMax + sites) << sites;
    EXPECT_GE(record.looks(), std::min<std::int64_t>(sites * 20'000, SpotRecord::kLooksMax) - sites) << sites;
    const auto before = record.looks();
    EXPECT_FALSE(record.observe(zones, minutes(1), kNow + minutes(3)));
    EXPECT_EQ(record.looks(), before + 3 * sites) << "then each tick adds itself";
    EXPECT_TRUE(record.observe({zones[0]}, minutes(1), kNow + minutes(4)) == (sites > 1));
  }
}

TEST(SpotRecord, knows_the_spells_as_they_were) {
  SpotRecord record;
  const auto hourly = spells(hours(1), 48);
  (void)record.observe({{.site = "a", .spells = &hourly}}, minutes(1), kNow);
  EXPECT_EQ(record.history().ends(), 47);
  EXPECT_EQ(record.history().octave(0), 5u) << "an hour of minutes";
}

TEST(SpotRecord, a_zone_that_flaps_counts_so_often_a_day_and_no_more) {
  SpotRecord record;
  auto flapping = spells(minutes(1), 400);
  (void)record.observe({{.site = "a", .spells = &flapping}}, minutes(1), kNow);
  EXPECT_LE(record.history().ends(), std::int64_t(SpotRecord::kChangesPerDayMax));
  for (int i = 0; i < 3 * 1440; ++i) {
    flapping.push_back({.since = kNow + minutes(i), .available = i % 2 == 0});
    (void)record.observe({{.site = "a", .spells = &flapping}}, minutes(1), kNow + minutes(i));
  }
  EXPECT_LE(record.history().ends(), std::int64_t(5 * SpotRecord::kChangesPerDayMax));
  EXPECT_GE(record.history().ends(), std::int64_t(3 * SpotRecord::kChangesPerDayMax));
}

TEST(SpotRecord, without_sites_there_is_nothing_to_read) {
  SpotRecord record;
  EXPECT_TRUE(record.observe({}, minutes(1), kNow));
  EXPECT_EQ(record.history().zones(), 0u);
  EXPECT_EQ(record.looks(), 0);
}

}  // namespace
}  // namespace neap::controllers
