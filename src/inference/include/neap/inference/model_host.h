// ModelHost: the models one process serves, by name and version.
//
// 1. A new version loads and warms up beside the running one; activate() switches in one step; a version
//    that is taken away answers all requests it has accepted first. No request is dropped.
// 2. A version runs at most max_concurrency requests, at most max_queue wait, the next is told so at once
//    (kResourceExhausted, `inference.overloaded`).
// 3. A run that is expected to take less than `inline_below` happens on the executor itself, which is
//    cheaper than two thread switches; longer ones go to the runtime's workers.
//
// Executor's thread only. The host must be stopped before it is destroyed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/task_group.h"
#include "neap/inference/api/engine.h"
#include "neap/inference/api/model_service.h"
#include "neap/io/runtime.h"

namespace neap::inference {

struct ModelOptions {
  std::uint32_t max_concurrency = 2;
  std::uint32_t max_queue = 256;  // requests, those in a forming batch included
  // Rows of one batched run; batching needs a model whose inputs and outputs all have a variable first
  // dimension and no BYTES. Other models run request by request whatever stands here.
  std::uint32_t max_batch = 1;
  Duration max_batch_delay{0};  // longest wait for company; 0: no batching
  bool warm_up = true;
};

struct ModelHostOptions {
  std::size_t versions_max = 128;  // over all models
  Duration inline_below = 200us;   // 0: never inline
};

class ModelHost final : public ModelService {
 public:
  struct Dependencies {
    io::Runtime& runtime;
    Engine& engine;
  };
  explicit ModelHost(Dependencies dependencies, ModelHostOptions options = {});
  ~ModelHost() override;

  // Loads and warms up on a worker; not active before activate(), but reachable by its version.
  // kAlreadyExists for a version that is there; whatever runs keeps running when this fails.
  Task<Status> load(CallContext ctx, ModelSource source, ModelOptions options);
  // kNotFound, or kFailedPrecondition while the version still loads.
  Status activate(std::string_view name, std::string_view version);
  // Takes the version out, waits for its requests, frees it. When ctx ends first the rest happens by itself.
  Task<Status> unload(CallContext ctx, std::string name, std::string version);
  // load, activate, unload the version that was active before.
  Task<Status> deploy(CallContext ctx, ModelSource source, ModelOptions options);
  // Refuses new requests, ends the accepted ones, frees all models.
  Task<void> stop();
  // Simulated crash: drops everything now.
  void abandon();

  Task<Result<InferResponse>> infer(CallContext ctx, const InferRequest& request) override;
  const ModelMetadata* find_metadata(std::string_view name, std::string_view version) const override;
  bool is_ready(std::string_view name, std::string_view version) const override;
  bool are_all_ready() const override;
  std::vector<std::string> versions(std::string_view name) const override;
  std::vector<ModelStatistics> statistics(std::string_view name) const override;
  std::string_view active_version(std::string_view name) const;

 private:
  struct Version;
  struct Model {
    std::string active;
    std::map<std::string, std::shared_ptr<Version>, std::less<>> versions;
  };
  struct BatchItem;
  class Slot;
  class InFlight;

  std::shared_ptr<Version> find_version(std::string_view name, std::string_view version) const;
  Result<std::shared_ptr<Version>> admit(const InferRequest& request);
  Task<Result<Slot>> acquire_slot(CallContext ctx, std::shared_ptr<Version> version);
  Task<Result<InferResponse>> infer_alone(CallContext ctx, std::shared_ptr<Version> version,
                                          const InferRequest& request);
  Task<Result<InferResponse>> infer_batched(CallContext ctx, std::shared_ptr<Version> version,
                                            const InferRequest& request);
  Task<Result<InferResponse>> run(std::shared_ptr<Version> version, const InferRequest& request);
  void flush(const std::shared_ptr<Version>& version);
  Task<void> run_batch(std::shared_ptr<Version> version, std::vector<std::shared_ptr<BatchItem>> items);
  Task<void> run_merged(std::shared_ptr<Version> version, std::vector<std::shared_ptr<BatchItem>> items);
  Task<void> warm_up(std::shared_ptr<Version> version);
  Task<void> free_model(std::shared_ptr<Version> version);

  io::Runtime& runtime_;
  Engine& engine_;
  ModelHostOptions options_;
  std::map<std::string, Model, std::less<>> models_;
  std::size_t versions_ = 0;
  bool stopping_ = false;
  TaskGroup tasks_;
};

}  // namespace neap::inference
