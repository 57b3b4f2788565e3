// Who makes room. Guards were asked before: only nodes that lack nothing but room are looked at. Gangs fall
// whole, and nobody falls unless everything that is asked for fits afterwards.
//
// A set of victims is found twice, from both ends: cheapest first until there is room, and everybody but
// whoever is not needed; the one that loses less work is taken. One replica on one node is exact for sets
// that are minimal in the first order; both are heuristics for gangs over many nodes, where the choice is a
// set cover.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "internal/engine.h"

namespace neap::scheduler {
namespace {

// What a set of victims costs; less is better, in this order.
struct Toll {
  double lost = std::numeric_limits<double>::infinity();
  int top_priority = 0;
  std::int64_t displaced = 0;
  bool is_possible() const { return lost < std::numeric_limits<double>::infinity(); }
  friend auto operator<=>(const Toll&, const Toll&) = default;
};

std::int64_t size_of(const RunningGang& gang) {
  std::int64_t total = 0;
  for (const auto& member : gang.members)
    total += member.accelerators.value > 0 ? member.accelerators.value : member.cores.value / 16;
  return total;
}

Toll toll_of(const Snapshot& snapshot, const Occupancy& occupancy,
             const std::vector<std::uint32_t>& victims) {
  Toll out{0, INT32_MIN, 0};
  for (const auto g : victims) {
    out.lost += occupancy.lost[g];
    out.top_priority = std::max(out.top_priority, snapshot.running[g].priority);
    out.displaced += size_of(snapshot.running[g]);
  }
  return out;
}

bool lacks_only_room(const Board& board, const Ask& ask, std::uint32_t n) {
  const Guard guard = ask.guard[n];
  if (ask.class_verdicts[board.node_class[n]].guard != Guard::kNone) return false;
  return guard == Guard::kNone || (guard >= Guard::kFitCores && guard <= Guard::kFitAccelerators);
}

void shift(Board& board, const RunningMember& member, std::uint32_t n, int sign) {
  board.cores_free[n] += sign * member.cores.value;
  board.memory_free[n] += sign * member.memory.value;
  if (member.devices.empty()) return;
  const auto share = std::int32_t(member.accelerators.value / std::int64_t(member.devices.size()));
  for (const auto device : member.devices) board.device_free[board.device_begin[n] + device] += sign * share;
}

bool is_overdrawn(const Board& board, std::uint32_t n) {
  return board.cores_free[n] < 0 || board.memory_free[n] < 0 ||
         std::ranges::any_of(board.devices(n), [](auto free) { return free < 0; });
}

// What is free on a node, to come back to.
struct Free {
  std::int64_t cores = 0, memory = 0;
  std::vector<std::int32_t> devices;
};
Free free_of(const Board& board, std::uint32_t n) {
  const auto devices = board.devices(n);
  return {board.cores_free[n], board.memory_free[n], {devices.begin(), devices.end()}};
}

}  // namespace

// Gangs whose members do not fit their node beside what is free there are not believed, and left alone.
void Engine::fill_occupancy() {
  if (occupancy_) return;
  occupancy_ = std::make_unique<Occupancy>();
  auto& out = *occupancy_;
  const auto& running = board_.snapshot->running;
  std::unordered_map<std::string_view, std::uint32_t> index;
  index.reserve(board_.nodes.size());
  for (std::uint32_t n = 0; n < board_.nodes.size(); ++n) index.emplace(board_.nodes[n]->name, n);
  out.begin.assign(board_.nodes.size() + 1, 0);
  out.is_gone.assign(running.size(), false);
  for (std::uint32_t g = 0; g < running.size(); ++g) {
    out.from.push_back(std::uint32_t(out.at.size()));
    out.lost.push_back(running[g].lost_work());
    for (const auto& member : running[g].members) {
      const auto found = index.find(member.node);
      const auto n = found == index.end() ? kNowhere : found->second;
      out.at.push_back(n);
      if (n == kNowhere) continue;
      ++out.begin[n + 1];
      for (const auto device : member.devices)
        if (device >= board_.devices(n).size()) out.is_gone[g] = true;
    }
  }
  out.from.push_back(std::uint32_t(out.at.size()));
  for (std::size_t n = 0; n < board_.nodes.size(); ++n) out.begin[n + 1] += out.begin[n];
  out.on.resize(out.begin.back());
  auto next = out.begin;
  for (std::uint32_t g = 0; g < running.size(); ++g)
    for (std::uint32_t m = 0; m < running[g].members.size(); ++m)
      if (const auto n = out.at[out.from[g] + m]; n != kNowhere) out.on[next[n]++] = {g, m};
}

bool Engine::may_fall(const Request& request, std::uint32_t g) const {
  const auto& gang = board_.snapshot->running[g];
  if (occupancy_->is_gone[g] || !gang.is_preemptible) return false;
  if (gang.interruption == InterruptionClass::kNever && !gang.never_may_fall) return false;
  if (!request.queue.empty() && gang.may_be_reclaimed_by(request.queue)) return true;
  return request.may_preempt && gang.priority < request.priority;
}

// All its members, with the board told.
void Engine::move_members(std::uint32_t g, int sign) {
  const auto& gang = board_.snapshot->running[g];
  const auto& block_of = board_.domain_of[std::size_t(TopologyLevel::kBlock)];
  for (std::uint32_t m = 0; m < gang.members.size(); ++m) {
    const auto n = occupancy_->at[occupancy_->from[g] + m];
    if (n == kNowhere) continue;
    const auto before = board_.block_all.empty() ? 0 : board_.block_units(n);
    shift(board_, gang.members[m], n, sign);
    if (!board_.block_all.empty() && block_of[n] != kNowhere)
      board_.block_free[block_of[n]] += board_.block_units(n) - before;
    board_.changes.push_back(n);
  }
}

// The gangs that make room for one replica on this node; empty where they cannot.
std::vector<std::uint32_t> Engine::cheapest_on_node(const Ask& ask, std::uint32_t n) {
  std::vector<std::uint32_t> gangs;
  const auto on = std::span(occupancy_->on)
                      .subspan(occupancy_->begin[n], occupancy_->begin[n + 1] - occupancy_->begin[n]);
  for (const auto& [g, m] : on)
    if ((gangs.empty() || gangs.back() != g) && may_fall(ask.request, g)) gangs.push_back(g);
  if (gangs.empty()) return {};
  const auto move = [&](std::uint32_t g, int sign) {
    for (const auto& held : on)
      if (held.gang == g) shift(board_, board_.snapshot->running[g].members[held.member], n, sign);
  };
  const auto fits = [&] { return count_slots(board_, ask.request.each, n) > 0; };
  const auto& running = board_.snapshot->running;
  std::ranges::sort(gangs, [&](auto a, auto b) {
    return std::tuple(occupancy_->lost[a], running[a].priority, a) <
           std::tuple(occupancy_->lost[b], running[b].priority, b);
  });
  std::vector<std::uint32_t> moved, best;
  // One gang alone may do, and be cheaper than several that come first.
  for (const auto g : gangs) {
    move(g, 1);
    const bool is_enough = fits();
    move(g, -1);
    if (!is_enough) continue;
    best = {g};
    break;
  }
  for (const auto g : gangs) {
    if (fits()) break;
    move(g, 1);
    moved.push_back(g);
  }
  if (fits()) {
    auto kept = moved;
    for (auto it = moved.rbegin(); it != moved.rend(); ++it) {
      move(*it, -1);
      if (fits())
        std::erase(kept, *it);
      else
        move(*it, 1);
    }
    moved = kept;
    if (best.empty() ||
        toll_of(*board_.snapshot, *occupancy_, kept) < toll_of(*board_.snapshot, *occupancy_, best))
      best = kept;
  }
  for (const auto g : moved) move(g, -1);
  return best;
}

// Room for a gang in one scope, counted as victims come and go. Groups are domains of which slices may not
// cross the border; without slices all nodes are one group.
struct Engine::Search {
  Engine& engine;
  const Ask& ask;
  std::uint64_t unit = 1;
  std::vector<std::uint32_t> group_of;  // by node; kNowhere: not in scope
  std::vector<std::uint64_t> group_slots;
  std::uint64_t total = 0;
  std::vector<std::uint32_t> gangs;  // those that may fall and lie in scope

  std::uint64_t slots_at(std::uint32_t n) const {
    const auto slots = count_slots(engine.board_, ask.request.each, n);
    return ask.request.spreads_nodes ? std::min(slots, 1U) : slots;
  }
  void add(std::uint32_t group, std::int64_t slots) {
    total -= group_slots[group] / unit * unit;
    group_slots[group] += std::uint64_t(slots);
    total += group_slots[group] / unit * unit;
  }
  void include(std::uint32_t n, std::uint32_t group) {
    if (!lacks_only_room(engine.board_, ask, n)) return;
    group_of[n] = group;
    if (group_slots.size() <= group) group_slots.resize(group + 1, 0);
    add(group, std::int64_t(slots_at(n)));
    const auto& occupancy = *engine.occupancy_;
    for (auto i = occupancy.begin[n]; i < occupancy.begin[n + 1]; ++i) gangs.push_back(occupancy.on[i].gang);
  }
  void move(std::uint32_t g, int sign) {
    const auto& members = engine.board_.snapshot->running[g].members;
    for (std::uint32_t m = 0; m < members.size(); ++m) {
      const auto n = engine.occupancy_->at[engine.occupancy_->from[g] + m];
      if (n == kNowhere || group_of[n] == kNowhere) continue;
      const auto before = slots_at(n);
      shift(engine.board_, members[m], n, sign);
      add(group_of[n], std::int64_t(slots_at(n)) - std::int64_t(before));
    }
  }
  // Puts back, dearest first, whoever is not needed.
  void spare(std::vector<std::uint32_t>& out, std::uint64_t need) {
    auto order = out;
    const auto& running = engine.board_.snapshot->running;
    std::ranges::sort(order, [&](auto a, auto b) {
      return std::tuple(engine.occupancy_->lost[b], running[b].priority, size_of(running[b]), a) <
             std::tuple(engine.occupancy_->lost[a], running[a].priority, size_of(running[a]), b);
    });
    std::set<std::uint32_t> spared;
    for (const auto g : order) {
      move(g, -1);
      if (total >= need)
        spared.insert(g);
      else
        move(g, 1);
    }
    std::erase_if(out, [&](auto g) { return spared.contains(g); });
  }
  // Victims after which `need` replicas fit; empty where there are none. The board is as before.
  std::vector<std::uint32_t> run(std::uint64_t need) {
    std::ranges::sort(gangs);
    gangs.erase(std::ranges::unique(gangs).begin(), gangs.end());
    std::erase_if(gangs, [&](auto g) { return !engine.may_fall(ask.request, g); });
    const auto& running = engine.board_.snapshot->running;
    auto cheap = gangs;
    std::ranges::sort(cheap, [&](auto a, auto b) {
      return std::tuple(engine.occupancy_->lost[a] / double(std::max<std::int64_t>(1, size_of(running[a]))),
                        running[a].priority, a) <
             std::tuple(engine.occupancy_->lost[b] / double(std::max<std::int64_t>(1, size_of(running[b]))),
                        running[b].priority, b);
    });
    std::vector<std::uint32_t> some;
    for (const auto g : cheap) {
      if (total >= need) break;
      move(g, 1);
      some.push_back(g);
    }
    if (total < need) {
      for (const auto g : some) move(g, -1);
      return {};
    }
    spare(some, need);
    for (const auto g : some) move(g, -1);
    for (const auto g : gangs) move(g, 1);
    auto all = gangs;
    spare(all, need);
    for (const auto g : all) move(g, -1);
    return toll_of(*engine.board_.snapshot, *engine.occupancy_, all) <
                   toll_of(*engine.board_.snapshot, *engine.occupancy_, some)
               ? all
               : some;
  }
};

// The cheapest node for one replica; what was found for a node is kept until the node changes.
std::vector<std::uint32_t> Engine::cheapest_single(Ask& ask, std::uint32_t& at) {
  const auto count = std::uint32_t(board_.nodes.size());
  const auto refresh = [&](std::uint32_t n) {
    ask.evict_lost[n] = std::numeric_limits<double>::infinity();
    if (!lacks_only_room(board_, ask, n)) return;
    const auto victims = cheapest_on_node(ask, n);
    if (victims.empty()) return;
    const auto toll = toll_of(*board_.snapshot, *occupancy_, victims);
    ask.evict_lost[n] = toll.lost;
    ask.evict_tie[n] = {toll.top_priority, toll.displaced};
  };
  if (ask.evict_lost.empty() || board_.changes.size() - ask.evict_read > count) {
    ask.evict_lost.assign(count, 0);
    ask.evict_tie.assign(count, {});
    for (std::uint32_t n = 0; n < count; ++n) refresh(n);
  } else {
    for (; ask.evict_read < board_.changes.size(); ++ask.evict_read) refresh(board_.changes[ask.evict_read]);
  }
  ask.evict_read = board_.changes.size();
  at = kNowhere;
  for (std::uint32_t n = 0; n < count; ++n) {
    if (ask.evict_lost[n] == std::numeric_limits<double>::infinity()) continue;
    if (at == kNowhere || ask.evict_lost[n] < ask.evict_lost[at] ||
        (ask.evict_lost[n] == ask.evict_lost[at] && ask.evict_tie[n] < ask.evict_tie[at]))
      at = n;
  }
  return at == kNowhere ? std::vector<std::uint32_t>{} : cheapest_on_node(ask, at);
}

std::vector<std::uint32_t> Engine::cheapest_for_gang(Ask& ask, std::uint32_t& site) {
  const auto& request = ask.request;
  const auto need = std::uint64_t(request.replicas_min > 0 ? request.replicas_min : request.replicas);
  const auto& asked = request.topology;
  const bool is_required = asked && asked->is_required;
  std::vector<std::uint32_t> best;
  Toll best_toll;
  const auto consider = [&](Search& search, std::uint32_t s) {
    auto victims = search.run(need);
    if (victims.empty()) return;
    const auto toll = toll_of(*board_.snapshot, *occupancy_, victims);
    if (!(toll < best_toll)) return;
    best_toll = toll;
    best = std::move(victims);
    site = s;
  };
  const auto fresh = [&] {
    return Search{*this, ask, 1, std::vector<std::uint32_t>(board_.nodes.size(), kNowhere), {}, 0, {}};
  };
  if (is_required && asked->slice_replicas == 0) {
    auto search = fresh();
    for (const auto& domain : board_.domains[std::size_t(asked->level)]) {
      search.group_slots.assign(1, 0);
      search.total = 0;
      search.gangs.clear();
      for (const auto n : domain.nodes) search.include(n, 0);
      consider(search, domain.site);
      for (const auto n : domain.nodes) search.group_of[n] = kNowhere;
    }
    return best;
  }
  for (std::uint32_t s = 0; s < board_.sites.size(); ++s) {
    auto search = fresh();
    const auto level = is_required ? std::size_t(asked->level) : 0;
    if (is_required) search.unit = std::uint64_t(asked->slice_replicas);
    for (auto n = board_.site_begin[s]; n < board_.site_begin[s + 1]; ++n) {
      const auto group = !is_required                      ? 0
                         : board_.domain_of[level].empty() ? kNowhere
                                                           : board_.domain_of[level][n];
      if (group != kNowhere) search.include(n, group);
    }
    consider(search, s);
  }
  return best;
}

void Engine::try_preempt(Ask& ask, Decision& decision) {
  const auto& request = ask.request;
  const auto& running = board_.snapshot->running;
  if (running.empty() || !request.spread_sites.empty()) return;
  fill_occupancy();
  bool any = false;
  for (std::uint32_t g = 0; g < running.size() && !any; ++g) any = may_fall(request, g);
  if (!any) {
    if (request.priority > 0)
      decision.no_preemption =
          "nothing that runs here may end for it: all is of its priority or above, or must not be "
          "interrupted";
    return;
  }
  sync(ask);
  std::uint32_t site = kNowhere, node = kNowhere;
  const bool is_single = request.replicas == 1;
  auto victims = is_single ? cheapest_single(ask, node) : cheapest_for_gang(ask, site);
  if (victims.empty()) {
    decision.no_preemption = "ending all running work that may end for it would not make room for all of it";
    return;
  }
  const std::vector<std::uint32_t> one{node};
  place_on_freed(ask, decision, is_single ? std::vector<Share>{{{0, 0, &one}, 1}} : std::vector<Share>{},
                 site, std::move(victims));
}

// Takes the place for good, or leaves board and decision as they were.
void Engine::place_on_freed(Ask& ask, Decision& decision, std::vector<Share> shares, std::uint32_t site,
                            std::vector<std::uint32_t> victims) {
  const auto& request = ask.request;
  const auto& running = board_.snapshot->running;
  const int least = request.replicas_min > 0 ? request.replicas_min : request.replicas;
  std::map<std::uint32_t, Free> before;
  for (const auto g : victims)
    for (auto i = occupancy_->from[g]; i < occupancy_->from[g + 1]; ++i)
      if (const auto n = occupancy_->at[i]; n != kNowhere) before.try_emplace(n, free_of(board_, n));
  for (const auto g : victims) move_members(g, 1);
  sync(ask);
  Refusal refusal;
  if (shares.empty()) shares = plan_shares(ask, site, least, least, refusal);
  auto tried = attempt_shares(ask, shares);
  const auto give_up = [&](std::string why) {
    undo(ask, tried.taken);
    for (const auto g : victims) move_members(g, -1);
    decision.no_preemption = std::move(why);
  };
  if (!tried.is_complete) return give_up("what would become free does not take all of it after all");
  // Whoever is not in the way of the place that was found stays.
  auto needed = victims;
  std::ranges::sort(needed, [&](auto a, auto b) {
    return occupancy_->lost[a] != occupancy_->lost[b] ? occupancy_->lost[a] > occupancy_->lost[b] : a < b;
  });
  const auto may_stay = [&](std::uint32_t g) {
    return std::none_of(occupancy_->at.begin() + occupancy_->from[g],
                        occupancy_->at.begin() + occupancy_->from[g + 1],
                        [&](auto n) { return n != kNowhere && is_overdrawn(board_, n); });
  };
  for (const auto g : needed) {
    move_members(g, -1);
    if (may_stay(g))
      std::erase(victims, g);
    else
      move_members(g, 1);
  }
  Preemption out;
  std::vector<bool> sites;
  if (auto over = settle(ask, decision, tried.taken, out.placements, sites)) return give_up(over->sentence);
  decision.score = 0;

  std::vector<std::string> words;
  for (const auto g : victims) {
    const auto& gang = running[g];
    Victim victim{.owner = gang.owner,
                  .priority = gang.priority,
                  .members = int(gang.members.size()),
                  .lost_work = occupancy_->lost[g],
                  .sentence = {}};
    if (gang.members_min > 0) {
      int kept = 0;
      for (std::uint32_t m = 0; m < gang.members.size(); ++m) {
        const auto n = occupancy_->at[occupancy_->from[g] + m];
        if (n == kNowhere) continue;
        shift(board_, gang.members[m], n, -1);
        if (is_overdrawn(board_, n))
          shift(board_, gang.members[m], n, 1);
        else
          ++kept;
      }
      if (kept >= gang.members_min) {
        victim.members_kept = kept;
        victim.members -= kept;
      }
      // What it keeps is given up, too, until it starts anew: the board says below what is free meanwhile.
    }
    const bool is_reclaim = gang.priority >= request.priority || !request.may_preempt;
    victim.sentence = fmt::format(
        "{} for {} {}: {:.0f} device seconds since its last durable checkpoint are repeated",
        victim.members_kept > 0
            ? fmt::format("shrinks from {} to {} replicas", gang.members.size(), victim.members_kept)
            : std::string("ends"),
        request.project.empty() ? decision.request : request.project + "/" + decision.request,
        is_reclaim ? fmt::format("of queue {}, which takes back what it lent", request.queue)
                   : fmt::format("of priority {}, above its own {}", request.priority, gang.priority),
        victim.lost_work);
    words.push_back(fmt::format("{} (priority {})", gang.owner, gang.priority));
    out.lost_work += victim.lost_work;
    out.victims.push_back(std::move(victim));
    occupancy_->is_gone[g] = true;
  }
  // Until they have ended only what was free is, less what the place takes.
  const auto& block_of = board_.domain_of[std::size_t(TopologyLevel::kBlock)];
  for (const auto& [n, free] : before) {
    const auto units = board_.block_all.empty() ? 0 : board_.block_units(n);
    board_.cores_free[n] =
        std::clamp<std::int64_t>(board_.cores_free[n], 0, std::max<std::int64_t>(0, free.cores));
    board_.memory_free[n] =
        std::clamp<std::int64_t>(board_.memory_free[n], 0, std::max<std::int64_t>(0, free.memory));
    for (std::size_t d = 0; d < free.devices.size(); ++d) {
      auto& now = board_.device_free[board_.device_begin[n] + d];
      now = std::clamp(now, 0, std::max(0, free.devices[d]));
    }
    if (!board_.block_all.empty() && block_of[n] != kNowhere)
      board_.block_free[block_of[n]] += board_.block_units(n) - units;
    board_.changes.push_back(n);
  }
  const auto& first = out.placements.front();
  out.sentence =
      fmt::format("{} on {} once {} {} made room",
                  request.replicas == 1 ? "starts" : fmt::format("{} replicas start", out.placements.size()),
                  out.placements.size() == 1 ? first.node : first.site,
                  fmt::join(words.begin(),
                            words.begin() + std::min<std::ptrdiff_t>(4, std::ptrdiff_t(words.size())), ", "),
                  words.size() > 4   ? fmt::format("and {} more have", words.size() - 4)
                  : words.size() > 1 ? std::string("have")
                                     : std::string("has"));
  decision.preemption = std::move(out);
  if (charge(board_.queues, board_.budgets, request, decision)) ++board_.budget_changes;
}

}  // namespace neap::scheduler
