// ResourceQuota (v1): what one project may hold, enforced in the commit that would exceed it.
//
// 1. A write that needs more writes the quota's status in the same commit, under the quota's revision: two
// writers
//    cannot both take the last of something.
// 2. What is given back is found by counting: the keeper recomputes `used` when an object of the project goes
// or
//    asks for less, under the revision of what it counted.
//
// Limits it knows: count/PLURAL.GROUP (core kinds: count/PLURAL, or PLURAL alone), and requests.cpu (or cpu),
// requests.memory (or memory), requests.MODEL for accelerators: the sum over the project's TrainingJobs that
// have not ended and its InferenceServices, replicas times what each replica asks.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "internal/rest.h"
#include "neap/base/sync.h"
#include "neap/base/task_group.h"

namespace neap::apiserver {

// By limit's name; thousandths, bytes for memory.
using Amounts = std::map<std::string, std::int64_t, std::less<>>;
// What one object holds; empty for null.
Amounts amounts_of(const api::KindEntry& kind, const Json* object);
// Names in spec.hard that nothing here counts, as sentences for the user.
std::vector<std::string> unenforced_limits(const api::KindTable& kinds, const Json& quota);
// Writes to commit beside the change from `before` to `after` (null: absent); a Failure names what is
// exceeded.
Task<Outcome<std::vector<store::Op>>> charge_quotas(const Rest& rest, const Request& request,
                                                    std::string name, const Json* before, const Json* after);

class QuotaKeeper {
 public:
  QuotaKeeper(Executor& executor, Rest& rest)
      : executor_(executor), rest_(rest), tasks_(executor), changed_(executor) {}
  void start();
  Task<void> stop() { return tasks_.stop(); }
  void abandon() { tasks_.abandon(); }
  // While it is off it only learns where quotas are; turned on it recounts them all.
  void set_active(bool on);
  // Called for every event, in order, and for what was there before.
  void observe(const EventPtr& event);
  void learn(const std::string& key);

 private:
  void enqueue(std::string_view ns);
  Task<void> work();
  // False: again later.
  Task<bool> recount(std::string ns);

  Executor& executor_;
  Rest& rest_;
  TaskGroup tasks_;
  Notifier changed_;
  std::map<std::string, std::set<std::string>, std::less<>> quotas_;  // namespace -> keys
  std::set<std::string, std::less<>> queued_;
  bool active_ = true;
};

}  // namespace neap::apiserver
