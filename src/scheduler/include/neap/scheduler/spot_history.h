// What is known of spot capacity in a set of zones: how long spells of availability and of absence last.
//
// Learned tick by tick, by one observer for any number of jobs. A spell's chance to end is estimated by the
// octave of its age (1, 2-3, 4-7, ... ticks): recorded spells are far from memoryless, many end at once and
// the rest last. Before anything is known each octave holds one end in as many ticks as the octave is long,
// so that a spell is expected to go on for about as long as it has lasted, at every scale (Gott,
// "Implications of the Copernican principle for our future prospects", Nature 363, 1993); what is seen
// outweighs that after a few ends. Zones differ, and one beside which others are available is lost less
// often: both are factors on that chance, drawn towards 1 while little was seen.
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

  explicit SpotHistory(std::size_t zones) : zones_(zones), by_zone_(zones) {}

  // One tick; offers of all the zones, in the same order each time.
  void observe(std::span<const ZoneOffer> offers);

  std::size_t zones() const { return zones_.size(); }
  // Spells that ended.
  std::int64_t ends() const { return ends_; }
  // Of the age of the zone's present spell; of the spell in which no zone is available. A spell that was
  // under way at the first observation counts as old: a long one is likelier to be met.
  std::size_t octave(std::size_t zone) const;
  std::size_t drought_octave() const;

  // Whether so many available zones shelter each other: where one is lost, another may be there.
  static constexpr std::size_t kShelters = 2;
  static std::size_t shelter(std::size_t available) { return available > 1 ? 1 : 0; }

  // Chance that a spell of this octave ends with the next tick: availability in a zone, alone or sheltered;
  // absence in all zones.
  ByOctave reclaim_chances(std::size_t shelter) const;
  ByOctave return_chances() const { return down_.chances(); }
  // How much likelier to end a spell in this zone is than elsewhere at its age; 1 where there is one zone.
  double frailty(std::size_t zone) const { return zones_.size() < 2 ? 1 : by_zone_[zone].factor(); }
  // Chance that a zone that stays available is sheltered at the next tick.
  double shelter_chance(std::size_t shelter) const;
  // Where a zone is lost: the chance that another is available, and the usual octave of that one's spell.
  double refuge_chance(std::size_t shelter) const;
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

  // Ends seen over ends that the usual chances foretold, drawn towards 1.
  struct Frailty {
    double ends = 0, expected = 0;

    double factor() const;
  };

  std::vector<Spell> zones_;
  Spell market_;  // available: in any zone
  Record up_, down_;
  std::vector<Frailty> by_zone_;
  std::array<Frailty, kShelters> by_shelter_;
  std::array<double, kShelters> losses_{}, refuges_{}, stays_{}, changes_{};
  double refuge_octaves_ = 0, price_sum_ = 0, price_ticks_ = 0, list_price_ = 0;
  std::int64_t ends_ = 0;
};

}  // namespace neap::scheduler
