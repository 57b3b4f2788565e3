#include "internal/queueing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "internal/preemption.h"
#include "internal/replicas.h"
#include "neap/base/saturate.h"

namespace neap::controllers {
namespace {

using scheduler::Amounts;
using scheduler::ShareTree;
using scheduler::Turn;
using scheduler::WaitsFor;

// Beyond these a job is told a round place in its queue, so that not each start rewrites all that wait.
constexpr std::size_t kExactPositions = 10;

Amounts times(Amounts amounts, std::int64_t count) {
  for (auto& amount : amounts) amount = multiply_saturated(amount, count);
  return amounts;
}

const api::RunRecord* current_run(const api::TrainingJob& job) {
  for (const auto& run : job.status.runs)
    if (run.epoch == job.status.epoch) return &run;
  return nullptr;
}

// Absent where nobody knows. What earlier runs did is counted as done.
std::optional<WallTime> expected_end(const api::TrainingJob& job, WallTime now) {
  const auto* run = current_run(job);
  if (!run || !run->startedAt || job.spec.expectedDuration.count() <= 0) return std::nullopt;
  auto left = job.spec.expectedDuration;
  for (const auto& earlier : job.status.runs)
    if (earlier.startedAt && earlier.endedAt && earlier.reason != "Failed" && left > Duration::zero())
      left -= *earlier.endedAt - *earlier.startedAt;
  return scheduler::expected_end(*run->startedAt, std::max<Duration>(left, std::chrono::minutes(1)), now);
}

// Device seconds to be done again if it stopped now; sixteen cores count as a device.
double lost_work(const api::TrainingJob& job, WallTime now) {
  const auto* run = current_run(job);
  if (!run || !run->startedAt) return 0;
  double unsaved = 1;
  if (const auto done = double(run->lastStep) - double(run->firstStep) + 1; run->firstStep >= 0 && done > 0) {
    const auto saved = job.status.checkpoint.phase == "Durable" ? job.status.checkpoint.step : -1;
    unsaved =
        std::clamp((double(run->lastStep) - double(std::max(saved, run->firstStep - 1))) / done, 0.0, 1.0);
  }
  std::int64_t devices = 0;
  for (const auto& [model, amount] : job.spec.resources.accelerators) devices += amount.value;
  if (devices == 0) devices = job.spec.resources.cpu.value / 16;
  const auto seconds = std::chrono::duration<double>(std::max<Duration>(now - *run->startedAt, Duration{}));
  return seconds.count() * unsaved * double(devices) / 1000 * double(job.spec.replicas);
}

std::string position_text(std::size_t position) {
  if (position <= kExactPositions) return fmt::format("{}", position);
  std::size_t bound = kExactPositions;
  for (const auto step : {2, 5, 10}) {
    if (position <= bound * std::size_t(step))
      return fmt::format("among the first {}", bound * std::size_t(step));
    if (step == 10) return "after the first 100";
  }
  return {};
}

// Of the job, or of the replica's allocation.
struct Subject {
  ObjectKey key;
  bool is_replica = false;
};

// A gang while its members are read.
struct Gang {
  Amounts amounts;
  std::vector<scheduler::Release> parts;
  std::optional<WallTime> ends;
};

class World final : public scheduler::RoundWorld {
 public:
  explicit World(const Pass& pass) : pass_(pass), waiting_(waiting_owners(pass)) {}
  Result<scheduler::Snapshot> snapshot(const std::string& project) override {
    return snapshot_of(pass_, project, waiting_, true);
  }

 private:
  const Pass& pass_;
  Owners waiting_;
};

// Objects of the API to a round of the scheduler, and what it decided back.
class Round {
 public:
  explicit Round(const Pass& pass)
      : pass_(pass),
        now_(pass.wall()),
        holdings_(holdings_of(pass, waiting_owners(pass))),
        in_{.tree = share_tree(pass, holdings_),
            .rules = turn_rules(pass.state),
            .waiting = {},
            .running = {},
            .options = {}} {}
  QueueRound run();

 private:
  void read_running();
  void add_gang(const ObjectKey& key, const api::TrainingJob& job, Gang gang);
  void add_replica(const Holding& holding, const api::InferenceService& service,
                   const std::set<ObjectKey>& spare);
  void count_running(Subject subject, scheduler::HeldWork held);
  void read_waiting();
  void read_waiting_replicas();
  Placement refusal(const Turn& turn) const;
  void tell(const Turn& turn, const std::string& currency);
  void tell_waiting(const Turn& turn, Placement placement);
  void tell_queues(const ShareTree& tree);

  const Pass& pass_;
  WallTime now_;
  std::vector<Holding> holdings_;
  scheduler::RoundInput in_;
  std::vector<Subject> waiting_, running_;     // of in_.waiting, in_.running
  std::vector<scheduler::PendingWork> asked_;  // of in_.waiting, which the round takes
  QueueRound out_;
};

scheduler::Release part_of(const Holding& holding) {
  MilliAccelerators devices;
  for (const auto& [model, amount] : holding.resources->accelerators) devices += amount;
  return {.node = std::string(holding.node),
          .cores = holding.resources->cpu,
          .memory = holding.resources->memory,
          .accelerators = devices,
          .devices = {},
          .ends = {}};
}

void Round::count_running(Subject subject, scheduler::HeldWork held) {
  ++out_.queues[held.work.queue].running;
  held.work.id = subject.key.namespace_ + "/" + subject.key.name;
  in_.running.push_back(std::move(held));
  running_.push_back(std::move(subject));
}

void Round::add_gang(const ObjectKey& key, const api::TrainingJob& job, Gang gang) {
  const auto priority = priority_of(pass_.state, job.spec.priorityClass);
  count_running({key}, {.work = {.id = {},
                                 .queue = queue_of(pass_.state, job),
                                 .amounts = std::move(gang.amounts),
                                 .priority = priority.value,
                                 .lost = lost_work(job, now_),
                                 .may_end = priority.never_may_fall ||
                                            job.spec.interruption != api::InterruptionClass::kNever},
                        .parts = std::move(gang.parts),
                        .ends = gang.ends,
                        .is_stopping = job.status.phase == "Draining"});
}

// A replica can end alone, and nothing of what it did is done again.
void Round::add_replica(const Holding& holding, const api::InferenceService& service,
                        const std::set<ObjectKey>& spare) {
  const auto key = holding.allocation
                       ? key_of(*holding.allocation)
                       : ObjectKey{std::string(holding.project), std::string(holding.owner_name)};
  const auto priority = priority_of(pass_.state, service.spec.priorityClass);
  const bool may_end = holding.allocation && (priority.never_may_fall || spare.contains(key));
  count_running({key, true},
                {.work = {.id = {},
                          .queue = queue_of(pass_.state, service),
                          .amounts = amounts_of(in_.tree, *holding.resources),
                          .priority = priority.value,
                          .lost = 0,
                          .may_end = may_end},
                 .parts = {part_of(holding)},
                 .ends = {},
                 .is_stopping = holding.allocation && holding.allocation->spec.desired == "Stop"});
}

void Round::read_running() {
  std::map<ObjectKey, Gang> gangs;
  std::map<const api::InferenceService*, std::set<ObjectKey>> spare;
  for (const auto& holding : holdings_) {
    if (holding.is_nominated) continue;
    const ObjectKey key{std::string(holding.project), std::string(holding.owner_name)};
    if (holding.owner_kind == "InferenceService") {
      const auto* service = pass_.state.find<api::InferenceService>(key.namespace_, key.name);
      if (!service) continue;
      const auto [at, is_new] = spare.try_emplace(service);
      if (is_new) at->second = spare_replicas(pass_, *service);
      add_replica(holding, *service, at->second);
      continue;
    }
    const auto* job = holding.owner_kind == "TrainingJob"
                          ? pass_.state.find<api::TrainingJob>(key.namespace_, key.name)
                          : nullptr;
    if (!job) continue;
    auto part = part_of(holding);
    auto& gang = gangs[key];
    gang.ends = part.ends = expected_end(*job, now_);
    const auto more = amounts_of(in_.tree, *holding.resources);
    gang.amounts.resize(more.size(), 0);
    for (std::size_t axis = 0; axis < more.size(); ++axis)
      gang.amounts[axis] = add_saturated(gang.amounts[axis], more[axis]);
    gang.parts.push_back(std::move(part));
  }
  for (auto& [key, gang] : gangs)
    add_gang(key, *pass_.state.find<api::TrainingJob>(key.namespace_, key.name), std::move(gang));
}

void Round::read_waiting_replicas() {
  for (const auto& [service_key, service] : pass_.state.all<api::InferenceService>()) {
    const auto queue = queue_of(pass_.state, service);
    const bool may_fall = priority_of(pass_.state, service.spec.priorityClass).never_may_fall;
    std::map<const api::ServicePlace*, std::int64_t> standing_or_asked;
    for (const auto& replica : replicas_without_place(pass_, service)) {
      const ObjectKey key{service_key.namespace_, replica.name};
      auto& standing = out_.queues[queue];
      ++standing.waiting;
      auto request = replica_request(pass_, service, *replica.place, replica.index);
      if (!request) {
        Placement placement;
        placement.message = request.error().message;
        ++standing.waiting_for["other"];
        out_.replicas.emplace(key, std::move(placement));
        continue;
      }
      request->id = key.namespace_ + "/" + key.name;
      // Those that a lender could not get back start as of right.
      const auto [count, is_new] = standing_or_asked.try_emplace(replica.place);
      if (is_new) count->second = replicas_at(pass_, service, *replica.place);
      const bool is_spare = count->second++ >= least_replicas(*replica.place);
      scheduler::PendingWork work{.id = request->id,
                                  .queue = queue,
                                  .amounts = amounts_of(in_.tree, service.spec.resources),
                                  .priority = request->priority,
                                  .since = waiting_since(pass_, service),
                                  .may_borrow = may_fall || is_spare};
      in_.waiting.push_back(
          {.work = std::move(work), .request = *std::move(request), .shape = {}, .is_replica = true});
      waiting_.push_back({key, true});
    }
  }
}

void Round::read_waiting() {
  for (const auto& [key, job] : pass_.state.all<api::TrainingJob>()) {
    if (!asks_for_place(pass_, job) || nomination_of(job)) continue;
    const auto queue = queue_of(pass_.state, job);
    auto& standing = out_.queues[queue];
    ++standing.waiting;
    const auto inputs = resolve_inputs(pass_, job);
    auto request = inputs ? job_request(pass_, job, *inputs)
                          : Result<scheduler::Request>(
                                fail(inputs.error().code, inputs.error().reason, inputs.error().message));
    if (!request) {
      Placement placement;
      placement.message = request.error().message;
      placement.explanation = job.status.explanation;
      ++standing.waiting_for["other"];
      out_.placements.emplace(key, std::move(placement));
      continue;
    }
    request->id = key.namespace_ + "/" + key.name;
    scheduler::PendingWork work{.id = request->id,
                                .queue = queue,
                                .amounts = times(amounts_of(in_.tree, job.spec.resources), job.spec.replicas),
                                .priority = request->priority,
                                .since = waiting_since(job),
                                .may_borrow = job.spec.interruption != api::InterruptionClass::kNever};
    in_.waiting.push_back({.work = std::move(work), .request = *std::move(request), .shape = {}});
    waiting_.push_back({key});
  }
}

Placement Round::refusal(const Turn& turn) const {
  Placement out;
  out.message = turn.sentence;
  if (!turn.code.empty())
    out.explanation = JsonObject{{"request", asked_[turn.index].id},
                                 {"placed", false},
                                 {"pending", JsonObject{{"code", turn.code}, {"message", turn.sentence}}}};
  if (!turn.suggestion.empty())
    out.explanation.as_object()["wouldFit"] =
        JsonArray{JsonObject{{"kind", "raise-queue"}, {"message", turn.suggestion}}};
  return out;
}

void Round::tell_waiting(const Turn& turn, Placement placement) {
  const auto& work = asked_[turn.index];
  const auto what = scheduler::waits_for_name(turn.waits_for);
  auto& standing = out_.queues[work.queue];
  ++standing.waiting_for[std::string(what)];
  if (turn.position > 0 && standing.next.empty()) standing.next = work.id;
  if (turn.reserved_from && !standing.reserved_from) standing.reserved_from = turn.reserved_from;
  if (!turn.makes_room) placement.victims.clear();
  if (!turn.note.empty()) placement.message += "; " + turn.note;
  if (!placement.explanation.is_object()) placement.explanation = JsonObject{};
  if (!work.queue.empty()) {
    JsonObject queue{{"name", work.queue}, {"waitsFor", boost::json::string_view(what.data(), what.size())}};
    if (turn.position > 0) queue["position"] = position_text(turn.position);
    if (!turn.note.empty()) queue["note"] = turn.note;
    placement.explanation.as_object()["queue"] = std::move(queue);
  }
  const auto& [key, is_replica] = waiting_[turn.index];
  (is_replica ? out_.replicas : out_.placements).insert_or_assign(key, std::move(placement));
}

void Round::tell(const Turn& turn, const std::string& currency) {
  auto placement = turn.decision ? placement_of(*turn.decision, currency) : refusal(turn);
  if (turn.waits_for != WaitsFor::kNothing) return tell_waiting(turn, std::move(placement));
  const auto& name = asked_[turn.index].queue;
  ++out_.queues[name].running;
  --out_.queues[name].waiting;
  if (!name.empty()) {
    JsonObject queue{{"name", name}};
    if (!turn.borrows.empty()) queue["borrows"] = turn.borrows;
    placement.explanation.as_object()["queue"] = std::move(queue);
  }
  const auto& [key, is_replica] = waiting_[turn.index];
  (is_replica ? out_.replicas : out_.placements).insert_or_assign(key, std::move(placement));
}

QueueRound Round::run() {
  read_running();
  read_waiting();
  read_waiting_replicas();
  in_.options.now = now_;
  in_.options.seed = pass_.options.seed;
  in_.explained_nodes_max = 100;
  for (const auto& waiting : in_.waiting) asked_.push_back(waiting.work);
  World world(pass_);
  const auto round = scheduler::run_round(std::move(in_), world);
  for (const auto& turn : round.turns) tell(turn, round.currency);
  for (const auto& back : round.given_back) {
    const auto& [key, is_replica] = running_[back.running];
    (is_replica ? out_.reclaimed_replicas : out_.reclaimed).emplace(key, back.sentence);
  }
  // A round is one step of the process: what it decides is bounded, and the rest waits for the next one.
  if (round.cut_at && pass_.agenda && round.starts > 0)
    pass_.agenda->look_again(waiting_[*round.cut_at].key, pass_.now() + pass_.options.settle);
  tell_queues(round.tree);
  out_.is_made = true;
  return std::move(out_);
}

void Round::tell_queues(const ShareTree& tree) {
  const auto models = models_named(pass_.state);
  for (const auto& [key, queue] : pass_.state.all<api::Queue>()) {
    auto& standing = out_.queues[key.name];
    standing.problem = tree.problem(key.name);
    standing.used = to_quota(tree.used(key.name), models);
    standing.borrowed = to_quota(tree.borrowed(key.name), models);
    standing.share_percent = std::round(tree.dominant_share(key.name) * 1000) / 10;
  }
}

}  // namespace

QueueRound plan_queues(const Pass& pass) { return has_queues(pass.state) ? Round(pass).run() : QueueRound{}; }

}  // namespace neap::controllers
