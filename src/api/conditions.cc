#include <algorithm>

#include "neap/api/meta.h"

namespace neap::api {

void set_condition(std::vector<Condition>& conditions, Condition next, WallTime now) {
  // Whole seconds, as Kubernetes writes conditions: the object then reads back equal.
  const WallTime at = std::chrono::floor<std::chrono::seconds>(now);
  const auto found = std::ranges::find(conditions, next.type, &Condition::type);
  if (found == conditions.end()) {
    if (!next.lastTransitionTime) next.lastTransitionTime = at;
    conditions.push_back(std::move(next));
    return;
  }
  next.lastTransitionTime =
      found->status == next.status && found->lastTransitionTime ? found->lastTransitionTime : at;
  *found = std::move(next);
}

const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type) {
  const auto found = std::ranges::find(conditions, type, &Condition::type);
  return found == conditions.end() ? nullptr : &*found;
}

}  // namespace neap::api
