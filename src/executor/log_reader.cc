#include "neap/executor/log_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/executor/process_driver.h"

namespace neap::executor {
namespace {

constexpr std::size_t kPieceBytes = 64u << 10;
constexpr int kTimeDigits = 3;

struct TailStart {
  std::uint64_t at = 0;
  std::int64_t lines = 0;  // from there to the end
};

// Where the last `lines` lines of a file begin. A last line without its end counts as one.
Result<TailStart> find_tail(io::FileSystem& files, const std::string& path, std::int64_t lines) {
  auto file = files.open(path, io::OpenMode::kRead);
  if (!file)
    return file.error().code == Code::kNotFound ? Result<TailStart>(TailStart{}) : fail(file.error());
  NEAP_TRY(const auto size, (*file)->size());
  TailStart out{.at = size, .lines = 0};
  if (lines <= 0 || size == 0) return out;
  std::string block;
  for (std::uint64_t end = size; end > 0;) {
    const auto begin = end - std::min<std::uint64_t>(end, kPieceBytes);
    block.clear();
    NEAP_TRY(const auto n, (*file)->read_at(begin, block, std::size_t(end - begin)));
    if (n == 0) break;
    for (auto i = std::int64_t(block.size()) - 1; i >= 0; --i) {
      const auto position = begin + std::uint64_t(i);
      if (block[std::size_t(i)] != '\n' || position + 1 == size) continue;
      ++out.lines;
      out.at = position + 1;
      if (out.lines == lines) return out;
    }
    end = begin;
  }
  return TailStart{.at = 0, .lines = out.lines + 1};
}

}  // namespace

LogReader::LogReader(io::FileSystem& files, std::string directory, LogSelection selection)
    : files_(files),
      current_(ProcessDriver::log_path(directory)),
      older_(current_ + ".1"),
      selection_(selection) {}

Status LogReader::find_start() {
  if (!files_.exists(current_) && !files_.exists(older_))
    return fail(Code::kNotFound, "executor.log.absent", "its programs have not written anything");
  placed_ = true;
  in_older_ = files_.exists(older_);
  if (const auto wanted = selection_.tail_lines; wanted >= 0) {
    NEAP_TRY(const auto current, find_tail(files_, current_, wanted));
    current_at_ = current.at;
    in_older_ = in_older_ && current.lines < wanted;
    if (in_older_) {
      NEAP_TRY(const auto older, find_tail(files_, older_, wanted - current.lines));
      older_at_ = older.at;
    }
  }
  return selection_.since ? skip_older_than(*selection_.since) : ok();
}

Status LogReader::skip_older_than(WallTime since) {
  NEAP_TRY(const auto current, LogTimes::load(files_, current_).start_since(since));
  current_at_ = std::max(current_at_, current);
  if (!in_older_) return ok();
  NEAP_TRY(const auto older, LogTimes::load(files_, older_).start_since(since));
  older_at_ = std::max(older_at_, older);
  return ok();
}

std::string LogReader::with_times(const std::string& path, std::uint64_t at, std::string_view piece) {
  const auto times = LogTimes::load(files_, path);
  std::string out;
  for (std::size_t begin = 0; begin < piece.size();) {
    const auto newline = piece.find('\n', begin);
    const auto end = newline == std::string_view::npos ? piece.size() : newline + 1;
    if (!in_line_) out += format_rfc3339(times.time_of(at + begin), kTimeDigits) + " ";
    out += piece.substr(begin, end - begin);
    in_line_ = newline == std::string_view::npos;
    begin = end;
  }
  return out;
}

Result<std::string> LogReader::read_at(const std::string& path, std::uint64_t& at) {
  std::string out;
  auto file = files_.open(path, io::OpenMode::kRead);
  if (!file) return file.error().code == Code::kNotFound ? Result<std::string>(out) : fail(file.error());
  NEAP_TRY(const auto n, (*file)->read_at(at, out, kPieceBytes));
  if (selection_.with_times && n > 0) out = with_times(path, at, out);
  at += n;
  return out;
}

Result<std::string> LogReader::next() {
  if (!placed_) NEAP_TRY_VOID(find_start());
  for (;;) {
    if (in_older_) {
      NEAP_TRY(auto piece, read_at(older_, older_at_));
      if (!piece.empty()) return piece;
      in_older_ = false;
    }
    const auto stat = files_.stat(current_);
    if (stat && stat->size < current_at_) {
      // Rotated: what was not read yet is at the same place in the older file.
      in_older_ = true;
      older_at_ = std::exchange(current_at_, 0);
      continue;
    }
    return read_at(current_, current_at_);
  }
}

}  // namespace neap::executor
