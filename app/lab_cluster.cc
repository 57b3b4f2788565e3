#include "lab_cluster.h"

#include <fmt/format.h>

#include "neap/api/codec.h"
#include "neap/api/kind.h"

namespace neap::app {
namespace {

// Prices: owned hardware at its amortised cost, public capacity at the level of public price lists for
// general-purpose machines (spot about a third of on-demand). Links: a metro uplink for each factory.
constexpr std::string_view kLabDocuments = R"yaml(
apiVersion: neap.dev/v1
kind: Site
metadata: {name: hq}
spec:
  tier: private
  jurisdiction: CN-SH
  aliases: [headquarters, private-cluster]
  prices:
  - {capacityType: owned, perCoreHour: 31000, perGiBHour: 4200}
---
apiVersion: neap.dev/v1
kind: Site
metadata: {name: cloud-a}
spec:
  tier: public
  jurisdiction: SG
  aliases: [public-cloud-gpu-cluster, public_cloud_gpu_pool]
  prices:
  - {capacityType: on-demand, perCoreHour: 48000, perGiBHour: 5300}
  - {capacityType: spot, perCoreHour: 14500, perGiBHour: 1600}
---
apiVersion: neap.dev/v1
kind: Site
metadata: {name: factory-01}
spec:
  tier: edge
  jurisdiction: CN-SH
  aliases: [edge_cluster]
  prices:
  - {capacityType: owned, perCoreHour: 39000, perGiBHour: 5000}
---
apiVersion: neap.dev/v1
kind: Site
metadata: {name: factory-02}
spec:
  tier: edge
  jurisdiction: CN-SH
  prices:
  - {capacityType: owned, perCoreHour: 39000, perGiBHour: 5000}
---
apiVersion: neap.dev/v1
kind: DataPolicy
metadata: {name: default, namespace: default}
spec:
  rules:
  - {name: l2-stays-in-jurisdiction, level: L2, toTiers: [private, edge], toJurisdictions: [CN-SH], effect: allow}
  - {name: l2-never-public, level: L2, effect: deny}
  - {name: l3-anywhere, level: L3, effect: allow}
)yaml";

struct LinkRow {
  const char *from, *to;
  int mbps;
  double rtt_ms;
  int egress_micros_per_gb;
};
constexpr LinkRow kLinks[] = {
    {"hq", "cloud-a", 1000, 32, 0},
    {"cloud-a", "hq", 1000, 32, 90'000},
    {"hq", "factory-01", 200, 8, 0},
    {"factory-01", "hq", 200, 8, 12'000},
    {"hq", "factory-02", 100, 12, 0},
    {"factory-02", "hq", 100, 12, 12'000},
    {"cloud-a", "factory-01", 100, 40, 90'000},
    {"factory-01", "cloud-a", 100, 40, 15'000},
    {"cloud-a", "factory-02", 100, 44, 90'000},
    {"factory-02", "cloud-a", 100, 44, 15'000},
};

Json link_document(const LinkRow& row) {
  return Json{{"apiVersion", "neap.dev/v1"},
              {"kind", "Link"},
              {"metadata", {{"name", fmt::format("{}-to-{}", row.from, row.to)}}},
              {"spec",
               {{"from", row.from},
                {"to", row.to},
                {"bandwidthMbps", row.mbps},
                {"rttMs", row.rtt_ms},
                {"egressPerGB", row.egress_micros_per_gb}}}};
}

Task<Status> create(CallServer call, Json document) {
  const auto* kind = api::KindTable::standard().find_kind("neap.dev", "v1", get_string(document, "kind"));
  NEAP_ASSERT(kind);
  std::string path = "/apis/neap.dev/v1/";
  if (kind->namespaced) path += "namespaces/default/";
  auto created = co_await call("POST", path + kind->plural, std::move(document));
  if (!created && created.error().code != Code::kAborted && created.error().code != Code::kAlreadyExists)
    co_return fail(std::move(created).error(), "creating the lab's sites");
  co_return ok();
}

}  // namespace

std::vector<LabNode> lab_nodes() {
  return {{.name = "hq-1", .site = "hq", .capacity_type = "owned"},
          {.name = "hq-2", .site = "hq", .capacity_type = "owned"},
          {.name = "cloud-a-1", .site = "cloud-a", .capacity_type = "spot"},
          {.name = "factory-01", .site = "factory-01", .capacity_type = "owned"},
          {.name = "factory-02", .site = "factory-02", .capacity_type = "owned"}};
}

Task<Status> apply_lab_cluster(CallServer call) {
  NEAP_CO_TRY(auto documents, api::parse_yaml(kLabDocuments));
  for (auto& document : documents) NEAP_CO_TRY_VOID(co_await create(call, std::move(document)));
  for (const auto& row : kLinks) NEAP_CO_TRY_VOID(co_await create(call, link_document(row)));
  co_return ok();
}

}  // namespace neap::app
