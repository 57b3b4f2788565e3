// ID tokens of an OpenID Connect provider (OpenID Connect Core 1.0, section 3.1.3.7; RFC 7515, 7517, 7519) to
// identities, read the way a Kubernetes API server reads them.
//
// 1. Only RS256 and ES256 are taken, and a key signs only with the algorithm of its own kind: "none" and a
//    public key used as an HMAC secret are no cases of their own, they are simply not in the list.
// 2. Nothing a provider says makes a user or a group whose name begins with "system:".
// Pure; values are shared freely.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "neap/auth/auth.h"
#include "neap/base/time.h"
#include "neap/crypto/sign.h"

namespace neap::auth {

struct OidcOptions {
  std::string issuer_url;  // `iss` must equal it to the letter
  std::string client_id;   // must be among `aud`
  std::string username_claim = "sub";
  // Unset: "ISSUER#", and nothing where the claim is `email`. "-": nothing.
  std::optional<std::string> username_prefix = {};
  std::string groups_claim = {};  // empty: the provider's groups are not read
  std::string groups_prefix = {};
  std::vector<std::pair<std::string, std::string>> required_claims = {};  // name and value
  // Names that begin so are other providers': such a user is refused, such a group left out.
  std::vector<std::string> foreign_user_prefixes = {}, foreign_group_prefixes = {};
  Duration skew = std::chrono::minutes(1);  // for `exp`, `nbf` and `iat` of a clock that differs
};
// kInvalidArgument "auth.oidc.issuer" (https, or http on a loopback address; no query, no fragment),
// "auth.oidc.client_id", "auth.oidc.claim".
Status check_options(const OidcOptions& options);

// A JWK Set (RFC 7517): the RSA and P-256 keys in it that are for signatures; others are passed over.
class JsonWebKeySet {
 public:
  // kInvalidArgument "auth.oidc.keys": no "keys" array, or none in it that can be used.
  static Result<JsonWebKeySet> parse(const Json& document);
  struct Key {
    std::string id;         // `kid`; may be empty
    std::string algorithm;  // "RS256" or "ES256"
    crypto::PublicKey key;
  };
  const std::vector<Key>& keys() const { return keys_; }
  bool has(std::string_view key_id) const;

 private:
  std::vector<Key> keys_;
};

// What a token says of itself before anything is verified: only good to choose who judges it.
struct TokenHead {
  std::string issuer, key_id, algorithm;
};
Result<TokenHead> read_token_head(std::string_view token);

// kUnauthenticated: auth.jwt.syntax, .algorithm, .key (no key of that name: newer ones may be had),
// .signature, .issuer, .audience, .expired, .not_yet_valid, .claim. A `nonce` that is not empty must be the
// token's.
Result<Identity> verify_id_token(const OidcOptions& options, const JsonWebKeySet& keys,
                                 std::string_view token, WallTime now, std::string_view nonce = {});

}  // namespace neap::auth
