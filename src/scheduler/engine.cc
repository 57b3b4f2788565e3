#include "internal/engine.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::scheduler {
namespace {

constexpr std::size_t kAsksMax = 512;

// Everything of a request but its id, as bytes: equal keys mean equal decisions.
class ShapeKey {
 public:
  std::string take() { return std::move(out_); }
  void text(const std::string& value) {
    number(std::int64_t(value.size()));
    out_ += value;
  }
  void number(std::int64_t value) { out_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void texts(const std::vector<std::string>& values) {
    number(std::int64_t(values.size()));
    for (const auto& value : values) text(value);
  }

 private:
  std::string out_;
};

Refusal summarise(const Decision& decision) {
  Refusal out{Guard::kFitCores, "no site is known"};
  std::string sentence;
  int shown = 0;
  Guard furthest = Guard::kNone;
  for (const auto& site : decision.sites) {
    if (!site.refusal) continue;
    furthest = std::max(furthest, site.refusal->guard);
    if (++shown <= 4)
      sentence += fmt::format("{}{}: {}", sentence.empty() ? "" : "; ", site.site, site.refusal->sentence);
  }
  if (shown > 4) sentence += fmt::format("; and {} more sites", shown - 4);
  if (shown > 0) out = {furthest, std::move(sentence)};
  return out;
}

}  // namespace

std::string shape_of(const Request& r) {
  ShapeKey key;
  for (const auto* t : {&r.project, &r.team, &r.model, &r.queue, &r.priority_class, &r.consumer_site,
                        &r.pinned_site, &r.pinned_node, &r.each.accelerator_model, &r.held_back})
    key.text(*t);
  for (const std::int64_t n :
       {std::int64_t(r.priority), std::int64_t(r.kind), std::int64_t(r.replicas), r.each.cores.value,
        r.each.memory.value, r.each.accelerators.value, std::int64_t(r.interruption),
        std::int64_t(r.cost_strategy), std::int64_t(r.spot_use), std::int64_t(r.stays_private),
        std::int64_t(r.may_span_sites), std::int64_t(r.spreads_nodes), std::int64_t(r.replicas_min),
        std::int64_t(r.may_preempt), r.topology ? std::int64_t(r.topology->level) + 1 : 0,
        r.topology ? std::int64_t(r.topology->is_required) : 0,
        r.topology ? std::int64_t(r.topology->slice_replicas) : 0})
    key.number(n);
  key.number(r.deadline ? r.deadline->time_since_epoch().count() : INT64_MIN);
  key.number(r.duration_estimate ? r.duration_estimate->count() : INT64_MIN);
  key.number(r.latency_max ? r.latency_max->count() : INT64_MIN);
  for (const auto* list : {&r.excluded_nodes, &r.tolerations, &r.spread_sites, &r.accelerator_alternatives})
    key.texts(*list);
  key.number(std::int64_t(r.node_selector.size()));
  for (const auto& [name, held] : r.node_selector) {
    key.text(name);
    key.text(held);
  }
  for (const auto& input : r.data) {
    for (const auto* t : {&input.dataset, &input.home_site, &input.jurisdiction}) key.text(*t);
    for (const std::int64_t n : {std::int64_t(input.level), input.size.value, std::int64_t(input.is_strict)})
      key.number(n);
    key.texts(input.present_at);
    key.texts(input.allowed_sites);
  }
  return key.take();
}

// Price x expected time; an hour where no estimate is given.
MoneyMicros compute_cost(const Request& request, const Decision& decision, Duration open_ended) {
  if (!decision.cost_per_hour) return {};
  const auto estimate =
      std::chrono::duration_cast<std::chrono::milliseconds>(request.duration_estimate.value_or(open_ended));
  const auto cost = finops::multiply_divide(decision.cost_per_hour->value,
                                            std::max<std::int64_t>(0, estimate.count()), 1, 3'600'000);
  return {cost ? *cost : INT64_MAX / 8};
}

Engine::Engine(const Snapshot& snapshot, std::span<const Request> requests, const Options& options)
    : board_(snapshot), options_(options) {
  context_ = {&options_, &board_, make_stranding_table(board_, requests)};
}

Decision Engine::place(const Request& asked) {
  Decision decision;
  decision.request = asked.id;
  const auto lowered = board_.budgets.empty() ? std::nullopt : lower_to_budget(board_, asked, decision.note);
  const Request& request = lowered ? *lowered : asked;
  if (auto refusal = check_request(board_, request)) {
    decision.pending = std::move(refusal);
    return decision;
  }
  Ask& ask = ask_for(request);
  sync(ask);
  const bool is_single = request.replicas == 1 && request.spread_sites.empty();
  explain_sites(ask, decision);
  const int least = request.replicas_min > 0 ? request.replicas_min : request.replicas;
  decision.pending = check_quota(board_, request, least);
  if (!decision.pending) {
    auto taken = is_single ? place_single(ask, decision) : place_gang(ask, decision);
    if (!taken.empty() && !finish(ask, decision, taken)) return decision;
    if (!decision.pending) {
      decision.pending = summarise(decision);
      try_preempt(ask, decision);
    }
  }
  suggest(ask, asked, decision);
  return decision;
}

Ask& Engine::ask_for(const Request& request) {
  auto key = shape_of(request);
  if (auto found = asks_.find(key); found != asks_.end()) {
    refresh_budgets(*found->second);
    return *found->second;
  }
  if (asks_.size() >= kAsksMax) asks_.clear();
  auto ask = std::make_unique<Ask>();
  ask->request = request;
  ask->budgets_read = board_.budget_changes;
  if (request.topology && request.topology->level == TopologyLevel::kIsland)
    board_.fill_level(TopologyLevel::kIsland);
  fill_verdicts(context_, *ask);
  reset_nodes(*ask);
  return *(asks_[std::move(key)] = std::move(ask));
}

void Engine::reset_nodes(Ask& ask) {
  const auto nodes = board_.nodes.size(), sites = board_.sites.size();
  ask.score.assign(nodes, kRefused);
  ask.guard.assign(nodes, Guard::kNone);
  ask.admitted.assign(sites, 0);
  ask.refused.assign(sites, {});
  ask.site_text.assign(sites, nullptr);
  ask.chunk_best.assign(board_.chunk_begin.size() - 1, kNowhere);
  if (ask.request.replicas > 1) {
    ask.slots.assign(nodes, 0);
    ask.site_slots.assign(sites, 0);
    for (std::size_t level = 0; level < kTopologyLevels; ++level)
      ask.domain_slots[level].assign(board_.domains[level].size(), 0);
  }
  for (std::uint32_t n = 0; n < nodes; ++n) {
    evaluate(ask, n);
    count(ask, n, 1);
  }
  for (std::uint32_t c = 0; c < ask.chunk_best.size(); ++c) refresh_chunk(ask, c);
  ask.changes_read = board_.changes.size();
}

// Commitments move budgets; node states are kept unless a verdict changed.
void Engine::refresh_budgets(Ask& ask) {
  if (ask.budgets_read == board_.budget_changes) return;
  ask.budgets_read = board_.budget_changes;
  if (std::none_of(board_.budgets.begin(), board_.budgets.end(),
                   [&](const auto& b) { return b.budget.project == ask.request.project; }))
    return;
  const auto before = std::move(ask.class_verdicts);
  fill_verdicts(context_, ask);
  const bool same =
      std::equal(before.begin(), before.end(), ask.class_verdicts.begin(), ask.class_verdicts.end(),
                 [](const auto& a, const auto& b) { return a.guard == b.guard; });
  if (!same) reset_nodes(ask);
  std::fill(ask.site_text.begin(), ask.site_text.end(), nullptr);
}

// Fills guard, score and slots; the chunk's best is the caller's.
Guard Engine::evaluate(Ask& ask, std::uint32_t n) {
  const Guard guard = check_node(context_, ask, n);
  ask.guard[n] = guard;
  ask.score[n] = guard == Guard::kNone ? float(score_node(context_, ask, n).total) : kRefused;
  if (!ask.slots.empty()) {
    const auto slots = guard == Guard::kNone ? count_slots(board_, ask.request.each, n) : 0;
    ask.slots[n] = ask.request.spreads_nodes ? std::min(slots, 1U) : slots;
  }
  return guard;
}

void Engine::count(Ask& ask, std::uint32_t n, std::uint32_t step) {
  const auto site = board_.classes[board_.node_class[n]].site;
  const Guard guard = ask.guard[n];
  (guard == Guard::kNone ? ask.admitted[site] : ask.refused[site][std::size_t(guard)]) += step;
  ask.site_text[site] = nullptr;
  if (ask.slots.empty()) return;
  const auto slots = std::uint64_t(ask.slots[n]) * std::uint64_t(std::int64_t(std::int32_t(step)));
  ask.site_slots[site] += slots;
  for (std::size_t level = 0; level < kTopologyLevels; ++level)
    if (!ask.domain_slots[level].empty() && board_.domain_of[level][n] != kNowhere)
      ask.domain_slots[level][board_.domain_of[level][n]] += slots;
}

// Brings an ask up to date with every change of free capacity since it was last looked at.
void Engine::sync(Ask& ask) {
  if (board_.changes.size() - ask.changes_read > board_.nodes.size()) {
    reset_nodes(ask);
    return;
  }
  for (; ask.changes_read < board_.changes.size(); ++ask.changes_read) {
    const auto n = board_.changes[ask.changes_read];
    count(ask, n, std::uint32_t(-1));
    const float before = ask.score[n];
    evaluate(ask, n);
    count(ask, n, 1);
    const float after = std::exchange(ask.score[n], before);
    set_score(ask, n, after);
  }
}

void Engine::refresh_chunk(Ask& ask, std::uint32_t chunk) {
  std::uint32_t best = kNowhere;
  float best_score = kRefused;
  for (auto n = board_.chunk_begin[chunk]; n < board_.chunk_begin[chunk + 1]; ++n)
    if (ask.score[n] > best_score) {
      best_score = ask.score[n];
      best = n;
    }
  ask.chunk_best[chunk] = best;
}

void Engine::set_score(Ask& ask, std::uint32_t n, float score) {
  const float before = std::exchange(ask.score[n], score);
  const auto chunk = board_.chunk_of[n];
  auto& best = ask.chunk_best[chunk];
  if (best == n) {
    if (score < before) refresh_chunk(ask, chunk);
  } else if (best == kNowhere ? score > kRefused
                              : score > ask.score[best] || (score == ask.score[best] && n < best)) {
    best = n;
  }
}

// A single replica goes where its block is in use already; whole blocks stay whole for gangs.
float Engine::packing_bonus(std::uint32_t node) const {
  if (board_.block_all.empty() || options_.profile != Profile::kWeighted) return 0;
  return float(options_.weights.fragmentation * 100 * board_.block_used(node));
}

std::uint32_t Engine::best_in(const Ask& ask, const Scope& scope) const {
  std::uint32_t best = kNowhere;
  float best_score = kRefused;
  const auto consider = [&](std::uint32_t n) {
    if (n != kNowhere && (ask.score[n] > best_score || (ask.score[n] == best_score && n < best))) {
      best_score = ask.score[n];
      best = n;
    }
  };
  if (scope.list) {
    for (const auto n : *scope.list) consider(n);
  } else if (scope.begin < scope.end) {
    // A run always begins and ends with its chunks.
    const auto last = board_.chunk_of[scope.end - 1];
    for (auto c = board_.chunk_of[scope.begin]; c <= last; ++c) consider(ask.chunk_best[c]);
  }
  return best;
}

std::uint32_t Engine::best_of_site(const Ask& ask, std::uint32_t site, float& score) const {
  std::uint32_t best = kNowhere;
  score = kRefused;
  for (auto c = board_.site_chunk_begin[site]; c < board_.site_chunk_begin[site + 1]; ++c) {
    const auto n = ask.chunk_best[c];
    if (n == kNowhere) continue;
    const float here = ask.score[n] + packing_bonus(n);
    if (here > score) {
      score = here;
      best = n;
    }
  }
  return best;
}

Taken Engine::take(const ReplicaResources& each, std::uint32_t n) {
  Taken taken{n, choose_devices(context_, n, each)};
  apply(each, taken, -1);
  return taken;
}

void Engine::apply(const ReplicaResources& each, const Taken& taken, int sign) {
  const auto n = taken.node;
  const bool has_blocks = !board_.block_all.empty();
  const auto before = has_blocks ? board_.block_units(n) : 0;
  board_.cores_free[n] += sign * each.cores.value;
  board_.memory_free[n] += sign * each.memory.value;
  const auto share =
      taken.devices.empty() ? 0 : std::int32_t(each.accelerators.value / std::int64_t(taken.devices.size()));
  for (const auto device : taken.devices) board_.device_free[board_.device_begin[n] + device] += sign * share;
  if (has_blocks)
    if (const auto block = board_.domain_of[std::size_t(TopologyLevel::kBlock)][n]; block != kNowhere)
      board_.block_free[block] += board_.block_units(n) - before;
  board_.changes.push_back(n);
}

void Engine::undo(const Ask& ask, const std::vector<Taken>& taken) {
  for (auto it = taken.rbegin(); it != taken.rend(); ++it) apply(ask.request.each, *it, 1);
}

std::vector<Taken> Engine::place_single(Ask& ask, Decision& decision) {
  std::uint32_t best = kNowhere;
  float best_score = kRefused;
  for (const auto n : best_of_site_) {
    if (n == kNowhere) continue;
    const float here = ask.score[n] + packing_bonus(n);
    if (here > best_score) {
      best = n;
      best_score = here;
    }
  }
  if (best == kNowhere) return {};
  decision.score = double(best_score);
  std::vector<Taken> taken;
  taken.push_back(take(ask.request.each, best));
  return taken;
}

void Engine::explain_sites(Ask& ask, Decision& decision) {
  decision.sites.resize(board_.sites.size());
  best_of_site_.assign(board_.sites.size(), kNowhere);
  for (std::uint32_t s = 0; s < board_.sites.size(); ++s) {
    auto& reason = decision.sites[s];
    reason.site = board_.sites[s]->name;
    reason.tier = board_.sites[s]->tier;
    reason.nodes_admitted = ask.admitted[s];
    reason.nodes_refused = ask.refused[s];
    if (ask.admitted[s] > 0) {
      float score = kRefused;
      best_of_site_[s] = best_of_site(ask, s, score);
      reason.score = score_node(context_, ask, best_of_site_[s]);
      if (ask.slots.empty() && options_.profile == Profile::kWeighted) {
        reason.score->topology = 100 * board_.block_used(best_of_site_[s]);
        reason.score->total += double(packing_bonus(best_of_site_[s]));
      }
    } else {
      if (!ask.site_text[s]) ask.site_text[s] = std::make_shared<const Refusal>(explain_refused_site(ask, s));
      reason.refusal = *ask.site_text[s];
    }
    if (options_.explains_nodes) explain_nodes(ask, s, reason);
  }
}

// The reason of the node that came furthest: the guard latest in the order, then the most free cores.
Refusal Engine::explain_refused_site(const Ask& ask, std::uint32_t s) {
  if (ask.site_verdicts[s].refusal && ask.site_verdicts[s].refusal->guard < Guard::kFitCores)
    return *ask.site_verdicts[s].refusal;
  std::uint32_t nearest = kNowhere;
  for (auto n = board_.site_begin[s]; n < board_.site_begin[s + 1]; ++n)
    if (nearest == kNowhere || ask.guard[n] > ask.guard[nearest] ||
        (ask.guard[n] == ask.guard[nearest] && board_.cores_free[n] > board_.cores_free[nearest]))
      nearest = n;
  if (nearest == kNowhere) {
    if (ask.site_verdicts[s].refusal) return *ask.site_verdicts[s].refusal;
    return {Guard::kNodeNotReady, "the site has no node"};
  }
  return {ask.guard[nearest], explain_node(context_, ask, nearest, ask.guard[nearest])};
}

void Engine::explain_nodes(const Ask& ask, std::uint32_t s, SiteReason& reason) {
  for (auto n = board_.site_begin[s]; n < board_.site_begin[s + 1]; ++n) {
    NodeReason node{board_.nodes[n]->name, board_.nodes[n]->capacity_type, {}, {}};
    if (ask.guard[n] == Guard::kNone)
      node.score = score_node(context_, ask, n);
    else
      node.refusal = Refusal{ask.guard[n], explain_node(context_, ask, n, ask.guard[n])};
    reason.nodes.push_back(std::move(node));
  }
}

// Places, price and egress of what was taken; a refusal where a budget that admits each site alone does not
// admit what the whole spends at all of them.
std::optional<Refusal> Engine::settle(const Ask& ask, Decision& decision, const std::vector<Taken>& taken,
                                      std::vector<Placement>& placements, std::vector<bool>& sites) {
  std::int64_t hourly = 0;
  bool is_priced = true, is_carbon_known = true;
  double grams = 0;
  const auto& request = ask.request;
  sites.assign(board_.sites.size(), false);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const auto n = taken[i].node;
    const auto& cls = board_.classes[board_.node_class[n]];
    const auto& parts = ask.class_verdicts[board_.node_class[n]].parts;
    is_priced = is_priced && parts.cost_per_hour.has_value();
    if (parts.cost_per_hour) hourly += parts.cost_per_hour->value / request.replicas;
    is_carbon_known = is_carbon_known && parts.carbon_grams_per_hour.has_value();
    if (parts.carbon_grams_per_hour) grams += *parts.carbon_grams_per_hour / request.replicas;
    if (!sites[cls.site]) decision.egress_cost += parts.egress_cost;
    sites[cls.site] = true;
    placements.push_back(
        {int(i), board_.nodes[n]->name, board_.sites[cls.site]->name, cls.capacity_type, taken[i].devices});
  }
  if (is_priced) decision.cost_per_hour = MoneyMicros{hourly};
  if (is_carbon_known) decision.carbon_grams_per_hour = grams;
  for (const auto& budget : board_.budgets) {
    if (budget.budget.project != request.project) continue;
    const MoneyMicros asked{compute_cost(request, decision, budget.open_ended).value +
                            decision.egress_cost.value};
    const auto answer = finops::evaluate_budget(budget.budget, budget.state, asked);
    if (answer.admits) continue;
    decision.cost_per_hour.reset();
    decision.carbon_grams_per_hour.reset();
    decision.egress_cost = {};
    decision.score = 0;
    return Refusal{Guard::kBudget, answer.sentence};
  }
  return {};
}

// True where it was refused after all.
bool Engine::finish(Ask& ask, Decision& decision, std::vector<Taken>& taken) {
  std::vector<bool> sites;
  decision.pending = settle(ask, decision, taken, decision.placements, sites);
  if (decision.pending) {
    undo(ask, taken);
    decision.placements.clear();
    return true;
  }
  decision.is_placed = true;
  for (std::size_t s = 0; s < sites.size(); ++s) decision.sites[s].is_chosen = sites[s];
  if (charge(board_.queues, board_.budgets, ask.request, decision)) ++board_.budget_changes;
  return false;
}

void Engine::suggest(Ask& ask, const Request& request, Decision& decision) {
  if (suggestions_made_ >= options_.suggestions_max && !ask.has_suggestions) return;
  if (!ask.has_suggestions) {
    ++suggestions_made_;
    ask.suggestions = suggest_changes(context_, ask, current_snapshot(), request, decision);
    ask.has_suggestions = true;
  }
  decision.would_fit = ask.suggestions;
}

Snapshot Engine::current_snapshot() const {
  Snapshot now = *board_.snapshot;
  now.running.clear();
  for (std::size_t n = 0; n < board_.nodes.size(); ++n) {
    auto& node = now.nodes[std::size_t(board_.nodes[n] - board_.snapshot->nodes.data())];
    node.cores_free = {board_.cores_free[n]};
    node.memory_free = {board_.memory_free[n]};
    const auto free = board_.devices(std::uint32_t(n));
    node.devices_free.assign(free.begin(), free.end());
  }
  for (auto& queue : now.queues) queue = board_.queues.at(queue.name);
  now.budgets = board_.budgets;
  return now;
}

}  // namespace neap::scheduler
