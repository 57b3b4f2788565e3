// WatchHub: one watch on the store, fanned out to every watcher of the API.
//
// 1. Events reach a watcher in revision order, each once, from its starting revision on.
// 2. A watcher has a bounded queue; one that does not keep up is ended with kOutOfRange (410) and slows
//    nobody else.
// 3. The last events stay in a bounded history, so that a watcher may start in the past; older starts get
//    kOutOfRange.
// 4. An event is parsed and encoded at most once, whoever watches; its objects are never changed.
// 5. The hub knows the newest text of every object: what an object was before an event decides whether a
//    selector saw it come or go.
// 6. An event costs no more than the watchers it may concern: one of a single key, or of the objects with one
//    value in a field, is found by that.
// 7. It begins empty and follows the store at once; what the store holds is read page by page meanwhile.
// Until
//    is_whole() it knows a part, which may be ahead of its position; what an object was before an event is
//    then asked of the store.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "internal/object_text.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"
#include "neap/store/store.h"

namespace neap::apiserver {

class ObjectEvent {
 public:
  enum class Type { kAdded, kModified, kDeleted };
  ObjectEvent(Type type, std::string key, Revision revision, std::shared_ptr<const std::string> text,
              std::shared_ptr<const std::string> before)
      : type(type),
        key(std::move(key)),
        revision(revision),
        text_(std::move(text)),
        before_(std::move(before)) {}

  const Type type;
  const std::string key;
  const Revision revision;
  // The object with this event's resourceVersion; on kDeleted its last state.
  const Json& object() const;
  // The same for whoever keeps it: not held by the event as well, which stays in the history.
  Json take_object() const;
  // Its state before; null for kAdded.
  const Json* before() const;
  // {"type":...,"object":...}\n as a watch sends it.
  const std::string& line(Type as) const;
  // As stored: without a resourceVersion. Its state before is null for kAdded.
  const std::string& text() const { return *text_; }
  const std::string* text_before() const { return before_.get(); }
  std::size_t bytes() const { return key.size() + text_->size(); }

 private:
  std::shared_ptr<const std::string> text_, before_;
  mutable std::optional<Json> object_json_, before_json_;
  mutable std::array<std::string, 3> lines_;
};
using EventPtr = std::shared_ptr<const ObjectEvent>;

class WatchHub;

// Objects with that text at a dotted path ("spec.node"); an empty path stands for all.
struct FieldInterest {
  std::string path, value;
};

class Watcher {
 public:
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  // All events that are there, at least one. kOutOfRange when this watcher fell behind, kCancelled or
  // kDeadlineExceeded by the context, kUnavailable when the hub stopped.
  Task<Result<std::vector<EventPtr>>> take(CallContext ctx);
  // Every matching event up to here has been returned by take(), when the queue is empty.
  Revision position() const;
  bool is_idle() const { return queue_.empty(); }

 private:
  friend class WatchHub;
  Watcher(WatchHub& hub, std::string prefix, FieldInterest interest, Revision after, std::size_t queue_max);
  void offer(const EventPtr& event);

  WatchHub* hub_;
  const std::string prefix_;
  const FieldInterest interest_;
  Revision after_;
  const std::size_t queue_max_;
  std::vector<EventPtr> queue_;
  bool overflowed_ = false;
  Notifier changed_;
};

class WatchHub {
 public:
  struct Options {
    std::size_t history_events = 8192;
    std::size_t history_bytes = 16u << 20;
    std::size_t watcher_queue_max = 4096;
  };
  WatchHub(Executor& executor, store::Store& store, Options options);
  ~WatchHub();

  // Newest known text and mod revision of a key.
  struct Known {
    std::shared_ptr<const std::string> text;
    Revision revision{};
  };
  struct Observers {
    // Every event after the revision that start() names, before any watcher sees it.
    std::function<void(const EventPtr&)> on_event;
    // What the store held at some time since, each object at least once, here or as an event.
    std::function<void(const std::string& key, const Known&)> on_known;
    // The store's content cannot be read: nothing is watched any more.
    std::function<void(const Error&)> on_failure;
  };
  // Follows the store, from as far back as its history allows. `now`: a revision the store has shown;
  // `known`: what of it the observers were told already, so that they hear of its end, too.
  Status start(Revision now, Observers observers, std::vector<store::KeyValue> known = {});
  Task<void> stop();
  void abandon();

  // Events of keys under `prefix` after that revision; kOutOfRange when the history no longer has them.
  // A watcher with an interest gets what may concern it, and perhaps more.
  Result<std::unique_ptr<Watcher>> watch(std::string prefix, Revision after, FieldInterest interest = {});
  // True when everything up to `revision` is known here; waits a moment for it.
  Task<bool> reach(CallContext ctx, Revision revision);
  Revision position() const { return position_; }
  std::size_t watchers() const;
  // Whether everything up to position() is known, and nothing after it.
  bool is_whole() const { return is_whole_; }
  // Waits for that. kUnavailable when the hub stopped.
  Task<Status> whole(CallContext ctx);

  // Null when absent, or not read yet. May lag behind the store.
  const Known* find(std::string_view key) const;
  // Keys under `prefix` behind `key`.
  std::int64_t count_after(std::string_view prefix, std::string_view key) const;
  // Keys of the kind whose objects have that text at that path, in order. The first question about a path
  // reads all objects of the kind, those after it cost what they find. Only of a hub that is whole
  // (asserted).
  const std::set<std::string>& keys_with(const std::string& kind_prefix, const FieldInterest& interest);
  // Visits all keys under `prefix`, in order.
  void for_each(std::string_view prefix,
                const std::function<void(const std::string& key, const Known&)>& visit) const;

 private:
  friend class Watcher;
  Task<void> follow();
  Task<void> load(Revision now);
  Task<Status> load_pages(Revision now);
  Task<void> let_past_come_first(Revision now);
  Task<Status> wait_to_retry(const Error& error, int& attempts);
  void take_page(std::vector<store::KeyValue> items);
  Task<Status> reload();
  void begin_at(std::unique_ptr<store::Watch> watch, Revision revision);
  Task<std::shared_ptr<const std::string>> text_before(const store::WatchEvent& event);
  void apply(store::WatchEvent event, std::shared_ptr<const std::string> before);
  void forget_history(Revision through);
  void fail_for_good(const Error& error);
  void end();
  void fail_all();
  void tell_difference(const std::map<std::string, Known, std::less<>>& before);
  static std::string channel_of(std::string_view key);

  Executor& executor_;
  store::Store& store_;
  Options options_;
  TaskGroup tasks_;
  Observers observers_;
  Revision observed_after_{};
  std::unique_ptr<store::Watch> watch_;
  std::map<std::string, Known, std::less<>> known_;
  std::deque<EventPtr> history_;
  std::size_t history_bytes_ = 0;
  Revision history_after_{};  // the history holds every event after this
  Revision position_{};
  bool stopped_ = false;
  bool is_whole_ = false;
  bool is_applying_ = false;
  std::uint64_t reloads_ = 0;
  // Removed while pages are read: one that was read before must not bring them back.
  std::unordered_map<std::string, Revision> gone_;
  using Watchers = std::vector<Watcher*>;
  // The watchers of one kind.
  struct Channel {
    Watchers all;
    std::unordered_map<std::string, Watchers> by_key;
    std::map<std::string, std::unordered_map<std::string, Watchers>> by_field;  // path, then value
  };
  Watchers& place_of(const Watcher& watcher);
  void offer(Channel& channel, const EventPtr& event);
  void forget(const Watcher& watcher);
  template <class Visit>
  void each_watcher(Visit visit) const;
  void index(const EventPtr& event);
  std::unordered_map<std::string, Channel> channels_;  // by kind prefix
  // Keys by value, by kind prefix and path.
  std::map<std::pair<std::string, std::string>, std::unordered_map<std::string, std::set<std::string>>>
      indexes_;
  Notifier moved_;
};

}  // namespace neap::apiserver
