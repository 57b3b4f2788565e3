// What a run remembers of each job, replica and service.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "internal/run_world.h"

namespace neap::simulation {

// A job, or one replica of a service.
struct Work {
  enum class State : std::uint8_t { kWaiting, kRunning, kMoving, kEnded };
  static constexpr std::uint32_t kNone = ~std::uint32_t(0);

  std::string name;
  std::uint32_t workload = 0, job = kNone, service = kNone;
  int replicas = 1;
  scheduler::ReplicaResources each;
  std::int64_t arrival_ms = 0, work_ms = 0, deadline_ms = -1;

  State state = State::kWaiting;
  std::uint32_t epoch = 0;
  std::int64_t saved_ms = 0;  // work that an interruption does not undo
  std::int64_t waiting_since_ms = 0, waited_ms = 0, own_until_ms = 0;
  std::int64_t kept_from_ms = -1;  // when a place was first promised from; -1: none was
  std::int64_t started_ms = 0, productive_ms = 0, billed_ms = 0, end_ms = 0;
  std::string site, reason;
  policy::CapacityType capacity_type = policy::CapacityType::kOwned;
  MoneyMicros hourly;
  std::vector<Held> held;
  std::vector<int> replica_of;      // parallel to `held`
  std::vector<std::string> copies;  // sites its inputs were brought to

  static Work of(const ScenarioJob& job, std::uint32_t index) {
    Work out;
    out.name = job.name;
    out.workload = job.workload;
    out.job = index;
    out.replicas = job.replicas;
    out.each = job.each;
    out.arrival_ms = job.arrival_ms;
    out.work_ms = job.work_ms;
    out.deadline_ms = job.deadline_ms;
    return out;
  }
  static Work of(const ScenarioService& service, std::uint32_t index, std::string name, std::int64_t now_ms) {
    Work out;
    out.name = std::move(name);
    out.workload = service.workload;
    out.service = index;
    out.each = service.each;
    out.arrival_ms = now_ms;
    return out;
  }

  bool is_service() const { return service != kNone; }
  bool is_running(std::uint32_t of_epoch) const { return state == State::kRunning && epoch == of_epoch; }
  std::string allocation(int replica) const { return name + "/" + std::to_string(replica); }
};

struct ServiceState {
  std::int32_t wanted = 0;
  std::int64_t made = 0, now_ms = 0;
  std::vector<std::uint32_t> running, waiting, spare;
  double wanted_ms = 0, short_ms = 0;

  // Time passes with the present numbers.
  void advance(std::int64_t to_ms) {
    const auto passed = double(to_ms - now_ms);
    now_ms = to_ms;
    wanted_ms += double(wanted) * passed;
    short_ms += double(std::max<std::int64_t>(0, wanted - std::int64_t(running.size()))) * passed;
  }
};

}  // namespace neap::simulation
