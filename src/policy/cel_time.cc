#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>

#include "internal/node.h"

namespace neap::policy {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::int64_t kDurationSecondsMax = 315'576'000'000;
constexpr std::int64_t kTimestampSecondsMin = -62'135'596'800;  // 0001-01-01T00:00:00Z
constexpr std::int64_t kTimestampSecondsMax = 253'402'300'799;  // 9999-12-31T23:59:59Z

// A reader that fails once and stays failed.
struct Digits {
  std::string_view text;
  std::size_t at = 0;
  bool good = true;

  int number(int width) {
    int value = 0;
    for (int i = 0; i < width; ++i) {
      if (at >= text.size() || text[at] < '0' || text[at] > '9') {
        good = false;
        return 0;
      }
      value = value * 10 + (text[at++] - '0');
    }
    return value;
  }
  void expect(char c) {
    if (at < text.size() && (text[at] == c || (c == 'T' && text[at] == 't')))
      ++at;
    else
      good = false;
  }
  char peek() const { return at < text.size() ? text[at] : '\0'; }
};

using K = Value::Kind;

}  // namespace

TimeSpan normalized(__int128 nanos) {
  return {std::int64_t(nanos / kNanosPerSecond), std::int32_t(nanos % kNanosPerSecond)};
}
__int128 total_nanos(const TimeSpan& span) { return __int128(span.seconds) * kNanosPerSecond + span.nanos; }

bool is_duration_in_range(const TimeSpan& span) {
  const __int128 limit = __int128(kDurationSecondsMax) * kNanosPerSecond;
  const __int128 nanos = total_nanos(span);
  return nanos >= -limit && nanos <= limit;
}
bool is_timestamp_in_range(const TimeSpan& span) {
  return span.seconds >= kTimestampSecondsMin && span.seconds <= kTimestampSecondsMax;
}

bool parse_cel_duration(std::string_view text, TimeSpan& out) {
  if (text.empty() || text.size() > 64) return false;
  std::size_t at = 0;
  bool negative = false;
  if (text[at] == '-' || text[at] == '+') negative = text[at++] == '-';
  if (text.substr(at) == "0") {
    out = {};
    return true;
  }
  __int128 total = 0;
  if (at == text.size()) return false;
  while (at < text.size()) {
    __int128 whole = 0, fraction = 0, scale = 1;
    bool digit = false;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, digit = true) {
      whole = whole * 10 + (text[at] - '0');
      if (whole > __int128(kDurationSecondsMax) * kNanosPerSecond) return false;
    }
    if (at < text.size() && text[at] == '.')
      for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, digit = true)
        if (scale < kNanosPerSecond) {
          fraction = fraction * 10 + (text[at] - '0');
          scale *= 10;
        }
    if (!digit) return false;
    const auto rest = text.substr(at);
    __int128 unit = 0;
    std::size_t used = 0;
    const auto take = [&](std::string_view name, __int128 nanos) {
      if (unit == 0 && rest.starts_with(name)) {
        unit = nanos;
        used = name.size();
      }
    };
    take("ns", 1);
    take("us", 1000);
    take("ms", 1'000'000);
    take("s", kNanosPerSecond);
    take("m", 60 * __int128(kNanosPerSecond));
    take("h", 3600 * __int128(kNanosPerSecond));
    if (unit == 0) return false;
    at += used;
    total += whole * unit + fraction * unit / scale;
    if (total > __int128(kDurationSecondsMax) * kNanosPerSecond) return false;
  }
  out = normalized(negative ? -total : total);
  return true;
}

std::string format_cel_duration(TimeSpan span) {
  const bool negative = span.seconds < 0 || span.nanos < 0;
  std::string out = fmt::format("{}{}", negative ? "-" : "", std::llabs(span.seconds));
  if (span.nanos != 0) {
    out += fmt::format(".{:09}", std::abs(span.nanos));
    while (out.back() == '0') out.pop_back();
  }
  return out + "s";
}

bool parse_cel_timestamp(std::string_view text, TimeSpan& out) {
  if (text.size() < 20 || text.size() > 40) return false;
  Digits in{text};
  const int year = in.number(4);
  in.expect('-');
  const int month = in.number(2);
  in.expect('-');
  const int day = in.number(2);
  in.expect('T');
  const int hour = in.number(2);
  in.expect(':');
  const int minute = in.number(2);
  in.expect(':');
  const int second = in.number(2);
  std::int32_t nanos = 0;
  if (in.peek() == '.') {
    ++in.at;
    int digits = 0;
    for (; in.peek() >= '0' && in.peek() <= '9'; ++in.at, ++digits)
      if (digits < 9) nanos = nanos * 10 + (in.peek() - '0');
    if (digits == 0) return false;
    for (; digits < 9; ++digits) nanos *= 10;
  }
  std::int64_t offset = 0;
  if (in.peek() == 'Z' || in.peek() == 'z') {
    ++in.at;
  } else if (in.peek() == '+' || in.peek() == '-') {
    const int sign = in.peek() == '-' ? -1 : 1;
    ++in.at;
    const int hours = in.number(2);
    in.expect(':');
    offset = sign * (hours * 3600 + in.number(2) * 60);
  } else {
    return false;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(unsigned(month)),
                                         std::chrono::day(unsigned(day))};
  if (!in.good || in.at != text.size() || !date.ok() || hour > 23 || minute > 59 || second > 59) return false;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  out = {days * 86400 + hour * 3600 + minute * 60 + second - offset, nanos};
  return is_timestamp_in_range(out);
}

std::string format_cel_timestamp(TimeSpan span) {
  const std::chrono::sys_seconds at{std::chrono::seconds(span.seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{at - day};
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", int(date.year()),
                                unsigned(date.month()), unsigned(date.day()), clock.hours().count(),
                                clock.minutes().count(), clock.seconds().count());
  if (span.nanos != 0) {
    out += fmt::format(".{:09}", span.nanos);
    while (out.back() == '0') out.pop_back();
  }
  return out + "Z";
}

Fault call_time(Function function, const Value* args, std::size_t count, Value& out) {
  if (args[0].is(K::kDuration) && count == 1) {
    const auto span = args[0].as_time();
    switch (function) {
      case Function::kHours:
        return give(out, Value::integer(span.seconds / 3600));
      case Function::kMinutes:
        return give(out, Value::integer(span.seconds / 60));
      case Function::kSeconds:
        return give(out, Value::integer(span.seconds));
      case Function::kMilliseconds:
        return give(out, Value::integer(span.nanos / 1'000'000));
      default:
        return Fault::kNoOverload;
    }
  }
  if (!args[0].is(K::kTimestamp) || (count == 2 && !args[1].is(K::kString))) return Fault::kNoOverload;
  std::int64_t zone = 0;
  const auto span = args[0].as_time();
  if (count == 2 && !find_zone_offset(args[1].as_text(), span.seconds, zone)) return Fault::kConversion;
  const std::chrono::sys_seconds at{std::chrono::seconds(span.seconds + zone)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{at - day};
  std::int64_t value = 0;
  switch (function) {
    case Function::kFullYear:
      value = int(date.year());
      break;
    case Function::kMonth:
      value = unsigned(date.month()) - 1;
      break;
    case Function::kDate:
      value = unsigned(date.day());
      break;
    case Function::kDayOfMonth:
      value = unsigned(date.day()) - 1;
      break;
    case Function::kDayOfWeek:
      value = std::chrono::weekday(day).c_encoding();
      break;
    case Function::kDayOfYear:
      value = (day - std::chrono::sys_days(date.year() / std::chrono::January / 1)).count();
      break;
    case Function::kHours:
      value = clock.hours().count();
      break;
    case Function::kMinutes:
      value = clock.minutes().count();
      break;
    case Function::kSeconds:
      value = clock.seconds().count();
      break;
    case Function::kMilliseconds:
      value = span.nanos / 1'000'000;
      break;
    default:
      return Fault::kNoOverload;
  }
  return give(out, Value::integer(value));
}

}  // namespace neap::policy
