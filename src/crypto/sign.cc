#include "neap/crypto/sign.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "internal/openssl.h"
#include "neap/base/assert.h"
#include "neap/crypto/digest.h"

namespace neap::crypto {
namespace {

using internal::uchars;
using SharedKey = std::shared_ptr<evp_pkey_st>;

constexpr std::size_t kPemBytesMax = 64u << 10;
constexpr int kRsaBitsMin = 2048, kRsaBitsMax = 16384;

SharedKey share(EVP_PKEY* key) { return SharedKey(key, EVP_PKEY_free); }

std::unexpected<Error> bad_key(std::string_view what) {
  return fail(Code::kInvalidArgument, "crypto.key.syntax",
              fmt::format("{} is not a key this program can read: {}", what, internal::take_error()));
}

Result<KeyKind> kind_of(EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519) return KeyKind::kEd25519;
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
    char group[64] = {};
    std::size_t size = 0;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1 &&
        (std::string_view(group, size) == "prime256v1" || std::string_view(group, size) == "P-256"))
      return KeyKind::kEcdsaP256;
  }
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
    const int bits = EVP_PKEY_get_bits(key);
    if (bits >= kRsaBitsMin && bits <= kRsaBitsMax) return KeyKind::kRsa;
  }
  return fail(Code::kUnimplemented, "crypto.key.kind",
              "the key is none of Ed25519, ECDSA P-256, RSA of 2048 to 16384 bits; use one of these");
}

const EVP_MD* digest_of(KeyKind kind) { return kind == KeyKind::kEd25519 ? nullptr : EVP_sha256(); }

// Builds a public key of OpenSSL type `type` from parameters.
SharedKey from_parameters(const char* type, OSSL_PARAM_BLD* builder) {
  internal::Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(builder));
  internal::PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
    return nullptr;
  return share(key);
}
using ParamBuilder = internal::Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>;
using EcdsaSignature = internal::Owned<ECDSA_SIG, ECDSA_SIG_free>;

std::string raw_of_asn1(const std::string& asn1) {
  const unsigned char* at = uchars(std::string_view(asn1));
  EcdsaSignature signature(d2i_ECDSA_SIG(nullptr, &at, long(asn1.size())));
  NEAP_ASSERT(signature);
  std::string out(64, '\0');
  NEAP_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), uchars(out), 32) == 32);
  NEAP_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), uchars(out) + 32, 32) == 32);
  return out;
}
// Empty when `raw` is not 64 bytes.
std::string asn1_of_raw(std::string_view raw) {
  if (raw.size() != 64) return {};
  EcdsaSignature signature(ECDSA_SIG_new());
  NEAP_ASSERT(ECDSA_SIG_set0(signature.get(), BN_bin2bn(uchars(raw), 32, nullptr),
                             BN_bin2bn(uchars(raw) + 32, 32, nullptr)) == 1);
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  NEAP_ASSERT(size > 0);
  std::string out(reinterpret_cast<char*>(der), std::size_t(size));
  OPENSSL_free(der);
  return out;
}

// Refuses to ask anybody for the passphrase of an encrypted key.
int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace

std::string_view key_kind_name(KeyKind kind) {
  switch (kind) {
    case KeyKind::kEd25519:
      return "ed25519";
    case KeyKind::kEcdsaP256:
      return "ecdsa-p256";
    case KeyKind::kRsa:
      return "rsa";
  }
  return "unknown";
}

Result<PublicKey> PublicKey::checked(SharedKey key) {
  NEAP_TRY([[maybe_unused]] auto kind, kind_of(key.get()));
  return PublicKey(std::move(key));
}
Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  if (pem.size() > kPemBytesMax) return bad_key("the text");
  auto bio = internal::read_bio(pem);
  auto key = share(PEM_read_bio_PUBKEY(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return bad_key("the PEM text");
  return checked(std::move(key));
}
Result<PublicKey> PublicKey::from_der(std::string_view der) {
  if (der.size() > kPemBytesMax) return bad_key("the DER text");
  const unsigned char* at = uchars(der);
  auto key = share(d2i_PUBKEY(nullptr, &at, long(der.size())));
  if (!key || at != uchars(der) + der.size()) return bad_key("the DER text");
  return checked(std::move(key));
}
Result<PublicKey> PublicKey::from_rsa(std::string_view modulus, std::string_view exponent) {
  if (modulus.size() > kRsaBitsMax / 8 + 1 || exponent.size() > 8) return bad_key("the RSA modulus");
  internal::Bignum n(BN_bin2bn(uchars(modulus), int(modulus.size()), nullptr));
  internal::Bignum e(BN_bin2bn(uchars(exponent), int(exponent.size()), nullptr));
  ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  auto key = from_parameters("RSA", builder.get());
  if (!key) return bad_key("the pair of modulus and exponent");
  return checked(std::move(key));
}
Result<PublicKey> PublicKey::from_p256(std::string_view x, std::string_view y) {
  if (x.size() != 32 || y.size() != 32) return bad_key("a point whose coordinates are not 32 bytes");
  std::string point = "\x04";
  point += x;
  point += y;
  ParamBuilder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  auto key = from_parameters("EC", builder.get());
  if (!key) return bad_key("the point");
  return checked(std::move(key));
}
Result<PublicKey> PublicKey::from_ed25519(std::string_view raw) {
  auto key = share(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, uchars(raw), raw.size()));
  if (!key) return bad_key("the Ed25519 value");
  return PublicKey(std::move(key));
}

KeyKind PublicKey::kind() const { return *kind_of(key_.get()); }
std::string PublicKey::to_pem() const {
  auto bio = internal::write_bio();
  NEAP_ASSERT(PEM_write_bio_PUBKEY(bio.get(), key_.get()) == 1);
  return internal::bio_text(bio);
}
std::string PublicKey::to_der() const {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  NEAP_ASSERT(size > 0);
  std::string out(reinterpret_cast<char*>(der), std::size_t(size));
  OPENSSL_free(der);
  return out;
}
std::string PublicKey::raw() const {
  if (kind() != KeyKind::kEd25519) return {};
  std::string out(32, '\0');
  std::size_t size = out.size();
  NEAP_ASSERT(EVP_PKEY_get_raw_public_key(key_.get(), uchars(out), &size) == 1);
  return out;
}
std::string PublicKey::key_id() const { return sha256(to_der()).hex(); }

Status PublicKey::verify(std::string_view message, std::string_view signature, SignatureForm form) const {
  const KeyKind own = kind();
  std::string asn1;
  if (own == KeyKind::kEcdsaP256 && form == SignatureForm::kRaw) {
    asn1 = asn1_of_raw(signature);
    signature = asn1;
  }
  internal::MdContext md(EVP_MD_CTX_new());
  NEAP_ASSERT(EVP_DigestVerifyInit(md.get(), nullptr, digest_of(own), nullptr, key_.get()) == 1);
  if (!signature.empty() &&
      EVP_DigestVerify(md.get(), uchars(signature), signature.size(), uchars(message), message.size()) == 1)
    return ok();
  ERR_clear_error();
  return fail(
      Code::kUnauthenticated, "crypto.signature.bad",
      "the signature does not belong to this key and message: one of the three was changed or mixed up");
}

Result<PrivateKey> PrivateKey::generate(KeyKind kind) {
  EVP_PKEY* key = nullptr;
  if (kind == KeyKind::kEd25519) key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  if (kind == KeyKind::kEcdsaP256) key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  if (!key)
    return fail(
        Code::kUnimplemented, "crypto.key.kind",
        fmt::format("this program makes no {} keys; ask for ed25519 or ecdsa-p256", key_kind_name(kind)));
  return PrivateKey(share(key));
}
Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  if (pem.size() > kPemBytesMax) return bad_key("the text");
  auto bio = internal::read_bio(pem);
  auto key = share(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return bad_key("the PEM text");
  NEAP_TRY([[maybe_unused]] auto kind, kind_of(key.get()));
  return PrivateKey(std::move(key));
}
Result<PrivateKey> PrivateKey::from_ed25519_seed(std::string_view seed) {
  auto key = share(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, uchars(seed), seed.size()));
  if (!key) return bad_key("the Ed25519 seed");
  return PrivateKey(std::move(key));
}
KeyKind PrivateKey::kind() const { return *kind_of(key_.get()); }
std::string PrivateKey::to_pem() const {
  auto bio = internal::write_bio();
  NEAP_ASSERT(PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
              1);
  return internal::bio_text(bio);
}
PublicKey PrivateKey::public_key() const {
  // The copy through DER drops the secret part, so that a public key never carries it.
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  NEAP_ASSERT(size > 0);
  const unsigned char* at = der;
  auto key = share(d2i_PUBKEY(nullptr, &at, size));
  OPENSSL_free(der);
  NEAP_ASSERT(key);
  return PublicKey(std::move(key));
}
std::string PrivateKey::sign(std::string_view message, SignatureForm form) const {
  const KeyKind own = kind();
  internal::MdContext md(EVP_MD_CTX_new());
  NEAP_ASSERT(EVP_DigestSignInit(md.get(), nullptr, digest_of(own), nullptr, key_.get()) == 1);
  std::size_t size = 0;
  NEAP_ASSERT(EVP_DigestSign(md.get(), nullptr, &size, uchars(message), message.size()) == 1);
  std::string out(size, '\0');
  NEAP_ASSERT(EVP_DigestSign(md.get(), uchars(out), &size, uchars(message), message.size()) == 1);
  out.resize(size);
  return own == KeyKind::kEcdsaP256 && form == SignatureForm::kRaw ? raw_of_asn1(out) : out;
}

}  // namespace neap::crypto
