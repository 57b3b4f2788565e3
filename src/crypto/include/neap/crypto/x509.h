// X.509 certificates for Neap's own authority: nodes, servers and users of one installation
// (RFC 5280). All texts are PEM. Time is passed in; nothing here reads a clock.
//
// Thread safety: free functions from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/base/time.h"
#include "neap/crypto/sign.h"

namespace neap::crypto {

struct Validity {
  WallTime not_before;
  WallTime not_after;
};

struct Subject {
  std::string common_name;                 // "system:node:hq-1"; at most 64 bytes (X.520)
  std::vector<std::string> organizations;  // groups, in Kubernetes' sense
};

struct Authority {
  std::string certificate_pem;
  std::string private_key_pem;
};

struct KeyAndRequest {
  std::string private_key_pem;
  std::string request_pem;
};

// Self-signed, CA:TRUE with path length 0.
Result<Authority> make_ca(std::string_view common_name, const Validity& validity,
                          KeyKind kind = KeyKind::kEcdsaP256);
Result<KeyAndRequest> make_key_and_csr(const Subject& subject, KeyKind kind = KeyKind::kEcdsaP256);
// A request for a key that exists: a renewal keeps it.
Result<std::string> make_csr(const Subject& subject, const PrivateKey& key);

struct CertificateRequest {
  Subject subject;
  std::string public_key_pem;
};
// Checks that the request is signed by the key it names. kInvalidArgument "crypto.csr.syntax",
// kUnauthenticated "crypto.csr.signature".
Result<CertificateRequest> parse_csr(std::string_view request_pem);

struct IssueOptions {
  // Decided by the issuer: what a request asks for counts only where the caller copies it.
  Subject subject;
  std::string public_key_pem;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  Validity validity;
  bool for_server = false;
  bool for_client = false;
};
// kInvalidArgument names the field that is wrong; the validity is cut to the authority's own.
Result<std::string> issue_certificate(const Authority& authority, const IssueOptions& options);

struct Certificate {
  Subject subject;
  std::string issuer_common_name;
  std::string serial;  // hex
  std::string sha256;  // hex of the DER
  std::string public_key_pem;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  Validity validity;
  bool is_ca = false;
};
// The first certificate of the text. kInvalidArgument "crypto.certificate.syntax".
Result<Certificate> parse_certificate(std::string_view pem);
// Chain to one of `roots_pem`, valid at `now`. kUnauthenticated "crypto.certificate.untrusted" with OpenSSL's
// reason.
Status verify_certificate(std::string_view certificate_pem, std::string_view roots_pem, WallTime now);

}  // namespace neap::crypto
