// One round over all that waits in queues: who starts, what each of the others waits for, for whom quota or a
// place is kept, and which running work gives back what it borrowed. The server's queues and simulated runs
// are decided here.
//
// 1. Work is asked in the order of AdmissionOrder. What fits neither its queue's quota nor, with it, a place
//    waits; so many of a queue that do not fit close the queue for the round, one where it does not backfill.
// 2. What waited long enough gets a reservation: of quota where quota is short, of a place where that is.
//    Those after it start only where they delay neither.
// 3. Running work is told to end only for work within the quota of its queue, only what was borrowed, and
//    only where that gives the asker quota and a place. What stops is not lent again before it is all there.
// 4. Where decide() names victims of a lower priority, the place they leave is the asker's from then on.
//
// Costs about one decide() for each that is asked, at most RoundInput::decisions_max of them. Pure; threads:
// none shared. The same input gives the same result.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/result.h"
#include "neap/scheduler/backfill.h"
#include "neap/scheduler/fair_share.h"

namespace neap::scheduler {

// How a queue lets its work start.
struct TurnRules {
  // False: nothing starts before an earlier one that does not fit.
  bool backfill = true;
  Duration reservation_after = std::chrono::minutes(10);
  // Kept at once, of quota and of places together.
  std::int64_t reservations = 1;
  // A quota of its own is all that it lacks; one above could be too small as well.
  bool is_root = true;
};

struct WaitingWork {
  // `id` is the request's.
  PendingWork work;
  Request request;
  // Not empty: requests of one shape are alike in all but times and copies of their inputs, and a refusal
  // that does not depend on these is not decided twice; its figures are then those of the first.
  std::string shape;
  bool is_replica = false;
};

// A gang, or one replica of a service.
struct HeldWork {
  RunningWork work;
  // What it gives back when it ends.
  std::vector<Release> parts;
  // Absent: nobody knows.
  std::optional<WallTime> ends;
  // Told to end before.
  bool is_stopping = false;
};

// Where a round looks up the cluster, at most once for each project. An error is what work of the project
// waits for.
class RoundWorld {
 public:
  virtual ~RoundWorld() = default;
  // As a decision about work of `project` sees it, with what could make room; its queues are not read.
  virtual Result<Snapshot> snapshot(const std::string& project) = 0;
  // What of it differs between projects.
  virtual Result<BackfillBoard::ProjectRules> rules(const std::string& project);
};

struct RoundInput {
  // With all that is held.
  ShareTree tree;
  std::map<std::string, TurnRules, std::less<>> rules;  // by queue; work of others gets no reservation
  std::vector<WaitingWork> waiting;
  std::vector<HeldWork> running;
  // `now` is the time; `explains_nodes` is set here.
  Options options;
  std::size_t explained_nodes_max = 0;
  std::size_t decisions_max = 512;
};

enum class WaitsFor : std::uint8_t { kNothing, kTurn, kQuota, kReclaim, kPlace, kOther };
// "", "turn", "quota", "reclaim", "place", "other".
std::string_view waits_for_name(WaitsFor what);

struct Turn {
  std::size_t index = 0;     // into RoundInput::waiting
  std::size_t position = 0;  // in its queue at the beginning, from 1; 0: no queue takes it
  // kNothing: it starts, where `decision` says.
  WaitsFor waits_for = WaitsFor::kNothing;
  // The engine's, where it was asked.
  std::optional<Decision> decision;
  // The victims of `decision` are to end, and the place is kept.
  bool makes_room = false;
  // It starts although one before it in its queue waits.
  bool is_backfilled = false;
  // Where the engine was not asked: "queue.turn", "quota.exceeded", ...; empty where the project's rules
  // cannot be judged.
  std::string code;
  std::string sentence;
  // What is done about it.
  std::string note;
  // "raise the quota of queue ...": would let it start at once; else empty.
  std::string suggestion;
  // Of what starts: what of it is above its queue's quota.
  std::string borrows;
  // When what is kept for it is free; absent also where nothing is kept, or nobody knows.
  std::optional<WallTime> reserved_from;
  bool is_reserved = false;
};

// Running work that ends so that another gets what its queue lent.
struct GiveBack {
  std::size_t running = 0, claimant = 0;  // into RoundInput
  std::string sentence;
};

struct RoundResult {
  // In the order of turns; last what no queue takes.
  std::vector<Turn> turns;
  std::vector<GiveBack> given_back;
  // With what starts.
  ShareTree tree;
  std::string currency;
  std::size_t decisions = 0, starts = 0;
  // First of those that were not asked any more.
  std::optional<std::size_t> cut_at;
};

RoundResult run_round(RoundInput input, RoundWorld& world);

// Whether a request that differs in times only may get another answer.
bool depends_on_time(const Decision& decision);

}  // namespace neap::scheduler
