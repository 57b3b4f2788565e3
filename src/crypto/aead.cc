#include "neap/crypto/aead.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>

#include "internal/openssl.h"
#include "neap/base/assert.h"
#include "neap/crypto/digest.h"

namespace neap::crypto {
namespace {

using internal::uchars;

// index (8 bytes, big-endian) at 3, last flag at 11: unique per chunk under the stream's own key.
Nonce96 chunk_nonce(std::uint64_t index, bool last) {
  Nonce96 out{};
  for (int i = 0; i < 8; ++i) out[std::size_t(3 + i)] = std::uint8_t(index >> (56 - 8 * i));
  out[11] = last ? 1 : 0;
  return out;
}

Key256 derive_chunk_key(const Key256& key, std::string_view stream_id, std::string_view context) {
  std::string info = "neap chunk stream v1\n";
  info += context;
  auto bytes = hkdf_sha256({reinterpret_cast<const char*>(key.data()), key.size()}, stream_id, info, 32);
  auto out = key_from_bytes(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return *out;
}

}  // namespace

Key256 random_key() {
  Key256 out;
  NEAP_ASSERT(RAND_bytes(out.data(), int(out.size())) == 1);
  return out;
}
Nonce96 random_nonce() {
  Nonce96 out;
  NEAP_ASSERT(RAND_bytes(out.data(), int(out.size())) == 1);
  return out;
}
Result<Key256> key_from_bytes(std::string_view bytes) {
  Key256 out;
  if (bytes.size() != out.size())
    return fail(
        Code::kInvalidArgument, "crypto.key.length",
        fmt::format("an AES-256 key has 32 bytes, not {}; check where the key comes from", bytes.size()));
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

std::string aead_seal(const Key256& key, const Nonce96& nonce, std::string_view aad, std::string_view plain) {
  NEAP_ASSERT(plain.size() < (1u << 30) && aad.size() < (1u << 30));
  internal::CipherContext cipher(EVP_CIPHER_CTX_new());
  std::string out(plain.size() + kAeadTagBytes, '\0');
  int n = 0;
  NEAP_ASSERT(EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()) == 1);
  if (!aad.empty())
    NEAP_ASSERT(EVP_EncryptUpdate(cipher.get(), nullptr, &n, uchars(aad), int(aad.size())) == 1);
  if (!plain.empty())
    NEAP_ASSERT(EVP_EncryptUpdate(cipher.get(), uchars(out), &n, uchars(plain), int(plain.size())) == 1);
  NEAP_ASSERT(EVP_EncryptFinal_ex(cipher.get(), uchars(out) + plain.size(), &n) == 1);
  NEAP_ASSERT(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, int(kAeadTagBytes),
                                  uchars(out) + plain.size()) == 1);
  return out;
}

Result<std::string> aead_open(const Key256& key, const Nonce96& nonce, std::string_view aad,
                              std::string_view sealed) {
  const auto bad = [] {
    return fail(Code::kUnauthenticated, "crypto.aead.open",
                "the data does not decrypt: it was changed, cut, or sealed with another key; fetch it again");
  };
  if (sealed.size() < kAeadTagBytes || sealed.size() > (1u << 30) || aad.size() > (1u << 30)) return bad();
  const std::size_t size = sealed.size() - kAeadTagBytes;
  internal::CipherContext cipher(EVP_CIPHER_CTX_new());
  std::string out(size, '\0');
  std::string tag(sealed.substr(size));
  int n = 0;
  NEAP_ASSERT(EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()) == 1);
  if (!aad.empty())
    NEAP_ASSERT(EVP_DecryptUpdate(cipher.get(), nullptr, &n, uchars(aad), int(aad.size())) == 1);
  if (size > 0) NEAP_ASSERT(EVP_DecryptUpdate(cipher.get(), uchars(out), &n, uchars(sealed), int(size)) == 1);
  NEAP_ASSERT(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, int(kAeadTagBytes), uchars(tag)) == 1);
  unsigned char rest[kAeadTagBytes];
  if (EVP_DecryptFinal_ex(cipher.get(), rest, &n) != 1) {
    OPENSSL_cleanse(out.data(), out.size());
    return bad();
  }
  return out;
}

std::string hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info,
                        std::size_t length) {
  NEAP_ASSERT(length <= 255 * 32);
  const std::string zero_salt(32, '\0');
  const auto pseudo = hmac_sha256(salt.empty() ? std::string_view(zero_salt) : salt, secret);
  const std::string_view prk(reinterpret_cast<const char*>(pseudo.data()), pseudo.size());
  std::string out, block;
  for (std::uint8_t counter = 1; out.size() < length; ++counter) {
    std::string input = block;
    input += info;
    input += char(counter);
    const auto mac = hmac_sha256(prk, input);
    block.assign(reinterpret_cast<const char*>(mac.data()), mac.size());
    out += block;
  }
  out.resize(length);
  return out;
}

ChunkSealer::ChunkSealer(const Key256& key, std::string_view stream_id, std::string_view context,
                         std::uint64_t first_index)
    : chunk_key_(derive_chunk_key(key, stream_id, context)), next_index_(first_index) {}
ChunkSealer::~ChunkSealer() { OPENSSL_cleanse(chunk_key_.data(), chunk_key_.size()); }
Result<std::string> ChunkSealer::seal(std::string_view plain, bool last) {
  if (ended_)
    return fail(Code::kFailedPrecondition, "crypto.stream.ended",
                "the stream's last chunk is already sealed; start a new stream");
  auto out = aead_seal(chunk_key_, chunk_nonce(next_index_, last), {}, plain);
  ++next_index_;
  ended_ = last;
  return out;
}

ChunkOpener::ChunkOpener(const Key256& key, std::string_view stream_id, std::string_view context,
                         std::uint64_t first_index)
    : chunk_key_(derive_chunk_key(key, stream_id, context)), next_index_(first_index) {}
ChunkOpener::~ChunkOpener() { OPENSSL_cleanse(chunk_key_.data(), chunk_key_.size()); }
Result<std::string> ChunkOpener::open(std::string_view sealed, bool last) {
  if (ended_)
    return fail(Code::kFailedPrecondition, "crypto.stream.trailing",
                "there is data after the stream's last chunk; drop the stream and fetch it again");
  auto out = aead_open(chunk_key_, chunk_nonce(next_index_, last), {}, sealed);
  if (!out)
    return fail(Code::kUnauthenticated, "crypto.stream.chunk",
                fmt::format("chunk {} of the stream does not verify: changed, out of order, or of another "
                            "stream; resume from this chunk",
                            next_index_));
  ++next_index_;
  ended_ = last;
  return out;
}
Status ChunkOpener::finish() const {
  if (ended_) return ok();
  return fail(
      Code::kDataLoss, "crypto.stream.truncated",
      fmt::format("the stream ended before its last chunk, after {}; resume from there", next_index_));
}

}  // namespace neap::crypto
