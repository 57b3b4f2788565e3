#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "internal/tide.h"
#include "neap/crypto/digest.h"

namespace neap::controllers {
namespace {

constexpr std::size_t kStepsOfDay = 288;
// A longer silence says nothing about what was needed meanwhile.
constexpr std::ptrdiff_t kGapMax = 2 * kStepsOfDay;
// Of the years 1970 to 2200: differences fit the clock's 64 bits.
constexpr auto kStartMax = std::chrono::days(230 * 365);
// Demand is kept in hundredths of a replica, two bytes each.
constexpr double kUnit = 100, kDemandMax = 65535 / kUnit;

WallTime step_of(WallTime at) {
  return WallTime(at.time_since_epoch() / PlaceDemand::kStep * PlaceDemand::kStep);
}

}  // namespace

std::string tide_history_name(const std::string& service) {
  constexpr std::string_view kPrefix = "neap-tide-";
  constexpr std::size_t kNameMax = 253, kHashDigits = 16;
  if (kPrefix.size() + service.size() <= kNameMax) return fmt::format("{}{}", kPrefix, service);
  auto begin = service.substr(0, kNameMax - kPrefix.size() - kHashDigits - 1);
  // A part of a name ends with a letter or digit.
  while (begin.ends_with('.') || begin.ends_with('-')) begin.pop_back();
  return fmt::format("{}{}-{}", kPrefix, begin, crypto::sha256(service).hex().substr(0, kHashDigits));
}

bool PlaceDemand::observe(WallTime now, double replicas) {
  in_use_ = std::clamp(replicas, 0.0, kDemandMax);
  const auto step = step_of(now);
  const bool is_next = step_ && step > *step_;
  if (is_next) {
    append(*step_, peak_);
    auto fitted = scheduler::DemandForecast::fit(history_);
    if (fitted) forecast_ = *std::move(fitted);
  }
  if (!step_ || step != *step_) peak_ = 0;
  step_ = step;
  peak_ = std::max(peak_, in_use_);
  if (forecast_) forecast_->observe(now, in_use_);
  return is_next;
}

// Steps that nobody measured are as the day before.
void PlaceDemand::append(WallTime step, double peak) {
  auto& known = history_.peak;
  const auto next = history_.start + kStep * std::int64_t(known.size());
  if (!known.empty() && (step < next || (step - next) / kStep > kGapMax)) known.clear();
  if (known.empty()) history_.start = step;
  while (history_.start + kStep * std::int64_t(known.size()) < step)
    known.push_back(known.size() >= kStepsOfDay ? known[known.size() - kStepsOfDay] : known.back());
  known.push_back(peak);
  if (known.size() <= kStepsMax) return;
  known.erase(known.begin(), known.begin() + kStepsOfDay);
  history_.start += kStep * std::int64_t(kStepsOfDay);
}

std::string PlaceDemand::text() const {
  std::string bytes;
  for (const double demand : history_.peak) {
    const auto value = unsigned(std::lround(std::clamp(demand, 0.0, kDemandMax) * kUnit));
    bytes.push_back(char(value & 0xff));
    bytes.push_back(char(value >> 8));
  }
  return format_rfc3339(history_.start) + " 5m " + crypto::to_base64(bytes);
}

Status PlaceDemand::restore(std::string_view text) {
  const auto malformed = [] {
    return fail(Code::kDataLoss, "tide.history",
                "a history of demand is a time, \" 5m \" and two bytes a step in base64; this is something "
                "else, so demand is learned anew; delete the ConfigMap or restore it");
  };
  const auto split = text.find(" 5m ");
  if (split == std::string_view::npos) return malformed();
  const auto start = parse_rfc3339(text.substr(0, split));
  const auto bytes = crypto::from_base64(text.substr(split + 4));
  // Whoever may write the ConfigMap writes this: no time far from today may enter the arithmetic.
  if (!start || *start < WallTime{} || *start > WallTime{} + kStartMax || !bytes || bytes->size() % 2 != 0 ||
      bytes->size() > 2 * kStepsMax || step_of(*start) != *start)
    return malformed();
  history_ = {};
  history_.start = *start;
  for (std::size_t i = 0; i < bytes->size(); i += 2)
    history_.peak.push_back(
        double(static_cast<unsigned char>((*bytes)[i]) + 256 * static_cast<unsigned char>((*bytes)[i + 1])) /
        kUnit);
  if (auto fitted = scheduler::DemandForecast::fit(history_)) forecast_ = *std::move(fitted);
  return ok();
}

}  // namespace neap::controllers
