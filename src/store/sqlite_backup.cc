#include "neap/store/sqlite_backup.h"

#include <fmt/format.h>

#include "internal/revision_table.h"

namespace neap::store {
namespace {

// Leaves the database alone in its directory: everything is in it, and nobody has it open.
void remove_companions(io::FileSystem& files, const std::string& directory) {
  for (const char* name : {"store.db-wal", "store.db-shm", "store.lock"})
    (void)files.remove(directory + "/" + name);
}

}  // namespace

Result<Revision> copy_sqlite_store(io::Runtime& runtime, const std::string& from, const std::string& to) {
  auto& files = runtime.files();
  const std::string source = from + "/store.db";
  if (!files.exists(source))
    return fail(
        Code::kNotFound, "store.backup.source",
        fmt::format("there is no store in {}; name the directory that `neap server --state` has", from));
  NEAP_TRY_VOID(files.make_directories(to, 0700));
  NEAP_TRY_VOID(internal::copy_database(source, to + "/store.db"));
  NEAP_TRY(auto table, internal::RevisionTable::open(runtime, to, false));
  const Revision revision = table->opened_at();
  NEAP_TRY_VOID(table->checkpoint(true));
  table.reset();
  remove_companions(files, to);
  return revision;
}

Result<Revision> adopt_sqlite_copy(io::Runtime& runtime, const std::string& directory) {
  NEAP_TRY(auto table, internal::RevisionTable::open(runtime, directory, false));
  NEAP_TRY(const Revision revision, table->skip_revisions(kRestoreRevisionGap));
  NEAP_TRY_VOID(table->checkpoint(true));
  table.reset();
  remove_companions(runtime.files(), directory);
  return revision;
}

}  // namespace neap::store
