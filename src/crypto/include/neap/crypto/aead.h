// Authenticated encryption: AES-256-GCM (NIST SP 800-38D), HKDF-SHA256 (RFC 5869), and a chunked
// stream on top (the STREAM construction of Hoang, Reyhanitabar, Rogaway, Vizar, CRYPTO 2015).
//
// Thread safety: free functions from any thread; a sealer or opener is used by one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "neap/base/result.h"

namespace neap::crypto {

using Key256 = std::array<std::uint8_t, 32>;
using Nonce96 = std::array<std::uint8_t, 12>;
inline constexpr std::size_t kAeadTagBytes = 16;

Key256 random_key();
Nonce96 random_nonce();
// kInvalidArgument unless exactly 32 bytes.
Result<Key256> key_from_bytes(std::string_view bytes);

// Ciphertext followed by the 16-byte tag. A nonce must never repeat under one key.
std::string aead_seal(const Key256& key, const Nonce96& nonce, std::string_view aad, std::string_view plain);
// kUnauthenticated "crypto.aead.open" when key, nonce, associated data or a single bit differ.
Result<std::string> aead_open(const Key256& key, const Nonce96& nonce, std::string_view aad,
                              std::string_view sealed);

// `length` at most 255 * 32 bytes (asserted).
std::string hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info,
                        std::size_t length);

// One direction of a transfer: chunks sealed in order, each bound to stream id, index and "is last".
//
// 1. The chunk key is derived from (key, stream id, context), so a stream id must be fresh for each
//    content under one key; random_bytes(16) is.
// 2. A chunk opens only at its own index and with its own last flag: reordering, dropping, repeating,
//    truncating and appending are errors, never other plaintext.
// 3. Resume: construct with the index of the first chunk the peer lacks. Sealing an index a second time
//    is safe for the same plaintext only, which content-addressed transfers guarantee.
class ChunkSealer {
 public:
  // `context` names what the stream is for and must be equal at both ends; may be empty.
  ChunkSealer(const Key256& key, std::string_view stream_id, std::string_view context = {},
              std::uint64_t first_index = 0);
  ~ChunkSealer();
  // kFailedPrecondition "crypto.stream.ended" after the last chunk.
  Result<std::string> seal(std::string_view plain, bool last);
  std::uint64_t next_index() const { return next_index_; }

 private:
  Key256 chunk_key_;
  std::uint64_t next_index_;
  bool ended_ = false;
};

class ChunkOpener {
 public:
  ChunkOpener(const Key256& key, std::string_view stream_id, std::string_view context = {},
              std::uint64_t first_index = 0);
  ~ChunkOpener();
  // kUnauthenticated "crypto.stream.chunk" for a chunk that is not the next one of this stream,
  // kFailedPrecondition "crypto.stream.trailing" for anything after the last. The opener does not advance on
  // failure.
  Result<std::string> open(std::string_view sealed, bool last);
  // kDataLoss "crypto.stream.truncated" unless the last chunk was opened.
  Status finish() const;
  std::uint64_t next_index() const { return next_index_; }

 private:
  Key256 chunk_key_;
  std::uint64_t next_index_;
  bool ended_ = false;
};

}  // namespace neap::crypto
