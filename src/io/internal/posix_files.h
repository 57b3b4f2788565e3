#pragma once

#include "neap/io/runtime.h"

namespace neap::io {

// Error of a failed system call on `path`: "file.absent" and so on.
std::unexpected<Error> file_error(int number, std::string_view verb, const std::string& path);

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<FileStat> stat(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& directory) override;
  Status make_directories(const std::string& path, unsigned mode) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status remove_tree(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Status set_mode(const std::string& path, unsigned mode) override;
};

}  // namespace neap::io
