#include "neap/executor/log_times.h"

#include <algorithm>

namespace neap::executor {
namespace {

constexpr std::size_t kEntryBytes = 16;
// The gap between entries doubles after each so many; with kEntriesMax of them it is past nine hours.
constexpr std::uint64_t kEntriesBeforeDoubling = 8192, kEntriesMax = 16 * kEntriesBeforeDoubling;
constexpr std::size_t kPieceBytes = 64u << 10;

std::string encode(const LogTimes::Entry& entry) {
  std::string out;
  const auto milliseconds = std::uint64_t(
      std::chrono::duration_cast<std::chrono::milliseconds>(entry.time.time_since_epoch()).count());
  for (const auto value : {milliseconds, entry.size})
    for (int shift = 56; shift >= 0; shift -= 8) out += char(value >> shift);
  return out;
}

std::uint64_t number_at(std::string_view bytes, std::size_t at) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < 8; ++i) out = out << 8 | std::uint8_t(bytes[at + i]);
  return out;
}

// Entries of a log that was cut short by a crash in the middle of one are read up to it.
std::vector<LogTimes::Entry> read_entries(io::FileSystem& files, const std::string& log) {
  std::vector<LogTimes::Entry> out;
  const auto text = files.read_file(LogTimes::path_of(log), (kEntriesMax + 1) * kEntryBytes);
  for (std::size_t at = 0; text && at + kEntryBytes <= text->size(); at += kEntryBytes)
    out.push_back(
        {WallTime(std::chrono::milliseconds(std::int64_t(number_at(*text, at)))), number_at(*text, at + 8)});
  return out;
}

}  // namespace

LogTimes LogTimes::load(io::FileSystem& files, const std::string& log) {
  LogTimes out;
  out.files_ = &files;
  out.log_ = log;
  out.entries_ = read_entries(files, log);
  if (const auto stat = files.stat(log)) out.now_ = *stat;
  return out;
}

WallTime LogTimes::time_of(std::uint64_t offset) const {
  const auto it =
      std::ranges::upper_bound(entries_, offset, {}, [](const Entry& entry) { return entry.size; });
  return it == entries_.end() ? now_.modified : it->time;
}

Result<std::uint64_t> LogTimes::start_since(WallTime time) const {
  std::uint64_t start = 0;
  for (const auto& entry : entries_)
    if (entry.time < time) start = entry.size;
  if (now_.modified < time) start = now_.size;
  if (start == 0 || start >= now_.size) return std::min(start, now_.size);
  // Within a line: its beginning is older, so the next one is the first.
  NEAP_TRY(auto file, files_->open(log_, io::OpenMode::kRead));
  std::string piece;
  for (auto at = start - 1;;) {
    piece.clear();
    NEAP_TRY(const auto n, file->read_at(at, piece, kPieceBytes));
    if (n == 0) return now_.size;
    if (const auto end = piece.find('\n'); end != std::string::npos) return at + end + 1;
    at += n;
  }
}

LogTimesWriter::LogTimesWriter(io::FileSystem& files, std::string log) : files_(files), log_(std::move(log)) {
  const auto entries = read_entries(files_, log_);
  count_ = entries.size();
  if (!entries.empty()) last_ = entries.back();
}

Status LogTimesWriter::look(bool is_last) {
  const auto stat = files_.stat(log_);
  if (!stat || stat->size == last_.size || count_ >= kEntriesMax) return ok();
  const auto gap = kLookInterval * (std::int64_t(1) << (count_ / kEntriesBeforeDoubling));
  if (!is_last && count_ > 0 && stat->modified - last_.time < gap) return ok();
  const LogTimes::Entry entry{.time = stat->modified, .size = stat->size};
  NEAP_TRY(auto file, files_.open(LogTimes::path_of(log_), io::OpenMode::kCreate));
  NEAP_TRY_VOID(file->truncate(count_ * kEntryBytes));
  NEAP_TRY_VOID(file->write_at(count_ * kEntryBytes, encode(entry)));
  ++count_;
  last_ = entry;
  return ok();
}

Status LogTimesWriter::rotate(const std::string& older) {
  auto moved = files_.rename(LogTimes::path_of(log_), LogTimes::path_of(older));
  count_ = 0;
  last_ = {};
  return moved || moved.error().code == Code::kNotFound ? ok() : moved;
}

}  // namespace neap::executor
