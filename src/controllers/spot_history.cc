#include "internal/spot_history.h"

#include <algorithm>
#include <chrono>

namespace neap::controllers {
namespace {

constexpr std::chrono::hours kWindow{30 * 24};
constexpr std::size_t kPricesMax = 2000;  // one change each 20 minutes for 30 days
constexpr std::size_t kSpellsMax = 500;

// The one that held when the window began still counts.
template <class Held>
void forget_old(std::vector<Held>& history, std::size_t most, WallTime now) {
  const auto begin = now - kWindow;
  while (history.size() > 1 && history[1].since && *history[1].since <= begin) history.erase(history.begin());
  if (history.size() > most) history.erase(history.begin(), history.end() - std::ptrdiff_t(most));
}

}  // namespace

void record_spot_price(const api::SiteSpec& spec, std::vector<api::SpotPrice>& history, WallTime now) {
  const auto spot =
      std::ranges::find(spec.prices, api::CapacityType::kSpot, &api::CapacityPrice::capacityType);
  if (spot == spec.prices.end()) {
    history.clear();
    return;
  }
  MoneyMicros price = spot->perCoreHour + spot->perGiBHour;
  for (const auto& [model, amount] : spot->perAcceleratorHour) price += amount;
  if (history.empty() || history.back().price != price) history.push_back({.since = now, .price = price});
  forget_old(history, kPricesMax, now);
}

void record_spot_spell(bool is_available, std::vector<api::SpotSpell>& history, WallTime now) {
  if (history.empty() && !is_available) return;
  if (history.empty() || history.back().available != is_available)
    history.push_back({.since = now, .available = is_available});
  forget_old(history, kSpellsMax, now);
}

bool SpotRecord::Seen::look(bool is_available_now, WallTime at) {
  if (is_available_now == is_available) return is_available;
  std::erase_if(changes, [&](WallTime change) { return change + std::chrono::days(1) <= at; });
  if (changes.size() >= kChangesPerDayMax) return is_available;
  changes.push_back(at);
  return is_available = is_available_now;
}

bool SpotRecord::observe(const std::vector<Zone>& zones, Duration tick, WallTime now) {
  const auto count = std::int64_t(zones.size());
  const bool is_new = !history_ || !std::ranges::equal(zones, names_, {}, &Zone::site);
  if (is_new) {
    names_.clear();
    auto first = now;
    for (const auto& zone : zones) {
      names_.push_back(zone.site);
      first = std::min(first, zone.spells->front().since.value_or(now));
    }
    seen_.assign(zones.size(), {});
    history_.emplace(zones.size());
    const auto ticks = std::clamp<std::int64_t>(kLooksMax / std::max<std::int64_t>(1, count), 1, kTicksMax);
    observed_ = std::max<WallTime>(first, now - ticks * tick) - tick;
    looks_ = 0;
  }
  // What a leader remembers of a site may have been forgotten at its front meanwhile.
  for (auto& seen : seen_) seen.next = 0;
  std::vector<scheduler::ZoneOffer> offers(zones.size());
  for (; count > 0 && observed_ + tick <= now; observed_ += tick) {
    const auto at = observed_ + tick;
    for (std::size_t i = 0; i < zones.size(); ++i) {
      const auto& spells = *zones[i].spells;
      auto& next = seen_[i].next;
      while (next < spells.size() && (!spells[next].since || *spells[next].since <= at)) ++next;
      offers[i] = {.is_available = seen_[i].look(next > 0 && spells[next - 1].available, at), .price = 1};
    }
    history_->observe(offers);
    looks_ += count;
  }
  return is_new;
}

double spot_price_to_median(const std::vector<api::SpotPrice>& history, WallTime now) {
  struct Held {
    std::int64_t price;
    double seconds;
  };
  std::vector<Held> held;
  double total = 0;
  for (std::size_t i = 0; i < history.size(); ++i) {
    const auto from = std::max(history[i].since.value_or(now), now - kWindow);
    const auto to = i + 1 < history.size() ? history[i + 1].since.value_or(now) : now;
    const double seconds = std::max(0.0, std::chrono::duration<double>(to - from).count());
    held.push_back({history[i].price.value, seconds});
    total += seconds;
  }
  if (held.empty() || total <= 0) return 1;
  std::ranges::sort(held, {}, &Held::price);
  double passed = 0;
  for (const auto& [price, seconds] : held) {
    passed += seconds;
    if (passed * 2 >= total) return price > 0 ? double(history.back().price.value) / double(price) : 1;
  }
  return 1;
}

}  // namespace neap::controllers
