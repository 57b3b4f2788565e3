#include "neap/scheduler/interleave.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace neap::scheduler {
namespace {

// A period has four phases. In each, the member a step behind the one that talks computes, and the one two
// steps behind that loads, over two phases. Members take their places in `order`; a place may be empty.
double period_in_order(std::span<const StageProfile* const> order) {
  constexpr std::size_t kPhases = 4, kRounds = 2;
  std::array<double, kPhases * kRounds + 1> end{};
  for (std::size_t phase = 0; phase < kPhases * kRounds; ++phase) {
    const auto reach = [&](std::size_t place, std::size_t begins_at, std::size_t stage) {
      place %= kPhases;
      if (place < order.size())
        end[phase + 1] = std::max(end[phase + 1], end[begins_at] + order[place]->stage_ms[stage]);
    };
    reach(phase + 1, phase, 2);
    reach(phase + 2, phase, 1);
    if (phase > 0) reach(phase + 3, phase - 1, 0);
    if (phase < kPhases) continue;
    // Steady as soon as two neighbouring ends are one period apart.
    const double now = end[phase + 1] - end[phase - 3], before = end[phase] - end[phase - 4];
    if (std::abs(now - before) <= 1e-3 * std::max(std::abs(now), std::abs(before)) && now > 0) return now;
  }
  return end.back() - end[kPhases * (kRounds - 1)];
}

// Published slow-down of a period by sharing, over that of a job alone (1.015), by group size.
constexpr double kAlone = 1.015;
constexpr std::array kShared{kAlone, 1.33, 1.5, 1.37};

}  // namespace

double Interleaving::period_ms(std::span<const int> sorted_members) {
  std::array<int, kGroupMax> key;
  key.fill(-1);
  std::ranges::copy(sorted_members, key.begin());
  const auto [found, added] = periods_.try_emplace(key, 0.0);
  if (!added) return found->second;
  std::vector<std::size_t> places(sorted_members.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  double best = std::numeric_limits<double>::infinity();
  std::vector<const StageProfile*> order(places.size());
  do {
    for (std::size_t at = 0; at < places.size(); ++at)
      order[at] = &profiles_[static_cast<std::size_t>(sorted_members[places[at]])];
    best = std::min(best, period_in_order(order));
  } while (std::ranges::next_permutation(places).found);
  if (order.size() == 2) {  // opposite places: one loads while the other computes and talks
    const auto& a = order[0]->stage_ms;
    const auto& b = order[1]->stage_ms;
    best = std::min(best, std::max(a[0], b[1] + b[2]) + std::max(b[0], a[1] + a[2]));
  }
  return found->second = best * kShared[places.size() - 1] / kAlone;
}

double Interleaving::group_ms(std::span<const int> members) {
  if (members.size() == 1) return profiles_[static_cast<std::size_t>(members[0])].iteration_ms * kAlone;
  std::vector<int> sorted(members.begin(), members.end());
  std::ranges::sort(sorted);
  return period_ms(sorted) * kAlone;
}

std::vector<double> Interleaving::speeds(std::span<const int> members) {
  if (members.size() == 1) return {1.0};
  std::vector<int> sorted(members.begin(), members.end());
  std::ranges::sort(sorted);
  const double period = period_ms(sorted);
  std::vector<double> result;
  for (const int member : members) {
    const double alone = profiles_[static_cast<std::size_t>(member)].iteration_ms * kAlone;
    result.push_back(period > 0 ? std::min(1.0, alone / period) : 1.0);
  }
  return result;
}

double Interleaving::total_speed(std::span<const int> members) {
  const auto each = speeds(members);
  return std::accumulate(each.begin(), each.end(), 0.0);
}

std::shared_ptr<const std::vector<Interleaving::Blend>> Interleaving::blends(
    const std::vector<int>& profiles) {
  constexpr std::size_t kRememberedMax = 4096;
  if (blends_.size() > kRememberedMax) blends_.clear();
  if (const auto found = blends_.find(profiles); found != blends_.end()) return found->second;
  auto result = std::make_shared<std::vector<Blend>>();
  std::vector<std::vector<std::size_t>> kept{{}};
  for (std::size_t at = 0; at < kept.size(); ++at) {  // grows while it is read
    if (kept[at].size() == kGroupMax) continue;
    for (std::size_t kind = kept[at].empty() ? 0 : kept[at].back(); kind < profiles.size(); ++kind) {
      auto kinds = kept[at];
      kinds.push_back(kind);
      kept.push_back(std::move(kinds));
    }
  }
  for (const auto& kinds : kept) {
    if (kinds.empty()) continue;
    std::vector<int> members;
    for (const auto kind : kinds) members.push_back(profiles[kind]);
    // Whoever joins must raise what the group gets done, or he is better off elsewhere.
    const double total = total_speed(members);
    bool pays = true;
    for (std::size_t left_out = 0; members.size() > 1 && pays && left_out < members.size(); ++left_out) {
      auto fewer = members;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(left_out));
      pays = total > total_speed(fewer);
    }
    if (pays) result->push_back({kinds, speeds(members)});
  }
  return blends_[profiles] = std::move(result);
}

namespace {

constexpr std::size_t kBlendedKindsMax = 12;

// Gangs of one size and profile, highest rate first. Groups always take from the head.
struct Kind {
  int profile = 0;
  std::vector<std::size_t> jobs;
};

struct SizeClass {
  int gpus = 1;
  std::vector<Kind> kinds;  // by profile
  std::shared_ptr<const std::vector<Interleaving::Blend>> blends;
  std::vector<std::vector<std::size_t>> blends_of;  // per kind, indices of the blends it is in
};

struct Group {
  std::vector<std::size_t> jobs;
  int gpus = 0;
};

class Grouping {
 public:
  Grouping(std::span<const QueuedJob> jobs, std::span<const double> rates, Interleaving& interleaving)
      : rates_(rates) {
    std::map<int, std::map<int, std::vector<std::size_t>>> by_size;
    for (std::size_t index = 0; index < jobs.size(); ++index)
      by_size[jobs[index].gpus][jobs[index].profile].push_back(index);
    for (auto& [gpus, by_profile] : by_size) {
      SizeClass members{.gpus = gpus};
      std::vector<int> profiles;
      for (auto& [profile, queue] : by_profile) {
        std::ranges::sort(queue, [&](std::size_t a, std::size_t b) {
          if (rates[a] != rates[b]) return rates[a] > rates[b];
          if (jobs[a].attained_s != jobs[b].attained_s) return jobs[a].attained_s > jobs[b].attained_s;
          return a < b;
        });
        if (profiles.size() < kBlendedKindsMax) profiles.push_back(profile);
        members.kinds.push_back({profile, std::move(queue)});
      }
      members.blends = interleaving.blends(profiles);
      members.blends_of.resize(members.kinds.size());
      for (std::size_t blend = 0; blend < members.blends->size(); ++blend) {
        const auto& kinds = (*members.blends)[blend].kinds;
        for (std::size_t at = 0; at < kinds.size(); ++at)
          if (at == 0 || kinds[at] != kinds[at - 1]) members.blends_of[kinds[at]].push_back(blend);
      }
      classes_.push_back(std::move(members));
    }
  }

  // Who is worth `price` per accelerator, and with whom; stops above `gpus_max` accelerators.
  std::vector<Group> at_price(double price, int gpus_max) {
    std::vector<Group> groups;
    int gpus = 0;
    for (const auto& members : classes_) {
      heads_.assign(members.kinds.size(), 0);
      // A kind whose best job is not worth a place has none that is.
      std::vector<bool> is_open(members.kinds.size(), true);
      for (;;) {
        const auto seed = best_open(members, is_open);
        if (seed == members.kinds.size()) break;
        auto group = best_with(seed, members, price);
        if (group.jobs.empty()) {
          is_open[seed] = false;
          continue;
        }
        gpus += group.gpus;
        groups.push_back(std::move(group));
        if (gpus > gpus_max) return groups;
      }
    }
    return groups;
  }

 private:
  std::size_t best_open(const SizeClass& members, const std::vector<bool>& is_open) const {
    std::size_t best = members.kinds.size();
    for (std::size_t kind = 0; kind < members.kinds.size(); ++kind) {
      if (!is_open[kind] || heads_[kind] == members.kinds[kind].jobs.size()) continue;
      if (best == members.kinds.size() || rate(members, kind, 0) > rate(members, best, 0)) best = kind;
    }
    return best;
  }

  double rate(const SizeClass& members, std::size_t kind, std::size_t ahead) const {
    return rates_[members.kinds[kind].jobs[heads_[kind] + ahead]];
  }

  // Takes the best group with the head of `seed`; empty when none is worth its place. A partner costs what it
  // would have gained alone.
  Group best_with(std::size_t seed, const SizeClass& members, double price) {
    const double place = price * members.gpus;
    double best_gain = rate(members, seed, 0) - place;
    const Interleaving::Blend* best = nullptr;
    for (const auto index : members.blends_of[seed]) {
      const auto& blend = (*members.blends)[index];
      double gain = std::max(0.0, rate(members, seed, 0) - place) - place;
      std::size_t ahead = 0;
      bool is_possible = true;
      for (std::size_t at = 0; at < blend.kinds.size() && is_possible; ++at) {
        const auto kind = blend.kinds[at];
        ahead = at > 0 && blend.kinds[at - 1] == kind ? ahead + 1 : 0;
        is_possible = heads_[kind] + ahead < members.kinds[kind].jobs.size();
        if (!is_possible) break;
        const double own = rate(members, kind, ahead);
        gain += own * blend.speeds[at] - std::max(0.0, own - place);
      }
      if (is_possible && gain > best_gain) {
        best_gain = gain;
        best = &blend;
      }
    }
    if (best_gain <= 0) return {};
    Group group{{}, members.gpus};
    const auto take = [&](std::size_t kind) {
      group.jobs.push_back(members.kinds[kind].jobs[heads_[kind]++]);
    };
    if (best == nullptr)
      take(seed);
    else
      for (const auto kind : best->kinds) take(kind);
    return group;
  }

  std::span<const double> rates_;
  std::vector<SizeClass> classes_;
  std::vector<std::size_t> heads_;
};

int gpus_of(const std::vector<Group>& groups) {
  int gpus = 0;
  for (const auto& group : groups) gpus += group.gpus;
  return gpus;
}

// The groups at the lowest price at which they fit, on a logarithmic scale: rates span many orders of
// magnitude.
std::vector<Group> at_fitting_price(Grouping& grouping, double highest_rate, int gpus) {
  auto chosen = grouping.at_price(0, gpus);
  if (gpus_of(chosen) <= gpus) return chosen;
  double high = highest_rate * static_cast<double>(Interleaving::kGroupMax) * 2;
  double low = high * 1e-12;
  chosen.clear();
  constexpr int kSteps = 14;
  for (int step = 0; step < kSteps && gpus_of(chosen) < gpus; ++step) {
    const double middle = std::sqrt(low * high);
    auto groups = grouping.at_price(middle, gpus);
    if (gpus_of(groups) > gpus) {
      low = middle;
    } else {
      high = middle;
      chosen = std::move(groups);
    }
  }
  return chosen;
}

// By ascending `work`, ties to the lower index: the first job delays all, the last one only itself and
// `outlives` of each job before it.
std::vector<double> delays_saved(std::span<const QueuedJob> jobs, std::span<const double> work,
                                 double outlives) {
  std::vector<std::size_t> order(jobs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t job) { return std::pair(work[job], job); });
  std::vector<double> result(jobs.size());
  for (std::size_t before = 0; before < order.size(); ++before)
    result[order[before]] = jobs[order[before]].gpus * (static_cast<double>(order.size() - before) +
                                                        outlives * static_cast<double>(before));
  return result;
}

// Service below which two jobs are equally new.
constexpr double kNew_s = 600;

}  // namespace

std::vector<double> delays_saved_known(std::span<const QueuedJob> jobs) {
  std::vector<double> work;
  work.reserve(jobs.size());
  for (const auto& job : jobs) work.push_back(job.remaining_s * job.gpus);
  return delays_saved(jobs, work, 0);
}

std::vector<double> delays_saved_blind(std::span<const QueuedJob> jobs) {
  std::vector<double> work;
  work.reserve(jobs.size());
  for (const auto& job : jobs) work.push_back((job.attained_s + kNew_s) * job.gpus);
  return delays_saved(jobs, work, 0.5);
}

double sharing_review_after_s(double attained_s) { return std::max(attained_s, kNew_s); }

std::vector<std::vector<std::size_t>> group_by_rate(std::span<const QueuedJob> jobs,
                                                    std::span<const double> rates, int gpus,
                                                    Interleaving& interleaving) {
  double highest_rate = 0;
  for (std::size_t job = 0; job < jobs.size(); ++job)
    highest_rate = std::max(highest_rate, rates[job] / jobs[job].gpus);
  Grouping grouping(jobs, rates, interleaving);
  auto chosen = at_fitting_price(grouping, highest_rate, gpus);
  int left = gpus - gpus_of(chosen);
  std::vector<std::vector<std::size_t>> result;
  std::vector<bool> used(jobs.size());
  for (auto& group : chosen) {
    for (const auto job : group.jobs) used[job] = true;
    result.push_back(std::move(group.jobs));
  }
  // What the last step of the price left free goes to the best that fit.
  std::vector<QueuedJob> rest;
  std::vector<double> rest_rates;
  std::vector<std::size_t> rest_index;
  for (std::size_t job = 0; job < jobs.size() && left > 0; ++job) {
    if (used[job] || jobs[job].gpus > left) continue;
    rest.push_back(jobs[job]);
    rest_rates.push_back(rates[job]);
    rest_index.push_back(job);
  }
  for (const auto job : choose_by_rate(rest, rest_rates, left)) result.push_back({rest_index[job]});
  return result;
}

}  // namespace neap::scheduler
