#include "internal/node_cache.h"

#include <algorithm>

namespace neap::controllers {

std::vector<scheduler::Node> NodeCache::take(const ClusterState& picture, Make make) {
  const auto& all = picture.all<api::Node>();
  auto out = std::exchange(nodes_, {});
  if (out.size() != all.size() || sources_.size() != all.size()) sources_.clear();
  sources_.resize(all.size());
  out.resize(all.size());
  std::size_t i = 0;
  for (auto at = all.begin(); at != all.end(); ++at, ++i) {
    auto& node = out[i];
    if (auto source = at.share(); source != sources_[i]) {
      node = make(*source);
      sources_[i] = std::move(source);
      continue;
    }
    node.cores_free = node.cores_allocatable;
    node.memory_free = node.memory_allocatable;
    std::ranges::fill(node.devices_free, 1000);
  }
  return out;
}

}  // namespace neap::controllers
