// LedgerStream: one ledger of the installation (audit, usage, decisions), as all servers on one store keep
// it.
//
// One server alone: its ledger, and nothing else. Several: an entry is on record once the store has it, below
// /ledger/NAME/, and every server copies it from there into a ledger of its own. So any server shows and
// verifies everything, nobody waits for a leader to write, and no server's disk is the only place of an
// entry.
// 1. append() returns when the entry is durable: in the own ledger, or in the store. Appends that wait
// together
//    share one commit.
// 2. Each entry is copied once, also over restarts: it carries the revision it has in the store, and its
// place there.
// 3. What was copied stays in the store for kKeep, and longer on servers that were away they fetch it from
// another. Belongs to the runtime's executor.
#pragma once

#include <deque>
#include <functional>
#include <set>
#include <string>

#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/ledger/ledger.h"
#include "neap/store/store.h"
#include "neap/telemetry/log.h"

namespace neap::app {

class LedgerStream {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    ledger::Ledger& own;
    store::Store* shared = nullptr;  // null: no other server
    telemetry::Logger& log;
    std::function<void(const Error&)> on_failure;  // the own ledger takes nothing any more: end the process
  };
  // What another server recorded, or an earlier life of this one.
  using Learn = std::function<void(const Json& body, WallTime recorded)>;
  // Entries of another server's ledger from that sequence on; empty: it has no more.
  using Fetch = std::function<Task<Result<std::vector<Json>>>(std::string name, std::uint64_t from)>;

  // When an entry was recorded; the time in a ledger is that of the copy.
  static WallTime recorded_at(const Json& body, WallTime copied);

  LedgerStream(Dependencies dependencies, std::string name);
  // Brings the own ledger up to what is on record. kFailedPrecondition "server.ledger.behind": part of it is
  // no longer in the store, and `fetch` did not find it either.
  Task<Status> open(Fetch fetch);
  // Copies from now on; call once, after open().
  Status follow(Learn learn);
  Task<Status> append(Json entry);
  // The same through a view of the store that may refuse it, as a FencedStore does.
  Task<Status> append_through(store::Store& writes, Json entry);
  // Returns when all that was on record anywhere before this call has been copied and learnt.
  Task<Status> catch_up(CallContext ctx);
  // Lets the store forget what is older than kKeep. For the server that leads.
  Task<Status> forget_old(store::Store& writes);
  // Drops what is only kept for forget_old() and another server has seen to. For the servers that follow.
  Task<Status> drop_forgotten();
  Task<void> stop();

 private:
  struct Pending {
    Json entry;
    Completion<Status> done;
  };
  using Place = std::pair<std::uint64_t, std::uint64_t>;  // revision in the store, place in its commit
  Task<void> write_batches();
  Task<Status> commit(store::Store& writes, JsonArray entries);
  Task<void> copy_all();
  Task<Status> copy(store::KeyValue batch, const Learn* learn);
  Task<Status> read_places();
  Task<Status> fetch_missing(Fetch fetch);
  Task<Result<std::uint64_t>> number_at(std::string key);

  Dependencies deps_;
  const std::string name_, prefix_, head_key_, trimmed_key_, holder_;
  TaskGroup tasks_;
  Notifier work_, copied_changed_;
  std::deque<Pending> queue_;
  std::uint64_t next_batch_ = 0;
  std::set<Place> places_;                                 // of the newest entries of the own ledger
  std::uint64_t floor_ = 0;                                // all before this revision is there
  std::uint64_t copied_ = 0;                               // newest revision that was copied and learnt
  std::deque<std::pair<MonoTime, store::KeyValue>> kept_;  // keys without values, by revision
  std::unique_ptr<store::Watch> watch_;
  Learn learn_;
};

}  // namespace neap::app
