#include "sim_ports.h"

#include "neap/base/sync.h"

namespace neap::world {

Task<Status> SimBlobs::ask_server(CallContext ctx) {
  io::HttpRequest request;
  request.method = "GET";
  request.target = "/version";
  auto reply = co_await server_.raw(ctx.with_deadline(runtime_.executor().now() + 10s), std::move(request));
  if (!reply) co_return fail(std::move(reply).error());
  co_return ok();
}

Task<Result<std::string>> SimBlobs::fetch(CallContext ctx, std::string, std::string digest) {
  const auto path = directory_ + "/" + digest.substr(digest.find(':') + 1);
  if (!runtime_.files().exists(path)) {
    NEAP_CO_TRY_VOID(co_await ask_server(ctx));
    NEAP_CO_TRY_VOID(runtime_.files().make_directories(directory_));
    NEAP_CO_TRY_VOID(runtime_.files().write_file_atomic(path, "bytes of " + digest));
  }
  co_return path;
}

Task<Result<api::ArtifactRef>> SimBlobs::send(CallContext ctx, agent::ExportIntent, std::string name,
                                              std::string path, std::function<void(std::int64_t)> progress) {
  NEAP_CO_TRY(const auto bytes, runtime_.files().read_file(path));
  for (;;) {
    auto status = co_await ask_server(ctx);
    if (status) break;
    if (ctx.cancel.is_cancelled()) co_return fail(std::move(status).error());
    NEAP_CO_TRY_VOID(co_await sleep_for(runtime_.executor(), ctx, 1s));
  }
  if (progress) progress(std::int64_t(bytes.size()));
  api::ArtifactRef out;
  out.name = name;
  out.digest = fmt::format("sha256:{:064x}", std::hash<std::string>{}(bytes));
  out.size = Bytes{std::int64_t(bytes.size())};
  co_return out;
}

Task<Result<agent::FetchedModel>> SimBlobs::fetch_model(CallContext ctx, std::string repository,
                                                        std::string manifest_digest) {
  if (manifest_digest == kForgedManifest)
    co_return fail(Code::kPermissionDenied, "model.signature",
                   "the signature of the manifest does not verify; push it again, signed by a trusted key");
  NEAP_CO_TRY(const auto path, co_await fetch(ctx, repository, manifest_digest));
  agent::FetchedModel out;
  out.manifest_digest = manifest_digest;
  out.signature_key_id = "world-key";
  out.files = {{"model.onnx", path}};
  co_return out;
}

Task<Status> SimServing::load(CallContext ctx, std::string model, std::string version, std::string path) {
  NEAP_CO_TRY_VOID(co_await sleep_for(runtime_.executor(), ctx, 300ms));
  if (!runtime_.files().exists(path)) complain_("a model was loaded from a file that is not there: " + path);
  records_[model].loaded[version] = path;
  co_return ok();
}

Task<Status> SimServing::activate(CallContext, api::ServeWork work) {
  auto& record = records_[work.model];
  if (!record.loaded.contains(work.modelVersion))
    complain_("a version was activated that was never loaded and verified: " + work.modelVersion);
  if (work.manifestDigest == kForgedManifest) complain_("a model whose signature is forged answers requests");
  if (record.active != work.modelVersion) ++record.activations;
  record.active = work.modelVersion;
  co_return ok();
}

Status SimServing::set_shadow(const std::string& model, const std::string& version) {
  if (!version.empty() && !records_[model].loaded.contains(version))
    complain_("a shadow was set that was never loaded: " + version);
  return ok();
}

Task<Status> SimServing::remove(CallContext, std::string model) {
  auto& record = records_[model];
  if (!record.active.empty()) ++record.removals;
  record.active.clear();
  record.loaded.clear();
  co_return ok();
}

}  // namespace neap::world
