// Digest: a SHA-256 value as a type, and the encodings that carry one.
//
// Thread safety: values; Sha256 is used by one thread at a time. Sources: FIPS 180-4, RFC 2104,
// RFC 4648 (strict: no line breaks, no missing or surplus padding, unused bits zero).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "neap/base/result.h"

namespace neap::crypto {

using Sha256Bytes = std::array<std::uint8_t, 32>;

// Textual form "sha256:<64 lower-case hex digits>", as OCI writes it. A default one is all zero.
class Digest {
 public:
  Digest() = default;
  explicit Digest(const Sha256Bytes& bytes) : bytes_(bytes) {}
  // kInvalidArgument "crypto.digest.syntax" for another algorithm, upper case or a wrong length.
  static Result<Digest> parse(std::string_view text);
  std::string to_string() const;
  // The 64 hex digits alone: file names.
  std::string hex() const;
  const Sha256Bytes& bytes() const { return bytes_; }
  // The 32 raw bytes; lives as long as the Digest.
  std::string_view view() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  friend auto operator<=>(const Digest&, const Digest&) = default;

 private:
  Sha256Bytes bytes_{};
};

Digest sha256(std::string_view data);

// SHA-256 of data that arrives in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::string_view data);
  // The digest of all updates; the object then starts over.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Sha256Bytes hmac_sha256(std::string_view key, std::string_view message);

std::string to_hex(std::string_view bytes);
std::string to_hex(std::span<const std::uint8_t> bytes);
// Either case; kInvalidArgument "crypto.hex.syntax".
Result<std::string> from_hex(std::string_view text);

std::string to_base64(std::string_view bytes);
Result<std::string> from_base64(std::string_view text);
// The URL alphabet without padding (RFC 4648 section 5), as JOSE wants it.
std::string to_base64url(std::string_view bytes);
Result<std::string> from_base64url(std::string_view text);

// Takes the same time wherever the first difference is. Unequal lengths return at once.
bool constant_time_equal(std::string_view a, std::string_view b);

// Bytes from OpenSSL's generator, for keys and nonces only: what a simulation must repeat draws from
// io::Random instead.
std::string random_bytes(std::size_t count);

}  // namespace neap::crypto

template <>
struct std::hash<neap::crypto::Digest> {
  std::size_t operator()(const neap::crypto::Digest& digest) const noexcept {
    std::size_t out = 0;
    for (std::size_t i = 0; i < sizeof(out); ++i) out = out << 8 | digest.bytes()[i];
    return out;
  }
};
