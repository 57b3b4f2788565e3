#include "neap/controllers/cluster_state.h"

#include <algorithm>

namespace neap::controllers {

std::vector<const api::Allocation*> ClusterState::allocations_of(const std::string& ns,
                                                                 std::string_view owner_kind,
                                                                 const std::string& owner_name,
                                                                 std::int64_t epoch) const {
  std::vector<const api::Allocation*> out;
  const auto& map = all<api::Allocation>();
  const auto prefix = owner_name + "-";
  for (auto it = map.lower_bound({ns, prefix}); it != map.end(); ++it) {
    const auto& [key, allocation] = *it;
    if (key.namespace_ != ns || !key.name.starts_with(prefix)) break;
    const auto& spec = allocation.spec;
    if (spec.ownerKind == owner_kind && spec.ownerName == owner_name && (epoch < 0 || spec.epoch == epoch))
      out.push_back(&allocation);
  }
  std::ranges::sort(out, {}, [](const auto* a) { return std::pair(a->spec.epoch, a->spec.replica); });
  return out;
}

const api::Site* ClusterState::resolve_site(const std::string& word) const {
  if (const auto* site = find<api::Site>("", word)) return site;
  for (const auto& [key, site] : all<api::Site>())
    if (std::ranges::find(site.spec.aliases, word) != site.spec.aliases.end()) return &site;
  for (const auto& [key, site] : all<api::Site>())
    if (const auto it = site.metadata.labels.find("name");
        it != site.metadata.labels.end() && it->second == word)
      return &site;
  return nullptr;
}

bool is_ended(const api::Allocation& allocation) {
  const auto& phase = allocation.status.phase;
  return phase == "Succeeded" || phase == "Failed" || phase == "Released";
}
bool holds_resources(const api::Allocation& allocation) { return !is_ended(allocation); }

bool condition_is_true(const std::vector<api::Condition>& conditions, std::string_view type) {
  const auto* condition = api::find_condition(conditions, type);
  return condition && condition->status == "True";
}

}  // namespace neap::controllers
