// Signing in through the server's identity provider, and the tokens that are kept of it.
//
// The kept file (mode 0600, beside the kubeconfig) holds the ID token, the refresh token and where to renew
// them. kubectl gets the token through `neap credential` (client.authentication.k8s.io), neap reads the file.
// RFC 6749, RFC 7636 (PKCE), RFC 8252 (loopback), RFC 8628 (device), OpenID Connect Core 1.0.
#pragma once

#include <string>
#include <string_view>

#include "neap/base/context.h"
#include "neap/base/json.h"
#include "neap/base/task.h"
#include "neap/io/runtime.h"

namespace neap::cli {

struct KeptLogin {
  std::string issuer, client_id, roots_pem, token_endpoint;
  std::string id_token, refresh_token;  // the second may be empty: then the first is all there is
  WallTime expires_at{};                // of the ID token

  static Result<KeptLogin> load(io::FileSystem& files, const std::string& path);
  Status save(io::FileSystem& files, const std::string& path) const;
};

// A token that is good for a minute at least, renewed and kept anew where it was not.
// kUnauthenticated "login.ended": sign in again.
Task<Result<KeptLogin>> fresh_login(io::Runtime& runtime, CallContext ctx, std::string path);

// The claims of a token that came straight from its issuer; nothing is verified.
Result<Json> claims_of(std::string_view token);

}  // namespace neap::cli
