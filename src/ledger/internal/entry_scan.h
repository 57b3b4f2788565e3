// Reads a stream of entries, from its beginning or from where an earlier reading ended, and says how far it
// is whole.
#pragma once

#include <functional>
#include <optional>

#include "internal/entry_line.h"
#include "internal/frontier_file.h"
#include "neap/io/runtime.h"

namespace neap::ledger::internal {

// Every kIndexStep-th entry's offset is kept.
inline constexpr std::uint64_t kIndexStep = 64;

struct Scan {
  Frontier whole;  // entries
  // The first entry that is not whole, if any, and whether a crash during an append explains it.
  std::optional<Error> bad;
  bool is_torn_tail = false;
};

// `on_entry` sees every whole entry and the tree with it; false ends the scan. `bytes_max`: read no further.
// `from`: what was read before.
Result<Scan> scan_entries(io::File& file, std::uint64_t bytes_max,
                          const std::function<bool(const EntryLine&, const MerkleFrontier&)>& on_entry,
                          Frontier from = {});
// Lines from `offset` on, to `on_line` with their end's offset; a last piece without line end as such.
Status scan_lines(io::File& file, std::uint64_t offset, std::uint64_t bytes_max,
                  const std::function<bool(std::string_view line, std::uint64_t end, bool whole)>& on_line);

}  // namespace neap::ledger::internal
