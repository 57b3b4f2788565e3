// Nodes and sites: readiness from leases, and each site's sums.
//
// The agent owns a node's status; this controller only turns Ready to Unknown when the lease ran out,
// since nobody else can. The agent turns it back with its next status.
#include <fmt/format.h>

#include "internal/reconciler.h"
#include "internal/spot_history.h"

namespace neap::controllers {
namespace {

Task<Status> mark_lost_node(const Pass& pass, const api::Node& node) {
  const auto lease = pass.state.leases.find(node.metadata.name);
  if (lease == pass.state.leases.end()) co_return ok();
  const auto late = pass.now() - lease->second.seen;
  if (late <= lease->second.duration) co_return ok();
  const auto* ready = api::find_condition(node.status.conditions, "Ready");
  if (ready && ready->status == "Unknown") co_return ok();
  auto next = node;
  api::set_condition(next.status.conditions,
                     {.type = "Ready",
                      .status = "Unknown",
                      .reason = "LeaseExpired",
                      .message = fmt::format("no heartbeat for {:.0f} s; it may be offline and still serving",
                                             to_seconds(late))},
                     pass.wall());
  co_return co_await write_status(pass, std::move(next));
}

void add(api::Resources& sum, const api::Resources& part, int sign) {
  sum.cpu.value += sign * part.cpu.value;
  sum.memory.value += sign * part.memory.value;
  for (const auto& [model, amount] : part.accelerators) sum.accelerators[model].value += sign * amount.value;
}

using HeldByNode = std::map<std::string_view, api::Resources>;

Task<Status> sum_site(const Pass& pass, const api::Site& before, const HeldByNode& held) {
  auto site = before;
  auto& st = site.status;
  st = {};
  st.conditions = before.status.conditions;
  st.spotPrices = before.status.spotPrices;
  record_spot_price(site.spec, st.spotPrices, pass.wall());
  bool has_spot = false;
  for (const auto& [key, node] : pass.state.all<api::Node>()) {
    if (node.spec.site != site.metadata.name) continue;
    ++st.nodes;
    if (!condition_is_true(node.status.conditions, "Ready")) continue;
    has_spot = has_spot || (node.spec.capacityType == api::CapacityType::kSpot &&
                            !condition_is_true(node.status.conditions, "Interrupting"));
    ++st.nodesReady;
    add(st.capacity, node.status.allocatable, 1);
    add(st.free, node.status.allocatable, 1);
    if (const auto taken = held.find(key.name); taken != held.end()) add(st.free, taken->second, -1);
  }
  st.spotSpells = before.status.spotSpells;
  record_spot_spell(has_spot, st.spotSpells, pass.wall());
  if (same_object(site, before)) co_return ok();
  co_return co_await write_status(pass, std::move(site));
}

}  // namespace

Task<Status> reconcile_nodes(const Pass& pass) {
  Status first_error;
  const auto note = [&first_error](Status status) {
    if (!status && first_error) first_error = std::move(status);
  };
  if (pass.work.is_tick)
    for (const auto& [key, node] : pass.state.all<api::Node>()) note(co_await mark_lost_node(pass, node));
  if (!pass.work.sums) co_return first_error;
  HeldByNode held;
  for (const auto& [key, allocation] : pass.state.all<api::Allocation>())
    if (holds_resources(allocation)) add(held[allocation.spec.node], allocation.spec.resources, 1);
  for (const auto& [key, site] : pass.state.all<api::Site>()) note(co_await sum_site(pass, site, held));
  co_return first_error;
}

}  // namespace neap::controllers
