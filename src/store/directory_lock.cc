#include "neap/store/directory_lock.h"

#include "internal/limits.h"
#include "internal/sqlite.h"

namespace neap::store {

// A SQLite lock on a file of its own: readers need the database itself unlocked.
struct DirectoryLock::Impl {
  std::unique_ptr<internal::Connection> connection;
};

DirectoryLock::DirectoryLock(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DirectoryLock::~DirectoryLock() = default;

Result<std::unique_ptr<DirectoryLock>> DirectoryLock::acquire(const std::string& directory) {
  NEAP_TRY(auto connection, internal::Connection::open(directory + "/store.lock", "", false));
  if (auto held = connection->execute("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE"); !held) {
    if (held.error().reason == "store.directory.locked") return internal::locked(directory);
    return fail(std::move(held).error());
  }
  return std::unique_ptr<DirectoryLock>(new DirectoryLock(std::make_unique<Impl>(std::move(connection))));
}

}  // namespace neap::store
