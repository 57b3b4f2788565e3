// One simulated machine and a way to run a scenario on it to its end.
#pragma once

#include <gtest/gtest.h>

#include "neap/base/task_group.h"
#include "neap/io/sim_runtime.h"

namespace neap::client {

class SimRun {
 public:
  SimRun() : world_(7), machine_(world_.add_machine("here")) {}
  io::Runtime& runtime() { return machine_.runtime(); }
  io::SimWorld& world() { return world_; }
  void run(Task<void> task) {
    TaskGroup group(runtime().executor());
    bool done = false;
    group.spawn([](Task<void> inner, bool& flag) -> Task<void> {
      co_await std::move(inner);
      flag = true;
    }(std::move(task), done));
    world_.run_for(1h, [&] { return done && group.running() == 0; });
    EXPECT_TRUE(done) << "the scenario did not end within an hour of simulated time";
    if (!done) group.abandon();
  }
  void pass(Duration time) { world_.run_for(time); }

 private:
  io::SimWorld world_;
  io::SimMachine& machine_;
};

}  // namespace neap::client
