// RevisionTable: the database of a SqliteStore, as synchronous calls for worker threads.
//
// Schema 1: revisions(id, key, value, create_rev, deleted, sum) holds every version not yet forgotten,
// id as in History; current(key, id) points to the live ones; meta(name, value).
//
// Threads: apply() and checkpoint() from one thread at a time; the readers from any.
#pragma once

#include <mutex>
#include <span>

#include "internal/history.h"
#include "internal/io_vfs.h"
#include "internal/sqlite.h"
#include "neap/io/runtime.h"

namespace neap::store::internal {

struct CommitOutcome {
  Result<Revision> revision = Revision{};
  std::vector<HistoryEntry> entries;
};

struct BatchOutcome {
  // The transaction as a whole; when it failed, nothing of it may be acknowledged.
  Status transaction;
  std::vector<CommitOutcome> commits;
  Revision newest{};
  // History up to here is forgotten, and whether that is all that was asked for.
  EventId forgotten_through = 0;
  bool forgot_all = true;
  std::uint64_t wal_pages = 0;
};

class RevisionTable {
 public:
  // A database of more than `check_bytes_max` is not checked as a whole here: that is check()'s then.
  static Result<std::unique_ptr<RevisionTable>> open(
      io::Runtime& runtime, const std::string& directory, bool use_io_vfs,
      std::uint64_t check_bytes_max = std::numeric_limits<std::uint64_t>::max());
  // False when open() left the check out.
  bool is_checked() const { return is_checked_; }
  // Reads all of it as it is at one moment, beside whatever else goes on. kDataLoss "store.corrupt".
  Status check() const;
  ~RevisionTable();

  Revision opened_at() const { return newest_; }
  EventId opened_forgotten_through() const { return forgotten_through_; }

  // One transaction: the commits in order, each all or nothing, then forgetting of up to `forget_rows`
  // old rows on the way to `forget_target` (0 = none).
  BatchOutcome apply(std::span<const std::vector<Op>> commits, Revision forget_target,
                     std::size_t forget_rows);
  Status checkpoint(bool truncate);
  // Forgets all history and raises the revision by `count`, at least 1; returns the new one.
  Result<Revision> skip_revisions(std::uint64_t count);

  Result<std::optional<KeyValue>> get(const std::string& key);
  Result<ListPage> list(const std::string& prefix, const ListOptions& options);
  Result<std::vector<HistoryEntry>> load_events(const std::string& prefix, EventId after, EventId through,
                                                std::size_t max);

 private:
  struct Lock;
  RevisionTable() = default;
  Status prepare(Connection& writer);
  std::unexpected<Error> damaged(std::string_view what) const;
  Status check_structure(Connection& connection) const;
  static Status verify_rows(Connection& writer);
  Status apply_commit(const std::vector<Op>& ops, CommitOutcome& out);
  Status apply_op(const Op& op, EventId id, CommitOutcome& out);
  Status write_marker(std::uint64_t count);
  Status forget(Revision target, std::size_t rows, BatchOutcome& out);

  std::string path_;
  bool is_checked_ = true;
  std::unique_ptr<Lock> lock_;
  std::unique_ptr<IoVfs> vfs_;
  std::unique_ptr<Connection> writer_;
  std::unique_ptr<Connection> separate_reader_;
  Connection* reader_ = nullptr;
  std::mutex writer_mutex_;
  std::mutex separate_reader_mutex_;
  std::mutex* reader_mutex_ = nullptr;
  Revision newest_{};
  EventId forgotten_through_ = 0;
};

}  // namespace neap::store::internal
