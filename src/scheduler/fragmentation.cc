#include "neap/scheduler/fragmentation.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace neap::scheduler {
namespace {

constexpr std::int32_t kDevice = 1000;
// Weight of the chained waste against F.
constexpr double kChainedShare = 0.5;
// A task is this much likelier to be put where it ends with so many thousandths less waste: places are
// chosen, not drawn.
constexpr double kChoice = 50;

// Expected thousandths left on a device with `free` after typical one-device tasks filled it.
std::vector<float> compute_chained(std::span<const TypicalTask> tasks) {
  std::vector<double> share(kDevice + 1, 0);
  std::vector<std::int32_t> sizes;
  for (const auto& task : tasks)
    if (task.devices == 1 && task.milli > 0 && (share[std::size_t(task.milli)] += task.share) == task.share)
      sizes.push_back(task.milli);
  std::vector<float> left(kDevice + 1, 0);
  std::vector<double> likelihood(kDevice + 1, 0);  // of being filled down to so much, against other amounts
  for (std::int32_t free = 0; free <= kDevice; ++free) {
    double sum = 0, weights = 0;
    for (const auto size : sizes) {
      if (size > free) continue;
      const auto then = std::size_t(free - size);
      const double weight = share[std::size_t(size)] * likelihood[then];
      sum += weight * double(left[then]);
      weights += weight;
    }
    left[std::size_t(free)] = float(weights > 0 ? sum / weights : free);
    likelihood[std::size_t(free)] = std::exp(-double(left[std::size_t(free)]) / kChoice);
  }
  return left;
}

// Work tied to some models, spread over them by supply, over what there is of each.
std::vector<double> compute_contended(std::span<const TypicalTask> tasks,
                                      std::span<const std::int64_t> supply) {
  std::vector<double> contended(supply.size(), 0);
  double asked = 0, all = 0;
  for (const auto& task : tasks) asked += task.share * task.devices * task.milli;
  for (const auto held : supply) all += double(held);
  for (const auto& task : tasks) {
    double allowed = 0;
    for (std::size_t m = 0; m < supply.size(); ++m)
      if (task.models >> m & 1) allowed += double(supply[m]);
    if (allowed == all || allowed == 0 || asked == 0) continue;
    for (std::size_t m = 0; m < supply.size(); ++m)
      if (task.models >> m & 1)
        contended[m] += task.share * task.devices * task.milli / asked * all / allowed;
  }
  return contended;
}

}  // namespace

std::vector<TypicalTask> keep_typical(std::vector<TypicalTask> counted, double coverage) {
  std::ranges::sort(counted, {}, [](const TypicalTask& task) {
    return std::tuple(-task.share, task.cores, task.devices, task.milli, task.models);
  });
  double all = 0, kept = 0;
  for (const auto& task : counted) all += task.share;
  std::size_t count = 0;
  while (count < counted.size() && kept < coverage * all) kept += counted[count++].share;
  counted.resize(count);
  for (auto& task : counted) task.share /= kept;
  return counted;
}

FragmentationTable::FragmentationTable(std::span<const TypicalTask> tasks, std::uint32_t models) {
  std::vector<std::int32_t> sizes;
  for (const auto& task : tasks) {
    if (task.devices == 0) continue;
    cores_steps_.push_back(task.cores);
    if (task.devices == 1) sizes.push_back(task.milli);
    gang_max_ = std::max(gang_max_, std::size_t(task.devices));
  }
  std::sort(cores_steps_.begin(), cores_steps_.end());
  cores_steps_.erase(std::unique(cores_steps_.begin(), cores_steps_.end()), cores_steps_.end());
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  milli_steps_ = sizes.size() + 1;
  milli_step_.resize(kDevice + 1);
  for (std::int32_t free = 0; free <= kDevice; ++free)
    milli_step_[std::size_t(free)] =
        std::uint16_t(std::upper_bound(sizes.begin(), sizes.end(), free) - sizes.begin());

  for (std::uint32_t model = 0; model < models; ++model)
    for (std::size_t step = 0; step <= cores_steps_.size(); ++step) {
      Row row{below_.size(), beyond_.size(), 0, 0};
      below_.resize(below_.size() + milli_steps_, 0);
      beyond_.resize(beyond_.size() + gang_max_ + 1, 0);
      for (const auto& task : tasks) {
        const bool is_usable = task.devices > 0 && (task.models >> model & 1) != 0 && step > 0 &&
                               cores_steps_[step - 1] >= task.cores;
        if (!is_usable) {
          row.unusable += task.share;
        } else if (task.devices == 1) {
          for (std::size_t at = 0; at < milli_steps_; ++at)
            if (at == 0 || sizes[at - 1] < task.milli) below_[row.below_begin + at] += task.share;
        } else {
          row.gangs += task.share;
          for (std::size_t whole = 0; whole < std::size_t(task.devices); ++whole)
            beyond_[row.whole_begin + whole] += task.share;
        }
      }
      rows_.push_back(row);
    }
}

double FragmentationTable::fragments(std::uint32_t model, std::int64_t cores,
                                     std::span<const std::int32_t> free) const {
  const auto step =
      std::size_t(std::upper_bound(cores_steps_.begin(), cores_steps_.end(), cores) - cores_steps_.begin());
  const Row& row = rows_[model * (cores_steps_.size() + 1) + step];
  const double* below = below_.data() + row.below_begin;
  double partial = 0;
  std::int64_t total = 0, whole = 0;
  for (const auto device : free) {
    total += device;
    whole += device == kDevice;
    partial += double(device) * below[milli_step_[std::size_t(device)]];
  }
  const double beyond = beyond_[row.whole_begin + std::min(std::size_t(whole), gang_max_)];
  return double(total) * (row.unusable + row.gangs) + partial -
         double(whole * kDevice) * (row.gangs - beyond);
}

StrandingTable::StrandingTable(std::span<const TypicalTask> tasks, std::span<const std::int64_t> supply)
    : fragmentation_(tasks, std::uint32_t(supply.size())),
      chained_(compute_chained(tasks)),
      contended_(compute_contended(tasks, supply)) {
  double cores = 0, milli = 0;
  for (const auto& task : tasks) {
    if (task.devices == 0) continue;
    cores += task.share * double(task.cores);
    milli += task.share * task.devices * task.milli;
  }
  if (milli > 0) cores_per_milli_ = cores / milli;
}

double StrandingTable::compute(std::uint32_t model, std::int64_t cores,
                               std::span<const std::int32_t> free) const {
  double total = 0, chained = 0;
  for (const auto device : free) {
    total += device;
    chained += double(chained_[std::size_t(device)]);
  }
  const double stranded =
      cores_per_milli_ > 0 ? std::clamp(total - double(cores) / cores_per_milli_, 0.0, total) : 0;
  return (1 - kChainedShare) * fragmentation_.fragments(model, cores, free) + kChainedShare * chained +
         stranded - contended_[model] * total;
}

}  // namespace neap::scheduler
