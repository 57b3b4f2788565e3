// A code folder as one tar: the same files give the same bytes, and so the same digest, on every machine.
//
// POSIX.1-1988 ustar (IEEE Std 1003.1, "ustar Interchange Format"): names sorted, times zero, owner 0, mode
// 0644, or 0755 for folders and for files that begin with "#!". `.git` and `__pycache__` are left out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/io/runtime.h"

namespace neap::cli {

struct CodeArchiveLimits {
  std::uint64_t bytes_max = 64u << 20;
  std::size_t entries_max = 20'000;
  std::size_t depth_max = 32;  // also what ends a loop of links
};

// Blocks on the disk: call through Runtime::offload. Reasons: `code.not_a_folder`, `code.empty`,
// `code.too_large`, `code.too_many`, `code.too_deep`, `code.name`.
Result<std::string> pack_code_folder(io::FileSystem& files, const std::string& folder,
                                     const CodeArchiveLimits& limits = {});

// A piece of an archive: a file or folder of this machine, or, where `source` is empty, `bytes`.
struct ArchivePart {
  std::string name;  // path in the archive, without a slash at its ends
  std::string source, bytes;
};
// The same limits over all parts together. Reason `code.absent` for a source that is not there.
Result<std::string> pack_parts(io::FileSystem& files, const std::vector<ArchivePart>& parts,
                               const CodeArchiveLimits& limits = {});
// "sha256:<hex>".
std::string sha256_digest(std::string_view bytes);

}  // namespace neap::cli
