#include "neap/base/time.h"

#include <fmt/format.h>

#include <cmath>

namespace neap {
namespace {

// The difference of any two times that are read fits a Duration, which holds 292 years.
constexpr int kYearMin = 1900, kYearMax = 2189;

std::unexpected<Error> bad_time(std::string_view text) {
  return fail(Code::kInvalidArgument, "time.format",
              fmt::format("\"{}\" is not an RFC 3339 time; write it like 2026-11-22T08:00:00Z", text));
}

bool read_digits(std::string_view text, std::size_t at, std::size_t count, int& out) {
  if (at + count > text.size()) return false;
  int value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  out = value;
  return true;
}

}  // namespace

std::string format_rfc3339(WallTime time, int fraction_digits) {
  using namespace std::chrono;
  const auto days = floor<std::chrono::days>(time);
  const year_month_day date{days};
  const hh_mm_ss<Duration> clock{time - days};
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", int(date.year()),
                                unsigned(date.month()), unsigned(date.day()), clock.hours().count(),
                                clock.minutes().count(), clock.seconds().count());
  if (fraction_digits > 0) {
    const std::string nanos = fmt::format("{:09}", clock.subseconds().count());
    out += '.';
    out += nanos.substr(0, std::size_t(fraction_digits));
  }
  out += 'Z';
  return out;
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
  if (!read_digits(text, 0, 4, y) || !read_digits(text, 5, 2, mo) || !read_digits(text, 8, 2, d) ||
      !read_digits(text, 11, 2, h) || !read_digits(text, 14, 2, mi) || !read_digits(text, 17, 2, s) ||
      text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
      text[16] != ':')
    return bad_time(text);
  const year_month_day date{year{y}, month{unsigned(mo)}, day{unsigned(d)}};
  if (!date.ok() || h > 23 || mi > 59 || s > 60) return bad_time(text);
  std::size_t at = 19;
  std::int64_t nanos = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    std::int64_t scale = 100'000'000;
    const std::size_t first = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
      nanos += (text[at] - '0') * scale;
      scale /= 10;
      ++at;
    }
    if (at == first) return bad_time(text);
  }
  Duration offset{0};
  const std::string_view zone = text.substr(at);
  if (zone != "Z" && zone != "z") {
    int zh = 0, zm = 0;
    if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' ||
        !read_digits(zone, 1, 2, zh) || !read_digits(zone, 4, 2, zm) || zh > 23 || zm > 59)
      return bad_time(text);
    offset = hours{zh} + minutes{zm};
    if (zone[0] == '-') offset = -offset;
  }
  if (y < kYearMin || y > kYearMax)
    return fail(Code::kInvalidArgument, "time.range",
                fmt::format("\"{}\" is too far away to reckon with; write a year from {} to {}", text,
                            kYearMin, kYearMax));
  return WallTime{sys_days{date}} + hours{h} + minutes{mi} + seconds{s} + nanoseconds{nanos} - offset;
}

Result<Duration> parse_duration(std::string_view text) {
  const auto bad = [&] {
    return fail(
        Code::kInvalidArgument, "duration.format",
        fmt::format("\"{}\" is not a duration; write a number and a unit, like 20ms, 1.5s, 5m or 1h30m",
                    text));
  };
  if (text == "0") return Duration{0};
  if (text.empty() || text.size() > 64) return bad();
  double total = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t first = at;
    double number = 0, scale = 1;
    bool dot = false, digit = false;
    while (at < text.size() && ((text[at] >= '0' && text[at] <= '9') || (text[at] == '.' && !dot))) {
      if (text[at] == '.') {
        dot = true;
      } else {
        digit = true;
        if (dot) {
          scale /= 10;
          number += (text[at] - '0') * scale;
        } else {
          number = number * 10 + (text[at] - '0');
        }
      }
      ++at;
    }
    if (at == first || !digit) return bad();
    const std::size_t unit_first = at;
    while (at < text.size() && text[at] >= 'a' && text[at] <= 'z') ++at;
    const std::string_view unit = text.substr(unit_first, at - unit_first);
    if (unit == "ns")
      total += number;
    else if (unit == "us")
      total += number * 1e3;
    else if (unit == "ms")
      total += number * 1e6;
    else if (unit == "s")
      total += number * 1e9;
    else if (unit == "m")
      total += number * 60e9;
    else if (unit == "h")
      total += number * 3600e9;
    else if (unit == "d")
      total += number * 86400e9;
    else
      return bad();
  }
  if (total > 9.2e18) return bad();
  return Duration{std::int64_t(std::llround(total))};
}

std::string format_duration(Duration duration) {
  const std::int64_t n = duration.count();
  if (n == 0) return "0s";
  if (n < 0) return "-" + format_duration(-duration);
  if (n % 3'600'000'000'000 == 0) return fmt::format("{}h", n / 3'600'000'000'000);
  if (n >= 60'000'000'000 && n % 1'000'000'000 == 0) {
    const std::int64_t s = n / 1'000'000'000;
    std::string out;
    if (s / 3600) out += fmt::format("{}h", s / 3600);
    if (s % 3600 / 60) out += fmt::format("{}m", s % 3600 / 60);
    if (s % 60) out += fmt::format("{}s", s % 60);
    return out;
  }
  if (n >= 1'000'000'000) return fmt::format("{:g}s", double(n) / 1e9);
  if (n >= 1'000'000) return fmt::format("{:g}ms", double(n) / 1e6);
  if (n >= 1'000) return fmt::format("{:g}us", double(n) / 1e3);
  return fmt::format("{}ns", n);
}

}  // namespace neap
