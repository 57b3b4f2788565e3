// The two runtimes behind one face, so that one suite holds both to the same contract.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "neap/base/task_group.h"
#include "neap/io/real_runtime.h"

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

}  // namespace neap::io
