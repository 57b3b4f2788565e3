// LogReader: the log of one piece of work, piece by piece, over the rotations that ProcessDriver makes.
//
// Reads from the older file on into the current one; what is written later comes with later calls. Between
// the copy and the truncation of a rotation the programs may write lines that no file keeps: those are lost.
// Not thread-safe. Blocking file access in pieces of at most 64 KiB.
#pragma once

#include <string>

#include "neap/io/runtime.h"

namespace neap::executor {

class LogReader {
 public:
  // `directory`: of the WorkSpec. `tail_lines`: the last so many that are there now; negative = all.
  LogReader(io::FileSystem& files, std::string directory, std::int64_t tail_lines);
  // Empty when nothing more is there now. kNotFound "executor.log.absent" when nothing was ever written.
  Result<std::string> next();

 private:
  Status find_start();
  Result<std::string> read_at(const std::string& path, std::uint64_t& at);

  io::FileSystem& files_;
  std::string current_, older_;
  std::int64_t tail_lines_;
  bool placed_ = false, in_older_ = false;
  std::uint64_t current_at_ = 0, older_at_ = 0;
};

}  // namespace neap::executor
