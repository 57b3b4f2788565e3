#include "neap/scheduler/gang_room.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace neap::scheduler {
namespace {

// Who may move is asked like whose end would make room; these two priorities let decide() find them.
constexpr int kMovable = 0, kAsking = 1;

void take(Node& node, const Request& request, const Placement& place) {
  node.cores_free.value = std::max<std::int64_t>(0, node.cores_free.value - request.each.cores.value);
  node.memory_free.value = std::max<std::int64_t>(0, node.memory_free.value - request.each.memory.value);
  if (place.devices.empty()) return;
  const auto share = std::int32_t(request.each.accelerators.value / std::int64_t(place.devices.size()));
  for (const auto device : place.devices)
    if (device < node.devices_free.size())
      node.devices_free[device] = std::max(0, node.devices_free[device] - share);
}

void give_back(Node& node, const RunningMember& member) {
  node.cores_free += member.cores;
  node.memory_free += member.memory;
  if (member.devices.empty()) return;
  const auto share = std::int32_t(member.accelerators.value / std::int64_t(member.devices.size()));
  for (const auto device : member.devices)
    if (device < node.devices_free.size()) node.devices_free[device] += share;
}

class GangRoomPlanner {
 public:
  GangRoomPlanner(RunningWorld& world, const Request& waiting, const GangRoomLimits& limits, Options options)
      : world_(world), waiting_(waiting), limits_(limits), options_(std::move(options)) {
    options_.suggestions_max = 0;
    options_.explains_nodes = false;
    for (std::size_t n = 0; n < world_.nodes.size(); ++n) index_.emplace(world_.nodes[n].name, n);
    for (std::size_t t = 0; t < world_.tenants.size(); ++t)
      if (may_be_asked(world_.tenants[t])) askable_.insert(t);
  }

  GangRoomAnswer answer() {
    GangRoomAnswer out;
    if (!world_.projects.contains(waiting_.project)) {
      out.why = fmt::format("nothing is known of project {}", waiting_.project);
      return out;
    }
    for (int attempt = 0; attempt < limits_.attempts_max; ++attempt) {
      const auto decision = choose_movers();
      out.is_free_already = decision.is_placed;
      if (decision.is_placed) return out;
      if (!decision.preemption) {
        if (out.why.empty()) out.why = why_nobody(decision);
        return out;
      }
      GangRoom room{decision.preemption->placements, {}, 0};
      const auto stuck = relocate(*decision.preemption, room);
      if (!stuck) {
        if (out.why = over_limit(room); out.why.empty()) out.room = std::move(room);
        return out;
      }
      out.why = fmt::format("{} would have to move and cannot: {}", world_.tenants[stuck->first].gang.owner,
                            stuck->second);
      out.stuck.insert(*stuck);
      askable_.erase(stuck->first);
    }
    out.why =
        fmt::format("no set of moves was found in {} tries; the last: {}", limits_.attempts_max, out.why);
    return out;
  }

 private:
  using Stuck = std::pair<std::size_t, std::string>;

  const Node* find_node(const std::string& name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &world_.nodes[found->second];
  }

  // All its members at one site and on one kind of capacity, so that it can go on the same way.
  bool may_be_asked(const Tenant& tenant) const {
    if (!tenant.stays.empty() || tenant.gang.members.empty() || !tenant.gang.is_preemptible ||
        tenant.gang.interruption == InterruptionClass::kNever || tenant.gang.priority > waiting_.priority ||
        !world_.projects.contains(tenant.request.project))
      return false;
    const auto* first = find_node(tenant.gang.members.front().node);
    return first && std::ranges::all_of(tenant.gang.members, [&](const auto& member) {
             const auto* node = find_node(member.node);
             return node && node->site == first->site && node->capacity_type == first->capacity_type;
           });
  }

  Decision choose_movers() {
    auto& own = world_.projects.find(waiting_.project)->second;
    auto request = waiting_;
    request.priority = kAsking;
    request.may_preempt = true;
    own.running.clear();
    for (const auto t : askable_) {
      auto gang = world_.tenants[t].gang;
      gang.priority = kMovable;
      gang.members_min = 0;  // it moves whole
      gang.reclaimable_by.clear();
      own.running.push_back(std::move(gang));
    }
    own.nodes.swap(world_.nodes);
    auto plan = decide(own, std::span(&request, 1), options_);
    own.nodes.swap(world_.nodes);
    own.running.clear();
    return std::move(plan.decisions.front());
  }

  std::string why_nobody(const Decision& decision) const {
    if (askable_.empty())
      return fmt::format("nothing that runs may move for it{}{}", decision.pending ? "; " : "",
                         decision.pending ? decision.pending->sentence : "");
    if (!decision.no_preemption.empty()) return "moving everything that may move would not make room for it";
    return decision.pending ? decision.pending->sentence : "no place fits";
  }

  std::string over_limit(const GangRoom& room) const {
    if (room.moves.size() > limits_.moves_max)
      return fmt::format("it would take {} moves, more than the {} allowed", room.moves.size(),
                         limits_.moves_max);
    if (room.lost_work > limits_.lost_work_max)
      return fmt::format("it would set {:.0f} device seconds back, more than the {:.0f} allowed",
                         room.lost_work, limits_.lost_work_max);
    return {};
  }

  // Finds another place for each victim; absent where all have one, else who has none.
  std::optional<Stuck> relocate(const Preemption& found, GangRoom& room) {
    std::vector<std::size_t> movers;
    for (const auto& victim : found.victims)
      for (const auto t : askable_)
        if (world_.tenants[t].gang.owner == victim.owner) movers.push_back(t);
    // What is hard to seat first.
    std::ranges::sort(movers, [&](auto a, auto b) {
      const auto size = [&](auto t) {
        const auto& gang = world_.tenants[t].gang;
        return std::pair(std::int64_t(gang.members.size()) * gang.members.front().accelerators.value,
                         std::int64_t(gang.members.size()) * gang.members.front().cores.value);
      };
      return size(a) != size(b) ? size(a) > size(b) : a < b;
    });
    auto board = world_.nodes;
    std::set<std::string, std::less<>> wanted;
    for (const auto& place : found.placements) {
      wanted.insert(place.node);
      take(board[index_.at(place.node)], waiting_, place);
    }
    for (const auto t : movers) {
      auto decision = seat(t, board, wanted);
      if (!decision.is_placed)
        return Stuck{t, decision.pending ? decision.pending->sentence : "no place fits"};
      const auto& tenant = world_.tenants[t];
      for (const auto& place : decision.placements) take(board[index_.at(place.node)], tenant.request, place);
      room.moves.push_back({t, std::move(decision.placements), tenant.gang.lost_work()});
      room.lost_work += room.moves.back().lost_work;
    }
    return std::nullopt;
  }

  Decision seat(std::size_t t, const std::vector<Node>& board,
                const std::set<std::string, std::less<>>& wanted) {
    const auto& tenant = world_.tenants[t];
    const auto* home = find_node(tenant.gang.members.front().node);
    auto& own = world_.projects.find(tenant.request.project)->second;
    own.nodes.clear();
    for (const auto& node : board) {
      if (node.site != home->site || node.capacity_type != home->capacity_type || wanted.contains(node.name))
        continue;
      own.nodes.push_back(node);
      for (const auto& member : tenant.gang.members)
        if (member.node == node.name) give_back(own.nodes.back(), member);
    }
    auto request = tenant.request;
    request.replicas = int(tenant.gang.members.size());
    request.replicas_min = 0;
    request.may_preempt = false;
    request.pinned_site = home->site;
    if (request.each.accelerators.value > 0) request.each.accelerator_model = home->accelerator_model;
    request.accelerator_alternatives.clear();
    // What it holds is counted already, and it asks for no more.
    const auto queues = std::exchange(own.queues, {});
    const auto budgets = std::exchange(own.budgets, {});
    request.queue.clear();
    auto plan = decide(own, std::span(&request, 1), options_);
    own.queues = queues;
    own.budgets = budgets;
    own.nodes.clear();
    return std::move(plan.decisions.front());
  }

  RunningWorld& world_;
  const Request& waiting_;
  const GangRoomLimits& limits_;
  Options options_;
  std::map<std::string, std::size_t, std::less<>> index_;  // nodes by name
  std::set<std::size_t> askable_;                          // tenants
};

}  // namespace

GangRoomAnswer plan_gang_room(RunningWorld& world, const Request& waiting, const GangRoomLimits& limits,
                              const Options& options) {
  return GangRoomPlanner(world, waiting, limits, options).answer();
}

}  // namespace neap::scheduler
