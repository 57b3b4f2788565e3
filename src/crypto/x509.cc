#include "neap/crypto/x509.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "internal/openssl.h"
#include "neap/base/assert.h"
#include "neap/crypto/digest.h"

namespace neap::crypto {
namespace {

using internal::Owned;
using internal::Pkey;
using internal::uchars;
using internal::X509Ptr;
using GeneralNames = Owned<GENERAL_NAMES, GENERAL_NAMES_free>;
using Extension = Owned<X509_EXTENSION, X509_EXTENSION_free>;

constexpr std::size_t kPemBytesMax = 1u << 20;
constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kOrganizationsMax = 64;
constexpr std::size_t kAlternativeNamesMax = 256;

std::unexpected<Error> invalid(std::string reason, std::string message) {
  return fail(Code::kInvalidArgument, std::move(reason), std::move(message));
}
std::unexpected<Error> openssl_failed(std::string_view what) {
  return fail(Code::kInternal, "crypto.x509.internal",
              fmt::format("{} failed: {}", what, internal::take_error()));
}

Result<Pkey> load_private(std::string_view pem) {
  NEAP_TRY(auto checked, PrivateKey::from_pem(pem));
  auto bio = internal::read_bio(pem);
  return Pkey(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
}
Result<Pkey> load_public(std::string_view pem) {
  NEAP_TRY(auto checked, PublicKey::from_pem(pem));
  auto bio = internal::read_bio(pem);
  return Pkey(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
}
Result<X509Ptr> load_certificate(std::string_view pem) {
  if (pem.size() <= kPemBytesMax) {
    auto bio = internal::read_bio(pem);
    if (X509Ptr out(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)); out) return out;
  }
  return invalid("crypto.certificate.syntax",
                 fmt::format("the text holds no readable PEM certificate: {}", internal::take_error()));
}

Status check_name(std::string_view field, std::string_view text) {
  if (text.empty() || text.size() > kNameBytesMax)
    return invalid("crypto.subject.length", fmt::format("the {} must have 1 to {} bytes, not {}; shorten it",
                                                        field, kNameBytesMax, text.size()));
  if (std::any_of(text.begin(), text.end(), [](char c) { return std::uint8_t(c) < 0x20 || c == 0x7f; }))
    return invalid("crypto.subject.character",
                   fmt::format("the {} has a control character; leave it out", field));
  return ok();
}

Status set_name(X509_NAME* name, const Subject& subject) {
  if (subject.organizations.size() > kOrganizationsMax)
    return invalid("crypto.subject.length", "the subject has more than 64 organizations; name fewer");
  const auto add = [&](const char* key, std::string_view text) -> Status {
    NEAP_TRY_VOID(check_name(key, text));
    if (X509_NAME_add_entry_by_txt(name, key, MBSTRING_UTF8, uchars(text), int(text.size()), -1, 0) != 1)
      return invalid("crypto.subject.character",
                     fmt::format("the {} is not valid UTF-8: {}", key, internal::take_error()));
    return ok();
  };
  for (const auto& organization : subject.organizations) NEAP_TRY_VOID(add("O", organization));
  return add("CN", subject.common_name);
}

std::string text_of(const ASN1_STRING* text) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, text);
  if (size < 0) return {};
  std::string out(reinterpret_cast<char*>(utf8), std::size_t(size));
  OPENSSL_free(utf8);
  return out;
}
std::vector<std::string> entries_of(const X509_NAME* name, int nid) {
  std::vector<std::string> out;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, nid, at)) >= 0;)
    out.push_back(text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))));
  return out;
}
Subject subject_of(const X509_NAME* name) {
  Subject out;
  // The last CN is the most specific one, and what verifiers read.
  if (auto names = entries_of(name, NID_commonName); !names.empty()) out.common_name = names.back();
  out.organizations = entries_of(name, NID_organizationName);
  return out;
}

std::int64_t unix_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}
WallTime wall_of(const ASN1_TIME* time) {
  int days = 0, seconds = 0;
  Owned<ASN1_TIME, ASN1_TIME_free> epoch(ASN1_TIME_set(nullptr, 0));
  if (ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return WallTime{};
  // Years beyond what nanoseconds hold read as the last moment they do.
  const std::int64_t total =
      std::clamp<std::int64_t>(std::int64_t(days) * 86400 + seconds, -9'000'000'000, 9'000'000'000);
  return WallTime(std::chrono::seconds(total));
}

Status set_validity(X509* certificate, const Validity& validity) {
  if (validity.not_after <= validity.not_before)
    return invalid("crypto.validity", "the certificate would end before it begins; correct the validity");
  if (!ASN1_TIME_set(X509_getm_notBefore(certificate), unix_seconds(validity.not_before)) ||
      !ASN1_TIME_set(X509_getm_notAfter(certificate), unix_seconds(validity.not_after)))
    return openssl_failed("setting the validity");
  return ok();
}

void set_random_serial(X509* certificate) {
  std::string bytes = random_bytes(16);
  bytes[0] = char((bytes[0] & 0x3f) | 0x40);  // positive, and always 16 bytes long (RFC 5280 section 4.1.2.2)
  internal::Bignum number(BN_bin2bn(uchars(std::string_view(bytes)), 16, nullptr));
  NEAP_ASSERT(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)));
}

// `value` must be a constant: OpenSSL's little language would read commas out of names.
Status add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
    return openssl_failed("adding an extension");
  return ok();
}

bool is_dns_name(std::string_view name) {
  if (name.starts_with("*.")) name.remove_prefix(2);
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
}

Status add_alternative_names(X509* certificate, const IssueOptions& options) {
  if (options.dns_names.empty() && options.ip_addresses.empty()) return ok();
  if (options.dns_names.size() + options.ip_addresses.size() > kAlternativeNamesMax)
    return invalid("crypto.san.count",
                   "the certificate would have more than 256 alternative names; name fewer");
  GeneralNames names(sk_GENERAL_NAME_new_null());
  for (const auto& dns : options.dns_names) {
    if (!is_dns_name(dns))
      return invalid("crypto.san.dns", fmt::format("\"{}\" is not a DNS name; correct it", dns));
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), int(dns.size()));
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  for (const auto& ip : options.ip_addresses) {
    ASN1_OCTET_STRING* bytes = a2i_IPADDRESS(ip.c_str());
    if (!bytes || ip.find('\0') != std::string::npos) {
      ASN1_OCTET_STRING_free(bytes);
      return invalid("crypto.san.ip", fmt::format("\"{}\" is not an IP address; correct it", ip));
    }
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_IPADD, bytes);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) != 1)
    return openssl_failed("adding the alternative names");
  return ok();
}

Status sign_certificate(X509* certificate, EVP_PKEY* key) {
  const EVP_MD* md = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  if (X509_sign(certificate, key, md) == 0) return openssl_failed("signing the certificate");
  return ok();
}
std::string certificate_pem(X509* certificate) {
  auto bio = internal::write_bio();
  NEAP_ASSERT(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return internal::bio_text(bio);
}

void read_alternative_names(X509* certificate, Certificate& out) {
  GeneralNames names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) out.dns_names.push_back(text_of(name->d.dNSName));
    if (name->type != GEN_IPADD) continue;
    const unsigned char* b = ASN1_STRING_get0_data(name->d.iPAddress);
    const int size = ASN1_STRING_length(name->d.iPAddress);
    std::string text;
    if (size == 4) text = fmt::format("{}.{}.{}.{}", b[0], b[1], b[2], b[3]);
    for (int j = 0; size == 16 && j < 16; j += 2)
      text += fmt::format("{}{:x}", j ? ":" : "", unsigned(b[j]) << 8 | b[j + 1]);
    if (!text.empty()) out.ip_addresses.push_back(std::move(text));
  }
}

}  // namespace

Result<Authority> make_ca(std::string_view common_name, const Validity& validity, KeyKind kind) {
  NEAP_TRY(auto key, PrivateKey::generate(kind));
  Authority out{.certificate_pem = {}, .private_key_pem = key.to_pem()};
  NEAP_TRY(auto pkey, load_private(out.private_key_pem));
  X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  set_random_serial(certificate.get());
  NEAP_TRY_VOID(set_name(X509_get_subject_name(certificate.get()), Subject{std::string(common_name), {}}));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  NEAP_TRY_VOID(set_validity(certificate.get(), validity));
  X509_set_pubkey(certificate.get(), pkey.get());
  NEAP_TRY_VOID(add_extension(certificate.get(), certificate.get(), NID_basic_constraints,
                              "critical,CA:TRUE,pathlen:0"));
  NEAP_TRY_VOID(add_extension(certificate.get(), certificate.get(), NID_key_usage,
                              "critical,keyCertSign,cRLSign,digitalSignature"));
  NEAP_TRY_VOID(add_extension(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash"));
  NEAP_TRY_VOID(sign_certificate(certificate.get(), pkey.get()));
  out.certificate_pem = certificate_pem(certificate.get());
  return out;
}

Result<KeyAndRequest> make_key_and_csr(const Subject& subject, KeyKind kind) {
  NEAP_TRY(auto key, PrivateKey::generate(kind));
  NEAP_TRY(auto request, make_csr(subject, key));
  return KeyAndRequest{.private_key_pem = key.to_pem(), .request_pem = std::move(request)};
}

Result<std::string> make_csr(const Subject& subject, const PrivateKey& key) {
  NEAP_TRY(auto pkey, load_private(key.to_pem()));
  internal::X509RequestPtr request(X509_REQ_new());
  X509_REQ_set_version(request.get(), 0);
  NEAP_TRY_VOID(set_name(X509_REQ_get_subject_name(request.get()), subject));
  X509_REQ_set_pubkey(request.get(), pkey.get());
  if (X509_REQ_sign(request.get(), pkey.get(), key.kind() == KeyKind::kEd25519 ? nullptr : EVP_sha256()) == 0)
    return openssl_failed("signing the request");
  auto bio = internal::write_bio();
  NEAP_ASSERT(PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1);
  return internal::bio_text(bio);
}

Result<CertificateRequest> parse_csr(std::string_view request_pem) {
  internal::X509RequestPtr request;
  if (request_pem.size() <= kPemBytesMax) {
    auto bio = internal::read_bio(request_pem);
    request.reset(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  }
  if (!request)
    return invalid("crypto.csr.syntax",
                   fmt::format("the text holds no readable certificate request: {}", internal::take_error()));
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (!key || X509_REQ_verify(request.get(), key) != 1) {
    ERR_clear_error();
    return fail(Code::kUnauthenticated, "crypto.csr.signature",
                "the request is not signed by the key it names; make it again with that key");
  }
  auto bio = internal::write_bio();
  if (PEM_write_bio_PUBKEY(bio.get(), key) != 1) return openssl_failed("reading the request's key");
  CertificateRequest out{subject_of(X509_REQ_get_subject_name(request.get())), internal::bio_text(bio)};
  NEAP_TRY([[maybe_unused]] auto supported, PublicKey::from_pem(out.public_key_pem));
  return out;
}

Result<std::string> issue_certificate(const Authority& authority, const IssueOptions& options) {
  NEAP_TRY(auto ca, load_certificate(authority.certificate_pem));
  NEAP_TRY(auto ca_key, load_private(authority.private_key_pem));
  NEAP_TRY(auto subject_key, load_public(options.public_key_pem));
  if (X509_check_private_key(ca.get(), ca_key.get()) != 1) {
    ERR_clear_error();
    return invalid("crypto.authority.mismatch", "the authority's key does not belong to its certificate");
  }
  X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  set_random_serial(certificate.get());
  NEAP_TRY_VOID(set_name(X509_get_subject_name(certificate.get()), options.subject));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(ca.get()));
  Validity validity = options.validity;
  validity.not_before = std::max(validity.not_before, wall_of(X509_get0_notBefore(ca.get())));
  validity.not_after = std::min(validity.not_after, wall_of(X509_get0_notAfter(ca.get())));
  NEAP_TRY_VOID(set_validity(certificate.get(), validity));
  X509_set_pubkey(certificate.get(), subject_key.get());
  X509* const issuer = ca.get();
  NEAP_TRY_VOID(add_extension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE"));
  NEAP_TRY_VOID(add_extension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature"));
  if (options.for_server || options.for_client)
    NEAP_TRY_VOID(add_extension(certificate.get(), issuer, NID_ext_key_usage,
                                options.for_server && options.for_client ? "serverAuth,clientAuth"
                                : options.for_server                     ? "serverAuth"
                                                                         : "clientAuth"));
  NEAP_TRY_VOID(add_extension(certificate.get(), issuer, NID_subject_key_identifier, "hash"));
  NEAP_TRY_VOID(add_extension(certificate.get(), issuer, NID_authority_key_identifier, "keyid"));
  NEAP_TRY_VOID(add_alternative_names(certificate.get(), options));
  NEAP_TRY_VOID(sign_certificate(certificate.get(), ca_key.get()));
  return certificate_pem(certificate.get());
}

Result<Certificate> parse_certificate(std::string_view pem) {
  NEAP_TRY(auto certificate, load_certificate(pem));
  Certificate out;
  out.subject = subject_of(X509_get_subject_name(certificate.get()));
  out.issuer_common_name = subject_of(X509_get_issuer_name(certificate.get())).common_name;
  internal::Bignum serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  std::string serial_bytes(serial ? std::size_t(BN_num_bytes(serial.get())) : 0, '\0');
  if (serial) BN_bn2bin(serial.get(), uchars(serial_bytes));
  out.serial = to_hex(serial_bytes);
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate.get(), &der);
  if (size <= 0) return openssl_failed("encoding the certificate");
  out.sha256 = sha256({reinterpret_cast<char*>(der), std::size_t(size)}).hex();
  OPENSSL_free(der);
  out.validity = {wall_of(X509_get0_notBefore(certificate.get())),
                  wall_of(X509_get0_notAfter(certificate.get()))};
  out.is_ca = X509_check_ca(certificate.get()) == 1;
  EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  auto bio = internal::write_bio();
  if (!key || PEM_write_bio_PUBKEY(bio.get(), key) != 1)
    return invalid("crypto.certificate.syntax", "the certificate's public key is not readable");
  out.public_key_pem = internal::bio_text(bio);
  read_alternative_names(certificate.get(), out);
  return out;
}

Status verify_certificate(std::string_view certificate_pem_text, std::string_view roots_pem, WallTime now) {
  NEAP_TRY(auto certificate, load_certificate(certificate_pem_text));
  Owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  if (roots_pem.size() > kPemBytesMax)
    return invalid("crypto.certificate.syntax", "the roots are above 1 MiB");
  auto bio = internal::read_bio(roots_pem);
  for (X509Ptr root; root.reset(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)), root;)
    X509_STORE_add_cert(store.get(), root.get());
  ERR_clear_error();
  X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store.get()), unix_seconds(now));
  Owned<X509_STORE_CTX, X509_STORE_CTX_free> context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store.get(), certificate.get(), nullptr) != 1)
    return openssl_failed("preparing verification");
  if (X509_verify_cert(context.get()) == 1) return ok();
  const char* why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  ERR_clear_error();
  return fail(Code::kUnauthenticated, "crypto.certificate.untrusted",
              fmt::format("the certificate does not verify against the given roots: {}", why));
}

}  // namespace neap::crypto
