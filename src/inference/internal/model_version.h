// The state of one version under a ModelHost: slots, waiting line, forming batch, figures.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "internal/latency_histogram.h"
#include "neap/base/sync.h"
#include "neap/inference/model_host.h"

namespace neap::inference {

struct ModelHost::BatchItem {
  BatchItem(Executor& executor, CallContext context, const InferRequest& its_request, std::uint64_t its_rows)
      : ctx(std::move(context)),
        request(its_request),
        rows(its_rows),
        queued(executor.now()),
        done(executor) {}
  CallContext ctx;
  const InferRequest& request;  // lives in the caller's frame, which waits for `done`
  std::uint64_t rows;
  MonoTime queued;
  Completion<Result<InferResponse>> done;
};

struct ModelHost::Version {
  Version(Executor& its_executor, ModelOptions its_options)
      : executor(its_executor), options(its_options), drained(its_executor) {
    drained.set();
  }

  struct Waiter {
    explicit Waiter(Executor& executor) : granted(executor) {}
    Completion<Status> granted;
    bool settled = false;
  };

  // Time a run of `bytes` of input should take; far in the future while nothing was measured.
  Duration expected(std::size_t bytes) const {
    if (mean_ns <= 0) return Duration::max();
    const double scale = std::max(1.0, static_cast<double>(bytes) / std::max(mean_bytes, 1.0));
    return Duration(static_cast<std::int64_t>(std::min(mean_ns * scale, 1e15)));
  }
  void observe(std::size_t bytes, Duration elapsed) {
    const auto ns = static_cast<double>(std::max<std::int64_t>(elapsed.count(), 1));
    const double weight = mean_ns <= 0 ? 1.0 : 0.125;
    mean_ns += (ns - mean_ns) * weight;
    mean_bytes += (static_cast<double>(bytes) - mean_bytes) * weight;
  }

  Executor& executor;
  ModelOptions options;
  std::unique_ptr<LoadedModel> model;  // null while loading
  bool batches = false;

  std::uint32_t running = 0;
  std::deque<std::shared_ptr<Waiter>> waiting;
  std::size_t in_flight = 0;
  Event drained;

  std::vector<std::shared_ptr<BatchItem>> forming;
  std::uint64_t forming_rows = 0;
  std::uint32_t batched_waiting = 0;  // items in forming batches and in batches without a slot
  TimerId forming_timer{};

  double mean_ns = 0;
  double mean_bytes = 0;
  ModelStatistics figures;
  LatencyHistogram latency;
};

// A right to run; gives it to the first in line when dropped.
class ModelHost::Slot {
 public:
  explicit Slot(std::shared_ptr<Version> version) : version_(std::move(version)) {}
  Slot(Slot&& other) noexcept = default;
  Slot& operator=(Slot&&) = delete;
  ~Slot() {
    if (!version_) return;
    while (!version_->waiting.empty()) {
      const auto next = std::move(version_->waiting.front());
      version_->waiting.pop_front();
      if (std::exchange(next->settled, true)) continue;
      next->granted.complete(ok());  // running stays as it is: the right moves on
      return;
    }
    --version_->running;
  }

 private:
  std::shared_ptr<Version> version_;
};

// One accepted request, from admission to its answer.
class ModelHost::InFlight {
 public:
  explicit InFlight(std::shared_ptr<Version> version) : version_(std::move(version)) {
    if (version_->in_flight++ == 0) version_->drained.reset();
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  ~InFlight() {
    if (--version_->in_flight == 0) version_->drained.set();
  }

 private:
  std::shared_ptr<Version> version_;
};

}  // namespace neap::inference
