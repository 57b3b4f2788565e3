#include "neap/artifacts/oci_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "internal/registry_reply.h"

namespace neap::artifacts {

using internal::registry_error;

namespace {

constexpr std::string_view kIndexType = "application/vnd.oci.image.index.v1+json";
constexpr std::size_t kPiece = 256u << 10;

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    out.emplace_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return out;
}

io::HttpResponse empty(int status) {
  io::HttpResponse response;
  response.status = status;
  return response;
}

io::HttpResponse json(Json value) {
  io::HttpResponse response;
  response.headers.set("Content-Type", "application/json");
  response.body = to_text(value);
  return response;
}

std::string_view without_parameters(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  return type;
}

}  // namespace

struct OciRegistry::Route {
  enum class Kind {
    kUnknown,
    kPing,
    kCatalog,
    kBlob,
    kUploads,
    kUpload,
    kManifest,
    kTags,
    kReferrers
  } kind = Kind::kUnknown;
  std::string repository;
  std::string reference;  // digest, tag or upload id

  static Route parse(std::string_view path);
};

OciRegistry::Route OciRegistry::Route::parse(std::string_view path) {
  Route route;
  if (path == "/v2" || path == "/v2/") {
    route.kind = Kind::kPing;
    return route;
  }
  if (!path.starts_with("/v2/")) return route;
  std::vector<std::string> parts = split(path.substr(4));
  if (parts.size() == 1 && parts[0] == "_catalog") {
    route.kind = Kind::kCatalog;
    return route;
  }
  const auto take = [&](Kind kind, std::size_t tail, std::string reference) {
    route.kind = kind;
    route.reference = std::move(reference);
    for (std::size_t i = 0; i + tail < parts.size(); ++i) route.repository += (i != 0 ? "/" : "") + parts[i];
    return route;
  };
  const std::size_t n = parts.size();
  if (n >= 4 && parts[n - 3] == "blobs" && parts[n - 2] == "uploads")
    return parts[n - 1].empty() ? take(Kind::kUploads, 3, "") : take(Kind::kUpload, 3, parts[n - 1]);
  if (n >= 3 && parts[n - 2] == "blobs" && parts[n - 1] == "uploads") return take(Kind::kUploads, 2, "");
  if (n >= 3 && parts[n - 2] == "tags" && parts[n - 1] == "list") return take(Kind::kTags, 2, "");
  if (n >= 3 && parts[n - 2] == "blobs") return take(Kind::kBlob, 2, parts[n - 1]);
  if (n >= 3 && parts[n - 2] == "manifests") return take(Kind::kManifest, 2, parts[n - 1]);
  if (n >= 3 && parts[n - 2] == "referrers") return take(Kind::kReferrers, 2, parts[n - 1]);
  return route;
}

OciRegistry::OciRegistry(ArtifactStore& store, RepositoryTable& repositories, OciRegistryOptions options,
                         Authorize authorize)
    : store_(store),
      repositories_(repositories),
      options_(std::move(options)),
      authorize_(std::move(authorize)) {}

Task<void> OciRegistry::handle(io::HttpExchange& exchange) {
  const Status status = co_await dispatch(exchange);
  if (status || exchange.has_started()) co_return;
  io::HttpResponse response = registry_error(status.error());
  if (response.status == 401 && !options_.challenge.empty())
    response.headers.set("WWW-Authenticate", options_.challenge);
  (void)co_await exchange.reply(std::move(response));
}

Task<Status> OciRegistry::dispatch(io::HttpExchange& exchange) {
  Route route = Route::parse(exchange.request().path);
  const std::string& method = exchange.request().method;
  const bool reads = method == "GET" || method == "HEAD";
  using Kind = Route::Kind;
  if (route.kind == Kind::kUnknown)
    co_return co_await exchange.reply(registry_error(404, "UNSUPPORTED", "the registry has no such path"));
  if (!route.repository.empty() && !is_repository_name(route.repository))
    co_return co_await exchange.reply(registry_error(400, "NAME_INVALID",
                                                     "a repository name has lower-case letters, digits and "
                                                     "separators, parts joined by /, at most 255 bytes"));
  if (authorize_) {
    const RegistryAction action = route.kind == Kind::kPing ? RegistryAction::kPing
                                  : method == "DELETE" && route.kind != Kind::kUpload
                                      ? RegistryAction::kDelete
                                  : reads && route.kind != Kind::kUpload ? RegistryAction::kPull
                                                                         : RegistryAction::kPush;
    NEAP_CO_TRY_VOID(co_await authorize_(exchange, route.repository, action));
  }
  co_return co_await serve_route(exchange, std::move(route));
}

Task<Status> OciRegistry::serve_route(io::HttpExchange& exchange, Route route) {
  const std::string method = exchange.request().method;
  const bool reads = method == "GET" || method == "HEAD";
  using Kind = Route::Kind;
  switch (route.kind) {
    case Kind::kPing:
      if (reads) {
        io::HttpResponse pong = json(JsonObject{});
        pong.headers.set("Docker-Distribution-Api-Version", "registry/2.0");
        co_return co_await exchange.reply(std::move(pong));
      }
      break;
    case Kind::kCatalog:
      if (reads) co_return co_await list_repositories(exchange);
      break;
    case Kind::kBlob:
      if (reads) co_return co_await get_blob(exchange, std::move(route));
      if (method == "DELETE") co_return co_await delete_blob(exchange, std::move(route));
      break;
    case Kind::kUploads:
      if (method == "POST") co_return co_await begin_upload(exchange, std::move(route));
      break;
    case Kind::kUpload:
      if (method == "PATCH") co_return co_await continue_upload(exchange, std::move(route));
      if (method == "PUT") {
        std::string id = route.reference;
        co_return co_await finish_upload(exchange, std::move(route), std::move(id));
      }
      if (reads) co_return co_await upload_status(exchange, std::move(route));
      if (method == "DELETE") {
        NEAP_CO_TRY_VOID(store_.cancel_upload(route.reference));
        co_return co_await exchange.reply(empty(204));
      }
      break;
    case Kind::kManifest:
      if (reads) co_return co_await get_manifest(exchange, std::move(route));
      if (method == "PUT") co_return co_await put_manifest(exchange, std::move(route));
      if (method == "DELETE") co_return co_await delete_manifest(exchange, std::move(route));
      break;
    case Kind::kTags:
      if (reads) co_return co_await list_tags(exchange, std::move(route));
      break;
    case Kind::kReferrers:
      if (reads) co_return co_await list_referrers(exchange, std::move(route));
      break;
    case Kind::kUnknown:
      break;
  }
  co_return co_await exchange.reply(
      registry_error(405, "UNSUPPORTED", fmt::format("{} is not supported here", method)));
}

// -- pull

Task<Status> OciRegistry::get_blob(io::HttpExchange& exchange, Route route) {
  NEAP_CO_TRY(const Digest digest, Digest::parse(route.reference));
  if (!repositories_.holds_blob(route.repository, digest))
    co_return co_await exchange.reply(registry_error(
        404, "BLOB_UNKNOWN", fmt::format("{} does not hold {}", route.repository, route.reference)));
  NEAP_CO_TRY(BlobReader blob, co_await store_.open_blob(digest));
  const std::uint64_t size = blob.stat().size;
  io::HttpResponse head;
  head.headers.set("Docker-Content-Digest", digest.to_string());
  head.headers.set("ETag", "\"" + digest.to_string() + "\"");
  head.headers.set("Accept-Ranges", "bytes");
  head.headers.set("Content-Type", "application/octet-stream");
  std::uint64_t first = 0;
  std::uint64_t count = size;
  if (const auto asked = exchange.request().headers.get("Range"); !asked.empty()) {
    // If-Range with another validator: the client's part is of something else, so it gets the whole.
    const auto validator = exchange.request().headers.get("If-Range");
    if (validator.empty() || validator == head.headers.get("ETag")) {
      const auto range = internal::parse_range(asked, size);
      if (!range) {
        io::HttpResponse refused = registry_error(416, "SIZE_INVALID", range.error().message);
        refused.headers.set("Content-Range", fmt::format("bytes */{}", size));
        co_return co_await exchange.reply(std::move(refused));
      }
      if (*range) {
        first = (*range)->first;
        count = (*range)->last - first + 1;
        head.status = 206;
        head.headers.set("Content-Range", fmt::format("bytes {}-{}/{}", first, (*range)->last, size));
      }
    }
  }
  head.headers.set("Content-Length", std::to_string(count));
  NEAP_CO_TRY_VOID(co_await exchange.start(std::move(head)));
  if (exchange.request().method == "HEAD") co_return co_await exchange.finish();
  std::string piece;
  while (count > 0) {
    piece.clear();
    NEAP_CO_TRY(const std::size_t n,
                blob.read_at(first, piece, static_cast<std::size_t>(std::min<std::uint64_t>(count, kPiece))));
    if (n == 0)
      co_return fail(Code::kDataLoss, "artifacts.blob.corrupt", "the blob's file is shorter than it was");
    NEAP_CO_TRY_VOID(co_await exchange.write(piece));
    first += n;
    count -= n;
  }
  co_return co_await exchange.finish();
}

Task<Status> OciRegistry::get_manifest(io::HttpExchange& exchange, Route route) {
  if (!is_tag(route.reference)) NEAP_CO_TRY_VOID(Digest::parse(route.reference));
  NEAP_CO_TRY(Manifest manifest, co_await repositories_.get_manifest(route.repository, route.reference));
  io::HttpResponse response;
  response.headers.set("Content-Type", manifest.media_type);
  response.headers.set("Docker-Content-Digest", manifest.digest.to_string());
  response.headers.set("ETag", "\"" + manifest.digest.to_string() + "\"");
  response.body = std::move(manifest.bytes);
  co_return co_await exchange.reply(std::move(response));
}

// -- push

Task<Status> OciRegistry::accepted(io::HttpExchange& exchange, Route route, std::string id,
                                   std::uint64_t size, int status) {
  io::HttpResponse response = empty(status);
  response.headers.set("Location", fmt::format("/v2/{}/blobs/uploads/{}", route.repository, id));
  response.headers.set("Docker-Upload-UUID", id);
  // An empty upload has no last byte; "0-0" is what clients expect there.
  response.headers.set("Range", fmt::format("0-{}", size == 0 ? 0 : size - 1));
  if (status == 416) {
    response.headers.set("Content-Type", "application/json");
    response.body = registry_error(416, "BLOB_UPLOAD_INVALID",
                                   fmt::format("the upload holds {} bytes; go on from there", size))
                        .body;
  }
  co_return co_await exchange.reply(std::move(response));
}

Task<Status> OciRegistry::created_blob(io::HttpExchange& exchange, Route route, Digest digest) {
  NEAP_CO_TRY_VOID(repositories_.link_blob(route.repository, digest));
  io::HttpResponse response = empty(201);
  response.headers.set("Location", fmt::format("/v2/{}/blobs/{}", route.repository, digest.to_string()));
  response.headers.set("Docker-Content-Digest", digest.to_string());
  co_return co_await exchange.reply(std::move(response));
}

Task<Status> OciRegistry::begin_upload(io::HttpExchange& exchange, Route route) {
  const io::HttpRequest& request = exchange.request();
  if (request.has_query("mount")) {
    NEAP_CO_TRY(const Digest digest, Digest::parse(request.query_value("mount")));
    co_return co_await mount(exchange, std::move(route), digest);
  }
  if (request.has_query("digest-algorithm") && request.query_value("digest-algorithm") != "sha256")
    co_return co_await exchange.reply(
        registry_error(400, "DIGEST_INVALID", "this registry names blobs by sha256"));
  if (request.has_query("digest")) NEAP_CO_TRY_VOID(Digest::parse(request.query_value("digest")));
  NEAP_CO_TRY(std::string id, store_.begin_upload());
  if (request.has_query("digest"))
    co_return co_await finish_upload(exchange, std::move(route), std::move(id));
  co_return co_await accepted(exchange, std::move(route), std::move(id), 0, 202);
}

Task<Status> OciRegistry::mount(io::HttpExchange& exchange, Route route, Digest digest) {
  std::vector<std::string> sources;
  if (exchange.request().has_query("from")) {
    sources.emplace_back(exchange.request().query_value("from"));
    if (!is_repository_name(sources[0])) sources.clear();
  } else {
    NEAP_CO_TRY(sources, repositories_.holders(digest));
  }
  for (const std::string& source : sources) {
    if (!repositories_.holds_blob(source, digest)) continue;
    // Who may not read it there must not get it here, nor learn that it exists.
    if (authorize_ && !co_await authorize_(exchange, source, RegistryAction::kPull)) continue;
    co_return co_await created_blob(exchange, std::move(route), digest);
  }
  NEAP_CO_TRY(std::string id, store_.begin_upload());
  co_return co_await accepted(exchange, std::move(route), std::move(id), 0, 202);
}

Task<Result<std::uint64_t>> OciRegistry::take_body(io::HttpExchange& exchange, std::string id,
                                                   std::uint64_t offset) {
  std::string piece;
  for (;;) {
    NEAP_CO_TRY(const std::size_t n, co_await exchange.body().read_some(exchange.context(), piece));
    if (piece.size() >= kPiece || (n == 0 && !piece.empty())) {
      NEAP_CO_TRY(offset, co_await store_.append(id, offset, piece));
      piece.clear();
    }
    if (n == 0) co_return offset;
  }
}

Task<Status> OciRegistry::continue_upload(io::HttpExchange& exchange, Route route) {
  const std::string id = route.reference;
  NEAP_CO_TRY(const std::uint64_t size, co_await store_.upload_size(id));
  if (const auto header = exchange.request().headers.get("Content-Range"); !header.empty()) {
    const auto range = internal::parse_content_range(header);
    if (!range && range.error().code == Code::kInvalidArgument)
      co_return co_await exchange.reply(registry_error(400, "BLOB_UPLOAD_INVALID", range.error().message));
    const auto length = exchange.body().declared_length();
    if (!range || range->first != size || (length && *length != range->last - range->first + 1))
      co_return co_await accepted(exchange, std::move(route), id, size, 416);
  }
  NEAP_CO_TRY(const std::uint64_t now, co_await take_body(exchange, id, size));
  co_return co_await accepted(exchange, std::move(route), id, now, 202);
}

Task<Status> OciRegistry::finish_upload(io::HttpExchange& exchange, Route route, std::string id) {
  NEAP_CO_TRY(const Digest digest, Digest::parse(exchange.request().query_value("digest")));
  NEAP_CO_TRY(const std::uint64_t size, co_await store_.upload_size(id));
  if (const auto header = exchange.request().headers.get("Content-Range"); !header.empty()) {
    const auto range = internal::parse_content_range(header);
    if (!range || range->first != size)
      co_return co_await accepted(exchange, std::move(route), id, size, 416);
  }
  NEAP_CO_TRY_VOID(co_await take_body(exchange, id, size));
  NEAP_CO_TRY_VOID(co_await store_.commit(id, digest));
  co_return co_await created_blob(exchange, std::move(route), digest);
}

Task<Status> OciRegistry::upload_status(io::HttpExchange& exchange, Route route) {
  const std::string id = route.reference;
  NEAP_CO_TRY(const std::uint64_t size, co_await store_.upload_size(id));
  co_return co_await accepted(exchange, std::move(route), id, size, 204);
}

Task<Status> OciRegistry::put_manifest(io::HttpExchange& exchange, Route route) {
  std::string tag;
  std::optional<Digest> wanted;
  if (is_tag(route.reference)) {
    tag = route.reference;
  } else {
    NEAP_CO_TRY(wanted, Digest::parse(route.reference));
  }
  std::vector<std::string> more_tags;
  for (const auto& [name, value] : exchange.request().query)
    if (name == "tag" && is_tag(value) && more_tags.size() < 64) more_tags.push_back(value);
  NEAP_CO_TRY(std::string bytes,
              co_await exchange.body().read_all(exchange.context(), options_.manifest_bytes_max));
  if (wanted && crypto::sha256(bytes) != *wanted)
    co_return co_await exchange.reply(
        registry_error(400, "DIGEST_INVALID", "the manifest's bytes do not hash to the digest in the path"));
  std::string type(without_parameters(exchange.request().headers.get("Content-Type")));
  NEAP_CO_TRY(const ManifestRecord record,
              co_await repositories_.put_manifest(route.repository, std::move(bytes), std::move(type),
                                                  std::move(tag)));
  io::HttpResponse response = empty(201);
  for (const std::string& extra : more_tags) {
    NEAP_CO_TRY_VOID(repositories_.set_tag(route.repository, extra, record.digest));
    response.headers.add("OCI-Tag", extra);
  }
  response.headers.set("Location",
                       fmt::format("/v2/{}/manifests/{}", route.repository, record.digest.to_string()));
  response.headers.set("Docker-Content-Digest", record.digest.to_string());
  if (record.subject) response.headers.set("OCI-Subject", record.subject->to_string());
  co_return co_await exchange.reply(std::move(response));
}

// -- lists and deletion

Task<Status> OciRegistry::delete_blob(io::HttpExchange& exchange, Route route) {
  NEAP_CO_TRY(const Digest digest, Digest::parse(route.reference));
  if (!repositories_.holds_blob(route.repository, digest))
    co_return co_await exchange.reply(registry_error(
        404, "BLOB_UNKNOWN", fmt::format("{} does not hold {}", route.repository, route.reference)));
  NEAP_CO_TRY_VOID(repositories_.unlink_blob(route.repository, digest));
  co_return co_await exchange.reply(empty(202));
}

Task<Status> OciRegistry::delete_manifest(io::HttpExchange& exchange, Route route) {
  if (is_tag(route.reference)) {
    if (!repositories_.remove_tag(route.repository, route.reference))
      co_return co_await exchange.reply(registry_error(
          404, "MANIFEST_UNKNOWN", fmt::format("{} has no tag {}", route.repository, route.reference)));
  } else {
    NEAP_CO_TRY(const Digest digest, Digest::parse(route.reference));
    NEAP_CO_TRY_VOID(repositories_.remove_manifest(route.repository, digest));
  }
  co_return co_await exchange.reply(empty(202));
}

Task<Status> OciRegistry::list_tags(io::HttpExchange& exchange, Route route) {
  const io::HttpRequest& request = exchange.request();
  NEAP_CO_TRY(std::vector<std::string> tags, repositories_.tags(route.repository));
  if (request.has_query("last")) {
    const std::string last(request.query_value("last"));
    std::erase_if(tags, [&](const std::string& tag) { return tag <= last; });
  }
  std::size_t limit = options_.list_page_max;
  if (request.has_query("n")) {
    const auto text = request.query_value("n");
    std::size_t asked = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), asked);
    if (error != std::errc{} || end != text.data() + text.size())
      co_return co_await exchange.reply(registry_error(400, "UNSUPPORTED", "n must be a whole number"));
    limit = std::min(limit, asked);
  }
  const bool more = tags.size() > limit;
  if (more) tags.resize(limit);
  JsonArray names;
  for (const std::string& tag : tags) names.emplace_back(tag);
  io::HttpResponse response = json(JsonObject{{"name", route.repository}, {"tags", std::move(names)}});
  if (more && limit > 0)
    response.headers.set("Link", fmt::format("</v2/{}/tags/list?n={}&last={}>; rel=\"next\"",
                                             route.repository, limit, io::url_encode(tags.back())));
  co_return co_await exchange.reply(std::move(response));
}

Task<Status> OciRegistry::list_repositories(io::HttpExchange& exchange) {
  NEAP_CO_TRY(const std::vector<std::string> names, repositories_.repositories());
  JsonArray visible;
  for (const std::string& name : names) {
    if (authorize_ && !co_await authorize_(exchange, name, RegistryAction::kPull)) continue;
    visible.emplace_back(name);
    if (visible.size() >= options_.list_page_max) break;
  }
  co_return co_await exchange.reply(json(JsonObject{{"repositories", std::move(visible)}}));
}

Task<Status> OciRegistry::list_referrers(io::HttpExchange& exchange, Route route) {
  NEAP_CO_TRY(const Digest digest, Digest::parse(route.reference));
  NEAP_CO_TRY(JsonArray found, repositories_.referrers(route.repository, digest));
  const bool filtered = exchange.request().has_query("artifactType");
  if (filtered) {
    const std::string type(exchange.request().query_value("artifactType"));
    JsonArray kept;
    for (Json& descriptor : found)
      if (get_string(descriptor, "artifactType") == type) kept.push_back(std::move(descriptor));
    found = std::move(kept);
  }
  io::HttpResponse response =
      json(JsonObject{{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", std::move(found)}});
  response.headers.set("Content-Type", std::string(kIndexType));
  if (filtered) response.headers.set("OCI-Filters-Applied", "artifactType");
  co_return co_await exchange.reply(std::move(response));
}

}  // namespace neap::artifacts
