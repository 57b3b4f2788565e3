// Pulls from (and pushes to) an OCI registry into a local store: verified, resumable, each digest once.
//
// 1. Nothing enters the store whose bytes did not hash to the digest asked for.
// 2. Two pulls of one digest at the same time fetch it once (single flight); the second waits for the first.
// 3. A cut connection is resumed with Range from the last byte stored, up to attempts_max without progress.
// Executor's thread only. HTTP statuses become Results with the registry's own error text.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "neap/artifacts/repository_table.h"
#include "neap/io/http.h"

namespace neap::artifacts {

struct RegistryClientOptions {
  int attempts_max = 5;          // in a row without a byte
  Duration retry_pause = 200ms;  // doubled each time
  std::uint64_t manifest_bytes_max = 8u << 20;
  // Sets Authorization and the like on each request; may be empty.
  std::function<void(io::HttpRequest&)> decorate;
};

struct PullProgress {
  std::uint64_t bytes_fetched = 0;  // over the wire, in this call
  std::uint64_t bytes_reused = 0;   // were here already
  std::uint64_t resumes = 0;
};

class RegistryClient {
 public:
  RegistryClient(io::Runtime& runtime, io::HttpClient& http, ArtifactStore& store,
                 RepositoryTable& repositories, RegistryClientOptions options = {});
  ~RegistryClient();

  // `reference` is a tag or a digest; a digest is verified, a tag believed.
  Task<Result<Manifest>> fetch_manifest(CallContext ctx, std::string repository, std::string reference);
  // Into the store, not yet into a repository.
  Task<Result<BlobStat>> fetch_blob(CallContext ctx, std::string repository, Digest digest,
                                    std::uint64_t size, PullProgress* progress = nullptr);
  // Manifest, its blobs, and its referrers (signatures), all into the local repository of the same name; tags
  // it when `reference` is a tag.
  Task<Result<ManifestRecord>> pull(CallContext ctx, std::string repository, std::string reference,
                                    PullProgress* progress = nullptr);
  // Referrers descriptors of the remote registry.
  Task<Result<JsonArray>> fetch_referrers(CallContext ctx, std::string repository, Digest subject);
  // A manifest of the local repository with its blobs to the remote one.
  Task<Result<Digest>> push(CallContext ctx, std::string repository, std::string reference);

 private:
  struct Flight;
  Task<Result<BlobStat>> download(CallContext ctx, std::string repository, Digest digest, std::uint64_t size,
                                  PullProgress* progress);
  Task<Status> download_rest(CallContext ctx, std::string repository, Digest digest, std::uint64_t size,
                             std::string upload, PullProgress* progress);
  Task<Status> push_blob(CallContext ctx, std::string repository, Digest digest);
  Task<Result<ManifestRecord>> pull_manifest(CallContext ctx, std::string repository, std::string reference,
                                             PullProgress* progress);
  io::HttpRequest request(std::string method, std::string target) const;

  io::Runtime& runtime_;
  io::HttpClient& http_;
  ArtifactStore& store_;
  RepositoryTable& repositories_;
  RegistryClientOptions options_;
  std::map<Digest, std::shared_ptr<Flight>> flights_;
};

}  // namespace neap::artifacts
