// Owning handles for OpenSSL objects and its error queue as text.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

namespace neap::crypto::internal {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Deleter<Free>>;

using Bio = Owned<BIO, BIO_free_all>;
using Pkey = Owned<EVP_PKEY, EVP_PKEY_free>;
using PkeyContext = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using MdContext = Owned<EVP_MD_CTX, EVP_MD_CTX_free>;
using CipherContext = Owned<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using Bignum = Owned<BIGNUM, BN_free>;
using X509Ptr = Owned<X509, X509_free>;
using X509RequestPtr = Owned<X509_REQ, X509_REQ_free>;

// Empties the queue; the newest reason, or "unknown".
inline std::string take_error() {
  std::string out = "unknown";
  while (const unsigned long code = ERR_get_error()) {
    char text[256];
    ERR_error_string_n(code, text, sizeof text);
    out = text;
  }
  return out;
}
inline Bio read_bio(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), int(text.size()))); }
inline Bio write_bio() { return Bio(BIO_new(BIO_s_mem())); }
inline std::string bio_text(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return size > 0 ? std::string(data, std::size_t(size)) : std::string();
}
inline const unsigned char* uchars(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}
inline unsigned char* uchars(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

}  // namespace neap::crypto::internal
