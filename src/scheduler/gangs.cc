// Gangs: all or none (or at least so many), site by site, in the tightest domain that holds them.
#include <fmt/format.h>

#include <algorithm>

#include "internal/engine.h"

namespace neap::scheduler {
namespace {

constexpr auto kWidest = TopologyLevel::kBlock;
TopologyLevel wider(TopologyLevel level) { return TopologyLevel(int(level) + 1); }

void refuse_gang(Decision& decision, std::uint32_t site, Refusal refusal) {
  decision.sites[site].refusal = std::move(refusal);
  decision.sites[site].score.reset();
}

Refusal too_small(std::uint64_t room, const Request& request) {
  return {Guard::kGang,
          request.replicas_min > 0
              ? fmt::format("has room for {} replicas, and the gang needs at least {} of its {}", room,
                            request.replicas_min, request.replicas)
              : fmt::format("has room for {} of the gang's {} replicas", room, request.replicas)};
}

}  // namespace

// Replicas one by one, each seeing the ones before; the board keeps them, the caller undoes.
Attempt Engine::attempt(Ask& ask, const Scope& scope, int replicas) {
  Attempt out;
  const auto& request = ask.request;
  const auto crowding = float(options_.weights.spread * 100 / std::max(1, request.replicas));
  std::unordered_map<std::uint32_t, int> peers;
  std::uint32_t last = kNowhere;
  for (int i = 0; i < replicas; ++i) {
    sync(ask);
    // Only the node just taken was evaluated anew; the earlier ones still carry their crowding.
    if (last != kNowhere && ask.guard[last] == Guard::kNone)
      set_score(ask, last,
                request.spreads_nodes ? kRefused : ask.score[last] - crowding * float(peers[last]));
    const auto best = best_in(ask, scope);
    if (best == kNowhere) break;
    last = best;
    out.score += double(ask.score[best]);
    out.taken.push_back(take(request.each, best));
    ++peers[best];
  }
  // Their scores carry this gang's crowding: have them evaluated again.
  for (const auto& [n, held] : peers) board_.changes.push_back(n);
  out.is_complete = int(out.taken.size()) == replicas;
  if (!out.taken.empty()) out.score /= double(out.taken.size());
  return out;
}

Attempt Engine::attempt_shares(Ask& ask, const std::vector<Share>& shares) {
  Attempt out{.taken = {}, .score = 0, .is_complete = !shares.empty()};
  for (const auto& share : shares) {
    auto part = attempt(ask, share.scope, share.replicas);
    out.score += part.score * double(part.taken.size());
    out.is_complete = out.is_complete && part.is_complete;
    std::ranges::move(part.taken, std::back_inserter(out.taken));
    if (!out.is_complete) break;
  }
  if (!out.taken.empty()) out.score /= double(out.taken.size());
  return out;
}

Scope Engine::scope_of_site(std::uint32_t site) const {
  return {board_.site_begin[site], board_.site_begin[site + 1], nullptr};
}

Scope Engine::scope_of(TopologyLevel level, std::uint32_t domain) const {
  const auto& nodes = board_.domains[std::size_t(level)][domain].nodes;
  if (level == TopologyLevel::kBlock) return {nodes.front(), nodes.back() + 1, nullptr};
  return {0, 0, &nodes};
}

// Whole slices over as few domains as hold them, the last one where it fits tightest.
std::vector<Share> Engine::plan_slices(const Ask& ask, std::uint32_t site, TopologyLevel level, int slice,
                                       int slices) const {
  struct Room {
    std::uint64_t slices;
    std::uint32_t domain;
  };
  std::vector<Room> rooms;
  const auto& domains = board_.domains[std::size_t(level)];
  const auto here = std::ranges::equal_range(domains, site, {}, &Domain::site);
  for (const auto& domain : here) {
    const auto d = std::uint32_t(&domain - domains.data());
    if (const auto room = ask.domain_slots[std::size_t(level)][d] / std::uint64_t(slice); room > 0)
      rooms.push_back({room, d});
  }
  std::ranges::sort(rooms, [](const Room& a, const Room& b) {
    return a.slices != b.slices ? a.slices > b.slices : a.domain < b.domain;
  });
  std::vector<Share> out;
  auto left = std::uint64_t(slices);
  while (left > 0 && !rooms.empty()) {
    // The last of those that hold all that is left is the tightest; of equal ones the first by name.
    auto chosen = rooms.begin();
    for (auto it = rooms.begin(); it != rooms.end() && it->slices >= left; ++it)
      if (it->slices < chosen->slices) chosen = it;
    const auto taken = std::min(left, chosen->slices);
    out.push_back({scope_of(level, chosen->domain), int(taken) * slice});
    left -= taken;
    rooms.erase(chosen);
  }
  if (left > 0) out.clear();
  return out;
}

std::vector<Share> Engine::plan_shares(const Ask& ask, std::uint32_t site, int least, int most,
                                       Refusal& refusal) const {
  const auto& asked = ask.request.topology;
  const bool is_required = asked && asked->is_required;
  const int slice = asked ? asked->slice_replicas : 0;
  const auto first = asked ? asked->level : kWidest;
  for (auto level = first; level <= kWidest; level = wider(level)) {
    const auto& domains = board_.domains[std::size_t(level)];
    const auto here = std::ranges::equal_range(domains, site, {}, &Domain::site);
    const auto& slots = ask.domain_slots[std::size_t(level)];
    std::uint64_t room = 0, slices = 0;
    const Domain* roomiest = nullptr;
    const Domain* tightest = nullptr;
    const auto slots_of = [&](const Domain& domain) { return slots[std::size_t(&domain - domains.data())]; };
    for (const auto& domain : here) {
      const auto held = slots_of(domain);
      if (held > room || !roomiest) roomiest = &domain;
      room = std::max(room, held);
      if (slice > 0) slices += held / std::uint64_t(slice);
      if (held >= std::uint64_t(most) && (!tightest || held < slots_of(*tightest))) tightest = &domain;
    }
    if (slice > 0) {
      const auto count = int(std::min<std::uint64_t>(slices, std::uint64_t(most / slice)));
      if (count * slice >= (is_required ? least : most) && count > 0)
        return plan_slices(ask, site, level, slice, count);
    } else if (tightest) {
      return {{scope_of(level, std::uint32_t(tightest - domains.data())), most}};
    } else if (is_required && roomiest && room >= std::uint64_t(least)) {
      return {{scope_of(level, std::uint32_t(roomiest - domains.data())), int(room)}};
    }
    if (!is_required) continue;
    const auto word = topology_level_name(level);
    if (!roomiest)
      refusal = {Guard::kTopology, fmt::format("no node says in which {} it is (label {})", word,
                                               topology_labels(level).front())};
    else if (slice > 0)
      refusal = {
          Guard::kTopology,
          fmt::format("has room for {} replicas in slices of {} that share a {}, {} short of {}",
                      slices * std::uint64_t(slice), slice, word,
                      std::uint64_t(least) - std::min(std::uint64_t(least), slices * std::uint64_t(slice)),
                      least)};
    else
      refusal = {Guard::kTopology,
                 fmt::format("no {} has room for {} replicas together: the most is {} in {} {}, {} short",
                             word, least, room, word, roomiest->name, std::uint64_t(least) - room)};
    return {};
  }
  return {{scope_of_site(site), most}};
}

// The most replicas of an elastic gang that its queue admits; `least` is known to be admitted.
int Engine::most_by_quota(const Request& request, int least) const {
  int low = least, high = request.replicas;
  while (low < high) {
    const int middle = low + (high - low + 1) / 2;
    if (check_quota(board_, request, middle))
      high = middle - 1;
    else
      low = middle;
  }
  return low;
}

std::vector<Taken> Engine::place_gang(Ask& ask, Decision& decision) {
  const auto& request = ask.request;
  if (!request.spread_sites.empty()) return place_spread(ask, decision);
  const int least = request.replicas_min > 0 ? request.replicas_min : request.replicas;
  const int most = most_by_quota(request, least);
  Attempt best;
  for (std::uint32_t s = 0; s < board_.sites.size(); ++s) {
    if (ask.admitted[s] == 0) continue;
    const auto room = ask.site_slots[s];
    if (room < std::uint64_t(least)) {
      refuse_gang(decision, s, too_small(room, request));
      continue;
    }
    Refusal refusal;
    const auto count = int(std::min<std::uint64_t>(room, std::uint64_t(most)));
    const auto shares = plan_shares(ask, s, least, count, refusal);
    if (shares.empty()) {
      refuse_gang(decision, s, std::move(refusal));
      continue;
    }
    auto tried = attempt_shares(ask, shares);
    undo(ask, tried.taken);
    sync(ask);
    // Only rules that read what is free on a node refuse what there is room for.
    if (!tried.is_complete)
      refuse_gang(decision, s, too_small(tried.taken.size(), request));
    else if (tried.taken.size() > best.taken.size() ||
             (tried.taken.size() == best.taken.size() && tried.score > best.score))
      best = std::move(tried);
  }
  const bool may_span = request.may_span_sites && !(request.topology && request.topology->is_required);
  if (!best.is_complete && may_span) {
    std::uint64_t room = 0;
    for (const auto slots : ask.site_slots) room += slots;
    const auto count = int(std::min<std::uint64_t>(room, std::uint64_t(most)));
    if (count >= least) best = attempt(ask, {0, std::uint32_t(board_.nodes.size()), nullptr}, count);
    undo(ask, best.taken);
  }
  if (!best.is_complete) return {};
  decision.score = best.score;
  for (const auto& taken : best.taken) apply(request.each, taken, -1);
  return std::move(best.taken);
}

std::vector<Taken> Engine::place_spread(Ask& ask, Decision& decision) {
  std::vector<Taken> taken;
  double total = 0;
  for (const auto& name : ask.request.spread_sites) {
    auto one = attempt(ask, scope_of_site(board_.find_site(name)), 1);
    if (!one.is_complete) {
      undo(ask, taken);
      return {};
    }
    total += one.score;
    taken.push_back(std::move(one.taken.front()));
  }
  decision.score = total / double(taken.size());
  return taken;
}

}  // namespace neap::scheduler
