#include "neap/simulation/spot_worlds.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "neap/base/draw.h"

namespace neap::simulation {
namespace {

enum class Law : std::uint8_t { kExponential, kLognormal, kWeibull, kMixture, kPareto, kRegular };
constexpr std::array<std::string_view, 6> kLawNames{"exponential", "lognormal", "Weibull",
                                                    "mixture",     "Pareto",    "regular"};

struct Kind {
  Law available, absent;
  double share;  // of ticks available
  double cycle;  // ticks, a spell of each on average
  std::size_t zones;
  bool changes;
  std::int64_t tick_s;
};

double draw_length(Draw& draw, Law law, double mean) {
  const double u = 1 - draw.unit();  // never 0
  const double exponential = -std::log(u);
  switch (law) {
    case Law::kExponential:
      return mean * exponential;
    case Law::kLognormal: {
      constexpr double kSigma = 1.5;
      const double normal = std::sqrt(2 * exponential) * std::cos(2 * std::numbers::pi * draw.unit());
      return mean * std::exp(kSigma * normal - kSigma * kSigma / 2);
    }
    case Law::kWeibull:
      return mean * exponential * exponential / 2;
    case Law::kMixture:
      return mean * exponential * (draw.unit() < 0.7 ? 0.1 : 3.1);
    case Law::kPareto:
      return mean / 3 * std::pow(u, -1 / 1.5);
    case Law::kRegular:
      break;
  }
  return mean * (0.5 + u);
}

SpotZone make_zone(Draw& draw, const Kind& kind, std::size_t index, std::size_t ticks) {
  SpotZone zone{.name = fmt::format("z{}", index), .available = {}, .prices = {}};
  const bool is_one_of_many = kind.zones > 1;
  // Zones of one window differ: from half the share to one and a tenth of it.
  const double share =
      is_one_of_many
          ? kind.share * (0.5 + 0.6 * static_cast<double>(index) / static_cast<double>(kind.zones - 1))
          : kind.share;
  const double later = share < 0.5 ? std::min(0.9, share + 0.4) : share - 0.4;
  const std::size_t change = ticks / 3 + draw.below(ticks / 3 + 1);
  double price = is_one_of_many ? 0.9 + 0.15 * static_cast<double>(index) : 0.9731;
  bool is_available = draw.unit() < share;
  double under_way = draw.unit();
  while (zone.available.size() < ticks) {
    const double now = kind.changes && zone.available.size() > change ? later : share;
    const double mean = kind.cycle * (is_available ? now : 1 - now);
    const double length = draw_length(draw, is_available ? kind.available : kind.absent, mean) * under_way;
    under_way = 1;
    const auto left = static_cast<double>(ticks - zone.available.size());
    const auto whole = static_cast<std::size_t>(std::clamp(std::round(length), 1.0, left));
    zone.available.insert(zone.available.end(), whole, is_available);
    zone.prices.insert(zone.prices.end(), whole, static_cast<float>(price));
    if (is_one_of_many && draw.unit() < 0.3) price *= 0.9 + 0.2 * draw.unit();
    is_available = !is_available;
  }
  return zone;
}

}  // namespace

std::vector<SpotWorld> make_spot_worlds(std::uint64_t seed, std::size_t windows) {
  constexpr std::size_t kWorlds = 20;
  constexpr std::int64_t kWork = std::int64_t{24} * 3600;
  constexpr std::array kShares{0.25, 0.5, 0.7, 0.85}, kDeadlines{1.08, 1.25, 1.5, 1.9};
  constexpr std::array kCycles{24.0, 60.0, 150.0};
  constexpr std::array<std::int64_t, 3> kChangeovers{180, 720, 1440};
  std::vector<SpotWorld> worlds;
  for (std::size_t n = 0; n < kWorlds; ++n) {
    Draw draw(seed * kWorlds + n);
    const Kind kind{.available = static_cast<Law>(n % 6),
                    .absent = static_cast<Law>((n / 2 + 1) % 6),
                    .share = kShares[n % 4],
                    .cycle = kCycles[n % 3],
                    .zones = n >= 15      ? 2 + n % 3
                             : n % 5 == 4 ? 2 + n / 5
                                          : 1,
                    .changes = n % 7 == 3 || n % 7 == 6,
                    .tick_s = n % 2 == 0 ? 300 : 600};
    auto& world = worlds.emplace_back();
    world.terms = {.work_s = kWork,
                   .deadline_s = std::llround(static_cast<double>(kWork) * kDeadlines[n / 3 % 4]),
                   .changeover_s = kChangeovers[n / 2 % 3]};
    world.name = fmt::format("{}/{} {:.0f}% of {:.0f}{}, {} zone{}", kLawNames[n % 6],
                             kLawNames[(n / 2 + 1) % 6], 100 * kind.share, kind.cycle,
                             kind.changes ? " changing" : "", kind.zones, kind.zones > 1 ? "s" : "");
    const auto ticks = static_cast<std::size_t>(world.terms.deadline_s / kind.tick_s) + 2;
    for (std::size_t number = 0; number < windows; ++number) {
      auto& window = world.windows.emplace_back();
      window.id = fmt::format("{}", number);
      window.tick_s = kind.tick_s;
      for (std::size_t zone = 0; zone < kind.zones; ++zone)
        window.zones.push_back(make_zone(draw, kind, zone, ticks));
    }
  }
  return worlds;
}

}  // namespace neap::simulation
