#include "fakes/sim_core.h"

namespace neap::io::sim {
namespace {

std::unexpected<Error> absent(const std::string& path) {
  return fail(Code::kNotFound, "file.absent", fmt::format("there is no {}", path));
}
std::string reason_of(Code code) {
  return code == Code::kResourceExhausted ? "file.disk.full"
         : code == Code::kDataLoss        ? "file.io"
                                          : "file.error";
}

// A change of a file's bytes that a crash may still undo.
struct Change {
  bool is_truncate = false;
  std::uint64_t offset = 0;  // or the new size
  std::string data;
  void apply_to(std::string& bytes) const {
    if (is_truncate) {
      bytes.resize(offset);
      return;
    }
    if (bytes.size() < offset + data.size()) bytes.resize(offset + data.size());
    bytes.replace(offset, data.size(), data);
  }
};

struct Inode {
  std::string bytes;
  std::string durable;
  std::vector<Change> pending;
  unsigned mode = 0644;
  WallTime modified{};
};

// nullptr stands for a directory.
using Names = std::map<std::string, std::shared_ptr<Inode>>;
// One step of the namespace: what it sets, and (nullopt) removes.
using NameChange = std::vector<std::pair<std::string, std::optional<std::shared_ptr<Inode>>>>;

void apply_names(Names& names, const NameChange& change) {
  for (const auto& [path, entry] : change) {
    if (entry)
      names[path] = *entry;
    else
      names.erase(path);
  }
}

std::string clean(const std::string& path) {
  std::string out = path.starts_with('/') ? "" : "./";
  for (const char c : path)
    if (c != '/' || out.empty() || out.back() != '/') out += c;
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}
std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

class Disk final : public Files {
 public:
  Disk(Dice& dice, std::function<WallTime()> wall) : dice_(dice), wall_(std::move(wall)) {
    for (const char* root : {"/", ".", "/tmp"}) names_[root] = durable_[root] = nullptr;
  }

  Result<std::unique_ptr<File>> open(const std::string& raw, OpenMode mode) override;
  Result<FileStat> stat(const std::string& raw) override {
    const auto it = names_.find(clean(raw));
    if (it == names_.end()) return absent(raw);
    if (!it->second) return FileStat{.size = 0, .is_directory = true, .modified = {}};
    return FileStat{
        .size = it->second->bytes.size(), .is_directory = false, .modified = it->second->modified};
  }
  Result<std::vector<std::string>> list(const std::string& raw) override {
    const std::string directory = clean(raw);
    const auto it = names_.find(directory);
    if (it == names_.end() || it->second) return absent(raw);
    std::vector<std::string> out;
    for (const auto& [path, inode] : names_)
      if (path != directory && path != "." && parent_of(path) == directory)
        out.push_back(path.substr(path.rfind('/') + 1));
    std::sort(out.begin(), out.end());
    return out;
  }
  Status make_directories(const std::string& raw, unsigned) override {
    const std::string path = clean(raw);
    for (std::size_t at = 1; at <= path.size(); ++at) {
      if (at != path.size() && path[at] != '/') continue;
      const std::string part = path.substr(0, at);
      const auto it = names_.find(part);
      if (it != names_.end() && it->second)
        return fail(Code::kFailedPrecondition, "file.not_directory",
                    fmt::format("{} exists and is no directory", part));
      names_[part] = durable_[part] = nullptr;
    }
    return ok();
  }
  Status rename(const std::string& raw_from, const std::string& raw_to) override {
    const std::string from = clean(raw_from), to = clean(raw_to);
    if (!names_.contains(from)) return absent(raw_from);
    if (!is_directory(parent_of(to))) return absent(raw_to);
    if (from == to) return ok();
    if (names_.contains(to) && !names_[to] && has_children(to))
      return fail(Code::kFailedPrecondition, "file.directory.not_empty",
                  fmt::format("{} is not empty", raw_to));
    NameChange change;
    for (const auto& [path, inode] : names_) {
      if (path != from && !path.starts_with(from + "/")) continue;
      change.emplace_back(path, std::nullopt);
      change.emplace_back(to + path.substr(from.size()), inode);
    }
    note(std::move(change));
    return ok();
  }
  Status remove(const std::string& raw) override {
    const std::string path = clean(raw);
    const auto it = names_.find(path);
    if (it == names_.end()) return absent(raw);
    if (!it->second && has_children(path))
      return fail(Code::kFailedPrecondition, "file.directory.not_empty", fmt::format("{} is not empty", raw));
    NameChange change;
    change.emplace_back(path, std::nullopt);
    note(std::move(change));
    return ok();
  }
  Status remove_tree(const std::string& raw) override {
    const std::string root = clean(raw);
    NameChange change;
    for (const auto& [path, inode] : names_)
      if (path == root || path.starts_with(root + "/")) change.emplace_back(path, std::nullopt);
    if (!change.empty()) note(std::move(change));
    return ok();
  }
  Status sync_directory(const std::string& raw) override {
    NEAP_TRY_VOID(take_failure(sync_failures_, sync_code_, "sync", raw));
    if (!is_directory(clean(raw))) return absent(raw);
    commit(changes_.size());
    return ok();
  }
  Status set_mode(const std::string& raw, unsigned mode) override {
    const auto it = names_.find(clean(raw));
    if (it == names_.end()) return absent(raw);
    if (it->second) it->second->mode = mode;
    return ok();
  }

  void crash() override {
    close_all();
    commit(dice_.below(changes_.size() + 1));
    changes_.clear();
    names_ = durable_;
    for (auto& [path, inode] : names_) {
      if (!inode || inode->pending.empty()) continue;
      const std::size_t whole = dice_.below(inode->pending.size() + 1);
      for (std::size_t i = 0; i < whole; ++i) inode->pending[i].apply_to(inode->durable);
      if (whole < inode->pending.size() && !inode->pending[whole].is_truncate) {
        Change torn = inode->pending[whole];
        torn.data.resize(dice_.below(torn.data.size() + 1));
        if (!torn.data.empty()) torn.apply_to(inode->durable);
      }
      inode->pending.clear();
      inode->bytes = inode->durable;
    }
  }
  void close_all() override { ++life_; }
  void fail_next_syncs(int count, Code code) override { sync_failures_ = count, sync_code_ = code; }
  void fail_next_writes(int count, Code code) override { write_failures_ = count, write_code_ = code; }
  void set_capacity(std::uint64_t bytes) override { capacity_ = bytes; }

 private:
  class OpenFile;
  bool is_directory(const std::string& path) const {
    const auto it = names_.find(path);
    return it != names_.end() && !it->second;
  }
  bool has_children(const std::string& path) const {
    const auto it = names_.upper_bound(path + "/");
    return it != names_.end() && it->first.starts_with(path + "/");
  }
  void note(NameChange change) {
    apply_names(names_, change);
    changes_.push_back(std::move(change));
  }
  void commit(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) apply_names(durable_, changes_[i]);
    changes_.erase(changes_.begin(), changes_.begin() + static_cast<std::ptrdiff_t>(count));
  }
  // Syncing a file makes the name durable under which it was created, with all changes before that.
  void commit_creation_of(const std::shared_ptr<Inode>& inode) {
    for (std::size_t i = 0; i < changes_.size(); ++i)
      for (const auto& [path, entry] : changes_[i])
        if (entry && *entry == inode) return commit(i + 1);
  }
  static Status take_failure(int& left, Code code, std::string_view verb, const std::string& path) {
    if (left <= 0) return ok();
    --left;
    return fail(code, reason_of(code), fmt::format("cannot {} {}: a simulated fault", verb, path));
  }
  Status check_space(std::uint64_t more) const {
    if (capacity_ == UINT64_MAX) return ok();
    std::uint64_t used = 0;
    for (const auto& [path, inode] : names_) used += inode ? inode->bytes.size() : 0;
    if (used + more > capacity_)
      return fail(Code::kResourceExhausted, "file.disk.full", "the simulated disk is full");
    return ok();
  }

  Dice& dice_;
  std::function<WallTime()> wall_;
  Names names_, durable_;
  std::vector<NameChange> changes_;  // from durable_ to names_
  int sync_failures_ = 0, write_failures_ = 0;
  Code sync_code_ = Code::kDataLoss, write_code_ = Code::kDataLoss;
  std::uint64_t capacity_ = UINT64_MAX;
  std::uint64_t life_ = 0;
};

class Disk::OpenFile final : public File {
 public:
  OpenFile(Disk& disk, std::shared_ptr<Inode> inode, std::string path, bool writable)
      : disk_(disk),
        inode_(std::move(inode)),
        path_(std::move(path)),
        writable_(writable),
        life_(disk.life_) {}
  Result<std::size_t> read_at(std::uint64_t offset, std::string& out, std::size_t max) override {
    NEAP_TRY_VOID(check(false));
    if (offset >= inode_->bytes.size()) return std::size_t{0};
    const std::size_t n = std::min<std::size_t>(max, inode_->bytes.size() - offset);
    // Two steps: `out` may be what the file is read into while it holds the same bytes.
    out.append(inode_->bytes, offset, n);
    return n;
  }
  Status write_at(std::uint64_t offset, std::string_view data) override {
    NEAP_TRY_VOID(check(true));
    NEAP_TRY_VOID(take_failure(disk_.write_failures_, disk_.write_code_, "write", path_));
    const std::uint64_t end = offset + data.size();
    if (end > inode_->bytes.size()) NEAP_TRY_VOID(disk_.check_space(end - inode_->bytes.size()));
    return change({.is_truncate = false, .offset = offset, .data = std::string(data)});
  }
  Result<std::uint64_t> size() override {
    NEAP_TRY_VOID(check(false));
    return inode_->bytes.size();
  }
  Status truncate(std::uint64_t size) override {
    NEAP_TRY_VOID(check(true));
    if (size > inode_->bytes.size()) NEAP_TRY_VOID(disk_.check_space(size - inode_->bytes.size()));
    return change({.is_truncate = true, .offset = size, .data = {}});
  }
  Status sync() override {
    NEAP_TRY_VOID(check(false));
    NEAP_TRY_VOID(take_failure(disk_.sync_failures_, disk_.sync_code_, "sync", path_));
    for (const auto& pending : inode_->pending) pending.apply_to(inode_->durable);
    inode_->pending.clear();
    disk_.commit_creation_of(inode_);
    return ok();
  }

 private:
  Status check(bool for_writing) const {
    if (life_ != disk_.life_)
      return fail(Code::kUnavailable, "file.closed",
                  fmt::format("{} was open when its machine crashed", path_));
    if (for_writing && !writable_)
      return fail(Code::kPermissionDenied, "file.denied", fmt::format("{} is open for reading only", path_));
    return ok();
  }
  Status change(Change change) {
    change.apply_to(inode_->bytes);
    inode_->pending.push_back(std::move(change));
    inode_->modified = disk_.wall_();
    return ok();
  }
  Disk& disk_;
  std::shared_ptr<Inode> inode_;
  std::string path_;
  bool writable_;
  std::uint64_t life_;
};

Result<std::unique_ptr<File>> Disk::open(const std::string& raw, OpenMode mode) {
  const std::string path = clean(raw);
  auto it = names_.find(path);
  if (it != names_.end() && !it->second)
    return fail(Code::kFailedPrecondition, "file.is_directory", fmt::format("{} is a directory", raw));
  if (it != names_.end() && mode == OpenMode::kCreateNew)
    return fail(Code::kAlreadyExists, "file.exists", fmt::format("{} exists already", raw));
  if (it == names_.end()) {
    if (mode == OpenMode::kRead || mode == OpenMode::kReadWrite || !is_directory(parent_of(path)))
      return absent(raw);
    auto inode = std::make_shared<Inode>();
    inode->modified = wall_();
    NameChange change;
    change.emplace_back(path, inode);
    note(std::move(change));
    it = names_.find(path);
  }
  return std::make_unique<OpenFile>(*this, it->second, path, mode != OpenMode::kRead);
}

std::unique_ptr<Files> Files::create(Dice& dice, std::function<WallTime()> wall) {
  return std::make_unique<Disk>(dice, std::move(wall));
}

}  // namespace neap::io::sim
