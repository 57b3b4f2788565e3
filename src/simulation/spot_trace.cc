#include "neap/simulation/spot_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace neap::simulation {
namespace {

constexpr std::int64_t kTickSecondsMax = 86'400;
constexpr std::size_t kTicksMax = 100'000;
constexpr std::size_t kWindowsMax = 100'000;

struct Place {
  std::string_view name;
  std::size_t line;
};

std::unexpected<Error> refuse(const Place& place, std::string_view what) {
  return fail(Code::kInvalidArgument, "simulation.spot.trace",
              fmt::format("{} line {}: {}; write `zone id gap_seconds start bits [prices]`", place.name,
                          place.line, what));
}

template <typename T>
bool reads(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (std::size_t from = 0; (from = text.find_first_not_of(separators, from)) != std::string_view::npos;) {
    const auto to = std::min(text.find_first_of(separators, from), text.size());
    parts.push_back(text.substr(from, to - from));
    from = to;
  }
  return parts;
}

Status read_prices(std::string_view text, const Place& place, std::size_t ticks, std::vector<float>& prices) {
  for (const auto run : split(text, ",")) {
    const auto x = run.find('x');
    float price = 0;
    std::size_t count = 0;
    if (x == std::string_view::npos || !reads(run.substr(0, x), price) || !reads(run.substr(x + 1), count) ||
        !std::isfinite(price) || price < 0 || count == 0 || count > ticks - prices.size())
      return refuse(place,
                    fmt::format("'{}' is no price of the {} ticks, USDxTICKS", run.substr(0, 40), ticks));
    prices.insert(prices.end(), count, price);
  }
  if (prices.size() != ticks)
    return refuse(place, fmt::format("the prices cover {} of {} ticks", prices.size(), ticks));
  return {};
}

bool is_wanted(std::string_view zone, const std::vector<std::string>& zones) {
  return zones.empty() || std::ranges::any_of(zones, [&](const std::string& wanted) {
           return zone == wanted || zone.substr(0, zone.find('_')) == wanted;
         });
}

struct Line {
  std::string id;
  std::int64_t tick_s = 0;
  bool has_prices = false;
  SpotZone zone;
};

Result<Line> read_line(std::span<const std::string_view> fields, const Place& place, double spot_price) {
  Line line;
  line.zone.name = fields[0];
  line.id = fields[1];
  if (!reads(fields[2], line.tick_s) || line.tick_s < 1 || line.tick_s > kTickSecondsMax)
    return refuse(place, fmt::format("a tick of '{}' seconds is not 1 to {}", fields[2].substr(0, 20),
                                     kTickSecondsMax));
  const auto bits = fields[4];
  if (bits.size() > kTicksMax) return refuse(place, fmt::format("more than {} ticks", kTicksMax));
  if (bits.find_first_not_of("01") != std::string_view::npos)
    return refuse(place, "the bits have something other than 0 and 1");
  line.zone.available.reserve(bits.size());
  for (const char bit : bits) line.zone.available.push_back(bit == '1');
  if (fields.size() == 6) {
    line.has_prices = true;
    NEAP_TRY_VOID(read_prices(fields[5], place, bits.size(), line.zone.prices));
  } else {
    line.zone.prices.assign(bits.size(), static_cast<float>(spot_price));
  }
  return line;
}

}  // namespace

Result<std::vector<SpotWindow>> parse_spot_windows(std::string_view text, std::string_view name,
                                                   const SpotTraceOptions& options) {
  std::vector<SpotWindow> windows;
  std::map<std::string, std::size_t> shared;
  std::set<std::string, std::less<>> seen;
  Place place{name, 0};
  for (std::size_t from = 0; from < text.size();) {
    const auto to = std::min(text.find('\n', from), text.size());
    const auto row = text.substr(from, to - from);
    from = to + 1;
    ++place.line;
    const auto fields = split(row, " \t\r");
    if (fields.empty() || fields[0].starts_with('#')) continue;
    if (fields.size() != 5 && fields.size() != 6)
      return refuse(place, fmt::format("{} fields where 5 or 6 stand", fields.size()));
    if (!is_wanted(fields[0], options.zones)) continue;
    seen.emplace(fields[0]);
    NEAP_TRY(auto line, read_line(fields, place, options.spot_price));
    const auto known = shared.find(line.id);
    if (!line.has_prices || options.pins_zones || known == shared.end()) {
      if (windows.size() == kWindowsMax)
        return refuse(place, fmt::format("more than {} windows", kWindowsMax));
      if (line.has_prices && !options.pins_zones) shared.emplace(line.id, windows.size());
      auto& window = windows.emplace_back();
      window.id = std::move(line.id);
      window.tick_s = line.tick_s;
      window.zones.push_back(std::move(line.zone));
      continue;
    }
    auto& window = windows[known->second];
    if (window.tick_s != line.tick_s || window.ticks() != line.zone.available.size())
      return refuse(place, fmt::format("window {} has {} ticks of {} s here and {} of {} s in another zone",
                                       window.id.substr(0, 40), line.zone.available.size(), line.tick_s,
                                       window.ticks(), window.tick_s));
    if (std::ranges::any_of(window.zones, [&](const SpotZone& zone) { return zone.name == line.zone.name; }))
      return refuse(place, fmt::format("zone {} stands twice in window {}", line.zone.name.substr(0, 40),
                                       window.id.substr(0, 40)));
    window.zones.push_back(std::move(line.zone));
  }
  for (const auto& wanted : options.zones)
    if (std::ranges::none_of(seen, [&](const std::string& zone) { return is_wanted(zone, {wanted}); }))
      return fail(
          Code::kNotFound, "simulation.spot.zone",
          fmt::format("{} has no window of zone {}; the first field of a line names its zone", name, wanted));
  if (windows.empty())
    return fail(
        Code::kInvalidArgument, "simulation.spot.trace",
        fmt::format("{} has no window; write `zone id gap_seconds start bits [prices]`, one a line", name));
  return windows;
}

}  // namespace neap::simulation
