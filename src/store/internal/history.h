// History: the newest events, kept once for all watches, and the watches that read them.
//
// 1. An event's id is revision * 1024 + its place in the commit: one number orders everything.
// 2. Every event with an id above complete_after() is in the ring; older ones come from the loader,
//    where there is one.
// 3. A waiting watch whose prefix an append does not touch moves along without waking up.
#pragma once

#include <deque>
#include <functional>
#include <unordered_set>

#include "neap/base/executor.h"
#include "neap/base/sync.h"
#include "neap/store/store.h"

namespace neap::store::internal {

using EventId = std::uint64_t;
inline constexpr int kSubBits = 10;
static_assert(kCommitOpsMax <= 1u << kSubBits);
inline EventId event_id(Revision revision, std::uint64_t sub) {
  return to_number(revision) << kSubBits | sub;
}
inline EventId last_id_of(Revision revision) { return event_id(revision, (1u << kSubBits) - 1); }
inline Revision revision_of(EventId id) { return Revision{id >> kSubBits}; }

struct HistoryEntry {
  EventId id = 0;
  WatchEvent event;
};

struct HistoryLimits {
  std::size_t events_max = 4096;
  std::size_t bytes_max = 4u << 20;
};

class HistoryWatch;

class History : public std::enable_shared_from_this<History> {
 public:
  // Up to `max` events of the prefix with ids in (after, through], in order.
  using Loader = std::function<Task<Result<std::vector<HistoryEntry>>>(std::string prefix, EventId after,
                                                                       EventId through, std::size_t max)>;
  // Starts empty, right after `newest`.
  History(Executor& executor, HistoryLimits limits, Revision newest, Revision compacted, Loader loader);
  // The events of one commit, in order.
  void append(std::vector<HistoryEntry> entries, Revision revision);
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after);
  void compact(Revision at);
  void close();

  Executor& executor() { return executor_; }
  Revision newest() const { return newest_; }
  Revision compacted() const { return compacted_; }
  EventId complete_after() const { return complete_after_; }
  bool is_closed() const { return closed_; }

 private:
  friend class HistoryWatch;
  void drop_oldest_commit();

  Executor& executor_;
  HistoryLimits limits_;
  Loader loader_;
  std::deque<HistoryEntry> ring_;
  std::size_t bytes_ = 0;
  EventId complete_after_;
  Revision newest_;
  Revision compacted_;
  bool closed_ = false;
  std::unordered_set<HistoryWatch*> watches_;
};

}  // namespace neap::store::internal
