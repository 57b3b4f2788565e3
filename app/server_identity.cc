#include "server_identity.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/crypto/digest.h"
#include "neap/crypto/x509.h"

namespace neap::app {
namespace {

constexpr Duration kAuthorityLifetime = std::chrono::hours(24 * 3650);

Result<auth::CertificateAuthority> load_authority(io::Runtime& runtime, const std::string& directory) {
  auto& files = runtime.files();
  const auto certificate = directory + "/ca.pem", key = directory + "/ca.key";
  if (files.exists(certificate) && files.exists(key)) {
    NEAP_TRY(const auto certificate_pem, files.read_file(certificate));
    NEAP_TRY(const auto key_pem, files.read_file(key));
    return auth::CertificateAuthority::load(certificate_pem, key_pem);
  }
  NEAP_TRY(auto made, auth::CertificateAuthority::create("neap " + runtime.random().hex(4),
                                                         runtime.clock().wall(), kAuthorityLifetime));
  NEAP_TRY_VOID(files.write_file_atomic(key, made.private_key_pem(), 0600));
  NEAP_TRY_VOID(files.write_file_atomic(certificate, made.certificate_pem(), 0644));
  return made;
}

Result<crypto::PrivateKey> load_signing_key(io::Runtime& runtime, const std::string& directory) {
  const auto path = directory + "/signing.key";
  if (runtime.files().exists(path)) {
    NEAP_TRY(const auto pem, runtime.files().read_file(path));
    return crypto::PrivateKey::from_pem(pem);
  }
  NEAP_TRY(auto key, crypto::PrivateKey::generate(crypto::KeyKind::kEd25519));
  NEAP_TRY_VOID(runtime.files().write_file_atomic(path, key.to_pem(), 0600));
  return key;
}

bool covers(const crypto::Certificate& certificate, const std::vector<std::string>& addresses) {
  return std::ranges::all_of(addresses, [&](const auto& a) {
    return std::ranges::find(certificate.dns_names, a) != certificate.dns_names.end() ||
           std::ranges::find(certificate.ip_addresses, a) != certificate.ip_addresses.end();
  });
}

bool is_ip(const std::string& text) {
  return text.find(':') != std::string::npos || text.find_first_not_of("0123456789.") == std::string::npos;
}

}  // namespace

std::string ServerIdentity::installation() const {
  return crypto::sha256(signing_key.public_key().to_pem() + authority.certificate_pem() +
                        crypto::sha256(admin_token).to_string())
      .to_string();
}

Result<ServerIdentity> ServerIdentity::load_or_create(io::Runtime& runtime, const std::string& shared,
                                                      const std::string& own,
                                                      const std::vector<std::string>& addresses) {
  auto& files = runtime.files();
  const auto now = runtime.clock().wall();
  NEAP_TRY_VOID(files.make_directories(own, 0700));
  NEAP_TRY_VOID(files.make_directories(shared, 0700));
  NEAP_TRY(auto authority, load_authority(runtime, shared));
  NEAP_TRY(auto signing_key, load_signing_key(runtime, shared));
  ServerIdentity out{.authority = std::move(authority),
                     .certificate_pem = {},
                     .private_key_pem = {},
                     .signing_key = std::move(signing_key),
                     .admin_token = {}};
  const auto certificate = own + "/server.pem", key = own + "/server.key", token = shared + "/admin.token";
  if (files.exists(key)) {
    NEAP_TRY(out.private_key_pem, files.read_file(key));
  }
  if (files.exists(certificate) && files.exists(key)) {
    NEAP_TRY(out.certificate_pem, files.read_file(certificate));
    const auto parsed = crypto::parse_certificate(out.certificate_pem);
    // A third of its life is left for clients that hold it; then it is renewed at the next start.
    if (!parsed || !covers(*parsed, addresses) ||
        now > parsed->validity.not_after - (parsed->validity.not_after - parsed->validity.not_before) / 3)
      out.certificate_pem.clear();
  }
  if (out.certificate_pem.empty()) {
    // The key stays where there is one: a crash between two files must not leave a pair that does not fit.
    if (out.private_key_pem.empty()) {
      NEAP_TRY(const auto made, crypto::PrivateKey::generate(crypto::KeyKind::kEcdsaP256));
      out.private_key_pem = made.to_pem();
      NEAP_TRY_VOID(files.write_file_atomic(key, out.private_key_pem, 0600));
    }
    NEAP_TRY(const auto server_key, crypto::PrivateKey::from_pem(out.private_key_pem));
    NEAP_TRY(const auto request,
             crypto::make_csr({.common_name = "neap-server", .organizations = {}}, server_key));
    std::vector<std::string> names, ips;
    for (const auto& address : addresses) (is_ip(address) ? ips : names).push_back(address);
    NEAP_TRY(out.certificate_pem, out.authority.issue_server(request, names, ips, now));
    NEAP_TRY_VOID(files.write_file_atomic(certificate, out.certificate_pem, 0644));
  }
  if (files.exists(token)) {
    NEAP_TRY(out.admin_token, files.read_file(token));
  } else {
    out.admin_token = auth::make_bearer_token();
    NEAP_TRY_VOID(files.write_file_atomic(token, out.admin_token, 0600));
  }
  return out;
}

std::string kubeconfig_text(const std::string& server_url, const std::string& ca_pem,
                            const std::string& token) {
  return fmt::format(
      "apiVersion: v1\nkind: Config\ncurrent-context: neap\n"
      "clusters:\n- name: neap\n  cluster:\n    server: {}\n    certificate-authority-data: {}\n"
      "users:\n- name: admin\n  user:\n    token: {}\n"
      "contexts:\n- name: neap\n  context:\n    cluster: neap\n    user: admin\n    namespace: default\n",
      server_url, crypto::to_base64(ca_pem), token);
}

}  // namespace neap::app
