// What is known of spot capacity in a set of zones: how long spells of availability and of absence last.
//
// Learned tick by tick, by one observer for any number of jobs. A spell's chance to end is estimated by the
// octave of its age (1, 2-3, 4-7, ... ticks): recorded spells are far from memoryless, many end at once and
// the rest last. Before anything is known each octave holds one end in as many ticks as the octave is long,
// so that a spell is expected to go on for about as long as it has lasted, at every scale (Gott,
// "Implications of the Copernican principle for our future prospects", Nature 363, 1993); what is seen
// outweighs that after a few ends.
//
// Threads: one owner; no clock, no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "neap/scheduler/deadline.h"

namespace neap::scheduler {

class SpotHistory {
 public:
  static constexpr std::size_t kOctaves = 8;
  using ByOctave = std::array<float, kOctaves>;

  explicit SpotHistory(std::size_t zones) : zones_(zones) {}

  // One tick; offers of all the zones, in the same order each time.
  void observe(std::span<const ZoneOffer> offers);

  // Spells that ended.
  std::int64_t ends() const { return ends_; }
  // Of the age of the zone's present spell; of the spell in which no zone is available. A spell that was
  // under way at the first observation counts as old: a long one is likelier to be met.
  std::size_t octave(std::size_t zone) const;
  std::size_t drought_octave() const;

  // Chance that a spell of this octave ends with the next tick: availability in a zone; absence in all zones.
  ByOctave reclaim_chances() const { return up_.chances(); }
  ByOctave return_chances() const { return down_.chances(); }
  // Where a zone is lost: the chance that another is available, and the usual octave of that one's spell.
  double refuge_chance() const;
  std::size_t refuge_octave() const;
  // Mean of the cheapest price on offer, $/h; until something was, the lowest price listed.
  double usual_price() const;

 private:
  struct Spell {
    bool is_available = false;
    std::int64_t age = 0;  // ticks; 0: not observed yet

    // Whether the spell before this tick ended.
    bool advance(bool is_available_now);
  };
  struct Record {
    std::array<double, kOctaves> ends{}, ticks{};

    void add(std::size_t octave, bool is_end);
    ByOctave chances() const;
  };

  std::vector<Spell> zones_;
  Spell market_;  // available: in any zone
  Record up_, down_;
  double losses_ = 0, refuges_ = 0, refuge_octaves_ = 0, price_sum_ = 0, price_ticks_ = 0, list_price_ = 0;
  std::int64_t ends_ = 0;
};

}  // namespace neap::scheduler
