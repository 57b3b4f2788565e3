// Connection and Statement: SQLite as owning types that report Results.
//
// Threads: one at a time per connection (opened without SQLite's own mutexes).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "neap/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace neap::store::internal {

// A prepared statement in use; resets itself at the end of its scope.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* stmt) : db_(db), stmt_(stmt) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // Parameters from 1. Text is bound as a blob and must live until the scope ends.
  Statement& bind(int at, std::uint64_t value);
  Statement& bind(int at, std::string_view bytes);
  // True: a row is there. False: done.
  Result<bool> step();
  Status run();
  std::uint64_t number(int column) const;
  std::string bytes(int column) const;

 private:
  sqlite3* db_;
  sqlite3_stmt* stmt_;
};

class Connection {
 public:
  // `vfs` empty = SQLite's own file access.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, const std::string& vfs,
                                                  bool read_only);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Status execute(const char* sql);
  // Prepared on first use and kept; `sql` must be a literal. One user of each at a time.
  Result<std::unique_ptr<Statement>> statement(const char* sql);
  // First column of the first row as text.
  Result<std::string> text(const char* sql);
  std::uint64_t wal_pages() const { return wal_pages_; }
  // Moves WAL frames into the database; `truncate` also empties the WAL.
  Status checkpoint(bool truncate);
  sqlite3* handle() { return db_; }

 private:
  explicit Connection(sqlite3* db) : db_(db) {}
  sqlite3* db_;
  std::uint64_t wal_pages_ = 0;
  std::map<const char*, sqlite3_stmt*> statements_;
};

// Copies the database file `from`, which other processes may be writing, into the new file `to`, as it is
// at one moment. Not synced.
Status copy_database(const std::string& from, const std::string& to);

}  // namespace neap::store::internal
