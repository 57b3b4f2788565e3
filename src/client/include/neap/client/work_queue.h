// WorkQueue: keys that need attention, each at most once in the queue and at most once in work.
//
// 1. A key that is added while it is in work is queued again when done() is called.
// 2. Keys come out in the order they became ready.
// 3. When `keys_max` keys are known, a new key is refused: add() returns false and the caller's next full
//    resync brings it back. (Keys are object names, so the bound is a bound on objects.)
// Executor's thread only.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "neap/base/executor.h"
#include "neap/base/sync.h"

namespace neap::client {

struct WorkQueueOptions {
  Duration retry_first = 50ms;  // doubles with each retry() of a key, until forget()
  Duration retry_max = 60s;
  double keys_per_second = 0;  // get() gives out no more than this on average; 0: no limit
  int burst = 10;
  std::size_t keys_max = 100'000;
};

class WorkQueue {
 public:
  explicit WorkQueue(Executor& executor, WorkQueueOptions options = {});
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  bool add(std::string key);
  // Keeps the earlier of two times for the same key.
  bool add_after(std::string key, Duration delay);
  // After the key's back-off, which doubles.
  bool retry(std::string key);
  // The key's next retry() begins with retry_first again.
  void forget(const std::string& key);
  int retries(const std::string& key) const;
  // The next key; it is in work until done(key). nullopt once closed and empty.
  Task<Result<std::optional<std::string>>> get(CallContext ctx);
  void done(const std::string& key);
  // Lets get() return what is queued, then nullopt; nothing can be added.
  void close();
  std::size_t size() const;  // queued, without delayed and in work

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace neap::client
