// DirectoryLock: a directory held for this process, until the object or the process ends.
#pragma once

#include <memory>
#include <string>

#include "neap/base/result.h"

namespace neap::store {

class DirectoryLock {
 public:
  // Makes the file "store.lock" in `directory`, which exists. kFailedPrecondition "store.directory.locked".
  static Result<std::unique_ptr<DirectoryLock>> acquire(const std::string& directory);
  ~DirectoryLock();

 private:
  struct Impl;
  explicit DirectoryLock(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace neap::store
