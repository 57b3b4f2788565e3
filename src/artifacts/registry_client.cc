#include "neap/artifacts/registry_client.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::artifacts {
namespace {

constexpr std::size_t kPiece = 256u << 10;

std::unexpected<Error> remote_error(int status, std::string_view body, std::string_view what) {
  std::string said;
  if (const auto parsed = parse_json(body)) {
    const Json* errors = find_path(*parsed, {"errors"});
    if (errors != nullptr && errors->is_array() && !errors->get_array().empty())
      said = fmt::format("{}: {}", get_string(errors->get_array()[0], "code"),
                         get_string(errors->get_array()[0], "message"));
  }
  return fail(code_of_http_status(status), "artifacts.registry.status",
              fmt::format("{}: the registry answered {}{}{}", what, status, said.empty() ? "" : ", ", said));
}

}  // namespace

struct RegistryClient::Flight {
  explicit Flight(Executor& executor) : done(executor) {}
  Event done;
  std::optional<Result<BlobStat>> outcome;
};

RegistryClient::RegistryClient(io::Runtime& runtime, io::HttpClient& http, ArtifactStore& store,
                               RepositoryTable& repositories, RegistryClientOptions options)
    : runtime_(runtime),
      http_(http),
      store_(store),
      repositories_(repositories),
      options_(std::move(options)) {}
RegistryClient::~RegistryClient() = default;

io::HttpRequest RegistryClient::request(std::string method, std::string target) const {
  io::HttpRequest out;
  out.method = std::move(method);
  out.target = std::move(target);
  if (options_.decorate) options_.decorate(out);
  return out;
}

Task<Result<Manifest>> RegistryClient::fetch_manifest(CallContext ctx, std::string repository,
                                                      std::string reference) {
  io::HttpRequest get = request("GET", fmt::format("/v2/{}/manifests/{}", repository, reference));
  get.headers.set("Accept",
                  "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
                  "application/vnd.docker.distribution.manifest.v2+json, "
                  "application/vnd.docker.distribution.manifest.list.v2+json");
  NEAP_CO_TRY(auto reply, co_await http_.open(ctx, std::move(get)));
  const int status = reply->status();
  std::string type(reply->headers().get("Content-Type"));
  type = type.substr(0, type.find(';'));
  NEAP_CO_TRY(std::string bytes, co_await reply->body().read_all(ctx, options_.manifest_bytes_max));
  if (status != 200)
    co_return remote_error(status, bytes, fmt::format("manifest {} of {}", reference, repository));
  const Digest digest = crypto::sha256(bytes);
  if (!is_tag(reference) && reference != digest.to_string())
    co_return fail(Code::kDataLoss, "artifacts.digest.mismatch",
                   fmt::format("the registry sent {} where {} was asked for; it was not stored",
                               digest.to_string(), reference));
  co_return Manifest{digest, std::move(type), std::move(bytes)};
}

Task<Result<BlobStat>> RegistryClient::fetch_blob(CallContext ctx, std::string repository, Digest digest,
                                                  std::uint64_t size, PullProgress* progress) {
  if (auto present = store_.stat(digest); present && present->size == size) {
    // Bytes that rotted here are worth no more than bytes that are missing.
    if (co_await store_.verify(digest)) {
      if (progress != nullptr) progress->bytes_reused += size;
      co_return *present;
    }
  }
  if (const auto running = flights_.find(digest); running != flights_.end()) {
    const auto flight = running->second;
    NEAP_CO_TRY_VOID(co_await flight->done.wait(ctx));
    if (progress != nullptr && *flight->outcome) progress->bytes_reused += size;
    co_return *flight->outcome;
  }
  const auto flight = std::make_shared<Flight>(runtime_.executor());
  flights_.emplace(digest, flight);
  auto outcome = co_await download(ctx, repository, digest, size, progress);
  flight->outcome = outcome;
  flights_.erase(digest);
  flight->done.set();
  co_return outcome;
}

Task<Result<BlobStat>> RegistryClient::download(CallContext ctx, std::string repository, Digest digest,
                                                std::uint64_t size, PullProgress* progress) {
  NEAP_CO_TRY(std::string upload, store_.begin_upload());
  int idle_attempts = 0;
  Duration pause = options_.retry_pause;
  std::uint64_t stored = 0;
  for (;;) {
    Status fetched = co_await download_rest(ctx, repository, digest, size, upload, progress);
    NEAP_CO_TRY(const std::uint64_t now, co_await store_.upload_size(upload));
    if (fetched && now == size) break;
    if (fetched)
      fetched = fail(Code::kUnavailable, "artifacts.pull.short", "the registry ended the blob early");
    idle_attempts = now > stored ? 0 : idle_attempts + 1;
    if (now > stored) pause = options_.retry_pause;
    stored = now;
    const bool hopeless =
        !is_retryable(fetched.error().code) || ctx.check(runtime_.executor().now()).has_value() == false;
    if (hopeless || idle_attempts >= options_.attempts_max) {
      (void)store_.cancel_upload(upload);
      co_return fail(fetched.error(), fmt::format("pulling {}", digest.to_string()));
    }
    if (progress != nullptr) ++progress->resumes;
    if (const Status slept = co_await sleep_for(runtime_.executor(), ctx, pause); !slept) {
      (void)store_.cancel_upload(upload);
      co_return fail(slept.error());
    }
    pause *= 2;
  }
  auto committed = co_await store_.commit(upload, digest);
  if (!committed && committed.error().reason == "artifacts.digest.mismatch")
    co_return fail(
        Code::kDataLoss, "artifacts.digest.mismatch",
        fmt::format("what the registry sent for {} does not hash to it and was not stored; its copy "
                    "has changed: delete the blob there and push it again",
                    digest.to_string()));
  co_return committed;
}

Task<Status> RegistryClient::download_rest(CallContext ctx, std::string repository, Digest digest,
                                           std::uint64_t size, std::string upload, PullProgress* progress) {
  NEAP_CO_TRY(std::uint64_t offset, co_await store_.upload_size(upload));
  if (offset == size) co_return ok();
  io::HttpRequest get = request("GET", fmt::format("/v2/{}/blobs/{}", repository, digest.to_string()));
  if (offset > 0) {
    get.headers.set("Range", fmt::format("bytes={}-", offset));
    get.headers.set("If-Range", "\"" + digest.to_string() + "\"");
  }
  NEAP_CO_TRY(auto reply, co_await http_.open(ctx, std::move(get)));
  std::uint64_t skip = 0;
  if (reply->status() == 200) {
    skip = offset;  // the registry does not resume: read over what is here
  } else if (reply->status() != 206) {
    auto body = co_await reply->body().read_all(ctx, 64u << 10);
    co_return remote_error(reply->status(), body ? *body : "",
                           fmt::format("blob {} of {}", digest.to_string(), repository));
  }
  std::string piece;
  for (;;) {
    const auto n = co_await reply->body().read_some(ctx, piece);
    const bool ended = !n || *n == 0;
    if (skip > 0) {
      const auto drop = static_cast<std::size_t>(std::min<std::uint64_t>(skip, piece.size()));
      piece.erase(0, drop);
      skip -= drop;
    }
    if (piece.size() > size - offset)
      co_return fail(Code::kDataLoss, "artifacts.pull.long",
                     "the registry sends more bytes than the blob has; nothing of it was kept");
    if (piece.size() >= kPiece || (ended && !piece.empty())) {
      NEAP_CO_TRY(offset, co_await store_.append(upload, offset, piece));
      if (progress != nullptr) progress->bytes_fetched += piece.size();
      piece.clear();
    }
    if (!n) co_return fail(n.error());
    if (ended) co_return ok();
  }
}

Task<Result<JsonArray>> RegistryClient::fetch_referrers(CallContext ctx, std::string repository,
                                                        Digest subject) {
  NEAP_CO_TRY(auto reply,
              co_await http_.open(
                  ctx, request("GET", fmt::format("/v2/{}/referrers/{}", repository, subject.to_string()))));
  const int status = reply->status();
  NEAP_CO_TRY(const std::string body, co_await reply->body().read_all(ctx, options_.manifest_bytes_max));
  if (status == 404) co_return JsonArray{};  // a registry before 1.1
  if (status != 200) co_return remote_error(status, body, "referrers");
  NEAP_CO_TRY(const Json index, parse_json(body));
  const Json* list = find_path(index, {"manifests"});
  co_return list != nullptr && list->is_array() ? list->get_array() : JsonArray{};
}

Task<Result<ManifestRecord>> RegistryClient::pull_manifest(CallContext ctx, std::string repository,
                                                           std::string reference, PullProgress* progress) {
  NEAP_CO_TRY(Manifest manifest, co_await fetch_manifest(ctx, repository, reference));
  NEAP_CO_TRY(const Json document,
              parse_json(manifest.bytes, {.bytes_max = options_.manifest_bytes_max, .depth_max = 32}));
  std::vector<const Json*> descriptors;
  if (const Json* config = find_path(document, {"config"})) descriptors.push_back(config);
  if (const Json* layers = find_path(document, {"layers"}); layers != nullptr && layers->is_array())
    for (const Json& layer : layers->get_array()) descriptors.push_back(&layer);
  for (const Json* descriptor : descriptors) {
    NEAP_CO_TRY(const Digest digest, Digest::parse(get_string(*descriptor, "digest")));
    const std::int64_t size = get_int(*descriptor, "size", -1);
    if (size < 0)
      co_return fail(Code::kInvalidArgument, "artifacts.manifest.invalid",
                     "a descriptor of the remote manifest has no size");
    NEAP_CO_TRY_VOID(
        co_await fetch_blob(ctx, repository, digest, static_cast<std::uint64_t>(size), progress));
    NEAP_CO_TRY_VOID(repositories_.link_blob(repository, digest));
  }
  co_return co_await repositories_.put_manifest(repository, std::move(manifest.bytes), manifest.media_type,
                                                is_tag(reference) ? reference : "");
}

Task<Result<ManifestRecord>> RegistryClient::pull(CallContext ctx, std::string repository,
                                                  std::string reference, PullProgress* progress) {
  // Signatures come first: whoever sees the manifest finds them beside it.
  NEAP_CO_TRY(const Manifest head, co_await fetch_manifest(ctx, repository, reference));
  NEAP_CO_TRY(const JsonArray referrers, co_await fetch_referrers(ctx, repository, head.digest));
  for (const Json& referrer : referrers) {
    NEAP_CO_TRY_VOID(
        co_await pull_manifest(ctx, repository, std::string(get_string(referrer, "digest")), progress));
  }
  NEAP_CO_TRY(const ManifestRecord record,
              co_await pull_manifest(ctx, repository, head.digest.to_string(), progress));
  if (is_tag(reference)) NEAP_CO_TRY_VOID(repositories_.set_tag(repository, reference, record.digest));
  co_return record;
}

Task<Status> RegistryClient::push_blob(CallContext ctx, std::string repository, Digest digest) {
  NEAP_CO_TRY(auto head, co_await http_.call(ctx, request("HEAD", fmt::format("/v2/{}/blobs/{}", repository,
                                                                              digest.to_string()))));
  if (head.status == 200) co_return ok();
  NEAP_CO_TRY(const auto begun,
              co_await http_.call(ctx, request("POST", fmt::format("/v2/{}/blobs/uploads/", repository))));
  std::string location(begun.headers.get("Location"));
  if (begun.status != 202 || location.empty())
    co_return remote_error(begun.status, begun.body, "beginning an upload");
  if (const std::size_t scheme = location.find("://"); scheme != std::string::npos)
    location = location.substr(location.find('/', scheme + 3));
  location += (location.find('?') == std::string::npos ? "?" : "&") + std::string("digest=") +
              io::url_encode(digest.to_string());
  NEAP_CO_TRY(BlobReader blob, co_await store_.open_blob(digest));
  std::uint64_t offset = 0;
  io::HttpRequest put = request("PUT", location);
  put.headers.set("Content-Type", "application/octet-stream");
  NEAP_CO_TRY(
      const auto done,
      co_await http_.upload(ctx, std::move(put), blob.stat().size, [&]() -> Task<Result<std::string>> {
        return [](BlobReader& source, std::uint64_t& at) -> Task<Result<std::string>> {
          std::string piece;
          NEAP_CO_TRY(const std::size_t n, source.read_at(at, piece, kPiece));
          at += n;
          co_return piece;
        }(blob, offset);
      }));
  if (done.status != 201)
    co_return remote_error(done.status, done.body, fmt::format("uploading {}", digest.to_string()));
  co_return ok();
}

Task<Result<Digest>> RegistryClient::push(CallContext ctx, std::string repository, std::string reference) {
  NEAP_CO_TRY(Manifest manifest, co_await repositories_.get_manifest(repository, reference));
  NEAP_CO_TRY(const Json document, parse_json(manifest.bytes));
  std::vector<Digest> blobs;
  if (const Json* config = find_path(document, {"config"})) {
    NEAP_CO_TRY(blobs.emplace_back(), Digest::parse(get_string(*config, "digest")));
  }
  if (const Json* layers = find_path(document, {"layers"}); layers != nullptr && layers->is_array())
    for (const Json& layer : layers->get_array()) {
      NEAP_CO_TRY(blobs.emplace_back(), Digest::parse(get_string(layer, "digest")));
    }
  for (const Digest& blob : blobs) NEAP_CO_TRY_VOID(co_await push_blob(ctx, repository, blob));
  io::HttpRequest put = request("PUT", fmt::format("/v2/{}/manifests/{}", repository, reference));
  put.headers.set("Content-Type", manifest.media_type);
  put.body = std::move(manifest.bytes);
  NEAP_CO_TRY(const auto done, co_await http_.call(ctx, std::move(put)));
  if (done.status != 201) co_return remote_error(done.status, done.body, "pushing the manifest");
  co_return manifest.digest;
}

}  // namespace neap::artifacts
