// Content store: immutable blobs addressed by SHA-256 in one directory, with resumable uploads.
//
// 1. A blob is visible under its digest only after its bytes were hashed, synced and renamed into
//    place: a crash at any instruction leaves the old content or the new, never a part.
// 2. Blobs never change. remove() and collect() delete; readers that are open keep reading.
// 3. An upload accepts bytes only at its end, one writer at a time, and never more than blob_bytes_max.
// 4. After a restart an unfinished upload goes on where its file ends; its bytes are hashed again, so torn
//    ones are found at commit.
// Executor's thread only. Slow work (hashing, fsync) runs through Runtime::offload. Errors: kNotFound
// `artifacts.blob.absent`, kResourceExhausted `artifacts.blob.too_large` or `file.disk.full`, kDataLoss
// `artifacts.blob.corrupt`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/task.h"
#include "neap/crypto/digest.h"
#include "neap/io/runtime.h"

namespace neap::artifacts {

using crypto::Digest;

struct BlobStat {
  Digest digest;
  std::uint64_t size = 0;
};

// Ranged reads of one blob; independent of the store's later life.
class BlobReader {
 public:
  BlobReader(std::unique_ptr<io::File> file, BlobStat stat) : file_(std::move(file)), stat_(stat) {}
  const BlobStat& stat() const { return stat_; }
  // Appends up to `max` bytes; returns how many, 0 at the end.
  Result<std::size_t> read_at(std::uint64_t offset, std::string& out, std::size_t max) {
    return file_->read_at(offset, out, max);
  }

 private:
  std::unique_ptr<io::File> file_;
  BlobStat stat_;
};

struct ArtifactStoreOptions {
  std::string root;
  std::uint64_t blob_bytes_max = 1ULL << 40;
  std::size_t uploads_max = 256;
  // Hash the whole blob before each open_blob: for media that rot.
  bool verify_on_open = false;
  Duration upload_idle_max = 24h;  // since the last append; collect() removes older ones
};

class ArtifactStore {
 public:
  static Result<std::unique_ptr<ArtifactStore>> open(io::Runtime& runtime, ArtifactStoreOptions options);
  ~ArtifactStore();

  Result<BlobStat> stat(const Digest& digest) const;
  // Where the bytes lie, for programs that open files by name; kNotFound when absent. Read only.
  Result<std::string> path_of(const Digest& digest) const;
  bool has(const Digest& digest) const { return stat(digest).has_value(); }
  Task<Result<BlobReader>> open_blob(Digest digest);
  // Whole content, verified; kResourceExhausted above bytes_max.
  Task<Result<std::string>> read(Digest digest, std::uint64_t bytes_max);
  // What is there already is kept, unless it no longer hashes to its name: then it is replaced.
  Task<Result<BlobStat>> put(std::string bytes);
  // Hashes what lies on disk.
  Task<Status> verify(Digest digest);
  Status remove(const Digest& digest);
  Result<std::vector<BlobStat>> list() const;

  Result<std::string> begin_upload();
  // Bytes stored so far. kNotFound `artifacts.upload.unknown`.
  Task<Result<std::uint64_t>> upload_size(std::string id);
  // Returns the new size. kOutOfRange `artifacts.upload.offset` unless offset is the present size, kAborted
  // `artifacts.upload.busy` while another append runs. `data` must live until the call returns.
  Task<Result<std::uint64_t>> append(std::string id, std::uint64_t offset, std::string_view data);
  // Makes what was appended so far survive a crash.
  Task<Status> sync_upload(std::string id);
  // Cuts an upload back to `size`, for receivers that acknowledge whole chunks only.
  Task<Status> truncate_upload(std::string id, std::uint64_t size);
  // Ends the upload. kInvalidArgument `artifacts.digest.mismatch` when the content is not `expected`; the
  // upload is gone then, too.
  Task<Result<BlobStat>> commit(std::string id, Digest expected);
  Status cancel_upload(const std::string& id);

  // Deletes every blob that `keep` does not name and that is older than `grace`, and idle uploads. Returns
  // bytes freed.
  Task<Result<std::uint64_t>> collect(std::set<Digest> keep, Duration grace);

  io::Runtime& runtime() { return runtime_; }
  const std::string& root() const { return options_.root; }

 private:
  struct Upload;
  ArtifactStore(io::Runtime& runtime, ArtifactStoreOptions options);
  std::string blob_path(const Digest& digest) const;
  std::string upload_path(const std::string& id) const;
  Task<Result<std::shared_ptr<Upload>>> find_upload(std::string id);
  Status settle(const std::string& id, const Digest& digest);

  io::Runtime& runtime_;
  ArtifactStoreOptions options_;
  std::map<std::string, std::shared_ptr<Upload>> uploads_;
};

}  // namespace neap::artifacts
