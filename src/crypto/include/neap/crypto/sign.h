// Key pairs and signatures: Ed25519 (RFC 8032) and ECDSA P-256 with SHA-256 (FIPS 186-5); RSA
// (RFC 8017, PKCS #1 v1.5 with SHA-256) for verification only, since token issuers use it.
//
// Thread safety: keys are immutable and shared by copy; all functions may be called from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "neap/base/result.h"

struct evp_pkey_st;

namespace neap::crypto {

enum class KeyKind { kEd25519, kEcdsaP256, kRsa };
std::string_view key_kind_name(KeyKind kind);

// How an ECDSA signature is written: ASN.1 (X.509, signed notes) or r || s (JOSE). Others ignore it.
enum class SignatureForm { kAsn1, kRaw };

class PublicKey {
 public:
  // "-----BEGIN PUBLIC KEY-----". kInvalidArgument "crypto.key.syntax", kUnimplemented "crypto.key.kind".
  static Result<PublicKey> from_pem(std::string_view pem);
  // SubjectPublicKeyInfo in DER.
  static Result<PublicKey> from_der(std::string_view der);
  // Components of a JWK, decoded: big-endian modulus and exponent; 32-byte coordinates; 32-byte key.
  static Result<PublicKey> from_rsa(std::string_view modulus, std::string_view exponent);
  static Result<PublicKey> from_p256(std::string_view x, std::string_view y);
  static Result<PublicKey> from_ed25519(std::string_view raw);

  KeyKind kind() const;
  std::string to_pem() const;
  std::string to_der() const;
  // The 32 bytes of an Ed25519 key; empty for other kinds.
  std::string raw() const;
  // Hex SHA-256 of the DER SubjectPublicKeyInfo: the key's name everywhere in Neap.
  std::string key_id() const;
  // kUnauthenticated "crypto.signature.bad" when the signature is not this key's over `message`.
  Status verify(std::string_view message, std::string_view signature,
                SignatureForm form = SignatureForm::kAsn1) const;

 private:
  friend class PrivateKey;
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  static Result<PublicKey> checked(std::shared_ptr<evp_pkey_st> key);
  std::shared_ptr<evp_pkey_st> key_;
};

class PrivateKey {
 public:
  // kEd25519 or kEcdsaP256.
  static Result<PrivateKey> generate(KeyKind kind);
  // PKCS #8 "-----BEGIN PRIVATE KEY-----", unencrypted.
  static Result<PrivateKey> from_pem(std::string_view pem);
  // The 32-byte seed of an Ed25519 key (RFC 8032 section 5.1.5).
  static Result<PrivateKey> from_ed25519_seed(std::string_view seed);

  KeyKind kind() const;
  // Holds the secret: write it with mode 0600 only.
  std::string to_pem() const;
  PublicKey public_key() const;
  std::string key_id() const { return public_key().key_id(); }
  std::string sign(std::string_view message, SignatureForm form = SignatureForm::kAsn1) const;

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

}  // namespace neap::crypto
