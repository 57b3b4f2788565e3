#include "internal/queueing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "internal/preemption.h"
#include "internal/replicas.h"
#include "neap/scheduler/backfill.h"

namespace neap::controllers {
namespace {

using scheduler::Admission;
using scheduler::Amounts;
using scheduler::ShareTree;

// So many that do not fit are tried in a queue before the rest of it waits for the next pass.
constexpr std::size_t kMissesMax = 100;
// A round is one step of the process: what it decides is bounded, and the rest waits for the next one.
constexpr std::size_t kDecisionsMax = 512;
// Beyond these a job is told a round place in its queue, so that not each start rewrites all that wait.
constexpr std::size_t kExactPositions = 10;
constexpr std::size_t kSuggestionsMax = 4;
// Victims that are asked, one by one, whether it goes without them.
constexpr std::size_t kSparedMax = 32;

Amounts times(Amounts amounts, std::int64_t count) {
  for (auto& amount : amounts) amount *= count;
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
    if (earlier.startedAt && earlier.endedAt && earlier.reason != "Failed")
      left -= *earlier.endedAt - *earlier.startedAt;
  return scheduler::expected_end(*run->startedAt, std::max<Duration>(left, std::chrono::minutes(1)), now);
}

// Device seconds to be done again if it stopped now; sixteen cores count as a device.
double lost_work(const api::TrainingJob& job, WallTime now) {
  const auto* run = current_run(job);
  if (!run || !run->startedAt) return 0;
  double unsaved = 1;
  if (const auto done = run->lastStep - run->firstStep + 1; run->firstStep >= 0 && done > 0) {
    const auto saved = job.status.checkpoint.phase == "Durable" ? job.status.checkpoint.step : -1;
    unsaved =
        std::clamp(double(run->lastStep - std::max(saved, run->firstStep - 1)) / double(done), 0.0, 1.0);
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

// A reservation of quota: the tree as it will be then, with the job in it.
struct QuotaHold {
  std::string job;
  ShareTree then;
  std::optional<WallTime> from;
};

struct Waiting {
  ObjectKey key;  // of the job, or of the replica's allocation
  bool is_replica = false;
  scheduler::Request request;
  std::string queue;
};

// A gang, or one replica of a service.
struct Running {
  ObjectKey key;
  bool is_replica = false, is_stopping = false;
  std::string queue;
  Amounts amounts;
  std::vector<scheduler::Release> parts;
  std::optional<WallTime> ends;
};

class Round {
 public:
  explicit Round(const Pass& pass)
      : pass_(pass),
        now_(pass.wall()),
        holdings_(holdings_of(pass, waiting_owners(pass))),
        tree_(share_tree(pass, holdings_)),
        after_reclaim_(tree_) {}
  QueueRound run();

 private:
  void read_running();
  void add_gang(const ObjectKey& key, const api::TrainingJob& job, Running gang);
  void add_replica(const Holding& holding, const api::InferenceService& service,
                   const std::set<ObjectKey>& spare);
  void count_running(Running running, scheduler::RunningWork work);
  void read_waiting();
  void read_waiting_replicas();
  std::map<ObjectKey, Placement>& placements_like(const Waiting& waiting) {
    return waiting.is_replica ? out_.replicas : out_.placements;
  }
  bool use_project(const std::string& project);
  void decide(std::size_t index, scheduler::AdmissionOrder& order);
  void start(std::size_t index, scheduler::AdmissionOrder& order, const scheduler::Decision& decision);
  void wait(std::size_t index, std::string_view reason, Placement placement, bool is_final,
            const std::string& note = {});
  // Null for a replica of a service.
  const api::TrainingJob* waiting_job(std::size_t index) const {
    const auto& waiting = waiting_[index];
    return waiting.is_replica ? nullptr
                              : pass_.state.find<api::TrainingJob>(waiting.key.namespace_, waiting.key.name);
  }
  void keep_models_with_quota(std::size_t index);
  void wait_for_quota(std::size_t index, const scheduler::AdmissionVerdict& verdict);
  const QuotaHold* find_hold_against(std::size_t index) const;
  std::string hold_quota(std::size_t index);
  bool is_stopping(std::size_t running) const { return running_[running].is_stopping; }
  bool fits_without(const std::vector<std::size_t>& victims, std::size_t index);
  std::string reclaim(std::size_t index);
  std::string end(const std::vector<std::size_t>& victims, std::size_t index);
  bool may_reserve(std::size_t index) const;
  Placement refusal(std::size_t index, std::string_view code, const std::string& sentence) const;
  void tell_queues();

  const Pass& pass_;
  WallTime now_;
  std::vector<Holding> holdings_;
  ShareTree tree_;
  // What is held once all that was told to stop has.
  ShareTree after_reclaim_;
  std::vector<Waiting> waiting_;
  std::vector<scheduler::PendingWork> pending_;  // same indices
  std::vector<Running> running_;
  std::vector<scheduler::RunningWork> works_;  // same indices
  std::optional<scheduler::BackfillBoard> board_;
  std::map<std::string, Result<scheduler::BackfillBoard::ProjectRules>> projects_;
  std::string project_;
  std::vector<QuotaHold> holds_;
  std::vector<std::size_t> promised_;                                  // waiting for what stops
  std::map<std::string, std::size_t, std::less<>> misses_, reserved_;  // by queue
  std::set<std::string, std::less<>> closed_;
  std::size_t suggestions_ = 0, decisions_ = 0, starts_ = 0;
  // Somebody borrows, or stops.
  bool may_reclaim_ = false;
  const scheduler::AdmissionOrder* order_ = nullptr;
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

void Round::count_running(Running running, scheduler::RunningWork work) {
  ++out_.queues[running.queue].running;
  may_reclaim_ = may_reclaim_ || running.is_stopping ||
                 std::ranges::any_of(tree_.borrowed(running.queue), [](auto amount) { return amount > 0; });
  if (running.is_stopping) after_reclaim_.release(running.queue, running.amounts);
  work.id = running.key.namespace_ + "/" + running.key.name;
  work.queue = running.queue;
  work.amounts = running.amounts;
  work.may_end = work.may_end && !running.is_stopping;
  works_.push_back(std::move(work));
  running_.push_back(std::move(running));
}

void Round::add_gang(const ObjectKey& key, const api::TrainingJob& job, Running gang) {
  gang.key = key;
  gang.queue = queue_of(pass_.state, job);
  gang.is_stopping = job.status.phase == "Draining";
  const auto priority = priority_of(pass_.state, job.spec.priorityClass);
  count_running(std::move(gang), {.id = {},
                                  .queue = {},
                                  .amounts = {},
                                  .priority = priority.value,
                                  .lost = lost_work(job, now_),
                                  .may_end = priority.never_may_fall ||
                                             job.spec.interruption != api::InterruptionClass::kNever});
}

// A replica can end alone, and nothing of what it did is done again.
void Round::add_replica(const Holding& holding, const api::InferenceService& service,
                        const std::set<ObjectKey>& spare) {
  Running replica;
  replica.key = holding.allocation ? key_of(*holding.allocation)
                                   : ObjectKey{std::string(holding.project), std::string(holding.owner_name)};
  replica.is_replica = true;
  replica.is_stopping = holding.allocation && holding.allocation->spec.desired == "Stop";
  replica.queue = queue_of(pass_.state, service);
  replica.amounts = amounts_of(tree_, *holding.resources);
  replica.parts.push_back(part_of(holding));
  const auto priority = priority_of(pass_.state, service.spec.priorityClass);
  const bool may_end = holding.allocation && (priority.never_may_fall || spare.contains(replica.key));
  count_running(
      std::move(replica),
      {.id = {}, .queue = {}, .amounts = {}, .priority = priority.value, .lost = 0, .may_end = may_end});
}

void Round::read_running() {
  std::map<ObjectKey, Running> gangs;
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
    const auto more = amounts_of(tree_, *holding.resources);
    gang.amounts.resize(more.size(), 0);
    for (std::size_t axis = 0; axis < more.size(); ++axis) gang.amounts[axis] += more[axis];
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
      pending_.push_back({.id = request->id,
                          .queue = queue,
                          .amounts = amounts_of(tree_, service.spec.resources),
                          .priority = request->priority,
                          .since = waiting_since(pass_, service),
                          .may_borrow = may_fall || is_spare});
      waiting_.push_back({.key = key, .is_replica = true, .request = *std::move(request), .queue = queue});
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
    pending_.push_back({.id = request->id,
                        .queue = queue,
                        .amounts = times(amounts_of(tree_, job.spec.resources), job.spec.replicas),
                        .priority = request->priority,
                        .since = waiting_since(job),
                        .may_borrow = job.spec.interruption != api::InterruptionClass::kNever});
    waiting_.push_back({.key = key, .is_replica = false, .request = *std::move(request), .queue = queue});
  }
}

// The rules of one project on the board; false where they cannot be judged.
bool Round::use_project(const std::string& project) {
  if (board_ && project == project_) return true;
  if (!projects_.contains(project)) {
    auto snapshot = snapshot_of(pass_, project, waiting_owners(pass_), true);
    if (!snapshot) {
      projects_.emplace(project, fail(std::move(snapshot).error()));
    } else {
      snapshot->queues.clear();  // judged here
      scheduler::BackfillBoard::ProjectRules rules{.rules = std::move(snapshot->rules),
                                                   .budgets = std::move(snapshot->budgets),
                                                   .data_policies = std::move(snapshot->data_policies)};
      if (!board_) {
        std::vector<scheduler::Release> releases;
        for (const auto& gang : running_)
          releases.insert(releases.end(), gang.parts.begin(), gang.parts.end());
        scheduler::Options options;
        options.now = now_;
        options.seed = pass_.options.seed;
        options.explains_nodes = snapshot->nodes.size() <= 100;
        board_.emplace(*std::move(snapshot), std::move(releases), options);
        board_->exchange(rules);
        project_ = project;
      }
      projects_.emplace(project, std::move(rules));
      if (project_ == project) return true;
    }
  }
  auto& next = projects_.at(project);
  if (!next) return false;
  if (board_ && !project_.empty()) board_->exchange(*projects_.at(project_));
  board_->exchange(*next);
  project_ = project;
  return true;
}

Placement Round::refusal(std::size_t index, std::string_view code, const std::string& sentence) const {
  Placement out;
  out.message = sentence;
  out.explanation = JsonObject{
      {"request", waiting_[index].request.id},
      {"placed", false},
      {"pending",
       JsonObject{{"code", boost::json::string_view(code.data(), code.size())}, {"message", sentence}}}};
  return out;
}

// `is_final`: it was its turn, and it did not fit. `note`: what is done about it.
void Round::wait(std::size_t index, std::string_view reason, Placement placement, bool is_final,
                 const std::string& note) {
  const auto& waiting = waiting_[index];
  auto& standing = out_.queues[waiting.queue];
  ++standing.waiting_for[std::string(reason)];
  const auto position = order_->position(index);
  if (position > 0 && standing.next.empty()) standing.next = waiting.request.id;
  if (!note.empty()) placement.message += "; " + note;
  if (!placement.explanation.is_object()) placement.explanation = JsonObject{};
  if (!waiting.queue.empty()) {
    JsonObject queue{{"name", waiting.queue},
                     {"waitsFor", boost::json::string_view(reason.data(), reason.size())}};
    if (position > 0) queue["position"] = position_text(position);
    if (!note.empty()) queue["note"] = note;
    placement.explanation.as_object()["queue"] = std::move(queue);
  }
  placements_like(waiting).insert_or_assign(waiting.key, std::move(placement));
  if (is_final && position > 0) {
    const auto* rules = pass_.state.find<api::Queue>("", waiting.queue);
    if ((rules && !rules->spec.backfill) || ++misses_[waiting.queue] >= kMissesMax)
      closed_.insert(waiting.queue);
  }
}

bool Round::may_reserve(std::size_t index) const {
  const auto* rules = pass_.state.find<api::Queue>("", waiting_[index].queue);
  if (!rules || now_ - pending_[index].since < rules->spec.reservationAfter) return false;
  const auto made = reserved_.find(waiting_[index].queue);
  return std::int64_t(made == reserved_.end() ? 0 : made->second) < rules->spec.reservations;
}

// Where it would take quota that is kept for one before it.
const QuotaHold* Round::find_hold_against(std::size_t index) const {
  const auto& estimate = waiting_[index].request.duration_estimate;
  for (const auto& hold : holds_) {
    if (hold.from && estimate && now_ + *estimate <= *hold.from) continue;
    if (!may_start(hold.then.judge(pending_[index].queue, pending_[index].amounts).admission)) return &hold;
  }
  return nullptr;
}

// What is said of it; empty where quota is short whatever ends.
std::string Round::hold_quota(std::size_t index) {
  const auto& work = pending_[index];
  QuotaHold hold{.job = work.id, .then = after_reclaim_, .from = now_};
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < running_.size(); ++i)
    if (!is_stopping(i)) ends.push_back(i);
  std::ranges::sort(ends, {}, [&](std::size_t i) {
    return std::pair(running_[i].ends.value_or(WallTime::max()), running_[i].key);
  });
  for (auto i = ends.begin(); !may_start(hold.then.judge(work.queue, work.amounts).admission); ++i) {
    if (i == ends.end()) return {};
    hold.then.release(running_[*i].queue, running_[*i].amounts);
    hold.from = running_[*i].ends;
  }
  hold.then.charge(work.queue, work.amounts);
  ++reserved_[work.queue];
  auto& standing = out_.queues[work.queue];
  if (hold.from && !standing.reserved_from) standing.reserved_from = hold.from;
  const auto from = hold.from;
  holds_.push_back(std::move(hold));
  return from ? fmt::format("quota is kept from {}", format_rfc3339(*from))
              : "quota is kept until work has ended that states no duration";
}

// Tells running work to end; what is said of it.
std::string Round::end(const std::vector<std::size_t>& victims, std::size_t index) {
  std::vector<std::string> names;
  for (const auto i : victims) {
    names.push_back(works_[i].id);
    works_[i].may_end = false;
    running_[i].is_stopping = true;
    after_reclaim_.release(running_[i].queue, running_[i].amounts);
    (running_[i].is_replica ? out_.reclaimed_replicas : out_.reclaimed)
        .emplace(running_[i].key,
                 fmt::format("gives back what queue {} borrowed: {} {} of queue {} has a right to it",
                             running_[i].queue, waiting_[index].is_replica ? "replica" : "job",
                             waiting_[index].request.id, waiting_[index].queue));
  }
  if (names.empty()) {
    for (std::size_t i = 0; i < running_.size() && names.size() < 3; ++i)
      if (is_stopping(i)) names.push_back(works_[i].id);
    return fmt::format("waits until {} {} stopped", fmt::join(names, ", "),
                       names.size() == 1 ? "has" : "have");
  }
  return fmt::format("takes back what was lent: {}{} told to stop", fmt::join(names, ", "),
                     names.size() == 1 ? " is" : " are");
}

bool Round::fits_without(const std::vector<std::size_t>& victims, std::size_t index) {
  ++decisions_;
  const auto& work = pending_[index];
  auto tree = after_reclaim_;
  for (const auto i : victims) tree.release(running_[i].queue, running_[i].amounts);
  if (!may_start(tree.judge(work.queue, work.amounts, work.may_borrow).admission)) return false;
  auto board = *board_;
  for (std::size_t i = 0; i < running_.size(); ++i)
    if (is_stopping(i) || std::ranges::find(victims, i) != victims.end())
      for (const auto& part : running_[i].parts) board.release(part);
  for (const auto other : promised_) (void)board.place(waiting_[other].request);
  return board.place(waiting_[index].request).is_placed;
}

// The fewest borrowers, in the order of reclaim, whose end gives it quota and a place. Nobody is stopped in
// vain: empty where even all of them would not help.
std::string Round::reclaim(std::size_t index) {
  const auto& work = pending_[index];
  std::vector<std::size_t> victims;
  if (!fits_without(victims, index)) {
    const auto order = after_reclaim_.reclaim_order(work.queue, work.amounts, works_);
    if (order.empty() || !fits_without(order, index)) return {};
    std::size_t low = 1, high = order.size();
    while (low < high) {
      const auto middle = low + (high - low) / 2;
      if (fits_without({order.begin(), order.begin() + std::ptrdiff_t(middle)}, index))
        high = middle;
      else
        low = middle + 1;
    }
    victims.assign(order.begin(), order.begin() + std::ptrdiff_t(high));
    const auto last_tried = victims.size() - std::min(victims.size(), kSparedMax);
    for (auto i = victims.size(); i-- > last_tried && victims.size() > 1;) {
      auto fewer = victims;
      fewer.erase(fewer.begin() + std::ptrdiff_t(i));
      if (fits_without(fewer, index)) victims = std::move(fewer);
    }
  }
  auto said = end(victims, index);
  after_reclaim_.charge(work.queue, work.amounts);
  promised_.push_back(index);
  return said;
}

void Round::wait_for_quota(std::size_t index, const scheduler::AdmissionVerdict& verdict) {
  const auto& work = pending_[index];
  if (verdict.admission == Admission::kReclaims && use_project(waiting_[index].key.namespace_)) {
    if (const auto said = reclaim(index); !said.empty()) {
      wait(index, "reclaim", refusal(index, "queue.reclaim", verdict.sentence), true, said);
      return;
    }
  }
  auto placement = refusal(index, "quota.exceeded", verdict.sentence);
  const auto* queue = pass_.state.find<api::Queue>("", work.queue);
  if (queue && suggestions_ < kSuggestionsMax) {
    ++suggestions_;
    const auto reachable = tree_.reachable(work.queue);
    for (std::size_t axis = 0; axis < reachable.size(); ++axis)
      if (work.amounts[axis] > std::max<std::int64_t>(0, reachable[axis]) && queue->spec.parent.empty() &&
          use_project(waiting_[index].key.namespace_)) {
        auto tried = *board_;
        if (!tried.place(waiting_[index].request).is_placed) break;
        placement.explanation.as_object()["wouldFit"] = JsonArray{JsonObject{
            {"kind", "raise-queue"},
            {"message", fmt::format("raise the quota of queue {} by {}", work.queue,
                                    tree_.amount_text(axis, work.amounts[axis] - std::max<std::int64_t>(
                                                                                     0, reachable[axis])))}}};
      }
  }
  std::string note;
  if (verdict.admission == Admission::kWaits && may_reserve(index)) note = hold_quota(index);
  wait(index, "quota", std::move(placement), verdict.admission != Admission::kNever, note);
}

// Of the accelerators that would do, those that its queue may still give it; all, where it may give none.
void Round::keep_models_with_quota(std::size_t index) {
  auto& request = waiting_[index].request;
  const auto* job = waiting_job(index);
  if (!job || request.accelerator_alternatives.empty()) return;
  auto models = request.accelerator_alternatives;
  models.insert(models.begin(), request.each.accelerator_model);
  auto resources = job->spec.resources;
  const auto amount = resources.accelerators.begin()->second;
  std::optional<Amounts> first;
  std::erase_if(models, [&](const std::string& model) {
    resources.accelerators = {{model, amount}};
    const auto asked = times(amounts_of(tree_, resources), request.replicas);
    const auto& work = pending_[index];
    if (!may_start(tree_.judge(work.queue, asked, work.may_borrow).admission)) return true;
    if (!first) first = asked;
    return false;
  });
  if (!first) return;
  pending_[index].amounts = *first;
  request.each.accelerator_model = models.front();
  request.accelerator_alternatives.assign(models.begin() + 1, models.end());
}

void Round::start(std::size_t index, scheduler::AdmissionOrder& order, const scheduler::Decision& decision) {
  if (const auto* job = waiting_job(index); job && !job->spec.acceleratorAlternatives.empty()) {
    auto& amounts = pending_[index].amounts;
    std::ranges::fill(amounts, 0);
    for (const auto& placement : decision.placements) {
      const auto held = amounts_of(tree_, resources_on(pass_.state, *job, placement.node));
      for (std::size_t axis = 0; axis < amounts.size(); ++axis) amounts[axis] += held[axis];
    }
  }
  order.admit(index);
  ++starts_;
  const auto& work = pending_[index];
  after_reclaim_.charge(work.queue, work.amounts);
  for (auto& hold : holds_) {
    const auto& estimate = waiting_[index].request.duration_estimate;
    if (!hold.from || !estimate || now_ + *estimate > *hold.from) hold.then.charge(work.queue, work.amounts);
  }
  ++out_.queues[work.queue].running;
  --out_.queues[work.queue].waiting;
  auto placement = placement_of(decision, board_->currency());
  if (!work.queue.empty()) {
    JsonObject queue{{"name", work.queue}};
    const auto above = tree_.borrowed(work.queue);
    for (std::size_t axis = 0; axis < above.size(); ++axis)
      if (above[axis] > 0 && work.amounts[axis] > 0) {
        queue["borrows"] = tree_.amount_text(axis, std::min(above[axis], work.amounts[axis]));
        break;
      }
    placement.explanation.as_object()["queue"] = std::move(queue);
  }
  placements_like(waiting_[index]).insert_or_assign(waiting_[index].key, std::move(placement));
}

void Round::decide(std::size_t index, scheduler::AdmissionOrder& order) {
  const auto& work = pending_[index];
  if (closed_.contains(work.queue)) {
    const auto whose = work.queue.empty() ? std::string{} : fmt::format("queue {}: ", work.queue);
    wait(index, "turn", refusal(index, "queue.turn", whose + "waits its turn"), false);
    return;
  }
  keep_models_with_quota(index);
  const auto verdict = tree_.judge(work.queue, work.amounts, work.may_borrow);
  if (!may_start(verdict.admission)) return wait_for_quota(index, verdict);
  if (const auto* hold = find_hold_against(index)) {
    wait(index, "turn",
         refusal(index, "queue.reserved",
                 hold->from ? fmt::format("queue {}: would delay {}, for which quota is kept from {}",
                                          work.queue, hold->job, format_rfc3339(*hold->from))
                            : fmt::format("queue {}: would delay {}, for which quota is kept", work.queue,
                                          hold->job)),
         true);
    return;
  }
  // What stops for somebody's right is not lent again before all of it is there.
  if (verdict.admission == Admission::kBorrows && !promised_.empty() &&
      !may_start(after_reclaim_.judge(work.queue, work.amounts, work.may_borrow).admission)) {
    wait(index, "turn",
         refusal(index, "queue.promised",
                 fmt::format("queue {}: would borrow what {} gets back", work.queue,
                             waiting_[promised_.front()].request.id)),
         true);
    return;
  }
  const auto& project = waiting_[index].key.namespace_;
  if (!use_project(project)) {
    Placement placement;
    placement.message = projects_.at(project).error().message;
    wait(index, "other", std::move(placement), false);
    return;
  }
  ++decisions_;
  const auto decision = board_->place(waiting_[index].request);
  if (decision.is_placed) return start(index, order, decision);
  auto placement = placement_of(decision, board_->currency());
  if (decision.preemption && !placement.victims.empty() && waiting_[index].request.priority > 0) {
    // Its quota and its place are its own from now on; training_controller.cc writes the nomination.
    order.admit(index);
    after_reclaim_.charge(work.queue, work.amounts);
    board_->hold(waiting_[index].request, decision.preemption->placements);
    wait(index, "place", std::move(placement), false);
    return;
  }
  placement.victims.clear();
  const bool is_held = decision.pending && decision.pending->guard == scheduler::Guard::kReserved;
  if (!is_held && verdict.admission == Admission::kWithinQuota && may_reclaim_)
    if (const auto said = reclaim(index); !said.empty()) {
      wait(index, "reclaim", std::move(placement), true, said);
      return;
    }
  std::string note;
  if (!is_held && may_reserve(index))
    if (const auto kept = board_->reserve(waiting_[index].request)) {
      ++reserved_[work.queue];
      auto& standing = out_.queues[work.queue];
      if (!standing.reserved_from) standing.reserved_from = kept->from;
      note = kept->from ? fmt::format("a place is kept from {}", format_rfc3339(*kept->from))
                        : "a place is kept until work has ended that states no duration";
    }
  wait(index, is_held ? "turn" : "place", std::move(placement), true, note);
}

QueueRound Round::run() {
  read_running();
  read_waiting();
  read_waiting_replicas();
  scheduler::AdmissionOrder order(tree_, pending_, now_);
  order_ = &order;
  while (const auto index = order.next()) {
    if (decisions_ < kDecisionsMax) {
      decide(*index, order);
    } else {
      if (pass_.agenda && starts_ > 0)
        pass_.agenda->look_again(waiting_[*index].key, pass_.now() + pass_.options.settle);
      break;
    }
  }
  for (std::size_t i = 0; i < pending_.size(); ++i)
    if (order.position(i) == 0)
      wait(i, "other", refusal(i, "queue.invalid", tree_.problem(pending_[i].queue)), false);
  tell_queues();
  out_.is_made = true;
  return std::move(out_);
}

void Round::tell_queues() {
  const auto models = models_named(pass_.state);
  for (const auto& [key, queue] : pass_.state.all<api::Queue>()) {
    auto& standing = out_.queues[key.name];
    standing.problem = tree_.problem(key.name);
    standing.used = to_quota(tree_.used(key.name), models);
    standing.borrowed = to_quota(tree_.borrowed(key.name), models);
    standing.share_percent = std::round(tree_.dominant_share(key.name) * 1000) / 10;
  }
}

}  // namespace

QueueRound plan_queues(const Pass& pass) { return has_queues(pass.state) ? Round(pass).run() : QueueRound{}; }

}  // namespace neap::controllers
