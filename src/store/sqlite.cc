#include "internal/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

namespace neap::store::internal {
namespace {

std::unexpected<Error> sqlite_failed(sqlite3* db, int rc, std::string_view while_doing) {
  const int primary = rc & 0xff;
  const std::string detail =
      fmt::format("{} (SQLite {}: {})", while_doing, rc, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
  switch (primary) {
    case SQLITE_FULL:
      return fail(
          Code::kResourceExhausted, "store.disk.full",
          fmt::format("the disk is full, nothing was written: {}; free some space and retry", detail));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return fail(Code::kFailedPrecondition, "store.directory.locked",
                  fmt::format("another process uses this store: {}; stop it first", detail));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return fail(Code::kDataLoss, "store.corrupt",
                  fmt::format("the store's database is damaged: {}; restore it from a backup", detail));
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return fail(
          Code::kFailedPrecondition, "store.directory.access",
          fmt::format("the store's database cannot be opened: {}; check path and permissions", detail));
    default:
      return fail(Code::kUnavailable, "store.io",
                  fmt::format("the store's database failed: {}; check the disk and restart", detail));
  }
}

}  // namespace

Statement::~Statement() {
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
}
Statement& Statement::bind(int at, std::uint64_t value) {
  sqlite3_bind_int64(stmt_, at, sqlite3_int64(value));
  return *this;
}
Statement& Statement::bind(int at, std::string_view bytes) {
  // A null pointer would bind NULL instead of an empty blob.
  sqlite3_bind_blob64(stmt_, at, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}
Result<bool> Statement::step() {
  const int rc = sqlite3_step(stmt_);
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  return sqlite_failed(db_, rc, "running a statement");
}
Status Statement::run() {
  NEAP_TRY([[maybe_unused]] const bool row, step());
  return ok();
}
std::uint64_t Statement::number(int column) const {
  return std::uint64_t(sqlite3_column_int64(stmt_, column));
}
std::string Statement::bytes(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
  return data ? std::string(data, std::size_t(sqlite3_column_bytes(stmt_, column))) : std::string();
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, const std::string& vfs,
                                                     bool read_only) {
  sqlite3* db = nullptr;
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int rc = sqlite3_open_v2(path.c_str(), &db, flags, vfs.empty() ? nullptr : vfs.c_str());
  std::unique_ptr<Connection> out(new Connection(db));
  if (rc != SQLITE_OK) return sqlite_failed(db, rc, fmt::format("opening {}", path));
  // Closing must not write: an owner that goes away without close() stands for a crash.
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  // In place of SQLite's automatic checkpoint: the owner decides when to pay for one.
  sqlite3_wal_hook(
      db,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Connection*>(self)->wal_pages_ = std::uint64_t(pages);
        return SQLITE_OK;
      },
      out.get());
  return out;
}
Connection::~Connection() {
  for (auto& [sql, stmt] : statements_) sqlite3_finalize(stmt);
  sqlite3_close(db_);
}
Status Connection::execute(const char* sql) {
  const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return sqlite_failed(db_, rc, sql);
  return ok();
}
Result<std::unique_ptr<Statement>> Connection::statement(const char* sql) {
  auto& stmt = statements_[sql];
  if (!stmt) {
    const int rc = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
    if (rc != SQLITE_OK) return sqlite_failed(db_, rc, sql);
  }
  return std::make_unique<Statement>(db_, stmt);
}
Result<std::string> Connection::text(const char* sql) {
  sqlite3_stmt* stmt = nullptr;
  int rc = sqlite3_prepare_v2(db_, sql, -1, &stmt, nullptr);
  if (rc != SQLITE_OK) return sqlite_failed(db_, rc, sql);
  rc = sqlite3_step(stmt);
  Result<std::string> out = std::string();
  if (rc == SQLITE_ROW) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0));
    if (text) out = std::string(text);
  } else if (rc != SQLITE_DONE) {
    out = sqlite_failed(db_, rc, sql);
  }
  sqlite3_finalize(stmt);
  return out;
}
Status Connection::checkpoint(bool truncate) {
  int left = 0, moved = 0;
  const int rc = sqlite3_wal_checkpoint_v2(
      db_, nullptr, truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &left, &moved);
  // Busy: a reader still needs old frames; the next checkpoint takes them.
  if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) return sqlite_failed(db_, rc, "checkpointing");
  wal_pages_ = 0;
  return ok();
}

Status copy_database(const std::string& from, const std::string& to) {
  // Pages a step; between two of them the thread can be scheduled away without holding anything of SQLite.
  constexpr int kStepPages = 1024;
  NEAP_TRY(auto source, Connection::open(from, "", true));
  NEAP_TRY(auto target, Connection::open(to, "", false));
  // Whoever asked for the copy syncs it or throws it away.
  NEAP_TRY_VOID(target->execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF"));
  // A read transaction over all steps: without it each commit of the server would start the copy anew.
  NEAP_TRY_VOID(source->execute("BEGIN"));
  NEAP_TRY([[maybe_unused]] const auto seen, source->text("SELECT count(*) FROM sqlite_master"));
  sqlite3_backup* backup = sqlite3_backup_init(target->handle(), "main", source->handle(), "main");
  if (!backup) return sqlite_failed(target->handle(), sqlite3_errcode(target->handle()), "starting the copy");
  int rc = SQLITE_OK;
  do rc = sqlite3_backup_step(backup, kStepPages);
  while (rc == SQLITE_OK);
  const int finished = sqlite3_backup_finish(backup);
  if (rc != SQLITE_DONE || finished != SQLITE_OK)
    return sqlite_failed(nullptr, rc != SQLITE_DONE ? rc : finished, fmt::format("copying {}", from));
  return source->execute("COMMIT");
}

}  // namespace neap::store::internal
