// A scenario replayed through the engine that decides in production: arrivals, ends, demand, failures and
// reclaims are events; after each, scheduler::decide() places what waits. What did it cost, how long did
// people wait, what stood idle?
//
// Invariants, checked at every event; a breach ends the run with `simulation.invariant`: (1) nothing of a
// node is given twice; (2) every job has ended, runs, or waits with a reason; (3) every sum of cost parts is
// the total to the micro-unit; (4) money is only charged for what an allocation held or a transfer moved; (5)
// no queue holds more than its quota and what it may borrow. The same scenario gives the same report, byte
// for byte, on one machine.
//
// Model, where production has people or machines: a job's run time is its recorded work wherever it runs; an
// interrupted job loses what its last checkpoint does not hold; a service has the replicas its demand asks
// for. Threads: pure; runs may go side by side.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/result.h"
#include "neap/simulation/scenario.h"

namespace neap::simulation {

// Percentiles are element floor(q n) of the sorted values, from 0.
struct Spread {
  std::size_t count = 0;
  double mean = 0, p50 = 0, p99 = 0, max = 0;
};
Spread spread_of(std::vector<double> values);

struct CostReport {
  std::string currency;
  MoneyMicros total;
  // Each sums to `total`.
  std::map<std::string, MoneyMicros> by_project, by_team, by_site, by_capacity_type, by_kind;
  // Routes whose egress has no price; nothing was charged for them.
  std::vector<std::string> unpriced;
  // CO2 equivalent of what work held, at full power (see scheduler/carbon.h), where the site states the grams
  // of its kWh; and the sites that had work and state none.
  std::map<std::string, double> carbon_kg_by_site;
  std::vector<std::string> carbon_unknown;
};

// What the owner of the places pays: rented capacity and egress as billed, own hardware whether it is used or
// not. Own capacity's rates are internal and no part of it.
struct OwnershipReport {
  MoneyMicros rented, egress, hardware, operation, total;
  MoneyMicros invested;  // price of all own hardware
};

// Mean over the run, in thousandths of accelerators or of cores.
struct UseReport {
  double used = 0, capacity = 0;
  double share() const { return capacity > 0 ? used / capacity : 0; }
};

struct ServiceReport {
  std::string name;
  double requests = 0;
  double wanted_h = 0, short_h = 0;  // replica-hours asked for, and not running of them
  std::int32_t replicas_max = 0;
};

// Accelerator-hours and shares are of what it and the queues under it hold; jobs are those that wait in it.
struct QueueReport {
  std::string name, parent;  // name "": of work in no queue
  bool is_leaf = true;
  double share = 0;  // mean dominant share
  double accelerator_h = 0, borrowed_h = 0;
  std::int64_t placements = 0;
  std::int64_t borrowed = 0, backfilled = 0;  // of these: above its quota; before an earlier one that waits
  // Jobs that a place was kept for from a stated time on, and those of them that started later than first
  // told: because work took longer than stated, or others had a right before them.
  std::int64_t reserved = 0, reserved_late = 0;
  std::int64_t gave_back = 0, took_back = 0;  // ended for another's right; got what it had lent
  std::int64_t preempted = 0;                 // ended for a higher priority
  double lost_work_h = 0;
  Spread wait_s;
  std::size_t waiting = 0;  // at the end
};

struct WaitingJob {
  std::string name, project, reason;
  double waited_s = 0;
};

// Means over one bucket of time.
struct SeriesPoint {
  double at_h = 0;                                         // its begin
  double own_used = 0, own_capacity = 0, rented_used = 0;  // accelerators
  double waiting = 0;                                      // jobs
  double replicas_wanted = 0, replicas_running = 0;
};

struct TimelineSegment {
  std::string job, project, site, capacity_type;
  std::vector<std::string> nodes;  // of its members
  double from_h = 0, to_h = 0;
  std::string end;  // ended, running, reclaimed, failed, moved, preempted, gave back
};

struct RunReport {
  std::string name;
  std::string variant;
  std::uint64_t seed = 0;
  WallTime start{};
  double simulated_h = 0;
  std::size_t nodes = 0;
  double accelerators = 0;

  std::int64_t events = 0, decisions = 0, placements = 0;
  std::size_t arrived = 0, ended = 0, running = 0, waiting = 0;
  std::size_t with_deadline = 0, late = 0;
  std::int64_t moves = 0, preemptions = 0, reclaims = 0, failures = 0;  // interruptions of jobs
  double lost_work_h = 0;                                               // of jobs, done again
  Spread jct_s, wait_s;
  UseReport accelerators_own, accelerators_rented, cores_own;
  std::map<std::string, UseReport> accelerators_by_site;  // own and reserved
  double fragmentation = 0;  // share of the idle own accelerators that usual work could not use (FGD's F)
  CostReport cost;
  OwnershipReport ownership;
  std::vector<ServiceReport> services;
  // Empty without Queue documents. The three sums are over those with none under them.
  std::vector<QueueReport> queues;
  std::int64_t backfilled = 0, given_back = 0;
  double borrowed_h = 0;
  std::vector<WaitingJob> waiting_jobs;  // at the end; the first 1000 of `waiting`

  // For charts.
  std::vector<SeriesPoint> series;
  std::vector<TimelineSegment> timeline;  // of the first jobs
  std::vector<double> jct_sorted_s;
};

// Reasons: `simulation.events` where more events come than Scenario::events_max, `simulation.invariant`,
// `price.overflow`.
Result<RunReport> run_scenario(const Scenario& scenario);

Json to_json(const RunReport& report);

}  // namespace neap::simulation
