// What a server is: its authority, its own certificate, its signing key, and the administrator's token.
//
// Made once below STATE/identity (mode 0600) and loaded ever after; everything here survives upgrades.
// Authority, signing key and token are the installation's: servers that share a store hold the same ones, in
// copies or in one directory that all of them see. The certificate of the listener is each server's own.
#pragma once

#include <string>
#include <vector>

#include "neap/auth/certificate_authority.h"
#include "neap/auth/tokens.h"
#include "neap/crypto/sign.h"
#include "neap/io/runtime.h"

namespace neap::app {

struct ServerIdentity {
  auth::CertificateAuthority authority;
  std::string certificate_pem, private_key_pem;  // of the listener
  crypto::PrivateKey signing_key;                // models, ledgers, tokens
  std::string admin_token;

  // What all servers of an installation share, as one word: it changes with any of the keys.
  std::string installation() const;

  // `addresses`: IP addresses and DNS names clients use; a change issues a new server certificate. `shared`:
  // where the installation's keys are; `own`: where this server's are.
  static Result<ServerIdentity> load_or_create(io::Runtime& runtime, const std::string& shared,
                                               const std::string& own,
                                               const std::vector<std::string>& addresses);
};

// A kubeconfig for the administrator: server, embedded roots, token.
std::string kubeconfig_text(const std::string& server_url, const std::string& ca_pem,
                            const std::string& token);

}  // namespace neap::app
