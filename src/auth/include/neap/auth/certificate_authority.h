// CertificateAuthority: what an installation signs with: node, server and user certificates.
//
// Immutable; thread-safe. A request's own wishes (subject, names) never count: the caller decides.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/base/time.h"
#include "neap/crypto/x509.h"

namespace neap::auth {

struct CertificateLifetimes {
  Duration node = std::chrono::hours(24);
  Duration server = std::chrono::hours(24 * 30);
  Duration user = std::chrono::hours(24 * 7);
  Duration backdate = std::chrono::minutes(5);  // for clocks that lag
};

class CertificateAuthority {
 public:
  static Result<CertificateAuthority> create(std::string_view name, WallTime now, Duration lifetime);
  // kInvalidArgument when the two do not belong together or the certificate is no authority.
  static Result<CertificateAuthority> load(std::string_view certificate_pem,
                                           std::string_view private_key_pem);

  const std::string& certificate_pem() const { return authority_.certificate_pem; }
  const std::string& private_key_pem() const { return authority_.private_key_pem; }  // mode 0600
  // Hex SHA-256 of the DER certificate: what join tokens pin.
  const std::string& sha256() const { return sha256_; }

  // CN system:node:NODE, O system:nodes, client and server use, the node's name and `addresses` as SANs.
  // kPermissionDenied "auth.csr.subject" when the request names another subject.
  Result<std::string> issue_node(std::string_view request_pem, std::string_view node,
                                 const std::vector<std::string>& addresses, WallTime now,
                                 const CertificateLifetimes& lifetimes = {}) const;
  Result<std::string> issue_server(std::string_view request_pem, const std::vector<std::string>& dns_names,
                                   const std::vector<std::string>& ip_addresses, WallTime now,
                                   const CertificateLifetimes& lifetimes = {}) const;
  Result<std::string> issue_user(std::string_view request_pem, std::string_view user,
                                 const std::vector<std::string>& groups, WallTime now,
                                 const CertificateLifetimes& lifetimes = {}) const;

 private:
  CertificateAuthority() = default;
  Result<std::string> issue(std::string_view request_pem, crypto::IssueOptions options, WallTime now,
                            Duration lifetime, Duration backdate) const;
  crypto::Authority authority_;
  std::string sha256_;
};

// "system:node:NAME" for a request made by an agent.
crypto::Subject node_subject(std::string_view node);
// True for a name that may become a node: RFC 1123 label characters and dots, 1..63 bytes.
bool is_node_name(std::string_view name);

}  // namespace neap::auth
