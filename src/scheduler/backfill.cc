#include "neap/scheduler/backfill.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace neap::scheduler {
namespace {

// Up to so many moments each is tried; above, the search halves, which is exact where free capacity only
// grows.
constexpr std::size_t kMomentsTried = 24;

void give_back(Node& node, const Release& release) {
  node.cores_free += release.cores;
  node.memory_free += release.memory;
  if (!release.devices.empty()) {
    const auto share = std::int32_t(release.accelerators.value / std::int64_t(release.devices.size()));
    for (const auto device : release.devices)
      if (device < node.devices_free.size())
        node.devices_free[device] = std::min(1000, node.devices_free[device] + share);
    return;
  }
  std::vector<std::size_t> fullest(node.devices_free.size());
  std::iota(fullest.begin(), fullest.end(), 0);
  std::ranges::sort(fullest, {}, [&](std::size_t i) { return std::pair(node.devices_free[i], i); });
  auto left = release.accelerators.value;
  for (const auto device : fullest) {
    const auto take = std::min<std::int64_t>(left, 1000 - node.devices_free[device]);
    node.devices_free[device] += std::int32_t(take);
    left -= take;
  }
}

void take_out(Node& node, const ReplicaResources& each, const std::vector<std::uint16_t>& devices) {
  node.cores_free.value = std::max<std::int64_t>(0, node.cores_free.value - each.cores.value);
  node.memory_free.value = std::max<std::int64_t>(0, node.memory_free.value - each.memory.value);
  if (devices.empty()) return;
  const auto share = std::int32_t(each.accelerators.value / std::int64_t(devices.size()));
  for (const auto device : devices)
    node.devices_free[device] = std::max(0, node.devices_free[device] - share);
}

void keep_less(Node& node, const Node& other) {
  node.cores_free = std::min(node.cores_free, other.cores_free);
  node.memory_free = std::min(node.memory_free, other.memory_free);
  for (std::size_t i = 0; i < node.devices_free.size(); ++i)
    node.devices_free[i] = std::min(node.devices_free[i], other.devices_free[i]);
}

}  // namespace

WallTime expected_end(WallTime started, Duration estimate, WallTime now) {
  const auto stated = started + estimate;
  const auto end = stated > now ? stated : now + std::max<Duration>(now - stated, std::chrono::minutes(1));
  return std::chrono::ceil<std::chrono::minutes>(end);
}

BackfillBoard::BackfillBoard(Snapshot now, std::vector<Release> releases, Options options)
    : now_(std::move(now)), releases_(std::move(releases)), options_(options) {
  std::ranges::sort(now_.nodes, {}, &Node::name);
  std::erase_if(releases_,
                [&](const Release& release) { return find_node(release.node) == now_.nodes.size(); });
}

std::size_t BackfillBoard::find_node(const std::string& name) const {
  const auto it = std::ranges::lower_bound(now_.nodes, name, {}, &Node::name);
  return it == now_.nodes.end() || it->name != name ? now_.nodes.size()
                                                    : std::size_t(it - now_.nodes.begin());
}

void BackfillBoard::exchange(ProjectRules& rules) {
  std::swap(now_.rules, rules.rules);
  std::swap(now_.budgets, rules.budgets);
  std::swap(now_.data_policies, rules.data_policies);
}

void BackfillBoard::release(const Release& release) {
  if (const auto node = find_node(release.node); node < now_.nodes.size())
    give_back(now_.nodes[node], release);
}

bool BackfillBoard::holds_at(const Reservation& reservation, std::optional<WallTime> moment) const {
  if (!reservation.from) return true;
  if (!moment) return !reservation.until;
  return *reservation.from <= *moment && (!reservation.until || *moment < *reservation.until);
}

std::vector<Node> BackfillBoard::free_at(std::optional<WallTime> moment) const {
  auto nodes = now_.nodes;
  for (const auto& release : releases_)
    if (!moment || (release.ends && *release.ends <= *moment))
      give_back(nodes[find_node(release.node)], release);
  for (std::size_t i = 0; i < reservations_.size(); ++i) {
    // A place without a time is kept as of when all has ended; a moment before says nothing of it.
    if (!holds_at(reservations_[i], moment) || (!reservations_[i].from && moment)) continue;
    for (std::size_t p = 0; p < needs_[i].nodes.size(); ++p)
      take_out(nodes[needs_[i].nodes[p]], needs_[i].each, reservations_[i].placements[p].devices);
  }
  return nodes;
}

Snapshot BackfillBoard::view(std::optional<WallTime> at, std::optional<Duration> length) const {
  auto out = now_;
  out.nodes = free_at(at);
  for (const auto& reservation : reservations_) {
    const bool is_ahead =
        reservation.from && at && *at < *reservation.from && (!length || *reservation.from < *at + *length);
    if (reservation.from && !is_ahead) continue;
    const auto then = free_at(reservation.from);
    for (std::size_t n = 0; n < out.nodes.size(); ++n) keep_less(out.nodes[n], then[n]);
  }
  return out;
}

Decision BackfillBoard::decide_one(const Snapshot& world, const Request& request,
                                   std::size_t suggestions) const {
  auto options = options_;
  options.suggestions_max = suggestions;
  return std::move(decide(world, std::span(&request, 1), options).decisions.front());
}

Decision BackfillBoard::place(const Request& request) {
  auto decision = decide_one(reservations_.empty() ? now_ : view(options_.now, request.duration_estimate),
                             request, options_.suggestions_max);
  if (decision.is_placed) {
    Plan plan;
    plan.decisions.push_back(std::move(decision));
    apply_plan(now_, std::span(&request, 1), plan);
    decision = std::move(plan.decisions.front());
    std::optional<WallTime> ends;
    // As later rounds will see it: rounded otherwise, a place kept now could be kept later from then on.
    if (request.duration_estimate)
      ends = expected_end(options_.now, *request.duration_estimate, options_.now);
    for (const auto& placement : decision.placements)
      releases_.push_back({.node = placement.node,
                           .cores = request.each.cores,
                           .memory = request.each.memory,
                           .accelerators = request.each.accelerators,
                           .devices = placement.devices,
                           .ends = ends});
    return decision;
  }
  if (reservations_.empty()) return decision;
  auto unheld = decide_one(now_, request, options_.suggestions_max);
  if (!unheld.is_placed) return unheld;
  unheld.is_placed = false;
  unheld.placements.clear();
  const auto& first = reservations_.front();
  unheld.pending = Refusal{
      Guard::kReserved,
      first.from ? fmt::format("fits now, but would delay {}, for which a place is kept from {}",
                               first.request, format_rfc3339(*first.from, 0))
                 : fmt::format("fits now, but would delay {}, for which a place is kept until work has ended "
                               "that states no duration",
                               first.request)};
  return unheld;
}

std::optional<Reservation> BackfillBoard::reserve(const Request& request) {
  std::vector<WallTime> moments{options_.now};
  for (const auto& release : releases_)
    if (release.ends && *release.ends > options_.now) moments.push_back(*release.ends);
  for (const auto& reservation : reservations_)
    if (reservation.until && *reservation.until > options_.now) moments.push_back(*reservation.until);
  std::ranges::sort(moments);
  moments.erase(std::ranges::unique(moments).begin(), moments.end());
  const auto fit_at = [&](std::optional<WallTime> moment) {
    return decide_one(view(moment, request.duration_estimate), request, 0);
  };
  const auto kept = [&](std::optional<WallTime> from, Decision decision) -> std::optional<Reservation> {
    Reservation out{
        .request = request.id, .from = from, .until = {}, .placements = std::move(decision.placements)};
    if (from && request.duration_estimate) out.until = *from + *request.duration_estimate;
    keep(request, out);
    return out;
  };
  auto last = fit_at(moments.back());
  if (!last.is_placed) {
    auto at_last = fit_at(std::nullopt);
    return at_last.is_placed ? kept(std::nullopt, std::move(at_last)) : std::nullopt;
  }
  std::size_t low = 0, high = moments.size() - 1;  // fits at high
  while (high - low > 0) {
    const auto middle = high - low > kMomentsTried || reservations_.empty() ? low + (high - low) / 2 : low;
    auto tried = fit_at(moments[middle]);
    if (tried.is_placed) {
      high = middle;
      last = std::move(tried);
    } else {
      low = middle + 1;
    }
  }
  return kept(moments[high], std::move(last));
}

void BackfillBoard::hold(const Request& request, std::vector<Placement> placements) {
  now_.running.clear();
  keep(request, {.request = request.id, .from = {}, .until = {}, .placements = std::move(placements)});
}

void BackfillBoard::keep(const Request& request, Reservation reservation) {
  Need need{.each = request.each, .nodes = {}};
  std::erase_if(reservation.placements,
                [&](const Placement& placement) { return find_node(placement.node) == now_.nodes.size(); });
  for (const auto& placement : reservation.placements) need.nodes.push_back(find_node(placement.node));
  needs_.push_back(std::move(need));
  reservations_.push_back(std::move(reservation));
}

}  // namespace neap::scheduler
