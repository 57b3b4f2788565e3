// Copies of a SqliteStore's database: the store's part of backup and restore.
//
// Both block: call them through io::Runtime::offload.
#pragma once

#include <string>

#include "neap/base/id.h"
#include "neap/base/result.h"
#include "neap/io/runtime.h"

namespace neap::store {

// How far the revision jumps at a restore. Clients may have seen this many revisions that the copy does
// not know: none of them is given again, and a watch from one of them is told to list.
inline constexpr std::uint64_t kRestoreRevisionGap = 10'000'000'000;

// Copies the database below `from` into `to`/store.db as it is at one revision, which is returned, and
// verifies the copy. Another process may have the store open: its writers do not wait, only its
// write-ahead log keeps growing until the copy is done. The caller syncs the copy. kNotFound
// "store.backup.source", kDataLoss "store.corrupt", kResourceExhausted "store.disk.full".
Result<Revision> copy_sqlite_store(io::Runtime& runtime, const std::string& from, const std::string& to);

// Makes a copy below `directory` ready to be served in place of the lost store: forgets its history and
// raises the revision by kRestoreRevisionGap. Returns the new revision. Durable when it returns.
Result<Revision> adopt_sqlite_copy(io::Runtime& runtime, const std::string& directory);

}  // namespace neap::store
