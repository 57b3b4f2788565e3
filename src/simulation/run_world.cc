#include "internal/run_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace neap::simulation {
namespace {

using scheduler::TypicalTask;

constexpr double kTypicalCoverage = 0.95;

// Kinds of work that ask for accelerators, with how often each comes.
std::vector<TypicalTask> usual_work(const Scenario& scenario,
                                    const std::map<std::string, std::uint32_t, std::less<>>& models) {
  std::map<std::tuple<std::int64_t, std::int32_t, std::int32_t, std::uint64_t>, double> counts;
  const auto add = [&](const scheduler::ReplicaResources& each, double count) {
    if (each.accelerators.value <= 0) return;
    const auto milli = each.accelerators.value;
    std::uint64_t mask = ~std::uint64_t(0);
    if (!each.accelerator_model.empty()) {
      const auto found = models.find(each.accelerator_model);
      mask = found == models.end() ? 0 : std::uint64_t(1) << found->second;
    }
    counts[{each.cores.value, milli < 1000 ? 1 : std::int32_t(milli / 1000),
            milli < 1000 ? std::int32_t(milli) : 1000, mask}] += count;
  };
  for (const auto& job : scenario.jobs) add(job.each, job.replicas);
  for (const auto& service : scenario.services)
    if (!service.wanted.empty()) add(service.each, std::ranges::max(service.wanted));
  std::vector<TypicalTask> out;
  for (const auto& [kind, count] : counts)
    out.push_back({.cores = std::get<0>(kind),
                   .devices = std::get<1>(kind),
                   .milli = std::get<2>(kind),
                   .models = std::get<3>(kind),
                   .share = count});
  return out.empty() ? out : scheduler::keep_typical(std::move(out), kTypicalCoverage);
}

std::unexpected<Error> given_twice(const scheduler::Node& node, std::string_view what) {
  return fail(
      Code::kInternal, "simulation.invariant",
      fmt::format("more {} of node {} were given than it has; this is a defect of the engine: report the "
                  "scenario and its seed",
                  what, node.name));
}

}  // namespace

RunWorld::RunWorld(const Scenario& scenario) : scenario_(scenario) {
  std::map<std::string, std::uint32_t> sites;
  for (const auto& site : scenario.sites) {
    sites[site.name] = std::uint32_t(site_names_.size());
    site_names_.push_back(site.name);
    table_.upsert_site(site);
  }
  site_used_.resize(site_names_.size());
  site_capacity_.resize(site_names_.size());
  site_used_ms_.resize(site_names_.size());
  site_capacity_ms_.resize(site_names_.size());
  for (const auto& link : scenario.links) table_.upsert_link(link);
  table_.set_prices(scenario.prices);
  for (const auto& [node, pool] : scenario.nodes)
    if (!node.accelerator_model.empty() && models_.size() < 64)
      models_.try_emplace(node.accelerator_model, std::uint32_t(models_.size()));
  if (const auto typical = usual_work(scenario, models_); !typical.empty())
    fragmentation_.emplace(typical, std::uint32_t(std::max<std::size_t>(models_.size(), 1)));
  const auto count = scenario.nodes.size();
  fragments_.resize(count);
  holders_.resize(count);
  is_ready_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto& node = scenario.nodes[i].node;
    index_[node.name] = i;
    site_.push_back(sites.at(node.site));
    cores_.push_back(node.cores_allocatable.value);
    memory_.push_back(node.memory_allocatable.value);
    devices_.push_back(node.devices_free);
    set_ready(i, node.is_ready);
  }
}

bool RunWorld::is_rented(std::uint32_t node) const {
  const auto type = pool(node).capacity_type;
  return type == policy::CapacityType::kOnDemand || type == policy::CapacityType::kSpot;
}

void RunWorld::count_use(std::uint32_t node, std::int64_t cores, std::int64_t milli) {
  if (is_rented(node)) {
    rented_used_ += milli;
    return;
  }
  own_used_ += milli;
  cores_used_ += cores;
  site_used_[site_[node]] += milli;
}

bool RunWorld::can_hold(const scheduler::ReplicaResources& each,
                        std::span<const scheduler::Placement> places) const {
  std::map<std::string, std::int64_t> members;
  for (const auto& place : places) {
    const auto index = index_.at(place.node);
    const auto count = ++members[place.node];
    if (cores_[index] < count * each.cores.value || memory_[index] < count * each.memory.value) return false;
    for (const auto device : place.devices)
      if (devices_[index][device] < each.accelerators.value / std::int64_t(place.devices.size()))
        return false;
  }
  return true;
}

Result<Held> RunWorld::hold(const std::string& name, const scheduler::Request& request,
                            const scheduler::Placement& place) {
  const auto found = index_.find(place.node);
  if (found == index_.end())
    return fail(Code::kInternal, "simulation.invariant", "a node was chosen that is not there");
  const auto index = found->second;
  const auto& each = request.each;
  const auto& node = scenario_.nodes[index].node;
  if (!is_ready_[index]) return given_twice(node, "hours");
  if ((cores_[index] -= each.cores.value) < 0) return given_twice(node, "cores");
  if ((memory_[index] -= each.memory.value) < 0) return given_twice(node, "bytes");
  std::int64_t given = 0;
  for (const auto device : place.devices) {
    if (device >= devices_[index].size()) return given_twice(node, "accelerators");
    const auto share = std::int32_t(each.accelerators.value / std::int64_t(place.devices.size()));
    if ((devices_[index][device] -= share) < 0) return given_twice(node, "accelerators");
    given += share;
  }
  if (given != each.accelerators.value) return given_twice(node, "other accelerators than asked for");
  ++holders_[index];
  count_use(index, each.cores.value, each.accelerators.value);
  table_.upsert_allocation({.name = name,
                            .request = request.id,
                            .node = place.node,
                            .project = request.project,
                            .queue = request.queue,
                            .cores = each.cores,
                            .memory = each.memory,
                            .accelerators = each.accelerators,
                            .devices = place.devices});
  refresh_fragments(index);
  return Held{index, place.devices};
}

void RunWorld::release(const std::string& name, const scheduler::ReplicaResources& each, const Held& held) {
  cores_[held.node] += each.cores.value;
  memory_[held.node] += each.memory.value;
  for (const auto device : held.devices)
    devices_[held.node][device] += std::int32_t(each.accelerators.value / std::int64_t(held.devices.size()));
  --holders_[held.node];
  count_use(held.node, -each.cores.value, -each.accelerators.value);
  table_.remove_allocation(name);
  refresh_fragments(held.node);
}

void RunWorld::set_ready(std::uint32_t index, bool is_ready, bool is_reclaimed) {
  auto node = scenario_.nodes[index].node;
  if (bool(is_ready_[index]) != is_ready && !is_rented(index)) {
    const std::int64_t sign = is_ready ? 1 : -1;
    const auto milli = sign * 1000 * std::int64_t(node.devices_free.size());
    own_capacity_ += milli;
    site_capacity_[site_[index]] += milli;
    cores_capacity_ += sign * node.cores_allocatable.value;
  }
  is_ready_[index] = is_ready;
  node.is_ready = is_ready;
  node.is_reclaimed = is_reclaimed;
  table_.upsert_node(std::move(node));
  refresh_fragments(index);
}

void RunWorld::refresh_fragments(std::uint32_t index) {
  if (!fragmentation_ || is_rented(index)) return;
  const auto& node = scenario_.nodes[index].node;
  const auto model = models_.find(node.accelerator_model);
  double now = 0;
  if (is_ready_[index] && model != models_.end())
    now = fragmentation_->fragments(model->second, cores_[index], devices_[index]);
  fragments_sum_ += now - fragments_[index];
  fragments_[index] = now;
}

void RunWorld::advance(std::int64_t now_ms) {
  const auto passed = double(now_ms - now_ms_);
  now_ms_ = now_ms;
  if (passed <= 0) return;
  own_used_ms_ += double(own_used_) * passed;
  own_capacity_ms_ += double(own_capacity_) * passed;
  rented_used_ms_ += double(rented_used_) * passed;
  cores_used_ms_ += double(cores_used_) * passed;
  cores_capacity_ms_ += double(cores_capacity_) * passed;
  fragments_ms_ += std::max(0.0, fragments_sum_) * passed;
  for (std::size_t i = 0; i < site_used_.size(); ++i) {
    site_used_ms_[i] += double(site_used_[i]) * passed;
    site_capacity_ms_[i] += double(site_capacity_[i]) * passed;
  }
}

void RunWorld::report(RunReport& out) const {
  const double all = double(std::max<std::int64_t>(now_ms_, 1));
  out.accelerators_own = {own_used_ms_ / all, own_capacity_ms_ / all};
  out.accelerators_rented = {rented_used_ms_ / all, 0};
  out.cores_own = {cores_used_ms_ / all, cores_capacity_ms_ / all};
  for (std::size_t i = 0; i < site_names_.size(); ++i)
    if (site_capacity_ms_[i] > 0)
      out.accelerators_by_site[site_names_[i]] = {site_used_ms_[i] / all, site_capacity_ms_[i] / all};
  const double idle = own_capacity_ms_ - own_used_ms_;
  out.fragmentation = idle > 1e-9 * own_capacity_ms_ ? fragments_ms_ / idle : 0;
  out.nodes = scenario_.nodes.size();
  for (const auto& [node, pool] : scenario_.nodes) out.accelerators += double(node.devices_free.size());
}

}  // namespace neap::simulation
