#include "internal/entry_scan.h"

#include <fmt/format.h>

#include "neap/ledger/ledger.h"

namespace neap::ledger::internal {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;
// A line's head and hash around the body.
constexpr std::size_t kLineBytesMax = kEntryBytesMax + 512;

}  // namespace

Status scan_lines(io::File& file, std::uint64_t offset, std::uint64_t bytes_max,
                  const std::function<bool(std::string_view, std::uint64_t, bool)>& on_line) {
  std::string buffer;
  for (bool at_end = false; !at_end;) {
    const std::uint64_t read_to = offset + buffer.size();
    const auto want = std::min<std::uint64_t>(kReadBytes, bytes_max > read_to ? bytes_max - read_to : 0);
    std::size_t got = 0;
    if (want > 0) {
      NEAP_TRY(got, file.read_at(read_to, buffer, want));
    }
    at_end = got == 0;
    std::size_t begin = 0;
    for (std::size_t end; (end = buffer.find('\n', begin)) != std::string::npos; begin = end + 1)
      if (!on_line(std::string_view(buffer).substr(begin, end - begin), offset + end + 1, true)) return ok();
    buffer.erase(0, begin);
    offset += begin;
    if (buffer.size() > kLineBytesMax) {
      // Longer than any entry: handed on as far as it goes, so that it is judged and not stored.
      on_line(buffer, offset + buffer.size(), false);
      return ok();
    }
  }
  if (!buffer.empty()) on_line(buffer, offset + buffer.size(), false);
  return ok();
}

Result<Scan> scan_entries(io::File& file, std::uint64_t bytes_max,
                          const std::function<bool(const EntryLine&, const MerkleFrontier&)>& on_entry,
                          Frontier from) {
  Scan out{.whole = std::move(from), .bad = {}, .is_torn_tail = false};
  auto& at = out.whole;
  std::uint64_t expected = at.tree.size();
  NEAP_TRY_VOID(
      scan_lines(file, at.bytes, bytes_max, [&](std::string_view line, std::uint64_t end, bool whole) {
        auto entry =
            whole ? decode_entry(line) : fail(Code::kDataLoss, "ledger.entry.bad", "it has no line end");
        if (entry && !out.bad && entry->sequence != expected)
          entry = fail(Code::kDataLoss, "ledger.entry.bad",
                       fmt::format("entry {} stands there", entry->sequence));
        if (out.bad) {
          // A whole entry of a batch that began after the bad one: the bad one had been synced before.
          if (entry && entry->batch > expected) out.is_torn_tail = false;
          return out.is_torn_tail;
        }
        if (!entry) {
          out.bad = Error{Code::kDataLoss,
                          "ledger.entry.bad",
                          fmt::format("entry {} is damaged: {}; restore the ledger from a backup", expected,
                                      entry.error().message),
                          {}};
          out.is_torn_tail = true;
          return true;
        }
        if (expected % kIndexStep == 0) at.index.push_back(at.bytes);
        at.tree.append(entry->leaf);
        at.last_at = std::exchange(at.bytes, end);
        at.last_leaf = entry->leaf;
        ++expected;
        return on_entry(*entry, at.tree);
      }));
  return out;
}

}  // namespace neap::ledger::internal
