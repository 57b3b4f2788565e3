#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "internal/board.h"

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

std::string shape_of(const Request& r) {
  ShapeKey key;
  for (const auto* t : {&r.project, &r.team, &r.model, &r.queue, &r.priority_class, &r.consumer_site,
                        &r.pinned_site, &r.pinned_node, &r.each.accelerator_model})
    key.text(*t);
  for (const std::int64_t n :
       {std::int64_t(r.priority), std::int64_t(r.kind), std::int64_t(r.replicas), r.each.cores.value,
        r.each.memory.value, r.each.accelerators.value, std::int64_t(r.interruption),
        std::int64_t(r.cost_strategy), std::int64_t(r.may_span_sites), std::int64_t(r.spreads_nodes)})
    key.number(n);
  key.number(r.deadline ? r.deadline->time_since_epoch().count() : INT64_MIN);
  key.number(r.duration_estimate ? r.duration_estimate->count() : INT64_MIN);
  key.number(r.latency_max ? r.latency_max->count() : INT64_MIN);
  for (const auto* list : {&r.excluded_nodes, &r.tolerations, &r.spread_sites}) key.texts(*list);
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

struct Taken {
  std::uint32_t node = 0;
  std::vector<std::uint16_t> devices;
};

class Engine {
 public:
  Engine(const Snapshot& snapshot, std::span<const Request> requests, const Options& options)
      : board_(snapshot), options_(options) {
    context_ = {&options_, &board_, make_stranding_table(board_, requests)};
  }

  Decision place(const Request& request) {
    Decision decision;
    decision.request = request.id;
    if (auto refusal = check_request(board_, request)) {
      decision.pending = std::move(refusal);
      return decision;
    }
    Ask& ask = ask_for(request);
    sync(ask);
    const bool is_single = request.replicas == 1 && request.spread_sites.empty();
    explain_sites(ask, decision);
    decision.pending = check_quota(board_, request);
    if (!decision.pending) {
      auto taken = is_single ? place_single(ask, decision) : place_gang(ask, decision);
      if (!taken.empty() && !finish(ask, request, decision, taken)) return decision;
      if (!decision.pending) decision.pending = summarise(decision);
    }
    suggest(ask, request, decision);
    return decision;
  }

 private:
  Ask& ask_for(const Request& request) {
    auto key = shape_of(request);
    if (auto found = asks_.find(key); found != asks_.end()) {
      refresh_budgets(*found->second);
      return *found->second;
    }
    if (asks_.size() >= kAsksMax) asks_.clear();
    auto ask = std::make_unique<Ask>();
    ask->request = request;
    ask->budgets_read = board_.budget_changes;
    fill_verdicts(context_, *ask);
    reset_nodes(*ask);
    return *(asks_[std::move(key)] = std::move(ask));
  }

  void reset_nodes(Ask& ask) {
    const auto nodes = board_.nodes.size(), sites = board_.sites.size();
    ask.score.assign(nodes, kRefused);
    ask.guard.assign(nodes, Guard::kNone);
    ask.admitted.assign(sites, 0);
    ask.refused.assign(sites, {});
    ask.site_text.assign(sites, nullptr);
    for (std::uint32_t n = 0; n < nodes; ++n) {
      count(ask, n, 1, evaluate(ask, n));
    }
    ask.changes_read = board_.changes.size();
  }
  // Commitments move budgets; node states are kept unless a verdict changed.
  void refresh_budgets(Ask& ask) {
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

  Guard evaluate(Ask& ask, std::uint32_t n) {
    const Guard guard = check_node(context_, ask, n);
    ask.guard[n] = guard;
    ask.score[n] = guard == Guard::kNone ? float(score_node(context_, ask, n).total) : kRefused;
    return guard;
  }
  void count(Ask& ask, std::uint32_t n, std::uint32_t step, Guard guard) {
    const auto site = board_.classes[board_.node_class[n]].site;
    (guard == Guard::kNone ? ask.admitted[site] : ask.refused[site][std::size_t(guard)]) += step;
    ask.site_text[site] = nullptr;
  }
  // Brings an ask up to date with every change of free capacity since it was last looked at.
  void sync(Ask& ask) {
    if (board_.changes.size() - ask.changes_read > board_.nodes.size()) {
      reset_nodes(ask);
      return;
    }
    for (; ask.changes_read < board_.changes.size(); ++ask.changes_read) {
      const auto n = board_.changes[ask.changes_read];
      count(ask, n, std::uint32_t(-1), ask.guard[n]);
      count(ask, n, 1, evaluate(ask, n));
    }
  }

  std::uint32_t best_in(const Ask& ask, std::uint32_t begin, std::uint32_t end) const {
    std::uint32_t best = kNowhere;
    float best_score = kRefused;
    for (std::uint32_t n = begin; n < end; ++n)
      if (ask.score[n] > best_score) {
        best_score = ask.score[n];
        best = n;
      }
    return best;
  }

  Taken take(const ReplicaResources& each, std::uint32_t n) {
    Taken taken{n, choose_devices(context_, n, each)};
    apply(each, taken, -1);
    return taken;
  }
  void apply(const ReplicaResources& each, const Taken& taken, int sign) {
    board_.cores_free[taken.node] += sign * each.cores.value;
    board_.memory_free[taken.node] += sign * each.memory.value;
    const auto share = taken.devices.empty()
                           ? 0
                           : std::int32_t(each.accelerators.value / std::int64_t(taken.devices.size()));
    for (const auto device : taken.devices)
      board_.device_free[board_.device_begin[taken.node] + device] += sign * share;
    board_.changes.push_back(taken.node);
  }

  std::vector<Taken> place_single(Ask& ask, Decision& decision) {
    std::uint32_t best = kNowhere;
    float best_score = kRefused;
    for (std::size_t s = 0; s < best_of_site_.size(); ++s)
      if (best_of_site_[s] != kNowhere && ask.score[best_of_site_[s]] > best_score) {
        best = best_of_site_[s];
        best_score = ask.score[best];
      }
    if (best == kNowhere) return {};
    decision.score = double(best_score);
    std::vector<Taken> taken;
    taken.push_back(take(ask.request.each, best));
    return taken;
  }

  struct Attempt {
    std::vector<Taken> taken;
    double score = 0;
    bool is_complete = false;
  };
  // Places replicas one by one, each seeing the ones before; the board keeps them, the caller undoes.
  Attempt attempt(Ask& ask, std::uint32_t begin, std::uint32_t end, int replicas) {
    Attempt out;
    const auto& request = ask.request;
    const auto crowding = float(options_.weights.spread * 100 / std::max(1, request.replicas));
    std::unordered_map<std::uint32_t, int> peers;
    std::uint32_t last = kNowhere;
    for (int i = 0; i < replicas; ++i) {
      sync(ask);
      // Only the node just taken was evaluated anew; the earlier ones still carry their crowding.
      if (last != kNowhere && ask.guard[last] == Guard::kNone)
        ask.score[last] = request.spreads_nodes ? kRefused : ask.score[last] - crowding * float(peers[last]);
      const auto best = best_in(ask, begin, end);
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
  void undo(const Ask& ask, const std::vector<Taken>& taken) {
    for (auto it = taken.rbegin(); it != taken.rend(); ++it) apply(ask.request.each, *it, 1);
  }

  std::vector<Taken> place_gang(Ask& ask, Decision& decision) {
    const auto& request = ask.request;
    if (!request.spread_sites.empty()) return place_spread(ask, decision);
    std::uint32_t best_site = kNowhere;
    double best_score = 0;
    for (std::uint32_t s = 0; s < board_.sites.size(); ++s) {
      if (ask.admitted[s] == 0) continue;
      const auto tried = attempt(ask, board_.site_begin[s], board_.site_begin[s + 1], request.replicas);
      undo(ask, tried.taken);
      sync(ask);
      if (!tried.is_complete) {
        refuse_gang(
            decision, s,
            fmt::format("has room for {} of the gang's {} replicas", tried.taken.size(), request.replicas));
      } else if (best_site == kNowhere || tried.score > best_score) {
        best_site = s;
        best_score = tried.score;
      }
    }
    const auto all = std::uint32_t(board_.nodes.size());
    if (best_site == kNowhere && !request.may_span_sites) return {};
    auto done = best_site != kNowhere ? attempt(ask, board_.site_begin[best_site],
                                                board_.site_begin[best_site + 1], request.replicas)
                                      : attempt(ask, 0, all, request.replicas);
    decision.score = done.score;
    if (done.is_complete) return std::move(done.taken);
    undo(ask, done.taken);
    return {};
  }
  std::vector<Taken> place_spread(Ask& ask, Decision& decision) {
    std::vector<Taken> taken;
    double total = 0;
    for (const auto& name : ask.request.spread_sites) {
      const auto s = board_.find_site(name);
      auto one = attempt(ask, board_.site_begin[s], board_.site_begin[s + 1], 1);
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
  void refuse_gang(Decision& decision, std::uint32_t site, std::string sentence) {
    decision.sites[site].refusal = Refusal{Guard::kGang, std::move(sentence)};
    decision.sites[site].score.reset();
  }

  void explain_sites(Ask& ask, Decision& decision) {
    decision.sites.resize(board_.sites.size());
    best_of_site_.assign(board_.sites.size(), kNowhere);
    for (std::uint32_t s = 0; s < board_.sites.size(); ++s) {
      auto& reason = decision.sites[s];
      reason.site = board_.sites[s]->name;
      reason.tier = board_.sites[s]->tier;
      reason.nodes_admitted = ask.admitted[s];
      reason.nodes_refused = ask.refused[s];
      if (ask.admitted[s] > 0) {
        best_of_site_[s] = best_in(ask, board_.site_begin[s], board_.site_begin[s + 1]);
        reason.score = score_node(context_, ask, best_of_site_[s]);
      } else {
        if (!ask.site_text[s])
          ask.site_text[s] = std::make_shared<const Refusal>(explain_refused_site(ask, s));
        reason.refusal = *ask.site_text[s];
      }
      if (options_.explains_nodes) explain_nodes(ask, s, reason);
    }
  }
  // The reason of the node that came furthest: the guard latest in the order, then the most free cores.
  Refusal explain_refused_site(const Ask& ask, std::uint32_t s) {
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
  void explain_nodes(const Ask& ask, std::uint32_t s, SiteReason& reason) {
    for (auto n = board_.site_begin[s]; n < board_.site_begin[s + 1]; ++n) {
      NodeReason node{board_.nodes[n]->name, board_.nodes[n]->capacity_type, {}, {}};
      if (ask.guard[n] == Guard::kNone)
        node.score = score_node(context_, ask, n);
      else
        node.refusal = Refusal{ask.guard[n], explain_node(context_, ask, n, ask.guard[n])};
      reason.nodes.push_back(std::move(node));
    }
  }

  static Refusal summarise(const Decision& decision) {
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

  // True where a budget that admits each site alone does not admit what the gang spends at all of them.
  bool finish(Ask& ask, const Request& request, Decision& decision, std::vector<Taken>& taken) {
    std::int64_t hourly = 0;
    bool is_priced = true;
    std::vector<bool> counted(board_.sites.size(), false);
    std::vector<Placement> placements;
    for (std::size_t i = 0; i < taken.size(); ++i) {
      const auto n = taken[i].node;
      const auto& cls = board_.classes[board_.node_class[n]];
      const auto& parts = ask.class_verdicts[board_.node_class[n]].parts;
      is_priced = is_priced && parts.cost_per_hour.has_value();
      if (parts.cost_per_hour) hourly += parts.cost_per_hour->value / request.replicas;
      if (!counted[cls.site]) decision.egress_cost += parts.egress_cost;
      counted[cls.site] = true;
      placements.push_back(
          {int(i), board_.nodes[n]->name, board_.sites[cls.site]->name, cls.capacity_type, taken[i].devices});
    }
    if (is_priced) decision.cost_per_hour = MoneyMicros{hourly};
    for (const auto& budget : board_.budgets) {
      if (budget.budget.project != request.project) continue;
      const MoneyMicros asked{compute_cost(request, decision, budget.open_ended).value +
                              decision.egress_cost.value};
      const auto answer = finops::evaluate_budget(budget.budget, budget.state, asked);
      if (answer.admits) continue;
      undo(ask, taken);
      decision.pending = Refusal{Guard::kBudget, answer.sentence};
      decision.cost_per_hour.reset();
      decision.egress_cost = {};
      decision.score = 0;
      return true;
    }
    decision.is_placed = true;
    decision.placements = std::move(placements);
    for (std::size_t s = 0; s < counted.size(); ++s) decision.sites[s].is_chosen = counted[s];
    charge(board_.queues, board_.budgets, request, decision);
    if (is_priced && !board_.budgets.empty()) ++board_.budget_changes;
    return false;
  }

 public:
  static void charge(auto& queues, std::vector<ProjectBudget>& budgets, const Request& request,
                     const Decision& decision) {
    if (const auto queue = queues.find(request.queue); queue != queues.end()) {
      queue->second.cores_used.value += request.each.cores.value * request.replicas;
      queue->second.memory_used.value += request.each.memory.value * request.replicas;
      queue->second.accelerators_used.value += request.each.accelerators.value * request.replicas;
    }
    if (!decision.cost_per_hour) return;
    for (auto& budget : budgets)
      if (budget.budget.project == request.project)
        budget.state.committed.value +=
            compute_cost(request, decision, budget.open_ended).value + decision.egress_cost.value;
  }

 private:
  void suggest(Ask& ask, const Request& request, Decision& decision) {
    if (suggestions_made_ >= options_.suggestions_max && !ask.has_suggestions) return;
    if (!ask.has_suggestions) {
      ++suggestions_made_;
      ask.suggestions = suggest_changes(context_, current_snapshot(), request, decision);
      ask.has_suggestions = true;
    }
    decision.would_fit = ask.suggestions;
  }
  Snapshot current_snapshot() const {
    Snapshot now = *board_.snapshot;
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

  Board board_;
  Options options_;
  Context context_;
  std::unordered_map<std::string, std::unique_ptr<Ask>> asks_;
  std::vector<std::uint32_t> best_of_site_;
  std::size_t suggestions_made_ = 0;
};

}  // namespace

Plan decide(const Snapshot& snapshot, std::span<const Request> requests, const Options& options) {
  Engine engine(snapshot, requests, options);
  Plan plan;
  plan.currency = snapshot.prices.currency();
  plan.decisions.resize(requests.size());
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return requests[a].priority != requests[b].priority ? requests[a].priority > requests[b].priority : a < b;
  });
  for (const auto i : order) plan.decisions[i] = engine.place(requests[i]);
  return plan;
}

void apply_plan(Snapshot& snapshot, std::span<const Request> requests, const Plan& plan) {
  std::unordered_map<std::string, Node*> nodes;
  for (auto& node : snapshot.nodes) nodes[node.name] = &node;
  std::map<std::string, Queue> queues;
  for (const auto& queue : snapshot.queues) queues[queue.name] = queue;
  for (std::size_t i = 0; i < plan.decisions.size() && i < requests.size(); ++i) {
    const auto& decision = plan.decisions[i];
    if (!decision.is_placed) continue;
    const auto& each = requests[i].each;
    for (const auto& placement : decision.placements) {
      const auto found = nodes.find(placement.node);
      if (found == nodes.end()) continue;
      found->second->cores_free -= each.cores;
      found->second->memory_free -= each.memory;
      for (const auto device : placement.devices)
        if (device < found->second->devices_free.size())
          found->second->devices_free[device] -=
              std::int32_t(each.accelerators.value / std::int64_t(placement.devices.size()));
    }
    Engine::charge(queues, snapshot.budgets, requests[i], decision);
  }
  for (auto& queue : snapshot.queues) queue = queues.at(queue.name);
}

}  // namespace neap::scheduler
