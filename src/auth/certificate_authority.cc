#include "neap/auth/certificate_authority.h"

#include <fmt/format.h>

#include "neap/auth/auth.h"

namespace neap::auth {

crypto::Subject node_subject(std::string_view node) {
  return {std::string(kNodeUserPrefix) + std::string(node), {std::string(kNodesGroup)}};
}

bool is_node_name(std::string_view name) {
  // 51 leaves room for the prefix within the 64 bytes X.520 allows a common name.
  if (name.empty() || name.size() > 51 || name.front() == '-' || name.front() == '.' || name.back() == '-' ||
      name.back() == '.' || name.find("..") != std::string_view::npos)
    return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string_view::npos;
}

Result<CertificateAuthority> CertificateAuthority::create(std::string_view name, WallTime now,
                                                          Duration lifetime) {
  NEAP_TRY(const auto made, crypto::make_ca(name, {now - std::chrono::minutes(5), now + lifetime}));
  return load(made.certificate_pem, made.private_key_pem);
}

Result<CertificateAuthority> CertificateAuthority::load(std::string_view certificate_pem,
                                                        std::string_view private_key_pem) {
  NEAP_TRY(const auto certificate, crypto::parse_certificate(certificate_pem));
  NEAP_TRY(const auto key, crypto::PrivateKey::from_pem(private_key_pem));
  if (!certificate.is_ca)
    return fail(
        Code::kInvalidArgument, "auth.ca.not_authority",
        "the certificate may not sign others (CA:TRUE is missing); give the authority's own certificate");
  if (certificate.public_key_pem != key.public_key().to_pem())
    return fail(
        Code::kInvalidArgument, "auth.ca.mismatch",
        "the authority's certificate and private key do not belong together; restore both from one backup");
  CertificateAuthority out;
  out.authority_ = {std::string(certificate_pem), std::string(private_key_pem)};
  out.sha256_ = certificate.sha256;
  return out;
}

Result<std::string> CertificateAuthority::issue(std::string_view request_pem, crypto::IssueOptions options,
                                                WallTime now, Duration lifetime, Duration backdate) const {
  NEAP_TRY(const auto request, crypto::parse_csr(request_pem));
  // An empty subject asks for nothing; another one would surprise whoever sent it.
  if (!request.subject.common_name.empty() && request.subject.common_name != options.subject.common_name)
    return fail(Code::kPermissionDenied, "auth.csr.subject",
                fmt::format("the certificate request names \"{}\", but \"{}\" is what may be issued here",
                            request.subject.common_name, options.subject.common_name));
  options.public_key_pem = request.public_key_pem;
  options.validity = {now - backdate, now + lifetime};
  return crypto::issue_certificate(authority_, options);
}

Result<std::string> CertificateAuthority::issue_node(std::string_view request_pem, std::string_view node,
                                                     const std::vector<std::string>& addresses, WallTime now,
                                                     const CertificateLifetimes& lifetimes) const {
  if (!is_node_name(node))
    return fail(
        Code::kInvalidArgument, "auth.node.name",
        fmt::format(
            "\"{}\" cannot be a node's name: 1 to 51 of a-z, 0-9, '-' and '.', starting and ending with "
            "a letter or digit",
            node.substr(0, 64)));
  crypto::IssueOptions options;
  options.subject = node_subject(node);
  options.dns_names = {std::string(node)};
  options.ip_addresses = addresses;
  options.for_client = options.for_server = true;
  return issue(request_pem, std::move(options), now, lifetimes.node, lifetimes.backdate);
}

Result<std::string> CertificateAuthority::issue_server(std::string_view request_pem,
                                                       const std::vector<std::string>& dns_names,
                                                       const std::vector<std::string>& ip_addresses,
                                                       WallTime now,
                                                       const CertificateLifetimes& lifetimes) const {
  crypto::IssueOptions options;
  options.subject = {"neap-server", {}};
  options.dns_names = dns_names;
  options.ip_addresses = ip_addresses;
  options.for_server = true;
  return issue(request_pem, std::move(options), now, lifetimes.server, lifetimes.backdate);
}

Result<std::string> CertificateAuthority::issue_user(std::string_view request_pem, std::string_view user,
                                                     const std::vector<std::string>& groups, WallTime now,
                                                     const CertificateLifetimes& lifetimes) const {
  if (user.starts_with(kNodeUserPrefix))
    return fail(Code::kPermissionDenied, "auth.csr.subject",
                "a user certificate cannot carry a node's name; nodes get theirs by joining");
  crypto::IssueOptions options;
  options.subject = {std::string(user), groups};
  options.for_client = true;
  return issue(request_pem, std::move(options), now, lifetimes.user, lifetimes.backdate);
}

}  // namespace neap::auth
