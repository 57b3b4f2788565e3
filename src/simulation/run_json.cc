#include "neap/simulation/run.h"

namespace neap::simulation {
namespace {

Json spread(const Spread& value) {
  return Json(JsonObject{{"count", value.count},
                         {"mean", value.mean},
                         {"p50", value.p50},
                         {"p99", value.p99},
                         {"max", value.max}});
}

Json amounts(const std::map<std::string, MoneyMicros>& parts) {
  JsonObject out;
  for (const auto& [key, amount] : parts) out[key] = amount.value;
  return Json(std::move(out));
}

Json use(const UseReport& value) {
  return Json(
      JsonObject{{"used", value.used / 1000}, {"capacity", value.capacity / 1000}, {"share", value.share()}});
}

Json cost_json(const CostReport& cost) {
  JsonObject out;
  out["currency"] = cost.currency;
  out["total_micros"] = cost.total.value;
  out["by_project"] = amounts(cost.by_project);
  out["by_team"] = amounts(cost.by_team);
  out["by_site"] = amounts(cost.by_site);
  out["by_capacity_type"] = amounts(cost.by_capacity_type);
  out["by_kind"] = amounts(cost.by_kind);
  JsonArray unpriced;
  for (const auto& route : cost.unpriced) unpriced.emplace_back(route);
  out["unpriced_egress"] = std::move(unpriced);
  if (!cost.carbon_kg_by_site.empty()) {
    JsonObject by_site;
    double total = 0;
    for (const auto& [site, kg] : cost.carbon_kg_by_site) {
      by_site[site] = kg;
      total += kg;
    }
    JsonArray unknown;
    for (const auto& site : cost.carbon_unknown) unknown.emplace_back(site);
    out["carbon_kg"] = total;
    out["carbon_kg_by_site"] = std::move(by_site);
    out["carbon_unknown"] = std::move(unknown);
  }
  return Json(std::move(out));
}

Json ownership_json(const OwnershipReport& ownership) {
  return Json(JsonObject{{"total_micros", ownership.total.value},
                         {"rented_micros", ownership.rented.value},
                         {"egress_micros", ownership.egress.value},
                         {"hardware_micros", ownership.hardware.value},
                         {"operation_micros", ownership.operation.value},
                         {"invested_micros", ownership.invested.value}});
}

Json services_json(const std::vector<ServiceReport>& services) {
  JsonArray out;
  for (const auto& service : services)
    out.push_back(Json(JsonObject{{"name", service.name},
                                  {"requests", service.requests},
                                  {"replica_hours_wanted", service.wanted_h},
                                  {"replica_hours_short", service.short_h},
                                  {"replicas_max", service.replicas_max}}));
  return Json(std::move(out));
}

Json queues_json(const std::vector<QueueReport>& queues) {
  JsonArray out;
  for (const auto& queue : queues)
    out.push_back(Json(JsonObject{{"name", queue.name},
                                  {"parent", queue.parent},
                                  {"share", queue.share},
                                  {"accelerator_hours", queue.accelerator_h},
                                  {"borrowed_accelerator_hours", queue.borrowed_h},
                                  {"placements", queue.placements},
                                  {"borrowed", queue.borrowed},
                                  {"backfilled", queue.backfilled},
                                  {"reserved", queue.reserved},
                                  {"reserved_late", queue.reserved_late},
                                  {"gave_back", queue.gave_back},
                                  {"took_back", queue.took_back},
                                  {"preempted", queue.preempted},
                                  {"lost_work_hours", queue.lost_work_h},
                                  {"wait_s", spread(queue.wait_s)},
                                  {"waiting", queue.waiting}}));
  return Json(std::move(out));
}

}  // namespace

Json to_json(const RunReport& report) {
  JsonObject out;
  out["scenario"] = report.name;
  out["variant"] = report.variant;
  out["seed"] = report.seed;
  out["start"] = format_rfc3339(report.start);
  out["simulated_hours"] = report.simulated_h;
  out["nodes"] = report.nodes;
  out["accelerators"] = report.accelerators;
  out["events"] = report.events;
  out["decisions"] = report.decisions;
  out["placements"] = report.placements;
  out["jobs"] = JsonObject{{"arrived", report.arrived},
                           {"ended", report.ended},
                           {"running", report.running},
                           {"waiting", report.waiting},
                           {"with_deadline", report.with_deadline},
                           {"late", report.late}};
  out["jct_s"] = spread(report.jct_s);
  out["wait_s"] = spread(report.wait_s);
  out["moves"] = report.moves;
  out["preemptions"] = report.preemptions;
  out["reclaims"] = report.reclaims;
  out["failures"] = report.failures;
  out["lost_work_hours"] = report.lost_work_h;
  JsonObject sites;
  for (const auto& [site, value] : report.accelerators_by_site) sites[site] = use(value);
  JsonObject utilisation;
  utilisation["accelerators"] = use(report.accelerators_own);
  utilisation["cores"] = use(report.cores_own);
  utilisation["accelerators_rented"] = report.accelerators_rented.used / 1000;
  utilisation["by_site"] = std::move(sites);
  out["utilisation"] = std::move(utilisation);
  out["fragmentation"] = report.fragmentation;
  out["cost"] = cost_json(report.cost);
  out["ownership"] = ownership_json(report.ownership);
  out["services"] = services_json(report.services);
  if (!report.queues.empty()) {
    out["backfilled"] = report.backfilled;
    out["given_back"] = report.given_back;
    out["borrowed_accelerator_hours"] = report.borrowed_h;
    out["queues"] = queues_json(report.queues);
  }
  JsonArray waiting;
  for (const auto& job : report.waiting_jobs)
    waiting.push_back(Json(JsonObject{
        {"job", job.name}, {"project", job.project}, {"waited_s", job.waited_s}, {"reason", job.reason}}));
  out["waiting"] = std::move(waiting);
  return Json(std::move(out));
}

}  // namespace neap::simulation
