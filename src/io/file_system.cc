#include <mutex>
#include <set>

#include "neap/io/runtime.h"

namespace neap::io {
namespace {

// A name beside `path` that no other write of this process uses now: two threads may replace one file at
// once. The lowest free number, so that what a crash leaves behind is used again instead of growing in
// number.
class TemporaryName {
 public:
  TemporaryName(const FileSystem* files, const std::string& path) : files_(files) {
    const std::lock_guard lock(mutex_);
    for (int number = 0;; ++number) {
      name_ = number == 0 ? path + ".tmp~" : fmt::format("{}.{}.tmp~", path, number);
      if (in_use_.emplace(files_, name_).second) return;
    }
  }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  ~TemporaryName() {
    const std::lock_guard lock(mutex_);
    in_use_.erase({files_, name_});
  }
  const std::string& str() const { return name_; }

 private:
  static inline std::mutex mutex_;
  static inline std::set<std::pair<const FileSystem*, std::string>> in_use_;
  const FileSystem* files_;
  std::string name_;
};

}  // namespace

bool FileSystem::exists(const std::string& path) { return stat(path).has_value(); }

Result<std::string> FileSystem::read_file(const std::string& path, std::uint64_t max_bytes) {
  NEAP_TRY(auto file, open(path, OpenMode::kRead));
  std::string out;
  // Not trusting size(): files of /proc say 0, and others may grow while we read.
  for (;;) {
    NEAP_TRY(const std::size_t n, file->read_at(out.size(), out, 256u << 10));
    if (n == 0) return out;
    if (out.size() > max_bytes)
      return fail(Code::kResourceExhausted, "file.too_large",
                  fmt::format("{} is larger than the {} bytes this reader accepts", path, max_bytes));
  }
}

Status FileSystem::write_file_atomic(const std::string& path, std::string_view data, unsigned mode) {
  const TemporaryName name(this, path);
  const std::string& temporary = name.str();
  const auto write = [&]() -> Status {
    NEAP_TRY(auto file, open(temporary, OpenMode::kCreate));
    NEAP_TRY_VOID(file->truncate(0));
    NEAP_TRY_VOID(set_mode(temporary, mode));
    NEAP_TRY_VOID(file->write_at(0, data));
    return file->sync();
  };
  if (auto status = write(); !status) {
    (void)remove(temporary);
    return status;
  }
  NEAP_TRY_VOID(rename(temporary, path));
  const auto slash = path.rfind('/');
  return sync_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

}  // namespace neap::io
