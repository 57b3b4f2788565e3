#include "neap/crypto/digest.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "internal/openssl.h"
#include "neap/base/assert.h"

namespace neap::crypto {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kPrefix = "sha256:";
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string encode64(std::string_view bytes, std::string_view alphabet, bool pad) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < n ? std::uint8_t(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j) {
      if (j <= n)
        out += alphabet[group >> (18 - 6 * j) & 63];
      else if (pad)
        out += '=';
    }
  }
  return out;
}

std::array<std::int8_t, 256> make_inverse(std::string_view alphabet) {
  std::array<std::int8_t, 256> out;
  out.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) out[std::uint8_t(alphabet[i])] = std::int8_t(i);
  return out;
}

std::unexpected<Error> bad_base64(const char* what) {
  return fail(Code::kInvalidArgument, "crypto.base64.syntax",
              fmt::format("the text is not valid base64: {}; encode it again", what));
}

Result<std::string> decode64(std::string_view text, const std::array<std::int8_t, 256>& inverse,
                             bool padded) {
  if (padded) {
    if (text.size() % 4 != 0) return bad_base64("its length is not a multiple of four");
    for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return bad_base64("its length cannot occur");
  std::string out;
  out.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : text) {
    const int v = inverse[std::uint8_t(c)];
    if (v < 0) return bad_base64("it has a character outside the alphabet");
    group = (group << 6 | std::uint32_t(v)) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += char(group >> bits & 0xff);
    }
  }
  if (bits > 0 && (group & ((1u << bits) - 1)) != 0) return bad_base64("its unused bits are not zero");
  return out;
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  const auto bad = [&] {
    return fail(Code::kInvalidArgument, "crypto.digest.syntax",
                fmt::format("\"{}\" is not a digest: write sha256: and 64 lower-case hex digits",
                            text.substr(0, 80)));
  };
  if (!text.starts_with(kPrefix) || text.size() != kPrefix.size() + 64) return bad();
  Digest out;
  for (std::size_t i = 0; i < 32; ++i) {
    const char a = text[kPrefix.size() + 2 * i], b = text[kPrefix.size() + 2 * i + 1];
    if (hex_value(a) < 0 || hex_value(b) < 0 || (a >= 'A' && a <= 'F') || (b >= 'A' && b <= 'F'))
      return bad();
    out.bytes_[i] = std::uint8_t(hex_value(a) << 4 | hex_value(b));
  }
  return out;
}
std::string Digest::to_string() const { return std::string(kPrefix) + hex(); }
std::string Digest::hex() const { return to_hex(view()); }

Digest sha256(std::string_view data) {
  Sha256Bytes out;
  NEAP_ASSERT(EVP_Digest(data.data(), data.size(), out.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return Digest(out);
}

struct Sha256::State {
  internal::MdContext md{EVP_MD_CTX_new()};
};
Sha256::Sha256() : state_(std::make_unique<State>()) {
  NEAP_ASSERT(EVP_DigestInit_ex(state_->md.get(), EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
void Sha256::update(std::string_view data) {
  NEAP_ASSERT(EVP_DigestUpdate(state_->md.get(), data.data(), data.size()) == 1);
}
Digest Sha256::finish() {
  Sha256Bytes out;
  NEAP_ASSERT(EVP_DigestFinal_ex(state_->md.get(), out.data(), nullptr) == 1);
  NEAP_ASSERT(EVP_DigestInit_ex(state_->md.get(), EVP_sha256(), nullptr) == 1);
  return Digest(out);
}

Sha256Bytes hmac_sha256(std::string_view key, std::string_view message) {
  Sha256Bytes out;
  unsigned size = 0;
  // An empty key is legal, a null one means "the previous key" to OpenSSL.
  const char* bytes = key.empty() ? "" : key.data();
  NEAP_ASSERT(HMAC(EVP_sha256(), bytes, int(key.size()), internal::uchars(message), message.size(),
                   out.data(), &size));
  return out;
}

std::string to_hex(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out += kHexDigits[std::uint8_t(c) >> 4];
    out += kHexDigits[std::uint8_t(c) & 15];
  }
  return out;
}
std::string to_hex(std::span<const std::uint8_t> bytes) {
  return to_hex(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}
Result<std::string> from_hex(std::string_view text) {
  std::string out;
  if (text.size() % 2 == 0) {
    out.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
      const int a = hex_value(text[i]), b = hex_value(text[i + 1]);
      if (a < 0 || b < 0) break;
      out += char(a << 4 | b);
    }
    if (out.size() * 2 == text.size()) return out;
  }
  return fail(Code::kInvalidArgument, "crypto.hex.syntax",
              "the text is not hexadecimal: write two digits 0-9 a-f for each byte");
}

std::string to_base64(std::string_view bytes) { return encode64(bytes, kBase64, true); }
Result<std::string> from_base64(std::string_view text) {
  static const auto inverse = make_inverse(kBase64);
  return decode64(text, inverse, true);
}
std::string to_base64url(std::string_view bytes) { return encode64(bytes, kBase64Url, false); }
Result<std::string> from_base64url(std::string_view text) {
  static const auto inverse = make_inverse(kBase64Url);
  return decode64(text, inverse, false);
}

bool constant_time_equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string random_bytes(std::size_t count) {
  std::string out(count, '\0');
  NEAP_ASSERT(RAND_bytes(internal::uchars(out), int(count)) == 1);
  return out;
}

}  // namespace neap::crypto
