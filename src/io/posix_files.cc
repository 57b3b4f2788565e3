#include "internal/posix_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace neap::io {

std::unexpected<Error> file_error(int number, std::string_view verb, const std::string& path) {
  struct Row {
    int number;
    Code code;
    std::string_view reason;
  };
  static constexpr Row kRows[] = {
      {ENOENT, Code::kNotFound, "file.absent"},
      {ENOTDIR, Code::kNotFound, "file.absent"},
      {EEXIST, Code::kAlreadyExists, "file.exists"},
      {ENOTEMPTY, Code::kFailedPrecondition, "file.directory.not_empty"},
      {EACCES, Code::kPermissionDenied, "file.denied"},
      {EPERM, Code::kPermissionDenied, "file.denied"},
      {EROFS, Code::kPermissionDenied, "file.read_only"},
      {ENOSPC, Code::kResourceExhausted, "file.disk.full"},
      {EDQUOT, Code::kResourceExhausted, "file.disk.full"},
      {EMFILE, Code::kResourceExhausted, "file.descriptors"},
      {ENFILE, Code::kResourceExhausted, "file.descriptors"},
      {EISDIR, Code::kFailedPrecondition, "file.is_directory"},
      {ENAMETOOLONG, Code::kInvalidArgument, "file.name"},
      {EIO, Code::kDataLoss, "file.io"},
  };
  for (const auto& row : kRows)
    if (row.number == number)
      return fail(row.code, std::string(row.reason),
                  fmt::format("cannot {} {}: {}", verb, path, std::strerror(number)));
  return fail(Code::kUnknown, "file.error",
              fmt::format("cannot {} {}: {}", verb, path, std::strerror(number)));
}

namespace {

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  Result<std::size_t> read_at(std::uint64_t offset, std::string& out, std::size_t max) override {
    const std::size_t before = out.size();
    int number = 0;
    out.resize_and_overwrite(before + max, [&](char* data, std::size_t) {
      ssize_t n = 0;
      do n = ::pread(fd_, data + before, max, static_cast<off_t>(offset));
      while (n < 0 && errno == EINTR);
      if (n < 0) number = errno;
      return before + static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    });
    if (number) return file_error(number, "read", path_);
    return out.size() - before;
  }
  Status write_at(std::uint64_t offset, std::string_view data) override {
    while (!data.empty()) {
      const ssize_t n = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
      if (n < 0) {
        if (errno == EINTR) continue;
        return file_error(errno, "write", path_);
      }
      data.remove_prefix(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
    return ok();
  }
  Result<std::uint64_t> size() override {
    struct stat st{};
    if (::fstat(fd_, &st) != 0) return file_error(errno, "stat", path_);
    return static_cast<std::uint64_t>(st.st_size);
  }
  Status truncate(std::uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return file_error(errno, "truncate", path_);
    return ok();
  }
  Status sync() override {
    if (::fdatasync(fd_) != 0) return file_error(errno, "sync", path_);
    return ok();
  }

 private:
  int fd_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<File>> PosixFileSystem::open(const std::string& path, OpenMode mode) {
  int flags = O_CLOEXEC;
  switch (mode) {
    case OpenMode::kRead:
      flags |= O_RDONLY;
      break;
    case OpenMode::kReadWrite:
      flags |= O_RDWR;
      break;
    case OpenMode::kCreate:
      flags |= O_RDWR | O_CREAT;
      break;
    case OpenMode::kCreateNew:
      flags |= O_RDWR | O_CREAT | O_EXCL;
      break;
  }
  const int fd = ::open(path.c_str(), flags, 0644);
  if (fd < 0) return file_error(errno, "open", path);
  return std::make_unique<PosixFile>(fd, path);
}

Result<FileStat> PosixFileSystem::stat(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return file_error(errno, "stat", path);
  FileStat out;
  out.size = static_cast<std::uint64_t>(st.st_size);
  out.is_directory = S_ISDIR(st.st_mode);
  out.modified =
      WallTime(std::chrono::seconds(st.st_mtim.tv_sec) + std::chrono::nanoseconds(st.st_mtim.tv_nsec));
  return out;
}

Result<std::vector<std::string>> PosixFileSystem::list(const std::string& directory) {
  DIR* dir = ::opendir(directory.c_str());
  if (!dir) return file_error(errno, "list", directory);
  std::vector<std::string> out;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  ::closedir(dir);
  std::sort(out.begin(), out.end());
  return out;
}

Status PosixFileSystem::make_directories(const std::string& path, unsigned mode) {
  if (path.empty()) return file_error(ENOENT, "make directory", path);
  for (std::size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return file_error(errno, "make directory", part);
  }
  NEAP_TRY(const auto made, stat(path));
  if (!made.is_directory)
    return fail(Code::kFailedPrecondition, "file.not_directory",
                fmt::format("{} exists and is no directory", path));
  return ok();
}

Status PosixFileSystem::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return file_error(errno, "rename", from + " to " + to);
  return ok();
}

Status PosixFileSystem::remove(const std::string& path) {
  if (::remove(path.c_str()) != 0) return file_error(errno, "remove", path);
  return ok();
}

Status PosixFileSystem::remove_tree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return file_error(error.value(), "remove", path);
  return ok();
}

Status PosixFileSystem::sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return file_error(errno, "open", path);
  const int result = ::fsync(fd);
  const int number = errno;
  ::close(fd);
  if (result != 0) return file_error(number, "sync", path);
  return ok();
}

Status PosixFileSystem::set_mode(const std::string& path, unsigned mode) {
  if (::chmod(path.c_str(), mode) != 0) return file_error(errno, "set the mode of", path);
  return ok();
}

}  // namespace neap::io
