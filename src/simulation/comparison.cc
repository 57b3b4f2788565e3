#include "neap/simulation/comparison.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::simulation {
namespace {

constexpr double kHoursPerYear = 365.25 * 24;

struct Measure {
  const char *key, *name;
  double (*value)(const RunReport&);
  std::string (*text)(const RunReport&, double);
};

std::string plain(const RunReport&, double value) { return fmt::format("{:.0f}", value); }
std::string hours(const RunReport&, double value) { return fmt::format("{:.2f} h", value / 3600); }
std::string percent(const RunReport&, double value) { return fmt::format("{:.1f} %", 100 * value); }
std::string fraction(const RunReport&, double value) { return fmt::format("{:.2f}", value); }
std::string amount(const RunReport& run, double value) {
  return fmt::format("{:.2f} {}", value / 1e6, run.cost.currency);
}

double short_share(const RunReport& run) {
  double wanted = 0, missing = 0;
  for (const auto& service : run.services) {
    wanted += service.wanted_h;
    missing += service.short_h;
  }
  return wanted > 0 ? missing / wanted : 0;
}

constexpr Measure kMeasures[]{
    {"jobs_ended", "Jobs ended", [](const RunReport& r) { return double(r.ended); }, plain},
    {"jobs_waiting", "Jobs that wait at the end", [](const RunReport& r) { return double(r.waiting); },
     plain},
    {"late", "Late jobs", [](const RunReport& r) { return double(r.late); }, plain},
    {"jct_mean_s", "Completion time, mean", [](const RunReport& r) { return r.jct_s.mean; }, hours},
    {"jct_p50_s", "Completion time, p50", [](const RunReport& r) { return r.jct_s.p50; }, hours},
    {"jct_p99_s", "Completion time, p99", [](const RunReport& r) { return r.jct_s.p99; }, hours},
    {"wait_mean_s", "Waiting time, mean", [](const RunReport& r) { return r.wait_s.mean; }, hours},
    {"wait_p99_s", "Waiting time, p99", [](const RunReport& r) { return r.wait_s.p99; }, hours},
    {"utilisation", "Own accelerators in use", [](const RunReport& r) { return r.accelerators_own.share(); },
     percent},
    {"rented", "Accelerators rented, mean",
     [](const RunReport& r) { return r.accelerators_rented.used / 1000; }, fraction},
    {"fragmentation", "Idle and not usable for usual work",
     [](const RunReport& r) { return r.fragmentation; }, percent},
    {"service_short", "Replica-hours short", short_share, percent},
    {"moves", "Moves", [](const RunReport& r) { return double(r.moves); }, plain},
    {"preemptions", "Preemptions", [](const RunReport& r) { return double(r.preemptions); }, plain},
    {"reclaims", "Reclaims", [](const RunReport& r) { return double(r.reclaims); }, plain},
    {"failures", "Failures", [](const RunReport& r) { return double(r.failures); }, plain},
    {"given_back", "Jobs that gave back what was lent",
     [](const RunReport& r) { return double(r.given_back); }, plain},
    {"backfilled", "Jobs that passed one that waits", [](const RunReport& r) { return double(r.backfilled); },
     plain},
    {"borrowed_accelerator_hours", "Accelerator-hours borrowed",
     [](const RunReport& r) { return r.borrowed_h; }, fraction},
    {"lost_work_hours", "Work lost, hours", [](const RunReport& r) { return r.lost_work_h; }, fraction},
    {"cost_micros", "Cost at internal rates", [](const RunReport& r) { return double(r.cost.total.value); },
     amount},
    {"ownership_micros", "Cost of ownership",
     [](const RunReport& r) { return double(r.ownership.total.value); }, amount},
    {"rented_micros", "  rented", [](const RunReport& r) { return double(r.ownership.rented.value); },
     amount},
    {"egress_micros", "  egress", [](const RunReport& r) { return double(r.ownership.egress.value); },
     amount},
    {"hardware_micros", "  hardware written off",
     [](const RunReport& r) { return double(r.ownership.hardware.value); }, amount},
    {"operation_micros", "  operation",
     [](const RunReport& r) { return double(r.ownership.operation.value); }, amount},
};

}  // namespace

std::vector<ComparisonRow> compare_runs(std::span<const RunReport> runs) {
  std::vector<ComparisonRow> out;
  for (const auto& measure : kMeasures) {
    ComparisonRow row{.key = measure.key, .measure = measure.name, .values = {}, .texts = {}, .ratios = {}};
    for (const auto& run : runs) {
      const double value = measure.value(run);
      row.values.push_back(value);
      row.texts.push_back(measure.text(run, value));
      const double first = row.values.front();
      row.ratios.push_back(first != 0 ? std::optional(value / first) : std::nullopt);
    }
    out.push_back(std::move(row));
  }
  return out;
}

std::optional<double> payback_years(const RunReport& with, const RunReport& without) {
  const auto yearly = [](const RunReport& run) {
    const auto running = run.ownership.rented + run.ownership.egress + run.ownership.operation;
    return run.simulated_h > 0 ? double(running.value) / run.simulated_h * kHoursPerYear : 0;
  };
  const auto invested = double(with.ownership.invested.value - without.ownership.invested.value);
  const double saved = yearly(without) - yearly(with);
  if (invested <= 0 || saved <= 0) return std::nullopt;
  return invested / saved;
}

Json to_json(std::span<const RunReport> runs) {
  JsonArray all;
  for (const auto& run : runs) all.push_back(to_json(run));
  JsonObject ratios;
  for (const auto& row : compare_runs(runs)) {
    JsonArray list;
    for (const auto& ratio : row.ratios) list.push_back(ratio ? Json(*ratio) : Json(nullptr));
    ratios[row.key] = std::move(list);
  }
  JsonArray payback;
  const auto least =
      std::ranges::min_element(runs, {}, [](const RunReport& run) { return run.ownership.invested.value; });
  for (const auto& run : runs) {
    const auto years = payback_years(run, *least);
    payback.push_back(years ? Json(*years) : Json(nullptr));
  }
  JsonObject out;
  out["runs"] = std::move(all);
  out["ratios"] = std::move(ratios);
  out["payback_years"] = std::move(payback);
  return Json(std::move(out));
}

}  // namespace neap::simulation
