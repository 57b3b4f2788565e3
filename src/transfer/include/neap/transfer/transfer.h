// Sends one content-addressed blob to another site: chunked, compressed, sealed, resumable, verified.
//
// 1. Nothing is sent without an ExportPermit, which names content and destination and is taken by value.
// 2. Each chunk is recorded in the ExportLog before its bytes leave; when the record fails, nothing leaves.
// 3. Every chunk is sealed (AES-256-GCM, crypto's chunk stream) under a key that the receiver made for this
// attachment
//    and handed over on the mutually authenticated channel.
// 4. After any cut the sender asks where to go on: an acknowledged chunk is never sent again.
// 5. It succeeds only when the receiver verified the digest of the whole content.
// Executor's thread only. The protocol is described in receiver.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "neap/artifacts/artifact_store.h"
#include "neap/dataguard/dataguard.h"
#include "neap/io/http.h"

namespace neap::ledger {
class Ledger;
}

namespace neap::transfer {

using crypto::Digest;

// What leaves, told before it leaves.
struct ExportEntry {
  SiteName source;
  SiteName destination;
  std::string purpose;
  std::string rule;  // that permitted it
  dataguard::Level level = dataguard::Level::kL1;
  std::string declassified_by;
  Digest content;
  std::uint64_t content_bytes = 0;
  std::uint64_t offset = 0;  // of this chunk in the content
  std::uint64_t bytes = 0;
  Digest chunk;  // of the plain bytes
  WallTime at{};
};

// The record of every plain byte that leaves a node.
class ExportLog {
 public:
  virtual ~ExportLog() = default;
  // Durable when it returns. An error stops the transfer.
  virtual Task<Status> record(const ExportEntry& entry, std::string_view plain) = 0;
};

// Writes one JSON line per chunk to DIRECTORY/exports.jsonl and, when `keep_bytes` is set, the plain bytes
// themselves to DIRECTORY/<digest>.plain at their offset. `ledger` receives the line as well (the append-only
// stream); may be empty.
class FileExportLog : public ExportLog {
 public:
  using Ledger = std::function<Task<Status>(std::string line)>;
  FileExportLog(io::Runtime& runtime, std::string directory, bool keep_bytes, Ledger ledger = {});
  Task<Status> record(const ExportEntry& entry, std::string_view plain) override;

 private:
  Status write_line(const std::string& line);
  io::Runtime& runtime_;
  std::string directory_;
  bool keep_bytes_;
  Ledger ledger_;
};

// Appends each line to `stream`, which must outlive the log: the export is then part of what nobody can edit
// unseen.
FileExportLog::Ledger export_ledger(ledger::Ledger& stream);

struct TransferProgress {
  std::uint64_t bytes_done = 0;  // acknowledged by the receiver
  std::uint64_t bytes_total = 0;
};

struct SendOptions {
  std::uint32_t chunk_bytes = 1u << 20;
  int zstd_level = 3;
  std::uint64_t bytes_per_second_max = 0;  // on the wire; 0 = no cap
  int attempts_max = 8;                    // in a row without progress
  Duration retry_pause = 200ms;            // doubled each time, at most 10 s
  Duration request_timeout = 60s;          // of one chunk
  std::function<void(const TransferProgress&)> progress;
  ExportLog* log = nullptr;  // required unless the permit's level is L3
};

struct TransferOutcome {
  Digest digest;
  std::uint64_t bytes_plain = 0;  // of the content
  std::uint64_t bytes_sent = 0;   // sealed chunk bytes, all attempts
  std::uint64_t chunks_sent = 0;
  std::uint64_t resumes = 0;
  bool was_present = false;  // the receiver had it already
};

// kPermissionDenied `dataguard.permit.*` or `transfer.unlogged`; kDataLoss `transfer.content.digest`;
// otherwise the last error of the receiver or the transport.
Task<Result<TransferOutcome>> send(CallContext ctx, dataguard::ExportPermit permit, io::Runtime& runtime,
                                   artifacts::BlobReader source, io::HttpClient& destination,
                                   SendOptions options);

}  // namespace neap::transfer
