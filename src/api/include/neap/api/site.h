// Places: Site, Link, Node.
#pragma once

#include "neap/api/meta.h"

namespace neap::api {

struct CapacityPrice {
  CapacityType capacityType = CapacityType::kOwned;
  MoneyMicros perCoreHour, perGiBHour;
  std::map<std::string, MoneyMicros> perAcceleratorHour;
  template <class V>
  static void describe(V& v) {
    v.field("capacityType", &CapacityPrice::capacityType, "owned, reserved, on-demand or spot.", kRequired);
    v.field("perCoreHour", &CapacityPrice::perCoreHour, "Millionths of the currency per core and hour.");
    v.field("perGiBHour", &CapacityPrice::perGiBHour,
            "Millionths of the currency per GiB of memory and hour.");
    v.field("perAcceleratorHour", &CapacityPrice::perAcceleratorHour,
            "Millionths of the currency per accelerator and hour.");
  }
};

struct SiteSpec {
  Tier tier = Tier::kPrivate;
  std::string provider = "agent";
  std::string jurisdiction;
  std::vector<std::string> aliases;
  std::string currency = "USD";
  std::vector<CapacityPrice> prices;
  double carbonIntensity = 0;
  template <class V>
  static void describe(V& v) {
    v.field("tier", &SiteSpec::tier, "private, public or edge.", kRequired);
    v.field("provider", &SiteSpec::provider, "What drives the site: agent, kubernetes, slurm, ec2.");
    v.field("jurisdiction", &SiteSpec::jurisdiction, "Whose law holds there, like CN-SH or DE.", kRequired);
    v.field("aliases", &SiteSpec::aliases, "Other names documents may use for this site.");
    v.field("currency", &SiteSpec::currency, "Currency of the prices.");
    v.field("prices", &SiteSpec::prices, "Price of capacity by type.",
            FieldOptions{.list_map_key = "capacityType"});
    v.field("carbonIntensity", &SiteSpec::carbonIntensity,
            "Grams of CO2 equivalent per kWh that its electricity causes; 0 is unknown.",
            FieldOptions{.minimum = 0, .maximum = 10'000});
  }
};
struct SpotPrice {
  std::optional<WallTime> since;
  MoneyMicros price;
  template <class V>
  static void describe(V& v) {
    v.field("since", &SpotPrice::since, "From when it held.", kRequired);
    v.field("price", &SpotPrice::price, "Sum of the declared spot rates: for comparison, not for bills.");
  }
};
struct SpotSpell {
  std::optional<WallTime> since;
  bool available = false;
  template <class V>
  static void describe(V& v) {
    v.field("since", &SpotSpell::since, "From when it held.", kRequired);
    v.field("available", &SpotSpell::available, "Whether a ready spot node was there that nobody took away.");
  }
};
struct SiteStatus {
  std::int64_t nodes = 0, nodesReady = 0;
  Resources capacity, free;
  std::vector<SpotPrice> spotPrices;
  std::vector<SpotSpell> spotSpells;
  std::vector<Condition> conditions;
  template <class V>
  static void describe(V& v) {
    v.field("nodes", &SiteStatus::nodes, "Nodes that ever joined and were not removed.");
    v.field("nodesReady", &SiteStatus::nodesReady, "Nodes with a fresh lease.");
    v.field("capacity", &SiteStatus::capacity, "Sum over ready nodes.");
    v.field("free", &SiteStatus::free, "Capacity not held by allocations.");
    v.field("spotPrices", &SiteStatus::spotPrices, "Spot prices of the last 30 days, oldest first.");
    v.field("spotSpells", &SiteStatus::spotSpells,
            "When spot capacity came and went in the last 30 days, oldest first.");
    v.field("conditions", &SiteStatus::conditions, "Claims about the site.",
            FieldOptions{.list_map_key = "type"});
  }
};

struct LinkSpec {
  std::string from, to;
  std::int64_t bandwidthMbps = 0;
  double rttMs = 0, lossPercent = 0;
  MoneyMicros egressPerGB;
  template <class V>
  static void describe(V& v) {
    v.field("from", &LinkSpec::from, "Site the bytes leave.", kImmutable);
    v.field("to", &LinkSpec::to, "Site the bytes reach.", kImmutable);
    v.field("bandwidthMbps", &LinkSpec::bandwidthMbps, "Declared bandwidth in Mbit/s.",
            FieldOptions{.required = true, .minimum = 1});
    v.field("rttMs", &LinkSpec::rttMs, "Declared round trip in milliseconds.");
    v.field("lossPercent", &LinkSpec::lossPercent, "Declared packet loss.");
    v.field("egressPerGB", &LinkSpec::egressPerGB, "Millionths of the currency per 10^9 bytes.");
  }
};
struct LinkStatus {
  double measuredRttMs = 0, measuredMbps = 0;
  std::optional<WallTime> measuredAt;
  template <class V>
  static void describe(V& v) {
    v.field("measuredRttMs", &LinkStatus::measuredRttMs, "Round trip agents measured.");
    v.field("measuredMbps", &LinkStatus::measuredMbps, "Goodput of recent transfers.");
    v.field("measuredAt", &LinkStatus::measuredAt, "When.");
  }
};

struct Taint {
  std::string key, value, effect;
  template <class V>
  static void describe(V& v) {
    v.field("key", &Taint::key, "Taint name.", kRequired);
    v.field("value", &Taint::value, "Taint value.");
    v.field("effect", &Taint::effect, "NoSchedule or NoExecute.", kRequired);
  }
};
struct NodeSpec {
  std::string site;
  CapacityType capacityType = CapacityType::kOwned;
  bool unschedulable = false;
  std::vector<Taint> taints;
  template <class V>
  static void describe(V& v) {
    v.field("site", &NodeSpec::site, "The site this machine stands in.", kImmutable);
    v.field("capacityType", &NodeSpec::capacityType, "owned, reserved, on-demand or spot.");
    v.field("unschedulable", &NodeSpec::unschedulable, "True keeps new work away.");
    v.field("taints", &NodeSpec::taints, "Marks that only tolerating work accepts.");
  }
};
// conditions: Ready; Interrupting (status True once a reclaim notice came, message says until when).
struct NodeStatus {
  Resources capacity, allocatable;
  std::vector<Condition> conditions;
  std::string agentVersion, kernel, limits;  // limits: "cgroup-v2", "cgroup-v1" or "none: <why>"
  std::map<std::string, std::string> runtimes;
  std::string inferenceEndpoint, peerEndpoint;
  template <class V>
  static void describe(V& v) {
    v.field("capacity", &NodeStatus::capacity, "What the machine has.");
    v.field("allocatable", &NodeStatus::allocatable, "What work may use.");
    v.field("conditions", &NodeStatus::conditions, "Ready, Interrupting and others.",
            FieldOptions{.list_map_key = "type"});
    v.field("agentVersion", &NodeStatus::agentVersion, "Version of the agent.");
    v.field("kernel", &NodeStatus::kernel, "Kernel release.");
    v.field("limits", &NodeStatus::limits, "How CPU and memory limits are enforced.");
    v.field("runtimes", &NodeStatus::runtimes, "Versions by name: onnxruntime, cuda, python.");
    v.field("inferenceEndpoint", &NodeStatus::inferenceEndpoint, "host:port for clients on the site.");
    v.field("peerEndpoint", &NodeStatus::peerEndpoint, "host:port for other nodes, mutual TLS.");
  }
};

}  // namespace neap::api
