// LogReader: the log of one piece of work, piece by piece, over the rotations that ProcessDriver makes.
//
// Reads from the older file on into the current one; what is written later comes with later calls. Between
// the copy and the truncation of a rotation the programs may write lines that no file keeps: those are lost.
// Not thread-safe. Blocking file access in pieces of at most 64 KiB.
#pragma once

#include <optional>
#include <string>

#include "neap/executor/log_times.h"
#include "neap/io/runtime.h"

namespace neap::executor {

struct LogSelection {
  std::int64_t tail_lines = -1;        // the last so many that are there now; negative = all
  std::optional<WallTime> since = {};  // of those, the lines that were not written before
  bool with_times = false;             // each line behind its time (LogTimes says how exact) and a space
};

class LogReader {
 public:
  // `directory`: of the WorkSpec.
  LogReader(io::FileSystem& files, std::string directory, LogSelection selection);
  // Empty when nothing more is there now. kNotFound "executor.log.absent" when nothing was ever written.
  Result<std::string> next();

 private:
  Status find_start();
  Status skip_older_than(WallTime since);
  Result<std::string> read_at(const std::string& path, std::uint64_t& at);
  std::string with_times(const std::string& path, std::uint64_t at, std::string_view piece);

  io::FileSystem& files_;
  std::string current_, older_;
  LogSelection selection_;
  bool placed_ = false, in_older_ = false, in_line_ = false;
  std::uint64_t current_at_ = 0, older_at_ = 0;
};

}  // namespace neap::executor
