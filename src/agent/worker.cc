#include "internal/worker.h"

#include <utility>

namespace neap::agent {

Worker::Worker(WorkerContext context, api::Allocation allocation, std::function<void()> changed)
    : context_(std::move(context)),
      allocation_(std::move(allocation)),
      wake_(context_.deps.runtime.executor()),
      changed_(std::move(changed)),
      lapses_(context_.lease.lapses()) {}

void Worker::update(const api::Allocation& desired) {
  allocation_.spec = desired.spec;
  allocation_.metadata.generation = desired.metadata.generation;
  wake_.notify_all();
}

void Worker::confirm() {
  if (!std::exchange(confirmed_, true)) wake_.notify_all();
}

void Worker::request_stop(std::string reason) {
  if (stop_reason_.empty()) stop_reason_ = std::move(reason);
  wake_.notify_all();
}

bool Worker::has_ended() const {
  const auto& phase = allocation_.status.phase;
  return phase == "Succeeded" || phase == "Failed" || phase == "Released";
}

void Worker::report(std::string phase, std::string reason, std::string message) {
  auto& status = allocation_.status;
  status.phase = std::move(phase);
  status.reason = std::move(reason);
  status.message = std::move(message);
  account_time();
  if (has_ended() && !status.finishedAt) status.finishedAt = context_.wall();
  wake_.notify_all();
  changed_();
}

std::string Worker::directory() const {
  return context_.options.state_directory + "/allocations/" + allocation_.metadata.uid;
}

ExportIntent Worker::intent(std::string purpose) const {
  ExportIntent out;
  out.level = allocation_.spec.level;
  out.purpose = std::move(purpose);
  out.project = allocation_.metadata.namespace_;
  out.owner = allocation_.spec.ownerKind + "/" + allocation_.spec.ownerName;
  out.labels = allocation_.metadata.labels;
  return out;
}

WorkSubject Worker::subject() const {
  return {.directory = directory(), .has_ended = has_ended(), .intent = intent("log")};
}

void Worker::mark_started() {
  if (!allocation_.status.startedAt) allocation_.status.startedAt = context_.wall();
  if (!counting_since_) counting_since_ = context_.executor().now();
}

void Worker::account_time() {
  if (!counting_since_) return;
  const auto now = context_.executor().now();
  allocation_.status.runSeconds += to_seconds(now - *counting_since_);
  counting_since_ = now;
  if (has_ended()) counting_since_.reset();
}

}  // namespace neap::agent
