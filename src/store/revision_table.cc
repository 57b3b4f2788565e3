#include "internal/revision_table.h"

#include <fmt/format.h>

#include <set>

#include "internal/limits.h"
#include "neap/store/directory_lock.h"

namespace neap::store::internal {
namespace {

constexpr std::string_view kSchemaVersion = "1";
// Stands for a jump of the revision; below no prefix that anybody lists.
constexpr std::string_view kSkipMarkerKey = "/store/skipped-revisions";
constexpr std::size_t kSkipForgetRows = 4096;

constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revisions(
  id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL, create_rev INTEGER NOT NULL,
  deleted INTEGER NOT NULL, sum INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS revisions_by_key ON revisions(key, id DESC);
CREATE TABLE IF NOT EXISTS current(key BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES('schema_version', '1');
INSERT OR IGNORE INTO meta VALUES('forgotten_through', 0);
)";

// 64-bit mixing hash (the multiply-xorshift step of MurmurHash3's finalizer per 8 bytes): finds flipped
// bits on disk, is no defence against a forger.
std::uint64_t mix(std::uint64_t h) {
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdull;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53ull;
  return h ^ h >> 33;
}
std::uint64_t add_bytes(std::uint64_t h, std::string_view bytes) {
  h = mix(h ^ bytes.size());
  while (bytes.size() >= 8) {
    std::uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word |= std::uint64_t(std::uint8_t(bytes[std::size_t(i)])) << (8 * i);
    h = mix(h ^ word) + 0x9e3779b97f4a7c15ull;
    bytes.remove_prefix(8);
  }
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) word |= std::uint64_t(std::uint8_t(bytes[i])) << (8 * i);
  return mix(h ^ word);
}
std::uint64_t sum_of(EventId id, std::string_view key, std::string_view value, std::uint64_t created,
                     bool deleted) {
  return add_bytes(add_bytes(mix(id ^ mix(created * 2 + deleted)), key), value);
}

struct Row {
  EventId id = 0;
  bool deleted = false;
  KeyValue kv;
};
// Columns: id, key, value, create_rev, deleted, sum.
Result<Row> read_row(const Statement& s) {
  Row row;
  row.id = s.number(0);
  row.kv = {s.bytes(1), s.bytes(2), Revision{s.number(3)}, revision_of(row.id)};
  row.deleted = s.number(4) != 0;
  if (s.number(5) != sum_of(row.id, row.kv.key, row.kv.value, s.number(3), row.deleted))
    return fail(
        Code::kDataLoss, "store.row.corrupt",
        fmt::format("the stored value at revision {} does not match its checksum: the disk changed it; "
                    "restore the store from a backup",
                    to_number(row.kv.mod_revision)));
  return row;
}

// Databases that this process has open through IoVfs, which has no locks.
struct OpenPaths {
  std::mutex mutex;
  std::set<std::pair<io::FileSystem*, std::string>> paths;
};
OpenPaths& open_paths() {
  static OpenPaths instance;
  return instance;
}

}  // namespace

// Holds the directory for this process; for IoVfs by an entry in open_paths().
struct RevisionTable::Lock {
  std::unique_ptr<DirectoryLock> directory;
  std::optional<std::pair<io::FileSystem*, std::string>> path;
  ~Lock() {
    if (!path) return;
    std::lock_guard guard(open_paths().mutex);
    open_paths().paths.erase(*path);
  }
};

Result<std::unique_ptr<RevisionTable>> RevisionTable::open(io::Runtime& runtime, const std::string& directory,
                                                           bool use_io_vfs, std::uint64_t check_bytes_max) {
  NEAP_TRY_VOID(runtime.files().make_directories(directory, 0700));
  std::unique_ptr<RevisionTable> out(new RevisionTable);
  out->lock_ = std::make_unique<Lock>();
  const std::string path = out->path_ = directory + "/store.db";
  std::string vfs;
  if (use_io_vfs) {
    {
      std::lock_guard guard(open_paths().mutex);
      if (!open_paths().paths.emplace(&runtime.files(), path).second) return locked(directory);
    }
    out->lock_->path.emplace(&runtime.files(), path);
    out->vfs_ = std::make_unique<IoVfs>(runtime);
    vfs = out->vfs_->name();
  } else {
    NEAP_TRY(out->lock_->directory, DirectoryLock::acquire(directory));
  }
  NEAP_TRY(out->writer_, Connection::open(path, vfs, false));
  if (const auto file = runtime.files().stat(path)) out->is_checked_ = file->size <= check_bytes_max;
  NEAP_TRY_VOID(out->prepare(*out->writer_));
  if (use_io_vfs) {
    out->reader_ = out->writer_.get();
    out->reader_mutex_ = &out->writer_mutex_;
  } else {
    NEAP_TRY(out->separate_reader_, Connection::open(path, vfs, true));
    out->reader_ = out->separate_reader_.get();
    out->reader_mutex_ = &out->separate_reader_mutex_;
  }
  return out;
}
RevisionTable::~RevisionTable() {
  separate_reader_.reset();
  writer_.reset();
}

std::unexpected<Error> RevisionTable::damaged(std::string_view what) const {
  return fail(
      Code::kDataLoss, "store.corrupt",
      fmt::format("the store's database {} is damaged ({}); it was left as it is: restore it from a backup "
                  "or move it away to start empty",
                  path_, what));
}

Status RevisionTable::check_structure(Connection& connection) const {
  const auto check = connection.text("PRAGMA quick_check(1)");
  if (!check) {
    if (check.error().code == Code::kDataLoss) return damaged(check.error().message);
    return fail(check.error());
  }
  return *check == "ok" ? ok() : Status(damaged(*check));
}

Status RevisionTable::check() const {
  NEAP_TRY(auto reader, Connection::open(path_, "", true));
  NEAP_TRY_VOID(check_structure(*reader));
  NEAP_TRY_VOID(reader->execute("BEGIN"));
  if (auto sound = verify_rows(*reader); !sound) return damaged(sound.error().message);
  return reader->execute("COMMIT");
}

Status RevisionTable::prepare(Connection& writer) {
  if (vfs_) NEAP_TRY_VOID(writer.execute("PRAGMA locking_mode=EXCLUSIVE"));
  auto mode = writer.text("PRAGMA journal_mode=WAL");
  if (!mode) {
    if (mode.error().code == Code::kDataLoss) return damaged(mode.error().message);
    return fail(mode.error());
  }
  if (*mode != "wal")
    return fail(Code::kFailedPrecondition, "store.wal",
                fmt::format("{} cannot use write-ahead logging", path_));
  NEAP_TRY_VOID(
      writer.execute("PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4000; "
                     "PRAGMA journal_size_limit=67108864"));
  if (is_checked_) NEAP_TRY_VOID(check_structure(writer));
  NEAP_TRY(const auto tables, writer.text("SELECT count(*) FROM sqlite_master WHERE name='meta'"));
  if (tables == "1") {
    NEAP_TRY(const auto version, writer.text("SELECT value FROM meta WHERE name='schema_version'"));
    if (version != kSchemaVersion)
      return fail(
          Code::kFailedPrecondition, "store.schema.newer",
          fmt::format("{} has schema version \"{}\" and this program knows {}; run the program that wrote it",
                      path_, version, kSchemaVersion));
  }
  NEAP_TRY_VOID(writer.execute("BEGIN IMMEDIATE"));
  NEAP_TRY_VOID(writer.execute(kSchema));
  NEAP_TRY_VOID(writer.execute("COMMIT"));
  if (is_checked_)
    if (auto sound = verify_rows(writer); !sound) return damaged(sound.error().message);
  NEAP_TRY(auto newest, writer.statement("SELECT coalesce(max(id), 0) FROM revisions"));
  NEAP_TRY([[maybe_unused]] const bool any, newest->step());
  newest_ = revision_of(newest->number(0));
  NEAP_TRY(auto forgotten, writer.statement("SELECT value FROM meta WHERE name='forgotten_through'"));
  NEAP_TRY([[maybe_unused]] const bool has, forgotten->step());
  forgotten_through_ = forgotten->number(0);
  return ok();
}

// quick_check knows SQLite's structures, this knows ours: every row's checksum, and that `current`
// names exactly the newest version of every key that is not removed.
Status RevisionTable::verify_rows(Connection& writer) {
  std::uint64_t live = 0;
  {
    NEAP_TRY(auto s,
             writer.statement(
                 "SELECT id, key, value, create_rev, deleted, sum FROM revisions NOT INDEXED ORDER BY id"));
    for (;;) {
      NEAP_TRY(const bool more, s->step());
      if (!more) break;
      NEAP_TRY([[maybe_unused]] auto row, read_row(*s));
    }
  }
  {
    NEAP_TRY(auto s, writer.statement(
                         "SELECT r.key, r.deleted, c.id, r.id FROM (SELECT key, max(id) AS id FROM revisions "
                         "GROUP BY key) m JOIN revisions r ON r.id=m.id LEFT JOIN current c ON c.key=r.key"));
    for (;;) {
      NEAP_TRY(const bool more, s->step());
      if (!more) break;
      const bool deleted = s->number(1) != 0;
      if ((deleted ? 0 : s->number(3)) != s->number(2))
        return fail(Code::kDataLoss, "store.corrupt",
                    fmt::format("the entry of key \"{}\" is wrong", s->bytes(0)));
      live += !deleted;
    }
  }
  NEAP_TRY(const auto entries, writer.text("SELECT count(*) FROM current"));
  if (entries != std::to_string(live))
    return fail(Code::kDataLoss, "store.corrupt", fmt::format("{} entries for {} keys", entries, live));
  return ok();
}

BatchOutcome RevisionTable::apply(std::span<const std::vector<Op>> commits, Revision forget_target,
                                  std::size_t forget_rows) {
  std::lock_guard guard(writer_mutex_);
  BatchOutcome out;
  const Revision newest_before = newest_;
  const EventId forgotten_before = forgotten_through_;
  const auto run = [&]() -> Status {
    NEAP_TRY_VOID(writer_->execute("BEGIN IMMEDIATE"));
    for (const auto& ops : commits) NEAP_TRY_VOID(apply_commit(ops, out.commits.emplace_back()));
    if (forget_target != Revision{}) NEAP_TRY_VOID(forget(forget_target, forget_rows, out));
    return writer_->execute("COMMIT");
  };
  out.transaction = run();
  if (!out.transaction) {
    (void)writer_->execute("ROLLBACK");
    newest_ = newest_before;
    forgotten_through_ = forgotten_before;
  }
  out.newest = newest_;
  out.forgotten_through = forgotten_through_;
  out.wal_pages = writer_->wal_pages();
  return out;
}

Status RevisionTable::apply_commit(const std::vector<Op>& ops, CommitOutcome& out) {
  bool writes = false;
  for (const auto& op : ops) {
    NEAP_TRY(auto s, writer_->statement("SELECT id FROM current WHERE key=?1"));
    s->bind(1, op.key);
    NEAP_TRY(const bool exists, s->step());
    if (auto status = check_expected(op, exists ? revision_of(s->number(0)) : Revision{}); !status) {
      out.revision = fail(std::move(status).error());
      return ok();
    }
    writes |= op.kind != Op::Kind::kCheck;
  }
  if (writes) {
    newest_ = Revision{to_number(newest_) + 1};
    std::uint64_t sub = 0;
    for (const auto& op : ops)
      if (op.kind != Op::Kind::kCheck) NEAP_TRY_VOID(apply_op(op, event_id(newest_, sub++), out));
  }
  out.revision = newest_;
  return ok();
}

Status RevisionTable::apply_op(const Op& op, EventId id, CommitOutcome& out) {
  const bool is_delete = op.kind == Op::Kind::kRemove;
  WatchEvent event{is_delete ? WatchEvent::Type::kDelete : WatchEvent::Type::kPut,
                   {op.key, op.value, revision_of(id), revision_of(id)}};
  {
    NEAP_TRY(auto s,
             writer_->statement("SELECT c.id, r.key, r.value, r.create_rev, r.deleted, r.sum FROM current c "
                                "JOIN revisions r ON r.id=c.id WHERE c.key=?1"));
    s->bind(1, op.key);
    NEAP_TRY(const bool exists, s->step());
    if (exists) {
      event.kv.create_revision = Revision{s->number(3)};
      if (is_delete) {
        NEAP_TRY(auto row, read_row(*s));
        event.kv.value = std::move(row.kv.value);
      }
    }
  }
  const std::uint64_t created = to_number(event.kv.create_revision);
  const std::string_view value = is_delete ? std::string_view() : std::string_view(op.value);
  {
    NEAP_TRY(auto s, writer_->statement("INSERT INTO revisions VALUES(?1,?2,?3,?4,?5,?6)"));
    s->bind(1, id).bind(2, op.key).bind(3, value).bind(4, created).bind(5, std::uint64_t(is_delete));
    s->bind(6, sum_of(id, op.key, value, created, is_delete));
    NEAP_TRY_VOID(s->run());
  }
  if (is_delete) {
    NEAP_TRY(auto s, writer_->statement("DELETE FROM current WHERE key=?1"));
    NEAP_TRY_VOID(s->bind(1, op.key).run());
  } else {
    NEAP_TRY(auto s, writer_->statement("INSERT OR REPLACE INTO current VALUES(?1,?2)"));
    NEAP_TRY_VOID(s->bind(1, op.key).bind(2, id).run());
  }
  out.entries.push_back({id, std::move(event)});
  return ok();
}

// Walks the rows in order of id and removes what each of them replaced: one pass over the history,
// resumable at any row. The newest row always stays, since it carries the revision.
Status RevisionTable::forget(Revision target, std::size_t rows, BatchOutcome& out) {
  struct Passed {
    EventId id;
    std::string key;
    bool deleted;
  };
  std::vector<Passed> passed;
  {
    NEAP_TRY(auto s, writer_->statement("SELECT id, key, deleted FROM revisions WHERE id>?1 AND id<=?2 AND "
                                        "id<(SELECT max(id) FROM revisions) ORDER BY id LIMIT ?3"));
    s->bind(1, forgotten_through_).bind(2, last_id_of(target)).bind(3, std::uint64_t(rows));
    for (;;) {
      NEAP_TRY(const bool more, s->step());
      if (!more) break;
      passed.push_back({s->number(0), s->bytes(1), s->number(2) != 0});
    }
  }
  for (const auto& row : passed) {
    NEAP_TRY(auto s, writer_->statement("DELETE FROM revisions WHERE key=?1 AND id<?2"));
    // A tombstone goes together with what it ended.
    NEAP_TRY_VOID(s->bind(1, row.key).bind(2, row.id + (row.deleted ? 1 : 0)).run());
  }
  out.forgot_all = passed.size() < rows;
  if (passed.empty()) return ok();
  forgotten_through_ = passed.back().id;
  NEAP_TRY(auto s, writer_->statement("UPDATE meta SET value=?1 WHERE name='forgotten_through'"));
  return s->bind(1, forgotten_through_).run();
}

Result<Revision> RevisionTable::skip_revisions(std::uint64_t count) {
  for (bool forgot_all = false; !forgot_all;) {
    const auto outcome = apply({}, newest_, kSkipForgetRows);
    NEAP_TRY_VOID(outcome.transaction);
    forgot_all = outcome.forgot_all;
  }
  std::lock_guard guard(writer_mutex_);
  if (auto written = write_marker(count); !written) {
    (void)writer_->execute("ROLLBACK");
    return fail(std::move(written).error());
  }
  return newest_;
}

// The newest row carries the revision, so the jump is a row; the history begins at it.
Status RevisionTable::write_marker(std::uint64_t count) {
  NEAP_TRY_VOID(writer_->execute("BEGIN IMMEDIATE"));
  newest_ = Revision{to_number(newest_) + count};
  CommitOutcome ignored;
  const EventId id = event_id(newest_, 0);
  NEAP_TRY_VOID(apply_op(Op::put(std::string(kSkipMarkerKey), fmt::format("skipped {} revisions", count)), id,
                         ignored));
  {
    NEAP_TRY(auto s, writer_->statement("DELETE FROM revisions WHERE key=?1 AND id<?2"));
    NEAP_TRY_VOID(s->bind(1, kSkipMarkerKey).bind(2, id).run());
  }
  {
    NEAP_TRY(auto s, writer_->statement("UPDATE meta SET value=?1 WHERE name='forgotten_through'"));
    NEAP_TRY_VOID(s->bind(1, id).run());
  }
  forgotten_through_ = id;
  return writer_->execute("COMMIT");
}

Status RevisionTable::checkpoint(bool truncate) {
  std::lock_guard guard(writer_mutex_);
  return writer_->checkpoint(truncate);
}

Result<std::optional<KeyValue>> RevisionTable::get(const std::string& key) {
  std::lock_guard guard(*reader_mutex_);
  NEAP_TRY(auto s, reader_->statement(
                       "SELECT r.id, r.key, r.value, r.create_rev, r.deleted, r.sum FROM current c JOIN "
                       "revisions r ON r.id=c.id WHERE c.key=?1"));
  s->bind(1, key);
  NEAP_TRY(const bool exists, s->step());
  if (!exists) return std::nullopt;
  NEAP_TRY(auto row, read_row(*s));
  return std::optional(std::move(row.kv));
}

Result<ListPage> RevisionTable::list(const std::string& prefix, const ListOptions& options) {
  std::lock_guard guard(*reader_mutex_);
  NEAP_TRY_VOID(reader_->execute("BEGIN"));
  const auto read = [&]() -> Result<ListPage> {
    ListPage page;
    {
      NEAP_TRY(auto s, reader_->statement("SELECT coalesce(max(id), 0) FROM revisions"));
      NEAP_TRY([[maybe_unused]] const bool any, s->step());
      page.revision = revision_of(s->number(0));
    }
    const bool newest = options.revision == Revision{} || options.revision == page.revision;
    if (!newest && options.revision > page.revision) return future(options.revision, page.revision);
    if (!newest) page.revision = options.revision;
    const std::string first =
        options.start_after >= prefix && !options.start_after.empty() ? options.start_after + '\0' : prefix;
    // No key is longer than kKeyBytesMax, so this is above all of them.
    const std::string end =
        prefix_end(prefix).empty() ? std::string(kKeyBytesMax + 1, '\xff') : prefix_end(prefix);
    NEAP_TRY(auto s,
             newest ? reader_->statement(
                          "SELECT r.id, r.key, r.value, r.create_rev, r.deleted, r.sum FROM current "
                          "c CROSS JOIN revisions r ON r.id=c.id WHERE c.key>=?1 AND c.key<?2 ORDER BY c.key")
                    : reader_->statement(
                          "SELECT id, key, value, create_rev, deleted, sum FROM revisions INDEXED BY "
                          "revisions_by_key WHERE key>=?1 AND key<?2 ORDER BY key, id DESC"));
    s->bind(1, first).bind(2, end);
    std::size_t bytes = 0;
    std::string last_key;
    bool has_last = false;
    for (;;) {
      NEAP_TRY(const bool more, s->step());
      if (!more) return page;
      if (!newest) {
        // The first row of a key that is old enough is its state; the rest of its rows is passed over.
        if (revision_of(s->number(0)) > page.revision) continue;
        auto key = s->bytes(1);
        if (has_last && key == last_key) continue;
        last_key = std::move(key);
        has_last = true;
        if (s->number(4) != 0) continue;
      }
      if ((options.limit != 0 && page.items.size() == options.limit) || bytes > kPageBytesMax) {
        page.more = true;
        return page;
      }
      NEAP_TRY(auto row, read_row(*s));
      bytes += row.kv.key.size() + row.kv.value.size();
      page.items.push_back(std::move(row.kv));
    }
  };
  auto out = read();
  (void)reader_->execute("COMMIT");
  return out;
}

Result<std::vector<HistoryEntry>> RevisionTable::load_events(const std::string& prefix, EventId after,
                                                             EventId through, std::size_t max) {
  std::lock_guard guard(*reader_mutex_);
  const std::string end =
      prefix_end(prefix).empty() ? std::string(kKeyBytesMax + 1, '\xff') : prefix_end(prefix);
  NEAP_TRY(
      auto s,
      reader_->statement(
          "SELECT id, key, value, create_rev, deleted, sum FROM revisions NOT INDEXED WHERE id>?1 AND id<=?2 "
          "AND key>=?3 AND key<?4 ORDER BY id LIMIT ?5"));
  s->bind(1, after).bind(2, through).bind(3, prefix).bind(4, end).bind(5, std::uint64_t(max));
  std::vector<HistoryEntry> out;
  for (;;) {
    NEAP_TRY(const bool more, s->step());
    if (!more) return out;
    NEAP_TRY(auto row, read_row(*s));
    if (row.deleted) {
      NEAP_TRY(auto before, reader_->statement(
                                "SELECT id, key, value, create_rev, deleted, sum FROM revisions WHERE key=?1 "
                                "AND id<?2 ORDER BY id DESC LIMIT 1"));
      before->bind(1, row.kv.key).bind(2, row.id);
      NEAP_TRY(const bool found, before->step());
      if (found) {
        NEAP_TRY(auto old, read_row(*before));
        row.kv.value = std::move(old.kv.value);
      }
    }
    out.push_back(
        {row.id, {row.deleted ? WatchEvent::Type::kDelete : WatchEvent::Type::kPut, std::move(row.kv)}});
  }
}

}  // namespace neap::store::internal
