#include "neap/artifacts/artifact_store.h"

#include <fmt/format.h>

#include <algorithm>

namespace neap::artifacts {
namespace {

constexpr std::size_t kReadPiece = 1u << 20;
constexpr std::size_t kInlineAppendMax = 256u << 10;

bool is_upload_id(std::string_view id) {
  return id.size() == 32 &&
         std::ranges::all_of(id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::unexpected<Error> unknown_upload(std::string_view id) {
  return fail(Code::kNotFound, "artifacts.upload.unknown",
              fmt::format("no upload {} is open here; it ended, was cancelled or expired: begin a new one",
                          id.substr(0, 40)));
}

Result<Digest> hash_file(io::File& file, crypto::Sha256& hasher, std::uint64_t* size = nullptr) {
  std::uint64_t offset = 0;
  std::string piece;
  for (;;) {
    piece.clear();
    NEAP_TRY(const std::size_t n, file.read_at(offset, piece, kReadPiece));
    if (n == 0) break;
    hasher.update(piece);
    offset += n;
  }
  if (size != nullptr) *size = offset;
  return Digest{};
}

}  // namespace

struct ArtifactStore::Upload {
  std::unique_ptr<io::File> file;
  crypto::Sha256 hasher;
  std::uint64_t size = 0;
  bool busy = false;
  MonoTime used{};
};

ArtifactStore::ArtifactStore(io::Runtime& runtime, ArtifactStoreOptions options)
    : runtime_(runtime), options_(std::move(options)) {}
ArtifactStore::~ArtifactStore() = default;

Result<std::unique_ptr<ArtifactStore>> ArtifactStore::open(io::Runtime& runtime,
                                                           ArtifactStoreOptions options) {
  NEAP_TRY_VOID(runtime.files().make_directories(options.root + "/blobs/sha256"));
  NEAP_TRY_VOID(runtime.files().make_directories(options.root + "/uploads"));
  return std::unique_ptr<ArtifactStore>(new ArtifactStore(runtime, std::move(options)));
}

Result<std::string> ArtifactStore::path_of(const Digest& digest) const {
  if (auto present = stat(digest); !present) return fail(std::move(present).error());
  return blob_path(digest);
}

std::string ArtifactStore::blob_path(const Digest& digest) const {
  const std::string hex = digest.hex();
  return fmt::format("{}/blobs/sha256/{}/{}", options_.root, hex.substr(0, 2), hex);
}

std::string ArtifactStore::upload_path(const std::string& id) const {
  return fmt::format("{}/uploads/{}", options_.root, id);
}

Result<BlobStat> ArtifactStore::stat(const Digest& digest) const {
  auto found = runtime_.files().stat(blob_path(digest));
  if (found) return BlobStat{digest, found->size};
  if (found.error().code != Code::kNotFound) return fail(std::move(found).error());
  return fail(Code::kNotFound, "artifacts.blob.absent",
              fmt::format("{} is not stored here; pull or upload it first", digest.to_string()));
}

Task<Result<BlobReader>> ArtifactStore::open_blob(Digest digest) {
  if (options_.verify_on_open) NEAP_CO_TRY_VOID(co_await verify(digest));
  NEAP_CO_TRY(const BlobStat found, stat(digest));
  NEAP_CO_TRY(auto file, runtime_.files().open(blob_path(digest), io::OpenMode::kRead));
  co_return BlobReader(std::move(file), found);
}

Task<Status> ArtifactStore::verify(Digest digest) {
  NEAP_CO_TRY_VOID(stat(digest));
  NEAP_CO_TRY(auto file, runtime_.files().open(blob_path(digest), io::OpenMode::kRead));
  co_return co_await runtime_.offload([&]() -> Status {
    crypto::Sha256 hasher;
    NEAP_TRY_VOID(hash_file(*file, hasher));
    if (const Digest actual = hasher.finish(); actual != digest)
      return fail(Code::kDataLoss, "artifacts.blob.corrupt",
                  fmt::format("{} reads as {}: the medium changed it; remove it and fetch it again",
                              digest.to_string(), actual.to_string()));
    return {};
  });
}

Task<Result<std::string>> ArtifactStore::read(Digest digest, std::uint64_t bytes_max) {
  NEAP_CO_TRY(const BlobStat found, stat(digest));
  if (found.size > bytes_max)
    co_return fail(
        Code::kResourceExhausted, "artifacts.blob.too_large",
        fmt::format("{} has {} bytes, the reader accepts {}", digest.to_string(), found.size, bytes_max));
  co_return co_await runtime_.offload([&]() -> Result<std::string> {
    NEAP_TRY(std::string bytes, runtime_.files().read_file(blob_path(digest), bytes_max));
    if (crypto::sha256(bytes) != digest)
      return fail(
          Code::kDataLoss, "artifacts.blob.corrupt",
          fmt::format("{} does not hash to its name; remove it and fetch it again", digest.to_string()));
    return bytes;
  });
}

Task<Result<BlobStat>> ArtifactStore::put(std::string bytes) {
  const Digest digest = crypto::sha256(bytes);
  if (auto present = stat(digest); present && present->size == bytes.size())
    if (co_await verify(digest)) co_return *present;
  NEAP_CO_TRY(const std::string id, begin_upload());
  auto appended = co_await append(id, 0, bytes);
  if (!appended) {
    (void)cancel_upload(id);
    co_return fail(std::move(appended).error());
  }
  co_return co_await commit(id, digest);
}

Status ArtifactStore::remove(const Digest& digest) {
  NEAP_TRY_VOID(stat(digest));
  return runtime_.files().remove(blob_path(digest));
}

Result<std::vector<BlobStat>> ArtifactStore::list() const {
  std::vector<BlobStat> out;
  const std::string base = options_.root + "/blobs/sha256";
  NEAP_TRY(const auto folders, runtime_.files().list(base));
  for (const std::string& folder : folders) {
    NEAP_TRY(const auto names, runtime_.files().list(base + "/" + folder));
    for (const std::string& name : names) {
      const auto digest = Digest::parse("sha256:" + name);
      if (!digest) continue;
      if (auto found = stat(*digest)) out.push_back(*found);
    }
  }
  return out;
}

Result<std::string> ArtifactStore::begin_upload() {
  if (uploads_.size() >= options_.uploads_max) {
    const auto oldest = std::ranges::min_element(uploads_, {}, [](const auto& entry) {
      return entry.second->busy ? MonoTime::max() : entry.second->used;
    });
    if (oldest->second->busy)
      return fail(Code::kResourceExhausted, "artifacts.uploads.too_many",
                  "all upload slots are in use; try again when one ends");
    // Only its memory goes: its file stays, and the next append finds it again.
    uploads_.erase(oldest);
  }
  std::string id = runtime_.random().hex(16);
  auto upload = std::make_shared<Upload>();
  NEAP_TRY(upload->file, runtime_.files().open(upload_path(id), io::OpenMode::kCreateNew));
  upload->used = runtime_.executor().now();
  uploads_.emplace(id, std::move(upload));
  return id;
}

Task<Result<std::shared_ptr<ArtifactStore::Upload>>> ArtifactStore::find_upload(std::string id) {
  if (const auto open = uploads_.find(id); open != uploads_.end()) co_return open->second;
  if (!is_upload_id(id) || !runtime_.files().exists(upload_path(id))) co_return unknown_upload(id);
  auto upload = std::make_shared<Upload>();
  NEAP_CO_TRY(upload->file, runtime_.files().open(upload_path(id), io::OpenMode::kReadWrite));
  upload->busy = true;
  uploads_.emplace(id, upload);
  const Status hashed = co_await runtime_.offload([&]() -> Status {
    NEAP_TRY_VOID(hash_file(*upload->file, upload->hasher, &upload->size));
    return {};
  });
  upload->busy = false;
  upload->used = runtime_.executor().now();
  if (!hashed) {
    uploads_.erase(id);
    co_return fail(hashed.error());
  }
  co_return upload;
}

Task<Result<std::uint64_t>> ArtifactStore::upload_size(std::string id) {
  NEAP_CO_TRY(const auto upload, co_await find_upload(id));
  co_return upload->size;
}

Task<Result<std::uint64_t>> ArtifactStore::append(std::string id, std::uint64_t offset,
                                                  std::string_view data) {
  NEAP_CO_TRY(const auto upload, co_await find_upload(id));
  if (upload->busy)
    co_return fail(Code::kAborted, "artifacts.upload.busy",
                   "another request writes to this upload; ask for its size and go on from there");
  if (offset != upload->size)
    co_return fail(Code::kOutOfRange, "artifacts.upload.offset",
                   fmt::format("the upload holds {} bytes, so bytes from {} do not fit; go on from {}",
                               upload->size, offset, upload->size));
  if (data.size() > options_.blob_bytes_max - std::min(options_.blob_bytes_max, upload->size))
    co_return fail(Code::kResourceExhausted, "artifacts.blob.too_large",
                   fmt::format("a blob may have {} bytes here", options_.blob_bytes_max));
  const auto write = [&]() -> Status {
    NEAP_TRY_VOID(upload->file->write_at(offset, data));
    upload->hasher.update(data);
    return {};
  };
  upload->busy = true;
  Status written;
  if (data.size() <= kInlineAppendMax) {
    written = write();
  } else {
    written = co_await runtime_.offload(write);
  }
  upload->busy = false;
  upload->used = runtime_.executor().now();
  if (!written) {
    // Part of the piece may be there; cut it off, so that the size stays the truth.
    (void)upload->file->truncate(upload->size);
    co_return fail(std::move(written).error());
  }
  upload->size += data.size();
  co_return upload->size;
}

Task<Status> ArtifactStore::sync_upload(std::string id) {
  NEAP_CO_TRY(const auto upload, co_await find_upload(id));
  co_return co_await runtime_.offload([upload] { return upload->file->sync(); });
}

Task<Status> ArtifactStore::truncate_upload(std::string id, std::uint64_t size) {
  NEAP_CO_TRY(const auto upload, co_await find_upload(id));
  if (upload->busy)
    co_return fail(Code::kAborted, "artifacts.upload.busy", "another request writes to this upload");
  if (size >= upload->size) co_return ok();
  NEAP_CO_TRY_VOID(upload->file->truncate(size));
  // The hash of the shorter content is only in the file.
  uploads_.erase(id);
  NEAP_CO_TRY_VOID(co_await find_upload(id));
  co_return ok();
}

Status ArtifactStore::settle(const std::string& id, const Digest& digest) {
  auto& files = runtime_.files();
  const std::string path = blob_path(digest);
  const std::string folder = path.substr(0, path.rfind('/'));
  NEAP_TRY_VOID(files.make_directories(folder));
  NEAP_TRY_VOID(files.rename(upload_path(id), path));
  NEAP_TRY_VOID(files.sync_directory(folder));
  return files.sync_directory(options_.root + "/blobs/sha256");
}

Task<Result<BlobStat>> ArtifactStore::commit(std::string id, Digest expected) {
  NEAP_CO_TRY(const auto upload, co_await find_upload(id));
  if (upload->busy)
    co_return fail(Code::kAborted, "artifacts.upload.busy", "another request writes to this upload");
  upload->busy = true;
  const std::uint64_t size = upload->size;
  const Digest actual = upload->hasher.finish();
  if (actual != expected) {
    (void)cancel_upload(id);
    co_return fail(Code::kInvalidArgument, "artifacts.digest.mismatch",
                   fmt::format("the {} bytes received hash to {}, not to {}; send them again", size,
                               actual.to_string(), expected.to_string()));
  }
  const Status settled = co_await runtime_.offload([&]() -> Status {
    NEAP_TRY_VOID(upload->file->sync());
    return settle(id, expected);
  });
  uploads_.erase(id);
  if (!settled) {
    (void)runtime_.files().remove(upload_path(id));
    co_return fail(settled.error());
  }
  co_return BlobStat{expected, size};
}

Status ArtifactStore::cancel_upload(const std::string& id) {
  if (!is_upload_id(id)) return unknown_upload(id);
  uploads_.erase(id);
  if (!runtime_.files().remove(upload_path(id))) return unknown_upload(id);
  return {};
}

Task<Result<std::uint64_t>> ArtifactStore::collect(std::set<Digest> keep, Duration grace) {
  const WallTime now = runtime_.clock().wall();
  NEAP_CO_TRY(const auto blobs, list());
  std::uint64_t freed = 0;
  for (const BlobStat& blob : blobs) {
    if (keep.contains(blob.digest)) continue;
    const auto file = runtime_.files().stat(blob_path(blob.digest));
    if (!file || file->modified + grace > now) continue;
    NEAP_CO_TRY_VOID(runtime_.files().remove(blob_path(blob.digest)));
    freed += blob.size;
    co_await yield_to(runtime_.executor());
  }
  NEAP_CO_TRY(const auto uploads, runtime_.files().list(options_.root + "/uploads"));
  for (const std::string& id : uploads) {
    const auto file = runtime_.files().stat(upload_path(id));
    const auto open = uploads_.find(id);
    if (!file || file->modified + options_.upload_idle_max > now ||
        (open != uploads_.end() && open->second->busy))
      continue;
    freed += file->size;
    (void)cancel_upload(id);
  }
  co_return freed;
}

}  // namespace neap::artifacts
