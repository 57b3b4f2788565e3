// FakeEngine: a deterministic engine for dense models, with a gate to hold runs in the middle.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "neap/inference/api/engine.h"
#include "neap/inference/linear_model.h"

namespace neap::inference {

// Loads what to_fake_model() writes. Thread-safe. Must outlive its models.
class FakeEngine final : public Engine {
 public:
  Result<std::unique_ptr<LoadedModel>> load(const ModelSource& source) override;

  // While held, each infer blocks its thread after it has been counted as started.
  void hold();
  void release();
  int started() const { return started_; }
  int live_models() const { return live_models_; }
  // Runs with more rows than this fail; 0: no limit.
  void fail_above_rows(std::int64_t rows) { fail_above_rows_ = rows; }

 private:
  friend class FakeModel;
  void pass_gate();

  std::mutex mutex_;
  std::condition_variable opened_;
  bool held_ = false;
  std::atomic<int> started_ = 0;
  std::atomic<int> live_models_ = 0;
  std::atomic<std::int64_t> fail_above_rows_ = 0;
};

}  // namespace neap::inference
