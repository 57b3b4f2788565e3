#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "internal/board.h"
#include "internal/views.h"
#include "neap/api/meta.h"
#include "neap/base/saturate.h"
#include "neap/scheduler/carbon.h"

namespace neap::scheduler {
namespace {

static_assert(int(CapacityType::kSpot) == int(finops::CapacityType::kSpot) &&
              int(CapacityType::kOwned) == int(finops::CapacityType::kOwned));

constexpr std::int64_t kHourNs = 3'600'000'000'000;

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}
std::string milliseconds_text(Duration d) { return fmt::format("{:.1f} ms", to_seconds(d) * 1000); }

api::Tier api_tier(Tier tier) {
  switch (tier) {
    case Tier::kEdge:
      return api::Tier::kEdge;
    case Tier::kPrivate:
      return api::Tier::kPrivate;
    case Tier::kPublic:
      return api::Tier::kPublic;
  }
  return api::Tier::kPublic;
}

std::string_view purpose_of(TaskKind kind) {
  switch (kind) {
    case TaskKind::kInference:
      return "infer";
    case TaskKind::kCollect:
      return "store";
    case TaskKind::kTraining:
    case TaskKind::kBatch:
      return "train";
  }
  return "train";
}

std::optional<Refusal> judge_l2_by_default(const DataInput& input, const Site& site) {
  if (site.tier == Tier::kPublic)
    return Refusal{Guard::kDataLevel,
                   fmt::format("dataset {} is L2 and does not go to a public site", input.dataset)};
  if (site.name != input.home_site && (input.jurisdiction.empty() || site.jurisdiction != input.jurisdiction))
    return Refusal{Guard::kDataJurisdiction,
                   fmt::format("dataset {} is L2 of jurisdiction {} and {} is in {}", input.dataset,
                               input.jurisdiction.empty() ? "(none stated)" : input.jurisdiction, site.name,
                               site.jurisdiction.empty() ? "(none stated)" : site.jurisdiction)};
  return {};
}

// The answer of the data policies that transfers obey; L1 and Strict were refused before.
std::optional<Refusal> judge_by_policies(const Board& board, const Request& request, const DataInput& input,
                                         const Site& site) {
  dataguard::Place source{SiteName(input.home_site), api::Tier::kPrivate, input.jurisdiction, {}};
  if (const auto home = board.find_site(input.home_site); home != kNowhere) {
    source.tier = api_tier(board.sites[home]->tier);
    if (source.jurisdiction.empty()) source.jurisdiction = board.sites[home]->jurisdiction;
  }
  const dataguard::Place destination{SiteName(site.name), api_tier(site.tier), site.jurisdiction, {}};
  const auto verdict = board.snapshot->data_policies->judge(
      source, destination,
      {.level = api::DataLevel(input.level), .strict = input.is_strict, .declassified_by = {}},
      purpose_of(request.kind));
  if (verdict.allowed) return {};
  return Refusal{Guard::kDataLevel,
                 fmt::format("dataset {} is L{}: {}", input.dataset, int(input.level), verdict.reason)};
}

std::optional<Refusal> check_data(const Board& board, const Request& request, const Site& site) {
  for (const auto& input : request.data) {
    const auto named = [&] {
      return input.home_site.empty() ? std::string("an unnamed home") : input.home_site;
    };
    if (input.level == DataLevel::kL1 && site.name != input.home_site)
      return Refusal{Guard::kDataLevel,
                     fmt::format("dataset {} is L1 and never leaves {}", input.dataset, named())};
    if (input.is_strict && site.name != input.home_site)
      return Refusal{Guard::kDataStrict,
                     fmt::format("nothing derived from dataset {} may leave {}", input.dataset, named())};
    if (board.snapshot->data_policies) {
      if (auto refusal = judge_by_policies(board, request, input, site)) return refusal;
    } else if (input.level == DataLevel::kL2) {
      if (auto refusal = judge_l2_by_default(input, site)) return refusal;
    }
    if (!input.allowed_sites.empty() && !contains(input.allowed_sites, site.name))
      return Refusal{Guard::kDataSites, fmt::format("dataset {} may only be used at {}", input.dataset,
                                                    fmt::join(input.allowed_sites, ", "))};
  }
  return {};
}

std::optional<Duration> find_rtt(const Board& board, const Request& request, std::uint32_t site) {
  const auto consumer = board.find_site(request.consumer_site);
  if (consumer == kNowhere) return {};
  if (consumer == site) return Duration{};
  const auto* link = board.find_link(site, consumer);
  if (!link) return {};
  return link->rtt;
}

std::optional<Refusal> check_latency(const Board& board, const Request& request, std::uint32_t site) {
  if (!request.latency_max || request.consumer_site.empty()) return {};
  const auto rtt = find_rtt(board, request, site);
  if (!rtt)
    return Refusal{
        Guard::kLatency,
        fmt::format("no round trip from {} to {} is known, and at most {} is asked", board.sites[site]->name,
                    request.consumer_site, milliseconds_text(*request.latency_max))};
  if (*rtt <= *request.latency_max) return {};
  return Refusal{Guard::kLatency,
                 fmt::format("the round trip to {} is {}, above the {} asked", request.consumer_site,
                             milliseconds_text(*rtt), milliseconds_text(*request.latency_max))};
}

std::optional<Refusal> check_deadline(const Context& context, const Request& request, double transfer) {
  if (!request.deadline) return {};
  const double left = to_seconds(*request.deadline - context.options->now);
  const double needed = transfer + to_seconds(request.duration_estimate.value_or(Duration{}));
  if (needed <= left) return {};
  if (!std::isfinite(transfer))
    return Refusal{Guard::kDeadline,
                   "its data cannot get here: no link from where it is, so the deadline cannot be kept"};
  return Refusal{
      Guard::kDeadline,
      fmt::format("needs {:.0f} s ({:.0f} s of it to move data) and the deadline {} {:.0f} s{}", needed,
                  transfer, left < 0 ? "passed" : "is in", std::abs(left), left < 0 ? " ago" : "")};
}

// Outcome of one rule's condition at one place.
struct RuleOutcome {
  bool holds = false;
  std::string error;
};
RuleOutcome ask_rule(const policy::PolicyRule& rule, const policy::Activation& activation) {
  auto holds = policy::evaluate_condition(rule.condition, activation);
  if (!holds) return {false, holds.error().reason};
  return {*holds, {}};
}

struct RuleResult {
  Guard guard = Guard::kNone;
  std::string sentence;
  double preference = 0;
};
// `among` tells whether the place is among the rule's target.
RuleResult apply_rule(const policy::PolicyRule& rule, const RuleOutcome& outcome, bool among) {
  if (!outcome.error.empty()) {
    if (rule.effect == policy::Effect::kPrefer) return {};
    return {Guard::kPolicyError,
            fmt::format("rule {} could not be evaluated ({}), and a guard that cannot answer refuses",
                        rule.name, outcome.error),
            0};
  }
  if (!outcome.holds) return {};
  switch (rule.effect) {
    case policy::Effect::kRequire:
      if (!among)
        return {Guard::kPolicyRequired, fmt::format("rule {} requires {}", rule.name, rule.action), 0};
      break;
    case policy::Effect::kForbid:
      if (among)
        return {Guard::kPolicyForbidden,
                fmt::format("rule {} forbids this place ({})", rule.name, rule.action), 0};
      break;
    case policy::Effect::kPrefer:
      if (among) return {Guard::kNone, {}, rule.weight};
  }
  return {};
}

policy::Activation make_activation(const Context& context, const policy::ObjectView& task,
                                   const policy::ObjectView& data, const policy::ObjectView& site,
                                   const policy::ObjectView& price) {
  policy::Activation activation;
  activation.bind("task", policy::Value::borrowed(task)).bind("data", policy::Value::borrowed(data));
  activation.bind("site", policy::Value::borrowed(site)).bind("price", policy::Value::borrowed(price));
  activation.bind("now", policy::Value::timestamp(context.options->now));
  return activation;
}

std::vector<std::vector<bool>> resolve_targets(const Board& board) {
  std::vector<policy::SiteFacts> facts;
  for (const auto* site : board.sites) facts.push_back({site->name, site->tier, site->aliases, site->labels});
  std::vector<std::vector<bool>> out;
  for (const auto& rule : board.snapshot->rules)
    out.push_back(policy::resolve_target(rule.target, facts).sites);
  return out;
}

void check_class(const Context& context, const Request& request, const NodeClass& cls,
                 ClassVerdict& verdict) {
  const Board& board = *context.board;
  const Site& site = *board.sites[cls.site];
  if (!cls.is_ready) verdict.refuse(Guard::kNodeNotReady, "the node is not ready");
  if (cls.is_reclaimed) verdict.refuse(Guard::kNodeReclaimed, "the node is being reclaimed");
  if (request.interruption == InterruptionClass::kNever && cls.capacity_type == CapacityType::kSpot)
    verdict.refuse(Guard::kInterruption, "the work must never be interrupted, and spot capacity can be");
  const bool lacks_model = request.each.accelerators.value > 0 &&
                           (cls.accelerator_model.empty() || !request.takes_model(cls.accelerator_model));
  for (const auto& taint : *cls.taints) {
    if (contains(request.tolerations, taint.key)) continue;
    if (taint.is_hard)
      verdict.refuse(Guard::kTaint, fmt::format("the node is tainted {}={} and the work does not tolerate it",
                                                taint.key, taint.value));
    else
      verdict.parts.preference -= 10;
  }
  const auto hourly = board.snapshot->prices.compute_hourly(
      site.name, finops::CapacityType(cls.capacity_type), amounts_of(request.each, cls.accelerator_model));
  std::int64_t gang = 0;
  if (hourly && !__builtin_mul_overflow(hourly->value, std::int64_t(request.replicas), &gang))
    verdict.parts.cost_per_hour = MoneyMicros{gang};
  verdict.parts.carbon = carbon_score(site.carbon_intensity);
  if (site.carbon_intensity > 0)
    verdict.parts.carbon_grams_per_hour =
        request.replicas *
        carbon_grams_per_hour(amounts_of(request.each, cls.accelerator_model), site.carbon_intensity);
  if (request.cost_strategy == CostStrategy::kPreferSpot && cls.capacity_type == CapacityType::kSpot)
    verdict.parts.preference += 25;
  // More than all the scores of a public place together.
  if (request.cost_strategy == CostStrategy::kPrivateFirst && site.tier != Tier::kPublic)
    verdict.parts.preference += 200;
  if (request.cost_strategy == CostStrategy::kAvoidSpot && cls.capacity_type == CapacityType::kSpot)
    verdict.parts.preference -= 25;

  check_budgets(board, request, cls, verdict);
  const bool is_spot = cls.capacity_type == CapacityType::kSpot;
  if ((request.spot_use == SpotUse::kOnly && !is_spot) || (request.spot_use == SpotUse::kNever && is_spot) ||
      (request.stays_private && site.tier == Tier::kPublic))
    verdict.refuse(Guard::kHeldBack, request.held_back);
  if (!lacks_model) return;
  verdict.lacks_only_model = verdict.guard == Guard::kNone;
  verdict.refuse(Guard::kAcceleratorKind,
                 fmt::format("asks {} and the node has {}",
                             request.each.accelerator_model.empty() ? "an accelerator"
                             : request.accelerator_alternatives.empty()
                                 ? request.each.accelerator_model
                                 : fmt::format("{} or {}", request.each.accelerator_model,
                                               fmt::join(request.accelerator_alternatives, " or ")),
                             cls.accelerator_model.empty() ? "no accelerator" : cls.accelerator_model));
}

double cost_score(double cost, double cheapest) {
  // A cent an hour keeps free capacity comparable with nearly free capacity.
  constexpr double kFloor = 0.01;
  return 100 * (cheapest + kFloor) / (cost + kFloor);
}

// The cost part needs the cheapest admitted place, so it comes last.
void fill_cost_parts(const Request& request, std::vector<ClassVerdict>& verdicts) {
  const double hours = std::max(
      0.05, request.duration_estimate ? double(request.duration_estimate->count()) / double(kHourNs) : 1.0);
  const auto effective = [&](const ClassVerdict& v) {
    return double(v.parts.cost_per_hour->value) / 1e6 + double(v.parts.egress_cost.value) / 1e6 / hours;
  };
  double cheapest = std::numeric_limits<double>::infinity();
  for (const auto& verdict : verdicts)
    if (verdict.guard == Guard::kNone && verdict.parts.cost_per_hour)
      cheapest = std::min(cheapest, effective(verdict));
  for (auto& verdict : verdicts)
    if (verdict.parts.cost_per_hour && std::isfinite(cheapest))
      verdict.parts.cost = std::min(100.0, cost_score(effective(verdict), cheapest));
}

}  // namespace

double transfer_seconds(const Board& board, const Request& request, std::uint32_t site,
                        MoneyMicros& egress_cost) {
  double total = 0;
  for (const auto& input : request.data) {
    if (input.size.value == 0 || input.home_site == board.sites[site]->name ||
        contains(input.present_at, board.sites[site]->name))
      continue;
    double best = std::numeric_limits<double>::infinity();
    MoneyMicros cost;
    const auto consider = [&](const std::string& name) {
      const auto source = board.find_site(name);
      const auto* link = source == kNowhere ? nullptr : board.find_link(source, site);
      if (!link || link->bandwidth <= 0) return;
      const double seconds = double(input.size.value) / link->bandwidth;
      if (seconds >= best) return;
      best = seconds;
      const auto price = board.snapshot->prices.find_egress(name, board.sites[site]->name);
      const auto amount =
          finops::multiply_divide(input.size.value, price.value_or(MoneyMicros{}).value, 1, 1'000'000'000);
      cost = MoneyMicros{amount ? *amount : INT64_MAX / 4};
    };
    consider(input.home_site);
    for (const auto& name : input.present_at) consider(name);
    total += best;
    egress_cost = MoneyMicros{std::min<std::int64_t>(
        INT64_MAX / 8, egress_cost.value + std::min<std::int64_t>(cost.value, INT64_MAX / 8))};
  }
  return total;
}

void fill_verdicts(const Context& context, Ask& ask) {
  const Board& board = *context.board;
  const Request& request = ask.request;
  ask.site_verdicts.assign(board.sites.size(), {});
  ask.class_verdicts.assign(board.classes.size(), {});
  const TaskView task(request);
  const InputsView inputs(request);
  ask.targets = resolve_targets(board);
  const auto& targets = ask.targets;
  const auto& rules = board.snapshot->rules;
  ask.node_rules.clear();
  for (std::uint32_t r = 0; r < rules.size(); ++r)
    if (rules[r].condition.references("node")) ask.node_rules.push_back(r);
  const auto consumer = board.find_site(request.consumer_site);

  std::vector<std::vector<RuleOutcome>> outcomes(board.sites.size());
  for (std::uint32_t s = 0; s < board.sites.size(); ++s) {
    const Site& site = *board.sites[s];
    auto& verdict = ask.site_verdicts[s];
    ClassVerdict first;
    if (!request.pinned_site.empty() && site.name != request.pinned_site)
      first.refuse(Guard::kSitePinned, fmt::format("the work is pinned to {}", request.pinned_site));
    if (!request.spread_sites.empty() && !contains(request.spread_sites, site.name))
      first.refuse(Guard::kSitePinned, fmt::format("the work asks one replica at each of {}",
                                                   fmt::join(request.spread_sites, ", ")));
    const SiteView site_view(
        site, consumer == kNowhere || consumer == s ? nullptr : board.find_link(s, consumer), consumer == s);
    const PriceView price_view(*board.snapshot, site, request);
    const auto activation = make_activation(context, task, inputs, site_view, price_view);
    for (std::size_t r = 0; r < rules.size(); ++r) {
      outcomes[s].push_back(rules[r].condition.references("node") ? RuleOutcome{}
                                                                  : ask_rule(rules[r], activation));
      if (rules[r].capacity_type || rules[r].condition.references("node")) continue;
      auto result = apply_rule(rules[r], outcomes[s][r], targets[r][s]);
      if (result.guard != Guard::kNone) first.refuse(result.guard, std::move(result.sentence));
      first.parts.preference += result.preference;
    }
    if (auto refusal = check_data(board, request, site))
      first.refuse(refusal->guard, std::move(refusal->sentence));
    if (auto refusal = check_latency(board, request, s))
      first.refuse(refusal->guard, std::move(refusal->sentence));
    const double transfer = transfer_seconds(board, request, s, first.parts.egress_cost);
    if (auto refusal = check_deadline(context, request, transfer))
      first.refuse(refusal->guard, std::move(refusal->sentence));

    auto& parts = first.parts;
    parts.transfer_seconds = transfer;
    parts.gravity = std::isfinite(transfer) ? 100 / (1 + transfer / 10) : 0;
    parts.rtt = find_rtt(board, request, s);
    parts.latency = 50;
    if (consumer != kNowhere && !parts.rtt) parts.latency = 0;
    if (parts.rtt) {
      const double ms = to_seconds(*parts.rtt) * 1000;
      const double limit = request.latency_max ? to_seconds(*request.latency_max) * 1000 : 0;
      parts.latency = limit > 0 ? std::clamp(100 * (1 - ms / limit), 0.0, 100.0) : 100 / (1 + ms / 10);
    }
    verdict.parts = parts;
    if (first.guard != Guard::kNone) verdict.refusal = Refusal{first.guard, first.sentence};
  }

  for (std::size_t c = 0; c < board.classes.size(); ++c) {
    const auto& cls = board.classes[c];
    auto& verdict = ask.class_verdicts[c];
    const auto& site = ask.site_verdicts[cls.site];
    verdict.parts = site.parts;
    if (site.refusal) verdict.refuse(site.refusal->guard, site.refusal->sentence);
    for (std::size_t r = 0; r < rules.size(); ++r) {
      if (!rules[r].capacity_type || rules[r].condition.references("node")) continue;
      auto result = apply_rule(rules[r], outcomes[cls.site][r],
                               targets[r][cls.site] && cls.capacity_type == *rules[r].capacity_type);
      if (result.guard != Guard::kNone) verdict.refuse(result.guard, std::move(result.sentence));
      verdict.parts.preference += result.preference;
    }
    check_class(context, request, cls, verdict);
  }
  keep_to_cheapest_accelerator(context, ask);
  fill_cost_parts(request, ask.class_verdicts);
}

namespace {

// Rules that read `node` are asked node by node, after everything cheaper.
RuleResult check_node_rules(const Context& context, const Ask& ask, std::uint32_t node) {
  const Board& board = *context.board;
  const auto s = board.classes[board.node_class[node]].site;
  const auto consumer = board.find_site(ask.request.consumer_site);
  const TaskView task(ask.request);
  const InputsView inputs(ask.request);
  const SiteView site(*board.sites[s],
                      consumer == kNowhere || consumer == s ? nullptr : board.find_link(s, consumer),
                      consumer == s);
  const PriceView price(*board.snapshot, *board.sites[s], ask.request);
  const NodeView view(board, node);
  auto activation = make_activation(context, task, inputs, site, price);
  activation.bind("node", policy::Value::borrowed(view));
  RuleResult total;
  for (const auto index : ask.node_rules) {
    const auto& rule = board.snapshot->rules[index];
    bool among = ask.targets[index][s];
    if (rule.capacity_type) among = among && board.nodes[node]->capacity_type == *rule.capacity_type;
    auto result = apply_rule(rule, ask_rule(rule, activation), among);
    if (result.guard != Guard::kNone) return result;
    total.preference += result.preference;
  }
  return total;
}

}  // namespace

double node_preference(const Context& context, const Ask& ask, std::uint32_t node) {
  return ask.node_rules.empty() ? 0 : check_node_rules(context, ask, node).preference;
}

Guard check_node(const Context& context, const Ask& ask, std::uint32_t n) {
  const Board& board = *context.board;
  const Node& node = *board.nodes[n];
  const Request& request = ask.request;
  const auto& verdict = ask.class_verdicts[board.node_class[n]];
  const Guard limit = verdict.guard == Guard::kNone ? Guard::kRequest : verdict.guard;
  if (limit > Guard::kNodeExcluded && !request.excluded_nodes.empty() &&
      contains(request.excluded_nodes, node.name))
    return Guard::kNodeExcluded;
  if (limit > Guard::kNodePinned && !request.pinned_node.empty() && node.name != request.pinned_node)
    return Guard::kNodePinned;
  if (limit > Guard::kNodeSelector)
    for (const auto& wanted : request.node_selector)
      if (std::find(node.labels.begin(), node.labels.end(), wanted) == node.labels.end())
        return Guard::kNodeSelector;
  if (limit > Guard::kPolicyForbidden && !ask.node_rules.empty())
    if (const auto result = check_node_rules(context, ask, n);
        result.guard != Guard::kNone && result.guard < limit)
      return result.guard;
  if (limit < Guard::kFitCores) return limit;
  if (request.each.cores.value > board.cores_free[n]) return Guard::kFitCores;
  if (request.each.memory.value > board.memory_free[n]) return Guard::kFitMemory;
  if (request.each.accelerators.value > 0 && !fits_devices(board.devices(n), request.each.accelerators.value))
    return Guard::kFitAccelerators;
  return verdict.guard;
}

std::string explain_node(const Context& context, const Ask& ask, std::uint32_t n, Guard guard) {
  const Board& board = *context.board;
  const Node& node = *board.nodes[n];
  const auto& each = ask.request.each;
  switch (guard) {
    case Guard::kNodeExcluded:
      return fmt::format("{} is excluded for this work", node.name);
    case Guard::kNodePinned:
      return fmt::format("the work is pinned to node {}", ask.request.pinned_node);
    case Guard::kNodeSelector:
      return fmt::format("{} lacks a label that the work selects", node.name);
    case Guard::kFitCores:
      return fmt::format("asks {} cores; {} has {} free of {}", cores_text(each.cores.value), node.name,
                         cores_text(board.cores_free[n]), cores_text(node.cores_allocatable.value));
    case Guard::kFitMemory:
      return fmt::format("asks {} of memory; {} has {} free of {}", gib_text(each.memory.value), node.name,
                         gib_text(board.memory_free[n]), gib_text(node.memory_allocatable.value));
    case Guard::kFitAccelerators: {
      std::int64_t total = 0, whole = 0;
      for (const auto free : board.devices(n)) {
        total += free;
        whole += free == 1000;
      }
      return fmt::format("asks {} {}; {} has {} free ({} whole) of {}",
                         accelerators_text(each.accelerators.value), node.accelerator_model, node.name,
                         accelerators_text(total), whole, board.devices(n).size());
    }
    case Guard::kPolicyForbidden:
    case Guard::kPolicyRequired:
    case Guard::kPolicyError:
      if (ask.class_verdicts[board.node_class[n]].guard != guard)
        return check_node_rules(context, ask, n).sentence;
      [[fallthrough]];
    default: {
      const auto& sentence = ask.class_verdicts[board.node_class[n]].sentence;
      return guard <= Guard::kNodeReclaimed ? fmt::format("{} ({})", sentence, node.name) : sentence;
    }
  }
}

std::optional<Refusal> check_quota(const Board& board, const Request& request, int replicas) {
  const auto found = board.queues.find(request.queue);
  if (found == board.queues.end()) return {};
  const Queue& queue = found->second;
  const auto over = [&](std::int64_t each, std::int64_t used, std::int64_t limit) {
    return limit > 0 && __int128(each) * replicas + used > limit;
  };
  const auto say = [&](std::string asked, std::string used, std::string limit, std::string_view what) {
    return Refusal{Guard::kQuota,
                   fmt::format("queue {}: asks {} {}, {} used of {}", queue.name, asked, what, used, limit)};
  };
  const auto& each = request.each;
  if (over(each.cores.value, queue.cores_used.value, queue.cores_limit.value))
    return say(cores_text(multiply_saturated(each.cores.value, replicas)), cores_text(queue.cores_used.value),
               cores_text(queue.cores_limit.value), "cores");
  if (over(each.memory.value, queue.memory_used.value, queue.memory_limit.value))
    return say(gib_text(multiply_saturated(each.memory.value, replicas)), gib_text(queue.memory_used.value),
               gib_text(queue.memory_limit.value), "of memory");
  if (over(each.accelerators.value, queue.accelerators_used.value, queue.accelerators_limit.value))
    return say(accelerators_text(each.accelerators.value * replicas),
               accelerators_text(queue.accelerators_used.value),
               accelerators_text(queue.accelerators_limit.value), "accelerators");
  return {};
}

std::optional<Refusal> check_request(const Board& board, const Request& request) {
  const auto bad = [](std::string sentence) { return Refusal{Guard::kRequest, std::move(sentence)}; };
  constexpr int kReplicasMax = 100'000;
  constexpr std::int64_t kAmountMax = std::int64_t(1) << 44;
  if (request.replicas < 1 || request.replicas > kReplicasMax)
    return bad(fmt::format("asks {} replicas; ask 1 to {}", request.replicas, kReplicasMax));
  if (request.replicas_min < 0 || request.replicas_min > request.replicas)
    return bad(fmt::format("asks at least {} of {} replicas; write a number from 0 to {}",
                           request.replicas_min, request.replicas, request.replicas));
  if (request.topology &&
      (request.topology->slice_replicas < 0 ||
       (request.topology->slice_replicas > 0 && request.replicas % request.topology->slice_replicas != 0)))
    return bad(fmt::format("asks slices of {} replicas, and {} replicas are no multiple of that",
                           request.topology->slice_replicas, request.replicas));
  const auto& each = request.each;
  if (each.cores.value < 0 || each.memory.value < 0 || each.accelerators.value < 0 ||
      each.cores.value > kAmountMax || each.memory.value > (kAmountMax << 4) ||
      each.accelerators.value > 1'000'000)
    return bad("asks a negative or absurd amount; correct the request");
  if (each.accelerators.value > 1000 && each.accelerators.value % 1000 != 0)
    return bad(fmt::format("asks {} accelerators; above one only whole numbers are given",
                           accelerators_text(each.accelerators.value)));
  for (const auto& input : request.data)
    if (input.size.value < 0) return bad(fmt::format("dataset {} has a negative size", input.dataset));
  if (!request.spread_sites.empty()) {
    if (request.spread_sites.size() != std::size_t(request.replicas))
      return bad(fmt::format("asks {} replicas, one at each of {} sites; make the numbers equal",
                             request.replicas, request.spread_sites.size()));
    for (const auto& name : request.spread_sites)
      if (board.find_site(name) == kNowhere)
        return bad(fmt::format("asks a replica at {}, which is no known site", name));
  }
  if (!request.pinned_site.empty() && board.find_site(request.pinned_site) == kNowhere)
    return bad(fmt::format("is pinned to {}, which is no known site", request.pinned_site));
  return {};
}

}  // namespace neap::scheduler
