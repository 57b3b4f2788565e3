#include "internal/frame.h"

#include <fmt/format.h>
#include <zstd.h>

#include "neap/crypto/digest.h"

namespace neap::transfer::internal {
namespace {
constexpr char kRaw = 0;
constexpr char kZstd = 1;

std::unexpected<Error> broken(std::string_view part, std::string_view why) {
  return fail(Code::kInvalidArgument, fmt::format("transfer.frame.{}", part),
              fmt::format("the chunk is refused: {}", why));
}
}  // namespace

std::string pack_frame(std::string_view plain, int zstd_level) {
  std::string out(kFrameHeadBytes, '\0');
  const auto length = static_cast<std::uint32_t>(plain.size());
  for (int i = 0; i < 4; ++i)
    out[static_cast<std::size_t>(1 + i)] = static_cast<char>(length >> (8 * i) & 0xFF);
  const crypto::Digest digest = crypto::sha256(plain);
  out.replace(5, 32, digest.view());
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size =
      ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), zstd_level);
  if (!ZSTD_isError(size) && size < plain.size()) {
    out[0] = kZstd;
    out.append(packed, 0, size);
  } else {
    out[0] = kRaw;
    out.append(plain);
  }
  return out;
}

Result<std::string> unpack_frame(std::string_view frame, std::size_t expected) {
  if (frame.size() < kFrameHeadBytes) return broken("short", "it has no whole head");
  std::uint32_t length = 0;
  for (int i = 0; i < 4; ++i)
    length |= static_cast<std::uint32_t>(static_cast<unsigned char>(frame[static_cast<std::size_t>(1 + i)]))
              << (8 * i);
  if (length != expected)
    return broken("length", fmt::format("it says {} bytes where {} belong", length, expected));
  const std::string_view payload = frame.substr(kFrameHeadBytes);
  std::string plain;
  if (frame[0] == kRaw) {
    if (payload.size() != expected) return broken("length", "its payload is of another length");
    plain = payload;
  } else if (frame[0] == kZstd) {
    // The output buffer is the limit: a bomb ends in an error at `expected` bytes.
    plain.resize(expected);
    const std::size_t size = ZSTD_decompress(plain.data(), plain.size(), payload.data(), payload.size());
    if (ZSTD_isError(size) || size != expected)
      return broken("zstd", "its payload does not unpack to the length it says");
  } else {
    return broken("codec", "its codec is unknown");
  }
  if (crypto::sha256(plain).view() != frame.substr(5, 32))
    return broken("hash", "its bytes do not hash to what it says");
  return plain;
}

std::string stream_context(std::string_view digest, std::uint64_t bytes) {
  return fmt::format("neap-transfer-v1|{}|{}", digest, bytes);
}

}  // namespace neap::transfer::internal
