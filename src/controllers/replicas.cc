#include "internal/replicas.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "internal/limits.h"
#include "internal/placement.h"

namespace neap::controllers {

using api::Allocation;
using api::InferenceService;

bool is_lent(const InferenceService& service, const std::string& allocation) {
  const auto& st = service.status;
  return std::ranges::find(st.loans, allocation, &api::ReplicaLoan::allocation) != st.loans.end() &&
         !st.nominations.contains(allocation);
}

std::vector<Replica> all_replicas(const Pass& pass, const InferenceService& service, bool may_be_lowered) {
  std::vector<Replica> out;
  std::int64_t index = 0;
  const bool lowered = may_be_lowered && is_lowered(pass, service.metadata.namespace_);
  for (const auto& place : service.spec.places) {
    const auto* site = pass.state.resolve_site(place.site);
    const auto count =
        lowered ? std::min(place.replicas, place.minReplicas.value_or(place.replicas)) : place.replicas;
    for (std::int64_t i = 0; i < count; ++i) {
      Replica r;
      r.place = &place;
      r.index = index++;
      const bool is_anywhere = place.site == kAnySite;
      r.site = site ? site->metadata.name : place.site;
      r.name = fmt::format("{}-{}-{}", service.metadata.name, is_anywhere ? "any" : r.site, i);
      const auto* a = pass.state.find<Allocation>(service.metadata.namespace_, r.name);
      if (a && !is_ended(*a)) {
        r.allocation = a;
        if (is_anywhere) r.site = a->spec.site;
      }
      out.push_back(std::move(r));
    }
  }
  return out;
}

std::vector<Replica> wanted_replicas(const Pass& pass, const InferenceService& service) {
  auto out = all_replicas(pass, service);
  std::erase_if(out, [&](const Replica& r) { return is_lent(service, r.name); });
  return out;
}

bool is_canary(const InferenceService& service, const Replica& r) {
  const auto& site = service.spec.canary.site;
  return site.empty() ? r.index == 0 : r.site == site || r.place->site == site;
}

ReplicaTarget target_of(const InferenceService& service, const Replica& r) {
  const auto& st = service.status;
  const auto& next = service.spec.modelVersion;
  if (st.phase == "Complete" || st.phase == "Expanding") return {next, "", true};
  if (st.phase == "RollingBack" || st.phase == "RolledBack")
    return {st.activeVersion, "", !st.activeVersion.empty()};
  if (st.activeVersion.empty()) return {next, "", is_canary(service, r)};  // first rollout: the canary alone
  return {st.activeVersion, is_canary(service, r) ? next : "", true};
}

std::vector<Replica> replicas_without_place(const Pass& pass, const InferenceService& service) {
  std::vector<Replica> out;
  if (service.metadata.deletionTimestamp) return out;
  for (auto& r : wanted_replicas(pass, service)) {
    if (r.allocation || service.status.nominations.contains(r.name)) continue;
    const ObjectKey key{service.metadata.namespace_, r.name};
    if (pass.state.find<Allocation>(key.namespace_, key.name) || pass.reserved.entries().contains(key))
      continue;
    if (const auto target = target_of(service, r); target.create && !target.version.empty())
      out.push_back(std::move(r));
  }
  return out;
}

std::set<ObjectKey> spare_replicas(const Pass& pass, const InferenceService& service) {
  std::set<ObjectKey> out;
  std::map<const api::ServicePlace*, std::vector<const Allocation*>> standing;
  for (const auto& r : wanted_replicas(pass, service))
    if (r.allocation && r.allocation->spec.desired != "Stop") standing[r.place].push_back(r.allocation);
  for (const auto& [place, replicas] : standing)
    for (auto i = std::size_t(std::max<std::int64_t>(0, least_replicas(*place))); i < replicas.size(); ++i)
      out.insert(key_of(*replicas[i]));
  return out;
}

std::int64_t replicas_at(const Pass& pass, const InferenceService& service, const api::ServicePlace& place) {
  return std::ranges::count_if(wanted_replicas(pass, service), [&](const Replica& r) {
    return r.place == &place && r.allocation && r.allocation->spec.desired != "Stop";
  });
}

WallTime waiting_since(const Pass& pass, const InferenceService& service) {
  const auto* placed = api::find_condition(service.status.conditions, "Placed");
  if (placed && placed->status == "False" && placed->lastTransitionTime) return *placed->lastTransitionTime;
  return pass.wall();
}

}  // namespace neap::controllers
