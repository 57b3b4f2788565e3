#include "internal/muri.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "internal/nodes_of_eight.h"

namespace neap::simulation {
namespace {

using Group = std::vector<std::size_t>;
constexpr std::size_t kGroupMax = scheduler::Interleaving::kGroupMax;
constexpr double kResources = 4;

class MuriL {
 public:
  MuriL(std::span<const MuriJob> jobs, int gpus, std::span<const scheduler::StageProfile> profiles,
        scheduler::Interleaving& interleaving)
      : jobs_(jobs), gpus_(gpus), profiles_(profiles), interleaving_(interleaving), order_(jobs.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::sort(order_, {}, [&](std::size_t job) { return std::pair(service(job), job); });
  }

  std::vector<Group> choose() {
    pick_candidates();
    for (std::size_t round = 0; round < kGroupMax && required_ > gpus_; ++round)
      for (auto& [size, groups] : groups_) join_pairs(size, groups);
    return take_first();
  }

 private:
  double service(std::size_t job) const { return jobs_[job].running_s * jobs_[job].gpus; }

  void pick_candidates() {
    std::map<int, Group> by_size;
    for (const auto job : order_) by_size[jobs_[job].gpus].push_back(job);
    std::map<int, std::size_t> picked;
    std::vector<bool> is_candidate(jobs_.size());
    auto free = empty_nodes(gpus_);
    for (const auto job : order_) {
      const int size = jobs_[job].gpus;
      if (is_candidate[job] || !place_gang(free, size)) continue;
      const auto& queue = by_size[size];
      for (std::size_t more = 0; more < kGroupMax && picked[size] < queue.size(); ++more) {
        const auto candidate = queue[picked[size]++];
        is_candidate[candidate] = true;
        groups_[size].push_back({candidate});
        required_ += size;
      }
    }
  }

  std::vector<int> members_of(const Group& group) const {
    std::vector<int> members;
    for (const auto job : group) members.push_back(jobs_[job].profile);
    return members;
  }

  // Pairs join while they do not fit; each frees the places of one group.
  void join_pairs(int size, std::vector<Group>& groups) {
    const auto mates = match(groups);
    std::vector<Group> joined;
    for (std::size_t at = 0; at < groups.size(); ++at) {
      if (mates[at] < at) continue;  // came with its mate
      joined.push_back(groups[at]);
      if (mates[at] == at) continue;
      const auto& mate = groups[mates[at]];
      if (required_ > gpus_) {
        joined.back().insert(joined.back().end(), mate.begin(), mate.end());
        required_ -= size;
      } else {
        joined.push_back(mate);
      }
    }
    groups = std::move(joined);
  }

  // The share of its time that the joint group keeps its four resources busy; 0 for too many.
  double busy(const Group& left, const Group& right) {
    if (left.size() + right.size() > kGroupMax) return 0;
    auto members = members_of(left);
    std::ranges::copy(members_of(right), std::back_inserter(members));
    double stages = 0;
    for (const int member : members) {
      const auto& stage_ms = profiles_[static_cast<std::size_t>(member)].stage_ms;
      stages += std::accumulate(stage_ms.begin(), stage_ms.end(), 0.0);
    }
    return stages / (kResources * interleaving_.group_ms(members));
  }

  // Each group's mate, itself where it has none: the heaviest pairs first, then exchanges that gain.
  std::vector<std::size_t> match(const std::vector<Group>& groups) {
    const auto count = groups.size();
    std::vector<double> weights(count * count);
    const auto weight = [&](std::size_t a, std::size_t b) { return weights[a * count + b]; };
    std::vector<std::tuple<double, std::size_t, std::size_t>> pairs;
    for (std::size_t a = 0; a < count; ++a)
      for (std::size_t b = a + 1; b < count; ++b)
        if (const double both = busy(groups[a], groups[b]); both > 0) {
          weights[a * count + b] = weights[b * count + a] = both;
          pairs.emplace_back(-both, a, b);
        }
    std::ranges::sort(pairs);
    std::vector<std::size_t> mates(count);
    std::iota(mates.begin(), mates.end(), std::size_t{0});
    const auto marry = [&](std::size_t a, std::size_t b) {
      mates[a] = b;
      mates[b] = a;
    };
    for (const auto& [unused, a, b] : pairs)
      if (mates[a] == a && mates[b] == b) marry(a, b);
    // Every exchange raises the total, so it ends.
    constexpr double kGain = 1e-9;
    for (bool has_gained = true; has_gained;) {
      has_gained = false;
      for (std::size_t a = 0; a < count; ++a)
        for (std::size_t c = a + 1; c < count && mates[a] != a; ++c) {
          const auto b = mates[a], d = mates[c];
          if (c == b || d == c) continue;
          const double now = weight(a, b) + weight(c, d) + kGain;
          if (weight(a, c) > 0 && weight(b, d) > 0 && weight(a, c) + weight(b, d) > now) {
            marry(a, c);
            marry(b, d);
            has_gained = true;
          } else if (weight(a, d) > 0 && weight(b, c) > 0 && weight(a, d) + weight(b, c) > now) {
            marry(a, d);
            marry(b, c);
            has_gained = true;
          }
        }
    }
    return mates;
  }

  // Groups by their least served member; one slower than its members in turns is taken apart.
  std::vector<Group> take_first() {
    std::vector<std::tuple<double, std::size_t, Group>> queue;
    for (const auto& [size, groups] : groups_)
      for (const auto& group : groups) {
        double in_turns_ms = 0, least = service(group.front());
        for (const auto job : group) {
          in_turns_ms += interleaving_.group_ms(std::array{jobs_[job].profile});
          least = std::min(least, service(job));
        }
        if (interleaving_.group_ms(members_of(group)) <= in_turns_ms)
          queue.emplace_back(least, queue.size(), group);
        else
          for (const auto job : group) queue.emplace_back(service(job), queue.size(), Group{job});
      }
    std::ranges::sort(queue);
    auto free = empty_nodes(gpus_);
    int left = gpus_;
    std::vector<Group> taken;
    for (auto& [unused, also_unused, group] : queue) {
      const int size = jobs_[group.front()].gpus;
      if (size > left || !place_gang(free, size)) continue;
      left -= size;
      taken.push_back(std::move(group));
    }
    return taken;
  }

  std::span<const MuriJob> jobs_;
  int gpus_;
  std::span<const scheduler::StageProfile> profiles_;
  scheduler::Interleaving& interleaving_;
  std::vector<std::size_t> order_;
  std::map<int, std::vector<Group>> groups_;  // by size
  int required_ = 0;
};

}  // namespace

std::vector<std::vector<std::size_t>> choose_muri_l(std::span<const MuriJob> jobs, int gpus,
                                                    std::span<const scheduler::StageProfile> profiles,
                                                    scheduler::Interleaving& interleaving) {
  return MuriL(jobs, gpus, profiles, interleaving).choose();
}

}  // namespace neap::simulation
