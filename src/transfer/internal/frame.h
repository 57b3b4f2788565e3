// One chunk on the wire, inside the seal: codec (1 byte), plain length (4, little endian), SHA-256 of the
// plain bytes (32), payload.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "neap/base/result.h"

namespace neap::transfer::internal {

inline constexpr std::size_t kFrameHeadBytes = 37;
// What sealing and framing add at most to a chunk that does not compress.
inline constexpr std::size_t kFrameOverheadMax = 4096;

// zstd when that is smaller, else as it is.
std::string pack_frame(std::string_view plain, int zstd_level);
// kInvalidArgument `transfer.frame.*` unless it unpacks to exactly `expected` bytes with the right hash.
// Never unpacks more.
Result<std::string> unpack_frame(std::string_view frame, std::size_t expected);

// Number of chunks; an empty content has one, empty.
constexpr std::uint64_t chunk_count(std::uint64_t bytes, std::uint32_t chunk_bytes) {
  return bytes == 0 ? 1 : (bytes + chunk_bytes - 1) / chunk_bytes;
}
// Binds the sealed stream to what it carries.
std::string stream_context(std::string_view digest, std::uint64_t bytes);

}  // namespace neap::transfer::internal
