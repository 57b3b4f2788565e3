// SqliteStore: the embedded, durable Store: one directory, one process.
//
// 1. Group commit: all writes queued while a transaction runs go into the next one; each is
//    acknowledged after the fsync of its transaction (WAL, synchronous=FULL).
// 2. After a failed write or fsync nothing is acknowledged any more: commit() returns "store.failed"
//    until a restart. A full disk is no such failure: it refuses single writes ("store.disk.full").
// 3. A database that fails its check is refused (kDataLoss "store.corrupt"): at open, and above 8 MiB while
// it is
//    served, which ends as a failed write does. A row whose checksum does not match is never served
//    (kDataLoss "store.row.corrupt").
// 4. History is kept for at least history_revisions and history_age, then forgotten a few rows at a
//    time inside ordinary transactions, so that writers never wait for a compaction.
#pragma once

#include <functional>

#include "neap/io/runtime.h"
#include "neap/store/store.h"

namespace neap::store {

struct SqliteStoreOptions {
  std::string directory;  // made when absent, mode 0700
  std::uint64_t history_revisions = 10'000;
  Duration history_age = 5min;
  std::size_t queue_commits_max = 4096;
  // Pages of 4 KiB in the write-ahead log after which they move into the database; eight times as many
  // while writes keep coming.
  std::uint64_t checkpoint_pages = 1000;
  // Route file access through Runtime::files() instead of SQLite's own: simulation with its faults.
  // One connection then serves reads and writes, and the lock excludes this process only.
  bool use_io_vfs = false;
  // Called once, on the executor, when the store stops writing (invariant 2): restart the process.
  std::function<void(const Error&)> on_failure;
};

class SqliteStore final : public Store {
 public:
  // kFailedPrecondition "store.directory.locked" when another process has it, "store.schema.newer" when
  // a newer program wrote it; kDataLoss "store.corrupt".
  static Task<Result<std::unique_ptr<SqliteStore>>> open(io::Runtime& runtime, SqliteStoreOptions options);
  // Without close() first this is a crash: queued writes are dropped, acknowledged ones are on disk.
  ~SqliteStore() override;
  Task<Result<std::optional<KeyValue>>> get(CallContext ctx, std::string key) override;
  Task<Result<ListPage>> list(CallContext ctx, std::string prefix, ListOptions options) override;
  Task<Result<Revision>> commit(CallContext ctx, std::vector<Op> ops) override;
  Result<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) override;
  Task<Status> compact(CallContext ctx, Revision at) override;
  Revision current_revision() const override;
  Task<void> close() override;

 private:
  struct Impl;
  explicit SqliteStore(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace neap::store
