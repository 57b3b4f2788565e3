// spec.prices, spec.egress and spec.nodes of a scenario.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "internal/scenario_reader.h"
#include "neap/api/codec.h"
#include "neap/simulation/csv.h"
#include "neap/simulation/price_catalogue.h"
#include "neap/simulation/spot_trace.h"

namespace neap::simulation {
namespace {

using policy::CapacityType;
constexpr std::array kCapacityTypes{CapacityType::kOwned, CapacityType::kReserved, CapacityType::kOnDemand,
                                    CapacityType::kSpot};

finops::CapacityType to_finops(CapacityType type) {
  return finops::parse_capacity_type(policy::capacity_type_name(type)).value_or(finops::CapacityType::kOwned);
}

// A book names sites of its own; those that this scenario has are taken over.
Status take_book(ScenarioReading& reading, const std::string& path) {
  NEAP_TRY(const auto text, reading.read_file(path));
  const auto documents = api::parse_yaml(text);
  if (!documents) return fail(documents.error(), path);
  if (documents->size() != 1)
    return fail(Code::kInvalidArgument, "simulation.scenario",
                fmt::format("{}: is not one price book", path));
  const auto book = finops::parse_price_book(documents->front());
  if (!book) return fail(book.error(), path);
  if (book->currency() != reading.out.prices.currency())
    return fail(Code::kInvalidArgument, "simulation.scenario",
                fmt::format("{}: is in {} and the sites are in {}; write both in one currency", path,
                            book->currency(), reading.out.prices.currency()));
  for (const auto& site : reading.out.sites) {
    for (const auto type : kCapacityTypes)
      if (const auto* rates = book->find_rates(site.name, to_finops(type)))
        reading.out.prices.set_rates(site.name, to_finops(type), *rates);
    for (const auto& to : reading.out.sites)
      if (const auto price = book->find_egress(site.name, to.name); price && site.name != to.name)
        reading.out.prices.set_egress(site.name, to.name, *price);
  }
  return ok();
}

Status take_catalogue(ScenarioReading& reading, Fields& entry) {
  auto csv = entry.object("csv");
  csv.choice("format", {"skypilot"});
  const auto path = csv.required_text("path");
  csv.finish();
  CatalogueChoice choice{.region = entry.required_text("region"), .zone = entry.text("zone"), .models = {}};
  const auto site = entry.required_text("site");
  if (!reading.find_site(site)) entry.refuse("site", fmt::format("\"{}\" is no Site of this file", site));
  for (auto& [theirs, ours] : entry.entries("models", 200)) choice.models[theirs] = ours;
  NEAP_TRY_VOID(reading.problems.status());
  NEAP_TRY(const auto text, reading.read_file(path));
  NEAP_TRY(auto rates, read_catalogue(text, path, choice));
  if (!rates.on_demand.per_accelerator_hour.empty() || rates.on_demand.per_core_hour.value > 0)
    reading.out.prices.set_rates(site, finops::CapacityType::kOnDemand, std::move(rates.on_demand));
  if (!rates.spot.per_accelerator_hour.empty() || rates.spot.per_core_hour.value > 0)
    reading.out.prices.set_rates(site, finops::CapacityType::kSpot, std::move(rates.spot));
  return ok();
}

Status take_egress(ScenarioReading& reading, Fields egress) {
  if (!egress.is_present()) return ok();
  const auto path = egress.required_text("path");
  const auto names = egress.entries("sites", 1000);
  for (const auto& [site, theirs] : names)
    if (!reading.find_site(site)) egress.refuse("sites", fmt::format("\"{}\" is no Site of this file", site));
  egress.finish();
  NEAP_TRY_VOID(reading.problems.status());
  NEAP_TRY(const auto text, reading.read_file(path));
  NEAP_TRY(const auto table, CsvTable::parse(text, path, 1'000'000));
  NEAP_TRY(const auto from, table.column("src"));
  NEAP_TRY(const auto to, table.column("dest"));
  NEAP_TRY(const auto cost, table.column("cost"));
  std::map<std::pair<std::string_view, std::string_view>, MoneyMicros> per_gb;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    NEAP_TRY(const auto price, table.number(row, cost));
    if (price < 0 || price > 1e6)
      return fail(Code::kInvalidArgument, "simulation.csv",
                  fmt::format("{}:{}: cost is {}; a price a GB of 0 or more is expected", path,
                              table.line(row), price));
    per_gb[{table.text(row, from), table.text(row, to)}] = {std::llround(price * 1e6)};
  }
  for (const auto& [site, theirs] : names)
    for (const auto& [other, theirs_too] : names) {
      if (site == other) continue;
      const auto found = per_gb.find({theirs, theirs_too});
      if (found == per_gb.end() && theirs != theirs_too)
        return fail(
            Code::kNotFound, "simulation.scenario",
            fmt::format("{}: has no row from {} to {}; correct spec.egress.sites", path, theirs, theirs_too));
      reading.out.prices.set_egress(site, other, found == per_gb.end() ? MoneyMicros{} : found->second);
    }
  return ok();
}

Status read_spot(ScenarioReading& reading, Fields spot, PoolTerms& pool) {
  if (!spot.is_present()) return ok();
  if (pool.capacity_type != CapacityType::kSpot)
    reading.problems.add(spot.path(), "is for capacityType spot; change one of the two");
  pool.reclaims_per_hour = spot.number("reclaimsPerHour", 0, 0, 60);
  pool.absence_ms = spot.milliseconds("absence", 30 * 60'000);
  pool.notice_ms = spot.milliseconds("notice", 0);
  const auto path = spot.text("trace", {}, 4096);
  const auto zone = spot.text("zone");
  const auto window = spot.integer("window", -1, 0, 1'000'000);
  if (pool.absence_ms <= 0) spot.refuse("absence", "is 0; write how long capacity stays away");
  spot.finish();
  NEAP_TRY_VOID(reading.problems.status());
  if (path.empty()) return ok();
  NEAP_TRY(const auto text, reading.read_file(path));
  SpotTraceOptions options{.zones = {}, .pins_zones = true};
  if (!zone.empty()) options.zones.push_back(zone);
  NEAP_TRY(const auto windows, parse_spot_windows(text, path, options));
  for (std::size_t i = 0; i < windows.size(); ++i) {
    if (window >= 0 && std::size_t(window) != i) continue;
    if (pool.trace_tick_ms > 0 && windows[i].tick_s * 1000 != pool.trace_tick_ms)
      return fail(Code::kInvalidArgument, "simulation.scenario",
                  fmt::format("{}: has windows of different ticks; name a zone or a window", path));
    pool.trace_tick_ms = windows[i].tick_s * 1000;
    const auto& bits = windows[i].zones.front().available;
    pool.trace.insert(pool.trace.end(), bits.begin(), bits.end());
  }
  if (pool.trace.empty())
    spot.refuse("window", fmt::format("is {}; there are {} windows", window, windows.size()));
  return ok();
}

Status add_openb_nodes(ScenarioReading& reading, const std::string& path, const std::string& prefix,
                       const scheduler::Node& common, std::uint32_t pool) {
  NEAP_TRY(const auto text, reading.read_file(path));
  NEAP_TRY(const auto table, CsvTable::parse(text, path, reading.limits.nodes_max));
  NEAP_TRY(const auto cpu, table.column("cpu_milli"));
  NEAP_TRY(const auto memory, table.column("memory_mib"));
  NEAP_TRY(const auto gpu, table.column("gpu"));
  NEAP_TRY(const auto model, table.column("model"));
  for (std::size_t row = 0; row < table.rows(); ++row) {
    auto node = common;
    NEAP_TRY(const auto cores, table.integer(row, cpu));
    NEAP_TRY(const auto mib, table.integer(row, memory));
    NEAP_TRY(const auto devices, table.integer(row, gpu));
    if (cores < 0 || cores > 1'000'000'000 || mib < 0 || mib > (std::int64_t(1) << 33) || devices < 0 ||
        devices > 64)
      return fail(Code::kInvalidArgument, "simulation.csv",
                  fmt::format("{}:{}: no machine has {} thousandths of cores, {} MiB and {} accelerators; "
                              "correct the row (at most 64 accelerators)",
                              path, table.line(row), cores, mib, devices));
    node.name = fmt::format("{}-{:05}", prefix, row);
    node.cores_allocatable = {cores};
    node.memory_allocatable = {mib << 20};
    node.accelerator_model = devices > 0 ? std::string(table.text(row, model)) : std::string();
    node.devices_free.assign(std::size_t(devices), 1000);
    reading.out.nodes.push_back({std::move(node), pool});
  }
  return ok();
}

Status read_pool(ScenarioReading& reading, Fields& entry) {
  PoolTerms pool;
  pool.name = entry.required_text("name");
  scheduler::Node node;
  node.site = entry.required_text("site");
  static const std::vector<std::string_view> kTypes{"owned", "reserved", "on-demand", "spot"};
  pool.capacity_type = node.capacity_type = CapacityType(entry.choice("capacityType", kTypes));
  for (auto& label : entry.entries("labels", 64)) node.labels.push_back(std::move(label));
  for (auto& key : entry.texts("taints", 64))
    node.taints.push_back({.key = std::move(key), .value = {}, .is_hard = true});
  node.topology = scheduler::topology_of(node.labels);
  pool.startup_ms = entry.milliseconds("startup", 0);
  auto hardware = entry.object("hardware");
  pool.hardware_price = hardware.money("price");
  pool.hardware_years = hardware.number("years", 4, 0.1, 50);
  pool.operation_per_year = hardware.money("operationPerYear");
  if (hardware.is_present() && pool.capacity_type != CapacityType::kOwned)
    hardware.refuse("price", "is for capacityType owned; rented capacity is paid by the hour");
  hardware.finish();
  auto failures = entry.object("failures");
  pool.mtbf_ms = failures.milliseconds("mtbf", 0);
  pool.repair_ms = failures.milliseconds("repair", 4 * kHourMs);
  if (failures.is_present() && pool.mtbf_ms <= 0)
    failures.refuse("mtbf", "is missing; write the mean time between failures");
  failures.finish();
  NEAP_TRY_VOID(read_spot(reading, entry.object("spot"), pool));
  const auto index = std::uint32_t(reading.out.pools.size());
  auto csv = entry.object("csv");
  if (csv.is_present()) {
    csv.choice("format", {"openb"});
    const auto path = csv.required_text("path");
    csv.finish();
    NEAP_TRY_VOID(reading.problems.status());
    NEAP_TRY_VOID(add_openb_nodes(reading, path, pool.name, node, index));
  } else {
    const auto count = entry.integer("count", 1, 1, std::int64_t(reading.limits.nodes_max));
    node.cores_allocatable = entry.cores("cpu");
    node.memory_allocatable = entry.bytes("memory");
    for (const auto& [model, amount] : entry.entries("accelerators", 1)) {
      const auto devices = parse_accelerators(amount);
      if (!devices || devices->value % 1000 != 0 || devices->value > 64'000)
        entry.refuse("accelerators", fmt::format("is \"{}\"; write a whole number up to 64", amount));
      else
        node.devices_free.assign(std::size_t(devices->value / 1000), 1000);
      node.accelerator_model = model;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      node.name = fmt::format("{}-{:05}", pool.name, i);
      reading.out.nodes.push_back({node, index});
    }
  }
  entry.finish();
  if (reading.out.nodes.size() > reading.limits.nodes_max)
    entry.refuse("count", fmt::format("makes more than {} nodes; simulate fewer", reading.limits.nodes_max));
  reading.out.pools.push_back(std::move(pool));
  return reading.problems.status();
}

// Whoever rents pays: what is bought must have a price. Own nodes without one cost their hardware alone.
Status settle_pools(ScenarioReading& reading) {
  std::set<std::string_view> names;
  for (auto& [node, index] : reading.out.nodes) {
    auto& pool = reading.out.pools[index];
    const auto* site = reading.find_site(node.site);
    if (!names.insert(node.name).second)
      reading.problems.add("spec.nodes",
                           fmt::format("name node {} twice; give each entry another name", node.name));
    if (!site) {
      reading.problems.add("spec.nodes",
                           fmt::format("name site \"{}\" for {}, which is no Site of this file; add "
                                       "the Site document",
                                       node.site, pool.name));
      break;
    }
    pool.tier = site->tier;
    if (const auto* rates = reading.out.prices.find_rates(node.site, to_finops(pool.capacity_type))) {
      if (node.accelerator_model.empty() || rates->per_accelerator_hour.contains(node.accelerator_model))
        continue;
      reading.problems.add(
          "spec.nodes",
          fmt::format("have {} as {} capacity at {}, which has no price for it; write it in the "
                      "Site's prices, or in spec.prices",
                      node.accelerator_model, policy::capacity_type_name(pool.capacity_type), node.site));
      break;
    }
    if (pool.capacity_type != CapacityType::kOwned) {
      reading.problems.add("spec.nodes",
                           fmt::format("have {} capacity at {}, which has no price; write it in the "
                                       "Site's prices, or in spec.prices",
                                       policy::capacity_type_name(pool.capacity_type), node.site));
      break;
    }
    finops::Rates rates;
    for (const auto& other : reading.out.nodes)
      if (other.node.site == node.site && !other.node.accelerator_model.empty())
        rates.per_accelerator_hour[other.node.accelerator_model] = {};
    reading.out.prices.set_rates(node.site, finops::CapacityType::kOwned, std::move(rates));
  }
  return reading.problems.status();
}

}  // namespace

Status read_prices(ScenarioReading& reading, Fields& spec) {
  for (auto& entry : spec.objects("prices", 100)) {
    if (entry.has("book")) {
      const auto path = entry.required_text("book");
      entry.finish();
      NEAP_TRY_VOID(reading.problems.status());
      NEAP_TRY_VOID(take_book(reading, path));
      continue;
    }
    NEAP_TRY_VOID(take_catalogue(reading, entry));
    entry.finish();
  }
  return take_egress(reading, spec.object("egress"));
}

Status read_nodes(ScenarioReading& reading, Fields& spec) {
  for (auto& entry : spec.objects("nodes", reading.limits.pools_max))
    NEAP_TRY_VOID(read_pool(reading, entry));
  NEAP_TRY_VOID(reading.problems.status());
  return settle_pools(reading);
}

}  // namespace neap::simulation
