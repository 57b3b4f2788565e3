// Plans as Json, and that Json in words.
#include <fmt/format.h>

#include <cmath>

#include "internal/board.h"

namespace neap::scheduler {
namespace {

constexpr std::array<std::string_view, kGuardCount> kGuardCodes{"none",
                                                                "node.not_ready",
                                                                "node.reclaimed",
                                                                "node.excluded",
                                                                "node.pinned",
                                                                "node.selector",
                                                                "site.pinned",
                                                                "policy.forbidden",
                                                                "policy.required",
                                                                "policy.error",
                                                                "data.level",
                                                                "data.jurisdiction",
                                                                "data.strict",
                                                                "data.sites",
                                                                "latency.too_far",
                                                                "interruption.never_on_spot",
                                                                "accelerator.kind",
                                                                "fit.cores",
                                                                "fit.memory",
                                                                "fit.accelerators",
                                                                "taint.not_tolerated",
                                                                "quota.exceeded",
                                                                "queue.reserved",
                                                                "budget.exceeded",
                                                                "deadline.infeasible",
                                                                "gang.no_room",
                                                                "topology.no_room",
                                                                "plan.held_back",
                                                                "request.invalid"};

Json text(std::string_view value) { return Json(boost::json::string(value)); }
double rounded(double value) { return std::isfinite(value) ? std::round(value * 1000) / 1000 : -1; }

Json refusal_to_json(const Refusal& refusal) {
  return JsonObject{{"code", text(guard_code(refusal.guard))}, {"message", refusal.sentence}};
}

Json parts_to_json(const ScoreParts& parts) {
  JsonObject out{{"total", rounded(parts.total)},
                 {"cost", rounded(parts.cost)},
                 {"latency", rounded(parts.latency)},
                 {"gravity", rounded(parts.gravity)},
                 {"fragmentation", rounded(parts.fragmentation)},
                 {"utilisation", rounded(parts.utilisation)},
                 {"spread", rounded(parts.spread)},
                 {"preference", rounded(parts.preference)}};
  if (parts.carbon > 0) out["carbon"] = rounded(parts.carbon);
  if (parts.carbon_grams_per_hour) out["carbonGramsPerHour"] = rounded(*parts.carbon_grams_per_hour);
  if (parts.topology > 0) out["topology"] = rounded(parts.topology);
  if (parts.cost_per_hour) out["costPerHour"] = format_money(*parts.cost_per_hour);
  if (parts.egress_cost.value > 0) out["egressCost"] = format_money(parts.egress_cost);
  // Absent: the data cannot get here over any known link.
  if (std::isfinite(parts.transfer_seconds)) out["transferSeconds"] = rounded(parts.transfer_seconds);
  if (parts.rtt) out["rttMs"] = rounded(to_seconds(*parts.rtt) * 1000);
  return out;
}

std::string_view change_name(ChangeKind kind) {
  constexpr std::array<std::string_view, 7> names{"add-nodes",    "free-on-node", "raise-queue",
                                                  "raise-budget", "drop-rule",    "allow-accelerator",
                                                  "await-jobs"};
  return names[std::size_t(kind)];
}

Json change_to_json(const Change& change) {
  JsonObject out{{"kind", text(change_name(change.kind))}, {"message", change.sentence}};
  if (!change.node.empty()) out["node"] = change.node;
  if (!change.name.empty()) out["name"] = change.name;
  if (change.count > 0) out["count"] = change.count;
  if (change.cores.value > 0) out["cores"] = cores_text(change.cores.value);
  if (change.memory.value > 0) out["memory"] = format_bytes(change.memory);
  if (change.accelerators.value > 0) out["accelerators"] = accelerators_text(change.accelerators.value);
  if (change.money.value > 0) out["money"] = format_money(change.money);
  return out;
}

Json placements_to_json(const std::vector<Placement>& placements) {
  JsonArray out;
  for (const auto& placement : placements) {
    JsonObject one{{"replica", placement.replica},
                   {"node", placement.node},
                   {"site", placement.site},
                   {"capacityType", text(policy::capacity_type_name(placement.capacity_type))}};
    if (!placement.devices.empty()) {
      JsonArray devices;
      for (const auto device : placement.devices) devices.push_back(device);
      one["devices"] = std::move(devices);
    }
    out.push_back(std::move(one));
  }
  return out;
}

Json preemption_to_json(const Preemption& preemption) {
  JsonArray victims;
  for (const auto& victim : preemption.victims)
    victims.push_back(JsonObject{{"owner", victim.owner},
                                 {"priority", victim.priority},
                                 {"members", victim.members},
                                 {"membersKept", victim.members_kept},
                                 {"lostDeviceSeconds", rounded(victim.lost_work)},
                                 {"message", victim.sentence}});
  return JsonObject{{"message", preemption.sentence},
                    {"lostDeviceSeconds", rounded(preemption.lost_work)},
                    {"placements", placements_to_json(preemption.placements)},
                    {"victims", std::move(victims)}};
}

Json site_to_json(const SiteReason& site) {
  JsonObject out{{"site", site.site},
                 {"tier", text(policy::tier_name(site.tier))},
                 {"chosen", site.is_chosen},
                 {"nodesAdmitted", site.nodes_admitted}};
  JsonObject refused;
  for (std::size_t g = 1; g < kGuardCount; ++g)
    if (site.nodes_refused[g] > 0) refused[kGuardCodes[g]] = site.nodes_refused[g];
  if (!refused.empty()) out["nodesRefused"] = std::move(refused);
  if (site.refusal) out["refusal"] = refusal_to_json(*site.refusal);
  if (site.score) out["score"] = parts_to_json(*site.score);
  if (!site.nodes.empty()) {
    JsonArray nodes;
    for (const auto& node : site.nodes) {
      JsonObject one{{"node", node.node},
                     {"capacityType", text(policy::capacity_type_name(node.capacity_type))}};
      if (node.refusal) one["refusal"] = refusal_to_json(*node.refusal);
      if (node.score) one["score"] = parts_to_json(*node.score);
      nodes.push_back(std::move(one));
    }
    out["nodes"] = std::move(nodes);
  }
  return out;
}

double get_number(const Json& object, std::string_view key) {
  const auto* member = find_path(object, {key});
  if (!member) return 0;
  if (member->is_double()) return member->get_double();
  return double(get_int(object, key));
}
const JsonArray& get_array(const Json& object, std::string_view key) {
  static const JsonArray empty;
  const auto* member = find_path(object, {key});
  return member && member->is_array() ? member->get_array() : empty;
}
// "0.021000" to "0.021".
std::string short_money(std::string_view amount) {
  std::string out(amount);
  if (out.find('.') == std::string::npos) return out;
  while (out.ends_with('0')) out.pop_back();
  if (out.ends_with('.')) out.pop_back();
  return out;
}

std::string carbon_text(double grams_per_hour) { return fmt::format("{:.0f} g CO2e/h", grams_per_hour); }

std::string render_score(const Json& score, std::string_view currency) {
  std::string out = fmt::format("scores {:.1f}", get_number(score, "total"));
  std::vector<std::string> facts;
  if (const auto cost = get_string(score, "costPerHour"); !cost.empty())
    facts.push_back(fmt::format("{} {}/h", short_money(cost), currency));
  if (const auto egress = get_string(score, "egressCost"); !egress.empty())
    facts.push_back(fmt::format("{} {} to move data", short_money(egress), currency));
  if (const double grams = get_number(score, "carbonGramsPerHour"); grams > 0)
    facts.push_back(carbon_text(grams));
  if (get_number(score, "transferSeconds") > 0)
    facts.push_back(fmt::format("{:.0f} s to move data", get_number(score, "transferSeconds")));
  if (find_path(score, {"rttMs"}))
    facts.push_back(fmt::format("{:.1f} ms to the consumer", get_number(score, "rttMs")));
  if (!facts.empty()) out += fmt::format(": {}", fmt::join(facts, ", "));
  out += fmt::format(" (cost {:.0f}, latency {:.0f}, data {:.0f}, fragmentation {:.0f}, utilisation {:.0f}",
                     get_number(score, "cost"), get_number(score, "latency"), get_number(score, "gravity"),
                     get_number(score, "fragmentation"), get_number(score, "utilisation"));
  if (const double points = get_number(score, "carbon"); points > 0)
    out += fmt::format(", carbon {:.0f}", points);
  if (const double points = get_number(score, "preference"); points != 0)
    out += fmt::format(", rules {:+.0f}", points);
  return out + ")";
}

std::string render_queue(const Json& queue) {
  std::vector<std::string> facts;
  if (const auto position = get_string(queue, "position"); !position.empty())
    facts.push_back(fmt::format("position {}", position));
  if (const auto reason = get_string(queue, "waitsFor"); !reason.empty())
    facts.push_back(fmt::format("waits for {}", reason));
  if (const auto amount = get_string(queue, "borrows"); !amount.empty())
    facts.push_back(fmt::format("borrows {}, which the lender may take back", amount));
  if (const auto note = get_string(queue, "note"); !note.empty()) facts.emplace_back(note);
  return facts.empty() ? std::string{}
                       : fmt::format("queue {}: {}\n", get_string(queue, "name"), fmt::join(facts, "; "));
}

}  // namespace

std::string_view guard_code(Guard guard) { return kGuardCodes[std::size_t(guard)]; }
std::string_view task_kind_name(TaskKind kind) {
  constexpr std::array<std::string_view, 4> names{"training", "inference", "collect", "batch"};
  return names[std::size_t(kind)];
}
std::string_view interruption_class_name(InterruptionClass value) {
  constexpr std::array<std::string_view, 3> names{"never", "checkpointed", "restartable"};
  return names[std::size_t(value)];
}
std::string cores_text(std::int64_t millicores) {
  return millicores % 1000 == 0 ? fmt::format("{}", millicores / 1000)
                                : fmt::format("{:.3g}", double(millicores) / 1000);
}
std::string gib_text(std::int64_t bytes) {
  constexpr double kGiB = double(std::int64_t(1) << 30);
  return fmt::format("{:.4g} GiB", double(bytes) / kGiB);
}
std::string accelerators_text(std::int64_t milli) { return cores_text(milli); }

Json to_json(const Decision& decision, std::string_view currency) {
  JsonObject out{{"request", decision.request}, {"placed", decision.is_placed}, {"currency", text(currency)}};
  if (decision.is_placed) {
    out["score"] = rounded(decision.score);
    if (decision.cost_per_hour) out["costPerHour"] = format_money(*decision.cost_per_hour);
    if (decision.carbon_grams_per_hour) out["carbonGramsPerHour"] = rounded(*decision.carbon_grams_per_hour);
    if (decision.egress_cost.value > 0) out["egressCost"] = format_money(decision.egress_cost);
    out["placements"] = placements_to_json(decision.placements);
  }
  if (decision.pending) out["pending"] = refusal_to_json(*decision.pending);
  if (decision.preemption) out["preemption"] = preemption_to_json(*decision.preemption);
  if (!decision.note.empty()) out["note"] = decision.note;
  if (!decision.no_preemption.empty()) out["noPreemption"] = decision.no_preemption;
  JsonArray sites;
  for (const auto& site : decision.sites) sites.push_back(site_to_json(site));
  out["sites"] = std::move(sites);
  if (!decision.would_fit.empty()) {
    JsonArray changes;
    for (const auto& change : decision.would_fit) changes.push_back(change_to_json(change));
    out["wouldFit"] = std::move(changes);
  }
  return out;
}

Json to_json(const Plan& plan) {
  JsonArray decisions;
  for (const auto& decision : plan.decisions) decisions.push_back(to_json(decision, plan.currency));
  return JsonObject{{"currency", plan.currency}, {"decisions", std::move(decisions)}};
}

std::string render_explanation(const Json& decision) {
  const auto currency = get_string(decision, "currency", "USD");
  std::string out;
  if (get_bool(decision, "placed")) {
    std::vector<std::string> chosen;
    for (const auto& site : get_array(decision, "sites"))
      if (get_bool(site, "chosen")) chosen.emplace_back(get_string(site, "site"));
    out += fmt::format("{} chosen", fmt::join(chosen, ", "));
    if (const auto cost = get_string(decision, "costPerHour"); !cost.empty())
      out += fmt::format(": {} {}/h", short_money(cost), currency);
    if (const double grams = get_number(decision, "carbonGramsPerHour"); grams > 0)
      out += fmt::format(", {}", carbon_text(grams));
    out += fmt::format(", score {:.1f}.\n", get_number(decision, "score"));
    for (const auto& placement : get_array(decision, "placements"))
      out += fmt::format("  replica {} on {} at {} ({})\n", get_int(placement, "replica"),
                         get_string(placement, "node"), get_string(placement, "site"),
                         get_string(placement, "capacityType"));
  } else {
    const auto* pending = find_path(decision, {"pending"});
    out += fmt::format("{} waits", get_string(decision, "request"));
    if (pending)
      out += fmt::format(": {} [{}]", get_string(*pending, "message"), get_string(*pending, "code"));
    out += ".\n";
    if (const auto* preemption = find_path(decision, {"preemption"})) {
      out += fmt::format("makes room: {}; {:.0f} device seconds of work are repeated.\n",
                         get_string(*preemption, "message"), get_number(*preemption, "lostDeviceSeconds"));
      for (const auto& victim : get_array(*preemption, "victims"))
        out += fmt::format("  {} {}\n", get_string(victim, "owner"), get_string(victim, "message"));
    } else if (const auto why = get_string(decision, "noPreemption"); !why.empty()) {
      out += fmt::format("nobody makes room: {}.\n", why);
    }
  }
  if (const auto note = get_string(decision, "note"); !note.empty()) out += fmt::format("note: {}\n", note);
  if (const auto plan = get_string(decision, "plan"); !plan.empty()) out += fmt::format("plan: {}\n", plan);
  if (const auto* queue = find_path(decision, {"queue"})) out += render_queue(*queue);
  if (const auto tide = get_string(decision, "tide"); !tide.empty()) out += fmt::format("tide: {}.\n", tide);
  for (const auto& site : get_array(decision, "sites")) {
    const auto name = get_string(site, "site");
    if (const auto* refusal = find_path(site, {"refusal"})) {
      out += fmt::format("{} refused: {} [{}]", name, get_string(*refusal, "message"),
                         get_string(*refusal, "code"));
    } else if (const auto* score = find_path(site, {"score"})) {
      out += fmt::format("{} {} {}", name, get_bool(site, "chosen") ? "(chosen)" : "(possible)",
                         render_score(*score, currency));
    } else {
      out += fmt::format("{}: no reason recorded", name);
    }
    if (const auto* refused = find_path(site, {"nodesRefused"}); refused && refused->is_object()) {
      std::vector<std::string> counts;
      for (const auto& member : refused->get_object())
        counts.push_back(
            fmt::format("{} {}", get_int(*refused, member.key()), std::string_view(member.key())));
      out += fmt::format("; nodes: {} possible, {}", get_int(site, "nodesAdmitted"), fmt::join(counts, ", "));
    }
    out += "\n";
  }
  for (const auto& change : get_array(decision, "wouldFit"))
    out += fmt::format("would fit: {}\n", get_string(change, "message"));
  return out;
}

}  // namespace neap::scheduler
