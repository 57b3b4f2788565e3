#include "neap/executor/log_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/executor/process_driver.h"

namespace neap::executor {
namespace {

constexpr std::size_t kPieceBytes = 64u << 10;

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

LogReader::LogReader(io::FileSystem& files, std::string directory, std::int64_t tail_lines)
    : files_(files),
      current_(ProcessDriver::log_path(directory)),
      older_(current_ + ".1"),
      tail_lines_(tail_lines) {}

Status LogReader::find_start() {
  if (!files_.exists(current_) && !files_.exists(older_))
    return fail(Code::kNotFound, "executor.log.absent", "its programs have not written anything");
  placed_ = true;
  in_older_ = files_.exists(older_);
  if (tail_lines_ < 0) return ok();
  NEAP_TRY(const auto current, find_tail(files_, current_, tail_lines_));
  current_at_ = current.at;
  in_older_ = in_older_ && current.lines < tail_lines_;
  if (!in_older_) return ok();
  NEAP_TRY(const auto older, find_tail(files_, older_, tail_lines_ - current.lines));
  older_at_ = older.at;
  return ok();
}

Result<std::string> LogReader::read_at(const std::string& path, std::uint64_t& at) {
  std::string out;
  auto file = files_.open(path, io::OpenMode::kRead);
  if (!file) return file.error().code == Code::kNotFound ? Result<std::string>(out) : fail(file.error());
  NEAP_TRY(const auto n, (*file)->read_at(at, out, kPieceBytes));
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
