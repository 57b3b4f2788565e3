#include "neap/scheduler/admission_round.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "neap/base/saturate.h"

namespace neap::scheduler {
namespace {

// So many that do not fit are tried in a queue before the rest of it waits for the next round.
constexpr std::size_t kMissesMax = 100;
// Victims that are asked, one by one, whether it goes without them.
constexpr std::size_t kSparedMax = 32;

// A reservation of quota: the tree as it will be then, with the work in it.
struct QuotaHold {
  std::string work;
  ShareTree then;
  std::optional<WallTime> from;
};

class Round {
 public:
  Round(RoundInput input, RoundWorld& world)
      : in_(std::move(input)),
        world_(world),
        now_(in_.options.now),
        tree_(std::move(in_.tree)),
        after_reclaim_(tree_) {
    for (auto& held : in_.running) {
      held.work.may_end = held.work.may_end && !held.is_stopping;
      works_.push_back(held.work);
      if (held.is_stopping) after_reclaim_.release(held.work.queue, held.work.amounts);
      may_reclaim_ = may_reclaim_ || held.is_stopping ||
                     std::ranges::any_of(tree_.borrowed(held.work.queue), [](auto more) { return more > 0; });
    }
    pending_.reserve(in_.waiting.size());
    for (const auto& waiting : in_.waiting) pending_.push_back(waiting.work);
    out_.turns.reserve(pending_.size());
  }
  RoundResult run();

 private:
  const Request& request(std::size_t index) const { return in_.waiting[index].request; }
  bool use_project(const std::string& project);
  void open_board(const std::string& project, Snapshot snapshot);
  void decide(std::size_t index, AdmissionOrder& order);
  void decide_place(std::size_t index, AdmissionOrder& order, Admission admission);
  Decision place(std::size_t index);
  void start(std::size_t index, AdmissionOrder& order, Decision decision);
  // `is_final`: it was its turn, and it did not fit.
  void wait(std::size_t index, WaitsFor what, Turn turn, bool is_final);
  const TurnRules* rules_of(std::size_t index) const {
    const auto found = in_.rules.find(pending_[index].queue);
    return found == in_.rules.end() ? nullptr : &found->second;
  }
  Amounts amounts_with(std::size_t index, std::string_view model, std::int64_t replicas) const;
  void keep_models_with_quota(std::size_t index);
  void wait_for_quota(std::size_t index, const AdmissionVerdict& verdict);
  std::string suggest_quota(std::size_t index);
  const QuotaHold* find_hold_against(std::size_t index) const;
  void hold_quota(std::size_t index, Turn& turn);
  bool fits_without(const std::vector<std::size_t>& victims, std::size_t index);
  std::vector<std::size_t> fewest(const std::vector<std::size_t>& order, std::size_t index);
  std::string reclaim(std::size_t index);
  std::string end(const std::vector<std::size_t>& victims, std::size_t index);
  bool may_reserve(std::size_t index) const;
  void reserve_place(std::size_t index, Turn& turn);

  RoundInput in_;
  RoundWorld& world_;
  WallTime now_;
  ShareTree tree_;
  // What is held once all that was told to stop has.
  ShareTree after_reclaim_;
  std::vector<PendingWork> pending_;  // of in_.waiting
  std::vector<RunningWork> works_;    // of in_.running
  std::optional<BackfillBoard> board_;
  std::map<std::string, Result<BackfillBoard::ProjectRules>> projects_;
  std::string project_;
  bool has_project_ = false;
  std::map<std::string, std::string> models_;  // of nodes
  std::vector<QuotaHold> holds_;
  std::vector<std::size_t> promised_;                                   // waiting for what stops
  std::map<std::string, std::int64_t, std::less<>> misses_, reserved_;  // by queue
  std::set<std::string, std::less<>> closed_;
  // By shape: refused whatever comes, not helped by reclaim, without a place even when all has ended.
  std::map<std::string, Decision, std::less<>> refused_;
  std::set<std::string, std::less<>> not_reclaimed_, hopeless_;
  std::size_t suggestions_ = 0;
  // Somebody borrows, or stops.
  bool may_reclaim_ = false;
  const AdmissionOrder* order_ = nullptr;
  RoundResult out_{.turns = {}, .given_back = {}, .tree = {{}, {}, {}}, .currency = {}, .cut_at = {}};
};

Turn refusal(std::string_view code, std::string sentence) {
  Turn out;
  out.code = code;
  out.sentence = std::move(sentence);
  return out;
}

BackfillBoard::ProjectRules rules_in(Snapshot& snapshot) {
  return {.rules = std::move(snapshot.rules),
          .budgets = std::move(snapshot.budgets),
          .data_policies = std::move(snapshot.data_policies)};
}

void Round::open_board(const std::string& project, Snapshot snapshot) {
  snapshot.queues.clear();  // judged here
  for (const auto& node : snapshot.nodes) models_.emplace(node.name, node.accelerator_model);
  std::vector<Release> releases;
  for (const auto& held : in_.running) releases.insert(releases.end(), held.parts.begin(), held.parts.end());
  in_.options.explains_nodes = snapshot.nodes.size() <= in_.explained_nodes_max;
  out_.currency = snapshot.prices.currency();
  board_.emplace(std::move(snapshot), std::move(releases), in_.options);
  projects_.emplace(project, BackfillBoard::ProjectRules{});
  project_ = project;
  has_project_ = true;
}

// The rules of one project on the board; false where they cannot be judged.
bool Round::use_project(const std::string& project) {
  if (has_project_ && project == project_) return true;
  if (!projects_.contains(project)) {
    if (!board_) {
      auto snapshot = world_.snapshot(project);
      if (snapshot) {
        open_board(project, *std::move(snapshot));
        return true;
      }
      projects_.emplace(project, fail(std::move(snapshot).error()));
    } else {
      projects_.emplace(project, world_.rules(project));
    }
  }
  auto& next = projects_.at(project);
  if (!next) return false;
  if (has_project_) board_->exchange(*projects_.at(project_));
  board_->exchange(*next);
  project_ = project;
  has_project_ = true;
  return true;
}

void Round::wait(std::size_t index, WaitsFor what, Turn turn, bool is_final) {
  turn.index = index;
  turn.position = order_->position(index);
  turn.waits_for = what;
  const auto& queue = pending_[index].queue;
  if (is_final && turn.position > 0) {
    const auto* rules = rules_of(index);
    if (++misses_[queue] >= std::int64_t(kMissesMax) || (rules && !rules->backfill)) closed_.insert(queue);
  }
  out_.turns.push_back(std::move(turn));
}

bool Round::may_reserve(std::size_t index) const {
  const auto* rules = rules_of(index);
  if (!rules || now_ - pending_[index].since < rules->reservation_after) return false;
  const auto made = reserved_.find(pending_[index].queue);
  return (made == reserved_.end() ? 0 : made->second) < rules->reservations;
}

// Where it would take quota that is kept for one before it.
const QuotaHold* Round::find_hold_against(std::size_t index) const {
  const auto& estimate = request(index).duration_estimate;
  for (const auto& hold : holds_) {
    if (hold.from && estimate && now_ + *estimate <= *hold.from) continue;
    if (!may_start(hold.then.judge(pending_[index].queue, pending_[index].amounts).admission)) return &hold;
  }
  return nullptr;
}

// Nothing is kept where quota is short whatever ends.
void Round::hold_quota(std::size_t index, Turn& turn) {
  const auto& work = pending_[index];
  QuotaHold hold{.work = work.id, .then = after_reclaim_, .from = now_};
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < in_.running.size(); ++i)
    if (!in_.running[i].is_stopping) ends.push_back(i);
  std::ranges::sort(ends, {}, [&](std::size_t i) {
    return std::pair(in_.running[i].ends.value_or(WallTime::max()), std::string_view(works_[i].id));
  });
  for (auto i = ends.begin(); !may_start(hold.then.judge(work.queue, work.amounts).admission); ++i) {
    if (i == ends.end()) return;
    hold.then.release(works_[*i].queue, works_[*i].amounts);
    hold.from = in_.running[*i].ends;
  }
  hold.then.charge(work.queue, work.amounts);
  ++reserved_[work.queue];
  turn.is_reserved = true;
  turn.reserved_from = hold.from;
  turn.note = hold.from ? fmt::format("quota is kept from {}", format_rfc3339(*hold.from))
                        : "quota is kept until work has ended that states no duration";
  holds_.push_back(std::move(hold));
}

// Tells running work to end; what is said of it.
std::string Round::end(const std::vector<std::size_t>& victims, std::size_t index) {
  std::vector<std::string> names;
  for (const auto i : victims) {
    names.push_back(works_[i].id);
    works_[i].may_end = false;
    in_.running[i].is_stopping = true;
    after_reclaim_.release(works_[i].queue, works_[i].amounts);
    out_.given_back.push_back(
        {.running = i,
         .claimant = index,
         .sentence = fmt::format("gives back what queue {} borrowed: {} {} of queue {} has a right to it",
                                 works_[i].queue, in_.waiting[index].is_replica ? "replica" : "job",
                                 request(index).id, pending_[index].queue)});
  }
  if (names.empty()) {
    for (std::size_t i = 0; i < in_.running.size() && names.size() < 3; ++i)
      if (in_.running[i].is_stopping) names.push_back(works_[i].id);
    return fmt::format("waits until {} {} stopped", fmt::join(names, ", "),
                       names.size() == 1 ? "has" : "have");
  }
  return fmt::format("takes back what was lent: {}{} told to stop", fmt::join(names, ", "),
                     names.size() == 1 ? " is" : " are");
}

bool Round::fits_without(const std::vector<std::size_t>& victims, std::size_t index) {
  ++out_.decisions;
  const auto& work = pending_[index];
  auto tree = after_reclaim_;
  for (const auto i : victims) tree.release(works_[i].queue, works_[i].amounts);
  if (!may_start(tree.judge(work.queue, work.amounts, work.may_borrow).admission)) return false;
  auto board = *board_;
  for (std::size_t i = 0; i < in_.running.size(); ++i)
    if (in_.running[i].is_stopping || std::ranges::find(victims, i) != victims.end())
      for (const auto& part : in_.running[i].parts) board.release(part);
  for (const auto other : promised_) (void)board.place(request(other));
  return board.place(request(index)).is_placed;
}

// The shortest beginning of `order` that does, without those that it goes without.
std::vector<std::size_t> Round::fewest(const std::vector<std::size_t>& order, std::size_t index) {
  std::size_t low = 1, high = order.size();
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    if (fits_without({order.begin(), order.begin() + std::ptrdiff_t(middle)}, index))
      high = middle;
    else
      low = middle + 1;
  }
  std::vector<std::size_t> victims(order.begin(), order.begin() + std::ptrdiff_t(high));
  const auto last_tried = victims.size() - std::min(victims.size(), kSparedMax);
  for (auto i = victims.size(); i-- > last_tried && victims.size() > 1;) {
    auto fewer = victims;
    fewer.erase(fewer.begin() + std::ptrdiff_t(i));
    if (fits_without(fewer, index)) victims = std::move(fewer);
  }
  return victims;
}

// The fewest borrowers, in the order of reclaim, whose end gives it quota and a place. Nobody is stopped in
// vain: empty where even all of them would not help.
std::string Round::reclaim(std::size_t index) {
  const auto& work = pending_[index];
  const auto& shape = in_.waiting[index].shape;
  if (!shape.empty() && not_reclaimed_.contains(shape)) return {};
  std::vector<std::size_t> victims;
  if (!fits_without(victims, index)) {
    const auto order = after_reclaim_.reclaim_order(work.queue, work.amounts, works_);
    if (order.empty() || !fits_without(order, index)) {
      if (!shape.empty()) not_reclaimed_.insert(shape);
      return {};
    }
    victims = fewest(order, index);
  }
  auto said = end(victims, index);
  after_reclaim_.charge(work.queue, work.amounts);
  promised_.push_back(index);
  return said;
}

std::string Round::suggest_quota(std::size_t index) {
  const auto* rules = rules_of(index);
  if (!rules || !rules->is_root || suggestions_ == in_.options.suggestions_max) return {};
  ++suggestions_;
  const auto& work = pending_[index];
  const auto reachable = tree_.reachable(work.queue);
  for (std::size_t axis = 0; axis < reachable.size(); ++axis) {
    const auto more = work.amounts[axis] - std::max<std::int64_t>(0, reachable[axis]);
    if (more <= 0) continue;
    if (!use_project(request(index).project)) return {};
    auto tried = *board_;
    if (!tried.place(request(index)).is_placed) return {};
    return fmt::format("raise the quota of queue {} by {}", work.queue, tree_.amount_text(axis, more));
  }
  return {};
}

void Round::wait_for_quota(std::size_t index, const AdmissionVerdict& verdict) {
  if (verdict.admission == Admission::kReclaims && use_project(request(index).project)) {
    if (auto said = reclaim(index); !said.empty()) {
      auto turn = refusal("queue.reclaim", verdict.sentence);
      turn.note = std::move(said);
      return wait(index, WaitsFor::kReclaim, std::move(turn), true);
    }
  }
  auto turn = refusal("quota.exceeded", verdict.sentence);
  turn.suggestion = suggest_quota(index);
  if (verdict.admission == Admission::kWaits && may_reserve(index)) hold_quota(index, turn);
  wait(index, WaitsFor::kQuota, std::move(turn), verdict.admission != Admission::kNever);
}

Amounts Round::amounts_with(std::size_t index, std::string_view model, std::int64_t replicas) const {
  const auto& each = request(index).each;
  auto out = tree_.amounts_of(each.cores.value, each.memory.value, model, each.accelerators.value);
  for (auto& amount : out) amount = multiply_saturated(amount, replicas);
  return out;
}

// Of the accelerators that would do, those that its queue may still give it; all, where it may give none.
void Round::keep_models_with_quota(std::size_t index) {
  auto& request = in_.waiting[index].request;
  if (request.accelerator_alternatives.empty()) return;
  auto models = request.accelerator_alternatives;
  models.insert(models.begin(), request.each.accelerator_model);
  std::optional<Amounts> first;
  std::erase_if(models, [&](const std::string& model) {
    const auto asked = amounts_with(index, model, request.replicas);
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

void Round::start(std::size_t index, AdmissionOrder& order, Decision decision) {
  auto& work = pending_[index];
  const auto& asked = request(index);
  if (!asked.accelerator_alternatives.empty()) {
    std::ranges::fill(work.amounts, 0);
    for (const auto& placement : decision.placements) {
      const auto& there = models_.at(placement.node);
      const auto held =
          amounts_with(index, asked.takes_model(there) ? there : asked.each.accelerator_model, 1);
      for (std::size_t axis = 0; axis < work.amounts.size(); ++axis)
        work.amounts[axis] = add_saturated(work.amounts[axis], held[axis]);
    }
  }
  order.admit(index);
  ++out_.starts;
  after_reclaim_.charge(work.queue, work.amounts);
  for (auto& hold : holds_) {
    const auto& estimate = asked.duration_estimate;
    if (!hold.from || !estimate || now_ + *estimate > *hold.from) hold.then.charge(work.queue, work.amounts);
  }
  Turn turn;
  turn.index = index;
  turn.position = order.position(index);
  turn.decision = std::move(decision);
  turn.is_backfilled = misses_.contains(work.queue);
  const auto above = tree_.borrowed(work.queue);
  for (std::size_t axis = 0; axis < above.size() && turn.borrows.empty(); ++axis)
    if (above[axis] > 0 && work.amounts[axis] > 0)
      turn.borrows = tree_.amount_text(axis, std::min(above[axis], work.amounts[axis]));
  out_.turns.push_back(std::move(turn));
}

void Round::decide(std::size_t index, AdmissionOrder& order) {
  const auto& work = pending_[index];
  if (closed_.contains(work.queue)) {
    const auto whose = work.queue.empty() ? std::string{} : fmt::format("queue {}: ", work.queue);
    return wait(index, WaitsFor::kTurn, refusal("queue.turn", whose + "waits its turn"), false);
  }
  keep_models_with_quota(index);
  const auto verdict = tree_.judge(work.queue, work.amounts, work.may_borrow);
  if (!may_start(verdict.admission)) return wait_for_quota(index, verdict);
  if (const auto* hold = find_hold_against(index))
    return wait(index, WaitsFor::kTurn,
                refusal("queue.reserved",
                        hold->from ? fmt::format("queue {}: would delay {}, for which quota is kept from {}",
                                                 work.queue, hold->work, format_rfc3339(*hold->from))
                                   : fmt::format("queue {}: would delay {}, for which quota is kept",
                                                 work.queue, hold->work)),
                true);
  // What stops for somebody's right is not lent again before all of it is there.
  if (verdict.admission == Admission::kBorrows && !promised_.empty() &&
      !may_start(after_reclaim_.judge(work.queue, work.amounts, work.may_borrow).admission))
    return wait(index, WaitsFor::kTurn,
                refusal("queue.promised", fmt::format("queue {}: would borrow what {} gets back", work.queue,
                                                      request(promised_.front()).id)),
                true);
  const auto& project = request(index).project;
  if (!use_project(project))
    return wait(index, WaitsFor::kOther, refusal({}, projects_.at(project).error().message), false);
  decide_place(index, order, verdict.admission);
}

Decision Round::place(std::size_t index) {
  const auto& [work, asked, shape, is_replica] = in_.waiting[index];
  const bool has_shape = !shape.empty() && asked.accelerator_alternatives.empty();
  if (const auto known = has_shape ? refused_.find(shape) : refused_.end(); known != refused_.end()) {
    auto again = known->second;
    again.request = asked.id;
    return again;
  }
  ++out_.decisions;
  auto decision = board_->place(asked);
  if (has_shape && !decision.is_placed && !decision.preemption && !depends_on_time(decision))
    refused_.emplace(shape, decision);
  return decision;
}

void Round::decide_place(std::size_t index, AdmissionOrder& order, Admission admission) {
  auto decision = place(index);
  if (decision.is_placed) return start(index, order, std::move(decision));
  Turn turn;
  const bool is_held = decision.pending && decision.pending->guard == Guard::kReserved;
  turn.decision = std::move(decision);
  if (turn.decision->preemption && request(index).priority > 0) {
    // Its quota and its place are its own from now on; whoever called ends the victims.
    order.admit(index);
    after_reclaim_.charge(pending_[index].queue, pending_[index].amounts);
    board_->hold(request(index), turn.decision->preemption->placements);
    turn.makes_room = true;
    return wait(index, WaitsFor::kPlace, std::move(turn), false);
  }
  if (!is_held && admission == Admission::kWithinQuota && may_reclaim_)
    if (auto said = reclaim(index); !said.empty()) {
      turn.note = std::move(said);
      return wait(index, WaitsFor::kReclaim, std::move(turn), true);
    }
  if (!is_held && may_reserve(index)) reserve_place(index, turn);
  wait(index, is_held ? WaitsFor::kTurn : WaitsFor::kPlace, std::move(turn), true);
}

void Round::reserve_place(std::size_t index, Turn& turn) {
  const auto& shape = in_.waiting[index].shape;
  if (hopeless_.contains(shape)) return;
  const auto kept = board_->reserve(request(index));
  if (!kept) {
    if (refused_.contains(shape)) hopeless_.insert(shape);
    return;
  }
  ++reserved_[pending_[index].queue];
  turn.is_reserved = true;
  turn.reserved_from = kept->from;
  turn.note = kept->from ? fmt::format("a place is kept from {}", format_rfc3339(*kept->from))
                         : "a place is kept until work has ended that states no duration";
}

RoundResult Round::run() {
  AdmissionOrder order(tree_, pending_, now_);
  order_ = &order;
  while (const auto index = order.next()) {
    if (out_.decisions >= in_.decisions_max) {
      out_.cut_at = index;
      break;
    }
    decide(*index, order);
  }
  for (std::size_t i = 0; i < pending_.size(); ++i)
    if (order.position(i) == 0)
      wait(i, WaitsFor::kOther, refusal("queue.invalid", tree_.problem(pending_[i].queue)), false);
  out_.tree = std::move(tree_);
  return std::move(out_);
}

}  // namespace

std::string_view waits_for_name(WaitsFor what) {
  static constexpr std::string_view kNames[]{"", "turn", "quota", "reclaim", "place", "other"};
  return kNames[std::size_t(what)];
}

Result<BackfillBoard::ProjectRules> RoundWorld::rules(const std::string& project) {
  NEAP_TRY(auto world, snapshot(project));
  return rules_in(world);
}

RoundResult run_round(RoundInput input, RoundWorld& world) { return Round(std::move(input), world).run(); }

bool depends_on_time(const Decision& decision) {
  static constexpr Guard kTimed[]{Guard::kPolicyForbidden, Guard::kPolicyRequired, Guard::kPolicyError,
                                  Guard::kReserved,        Guard::kBudget,         Guard::kDeadline};
  return std::ranges::any_of(kTimed, [&](Guard guard) {
    return (decision.pending && decision.pending->guard == guard) ||
           std::ranges::any_of(decision.sites, [&](const SiteReason& site) {
             return (site.refusal && site.refusal->guard == guard) ||
                    site.nodes_refused[std::size_t(guard)] > 0;
           });
  });
}

}  // namespace neap::scheduler
