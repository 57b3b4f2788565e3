// IoVfs: SQLite's view of io::FileSystem, so that simulated disks exercise the real database code.
//
// No locks and no shared memory: the database must be opened by one connection in exclusive mode.
// Reports POWERSAFE_OVERWRITE only: a torn write may damage what it wrote, nothing beside it.
#pragma once

#include <memory>
#include <string>

#include "neap/io/runtime.h"

namespace neap::store::internal {

class IoVfs {
 public:
  explicit IoVfs(io::Runtime& runtime);
  // After every connection that uses it.
  ~IoVfs();
  IoVfs(const IoVfs&) = delete;
  IoVfs& operator=(const IoVfs&) = delete;
  const std::string& name() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace neap::store::internal
