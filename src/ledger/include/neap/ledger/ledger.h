// Ledger: one append-only stream of JSON entries that nobody can edit unseen: audit, usage, decisions.
//
// A directory holds `entries.jsonl` (one line an entry), `checkpoint` (signed size and root) and, once it is
// large, `frontier` (signed too: where it stood lately).
// 1. append() returns after the fsync of the entry; appends that wait together share one.
// 2. A checkpoint is written at most once a second while entries arrive, and by close().
// 3. Opening cuts off what a crash left of unacknowledged entries, and refuses (kDataLoss) when an
//    acknowledged entry is damaged or missing, or the checkpoint does not match. A large ledger is opened by
//    what follows its frontier; what comes before is read right after, and damage found there ends appending
//    (rule 4), removes the frontier, and is so what the next opening refuses. A frontier that is absent,
//    damaged or at odds with entries and checkpoint is passed over: then opening reads everything.
// 4. After a failed write or fsync nothing more is appended until the ledger has been opened again.
// The checkpoint proves the past to whoever holds it: copy it off the machine to detect that a whole
// directory was replaced by an older one.
//
// Threads: all calls on the runtime's executor. The ledger must outlive its pending calls.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "neap/base/json.h"
#include "neap/io/runtime.h"
#include "neap/ledger/checkpoint.h"
#include "neap/ledger/merkle.h"

namespace neap::ledger {

inline constexpr std::size_t kEntryBytesMax = 1u << 20;

struct Entry {
  std::uint64_t sequence = 0;  // from 0, without gaps
  WallTime time{};             // of the append, to the microsecond
  Json body;
};

struct LedgerOptions {
  std::string directory;  // made when absent, mode 0700
  std::string origin;     // "neap.example/hq/audit"
  Duration checkpoint_interval = 1s;
  // A ledger up to this size is read whole when it is opened.
  std::uint64_t read_at_open_bytes_max = 1u << 20;
  // A frontier is written when so much follows the last one, with the checkpoint that covers it, and by
  // close().
  std::uint64_t frontier_bytes = 2u << 20;
  // When what lies before the frontier is read after opening: not while the process is busy with its start.
  Duration check_after = 5s;
  std::size_t queue_entries_max = 16'384;
  // Called once, on the executor, when nothing more is appended (rule 4): restart the process.
  std::function<void(const Error&)> on_failure;
};

struct InclusionProof {
  Digest leaf;
  std::uint64_t index = 0;
  std::uint64_t size = 0;
  Proof hashes;
};

// What verification found to be true.
struct Verified {
  std::uint64_t size = 0;             // whole entries
  Digest root;                        // over all of them
  std::uint64_t checkpoint_size = 0;  // how many of them the signature covers
};

class Ledger {
 public:
  // `key` is Ed25519. kDataLoss "ledger.entry.bad" (names the first bad entry), "ledger.truncated",
  // "ledger.root.mismatch"; kUnauthenticated "ledger.checkpoint.signature".
  static Task<Result<std::unique_ptr<Ledger>>> open(io::Runtime& runtime, LedgerOptions options,
                                                    crypto::PrivateKey key);
  // Without close() first this is a crash.
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // The entry's sequence. kResourceExhausted "ledger.queue.full", "ledger.disk.full"; kInvalidArgument
  // "ledger.entry.size"; kUnavailable "ledger.failed", "ledger.closed".
  Task<Result<std::uint64_t>> append(Json body);
  // Up to `max` durable entries from `from` on, at most 16 MiB of them; fewer at the end.
  Task<Result<std::vector<Entry>>> read(std::uint64_t from, std::size_t max);
  // Those of the next `scan_max` entries whose body, as text, `wanted` takes: for who needs few of many.
  // `wanted` is called on another thread.
  struct Selected {
    std::vector<Entry> entries;
    std::uint64_t next = 0;  // where to go on; size() at the end
  };
  Task<Result<Selected>> select(std::uint64_t from, std::size_t scan_max,
                                std::function<bool(std::string_view)> wanted);
  std::uint64_t size() const;  // durable entries
  Digest root() const;
  // Reads everything again and checks it against the tree in memory and the signed checkpoint.
  Task<Result<Verified>> verify();
  // Proofs about durable entries; they read the whole stream. kOutOfRange "ledger.proof.range".
  Task<Result<InclusionProof>> prove_inclusion(std::uint64_t sequence, std::uint64_t size);
  Task<Result<Proof>> prove_consistency(std::uint64_t old_size, std::uint64_t new_size);
  // Signs and writes a checkpoint over all durable entries now, and returns its text.
  Task<Result<std::string>> checkpoint_now();
  Task<void> close();

 private:
  struct Impl;
  explicit Ledger(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// For whoever holds a copy of a ledger and the public key only. Errors as Ledger::open, and
// kNotFound "ledger.checkpoint.absent". Blocking: run it on a worker.
Result<Verified> verify_directory(io::FileSystem& files, const std::string& directory,
                                  std::string_view origin, const crypto::PublicKey& key);

}  // namespace neap::ledger
