// Recorded windows of spot availability: which zones had capacity in each tick, at which price.
//
// Format, one window of one zone a line: `zone id gap_seconds start bits [prices]`; '1' is available; prices
// are
// $/h, run-length coded `USDxTICKS,...` over all ticks. Empty lines and lines that begin with # are skipped.
//
// Threads: plain values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/result.h"

namespace neap::simulation {

struct SpotZone {
  std::string name;
  std::vector<std::uint8_t> available;  // a tick each
  std::vector<float> prices;            // $/h, a tick each
};

// What one job sees: one zone, or zones that were recorded at the same time.
struct SpotWindow {
  std::string id;
  std::int64_t tick_s = 0;
  std::vector<SpotZone> zones;  // at least one; all of the same length, at least one tick

  std::size_t ticks() const { return zones.front().available.size(); }
};

struct SpotTraceOptions {
  // Zones taken, by name or by the part of it before the first '_'; empty: all.
  std::vector<std::string> zones;
  // $/h where a line has no prices.
  double spot_price = 0.9731;
  // Each zone's windows are jobs of their own even where the lines carry prices.
  bool pins_zones = false;
};

// Lines with prices that share an id are one window of several zones; every line without is a window of its
// own. Refuses, naming the line: fields missing or too many, bits other than 0 and 1, prices that do not
// cover the ticks, zones of one window that differ in tick or length, a zone twice in a window, a zone asked
// for and not there.
Result<std::vector<SpotWindow>> parse_spot_windows(std::string_view text, std::string_view name,
                                                   const SpotTraceOptions& options);

}  // namespace neap::simulation
