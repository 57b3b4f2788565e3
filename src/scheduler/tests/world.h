// A tiny world for the scheduler's tests: an edge site, a headquarters and two clouds.
#pragma once

#include "neap/scheduler/scheduler.h"

namespace neap::scheduler {

inline constexpr std::int64_t kGiB = std::int64_t(1) << 30;

inline Node make_node(std::string name, std::string site, int cores, int gib, int devices = 0,
                      CapacityType type = CapacityType::kOwned) {
  Node node;
  node.name = std::move(name);
  node.site = std::move(site);
  node.capacity_type = type;
  node.cores_allocatable = node.cores_free = {cores * 1000};
  node.memory_allocatable = node.memory_free = {gib * kGiB};
  if (devices > 0) node.accelerator_model = "nvidia-a100";
  node.devices_free.assign(std::size_t(devices), 1000);
  return node;
}

inline Snapshot make_world() {
  Snapshot world;
  world.sites = {{"edge-1", Tier::kEdge, "DE", {}, {}, 1},
                 {"hq", Tier::kPrivate, "DE", {"headquarters"}, {}, 1},
                 {"cloud-a", Tier::kPublic, "DE", {}, {}, 0.8},
                 {"cloud-b", Tier::kPublic, "US", {}, {}, 1.2}};
  world.nodes = {make_node("edge-1-a", "edge-1", 8, 16),
                 make_node("hq-a", "hq", 32, 128, 4),
                 make_node("hq-b", "hq", 32, 128, 4),
                 make_node("ca-od", "cloud-a", 64, 256, 8, CapacityType::kOnDemand),
                 make_node("ca-spot", "cloud-a", 64, 256, 8, CapacityType::kSpot),
                 make_node("cb-spot", "cloud-b", 64, 256, 8, CapacityType::kSpot)};
  world.links = {{"hq", "edge-1", 50e6, 8ms},        {"cloud-a", "edge-1", 100e6, 25ms},
                 {"cloud-b", "edge-1", 100e6, 90ms}, {"hq", "cloud-a", 100e6, 20ms},
                 {"hq", "cloud-b", 100e6, 95ms},     {"cloud-a", "cloud-b", 1e9, 80ms}};
  world.prices = finops::parse_price_book(parse_json(R"j({"currency": "EUR", "sites": {
      "edge-1": {"owned": {"core": "0.01", "gib": "0.001"}},
      "hq": {"owned": {"core": "0.02", "gib": "0.003", "accelerators": {"nvidia-a100": "1.2", "nvidia-t4": "0.3"}}},
      "cloud-a": {"on-demand": {"core": "0.05", "gib": "0.006", "accelerators": {"nvidia-a100": "3.06", "nvidia-t4": "0.6"}},
                  "spot": {"core": "0.015", "gib": "0.002", "accelerators": {"nvidia-a100": "0.9731", "nvidia-t4": "0.2"}}},
      "cloud-b": {"spot": {"core": "0.01", "gib": "0.001", "accelerators": {"nvidia-a100": "0.7", "nvidia-t4": "0.35"}}}},
      "egress": [{"from": "hq", "to": "", "perGB": "0.05"}, {"from": "cloud-a", "to": "", "perGB": "0.09"}]})j")
                                              .value())
                     .value();
  return world;
}

inline Request make_request(std::string id, int cores = 1, int gib = 1, int milli_accelerators = 0) {
  Request request;
  request.id = std::move(id);
  request.project = "vision";
  request.each.cores = {cores * 1000};
  request.each.memory = {gib * kGiB};
  request.each.accelerators = {milli_accelerators};
  return request;
}

inline Options make_options() {
  Options options;
  options.now = parse_rfc3339("2026-11-22T12:00:00Z").value();
  return options;
}

inline Decision decide_one(const Snapshot& world, const Request& request, Options options = make_options()) {
  return decide(world, std::span(&request, 1), options).decisions.at(0);
}

inline const SiteReason& reason_at(const Decision& decision, std::string_view site) {
  for (const auto& reason : decision.sites)
    if (reason.site == site) return reason;
  static const SiteReason none;
  return none;
}

inline std::string code_at(const Decision& decision, std::string_view site) {
  const auto& reason = reason_at(decision, site);
  return reason.refusal ? std::string(guard_code(reason.refusal->guard)) : "";
}

}  // namespace neap::scheduler
