#include <algorithm>

#include "internal/board.h"

namespace neap::scheduler {
namespace {

using Keys = std::array<std::string_view, 6>;
// Ours first; then what cloud providers, NVIDIA's tools and rack-aware schedulers set.
constexpr std::array<Keys, kTopologyLevels> kKeys{
    Keys{"topology.neap.dev/island", "nvidia.com/gpu.clique", "network.topology.nvidia.com/accelerator",
         "accelerator.topograph.run/domain"},
    Keys{"topology.neap.dev/rack", "topology.kubernetes.io/rack", "cloud.google.com/gce-topology-subblock",
         "topology.k8s.aws/network-node-layer-3"},
    Keys{"topology.neap.dev/block", "network.topology.nvidia.com/leaf", "network.topology.nvidia.com/block",
         "fabric.topograph.run/tier-0", "cloud.google.com/gce-topology-block",
         "topology.k8s.aws/network-node-layer-2"}};
constexpr std::array<std::string_view, kTopologyLevels> kNames{"island", "rack", "block"};

}  // namespace

std::string_view topology_level_name(TopologyLevel level) { return kNames[std::size_t(level)]; }

std::optional<TopologyLevel> parse_topology_level(std::string_view word) {
  const auto found = std::ranges::find(kNames, word);
  if (found == kNames.end()) return {};
  return TopologyLevel(found - kNames.begin());
}

std::span<const std::string_view> topology_labels(TopologyLevel level) {
  const auto& keys = kKeys[std::size_t(level)];
  const auto end = std::ranges::find(keys, std::string_view{});
  return {keys.data(), std::size_t(end - keys.begin())};
}

Topology topology_of(const Labels& labels) {
  Topology out;
  for (std::size_t level = 0; level < kTopologyLevels; ++level) {
    std::size_t best = kKeys[level].size();
    for (const auto& [key, value] : labels) {
      if (value.empty()) continue;
      const auto known = topology_labels(TopologyLevel(level));
      const auto at = std::size_t(std::ranges::find(known, key) - known.begin());
      if (at >= known.size() || at >= best) continue;
      best = at;
      out[level] = value;
    }
  }
  return out;
}

double RunningGang::lost_work() const {
  double devices = 0;
  for (const auto& member : members)
    devices += member.accelerators.value > 0 ? double(member.accelerators.value) / 1000
                                             : double(member.cores.value) / 16'000;
  return std::max(0.0, unsaved_seconds) * devices;
}

void Board::fill_level(TopologyLevel asked) {
  const auto level = std::size_t(asked);
  const auto count = nodes.size();
  const bool is_island = asked == TopologyLevel::kIsland;
  if (!domain_of[level].empty()) return;
  if (!is_island && std::ranges::none_of(nodes, [&](const Node* n) { return !n->topology[level].empty(); }))
    return;
  auto& of = domain_of[level];
  auto& list = domains[level];
  of.assign(count, kNowhere);
  std::unordered_map<std::string_view, std::uint32_t> known;
  std::uint32_t site = kNowhere;
  for (std::uint32_t n = 0; n < count; ++n) {
    const auto here = classes[node_class[n]].site;
    if (here != site) known.clear();
    site = here;
    const auto& own = nodes[n]->topology[level];
    if (own.empty() && !is_island) continue;
    const std::string_view name = own.empty() ? std::string_view(nodes[n]->name) : std::string_view(own);
    if (n > 0 && of[n - 1] != kNowhere && list[of[n - 1]].site == site && list[of[n - 1]].name == name) {
      of[n] = of[n - 1];
    } else {
      const auto [at, is_new] = known.try_emplace(name, std::uint32_t(list.size()));
      if (is_new) list.push_back({name, site, {}});
      of[n] = at->second;
    }
    list[of[n]].nodes.push_back(n);
  }
}

}  // namespace neap::scheduler
