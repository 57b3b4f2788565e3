// Replay: one run of `simulate run`, event by event. What of it belongs together stands in replay*.cc.
//
// Threads: none; one run.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <tuple>

#include "internal/run_money.h"
#include "internal/run_queues.h"
#include "internal/run_state.h"
#include "internal/run_world.h"
#include "internal/series.h"
#include "internal/variates.h"
#include "neap/scheduler/burst.h"
#include "neap/scheduler/scheduler.h"
#include "neap/simulation/run.h"

namespace neap::simulation {

inline constexpr std::int64_t kIdleDaysMax = 62;  // a budget's next month is within it
inline constexpr std::size_t kTimelineJobs = 120, kTimelineSegments = 2000, kWaitingListed = 1000;
inline constexpr std::size_t kBatch = 32, kHomecomingsTried = 8;

class Replay {
 public:
  explicit Replay(const Scenario& scenario)
      : scenario_(scenario),
        world_(scenario),
        queues_(scenario),
        money_(scenario.prices, scenario.sites),
        draw_(scenario.seed * 2 + 1) {
    // Who has no node of their own there does not wait for one.
    std::set<std::string> own;
    for (const auto& [node, pool] : scenario.nodes)
      if (scenario.pools[pool].tier != scheduler::Tier::kPublic) own.insert(node.site);
    own_sites_.assign(own.begin(), own.end());
    has_public_ =
        std::ranges::any_of(scenario.pools, [](const auto& p) { return p.tier == scheduler::Tier::kPublic; });
    has_priorities_ = std::ranges::any_of(scenario.workloads, [&](const WorkloadTerms& terms) {
      return terms.request.priority != scenario.workloads.front().request.priority;
    });
    for (const auto& budget : scenario.budgets) money_.watch(budget.project);
    options_.suggestions_max = 0;
    options_.seed = scenario.seed;
  }

  Result<RunReport> run();

 private:
  enum Kind : std::uint8_t { kEnd, kUp, kDown, kNotice, kDemand, kBill, kWake };
  struct Event {
    std::int64_t at_ms = 0;
    Kind kind = kEnd;
    std::uint32_t index = 0, stamp = 0;
    auto order() const { return std::tuple(at_ms, kind, index, stamp); }
    friend bool operator>(const Event& a, const Event& b) { return a.order() > b.order(); }
  };

  WallTime wall() const { return scenario_.start + std::chrono::milliseconds(now_ms_); }
  void post(std::int64_t at_ms, Kind kind, std::uint32_t index, std::uint32_t stamp = 0) {
    events_.push({at_ms, kind, index, stamp});
  }

  // ---- what happens when
  void schedule_first_events();

  void post_reclaim(std::uint32_t node);

  // The next change of a recorded availability; ticks beyond its end begin again.
  void post_trace_flip(std::uint32_t node);

  std::optional<std::int64_t> next_time() const;
  // Nothing runs, nobody comes, and what waits has been refused for so long that no event will change it.
  bool waits_for_nothing(std::int64_t next_ms) const;

  void advance(std::int64_t to_ms);

  Status handle_events();

  Status count_event();

  Status handle(const Event& event);

  // ---- nodes come and go
  void set_away(std::uint32_t node, bool is_away);
  Status bring_up(std::uint32_t node, std::uint32_t why);
  Status take_down(std::uint32_t node, std::uint32_t why);

  // ---- work
  const WorkloadTerms& terms_of(const Work& work) const { return scenario_.workloads[work.workload]; }

  std::uint32_t add_work(Work work) {
    works_.push_back(std::move(work));
    return std::uint32_t(works_.size() - 1);
  }
  void enqueue(std::uint32_t index);
  using QueueKey = std::tuple<std::int64_t, std::int64_t, std::uint32_t>;
  QueueKey key_of(std::uint32_t index) const {
    return {-std::int64_t(terms_of(works_[index]).request.priority), works_[index].arrival_ms, index};
  }
  // Waiting for own capacity is paid in time what renting would cost in money; services do not wait.
  std::int64_t burst_wait_ms(const Work& work) const;

  scheduler::Request request_of(const Work& work, bool own_only) const;

  // ---- placing
  // A request that was refused is refused again in this pass if it looks the same: room only shrinks within
  // it. How long it runs and until when count only where that was among the reasons.
  std::string shape_of(const Work& work, bool own_only) const;
  Status place_waiting();
  // No more waiting: it starts, or is not wanted any longer.
  void unqueue(std::uint32_t index);

  // ---- queues, where the scenario has some
  struct QueueWorld;
  Status place_in_queues();
  scheduler::RoundInput round_of(const std::vector<std::uint32_t>& waiting);
  scheduler::HeldWork held_work(std::uint32_t index) const;
  Status take_turn(std::uint32_t index, const scheduler::Turn& turn);
  // A replica above its service's least, the oldest counted first.
  bool is_spare(std::uint32_t index) const;
  bool may_give_back(std::uint32_t index) const;

  void show_project(const std::string& project);

  // As the server counts: billed, and what runs at its price for the time it still needs.
  scheduler::ProjectBudget state_of(const finops::Budget& budget) const;

  // Decides for works of one project and starts what was placed.
  Result<scheduler::Plan> decide(const std::vector<std::uint32_t>& batch);

  Status start(std::uint32_t index, const scheduler::Request& request, const scheduler::Decision& decision,
               std::int64_t move_ms);

  // Inputs travel where they are not; a checkpoint travels with a job that changes its site.
  Result<std::int64_t> bring_data(Work& work, const scheduler::Decision& decision, const std::string& from);

  Status bill(Work& work);

  // Off its nodes, billed; the caller says what becomes of it.
  Status leave(std::uint32_t index, std::string_view why);

  void note_segment(const Work& work, std::string_view why);

  Status end_job(std::uint32_t index);

  // Back to the queue with what was saved.
  Status interrupt(std::uint32_t index, bool saves_all, std::string_view why);

  // Work done by now, and what of it an interruption without warning leaves.
  std::int64_t reached_of(const Work& work) const;
  std::int64_t kept_of(const Work& work) const;

  // ---- making room
  // Whether something runs that one of these could end.
  bool may_end_others(const std::vector<std::uint32_t>& batch) const;
  // What runs, as the server shows it to the engine. Of services only what queues lend falls.
  std::vector<scheduler::RunningGang> running_gangs() const;
  // Ends the victims, who lose what their checkpoints do not hold, and starts the request in their place.
  Status make_room(std::uint32_t index, const scheduler::Request& request,
                   const scheduler::Decision& decision);

  // ---- services
  Status follow_demand(std::uint32_t index, std::uint32_t interval);

  // ---- running work that comes home
  Status bring_home();

  // A move makes the next one dearer, so the order is asked again after each.
  Result<bool> bring_one_home();

  Result<bool> try_home(std::uint32_t index);

  // ---- the end
  Result<RunReport> finish();

  Status count_job(const Work& work, std::vector<double>& waits);

  // Own machines cost their share of the time they are written off over, whether they work or not.
  Status count_ownership(OwnershipReport& out) const;

  static constexpr std::uint32_t kFailure = 0, kReclaim = 1;

  const Scenario& scenario_;
  RunWorld world_;
  RunQueues queues_;
  RunMoney money_;
  Draw draw_;
  SeriesRecorder series_;
  RunReport report_;
  scheduler::Options options_;
  std::vector<std::string> own_sites_;
  bool has_public_ = false;
  std::string shown_project_ = "\n";  // no project's name

  std::int64_t now_ms_ = 0, last_progress_ms_ = 0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::size_t arrived_ = 0, demands_left_ = 0;
  std::vector<Work> works_;
  std::set<QueueKey> queue_;
  std::vector<std::uint32_t> fresh_;  // waiting and not decided about yet
  std::set<std::uint32_t> running_set_;
  std::map<std::uint32_t, std::set<std::uint32_t>> on_node_;
  std::map<std::uint32_t, int> away_;                 // 1: failed, 2: reclaimed
  std::map<std::uint32_t, std::int64_t> noticed_ms_;  // reclaim announced
  std::vector<ServiceState> services_;
  scheduler::DriftDelay drift_delay_;
  std::int64_t running_ = 0, jobs_waiting_ = 0, replicas_wanted_ = 0, replicas_running_ = 0;
  bool has_priorities_ = false;  // not all work is equal
  bool everything_may_fit_ = false, room_came_ = false, made_room_ = false;
};

}  // namespace neap::simulation
