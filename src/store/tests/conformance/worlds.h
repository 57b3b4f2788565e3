// What the conformance suite runs on: a World makes stores, runs tasks on its executor, and says whether
// its stores keep what they were told.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "neap/base/executor.h"
#include "neap/store/store.h"

namespace neap::store::conformance {

class World {
 public:
  virtual ~World() = default;
  virtual Executor& executor() = 0;
  // Opens the same store again each time. Ends the test process when it cannot.
  virtual Task<std::unique_ptr<Store>> open() = 0;
  virtual bool is_durable() const { return true; }
  // Runs until the task has ended.
  virtual void run(Task<void> task) = 0;
};

struct Kind {
  const char* name;
  std::function<std::unique_ptr<World>()> make;
  const char* program = nullptr;  // it needs; its tests are skipped where that is missing
};
std::vector<Kind> all_kinds();

}  // namespace neap::store::conformance
