#include "tests/test_certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdint>

namespace neap::io {
namespace {

std::string drain(BIO* bio) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<std::size_t>(n));
  BIO_free(bio);
  return out;
}
X509* read_certificate(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* out = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return out;
}
EVP_PKEY* read_key(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* out = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return out;
}
void add_extension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}
void add_name(X509_NAME* name, const char* field, const std::string& value) {
  X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                             static_cast<int>(value.size()), -1, 0);
}

TestIdentity make(const TestIdentity* authority, const std::string& common_name,
                  const std::string& organization, const std::string& alternative) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  std::uint32_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial));
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  if (!organization.empty()) add_name(name, "O", organization);
  add_name(name, "CN", common_name);
  EVP_PKEY* signer = key;
  if (authority) {
    X509* issuer = read_certificate(authority->certificate_pem);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    X509_free(issuer);
    signer = read_key(authority->private_key_pem);
    if (!alternative.empty()) add_extension(certificate, NID_subject_alt_name, alternative);
  } else {
    X509_set_issuer_name(certificate, name);
    add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(certificate, NID_key_usage, "critical,keyCertSign");
  }
  X509_sign(certificate, signer, EVP_sha256());
  TestIdentity out;
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  out.certificate_pem = drain(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  out.private_key_pem = drain(bio);
  if (signer != key) EVP_PKEY_free(signer);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return out;
}

}  // namespace

TestIdentity make_test_authority(const std::string& name) { return make(nullptr, name, {}, {}); }
TestIdentity make_test_leaf(const TestIdentity& authority, const std::string& common_name,
                            const std::string& organization, const std::string& alternative) {
  return make(&authority, common_name, organization, alternative);
}

std::string test_sha256(const std::string& certificate_pem) {
  X509* certificate = read_certificate(certificate_pem);
  std::array<unsigned char, 32> digest{};
  unsigned n = 0;
  X509_digest(certificate, EVP_sha256(), digest.data(), &n);
  X509_free(certificate);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const auto b : digest) out += kDigits[b >> 4], out += kDigits[b & 15];
  return out;
}

}  // namespace neap::io
