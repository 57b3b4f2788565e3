// ModelService: the models of one node as the gateway sees them. Implemented by inference/ModelHost.
//
// Executor's thread only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/context.h"
#include "neap/base/task.h"
#include "neap/inference/api/engine.h"

namespace neap::inference {

// Counts and summed nanoseconds, as the statistics extension reports them.
struct DurationTotal {
  std::uint64_t count = 0;
  std::uint64_t ns = 0;
  void add(Duration duration) {
    ++count;
    ns += static_cast<std::uint64_t>(duration.count());
  }
};

struct ModelStatistics {
  std::string name;
  std::string version;
  std::uint64_t inference_count = 0;  // rows
  std::uint64_t execution_count = 0;  // runs of the engine
  std::uint64_t overloaded_count = 0;
  DurationTotal success;
  DurationTotal failure;
  DurationTotal queue;
  DurationTotal compute;
  Duration latency_p50{};  // of successes, within 12.5 %
  Duration latency_p99{};
  std::uint32_t running = 0;  // now
  std::uint32_t waiting = 0;  // now
};

class ModelService {
 public:
  virtual ~ModelService() = default;
  // kNotFound (`inference.model.unknown`), kUnavailable (`inference.model.not_ready`),
  // kResourceExhausted (`inference.overloaded`) without waiting when the queue is full; else what the
  // engine says. `request` must live until the task ends.
  virtual Task<Result<InferResponse>> infer(CallContext ctx, const InferRequest& request) = 0;
  // nullptr when absent; version empty: the active one. Valid until the next suspension.
  virtual const ModelMetadata* find_metadata(std::string_view name, std::string_view version) const = 0;
  virtual bool is_ready(std::string_view name, std::string_view version) const = 0;
  virtual bool are_all_ready() const = 0;
  virtual std::vector<std::string> versions(std::string_view name) const = 0;
  virtual std::vector<ModelStatistics> statistics(std::string_view name) const = 0;
};

}  // namespace neap::inference
