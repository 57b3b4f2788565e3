#include "internal/board.h"

#include <algorithm>

namespace neap::scheduler {
namespace {

std::string link_key(std::string_view from, std::string_view to) {
  std::string key(from);
  key += '\0';
  key += to;
  return key;
}

bool same_class(const NodeClass& a, const Node& node, std::uint32_t site) {
  return a.site == site && a.capacity_type == node.capacity_type && a.is_ready == node.is_ready &&
         a.is_reclaimed == node.is_reclaimed && a.accelerator_model == node.accelerator_model &&
         *a.taints == node.taints;
}

std::uint32_t index_of_model(std::vector<std::string>& models, const Node& node) {
  const auto known = std::ranges::find(models, node.accelerator_model);
  const auto index = std::size_t(known - models.begin());
  if (known == models.end() && models.size() < kModelsMax) models.push_back(node.accelerator_model);
  return std::uint32_t(std::min(index, kModelsMax - 1));
}

}  // namespace

Board::Board(const Snapshot& from) : snapshot(&from) {
  for (const auto& site : from.sites) sites.push_back(&site);
  std::sort(sites.begin(), sites.end(), [](const Site* a, const Site* b) { return a->name < b->name; });
  sites.erase(std::unique(sites.begin(), sites.end(),
                          [](const Site* a, const Site* b) { return a->name == b->name; }),
              sites.end());
  for (std::uint32_t i = 0; i < sites.size(); ++i) site_index[sites[i]->name] = i;

  // A node of a site that is not known cannot be guarded, so it takes no part.
  std::vector<std::pair<std::uint32_t, const Node*>> order;
  order.reserve(from.nodes.size());
  for (const auto& node : from.nodes)
    if (const auto site = find_site(node.site); site != kNowhere) order.emplace_back(site, &node);
  const auto before = [](const auto& a, const auto& b) {
    constexpr auto kBlock = std::size_t(TopologyLevel::kBlock);
    if (a.first != b.first) return a.first < b.first;
    const auto blocks = a.second->topology[kBlock].compare(b.second->topology[kBlock]);
    return blocks != 0 ? blocks < 0 : a.second->name < b.second->name;
  };
  if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);

  site_begin.assign(sites.size() + 1, std::uint32_t(order.size()));
  const auto count = order.size();
  for (auto* column : {&cores_free, &memory_free}) column->reserve(count);
  nodes.reserve(count);
  node_class.reserve(count);
  std::uint32_t classes_of_site = 0, last_site = kNowhere;
  for (const auto& [site, node] : order) {
    if (site != last_site) classes_of_site = std::uint32_t(classes.size());
    for (std::uint32_t s = last_site + 1; s <= site; ++s) site_begin[s] = std::uint32_t(nodes.size());
    last_site = site;
    std::uint32_t found = kNowhere;
    for (auto c = std::uint32_t(classes.size()); c-- > classes_of_site && found == kNowhere;)
      if (same_class(classes[c], *node, site)) found = c;
    if (found == kNowhere) {
      found = std::uint32_t(classes.size());
      classes.push_back({site, node->capacity_type, node->is_ready, node->is_reclaimed,
                         node->accelerator_model, &node->taints, index_of_model(models, *node)});
    }
    nodes.push_back(node);
    node_class.push_back(found);
    cores_free.push_back(node->cores_free.value);
    memory_free.push_back(node->memory_free.value);
    device_begin.push_back(std::uint32_t(device_free.size()));
    for (std::size_t d = 0; d < std::min(node->devices_free.size(), kDevicesMax); ++d)
      device_free.push_back(std::clamp(node->devices_free[d], 0, 1000));
  }
  device_begin.push_back(std::uint32_t(device_free.size()));
  fill_level(TopologyLevel::kRack);
  fill_level(TopologyLevel::kBlock);
  fill_chunks();
  for (const auto& queue : from.queues) queues[queue.name] = queue;
  budgets = from.budgets;
  for (const auto& link : from.links) links[link_key(link.from, link.to)] = &link;
}

void Board::fill_chunks() {
  const auto& block_of = domain_of[std::size_t(TopologyLevel::kBlock)];
  chunk_of.reserve(nodes.size());
  std::uint32_t last_site = kNowhere, last_block = kNowhere;
  for (std::uint32_t n = 0; n < nodes.size(); ++n) {
    const auto site = classes[node_class[n]].site;
    const auto block = block_of.empty() ? kNowhere : block_of[n];
    for (auto s = last_site + 1; s <= site; ++s)
      site_chunk_begin.push_back(std::uint32_t(chunk_begin.size()));
    if (site != last_site || block != last_block || n - chunk_begin.back() == kChunkNodes)
      chunk_begin.push_back(n);
    last_site = site;
    last_block = block;
    chunk_of.push_back(std::uint32_t(chunk_begin.size()) - 1);
  }
  site_chunk_begin.resize(sites.size() + 1, std::uint32_t(chunk_begin.size()));
  chunk_begin.push_back(std::uint32_t(nodes.size()));
  if (block_of.empty()) return;
  const auto blocks = domains[std::size_t(TopologyLevel::kBlock)].size();
  block_free.assign(blocks, 0);
  block_all.assign(blocks, 0);
  for (std::uint32_t n = 0; n < nodes.size(); ++n) {
    if (block_of[n] == kNowhere) continue;
    block_free[block_of[n]] += block_units(n);
    const auto devices = std::int64_t(device_begin[n + 1] - device_begin[n]);
    block_all[block_of[n]] += devices > 0 ? devices * 1000 : nodes[n]->cores_allocatable.value;
  }
}

// Accelerators weigh as they are; cores count only where a node has no accelerator.
std::int64_t Board::block_units(std::uint32_t node) const {
  const auto held = devices(node);
  if (held.empty()) return cores_free[node];
  std::int64_t total = 0;
  for (const auto free : held) total += free;
  return total;
}

double Board::block_used(std::uint32_t node) const {
  const auto& of = domain_of[std::size_t(TopologyLevel::kBlock)];
  if (of.empty() || of[node] == kNowhere || block_all[of[node]] <= 0) return 0;
  return std::clamp(1 - double(block_free[of[node]]) / double(block_all[of[node]]), 0.0, 1.0);
}

std::uint32_t Board::find_site(const std::string& name) const {
  const auto found = site_index.find(name);
  return found == site_index.end() ? kNowhere : found->second;
}

const Link* Board::find_link(std::uint32_t from, std::uint32_t to) const {
  auto found = links.find(link_key(sites[from]->name, sites[to]->name));
  if (found == links.end()) found = links.find(link_key(sites[to]->name, sites[from]->name));
  return found == links.end() ? nullptr : found->second;
}

}  // namespace neap::scheduler
