// "What would make it fit": single changes, each verified by deciding again on a changed snapshot.
#include <fmt/format.h>

#include <algorithm>

#include "internal/board.h"
#include "neap/base/saturate.h"

namespace neap::scheduler {
namespace {

constexpr std::size_t kChangesMax = 3;
constexpr std::size_t kProbesMax = 24;

class Prober {
 public:
  Prober(const Context& context, const Snapshot& now, const Request& request)
      : now_(now), request_(request), options_(*context.options) {
    options_.suggestions_max = 0;
    options_.explains_nodes = false;
  }
  bool admits(const Change& change) {
    if (probes_ == 0) return false;
    --probes_;
    Snapshot changed = now_;
    Request request = request_;
    apply_change(changed, request, change);
    return decide(changed, std::span(&request, 1), options_).decisions[0].is_placed;
  }

 private:
  const Snapshot& now_;
  const Request& request_;
  Options options_;
  std::size_t probes_ = kProbesMax;
};

// The fewest copies of `node` that admit the gang; 0 where even one a replica does not.
int fewest_nodes(Prober& prober, Change change, int replicas) {
  constexpr int kCopiesMax = 1000;
  replicas = std::min(replicas, kCopiesMax);
  change.count = replicas;
  if (!prober.admits(change)) return 0;
  int low = 1, high = replicas;
  while (low < high) {
    change.count = low + (high - low) / 2;
    if (prober.admits(change))
      high = change.count;
    else
      low = change.count + 1;
  }
  return high;
}

// Cheapest first, of those that nothing but the model keeps it from.
std::vector<std::string> other_models(const Context& context, const Ask& ask) {
  std::vector<std::pair<std::int64_t, std::string>> found;
  for (std::size_t c = 0; c < ask.class_verdicts.size(); ++c)
    if (const auto& verdict = ask.class_verdicts[c]; verdict.lacks_only_model) {
      const auto& model = context.board->classes[c].accelerator_model;
      if (!model.empty())
        found.emplace_back(verdict.parts.cost_per_hour.value_or(MoneyMicros{INT64_MAX}).value, model);
    }
  std::ranges::sort(found);
  std::vector<std::string> out;
  for (auto& [cost, model] : found)
    if (std::ranges::find(out, model) == out.end()) out.push_back(std::move(model));
  return out;
}

std::int64_t missing(std::int64_t asked, std::int64_t used, std::int64_t limit) {
  return limit > 0 ? std::max<std::int64_t>(0, add_saturated(asked, used) - limit) : 0;
}

}  // namespace

std::vector<Change> suggest_changes(const Context& context, const Ask& ask, const Snapshot& now,
                                    const Request& request, const Decision& decision) {
  std::vector<Change> out;
  Prober prober(context, now, request);
  const auto propose = [&](Change change) {
    if (out.size() < kChangesMax && prober.admits(change)) out.push_back(std::move(change));
  };
  const auto& each = request.each;
  const auto propose_larger = [&](const Node& like, const std::string& site) {
    Change change{.kind = ChangeKind::kAddNodes, .node = like.name};
    change.cores = std::max(each.cores, like.cores_allocatable);
    change.memory = std::max(each.memory, like.memory_allocatable);
    if (each.accelerators.value > 0) {
      const auto devices = std::max<std::int64_t>((each.accelerators.value + 999) / 1000,
                                                  std::int64_t(like.devices_free.size()));
      change.accelerators = {devices * 1000};
      change.name =
          request.takes_model(like.accelerator_model) ? like.accelerator_model : each.accelerator_model;
    }
    change.count = fewest_nodes(prober, change, request.replicas);
    if (change.count == 0) return;
    change.sentence = fmt::format("add {} node{} of {} cores, {}, {} accelerators{} at {}", change.count,
                                  change.count == 1 ? "" : "s", cores_text(change.cores.value),
                                  gib_text(change.memory.value), accelerators_text(change.accelerators.value),
                                  change.name.empty() ? "" : " " + change.name, site);
    out.push_back(std::move(change));
  };

  for (const auto& queue : now.queues) {
    if (queue.name != request.queue) continue;
    Change change{.kind = ChangeKind::kRaiseQueue, .name = queue.name};
    change.cores = {missing(multiply_saturated(each.cores.value, request.replicas), queue.cores_used.value,
                            queue.cores_limit.value)};
    change.memory = {missing(multiply_saturated(each.memory.value, request.replicas), queue.memory_used.value,
                             queue.memory_limit.value)};
    change.accelerators = {missing(each.accelerators.value * request.replicas, queue.accelerators_used.value,
                                   queue.accelerators_limit.value)};
    if ((change.cores.value | change.memory.value | change.accelerators.value) == 0) continue;
    change.sentence = fmt::format("raise the quota of queue {} by {} cores, {} of memory, {} accelerators",
                                  queue.name, cores_text(change.cores.value), gib_text(change.memory.value),
                                  accelerators_text(change.accelerators.value));
    propose(std::move(change));
  }

  // The least that must become free on one node, where fit alone is missing.
  if (request.replicas == 1) {
    const Board& board = *context.board;
    const Node* nearest = nullptr;
    Change best{.kind = ChangeKind::kFreeOnNode};
    double best_share = 2;
    for (std::uint32_t n = 0; n < board.nodes.size(); ++n) {
      const Node& node = *board.nodes[n];
      Change change{.kind = ChangeKind::kFreeOnNode, .node = node.name};
      change.cores = {std::max<std::int64_t>(0, each.cores.value - board.cores_free[n])};
      change.memory = {std::max<std::int64_t>(0, each.memory.value - board.memory_free[n])};
      if (each.accelerators.value > 0 && !fits_devices(board.devices(n), each.accelerators.value)) {
        std::int64_t whole = 0, widest = 0;
        for (const auto free : board.devices(n)) {
          whole += free == 1000 ? 1000 : 0;
          widest = std::max<std::int64_t>(widest, free);
        }
        change.accelerators = {each.accelerators.value >= 1000 ? each.accelerators.value - whole
                                                               : each.accelerators.value - widest};
        if (each.accelerators.value > std::int64_t(board.devices(n).size()) * 1000) continue;
        if (!request.takes_model(node.accelerator_model)) continue;
      }
      if (each.cores.value > node.cores_allocatable.value ||
          each.memory.value > node.memory_allocatable.value || !node.is_ready || node.is_reclaimed)
        continue;
      const auto site = std::find_if(decision.sites.begin(), decision.sites.end(),
                                     [&](const SiteReason& s) { return s.site == node.site; });
      const bool is_fit = site != decision.sites.end() && site->refusal &&
                          site->refusal->guard >= Guard::kFitCores &&
                          site->refusal->guard <= Guard::kFitAccelerators;
      if (!is_fit) continue;
      const auto share = [](std::int64_t part, std::int64_t all) {
        return all > 0 ? double(part) / double(all) : 0;
      };
      const double cost = share(change.cores.value, each.cores.value) +
                          share(change.memory.value, each.memory.value) +
                          share(change.accelerators.value, each.accelerators.value);
      if (cost > 0 && cost < best_share) {
        best_share = cost;
        best = change;
        nearest = &node;
      }
    }
    if (nearest) {
      best.sentence =
          fmt::format("free {} cores, {} of memory, {} accelerators on {}", cores_text(best.cores.value),
                      gib_text(best.memory.value), accelerators_text(best.accelerators.value), best.node);
      propose(std::move(best));
    }
  }

  for (const auto& budget : now.budgets) {
    if (budget.budget.project != request.project) continue;
    // Enough for any site; halved while it still admits, to the nearest percent.
    Change change{.kind = ChangeKind::kRaiseBudget,
                  .name = budget.budget.name,
                  .money = {std::max<std::int64_t>(1'000'000, budget.budget.limit.value * 100)}};
    if (!prober.admits(change)) continue;
    std::int64_t low = 0;
    for (int i = 0; i < 12; ++i) {
      Change half = change;
      half.money = {low + (change.money.value - low) / 2};
      if (prober.admits(half))
        change = half;
      else
        low = half.money.value;
    }
    change.sentence = fmt::format("raise budget {} by {}", budget.budget.name, format_money(change.money));
    if (out.size() < kChangesMax) out.push_back(std::move(change));
  }

  for (const auto& budget : now.budgets) {
    if (budget.budget.project != request.project) continue;
    Change change{.kind = ChangeKind::kAwaitJobs,
                  .count = budget.jobs_running - kJobsAtLowerConcurrency + 1,
                  .name = request.project};
    if (change.count <= 0) continue;
    change.sentence =
        fmt::format("wait until {} of the {} jobs of project {} that hold a place {} ended", change.count,
                    budget.jobs_running, request.project, change.count == 1 ? "has" : "have");
    propose(std::move(change));
    break;
  }

  constexpr std::size_t kModelsTried = 2;
  const auto models = other_models(context, ask);
  for (std::size_t i = 0; i < std::min(models.size(), kModelsTried); ++i) {
    Change change{.kind = ChangeKind::kAllowAccelerator, .name = models[i]};
    change.sentence = fmt::format("allow {} as well, if it does (acceleratorAlternatives)", models[i]);
    propose(std::move(change));
  }

  for (const auto& rule : now.rules) {
    if (rule.effect == policy::Effect::kPrefer) continue;
    Change change{.kind = ChangeKind::kDropRule, .name = rule.name};
    change.sentence = fmt::format("drop or change rule {} ({} {})", rule.name,
                                  policy::effect_name(rule.effect), rule.action);
    propose(std::move(change));
  }

  // One kind of node a site, where nothing but room or the model is missing: one that is there, else one that
  // is as large as a replica needs.
  for (const auto& site : decision.sites) {
    if (out.size() >= kChangesMax) break;
    const bool lacks_room =
        site.refusal &&
        (site.refusal->guard == Guard::kGang || site.refusal->guard == Guard::kTopology ||
         (site.refusal->guard >= Guard::kAcceleratorKind && site.refusal->guard <= Guard::kFitAccelerators));
    if (!lacks_room) continue;
    const Node* largest = nullptr;
    bool has_kind = false;
    for (const auto& node : now.nodes) {
      if (node.site == site.site && (!largest || node.cores_allocatable > largest->cores_allocatable))
        largest = &node;
      if (node.site != site.site || node.cores_allocatable.value < each.cores.value ||
          node.memory_allocatable.value < each.memory.value)
        continue;
      if (each.accelerators.value > std::int64_t(node.devices_free.size()) * 1000) continue;
      if (each.accelerators.value > 0 && !request.takes_model(node.accelerator_model)) continue;
      has_kind = true;
      Change change{.kind = ChangeKind::kAddNodes, .node = node.name};
      change.count = fewest_nodes(prober, change, request.replicas);
      if (change.count > 0) {
        change.sentence = fmt::format("add {} node{} like {} at {} ({} cores, {}, {} accelerators)",
                                      change.count, change.count == 1 ? "" : "s", node.name, site.site,
                                      cores_text(node.cores_allocatable.value),
                                      gib_text(node.memory_allocatable.value), node.devices_free.size());
        out.push_back(std::move(change));
      }
      break;
    }
    if (largest && !has_kind) propose_larger(*largest, site.site);
  }
  return out;
}

void apply_change(Snapshot& snapshot, Request& request, const Change& change) {
  switch (change.kind) {
    case ChangeKind::kAddNodes: {
      const auto model = std::find_if(snapshot.nodes.begin(), snapshot.nodes.end(),
                                      [&](const Node& n) { return n.name == change.node; });
      if (model == snapshot.nodes.end()) return;
      Node fresh = *model;
      fresh.cores_allocatable = std::max(fresh.cores_allocatable, change.cores);
      fresh.memory_allocatable = std::max(fresh.memory_allocatable, change.memory);
      const auto devices = std::size_t(change.accelerators.value / 1000);
      if (devices > fresh.devices_free.size()) fresh.devices_free.resize(devices, 1000);
      if (!change.name.empty()) fresh.accelerator_model = change.name;
      fresh.cores_free = fresh.cores_allocatable;
      fresh.memory_free = fresh.memory_allocatable;
      fresh.is_ready = true;
      fresh.is_reclaimed = false;
      std::fill(fresh.devices_free.begin(), fresh.devices_free.end(), 1000);
      for (int i = 0; i < change.count; ++i) {
        fresh.name = fmt::format("{}+{}", change.node, i + 1);
        snapshot.nodes.push_back(fresh);
      }
      return;
    }
    case ChangeKind::kFreeOnNode:
      for (auto& node : snapshot.nodes) {
        if (node.name != change.node) continue;
        node.cores_free += change.cores;
        node.memory_free += change.memory;
        // A fraction frees the widest device further; whole ones free the emptiest first.
        std::int64_t left = change.accelerators.value;
        while (left > 0) {
          std::int32_t* widest = nullptr;
          for (auto& free : node.devices_free)
            if (free < 1000 && (!widest || free > *widest)) widest = &free;
          if (!widest) break;
          if (left < 1000) {
            *widest = std::min<std::int32_t>(1000, *widest + std::int32_t(left));
            break;
          }
          *widest = 1000;
          left -= 1000;
        }
      }
      return;
    case ChangeKind::kRaiseQueue:
      for (auto& queue : snapshot.queues) {
        if (queue.name != change.name) continue;
        if (queue.cores_limit.value > 0) queue.cores_limit += change.cores;
        if (queue.memory_limit.value > 0) queue.memory_limit += change.memory;
        if (queue.accelerators_limit.value > 0) queue.accelerators_limit += change.accelerators;
      }
      return;
    case ChangeKind::kRaiseBudget:
      for (auto& budget : snapshot.budgets)
        if (budget.budget.name == change.name) budget.budget.limit += change.money;
      return;
    case ChangeKind::kAllowAccelerator:
      request.accelerator_alternatives.push_back(change.name);
      return;
    case ChangeKind::kAwaitJobs:
      for (auto& budget : snapshot.budgets)
        if (budget.budget.project == change.name) budget.jobs_running -= change.count;
      return;
    case ChangeKind::kDropRule:
      std::erase_if(snapshot.rules, [&](const policy::PolicyRule& rule) { return rule.name == change.name; });
      return;
  }
}

}  // namespace neap::scheduler
