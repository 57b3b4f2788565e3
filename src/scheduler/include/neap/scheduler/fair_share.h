// Queues that share capacity: whose turn it is, what may start as of right or by borrowing, and which running
// work must end so that a queue gets back what it lent.
//
// Queues form trees. A quota is held as of right; what others under the same parent leave unused may be
// borrowed, within the borrower's borrowing limit and the lender's lending limit. Rules, for each resource:
// 1. A queue's use plus what it keeps from lending never passes its parent's quota; use in a whole tree never
//    passes the quota of its root.
// 2. Whose use stays within its quota comes first; then who borrows least. Shares are weighted dominant
//    shares: of the resource a queue holds most of, its part of all there is, over its weight.
// 3. Within a queue: priority, raised by one for each `ageing` of waiting; then the older; then the lower id.
//    What waited kStarvingAgeings times as long comes before smaller shares and higher priorities, oldest
//    first, but never before a right.
// 4. Only what is borrowed is taken back, for a request within the quota of its queue: whole gangs, lowest
//    priority first, then least work lost, then the lower id; none whose end would not help.
//
// Pure values; threads: none shared. The same inputs give the same answers in any order of queues.
// Sources: dominant resource fairness (Ghodsi et al., NSDI 2011), its hierarchical form (Bhattacharya et al.,
// SoCC 2013).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "neap/base/time.h"

namespace neap::scheduler {

// By resource: thousandths of cores, bytes, thousandths of accelerators of any model, then thousandths of
// each model in the order of ShareTree's `models`.
using Amounts = std::vector<std::int64_t>;
inline constexpr std::size_t kCoresAxis = 0, kMemoryAxis = 1, kAcceleratorsAxis = 2, kModelAxes = 3;
// A quota that is not stated; a limit that is none.
inline constexpr std::int64_t kUnstated = -1;
inline constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max() / 4;
inline constexpr int kStarvingAgeings = 4;

struct ShareQueue {
  std::string name;
  // Empty: a root, which borrows from nobody.
  std::string parent;
  // kUnstated: no limit where no queue above or below states one. Else a queue with others under it has the
  // sum of theirs, and one without has nothing as of right.
  Amounts quota;
  std::int64_t weight = 1;
  // Above the quota; below it. kNoLimit: no limit.
  Amounts borrowing_max, lending_max;
  bool is_fifo = false;
  // 0: waiting raises nothing.
  Duration ageing = std::chrono::hours(1);
};

struct PendingWork {
  std::string id, queue;
  // Of the whole gang.
  Amounts amounts;
  int priority = 0;
  WallTime since{};
  // False: it could not be ended when a lender asks, so it starts as of right or not at all.
  bool may_borrow = true;
};

struct RunningWork {
  std::string id, queue;
  Amounts amounts;
  int priority = 0;
  // What would have to be done again, in any unit that is the same for all.
  double lost = 0;
  bool may_end = true;
};

enum class Admission : std::uint8_t {
  kWithinQuota,
  kBorrows,
  // Within its quota, which others borrowed.
  kReclaims,
  kWaits,
  // More than the queue could ever hold.
  kNever,
  // The queue is unknown or cannot be judged.
  kInvalid,
};
std::string_view admission_name(Admission admission);
constexpr bool may_start(Admission admission) { return admission <= Admission::kBorrows; }

struct AdmissionVerdict {
  Admission admission = Admission::kInvalid;
  // Why, with amounts; empty where it may start within its quota.
  std::string sentence;
};

class ShareTree {
 public:
  // `capacity`: all there is, the measure of shares. Amounts that are too short count as kUnstated, kNoLimit
  // or 0.
  ShareTree(std::vector<std::string> models, Amounts capacity, std::vector<ShareQueue> queues);

  bool knows(std::string_view queue) const { return find(queue) != kNone; }
  // Why nothing may wait in it: a parent that is missing or above itself, or queues under it. Empty: all is
  // well.
  std::string problem(std::string_view queue) const;
  // An unknown queue's work is not counted.
  void charge(std::string_view queue, const Amounts& amounts);
  void release(std::string_view queue, const Amounts& amounts);

  AdmissionVerdict judge(std::string_view queue, const Amounts& amounts, bool may_borrow = true) const;
  // What the queue may hold as of right, kNoLimit where all; what it and those under it hold; what of that is
  // above its quota; what it could hold now.
  Amounts quota(std::string_view queue) const;
  Amounts used(std::string_view queue) const;
  Amounts borrowed(std::string_view queue) const;
  Amounts reachable(std::string_view queue) const;
  // 0..1 of all there is, not weighted.
  double dominant_share(std::string_view queue) const;

  // Indices of running work that may be ended for the request, each in a state where those before it have
  // ended. Empty where the request is above its queue's quota.
  std::vector<std::size_t> reclaim_order(std::string_view queue, const Amounts& amounts,
                                         std::span<const RunningWork> running) const;
  // The part of reclaim_order that lets the request start, with nothing in it that could go on running;
  // absent where even all of it is not enough.
  std::optional<std::vector<std::size_t>> plan_reclaim(std::string_view queue, const Amounts& amounts,
                                                       std::span<const RunningWork> running) const;
  std::string amount_text(std::size_t axis, std::int64_t amount) const;
  std::size_t axes() const { return capacity_.size(); }
  Amounts amounts_of(std::int64_t millicores, std::int64_t bytes, std::string_view model,
                     std::int64_t milliaccelerators) const;

 private:
  friend class AdmissionOrder;
  static constexpr std::size_t kNone = std::size_t(-1);
  struct Node {
    ShareQueue rules;
    std::size_t parent = kNone;
    std::vector<std::size_t> children;
    int depth = 0;
    std::string problem;
    Amounts nominal;  // the quota that holds; kNoLimit: all
    Amounts kept;     // of that, never lent
    Amounts own;      // held by its own work
    Amounts used;     // own, and what its children hold or keep
    Amounts idle;     // used when nothing runs
    Amounts held;     // by all work of it and below
    // Quotas below sum to more than its own.
    bool oversubscribed = false;
  };

  std::size_t find(std::string_view queue) const;
  void link();
  void settle_quotas(const std::vector<std::size_t>& tree);
  void add(std::size_t node, const Amounts& amounts, std::int64_t sign);
  static std::int64_t limit(const Node& node, std::size_t axis);
  static std::int64_t passed_up(const Node& node, std::size_t axis, std::int64_t used, std::int64_t added);
  // Axes on which a limit from the queue up would be passed.
  std::vector<bool> short_axes(std::size_t node, const Amounts& amounts, bool when_idle) const;
  // Whether the request stays within the quotas of `from` to `top`, both on its way up; kNone is the root.
  bool is_within(std::size_t node, const Amounts& amounts, std::size_t from, std::size_t top) const;
  // By axis, the highest queue on the way up to which it stays within quotas; empty where it passes the
  // first.
  std::vector<std::size_t> rights(std::size_t node, const Amounts& amounts) const;
  AdmissionVerdict refuse(std::size_t node, const Amounts& amounts, const std::vector<bool>& over) const;
  bool is_reclaimable(std::size_t victim, std::size_t asking, std::span<const std::size_t> tops,
                      const Amounts& amounts, const std::vector<bool>& needed) const;
  std::string borrowers_text(std::size_t node, std::span<const std::size_t> tops,
                             const std::vector<bool>& over) const;
  std::vector<std::size_t> reclaim(std::size_t node, const Amounts& amounts,
                                   std::span<const RunningWork> running, bool until_it_fits);
  double share(const Node& node, bool above_quota) const;

  std::vector<std::string> models_;
  Amounts capacity_;
  std::vector<Node> nodes_;  // sorted by name
};

// Walks pending work in the order of its turns; admitting changes shares and so the order of what follows.
// Keeps references: tree and pending work outlive it. O(log) a step in queues and jobs.
class AdmissionOrder {
 public:
  // Work of queues that `tree` does not know, or that have a problem, is left out.
  AdmissionOrder(ShareTree& tree, std::span<const PendingWork> pending, WallTime now);
  // Index of the next in turn, which is then out of the walk; absent at the end.
  std::optional<std::size_t> next();
  // The one that next() gave last starts: its queue holds it from now on.
  void admit(std::size_t index);
  // Nothing more of this queue in this walk.
  void close(std::string_view queue);
  // Place within its queue at the beginning, from 1; 0 for what was left out.
  std::size_t position(std::size_t index) const { return position_[index]; }

 private:
  // Not starving, since when starving, rank, since when waiting, id: the lowest comes first.
  using Turn = std::tuple<bool, WallTime, std::int64_t, WallTime, std::string_view>;
  // Above quota, the turn's first two, weighted share, the turn's rest, node.
  using Standing =
      std::tuple<bool, bool, WallTime, double, std::int64_t, WallTime, std::string_view, std::size_t>;
  struct Line {
    std::vector<std::size_t> jobs;
    std::size_t at = 0;
  };
  Turn turn_of(std::size_t job, const ShareQueue& rules) const;
  // Of the queue or those below it; kNone where nothing waits.
  std::size_t head(std::size_t node) const;
  Standing standing_of(std::size_t node, std::size_t job) const;
  void put_back(std::size_t node);
  template <class Change>
  void change(std::size_t node, Change change);

  ShareTree& tree_;
  std::span<const PendingWork> pending_;
  WallTime now_;
  std::vector<Line> lines_;                     // by node
  std::vector<std::set<Standing>> standing_;    // by node: its children where work waits; last: the roots
  std::vector<std::optional<Standing>> entry_;  // by node: where it stands under its parent
  std::vector<std::size_t> position_;
};

}  // namespace neap::scheduler
