#include "neap/scheduler/spot_history.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace neap::scheduler {
namespace {

constexpr std::int64_t kUnseenAge = std::int64_t{1} << (SpotHistory::kOctaves - 1);

std::size_t octave_of(std::int64_t age) {
  const auto octave = std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(age, 1))) - 1;
  return std::min(static_cast<std::size_t>(octave), SpotHistory::kOctaves - 1);
}

}  // namespace

bool SpotHistory::Spell::advance(bool is_available_now) {
  const bool is_first = age == 0;
  const bool is_over = !is_first && is_available != is_available_now;
  age = is_first ? kUnseenAge : is_over ? 1 : age + 1;
  is_available = is_available_now;
  return is_over;
}

void SpotHistory::Record::add(std::size_t octave, bool is_end) {
  ticks[octave] += 1;
  ends[octave] += is_end;
}

SpotHistory::ByOctave SpotHistory::Record::chances() const {
  ByOctave out{};
  for (std::size_t octave = 0; octave < kOctaves; ++octave) {
    const double length = std::exp2(static_cast<double>(octave));
    out[octave] = static_cast<float>(1 - std::exp(-(ends[octave] + 1) / (ticks[octave] + length)));
  }
  return out;
}

double SpotHistory::Frailty::factor() const {
  constexpr double kUnseen = 8;  // ends, as many as foretold
  return (ends + kUnseen) / (expected + kUnseen);
}

SpotHistory::ByOctave SpotHistory::reclaim_chances(std::size_t shelter) const {
  auto chances = up_.chances();
  if (zones_.size() < 2) return chances;
  const double factor = by_shelter_[shelter].factor();
  for (auto& chance : chances)
    chance = static_cast<float>(1 - std::pow(1 - static_cast<double>(chance), factor));
  return chances;
}

std::size_t SpotHistory::octave(std::size_t zone) const { return octave_of(zones_[zone].age); }
std::size_t SpotHistory::drought_octave() const { return octave_of(market_.age); }

void SpotHistory::observe(std::span<const ZoneOffer> offers) {
  const ZoneOffer* cheapest = nullptr;
  list_price_ = offers.empty() ? 0 : offers.front().price;
  for (const auto& offer : offers) {
    if (offer.is_available && (cheapest == nullptr || offer.price < cheapest->price)) cheapest = &offer;
    list_price_ = std::min(list_price_, offer.price);
  }
  if (cheapest != nullptr) {
    price_sum_ += cheapest->price;
    price_ticks_ += 1;
  }
  std::size_t was_available = 0, is_available = 0;
  double losses = 0;
  for (const auto& spell : zones_) was_available += spell.age > 0 && spell.is_available;
  for (const auto& offer : offers) is_available += offer.is_available;
  const auto sheltered = shelter(was_available);
  const auto usual = up_.chances();
  for (std::size_t zone = 0; zone < zones_.size(); ++zone) {
    auto& spell = zones_[zone];
    const Spell before = spell;
    const bool is_over = spell.advance(offers[zone].is_available);
    ends_ += is_over;
    if (before.age == 0 || !before.is_available) continue;
    const auto octave = octave_of(before.age);
    for (auto* frailty : {&by_zone_[zone], &by_shelter_[sheltered]}) {
      frailty->ends += is_over;
      frailty->expected += static_cast<double>(usual[octave]);
    }
    up_.add(octave, is_over);
    if (is_over) {
      losses += 1;
    } else {
      stays_[sheltered] += 1;
      changes_[sheltered] += shelter(is_available) != sheltered;
    }
  }
  losses_[sheltered] += losses;
  if (cheapest != nullptr) {
    refuges_[sheltered] += losses;
    refuge_octaves_ +=
        losses * static_cast<double>(octave(static_cast<std::size_t>(cheapest - offers.data())));
  }
  const Spell before = market_;
  const bool is_over = market_.advance(cheapest != nullptr);
  if (before.age > 0 && !before.is_available) down_.add(octave_of(before.age), is_over);
}

double SpotHistory::shelter_chance(std::size_t shelter) const {
  constexpr double kUnseenTicks = 8;  // with one change
  const double changes = 1 - std::exp(-(changes_[shelter] + 1) / (stays_[shelter] + kUnseenTicks));
  return shelter == 0 ? changes : 1 - changes;
}

double SpotHistory::refuge_chance(std::size_t shelter) const {
  // One loss before any was seen: nearly always another zone stays, nearly never one comes in the same tick.
  constexpr std::array kUnseen{0.1, 0.9};
  return zones_.size() < 2 ? 0 : (refuges_[shelter] + kUnseen[shelter]) / (losses_[shelter] + 1);
}

std::size_t SpotHistory::refuge_octave() const {
  // One refuge of a middle octave before any was seen.
  return static_cast<std::size_t>(
      std::lround((refuge_octaves_ + (kOctaves - 1) / 2.0) / (refuges_[0] + refuges_[1] + 1)));
}

double SpotHistory::usual_price() const { return price_ticks_ > 0 ? price_sum_ / price_ticks_ : list_price_; }

}  // namespace neap::scheduler
