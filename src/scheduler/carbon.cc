#include "neap/scheduler/carbon.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>

namespace neap::scheduler {
namespace {

// Data sheets' board power; the first name that is part of the model's counts, so the longer ones come first.
double accelerator_watts(std::string_view model) {
  struct Row {
    std::string_view name;
    double watts;
  };
  static constexpr std::array kRows{
      Row{"gb200", 1200}, Row{"b200", 1000}, Row{"gh200", 900}, Row{"h200", 700},  Row{"h100", 700},
      Row{"h800", 700},   Row{"h20", 400},   Row{"a100", 400},  Row{"a800", 400},  Row{"a10g", 300},
      Row{"a10", 150},    Row{"a30", 165},   Row{"a40", 300},   Row{"l40s", 350},  Row{"l40", 300},
      Row{"l4", 72},      Row{"v100", 300},  Row{"p100", 250},  Row{"p40", 250},   Row{"p4", 75},
      Row{"t4", 70},      Row{"k80", 300},   Row{"mi300", 750}, Row{"mi250", 560}, Row{"4090", 450},
      Row{"3090", 350},   Row{"910b", 400},  Row{"orin", 60},
  };
  constexpr double kUnknown = 300;
  std::string lower(model);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  const auto row = std::ranges::find_if(
      kRows, [&](const Row& candidate) { return lower.find(candidate.name) != std::string::npos; });
  return row == kRows.end() ? kUnknown : row->watts;
}

}  // namespace

double power_watts(const finops::ResourceAmounts& held) {
  constexpr double kCoreWatts = 5;
  return accelerator_watts(held.accelerator_model) * double(held.accelerators.value) / 1000 +
         kCoreWatts * double(held.cores.value) / 1000;
}

double carbon_grams_per_hour(const finops::ResourceAmounts& held, double intensity) {
  return power_watts(held) / 1000 * intensity;
}

double carbon_score(double intensity) { return intensity > 0 ? 100 / (1 + intensity / 400) : 0; }

}  // namespace neap::scheduler
