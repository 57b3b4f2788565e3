#include "internal/history.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::store::internal {
namespace {

constexpr std::size_t kLoadEvents = 256;

std::size_t cost_of(const HistoryEntry& e) {
  return e.event.kv.key.size() + e.event.kv.value.size() + sizeof(e);
}

}  // namespace

class HistoryWatch final : public Watch {
 public:
  HistoryWatch(std::shared_ptr<History> history, std::string prefix, EventId cursor)
      : history_(std::move(history)),
        prefix_(std::move(prefix)),
        cursor_(cursor),
        changed_(history_->executor()) {
    history_->watches_.insert(this);
  }
  ~HistoryWatch() override { history_->watches_.erase(this); }

  Task<Result<WatchEvent>> next(CallContext ctx) override {
    for (;;) {
      if (!loaded_.empty()) {
        auto entry = std::move(loaded_.front());
        loaded_.pop_front();
        cursor_ = entry.id;
        if (loaded_.empty() && loaded_all_) cursor_ = std::max(cursor_, loaded_through_);
        co_return std::move(entry.event);
      }
      if (history_->is_closed())
        co_return fail(Code::kUnavailable, "store.closed", "the store is closed; connect again later");
      NEAP_CO_TRY_VOID(ctx.check(history_->executor().now()));
      if (is_behind()) co_return lagging();
      if (cursor_ < history_->complete_after()) {
        NEAP_CO_TRY_VOID(co_await load());
        continue;
      }
      if (auto found = scan()) co_return std::move(*found);
      waiting_ = true;
      auto status = co_await changed_.wait(ctx, changed_.generation());
      waiting_ = false;
      if (!status) co_return fail(std::move(status).error());
    }
  }
  Revision position() const override {
    // In the middle of a commit only the one before it is complete.
    const Revision at = revision_of(cursor_);
    return cursor_ == last_id_of(at) ? at : Revision{to_number(at) - 1};
  }

  void on_append(const std::vector<HistoryEntry>& entries, EventId newest) {
    if (!waiting_) return;
    // A gap that compaction left must be told, not passed over.
    if (is_behind()) return wake();
    for (const auto& e : entries)
      if (e.id > cursor_ && e.event.kv.key.starts_with(prefix_)) return wake();
    cursor_ = std::max(cursor_, newest);
  }
  // From here on the cursor is next()'s: what is appended before that runs must not move it past what woke
  // it.
  void wake() {
    waiting_ = false;
    changed_.notify_all();
  }

 private:
  bool is_behind() const {
    return cursor_ < last_id_of(history_->compacted()) ||
           (!history_->loader_ && cursor_ < history_->complete_after());
  }
  std::unexpected<Error> lagging() const {
    return fail(
        Code::kOutOfRange, "store.watch.lagging",
        fmt::format("the watch of \"{}\" stands at revision {}, and the store has forgotten what came "
                    "right after; list again and watch from there",
                    prefix_, to_number(revision_of(cursor_))));
  }
  // Reads the part that has left the ring.
  Task<Status> load() {
    const EventId through = history_->complete_after();
    NEAP_CO_TRY(auto entries, co_await history_->loader_(prefix_, cursor_, through, kLoadEvents));
    // A compaction may have taken rows away while they were read.
    if (is_behind()) co_return lagging();
    loaded_all_ = entries.size() < kLoadEvents;
    loaded_through_ = through;
    if (entries.empty()) cursor_ = std::max(cursor_, through);
    std::move(entries.begin(), entries.end(), std::back_inserter(loaded_));
    co_return ok();
  }
  std::optional<WatchEvent> scan() {
    auto& ring = history_->ring_;
    auto it = std::upper_bound(ring.begin(), ring.end(), cursor_,
                               [](EventId id, const HistoryEntry& e) { return id < e.id; });
    for (; it != ring.end(); ++it) {
      cursor_ = it->id;
      if (it->event.kv.key.starts_with(prefix_)) return it->event;
    }
    cursor_ = std::max(cursor_, last_id_of(history_->newest()));
    return std::nullopt;
  }

  std::shared_ptr<History> history_;
  const std::string prefix_;
  // Everything up to this id was delivered or does not match.
  EventId cursor_;
  bool waiting_ = false;
  Notifier changed_;
  std::deque<HistoryEntry> loaded_;
  EventId loaded_through_ = 0;
  bool loaded_all_ = false;
};

History::History(Executor& executor, HistoryLimits limits, Revision newest, Revision compacted, Loader loader)
    : executor_(executor),
      limits_(limits),
      loader_(std::move(loader)),
      complete_after_(last_id_of(newest)),
      newest_(newest),
      compacted_(compacted) {}

void History::append(std::vector<HistoryEntry> entries, Revision revision) {
  NEAP_ASSERT(revision > newest_);
  newest_ = revision;
  for (auto* watch : watches_) watch->on_append(entries, last_id_of(revision));
  for (auto& e : entries) {
    bytes_ += cost_of(e);
    ring_.push_back(std::move(e));
  }
  while (ring_.size() > limits_.events_max || bytes_ > limits_.bytes_max) {
    // The newest commit stays, whatever its size: watches wake up for it.
    if (revision_of(ring_.front().id) == newest_) break;
    drop_oldest_commit();
  }
}

void History::drop_oldest_commit() {
  const Revision revision = revision_of(ring_.front().id);
  while (!ring_.empty() && revision_of(ring_.front().id) == revision) {
    bytes_ -= cost_of(ring_.front());
    ring_.pop_front();
  }
  complete_after_ = last_id_of(revision);
}

void History::compact(Revision at) {
  compacted_ = std::max(compacted_, at);
  while (!ring_.empty() && revision_of(ring_.front().id) <= compacted_) drop_oldest_commit();
  complete_after_ = std::max(complete_after_, last_id_of(std::min(compacted_, newest_)));
}

Result<std::unique_ptr<Watch>> History::watch(std::string prefix, Revision after) {
  if (closed_) return fail(Code::kUnavailable, "store.closed", "the store is closed; connect again later");
  if (after < compacted_ || (!loader_ && last_id_of(after) < complete_after_))
    return fail(
        Code::kOutOfRange, "store.revision.compacted",
        fmt::format("revision {} is older than the history, which begins after {}; list again and watch "
                    "from the list's revision",
                    to_number(after), to_number(loader_ ? compacted_ : revision_of(complete_after_))));
  return std::make_unique<HistoryWatch>(shared_from_this(), std::move(prefix), last_id_of(after));
}

void History::close() {
  closed_ = true;
  for (auto* watch : watches_) watch->wake();
}

}  // namespace neap::store::internal
