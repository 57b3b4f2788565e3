// Serves a model: fetch and verify -> load beside what runs -> probe -> switch. A new version, a shadow or a
// new overflow list arrive as changes of the spec; none of them drops a request.
//
// 1. Nothing is loaded whose digest and signature did not verify (BlobExchange::fetch_model refuses it).
// 2. What was verified once is kept on disk: a restart without the server serves again.
// 3. A version that cannot be served never takes the place of one that can: condition ModelRefused says why.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "internal/worker.h"

namespace neap::agent {
namespace {

class ServeWorker final : public Worker {
 public:
  using Worker::Worker;
  Task<void> run(CallContext ctx) override;

 private:
  struct Loaded {
    std::string version, digest, key_id;
    ProbeResult probe;
  };
  Task<Result<Loaded>> load(CallContext ctx, std::string version, std::string manifest_digest);
  Task<Status> apply(CallContext ctx, api::ServeWork work);
  Task<Status> apply_shadow(CallContext ctx, api::ServeWork work);
  Task<void> note_refusal(std::string version, Error error);
  void clear_refusal();
  void clear_condition(std::string_view type);
  void copy_shadow_counters(const std::string& model);
  void report_concurrency(const std::string& model);

  std::map<std::string, Loaded> loaded_;
  std::string active_, shadow_;
  std::string recorded_;  // refusal that the audit record has from this life
  std::optional<MonoTime> measured_;
  api::ServeWork applied_;
  bool applied_once_ = false;
};

Task<void> ServeWorker::run(CallContext ctx) {
  mark_started();
  context_.deps.serving.expect(*allocation_.spec.serve);
  Duration retry = 500ms;
  for (;;) {
    const auto seen = wake_.generation();
    if (stop_wanted()) {
      (void)co_await context_.deps.serving.remove(ctx, allocation_.spec.serve->model);
      report("Released", stop_reason());
      co_return;
    }
    const auto work = *allocation_.spec.serve;
    auto wait_until = context_.executor().now() + 1s;
    auto status = ok();
    auto tried = work.modelVersion;
    if (!applied_once_ || !(api::to_json(work) == api::to_json(applied_))) {
      status = co_await apply(ctx, work);
      if (ctx.cancel.is_cancelled()) co_return;
      if (status) {
        applied_ = work;
        applied_once_ = true;
      }
    }
    if (status && shadow_ != work.shadowModelVersion) {
      tried = work.shadowModelVersion;
      status = co_await apply_shadow(ctx, work);
      if (ctx.cancel.is_cancelled()) co_return;
    }
    if (status) {
      retry = 500ms;
    } else {
      co_await note_refusal(tried, status.error());
      wait_until = context_.executor().now() + retry;
      retry = std::min<Duration>(retry * 2, 10s);
    }
    copy_shadow_counters(work.model);
    report_concurrency(work.model);
    account_time();
    (void)co_await wake_.wait(ctx.with_deadline(wait_until), seen);
    if (ctx.cancel.is_cancelled()) co_return;
  }
}

Task<Result<ServeWorker::Loaded>> ServeWorker::load(CallContext ctx, std::string version,
                                                    std::string manifest_digest) {
  if (const auto it = loaded_.find(version); it != loaded_.end()) co_return it->second;
  const auto work = *allocation_.spec.serve;
  NEAP_CO_TRY(const auto model,
              co_await context_.deps.blobs.fetch_model(ctx, work.repository, manifest_digest));
  auto file = model.files.end();
  if (!work.file.empty() && version == work.modelVersion) file = model.files.find(work.file);
  if (file == model.files.end())
    file = std::ranges::find_if(model.files, [](const auto& f) { return f.first.ends_with(".onnx"); });
  if (file == model.files.end())
    co_return fail(Code::kFailedPrecondition, "agent.model.no_file",
                   fmt::format("manifest {} has no layer that can be served; it must carry an .onnx file",
                               manifest_digest));
  if (auto done = co_await context_.deps.serving.load(ctx, work.model, version, file->second); !done)
    co_return fail(std::move(done).error(), fmt::format("loading {}", file->first));
  Loaded out{
      .version = version, .digest = model.manifest_digest, .key_id = model.signature_key_id, .probe = {}};
  if (const auto probe = model.files.find("probe.json"); probe != model.files.end()) {
    auto probed = co_await context_.deps.serving.probe(ctx, work.model, version, probe->second);
    if (!probed) co_return fail(std::move(probed).error(), fmt::format("probing {}", file->first));
    out.probe = *probed;
  }
  loaded_[version] = out;
  co_return out;
}

Task<Status> ServeWorker::apply(CallContext ctx, api::ServeWork work) {
  NEAP_CO_TRY(const auto loaded, co_await load(ctx, work.modelVersion, work.manifestDigest));
  NEAP_CO_TRY_VOID(co_await context_.deps.serving.activate(ctx, work));
  auto& status = allocation_.status;
  if (active_ != work.modelVersion) {
    status.shadow = {};
    status.shadow.labelled = loaded.probe.rows;
    status.shadow.correct = loaded.probe.correct;
    std::erase_if(loaded_, [&](const auto& l) {
      return l.first != work.modelVersion && l.first != work.shadowModelVersion;
    });
  }
  active_ = work.modelVersion;
  status.servingVersion = work.modelVersion;
  status.digestVerified = loaded.digest;
  status.signatureKeyId = loaded.key_id;
  clear_refusal();
  report("Running", {}, fmt::format("{} answers", work.modelVersion));
  co_return ok();
}

Task<Status> ServeWorker::apply_shadow(CallContext ctx, api::ServeWork work) {
  if (work.shadowModelVersion.empty()) {
    (void)context_.deps.serving.set_shadow(work.model, "");
    clear_condition("ShadowReady");
    shadow_.clear();
    touch();
    co_return ok();
  }
  NEAP_CO_TRY(const auto loaded, co_await load(ctx, work.shadowModelVersion, work.shadowManifestDigest));
  NEAP_CO_TRY_VOID(context_.deps.serving.set_shadow(work.model, work.shadowModelVersion));
  clear_refusal();
  shadow_ = work.shadowModelVersion;
  allocation_.status.message = fmt::format("{} answers", active_);
  auto& status = allocation_.status;
  status.shadow = {};
  status.shadow.labelled = loaded.probe.rows;
  status.shadow.correct = loaded.probe.correct;
  api::set_condition(status.conditions,
                     {.type = "ShadowReady",
                      .status = "True",
                      .reason = shadow_,
                      .message = "runs on copies of live requests"},
                     context_.wall());
  touch();
  co_return ok();
}

void ServeWorker::copy_shadow_counters(const std::string& model) {
  if (shadow_.empty()) return;
  const auto seen = context_.deps.serving.shadow_report(model);
  const auto it = loaded_.find(shadow_);
  auto next = seen;
  if (it != loaded_.end()) {
    next.labelled += it->second.probe.rows;
    next.correct += it->second.probe.correct;
  }
  auto& now = allocation_.status.shadow;
  if (now.requests == next.requests && now.errors == next.errors && now.labelled == next.labelled) return;
  now = next;
  touch();
}

// Once a minute, and only what is not as before: the server learns from it what the service needs.
void ServeWorker::report_concurrency(const std::string& model) {
  constexpr Duration kWindow = 1min;
  if (active_.empty()) return;
  const auto now = context_.executor().now();
  if (measured_ && now - *measured_ < kWindow) return;
  const double busy = context_.deps.serving.take_busy_seconds(model);
  const auto since = std::exchange(measured_, now);
  // After a start of the agent nothing is known of the minute before.
  if (!since) return;
  const double mean = busy / to_seconds(now - *since);
  const double told = std::round(mean * 10) / 10;
  const auto* before = find_path(allocation_.status.metrics, {"concurrency"});
  if (before && before->is_number() && before->to_number<double>() == told) return;
  allocation_.status.metrics = JsonObject{{"concurrency", told}};
  touch();
}

Task<void> ServeWorker::note_refusal(std::string version, Error error) {
  const auto text = error.to_string();
  context_.deps.log.warning(
      "a model could not be put into service",
      {{"model", allocation_.spec.serve->model}, {"version", version}, {"error", text}});
  // What the link or the disk may still bring is waited for; what verification refused is not.
  const bool final = error.code == Code::kPermissionDenied || error.code == Code::kDataLoss ||
                     error.code == Code::kInvalidArgument || error.code == Code::kFailedPrecondition;
  auto& status = allocation_.status;
  status.message = fmt::format("{} is not served: {}", version, text);
  // Whoever reads it must tell a refusal of this attempt from one of an attempt before.
  const auto generation = allocation_.metadata.generation;
  // What it stumbles over may be told with other words at each attempt; the reason stays.
  const auto what = version + " " + error.reason;
  if (final)
    api::set_condition(status.conditions,
                       {.type = "ModelRefused",
                        .status = "True",
                        .reason = version,
                        .message = status.message,
                        .observedGeneration = generation},
                       context_.wall());
  if (final && std::exchange(recorded_, what) != what) {
    touch();
    auto recorded = co_await context_.deps.blobs.record_refused_model(intent("serve"), status.message);
    if (!recorded)
      context_.deps.log.error("a refused model could not be recorded",
                              {{"error", recorded.error().to_string()}});
    co_return;
  }
  touch();
}

void ServeWorker::clear_refusal() {
  clear_condition("ModelRefused");
  recorded_.clear();
}

void ServeWorker::clear_condition(std::string_view type) {
  std::erase_if(allocation_.status.conditions, [&](const auto& c) { return c.type == type; });
}

}  // namespace

std::unique_ptr<Worker> make_serve_worker(WorkerContext context, api::Allocation allocation,
                                          std::function<void()> changed) {
  return std::make_unique<ServeWorker>(std::move(context), std::move(allocation), std::move(changed));
}

}  // namespace neap::agent
