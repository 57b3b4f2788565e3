// One entry as a line of text:
//   {"seq":7,"batch":5,"time":"2026-01-01T00:00:00.000000Z","body":{...},"hash":"<64 hex>"}
// The leaf of the tree is the text before `,"hash"`, and hash is that leaf's: it names the entry that is
// damaged where the root could only say that one is. `batch` is the first sequence of the entries that
// were synced together: a crash can damage the last batch alone.
#pragma once

#include <string>
#include <string_view>

#include "neap/base/time.h"
#include "neap/ledger/merkle.h"

namespace neap::ledger::internal {

struct EntryLine {
  std::uint64_t sequence = 0;
  std::uint64_t batch = 0;
  WallTime time{};
  std::string_view body;  // of the line it was read from
  Digest leaf;
};

struct EncodedEntry {
  std::string line;  // with its line end
  Digest leaf;
};
EncodedEntry encode_entry(std::uint64_t sequence, std::uint64_t batch, WallTime time, std::string_view body);
// `line` without its line end. The hash is checked, the body is not parsed.
Result<EntryLine> decode_entry(std::string_view line);

}  // namespace neap::ledger::internal
