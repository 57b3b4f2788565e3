// WorkerPool: the threads that run_blocking uses. Jobs run in order of arrival; the destructor lets the
// running ones end, drops the rest and joins.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "neap/base/executor.h"

namespace neap::io {

class WorkerPool {
 public:
  explicit WorkerPool(unsigned threads);
  ~WorkerPool();
  void submit(Job job);

 private:
  void work();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace neap::io
