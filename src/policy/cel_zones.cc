// Named time zones, from a table that is part of the program: a decision must not depend on the machine.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "internal/node.h"

namespace neap::policy {
namespace {

constexpr auto kLines = std::to_array<std::string_view>({
#include "time_zones.inc"
});
constexpr std::int64_t kTableBegin = 946'684'800;  // 2000-01-01T00:00:00Z
constexpr std::int64_t kDay = 86'400;

// A day of each year ("M3.5.0/2": the last Sunday of March at 02:00 local time) on which the offset changes.
struct YearlyChange {
  unsigned month = 0, week = 0, weekday = 0;
  std::int64_t second_of_day = 7200;
};

struct ZoneRule {
  std::int64_t first_offset = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> transitions;
  std::int64_t standard = 0, summer = 0;
  bool has_summer = false;
  YearlyChange begin, end;
};

std::int64_t take_number(std::string_view& text) {
  std::int64_t value = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  text.remove_prefix(std::size_t(read.ptr - text.data()));
  return value;
}
bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}
// "5:45" in seconds, "-3:30" too.
std::int64_t take_clock(std::string_view& text) {
  const bool negative = text.starts_with('-');
  std::int64_t seconds = take_number(text) * 3600;
  if (take(text, ':')) seconds += (negative ? -60 : 60) * take_number(text);
  return seconds;
}
void skip_name(std::string_view& text) {
  if (text.starts_with('<')) {
    text.remove_prefix(text.find('>') + 1);
    return;
  }
  while (!text.empty() && ((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z')))
    text.remove_prefix(1);
}
YearlyChange take_change(std::string_view& text) {
  YearlyChange out;
  (void)take(text, ',');
  (void)take(text, 'M');
  out.month = unsigned(take_number(text));
  (void)take(text, '.');
  out.week = unsigned(take_number(text));
  (void)take(text, '.');
  out.weekday = unsigned(take_number(text));
  if (take(text, '/')) out.second_of_day = take_clock(text);
  return out;
}

// POSIX.1 TZ: offsets count west of Greenwich.
void read_rule(std::string_view text, ZoneRule& out) {
  skip_name(text);
  out.standard = out.summer = -take_clock(text);
  if (text.empty()) return;
  skip_name(text);
  out.has_summer = true;
  out.summer = text.starts_with(',') ? out.standard + 3600 : -take_clock(text);
  out.begin = take_change(text);
  out.end = take_change(text);
}

std::int64_t moment_of(const YearlyChange& change, std::chrono::year year, std::int64_t offset_before) {
  using namespace std::chrono;
  const weekday day(change.weekday);
  const auto date = change.week == 5
                        ? sys_days(year / month(change.month) / weekday_last(day))
                        : sys_days(year / month(change.month) / weekday_indexed(day, change.week));
  return date.time_since_epoch().count() * kDay + change.second_of_day - offset_before;
}

std::int64_t yearly_offset(const ZoneRule& rule, std::int64_t seconds) {
  if (!rule.has_summer) return rule.standard;
  const std::chrono::sys_seconds at{std::chrono::seconds(seconds + rule.standard)};
  const auto year = std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(at)).year();
  const auto begin = moment_of(rule.begin, year, rule.standard);
  const auto end = moment_of(rule.end, year, rule.summer);
  const bool summer = begin < end ? seconds >= begin && seconds < end : seconds < end || seconds >= begin;
  return summer ? rule.summer : rule.standard;
}

struct ZoneTable {
  std::vector<ZoneRule> rules;
  // Sorted by name.
  std::vector<std::pair<std::string_view, std::size_t>> names;

  ZoneTable() {
    for (auto line : kLines) {
      ZoneRule rule;
      rule.first_offset = take_number(line);
      (void)take(line, '|');
      while (!take(line, '|')) {
        const auto moment = take_number(line);
        (void)take(line, ':');
        rule.transitions.emplace_back(moment, take_number(line));
        (void)take(line, ',');
      }
      read_rule(line.substr(0, line.find('|')), rule);
      line.remove_prefix(line.find('|') + 1);
      while (!line.empty()) {
        const auto name = line.substr(0, line.find(' '));
        names.emplace_back(name, rules.size());
        line.remove_prefix(std::min(line.size(), name.size() + 1));
      }
      rules.push_back(std::move(rule));
    }
    std::sort(names.begin(), names.end());
  }
};

// "+08:00", "-8:30", "08:00".
bool parse_fixed(std::string_view text, std::int64_t& seconds) {
  std::size_t at = 0;
  const int sign = text[0] == '-' ? -1 : 1;
  if (text[0] == '-' || text[0] == '+') ++at;
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon - at < 1 || colon - at > 2 || text.size() - colon != 3)
    return false;
  int part[2] = {0, 0};
  for (std::size_t i = at; i < text.size(); ++i) {
    if (i == colon) continue;
    if (text[i] < '0' || text[i] > '9') return false;
    part[i > colon] = part[i > colon] * 10 + (text[i] - '0');
  }
  seconds = sign * (part[0] * 3600 + part[1] * 60);
  return true;
}

}  // namespace

bool find_zone_offset(std::string_view zone, std::int64_t seconds, std::int64_t& offset) {
  offset = 0;
  if (zone.empty() || zone == "UTC" || zone == "Z") return true;
  if (parse_fixed(zone, offset)) return true;
  static const ZoneTable table;
  const auto found =
      std::lower_bound(table.names.begin(), table.names.end(), zone,
                       [](const auto& row, std::string_view name) { return row.first < name; });
  if (found == table.names.end() || found->first != zone) return false;
  const auto& rule = table.rules[found->second];
  // What the table does not know is refused, not guessed.
  if (seconds < kTableBegin) return false;
  const auto after = std::upper_bound(rule.transitions.begin(), rule.transitions.end(), seconds,
                                      [](std::int64_t at, const auto& row) { return at < row.first; });
  if (after == rule.transitions.end()) {
    offset = yearly_offset(rule, seconds);
    return true;
  }
  offset = after == rule.transitions.begin() ? rule.first_offset : std::prev(after)->second;
  return true;
}

}  // namespace neap::policy
