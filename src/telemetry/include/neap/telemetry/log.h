// Structured logs: a message, a level, and named values, written as one line to a sink.
//
// Thread-safe throughout. A Logger is a cheap value; it refers to a sink and a clock that outlive it.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "neap/base/result.h"
#include "neap/base/time.h"
#include "neap/io/runtime.h"

namespace neap::telemetry {

enum class Level { kDebug, kInfo, kWarning, kError };
std::string_view level_name(Level level);
// "debug", "info", "warning" or "error".
Result<Level> parse_level(std::string_view text);

using FieldValue = std::variant<std::string, std::int64_t, double, bool>;
struct Field {
  std::string key;
  FieldValue value;

  Field(std::string k, std::string v) : key(std::move(k)), value(std::move(v)) {}
  Field(std::string k, std::string_view v) : key(std::move(k)), value(std::string(v)) {}
  Field(std::string k, const char* v) : key(std::move(k)), value(std::string(v)) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  Field(std::string k, T v) : key(std::move(k)), value(convert(v)) {}
  // Reason and sentence of an error, as "error".
  explicit Field(const Error& error) : key("error"), value(error.to_string()) {}

 private:
  template <class T>
  static FieldValue convert(T v) {
    if constexpr (std::is_same_v<T, bool>)
      return FieldValue(v);
    else if constexpr (std::is_floating_point_v<T>)
      return FieldValue(static_cast<double>(v));
    else
      return FieldValue(static_cast<std::int64_t>(v));
  }
};

struct Record {
  WallTime time{};
  Level level = Level::kInfo;
  std::string_view message;
  const std::vector<Field>* fields = nullptr;  // of the logger, then of the call
};

enum class LogFormat { kKeyValue, kJson };
// Without the line's end.
std::string format_record(const Record& record, LogFormat format);

class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(const Record& record) = 0;
};

class StderrSink final : public LogSink {
 public:
  explicit StderrSink(LogFormat format) : format_(format) {}
  void write(const Record& record) override;

 private:
  LogFormat format_;
};

struct FileSinkOptions {
  std::string path;
  LogFormat format = LogFormat::kJson;
  std::uint64_t bytes_max = 16u << 20;  // of one file
  int files_max = 4;                    // kept besides the current one
};

// Appends to a file and rotates it by size.
class FileSink final : public LogSink {
 public:
  static Result<std::unique_ptr<FileSink>> open(io::FileSystem& files, FileSinkOptions options);
  void write(const Record& record) override;
  // Records that the disk did not take.
  std::uint64_t dropped() const { return dropped_; }

 private:
  FileSink(io::FileSystem& files, FileSinkOptions options) : files_(files), options_(std::move(options)) {}
  Status reopen();
  Status rotate();
  io::FileSystem& files_;
  FileSinkOptions options_;
  std::mutex mutex_;
  std::unique_ptr<io::File> file_;
  std::uint64_t size_ = 0;
  std::atomic<std::uint64_t> dropped_{0};
};

class Logger {
 public:
  Logger(LogSink& sink, const Clock& clock, Level minimum = Level::kInfo)
      : sink_(&sink), clock_(&clock), minimum_(minimum) {}
  // The same logger with more fields on every record.
  Logger with(std::initializer_list<Field> fields) const;
  bool is_enabled(Level level) const { return level >= minimum_; }
  void log(Level level, std::string_view message, std::initializer_list<Field> fields = {}) const;
  void debug(std::string_view message, std::initializer_list<Field> fields = {}) const {
    log(Level::kDebug, message, fields);
  }
  void info(std::string_view message, std::initializer_list<Field> fields = {}) const {
    log(Level::kInfo, message, fields);
  }
  void warning(std::string_view message, std::initializer_list<Field> fields = {}) const {
    log(Level::kWarning, message, fields);
  }
  void error(std::string_view message, std::initializer_list<Field> fields = {}) const {
    log(Level::kError, message, fields);
  }

 private:
  LogSink* sink_;
  const Clock* clock_;
  Level minimum_;
  std::vector<Field> fields_;
};

}  // namespace neap::telemetry
