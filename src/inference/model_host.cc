#include "neap/inference/model_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "internal/batch.h"
#include "internal/model_version.h"

namespace neap::inference {

namespace {

constexpr int kWarmUpRuns = 3;

std::size_t input_bytes(const InferRequest& request) {
  std::size_t sum = 0;
  for (const Tensor& input : request.inputs) sum += input.bytes.size();
  return sum;
}

// Zeros, with every variable dimension 1.
InferRequest zero_request(const ModelMetadata& metadata) {
  InferRequest request{.model_name = metadata.name};
  for (const TensorSpec& spec : metadata.inputs) {
    Tensor& tensor = request.inputs.emplace_back(Tensor{spec.name, spec.type, spec.shape, {}});
    std::ranges::replace(tensor.shape, -1, 1);
    const auto count = count_elements(tensor.shape, 64u << 20);
    const std::size_t width =
        spec.type == DataType::kBytes ? sizeof(std::uint32_t) : element_bytes(spec.type);
    tensor.bytes.assign(count.value_or(0) * width, '\0');
  }
  return request;
}

Error unknown_model(std::string_view name, std::string_view version) {
  return version.empty() ? Error{Code::kNotFound,
                                 "inference.model.unknown",
                                 fmt::format("model \"{}\" is not here", name),
                                 {}}
                         : Error{Code::kNotFound,
                                 "inference.model.unknown",
                                 fmt::format("model \"{}\" has no version \"{}\" here", name, version),
                                 {}};
}

Error not_ready(std::string_view name) {
  return {Code::kUnavailable,
          "inference.model.not_ready",
          fmt::format("model \"{}\" is not ready yet; try again shortly", name),
          {}};
}

}  // namespace

ModelHost::ModelHost(Dependencies dependencies, ModelHostOptions options)
    : runtime_(dependencies.runtime),
      engine_(dependencies.engine),
      options_(options),
      tasks_(dependencies.runtime.executor()) {}
ModelHost::~ModelHost() = default;

std::shared_ptr<ModelHost::Version> ModelHost::find_version(std::string_view name,
                                                            std::string_view version) const {
  const auto model = models_.find(name);
  if (model == models_.end()) return nullptr;
  const auto found =
      model->second.versions.find(version.empty() ? std::string_view(model->second.active) : version);
  return found == model->second.versions.end() ? nullptr : found->second;
}

Task<Status> ModelHost::load(CallContext ctx, ModelSource source, ModelOptions options) {
  NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
  if (stopping_) co_return fail(not_ready(source.name));
  if (source.name.empty() || source.version.empty()) {
    co_return fail(Code::kInvalidArgument, "inference.model.name", "a model needs a name and a version");
  }
  if (versions_ >= options_.versions_max) {
    co_return fail(Code::kResourceExhausted, "inference.models.too_many",
                   fmt::format("{} model versions are loaded already; unload one first", versions_));
  }
  auto version = std::make_shared<Version>(runtime_.executor(), options);
  version->options.max_concurrency = std::max(options.max_concurrency, 1u);
  if (!models_[source.name].versions.emplace(source.version, version).second) {
    co_return fail(
        Code::kAlreadyExists, "inference.model.loaded",
        fmt::format("version \"{}\" of model \"{}\" is here already", source.version, source.name));
  }
  ++versions_;
  const InFlight loading(version);
  const std::string name = source.name;
  const std::string number = source.version;
  auto model = co_await runtime_.offload([this, &source] { return engine_.load(source); });
  if (model) {
    version->model = *std::move(model);
    version->batches = version->options.max_batch > 1 && version->options.max_batch_delay > Duration(0) &&
                       can_batch(version->model->metadata());
    version->figures.name = name;
    version->figures.version = number;
    if (version->options.warm_up) co_await warm_up(version);
    co_return ok();
  }
  const auto owner = models_.find(name);
  if (owner != models_.end() && owner->second.versions.erase(number) != 0) --versions_;
  if (owner != models_.end() && owner->second.versions.empty()) models_.erase(owner);
  co_return fail(std::move(model).error());
}

Task<void> ModelHost::warm_up(std::shared_ptr<Version> version) {
  // A model that cannot take zeros of length 1 is still a model: warming up is an attempt.
  const InferRequest request = zero_request(version->model->metadata());
  co_await runtime_.run_blocking([this, &version, &request] {
    for (int i = 0; i < kWarmUpRuns; ++i) {
      const MonoTime start = runtime_.clock().now();
      if (!version->model->infer(request)) return;
      // The first run pays for lazy initialisation: its time says nothing.
      if (i != 0) version->observe(input_bytes(request), runtime_.clock().now() - start);
    }
  });
}

Status ModelHost::activate(std::string_view name, std::string_view version) {
  const auto found = find_version(name, version);
  if (!found || version.empty()) return fail(unknown_model(name, version));
  if (!found->model) {
    return fail(Code::kFailedPrecondition, "inference.model.loading",
                fmt::format("version \"{}\" of model \"{}\" is still loading", version, name));
  }
  models_.find(name)->second.active = version;
  return ok();
}

Task<void> ModelHost::free_model(std::shared_ptr<Version> version) {
  // Waits without a deadline: whoever was accepted is answered, however long the caller stays.
  (void)co_await version->drained.wait({});
  auto model = std::move(version->model);
  co_await runtime_.run_blocking([&model] { model.reset(); });
}

Task<Status> ModelHost::unload(CallContext ctx, std::string name, std::string version) {
  const auto found = find_version(name, version);
  if (!found || version.empty()) co_return fail(unknown_model(name, version));
  if (!found->model) {
    co_return fail(Code::kFailedPrecondition, "inference.model.loading",
                   fmt::format("version \"{}\" of model \"{}\" is still loading", version, name));
  }
  const auto owner = models_.find(name);
  owner->second.versions.erase(version);
  --versions_;
  if (owner->second.active == version) owner->second.active.clear();
  if (owner->second.versions.empty()) models_.erase(owner);
  flush(found);
  if (!tasks_.spawn(free_model(found))) co_await free_model(found);
  co_return co_await found->drained.wait(ctx);
}

Task<Status> ModelHost::deploy(CallContext ctx, ModelSource source, ModelOptions options) {
  const std::string name = source.name;
  const std::string version = source.version;
  NEAP_CO_TRY_VOID(co_await load(ctx, std::move(source), options));
  const std::string before(active_version(name));
  NEAP_CO_TRY_VOID(activate(name, version));
  if (before.empty()) co_return ok();
  co_return co_await unload(ctx, name, before);
}

Task<void> ModelHost::stop() {
  stopping_ = true;
  auto models = std::exchange(models_, {});
  versions_ = 0;
  for (auto& model : models | std::views::values) {
    for (auto& version : model.versions | std::views::values) {
      flush(version);
      co_await free_model(version);
    }
  }
  co_await tasks_.stop();
}

void ModelHost::abandon() {
  stopping_ = true;
  models_.clear();
  tasks_.abandon();
}

Result<std::shared_ptr<ModelHost::Version>> ModelHost::admit(const InferRequest& request) {
  auto version = find_version(request.model_name, request.model_version);
  if (!version) {
    if (stopping_ || (models_.contains(request.model_name) && request.model_version.empty())) {
      return fail(not_ready(request.model_name));
    }
    return fail(unknown_model(request.model_name, request.model_version));
  }
  if (!version->model) return fail(not_ready(request.model_name));
  return version;
}

Task<Result<InferResponse>> ModelHost::infer(CallContext ctx, const InferRequest& request) {
  NEAP_CO_TRY(const auto version, admit(request));
  NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
  const InFlight in_flight(version);
  const MonoTime start = runtime_.clock().now();
  Result<InferResponse> response;
  const std::uint64_t rows = version->batches ? rows_of(request) : 1;
  if (version->batches && rows != 0 && rows <= version->options.max_batch) {
    response = co_await infer_batched(ctx, version, request);
  } else {
    response = co_await infer_alone(ctx, version, request);
  }
  const Duration took = runtime_.clock().now() - start;
  ModelStatistics& figures = version->figures;
  if (response) {
    figures.success.add(took);
    figures.inference_count += rows;
    version->latency.add(took);
  } else if (response.error().reason == "inference.overloaded") {
    ++figures.overloaded_count;
  } else {
    figures.failure.add(took);
  }
  co_return response;
}

Task<Result<ModelHost::Slot>> ModelHost::acquire_slot(CallContext ctx, std::shared_ptr<Version> version) {
  if (version->running < version->options.max_concurrency) {
    ++version->running;
    co_return Slot(version);
  }
  const auto waiter = std::make_shared<Version::Waiter>(runtime_.executor());
  version->waiting.push_back(waiter);
  const auto give_up = [waiter, version](Code code, const char* why) {
    if (std::exchange(waiter->settled, true)) return;
    std::erase(version->waiting, waiter);
    waiter->granted.complete(fail(code, "inference.queue.left", why));
  };
  Executor& executor = runtime_.executor();
  const auto registration = ctx.cancel.on_cancel([give_up, &executor] {
    executor.post(
        [give_up] { give_up(Code::kCancelled, "the request was cancelled while it waited for the model"); });
  });
  std::optional<TimerId> timer;
  if (ctx.deadline) {
    timer = executor.post_at(*ctx.deadline, [give_up] {
      give_up(Code::kDeadlineExceeded, "the request's deadline passed while it waited for the model");
    });
  }
  const Status granted = co_await waiter->granted.wait();
  if (timer) executor.cancel_timer(*timer);
  if (!granted) co_return std::unexpected(granted.error());
  co_return Slot(version);
}

Task<Result<InferResponse>> ModelHost::infer_alone(CallContext ctx, std::shared_ptr<Version> version,
                                                   const InferRequest& request) {
  if (version->running >= version->options.max_concurrency &&
      version->waiting.size() + version->batched_waiting >= version->options.max_queue) {
    co_return fail(
        Code::kResourceExhausted, "inference.overloaded",
        fmt::format("model \"{}\" runs {} requests and {} wait, which is its limit; try again shortly",
                    request.model_name, version->running, version->waiting.size()));
  }
  const MonoTime queued = runtime_.clock().now();
  NEAP_CO_TRY(const Slot slot, co_await acquire_slot(std::move(ctx), version));
  version->figures.queue.add(runtime_.clock().now() - queued);
  co_return co_await run(version, request);
}

Task<Result<InferResponse>> ModelHost::run(std::shared_ptr<Version> version, const InferRequest& request) {
  const std::size_t bytes = input_bytes(request);
  Result<InferResponse> response;
  Duration took{};
  const auto job = [&] {
    const MonoTime start = runtime_.clock().now();
    response = version->model->infer(request);
    took = runtime_.clock().now() - start;
  };
  if (version->expected(bytes) < options_.inline_below) {
    job();
  } else {
    co_await runtime_.run_blocking(job);
  }
  if (response) version->observe(bytes, took);
  ++version->figures.execution_count;
  version->figures.compute.add(took);
  co_return response;
}

Task<Result<InferResponse>> ModelHost::infer_batched(CallContext ctx, std::shared_ptr<Version> version,
                                                     const InferRequest& request) {
  // Checked before it joins others: one that does not fit must not spoil its neighbours.
  NEAP_CO_TRY_VOID(check_request(version->model->metadata(), request));
  if (version->waiting.size() + version->batched_waiting >= version->options.max_queue) {
    co_return fail(Code::kResourceExhausted, "inference.overloaded",
                   fmt::format("{} requests wait for model \"{}\", which is its limit; try again shortly",
                               version->batched_waiting, request.model_name));
  }
  const std::uint64_t rows = rows_of(request);
  if (!version->forming.empty() && (version->forming_rows + rows > version->options.max_batch ||
                                    !can_join(version->forming.front()->request, request))) {
    flush(version);
  }
  Executor& executor = runtime_.executor();
  const auto item = std::make_shared<BatchItem>(executor, std::move(ctx), request, rows);
  if (version->forming.empty()) {
    version->forming_timer = executor.post_at(executor.now() + version->options.max_batch_delay,
                                              [this, weak = std::weak_ptr(version)] {
                                                if (const auto alive = weak.lock()) flush(alive);
                                              });
  }
  version->forming.push_back(item);
  version->forming_rows += rows;
  ++version->batched_waiting;
  if (version->forming_rows >= version->options.max_batch) flush(version);
  co_return co_await item->done.wait();
}

void ModelHost::flush(const std::shared_ptr<Version>& version) {
  if (version->forming.empty()) return;
  runtime_.executor().cancel_timer(version->forming_timer);
  version->forming_rows = 0;
  auto items = std::exchange(version->forming, {});
  if (!tasks_.spawn(run_batch(version, items))) {
    for (const auto& item : items) item->done.complete(fail(not_ready(item->request.model_name)));
  }
}

Task<void> ModelHost::run_batch(std::shared_ptr<Version> version,
                                std::vector<std::shared_ptr<BatchItem>> items) {
  auto slot = co_await acquire_slot({}, version);
  version->batched_waiting -= static_cast<std::uint32_t>(items.size());
  const MonoTime now = runtime_.executor().now();
  std::erase_if(items, [now](const auto& item) {
    const Status alive = item->ctx.check(now);
    if (!alive) item->done.complete(std::unexpected(alive.error()));
    return !alive;
  });
  for (const auto& item : items) version->figures.queue.add(now - item->queued);
  if (items.size() == 1) {
    items.front()->done.complete(co_await run(version, items.front()->request));
  } else if (!items.empty()) {
    co_await run_merged(version, std::move(items));
  }
}

Task<void> ModelHost::run_merged(std::shared_ptr<Version> version,
                                 std::vector<std::shared_ptr<BatchItem>> items) {
  std::vector<const InferRequest*> requests;
  for (const auto& item : items) requests.push_back(&item->request);
  const InferRequest joined = join(requests);
  const auto response = co_await run(version, joined);
  auto parts = response ? split(*response, requests)
                        : Result<std::vector<InferResponse>>(std::unexpected(response.error()));
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (parts) {
      items[i]->done.complete(std::move((*parts)[i]));
    } else {
      // One request's values may have failed the whole batch: let each stand for itself.
      items[i]->done.complete(co_await run(version, items[i]->request));
    }
  }
}

const ModelMetadata* ModelHost::find_metadata(std::string_view name, std::string_view version) const {
  const auto found = find_version(name, version);
  return found && found->model ? &found->model->metadata() : nullptr;
}

bool ModelHost::is_ready(std::string_view name, std::string_view version) const {
  return find_metadata(name, version) != nullptr;
}

bool ModelHost::are_all_ready() const {
  return !stopping_ &&
         std::ranges::all_of(models_, [](const auto& entry) { return !entry.second.active.empty(); });
}

std::vector<std::string> ModelHost::versions(std::string_view name) const {
  std::vector<std::string> out;
  if (const auto model = models_.find(name); model != models_.end()) {
    for (const auto& [version, state] : model->second.versions) {
      if (state->model) out.push_back(version);
    }
  }
  return out;
}

std::string_view ModelHost::active_version(std::string_view name) const {
  const auto model = models_.find(name);
  return model == models_.end() ? std::string_view() : std::string_view(model->second.active);
}

std::vector<ModelStatistics> ModelHost::statistics(std::string_view name) const {
  std::vector<ModelStatistics> out;
  const auto model = models_.find(name);
  if (model == models_.end()) return out;
  for (const auto& state : model->second.versions | std::views::values) {
    if (!state->model) continue;
    ModelStatistics& figures = out.emplace_back(state->figures);
    figures.latency_p50 = state->latency.quantile(0.5);
    figures.latency_p99 = state->latency.quantile(0.99);
    figures.running = state->running;
    figures.waiting = static_cast<std::uint32_t>(state->waiting.size()) + state->batched_waiting;
  }
  return out;
}

}  // namespace neap::inference
