#include "state_backup.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/base/json.h"
#include "neap/store/sqlite_backup.h"

namespace neap::app {
namespace {

constexpr std::string_view kMagic = "NEAP-BACKUP 1\n";
constexpr std::size_t kPieceBytes = 1u << 20;
constexpr std::size_t kLineBytesMax = 16u << 10;
constexpr std::size_t kDepthMax = 64;
// Half-written: whoever uploads begins again.
constexpr std::string_view kLeftOut = "content/uploads";

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

class Writer {
 public:
  Writer(io::FileSystem& files, io::File& out) : files_(files), out_(out) {}

  Status write(std::string_view piece) {
    NEAP_TRY_VOID(out_.write_at(at_, piece));
    at_ += piece.size();
    whole_.update(piece);
    return ok();
  }
  // The file as long as it is now: what a server appends meanwhile is not in.
  Status add_file(const std::string& from, const std::string& path) {
    auto file = files_.open(from, io::OpenMode::kRead);
    // Replaced or collected since the folder was listed.
    if (!file && file.error().code == Code::kNotFound) return ok();
    if (!file) return fail(std::move(file).error());
    NEAP_TRY(const std::uint64_t size, (*file)->size());
    NEAP_TRY_VOID(write(to_text(Json{{"path", path}, {"size", size}}) + "\n"));
    crypto::Sha256 hash;
    for (std::uint64_t done = 0; done < size;) {
      std::string piece;
      NEAP_TRY(const auto got,
               (*file)->read_at(done, piece, std::min<std::uint64_t>(kPieceBytes, size - done)));
      if (got == 0)
        return fail(Code::kAborted, "backup.source",
                    fmt::format("{} became shorter while it was read; run the backup again", from));
      hash.update(piece);
      NEAP_TRY_VOID(write(piece));
      done += got;
    }
    ++count_;
    return write(hash.finish().to_string() + "\n");
  }
  Status add_folder(const std::string& root, const std::string& below, std::size_t depth = 1) {
    if (depth > kDepthMax)
      return fail(
          Code::kInvalidArgument, "backup.source",
          fmt::format("{} is nested deeper than {} folders; is there a loop of links?", root, kDepthMax));
    auto names = files_.list(root + "/" + below);
    if (!names && names.error().code == Code::kNotFound) return ok();
    if (!names) return fail(std::move(names).error());
    for (const auto& name : *names) {
      const std::string path = below + "/" + name;
      if (path == kLeftOut || name.ends_with(".tmp~")) continue;
      const auto stat = files_.stat(root + "/" + path);
      if (!stat) continue;
      NEAP_TRY_VOID(stat->is_directory ? add_folder(root, path, depth + 1)
                                       : add_file(root + "/" + path, path));
    }
    return ok();
  }
  Result<BackupSummary> finish(Revision revision) {
    BackupSummary out{.revision = revision, .files = count_, .bytes = 0, .digest = whole_.finish()};
    Json end{{"files", out.files}, {"revision", to_number(revision)}, {"sha256", out.digest.to_string()}};
    NEAP_TRY_VOID(write(to_text(Json{{"end", std::move(end)}}) + "\n"));
    out.bytes = at_;
    NEAP_TRY_VOID(out_.sync());
    return out;
  }

 private:
  io::FileSystem& files_;
  io::File& out_;
  std::uint64_t at_ = 0;
  std::uint64_t count_ = 0;
  crypto::Sha256 whole_;
};

Result<BackupSummary> fill_backup(io::Runtime& runtime, const std::string& state, const std::string& scratch,
                                  const std::string& partial) {
  auto& files = runtime.files();
  NEAP_TRY(auto out, files.open(partial, io::OpenMode::kCreateNew));
  NEAP_TRY_VOID(files.set_mode(partial, 0600));
  Writer writer(files, *out);
  NEAP_TRY_VOID(writer.write(kMagic));
  NEAP_TRY(const Revision revision, store::copy_sqlite_store(runtime, state + "/store", scratch));
  NEAP_TRY_VOID(writer.add_file(scratch + "/store.db", "store/store.db"));
  // A checkpoint sorts before the entries it covers, so the copied entries are never behind it.
  NEAP_TRY_VOID(writer.add_folder(state, "ledger"));
  for (const auto& name : {"content", "identity"}) NEAP_TRY_VOID(writer.add_folder(state, name));
  return writer.finish(revision);
}

class Reader {
 public:
  Reader(io::FileSystem& files, io::File& in, std::string name, std::uint64_t size)
      : files_(files), in_(in), name_(std::move(name)), size_(size) {}

  Status check_magic() {
    std::string head;
    if (auto status = take(kMagic.size(), head); !status || head != kMagic)
      return fail(
          Code::kInvalidArgument, "restore.foreign",
          fmt::format("{} is no backup that this program knows (it does not begin with \"{}\"); name a file "
                      "that `neap backup` wrote",
                      name_, kMagic.substr(0, kMagic.size() - 1)));
    return ok();
  }
  // Everything into `to`, checked; the file's own last line at the end.
  Result<BackupSummary> extract(const std::string& to) {
    BackupSummary out;
    for (;;) {
      const std::uint64_t line_at = at_;
      NEAP_TRY(const auto line, next_line());
      const auto parsed = parse_json(line);
      const auto* entry = parsed && parsed->is_object() ? &parsed->as_object() : nullptr;
      if (!entry) return damaged(fmt::format("there is no entry at byte {}", line_at));
      if (const auto* end = entry->if_contains("end")) return check_end(*end, whole_.finish(), out);
      whole_.update(line + "\n");
      NEAP_TRY_VOID(extract_file(*parsed, to));
      ++out.files;
    }
  }

 private:
  std::unexpected<Error> damaged(std::string_view what) const {
    return fail(
        Code::kDataLoss, "restore.damaged",
        fmt::format("the backup {} is damaged ({}); nothing was restored: use another copy of it or an "
                    "older backup",
                    name_, what));
  }
  Status take(std::size_t count, std::string& out) {
    const std::size_t before = out.size();
    while (out.size() < before + count) {
      NEAP_TRY(const auto got, in_.read_at(at_, out, before + count - out.size()));
      if (got == 0) return damaged("it ends early");
      at_ += got;
    }
    whole_.update(std::string_view(out).substr(before));
    return ok();
  }
  // Without its newline, and not yet part of the digest: the last line is not.
  Result<std::string> next_line() {
    std::string out;
    NEAP_TRY([[maybe_unused]] const auto got,
             in_.read_at(at_, out, std::min<std::uint64_t>(kLineBytesMax, size_ - at_)));
    const auto end = out.find('\n');
    if (end == std::string::npos) return damaged(fmt::format("it ends early, at byte {}", at_));
    out.resize(end);
    at_ += end + 1;
    return out;
  }
  Result<BackupSummary> check_end(const Json& end, const crypto::Digest& digest, BackupSummary out) {
    const auto* sha = end.is_object() ? end.as_object().if_contains("sha256") : nullptr;
    const auto* files = end.is_object() ? end.as_object().if_contains("files") : nullptr;
    if (!sha || !sha->is_string() || std::string_view(sha->as_string()) != digest.to_string())
      return damaged("its last line names another SHA-256 than its content has");
    if (!files || !files->is_number() || files->to_number<double>() != double(out.files) || at_ != size_)
      return damaged("its last line does not fit");
    out.bytes = size_;
    out.digest = digest;
    return out;
  }
  Status extract_file(const Json& entry, const std::string& to) {
    const auto* path = entry.as_object().if_contains("path");
    const auto* size = entry.as_object().if_contains("size");
    if (!path || !path->is_string() || !size || !(size->is_int64() || size->is_uint64()))
      return damaged(fmt::format("the entry before byte {} lacks path or size", at_));
    const std::string name(path->as_string());
    const std::uint64_t bytes = size->is_uint64() ? size->as_uint64() : std::uint64_t(size->as_int64());
    if (!is_safe(name) || bytes > size_ - at_)
      return damaged(fmt::format("the entry \"{}\" cannot be", name));
    NEAP_TRY_VOID(files_.make_directories(parent_of(to + "/" + name), 0700));
    NEAP_TRY(auto file, files_.open(to + "/" + name, io::OpenMode::kCreateNew));
    NEAP_TRY_VOID(files_.set_mode(to + "/" + name, 0600));
    crypto::Sha256 hash;
    for (std::uint64_t done = 0; done < bytes;) {
      std::string piece;
      NEAP_TRY_VOID(take(std::min<std::uint64_t>(kPieceBytes, bytes - done), piece));
      hash.update(piece);
      NEAP_TRY_VOID(file->write_at(done, piece));
      done += piece.size();
    }
    NEAP_TRY_VOID(file->sync());
    NEAP_TRY(const auto digest, next_line());
    whole_.update(digest + "\n");
    if (digest != hash.finish().to_string())
      return damaged(fmt::format("\"{}\" is not what was backed up", name));
    return ok();
  }
  // Relative and inside, whoever wrote the file.
  static bool is_safe(std::string_view path) {
    if (path.empty() || path.size() > 4096) return false;
    for (std::size_t from = 0; from <= path.size();) {
      const auto end = std::min(path.find('/', from), path.size());
      const auto part = path.substr(from, end - from);
      if (part.empty() || part == "." || part == ".." || part.contains('\0')) return false;
      from = end + 1;
    }
    return true;
  }

  io::FileSystem& files_;
  io::File& in_;
  std::string name_;
  std::uint64_t size_;
  std::uint64_t at_ = 0;
  crypto::Sha256 whole_;
};

Status sync_folders(io::FileSystem& files, const std::string& directory) {
  NEAP_TRY(const auto names, files.list(directory));
  for (const auto& name : names) {
    NEAP_TRY(const auto stat, files.stat(directory + "/" + name));
    if (stat.is_directory) NEAP_TRY_VOID(sync_folders(files, directory + "/" + name));
  }
  return files.sync_directory(directory);
}

Result<BackupSummary> fill_state(io::Runtime& runtime, const std::string& from, const std::string& partial) {
  auto& files = runtime.files();
  NEAP_TRY(auto in, files.open(from, io::OpenMode::kRead));
  NEAP_TRY(const auto size, in->size());
  Reader reader(files, *in, from, size);
  NEAP_TRY_VOID(reader.check_magic());
  NEAP_TRY_VOID(files.make_directories(partial, 0700));
  NEAP_TRY(auto out, reader.extract(partial));
  NEAP_TRY(out.revision, store::adopt_sqlite_copy(runtime, partial + "/store"));
  NEAP_TRY_VOID(files.write_file_atomic(partial + std::string(kRestoredMark), from + "\n", 0600));
  NEAP_TRY_VOID(sync_folders(files, partial));
  return out;
}

}  // namespace

Result<BackupSummary> write_state_backup(io::Runtime& runtime, const std::string& state,
                                         const std::string& to) {
  auto& files = runtime.files();
  if (files.exists(state + "/store/etcd"))
    return fail(
        Code::kFailedPrecondition, "backup.etcd",
        fmt::format("the objects of {} are in etcd, which has its own backup; stop the server, then take "
                    "`etcdctl snapshot save` and a copy of this directory together",
                    state));
  if (!files.exists(state + "/store/store.db") || !files.exists(state + "/identity/signing.key"))
    return fail(
        Code::kNotFound, "backup.source",
        fmt::format("{} is not the state of a server; name the directory of `neap server --state` (for `neap "
                    "up --state DIR` it is DIR/server)",
                    state));
  if (files.exists(to))
    return fail(Code::kAlreadyExists, "backup.exists",
                fmt::format("{} exists already and was left as it is; name a new file", to));
  const std::string partial = to + ".partial", scratch = to + ".partial.store";
  // Left by a backup that was killed.
  (void)files.remove(partial);
  NEAP_TRY_VOID(files.remove_tree(scratch));
  auto out = fill_backup(runtime, state, scratch, partial);
  (void)files.remove_tree(scratch);
  if (!out) {
    (void)files.remove(partial);
    return fail(std::move(out).error(), fmt::format("backing up {}", state));
  }
  NEAP_TRY_VOID(files.rename(partial, to));
  NEAP_TRY_VOID(files.sync_directory(parent_of(to)));
  return out;
}

Result<BackupSummary> restore_state_backup(io::Runtime& runtime, const std::string& from,
                                           const std::string& state) {
  auto& files = runtime.files();
  if (const auto there = files.list(state); there && !there->empty())
    return fail(
        Code::kFailedPrecondition, "restore.not_empty",
        fmt::format(
            "{} is not empty and was left as it is; name a new directory, or move this one away first",
            state));
  const std::string partial = state + ".partial";
  NEAP_TRY_VOID(files.remove_tree(partial));
  auto out = fill_state(runtime, from, partial);
  if (!out) {
    (void)files.remove_tree(partial);
    return fail(std::move(out).error(), fmt::format("restoring {}", from));
  }
  NEAP_TRY_VOID(files.rename(partial, state));
  NEAP_TRY_VOID(files.sync_directory(parent_of(state)));
  return out;
}

}  // namespace neap::app
