// Collector: what follows from a deletion: dependents go when their owner is gone, namespaces are emptied,
// old Events expire.
//
// 1. Level-triggered: everything it acts on it reads from the store first; a missed event is found by the
//    sweep that runs when everything is known and then every few minutes.
// 2. It deletes a dependent only after it saw that no owner of it exists any more under that uid.
// 3. Foreground: dependents go first; those that say blockOwnerDeletion hold the owner back. Orphan: the
//    reference is taken out of the dependents instead.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "internal/rest.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"

namespace neap::apiserver {

class Collector {
 public:
  struct Options {
    Duration sweep_interval = std::chrono::minutes(5);
    Duration event_lifetime = std::chrono::hours(1);
  };
  Collector(Executor& executor, Rest& rest, Options options);
  void start();
  Task<void> stop();
  void abandon();
  // While it is off it only learns who owns what; turned on it looks at everything.
  void set_active(bool on);
  // Called for every event, in order, and for what was there before.
  void observe(const EventPtr& event);
  void learn(const std::string& key, const WatchHub::Known& known);
  // Nothing left to do: for tests that wait for quiet.
  bool is_idle() const { return queue_.empty() && !busy_; }

 private:
  void index(const std::string& key, const Json& object);
  void forget(const std::string& key);
  void enqueue(std::string key);
  Task<void> work();
  Task<void> sweep_regularly();
  Task<void> sweep();
  // Handles one key: true when done, false to try again later.
  Task<bool> handle(std::string key);
  Task<bool> collect_dependent(std::string key, Json object, Revision revision);
  Task<bool> finish_owner(std::string key, Json object, Revision revision);
  // Work goes first, then everything else.
  Task<bool> empty_namespace(std::string key, Json object, Revision revision);
  Task<void> tell_remaining(std::string key, Json object, Revision revision,
                            std::map<std::string, std::size_t> remaining);
  bool concerns(const ObjectEvent& event) const;
  // Whether the hub's state, which is that of the event, holds every owner.
  bool knows_owners(const Json& object, std::string_view ns) const;
  Task<bool> owner_exists(const Json& reference, std::string_view ns);
  const api::KindEntry* kind_of(std::string_view key) const;

  Executor& executor_;
  Rest& rest_;
  Options options_;
  TaskGroup tasks_;
  Notifier changed_, sweep_now_;
  std::map<std::string, std::set<std::string>, std::less<>> dependents_;  // owner uid -> keys
  std::map<std::string, std::vector<std::string>, std::less<>> owners_;   // key -> owner uids
  std::map<std::string, std::string, std::less<>> waiting_owners_;        // uid -> key, foreground deletion
  std::deque<std::string> queue_;
  std::set<std::string, std::less<>> queued_;
  bool busy_ = false, active_ = true;
};

}  // namespace neap::apiserver
