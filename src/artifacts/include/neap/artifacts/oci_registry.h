// OCI distribution-spec 1.1.1 over a RepositoryTable, mounted at /v2/.
//
// Serves end-1 to end-13: pull with Range, push in one piece, in chunks and streamed, mount, tags, referrers,
// deletion. Errors are {"errors": [{code, message, detail}]} with the spec's codes. Blobs stream through; no
// request holds more than a few pieces in memory, but for a manifest (manifest_bytes_max).
// Digests are SHA-256. Executor's thread only.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "neap/artifacts/repository_table.h"
#include "neap/io/http.h"

namespace neap::artifacts {

enum class RegistryAction { kPing, kPull, kPush, kDelete };

// Says whether this exchange may do `action` on `repository` (empty for kPing). kUnauthenticated answers 401,
// everything else 403.
using Authorize = std::function<Task<Status>(io::HttpExchange&, std::string repository, RegistryAction)>;

struct OciRegistryOptions {
  std::uint64_t manifest_bytes_max = 8u << 20;
  std::size_t list_page_max = 1000;
  std::string challenge;  // WWW-Authenticate of a 401, for example `Bearer realm="..."`
};

class OciRegistry {
 public:
  OciRegistry(ArtifactStore& store, RepositoryTable& repositories, OciRegistryOptions options = {},
              Authorize authorize = {});
  // Answers every request whose path is /v2 or starts with /v2/.
  Task<void> handle(io::HttpExchange& exchange);

 private:
  struct Route;
  Task<Status> dispatch(io::HttpExchange& exchange);
  Task<Status> serve_route(io::HttpExchange& exchange, Route route);
  Task<Status> get_blob(io::HttpExchange& exchange, Route route);
  Task<Status> delete_blob(io::HttpExchange& exchange, Route route);
  Task<Status> begin_upload(io::HttpExchange& exchange, Route route);
  Task<Status> mount(io::HttpExchange& exchange, Route route, Digest digest);
  Task<Status> continue_upload(io::HttpExchange& exchange, Route route);
  Task<Status> finish_upload(io::HttpExchange& exchange, Route route, std::string id);
  Task<Status> upload_status(io::HttpExchange& exchange, Route route);
  Task<Result<std::uint64_t>> take_body(io::HttpExchange& exchange, std::string id, std::uint64_t offset);
  Task<Status> accepted(io::HttpExchange& exchange, Route route, std::string id, std::uint64_t size,
                        int status);
  Task<Status> created_blob(io::HttpExchange& exchange, Route route, Digest digest);
  Task<Status> get_manifest(io::HttpExchange& exchange, Route route);
  Task<Status> put_manifest(io::HttpExchange& exchange, Route route);
  Task<Status> delete_manifest(io::HttpExchange& exchange, Route route);
  Task<Status> list_tags(io::HttpExchange& exchange, Route route);
  Task<Status> list_repositories(io::HttpExchange& exchange);
  Task<Status> list_referrers(io::HttpExchange& exchange, Route route);

  ArtifactStore& store_;
  RepositoryTable& repositories_;
  OciRegistryOptions options_;
  Authorize authorize_;
};

}  // namespace neap::artifacts
