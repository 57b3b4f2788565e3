// The two runtimes behind one face, so that one suite holds both to the same contract.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "neap/base/task_group.h"
#include "neap/io/real_runtime.h"
#include "neap/io/sim_runtime.h"

namespace neap::io {

class RealWorld {
 public:
  RealWorld() : runtime_(RealRuntime::create()) {
    directory_ = std::filesystem::temp_directory_path() / ("neap-io-" + runtime_->random().hex(6));
    std::filesystem::create_directories(directory_);
  }
  ~RealWorld() { std::filesystem::remove_all(directory_); }
  Runtime& runtime() { return *runtime_; }
  std::string directory() const { return directory_.string(); }
  Endpoint any_endpoint() const { return {"127.0.0.1", 0, {}}; }
  void run(Task<void> task) { runtime_->run_task(std::move(task)); }

 private:
  std::unique_ptr<RealRuntime> runtime_;
  std::filesystem::path directory_;
};

class SimulatedWorld {
 public:
  SimulatedWorld() : world_(42), machine_(world_.add_machine("hq")) {
    (void)runtime().files().make_directories("/state");
  }
  Runtime& runtime() { return machine_.runtime(); }
  std::string directory() const { return "/state"; }
  Endpoint any_endpoint() const { return {"hq", 0, {}}; }
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
  SimWorld& world() { return world_; }

 private:
  SimWorld world_;
  SimMachine& machine_;
};

}  // namespace neap::io
