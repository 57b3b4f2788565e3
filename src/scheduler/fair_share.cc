#include "neap/scheduler/fair_share.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "internal/board.h"
#include "neap/base/saturate.h"

namespace neap::scheduler {
namespace {

std::int64_t capped_sum(std::int64_t a, std::int64_t b) { return a >= kNoLimit - b ? kNoLimit : a + b; }
std::int64_t at(const Amounts& amounts, std::size_t axis) {
  return axis < amounts.size() ? amounts[axis] : 0;
}

}  // namespace

std::string_view admission_name(Admission admission) {
  switch (admission) {
    case Admission::kWithinQuota:
      return "within-quota";
    case Admission::kBorrows:
      return "borrows";
    case Admission::kReclaims:
      return "reclaim";
    case Admission::kWaits:
      return "quota";
    case Admission::kNever:
      return "never";
    case Admission::kInvalid:
      return "invalid";
  }
  return "invalid";
}

ShareTree::ShareTree(std::vector<std::string> models, Amounts capacity, std::vector<ShareQueue> queues)
    : models_(std::move(models)), capacity_(std::move(capacity)) {
  const auto axes = kModelAxes + models_.size();
  capacity_.resize(axes, 0);
  std::ranges::sort(queues, {}, &ShareQueue::name);
  for (auto& queue : queues) {
    queue.quota.resize(axes, kUnstated);
    queue.borrowing_max.resize(axes, kNoLimit);
    queue.lending_max.resize(axes, kNoLimit);
    queue.weight = std::max<std::int64_t>(1, queue.weight);
    Node node;
    node.rules = std::move(queue);
    node.nominal.assign(axes, kNoLimit);
    node.kept = node.own = node.used = node.idle = node.held = Amounts(axes, 0);
    nodes_.push_back(std::move(node));
  }
  link();
}

void ShareTree::link() {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    auto& node = nodes_[i];
    if (node.rules.parent.empty()) continue;
    const auto parent = find(node.rules.parent);
    std::set<std::size_t> above{i};
    auto up = parent;
    while (up != kNone && above.insert(up).second) {
      const auto& name = nodes_[up].rules.parent;
      if (name.empty()) break;
      up = find(name);
    }
    if (up == kNone)
      node.problem = parent == kNone
                         ? fmt::format("its parent {} does not exist; create it or correct spec.parent",
                                       node.rules.parent)
                         : "a queue above it names a parent that does not exist";
    else if (!nodes_[up].rules.parent.empty())
      node.problem = fmt::format("it is above itself: its parents lead back to queue {}; correct spec.parent",
                                 nodes_[up].rules.name);
    else {
      node.parent = parent;
      nodes_[parent].children.push_back(i);
    }
  }
  std::vector<std::size_t> roots;
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    if (nodes_[i].parent == kNone) roots.push_back(i);
  for (const auto root : roots) {
    std::vector<std::size_t> tree{root};
    for (std::size_t i = 0; i < tree.size(); ++i)
      for (const auto child : nodes_[tree[i]].children) {
        nodes_[child].depth = nodes_[tree[i]].depth + 1;
        tree.push_back(child);
      }
    settle_quotas(tree);
  }
}

// `tree`: every queue after its parent.
void ShareTree::settle_quotas(const std::vector<std::size_t>& tree) {
  for (std::size_t axis = 0; axis < capacity_.size(); ++axis) {
    const bool is_stated =
        std::ranges::any_of(tree, [&](std::size_t i) { return nodes_[i].rules.quota[axis] != kUnstated; });
    if (!is_stated) continue;
    for (auto i = tree.rbegin(); i != tree.rend(); ++i) {
      auto& node = nodes_[*i];
      std::int64_t below = 0;
      for (const auto child : node.children) {
        below = capped_sum(below, nodes_[child].nominal[axis]);
        node.idle[axis] =
            capped_sum(node.idle[axis], std::max(nodes_[child].idle[axis], nodes_[child].kept[axis]));
      }
      node.used[axis] = node.idle[axis];
      const auto stated = node.rules.quota[axis];
      node.nominal[axis] = stated == kUnstated ? below : stated;
      node.oversubscribed = node.oversubscribed || below > node.nominal[axis];
      if (node.parent != kNone)
        node.kept[axis] = std::max<std::int64_t>(0, node.nominal[axis] - node.rules.lending_max[axis]);
    }
  }
}

std::size_t ShareTree::find(std::string_view queue) const {
  const auto it = std::ranges::lower_bound(nodes_, queue, {},
                                           [](const Node& n) { return std::string_view(n.rules.name); });
  return it == nodes_.end() || it->rules.name != queue ? kNone : std::size_t(it - nodes_.begin());
}

std::string ShareTree::problem(std::string_view queue) const {
  const auto node = find(queue);
  if (node == kNone) return fmt::format("queue {} does not exist; create it, or name one that does", queue);
  if (!nodes_[node].problem.empty()) return fmt::format("queue {}: {}", queue, nodes_[node].problem);
  if (!nodes_[node].children.empty())
    return fmt::format("queue {} has queues under it, so jobs wait in those; name one of them, like {}",
                       queue, nodes_[nodes_[node].children.front()].rules.name);
  return {};
}

std::int64_t ShareTree::limit(const Node& node, std::size_t axis) {
  if (node.parent == kNone) return node.nominal[axis];
  return capped_sum(node.nominal[axis], node.rules.borrowing_max[axis]);
}

// How much more its parent counts when `added` comes to what the queue uses.
std::int64_t ShareTree::passed_up(const Node& node, std::size_t axis, std::int64_t used, std::int64_t added) {
  return subtract_saturated(std::max(add_saturated(used, added), node.kept[axis]),
                            std::max(used, node.kept[axis]));
}

void ShareTree::add(std::size_t node, const Amounts& amounts, std::int64_t sign) {
  for (std::size_t axis = 0; axis < capacity_.size(); ++axis) {
    auto delta = sign * at(amounts, axis);
    for (auto n = node; n != kNone; n = nodes_[n].parent) {
      nodes_[n].held[axis] = add_saturated(nodes_[n].held[axis], sign * at(amounts, axis));
      const auto up = passed_up(nodes_[n], axis, nodes_[n].used[axis], delta);
      nodes_[n].used[axis] = add_saturated(nodes_[n].used[axis], delta);
      delta = up;
    }
  }
  for (std::size_t axis = 0; axis < capacity_.size(); ++axis)
    nodes_[node].own[axis] = add_saturated(nodes_[node].own[axis], sign * at(amounts, axis));
}

void ShareTree::charge(std::string_view queue, const Amounts& amounts) {
  if (const auto node = find(queue); node != kNone) add(node, amounts, 1);
}
void ShareTree::release(std::string_view queue, const Amounts& amounts) {
  if (const auto node = find(queue); node != kNone) add(node, amounts, -1);
}

std::vector<bool> ShareTree::short_axes(std::size_t node, const Amounts& amounts, bool when_idle) const {
  std::vector<bool> out(capacity_.size(), false);
  for (std::size_t axis = 0; axis < capacity_.size(); ++axis) {
    auto delta = at(amounts, axis);
    for (auto n = node; n != kNone && delta > 0; n = nodes_[n].parent) {
      const auto used = when_idle ? nodes_[n].idle[axis] : nodes_[n].used[axis];
      if (add_saturated(used, delta) > limit(nodes_[n], axis)) out[axis] = true;
      delta = passed_up(nodes_[n], axis, used, delta);
    }
  }
  return out;
}

bool ShareTree::is_within(std::size_t node, const Amounts& amounts, std::size_t from, std::size_t top) const {
  for (std::size_t axis = 0; axis < capacity_.size(); ++axis) {
    auto delta = at(amounts, axis);
    bool asked = false;
    for (auto n = node; n != kNone && delta > 0; n = nodes_[n].parent) {
      asked = asked || n == from;
      if (asked && add_saturated(nodes_[n].used[axis], delta) > nodes_[n].nominal[axis]) return false;
      if (n == top) break;
      delta = passed_up(nodes_[n], axis, nodes_[n].used[axis], delta);
    }
  }
  return true;
}

std::vector<std::size_t> ShareTree::rights(std::size_t node, const Amounts& amounts) const {
  std::vector<std::size_t> out;
  if (node == kNone || !is_within(node, amounts, node, node)) return out;
  for (std::size_t axis = 0; axis < capacity_.size(); ++axis) {
    auto delta = at(amounts, axis);
    out.push_back(node);
    for (auto n = node; n != kNone; n = nodes_[n].parent) {
      if (add_saturated(nodes_[n].used[axis], delta) > nodes_[n].nominal[axis]) break;
      out.back() = n;
      delta = passed_up(nodes_[n], axis, nodes_[n].used[axis], delta);
    }
  }
  return out;
}

AdmissionVerdict ShareTree::judge(std::string_view queue, const Amounts& amounts, bool may_borrow) const {
  if (auto text = problem(queue); !text.empty()) return {Admission::kInvalid, std::move(text)};
  const auto node = find(queue);
  const auto over = short_axes(node, amounts, false);
  if (std::ranges::find(over, true) != over.end()) return refuse(node, amounts, over);
  if (is_within(node, amounts, node, kNone)) return {Admission::kWithinQuota, {}};
  if (may_borrow || is_within(node, amounts, node, node))
    return {Admission::kBorrows, fmt::format("queue {}: borrows above its quota", queue)};
  return {
      Admission::kWaits,
      fmt::format("queue {}: it would borrow, and work that is never interrupted could not give that back; "
                  "it starts when it fits the quota",
                  queue)};
}

AdmissionVerdict ShareTree::refuse(std::size_t node, const Amounts& amounts,
                                   const std::vector<bool>& over) const {
  const auto& queue = nodes_[node].rules.name;
  const auto never = short_axes(node, amounts, true);
  const auto first = [](const std::vector<bool>& axes) {
    return std::size_t(std::ranges::find(axes, true) - axes.begin());
  };
  if (const auto axis = first(never); axis < never.size()) {
    auto most = kNoLimit;
    for (auto n = node; n != kNone; n = nodes_[n].parent)
      most = std::min(most, limit(nodes_[n], axis) - (n == node ? 0 : nodes_[n].idle[axis]));
    return {Admission::kNever,
            fmt::format("queue {}: asks {}, and never holds more than {} with what it may borrow; raise its "
                        "quota or ask for less",
                        queue, amount_text(axis, at(amounts, axis)),
                        amount_text(axis, std::max<std::int64_t>(0, most)))};
  }
  const auto axis = first(over);
  const auto asked = amount_text(axis, at(amounts, axis));
  if (const auto tops = rights(node, amounts); !tops.empty())
    if (const auto borrowers = borrowers_text(node, tops, over); !borrowers.empty())
      return {
          Admission::kReclaims,
          fmt::format("queue {}: asks {}, which is within its quota and lent to {}; it comes back when that "
                      "work has stopped or ended",
                      queue, asked, borrowers)};
  const auto& mine = nodes_[node];
  return {Admission::kWaits,
          fmt::format("queue {}: asks {}; it holds {} of its quota of {}, and {} can be had now", queue,
                      asked, amount_text(axis, mine.used[axis]), amount_text(axis, mine.nominal[axis]),
                      amount_text(axis, std::max<std::int64_t>(0, reachable(queue)[axis])))};
}

bool ShareTree::is_reclaimable(std::size_t victim, std::size_t asking, std::span<const std::size_t> tops,
                               const Amounts& amounts, const std::vector<bool>& needed) const {
  if (victim == asking) return false;
  auto a = asking, v = victim;
  std::vector<std::size_t> path;  // from the victim's queue up to below the common one
  while (a != v) {
    if (a == kNone || v == kNone) return false;  // another tree
    if (nodes_[v].depth >= nodes_[a].depth) {
      path.push_back(v);
      v = nodes_[v].parent;
    } else {
      a = nodes_[a].parent;
    }
  }
  if (v == kNone) return false;
  for (std::size_t axis = 0; axis < needed.size(); ++axis) {
    if (!needed[axis] || at(amounts, axis) <= 0 || nodes_[v].depth + 1 < nodes_[tops[axis]].depth) continue;
    // Where quotas below sum to more than the queue above has, a right there is not worth its number.
    const bool is_borrowed = std::ranges::all_of(path, [&](std::size_t n) {
      return nodes_[n].used[axis] > nodes_[n].nominal[axis] ||
             (n != path.back() && nodes_[nodes_[n].parent].oversubscribed);
    });
    if (is_borrowed) return true;
  }
  return false;
}

std::string ShareTree::borrowers_text(std::size_t node, std::span<const std::size_t> tops,
                                      const std::vector<bool>& over) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    if (is_reclaimable(i, node, tops, nodes_[i].own, over)) names.push_back(nodes_[i].rules.name);
  const auto all = names.size();
  if (all > 3) names.resize(3);
  return names.empty() ? std::string{}
                       : fmt::format("queue{} {}{}", all > 1 ? "s" : "", fmt::join(names, ", "),
                                     all > 3 ? fmt::format(" and {} more", all - 3) : "");
}

std::vector<std::size_t> ShareTree::reclaim(std::size_t node, const Amounts& amounts,
                                            std::span<const RunningWork> running, bool until_it_fits) {
  std::vector<std::size_t> taken, order;
  for (std::size_t i = 0; node != kNone && i < running.size(); ++i)
    if (running[i].may_end && find(running[i].queue) != kNone) order.push_back(i);
  std::ranges::sort(order, {}, [&](std::size_t i) {
    return std::tuple(running[i].priority, running[i].lost, std::string_view(running[i].id), i);
  });
  // What each end makes of it: whether the request fits, and how far up it is a right. As use falls, work
  // that was passed over comes into question only where the right reaches further or room is asked for, not
  // quota.
  bool for_room = false;
  auto tops = rights(node, amounts);
  for (std::size_t at_order = 0; !tops.empty() && at_order < order.size(); ++at_order) {
    auto needed = short_axes(node, amounts, false);
    if (std::ranges::find(needed, true) == needed.end()) {
      if (until_it_fits) break;
      if (!std::exchange(for_room, true)) at_order = 0;
      for (std::size_t axis = 0; axis < needed.size(); ++axis) needed[axis] = at(amounts, axis) > 0;
    }
    const auto i = order[at_order];
    const auto victim = find(running[i].queue);
    if (!is_reclaimable(victim, node, tops, running[i].amounts, needed)) continue;
    add(victim, running[i].amounts, -1);
    taken.push_back(i);
    order.erase(order.begin() + std::ptrdiff_t(at_order--));
    if (auto now = rights(node, amounts); now != tops) {
      tops = std::move(now);
      at_order = std::size_t(-1);
    }
  }
  return taken;
}

std::vector<std::size_t> ShareTree::reclaim_order(std::string_view queue, const Amounts& amounts,
                                                  std::span<const RunningWork> running) const {
  return ShareTree(*this).reclaim(find(queue), amounts, running, false);
}

std::optional<std::vector<std::size_t>> ShareTree::plan_reclaim(std::string_view queue,
                                                                const Amounts& amounts,
                                                                std::span<const RunningWork> running) const {
  const auto node = find(queue);
  if (node == kNone) return std::nullopt;
  auto then = *this;
  const auto fits = [&] {
    const auto over = then.short_axes(node, amounts, false);
    return std::ranges::find(over, true) == over.end();
  };
  auto taken = then.reclaim(node, amounts, running, true);
  if (!fits()) return std::nullopt;
  for (auto i = taken.size(); i-- > 0;) {
    const auto victim = then.find(running[taken[i]].queue);
    then.add(victim, running[taken[i]].amounts, 1);
    if (fits()) {
      taken.erase(taken.begin() + std::ptrdiff_t(i));
    } else {
      then.add(victim, running[taken[i]].amounts, -1);
    }
  }
  return taken;
}

Amounts ShareTree::quota(std::string_view queue) const {
  const auto node = find(queue);
  return node == kNone ? Amounts(capacity_.size(), 0) : nodes_[node].nominal;
}
Amounts ShareTree::used(std::string_view queue) const {
  const auto node = find(queue);
  return node == kNone ? Amounts(capacity_.size(), 0) : nodes_[node].held;
}
Amounts ShareTree::borrowed(std::string_view queue) const {
  Amounts out(capacity_.size(), 0);
  if (const auto node = find(queue); node != kNone)
    for (std::size_t axis = 0; axis < out.size(); ++axis)
      out[axis] = std::max<std::int64_t>(0, nodes_[node].used[axis] - nodes_[node].nominal[axis]);
  return out;
}
Amounts ShareTree::reachable(std::string_view queue) const {
  const auto node = find(queue);
  Amounts out(capacity_.size(), 0);
  if (node == kNone) return out;
  std::vector<std::size_t> path;
  for (auto n = node; n != kNone; n = nodes_[n].parent) path.push_back(n);
  for (std::size_t axis = 0; axis < out.size(); ++axis) {
    auto room = kNoLimit;
    for (auto i = path.rbegin(); i != path.rend(); ++i) {
      const auto& n = nodes_[*i];
      const auto kept = std::max<std::int64_t>(0, n.kept[axis] - n.used[axis]);
      const auto bound = limit(n, axis);
      room = std::min(bound >= kNoLimit ? kNoLimit : bound - n.used[axis],
                      capped_sum(kept, std::max<std::int64_t>(0, room)));
    }
    out[axis] = room;
  }
  return out;
}

double ShareTree::share(const Node& node, bool above_quota) const {
  double out = 0;
  for (std::size_t axis = 0; axis < capacity_.size(); ++axis) {
    const auto amount = above_quota ? node.used[axis] - node.nominal[axis] : node.held[axis];
    if (amount > 0) out = std::max(out, double(amount) / double(std::max(capacity_[axis], amount)));
  }
  return out;
}

double ShareTree::dominant_share(std::string_view queue) const {
  const auto node = find(queue);
  return node == kNone ? 0 : share(nodes_[node], false);
}

std::string ShareTree::amount_text(std::size_t axis, std::int64_t amount) const {
  if (amount >= kNoLimit) return "no limit";
  if (axis == kCoresAxis) return fmt::format("{} cores", cores_text(amount));
  if (axis == kMemoryAxis) return fmt::format("{} of memory", gib_text(amount));
  return fmt::format("{} {}", accelerators_text(amount),
                     axis == kAcceleratorsAxis ? std::string("accelerators") : models_[axis - kModelAxes]);
}

Amounts ShareTree::amounts_of(std::int64_t millicores, std::int64_t bytes, std::string_view model,
                              std::int64_t milliaccelerators) const {
  Amounts out(capacity_.size(), 0);
  out[kCoresAxis] = millicores;
  out[kMemoryAxis] = bytes;
  out[kAcceleratorsAxis] = milliaccelerators;
  const auto found = std::ranges::find(models_, model);
  if (found != models_.end()) out[kModelAxes + std::size_t(found - models_.begin())] = milliaccelerators;
  return out;
}

AdmissionOrder::AdmissionOrder(ShareTree& tree, std::span<const PendingWork> pending, WallTime now)
    : tree_(tree),
      pending_(pending),
      now_(now),
      lines_(tree.nodes_.size()),
      standing_(tree.nodes_.size() + 1),
      entry_(tree.nodes_.size()),
      position_(pending.size(), 0) {
  for (std::size_t i = 0; i < pending.size(); ++i)
    if (const auto node = tree.find(pending[i].queue);
        node != ShareTree::kNone && tree.nodes_[node].problem.empty() && tree.nodes_[node].children.empty())
      lines_[node].jobs.push_back(i);
  for (std::size_t node = 0; node < lines_.size(); ++node) {
    auto& jobs = lines_[node].jobs;
    if (jobs.empty()) continue;
    const auto& rules = tree.nodes_[node].rules;
    std::vector<std::pair<Turn, std::size_t>> turns;
    turns.reserve(jobs.size());
    for (const auto job : jobs) turns.emplace_back(turn_of(job, rules), job);
    std::ranges::sort(turns);
    for (std::size_t i = 0; i < turns.size(); ++i) {
      jobs[i] = turns[i].second;
      position_[jobs[i]] = i + 1;
    }
  }
  std::vector<std::size_t> deepest(lines_.size());
  for (std::size_t i = 0; i < deepest.size(); ++i) deepest[i] = i;
  std::ranges::sort(deepest, std::greater<>{}, [&](std::size_t i) { return tree.nodes_[i].depth; });
  for (const auto node : deepest) put_back(node);
}

AdmissionOrder::Turn AdmissionOrder::turn_of(std::size_t job, const ShareQueue& rules) const {
  const auto& work = pending_[job];
  const auto waited = std::max<Duration>(Duration{}, now_ - work.since);
  const bool ages = rules.ageing.count() > 0;
  if (ages && waited / kStarvingAgeings >= rules.ageing) return {false, work.since, 0, work.since, work.id};
  const auto rank = rules.is_fifo ? 0 : work.priority + (ages ? waited / rules.ageing : 0);
  return {true, WallTime::max(), -std::int64_t(rank), work.since, work.id};
}

std::size_t AdmissionOrder::head(std::size_t node) const {
  const auto& line = lines_[node];
  if (line.at < line.jobs.size()) return line.jobs[line.at];
  return standing_[node].empty() ? ShareTree::kNone : head(std::get<std::size_t>(*standing_[node].begin()));
}

AdmissionOrder::Standing AdmissionOrder::standing_of(std::size_t node, std::size_t job) const {
  const auto& at_node = tree_.nodes_[node];
  const auto leaf = tree_.find(pending_[job].queue);
  const bool is_over = !tree_.is_within(leaf, pending_[job].amounts, node, node);
  const auto& rules = tree_.nodes_[leaf].rules;
  auto [patience, starving_since, rank, since, id] = turn_of(job, rules);
  return {is_over,
          patience,
          starving_since,
          tree_.share(at_node, is_over) / double(at_node.rules.weight),
          rank,
          since,
          id,
          node};
}

void AdmissionOrder::put_back(std::size_t node) {
  const auto job = head(node);
  if (job == ShareTree::kNone) return;
  const auto parent = tree_.nodes_[node].parent;
  entry_[node] = standing_of(node, job);
  standing_[parent == ShareTree::kNone ? lines_.size() : parent].insert(*entry_[node]);
}

// Changes what `node` holds or has waiting, and where it and those above it stand.
template <class Change>
void AdmissionOrder::change(std::size_t node, Change change) {
  for (auto n = node; n != ShareTree::kNone; n = tree_.nodes_[n].parent) {
    if (!entry_[n]) continue;
    const auto parent = tree_.nodes_[n].parent;
    standing_[parent == ShareTree::kNone ? lines_.size() : parent].erase(*entry_[n]);
    entry_[n].reset();
  }
  change();
  for (auto n = node; n != ShareTree::kNone; n = tree_.nodes_[n].parent) put_back(n);
}

std::optional<std::size_t> AdmissionOrder::next() {
  auto at = lines_.size();
  while (!standing_[at].empty()) at = std::get<std::size_t>(*standing_[at].begin());
  if (at == lines_.size()) return std::nullopt;
  auto& line = lines_[at];
  const auto job = line.jobs[line.at];
  change(at, [&] { ++line.at; });
  return job;
}

void AdmissionOrder::admit(std::size_t index) {
  const auto node = tree_.find(pending_[index].queue);
  if (node != ShareTree::kNone) change(node, [&] { tree_.add(node, pending_[index].amounts, 1); });
}

void AdmissionOrder::close(std::string_view queue) {
  const auto node = tree_.find(queue);
  if (node != ShareTree::kNone) change(node, [&] { lines_[node].at = lines_[node].jobs.size(); });
}

}  // namespace neap::scheduler
