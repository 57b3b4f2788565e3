// Collects a dataset part: mask where the raw records lie, then send what may leave.
#include <fmt/format.h>

#include "internal/worker.h"

namespace neap::agent {
namespace {

class CollectWorker final : public Worker {
 public:
  using Worker::Worker;
  Task<void> run(CallContext ctx) override {
    mark_started();
    report("Running", {}, "masking identifiers");
    auto status = co_await collect(ctx);
    if (ctx.cancel.is_cancelled()) co_return;
    if (status) {
      report("Succeeded", "Completed");
    } else if (stop_wanted()) {
      report("Released", stop_reason());
    } else {
      report("Failed", status.error().reason, status.error().to_string());
    }
  }

 private:
  Task<Status> collect(CallContext ctx) {
    const auto work = *allocation_.spec.collect;
    if (work.path.find("..") != std::string::npos || work.path.starts_with('/'))
      co_return fail(Code::kInvalidArgument, "agent.collect.path",
                     fmt::format("\"{}\" leaves the agent's data root; name a folder below it", work.path));
    auto prepared = co_await context_.deps.collector.prepare(
        ctx, work, context_.options.data_directory + "/" + work.path, directory() + "/part");
    if (!prepared) co_return fail(std::move(prepared).error());
    auto part = prepared->part;
    part.site = context_.options.site;
    std::int64_t sent_before = 0;
    for (const auto& [name, path] : prepared->files) {
      auto why = intent("train");
      why.level = api::DataLevel::kL3;
      why.declassification = work.declassification;
      std::int64_t sent_file = 0;
      auto artifact = co_await context_.deps.blobs.send(ctx, why, name, path, [&](std::int64_t bytes) {
        sent_file = bytes;
        allocation_.status.message = fmt::format("sent {} bytes of {}", bytes, name);
        touch();
      });
      if (!artifact) co_return fail(std::move(artifact).error(), "sending " + name);
      artifact->name = name;
      sent_before += sent_file;
      part.files.push_back(*std::move(artifact));
    }
    part.bytesSent = Bytes{sent_before};
    allocation_.status.part = std::move(part);
    co_return ok();
  }
};

}  // namespace

std::unique_ptr<Worker> make_collect_worker(WorkerContext context, api::Allocation allocation,
                                            std::function<void()> changed) {
  return std::make_unique<CollectWorker>(std::move(context), std::move(allocation), std::move(changed));
}

}  // namespace neap::agent
