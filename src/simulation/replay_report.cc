// What is said of a run at its end.
#include "internal/replay.h"

namespace neap::simulation {

Result<RunReport> Replay::finish() {
  for (const auto index : std::vector(running_set_.begin(), running_set_.end())) {
    NEAP_TRY_VOID(bill(works_[index]));
    note_segment(works_[index], "running");
  }
  auto& out = report_;
  out.name = scenario_.name;
  out.seed = scenario_.seed;
  out.start = scenario_.start;
  out.simulated_h = double(now_ms_) / double(kHourMs);
  std::vector<double> waits;
  for (const auto& work : works_)
    if (!work.is_service()) NEAP_TRY_VOID(count_job(work, waits));
  out.arrived = arrived_;
  out.wait_s = spread_of(std::move(waits));
  out.jct_s = spread_of(out.jct_sorted_s);
  std::ranges::sort(out.jct_sorted_s);
  world_.report(out);
  if (queues_.are_used()) queues_.report(out);
  NEAP_TRY_VOID(money_.report(out.cost, out.ownership));
  NEAP_TRY_VOID(count_ownership(out.ownership));
  for (std::size_t i = 0; i < services_.size(); ++i) {
    const auto& service = scenario_.services[i];
    out.services.push_back({.name = scenario_.workloads[service.workload].name,
                            .requests = service.requests,
                            .wanted_h = services_[i].wanted_ms / double(kHourMs),
                            .short_h = services_[i].short_ms / double(kHourMs),
                            .replicas_max = service.wanted.empty() ? 0 : std::ranges::max(service.wanted)});
  }
  out.series = series_.points();
  return std::move(report_);
}

Status Replay::count_job(const Work& work, std::vector<double>& waits) {
  auto& out = report_;
  if (work.deadline_ms >= 0) ++out.with_deadline;
  const bool has_ended = work.state == Work::State::kEnded;
  if (work.deadline_ms >= 0 && (has_ended ? work.end_ms : now_ms_) > work.deadline_ms) ++out.late;
  const auto waited_ms =
      work.waited_ms + (work.state == Work::State::kWaiting ? now_ms_ - work.waiting_since_ms : 0);
  waits.push_back(double(waited_ms) / 1000);
  if (queues_.are_used())
    queues_.count_wait(terms_of(work).request.queue, waits.back(), work.state == Work::State::kWaiting);
  if (has_ended) {
    ++out.ended;
    out.jct_sorted_s.push_back(double(work.end_ms - work.arrival_ms) / 1000);
    return ok();
  }
  if (work.state == Work::State::kRunning) {
    ++out.running;
    return ok();
  }
  ++out.waiting;
  if (work.reason.empty())
    return fail(
        Code::kInternal, "simulation.invariant",
        fmt::format("job {} waits without a reason; this is a defect: report the scenario", work.name));
  if (out.waiting_jobs.size() < kWaitingListed)
    out.waiting_jobs.push_back(
        {work.name, terms_of(work).request.project, work.reason, double(waited_ms) / 1000});
  return ok();
}

Status Replay::count_ownership(OwnershipReport& out) const {
  constexpr double kYearMs = 365.25 * 24 * double(kHourMs);
  double hardware = 0, operation = 0, invested = 0;
  for (const auto& [node, index] : scenario_.nodes) {
    const auto& pool = scenario_.pools[index];
    const double years = double(now_ms_) / kYearMs;
    invested += double(pool.hardware_price.value);
    if (pool.hardware_years > 0) hardware += double(pool.hardware_price.value) * years / pool.hardware_years;
    operation += double(pool.operation_per_year.value) * years;
  }
  if (hardware + operation + invested > 4e18)
    return fail(Code::kOutOfRange, "price.overflow",
                "the price of the hardware does not fit; correct spec.nodes");
  out.hardware = {std::llround(hardware)};
  out.operation = {std::llround(operation)};
  out.invested = {std::llround(invested)};
  out.total = out.rented + out.egress + out.hardware + out.operation;
  return ok();
}

Spread spread_of(std::vector<double> values) {
  Spread out;
  out.count = values.size();
  if (values.empty()) return out;
  std::ranges::sort(values);
  for (const double value : values) out.mean += value;
  out.mean /= double(values.size());
  const auto at = [&](double q) {
    return values[std::min(values.size() - 1, std::size_t(q * double(values.size())))];
  };
  out.p50 = at(0.5);
  out.p99 = at(0.99);
  out.max = values.back();
  return out;
}

Result<RunReport> run_scenario(const Scenario& scenario) { return Replay(scenario).run(); }

}  // namespace neap::simulation
