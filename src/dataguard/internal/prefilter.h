// Marks the bytes that can start or join an identifier, 64 at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neap::dataguard::internal {

// Bit i belongs to byte i of the block.
struct BlockMarks {
  std::uint64_t digit = 0;
  std::uint64_t at = 0;
  std::uint64_t colon = 0;
};

// Reads blocks * 64 bytes.
using MarkBlocks = void (*)(const char* text, std::size_t blocks, BlockMarks* out);
void mark_blocks_portable(const char* text, std::size_t blocks, BlockMarks* out);
void mark_blocks_avx2(const char* text, std::size_t blocks, BlockMarks* out);
bool cpu_has_avx2();

}  // namespace neap::dataguard::internal
