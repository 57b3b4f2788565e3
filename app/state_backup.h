// `neap backup` and `neap restore`: everything a server keeps, as one file with digests inside.
//
// The file: the line "NEAP-BACKUP 1"; then for each file of the state directory a JSON line
// {"path", "size"}, that many bytes, and a line with their SHA-256; at last a JSON line {"end": {...}} with
// the SHA-256 of everything before that line. It holds the private keys and secrets of the installation.
//
// Both block: call them through io::Runtime::offload.
#pragma once

#include <string>
#include <string_view>

#include "neap/base/id.h"
#include "neap/base/result.h"
#include "neap/crypto/digest.h"
#include "neap/io/runtime.h"

namespace neap::app {

inline constexpr std::string_view kRestoredMark = "/restored";

struct BackupSummary {
  Revision revision{};  // of the store in the copy; after a restore, the one it goes on from
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  // of the backup file
  crypto::Digest digest;    // as its last line says
};

// Copies the state of a server, running or not, into the new file `to` (mode 0600), written whole or not
// at all. Store first, then ledgers, then content: nothing the store names is missing, and no ledger is
// behind it. A running server goes on writing meanwhile; what it acknowledged before the call is in.
// Reasons: `backup.source`, `backup.etcd`, `backup.exists`; the store's.
Result<BackupSummary> write_state_backup(io::Runtime& runtime, const std::string& state_directory,
                                         const std::string& to);

// Makes `state_directory`, which must be absent or empty, from a backup; nothing of it is there until all
// digests are right. A file "restored" in it says so to the server, which then takes no join token of before:
// one that was used after the backup would be good again. Reasons: `restore.foreign`, `restore.damaged`,
// `restore.not_empty`.
Result<BackupSummary> restore_state_backup(io::Runtime& runtime, const std::string& from,
                                           const std::string& state_directory);

}  // namespace neap::app
