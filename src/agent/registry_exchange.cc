#include <fmt/format.h>

#include "neap/agent/data_plane.h"
#include "neap/artifacts/model_manifest.h"
#include "neap/transfer/transfer.h"

namespace neap::agent {
namespace {

constexpr std::size_t kHashPieceBytes = 1u << 20;
// A link that is cut is tried again for as long as the work lives; this only bounds one transfer's patience.
constexpr int kAttemptsMax = 200;

Result<artifacts::BlobStat> hash_file(io::FileSystem& files, const std::string& path) {
  NEAP_TRY(auto file, files.open(path, io::OpenMode::kRead));
  crypto::Sha256 hash;
  std::string piece;
  artifacts::BlobStat out;
  for (;;) {
    piece.clear();
    NEAP_TRY(const auto got, file->read_at(out.size, piece, kHashPieceBytes));
    if (got == 0) break;
    hash.update(piece);
    out.size += got;
  }
  out.digest = hash.finish();
  return out;
}

class RegistryExchange final : public BlobExchange {
 public:
  RegistryExchange(io::Runtime& runtime, EgressGate& gate, io::HttpClient& server,
                   artifacts::ArtifactStore& store, artifacts::RepositoryTable& repositories,
                   BlobExchangeOptions options, telemetry::Logger& log)
      : runtime_(runtime),
        gate_(gate),
        server_(server),
        store_(store),
        repositories_(repositories),
        options_(std::move(options)),
        log_(log),
        registry_(runtime, server, store, repositories),
        export_log_(runtime, options_.export_log_directory, !options_.export_log_directory.empty()) {}

  Task<Result<std::string>> fetch(CallContext ctx, std::string repository, std::string digest) override;
  Task<Result<api::ArtifactRef>> send(CallContext ctx, ExportIntent intent, std::string name,
                                      std::string path, std::function<void(std::int64_t)> progress) override;
  Task<Result<FetchedModel>> fetch_model(CallContext ctx, std::string repository,
                                         std::string manifest_digest) override;
  Task<Status> record_refused_model(ExportIntent intent, std::string reason) override {
    return gate_.record_refusal(std::move(intent), gate_.site(), std::move(reason));
  }

 private:
  // From what is on this node, all of it hashed and its signature checked.
  Task<Result<FetchedModel>> open_kept_model(std::string repository, crypto::Digest wanted);
  Task<Result<std::uint64_t>> remote_size(CallContext ctx, std::string repository, std::string digest);

  io::Runtime& runtime_;
  EgressGate& gate_;
  io::HttpClient& server_;
  artifacts::ArtifactStore& store_;
  artifacts::RepositoryTable& repositories_;
  BlobExchangeOptions options_;
  telemetry::Logger& log_;
  artifacts::RegistryClient registry_;
  transfer::FileExportLog export_log_;
};

Task<Result<std::uint64_t>> RegistryExchange::remote_size(CallContext ctx, std::string repository,
                                                          std::string digest) {
  io::HttpRequest head;
  head.method = "HEAD";
  head.target = fmt::format("/v2/{}/blobs/{}", repository, digest);
  NEAP_CO_TRY(const auto reply, co_await server_.call(ctx, std::move(head)));
  if (reply.status != 200)
    co_return fail(
        code_of_http_status(reply.status), "agent.blob.absent",
        fmt::format("the registry does not give {} from {} (status {})", digest, repository, reply.status));
  co_return std::strtoull(std::string(reply.headers.get("Content-Length")).c_str(), nullptr, 10);
}

Task<Result<std::string>> RegistryExchange::fetch(CallContext ctx, std::string repository,
                                                  std::string digest) {
  NEAP_CO_TRY(const auto wanted, crypto::Digest::parse(digest));
  Duration pause = 200ms;
  while (!co_await store_.verify(wanted)) {
    auto size = co_await remote_size(ctx, repository, digest);
    Status status = size ? ok() : fail(size.error());
    if (size) {
      auto fetched = co_await registry_.fetch_blob(ctx, repository, wanted, *size);
      if (!fetched) status = fail(std::move(fetched).error());
    }
    if (status) break;
    if (!is_retryable(status.error().code)) co_return fail(std::move(status).error());
    NEAP_CO_TRY_VOID(co_await sleep_for(runtime_.executor(), ctx, pause));
    pause = std::min<Duration>(pause * 2, 5s);
  }
  co_return store_.path_of(wanted);
}

Task<Result<api::ArtifactRef>> RegistryExchange::send(CallContext ctx, ExportIntent intent, std::string name,
                                                      std::string path,
                                                      std::function<void(std::int64_t)> progress) {
  auto& files = runtime_.files();
  NEAP_CO_TRY(const auto stat, co_await runtime_.offload([&files, path] { return hash_file(files, path); }));
  auto permit = gate_.permit({.to_site = options_.server_site,
                              .project = intent.project,
                              .level = intent.level,
                              .declassification = intent.declassification,
                              .purpose = intent.purpose,
                              .content = stat.digest,
                              .bytes = Bytes{std::int64_t(stat.size)}});
  if (!permit) {
    NEAP_CO_TRY_VOID(co_await gate_.record_refusal(intent, options_.server_site, permit.error().message));
    co_return fail(std::move(permit).error(), "sending " + name);
  }
  const auto rule = permit->rule();
  NEAP_CO_TRY(auto file, files.open(path, io::OpenMode::kRead));
  transfer::SendOptions options;
  options.attempts_max = kAttemptsMax;
  options.log = &export_log_;
  if (progress)
    options.progress = [progress](const transfer::TransferProgress& p) {
      progress(std::int64_t(p.bytes_done));
    };
  NEAP_CO_TRY(const auto outcome,
              co_await transfer::send(ctx, *std::move(permit), runtime_,
                                      artifacts::BlobReader(std::move(file), stat), server_, options));
  if (outcome.resumes > 0)
    log_.info("a transfer went on after a cut", {{"name", name}, {"resumes", outcome.resumes}});
  if (progress) progress(std::int64_t(outcome.bytes_sent));
  NEAP_CO_TRY_VOID(co_await gate_.record_crossing(options_.server_site, rule, intent, stat.digest.to_string(),
                                                  outcome.bytes_sent));
  api::ArtifactRef out;
  out.name = name;
  out.digest = stat.digest.to_string();
  out.size = Bytes{std::int64_t(stat.size)};
  co_return out;
}

Task<Result<FetchedModel>> RegistryExchange::fetch_model(CallContext ctx, std::string repository,
                                                         std::string manifest_digest) {
  NEAP_CO_TRY(const auto wanted, crypto::Digest::parse(manifest_digest));
  auto kept = co_await open_kept_model(repository, wanted);
  if (kept) co_return kept;
  // Missing, or no longer what was verified once: the registry may have it as it should be.
  const bool is_known = repositories_.find_manifest(repository, manifest_digest).has_value();
  const auto pulled = co_await registry_.pull(ctx, repository, manifest_digest);
  if (!pulled && is_known)
    co_return fail(
        kept.error().code, kept.error().reason,
        fmt::format("{}; fetching it again failed: {}", kept.error().message, pulled.error().message));
  if (!pulled) co_return fail(pulled.error());
  co_return co_await open_kept_model(repository, wanted);
}

Task<Result<FetchedModel>> RegistryExchange::open_kept_model(std::string repository, crypto::Digest wanted) {
  const auto manifest_digest = wanted.to_string();
  const auto signature =
      co_await artifacts::require_signature(store_, repositories_, repository, wanted, options_.trusted_keys);
  if (!signature)
    co_return fail(Code::kPermissionDenied, signature.error().reason,
                   fmt::format("model {} is not served: {}", manifest_digest, signature.error().message));
  NEAP_CO_TRY(const auto manifest, co_await repositories_.get_manifest(repository, manifest_digest));
  NEAP_CO_TRY(const auto model, artifacts::unpack_model(manifest.bytes));
  FetchedModel out;
  out.manifest_digest = manifest_digest;
  out.signature_key_id = signature->key_id;
  for (const auto& file : model.files) {
    // The disk may have rotted since the download: each use hashes again.
    NEAP_CO_TRY_VOID(co_await store_.verify(file.digest));
    NEAP_CO_TRY(out.files[file.path], store_.path_of(file.digest));
  }
  co_return out;
}

}  // namespace

std::unique_ptr<BlobExchange> make_registry_exchange(io::Runtime& runtime, EgressGate& gate,
                                                     io::HttpClient& server, artifacts::ArtifactStore& store,
                                                     artifacts::RepositoryTable& repositories,
                                                     BlobExchangeOptions options, telemetry::Logger& log) {
  return std::make_unique<RegistryExchange>(runtime, gate, server, store, repositories, std::move(options),
                                            log);
}

}  // namespace neap::agent
