// LogTimes: when which bytes of a log were written, as far as looking at it now and then can tell.
//
// Programs write their output into a file themselves, without times. Beside it LOG.times holds entries of the
// log's size and the time of its last change, each 16 bytes (milliseconds, size; big endian). A line's time
// is that of the first entry that includes its first byte, so it is late by kLookInterval at most, and by
// more in a log of many hours: entries come further apart the more there are, which bounds the file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "neap/io/runtime.h"

namespace neap::executor {

inline constexpr Duration kLookInterval = 1s;

class LogTimes {
 public:
  struct Entry {
    WallTime time{};
    std::uint64_t size = 0;
  };
  static std::string path_of(const std::string& log) { return log + ".times"; }
  // What is known of a log now; bytes after the last entry have the time of its last change.
  static LogTimes load(io::FileSystem& files, const std::string& log);
  WallTime time_of(std::uint64_t offset) const;
  // Where the first line begins that was not written before `time`; the log's size when there is none.
  Result<std::uint64_t> start_since(WallTime time) const;

 private:
  io::FileSystem* files_ = nullptr;
  std::string log_;
  std::vector<Entry> entries_;
  io::FileStat now_;
};

// Writes them. One for each log; blocking, so use it through Runtime::offload where that matters.
class LogTimesWriter {
 public:
  LogTimesWriter(io::FileSystem& files, std::string log);
  // Looks at the log and notes what changed. `is_last`: also where it is too early for another entry.
  Status look(bool is_last);
  // The log was moved to `older` and begins anew.
  Status rotate(const std::string& older);

 private:
  io::FileSystem& files_;
  std::string log_;
  std::uint64_t count_ = 0;
  LogTimes::Entry last_;
};

}  // namespace neap::executor
