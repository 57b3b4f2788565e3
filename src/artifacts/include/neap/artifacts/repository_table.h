// Repositories over the content store: which blobs each holds, its manifests, tags and referrers.
//
// 1. A manifest's bytes are a blob; a record in the repository makes it visible. The order of writes is
//    blob, referrer entry, record, tag, and the reverse when deleting: a crash leaves nothing dangling
//    that is visible.
// 2. Records and tags are replaced by rename: readers see the old or the new one.
// Kept as files under ROOT/repositories/NAME/_{layers,manifests,tags,referrers}; a name component never
// starts with "_", so names cannot collide with these folders. Executor's thread only.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "neap/artifacts/artifact_store.h"
#include "neap/base/json.h"

namespace neap::artifacts {

// OCI distribution-spec 1.1.1, "Pulling manifests".
bool is_repository_name(std::string_view name);
bool is_tag(std::string_view tag);

struct Manifest {
  Digest digest;
  std::string media_type;
  std::string bytes;
};

struct ManifestRecord {
  Digest digest;
  std::string media_type;
  std::uint64_t size = 0;
  std::optional<Digest> subject;
};

class RepositoryTable {
 public:
  explicit RepositoryTable(ArtifactStore& store) : store_(store) {}

  Status link_blob(const std::string& repository, const Digest& digest);
  bool holds_blob(const std::string& repository, const Digest& digest) const;
  Status unlink_blob(const std::string& repository, const Digest& digest);
  // Repositories that hold the blob, in order of name.
  Result<std::vector<std::string>> holders(const Digest& digest) const;

  // Checks the shape: kInvalidArgument `artifacts.manifest.invalid`; kFailedPrecondition
  // `artifacts.manifest.blob_unknown` when a config or layer is not in the repository. Children of an index
  // and the subject may be missing. `tag` may be empty.
  Task<Result<ManifestRecord>> put_manifest(std::string repository, std::string bytes, std::string media_type,
                                            std::string tag);
  // `reference` is a tag or a digest. kNotFound `artifacts.manifest.unknown`.
  Result<ManifestRecord> find_manifest(const std::string& repository, const std::string& reference) const;
  Task<Result<Manifest>> get_manifest(std::string repository, std::string reference);
  Status remove_manifest(const std::string& repository, const Digest& digest);

  // Tags an existing manifest.
  Status set_tag(const std::string& repository, const std::string& tag, const Digest& digest);
  Status remove_tag(const std::string& repository, const std::string& tag);
  // In ASCII order. kNotFound `artifacts.repository.unknown`.
  Result<std::vector<std::string>> tags(const std::string& repository) const;
  Result<std::vector<std::string>> repositories() const;
  // Descriptors of manifests whose subject is `digest`; empty when there are none.
  Result<JsonArray> referrers(const std::string& repository, const Digest& digest) const;

  // Everything a repository's manifests reach: what collect() must keep.
  Task<Result<std::set<Digest>>> reachable();

 private:
  std::string folder(const std::string& repository, std::string_view part) const;
  Result<std::vector<std::string>> list_folder(const std::string& path) const;
  Status walk(const std::string& prefix, std::vector<std::string>& out) const;

  ArtifactStore& store_;
};

}  // namespace neap::artifacts
