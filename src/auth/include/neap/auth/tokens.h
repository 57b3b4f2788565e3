// Tokens: bearer tokens of people and programs, one-time join tokens of nodes, signed tokens.
//
// No table keeps a secret: only its SHA-256, compared in constant time. Tables belong to one executor.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/meta.h"
#include "neap/auth/auth.h"
#include "neap/base/time.h"
#include "neap/crypto/sign.h"

namespace neap::auth {

// "neapt." and 256 random bits in base64url.
std::string make_bearer_token();
// Hex SHA-256: what files and objects hold in place of the token.
std::string token_hash(std::string_view token);

class BearerTokenTable {
 public:
  void add(std::string_view token, Identity identity) { add_hash(token_hash(token), std::move(identity)); }
  void add_hash(std::string hash, Identity identity);
  bool remove_hash(std::string_view hash);
  // One token a line, "HASH,USER,GROUP;GROUP"; '#' starts a comment. kInvalidArgument names the line,
  // and then the table is unchanged.
  Status load(std::string_view text);
  std::string to_file_text() const;
  // kUnauthenticated "auth.token.unknown".
  Result<Identity> find(std::string_view token) const;
  std::size_t size() const { return by_hash_.size(); }

 private:
  std::map<std::string, Identity, std::less<>> by_hash_;
};

// What a join token allows, as the server keeps it.
struct JoinTokenRecord {
  std::string id, secret_hash;
  std::string site;                // the node's site must be this one
  std::string node_pattern = "*";  // '*' matches any run of characters
  api::CapacityType capacity_type = api::CapacityType::kOwned;
  WallTime expires_at{};
  Json to_json() const;
  static Result<JoinTokenRecord> from_json(const Json& value);
};

// The text handed to whoever starts the agent: "neap1.<id>.<secret>.<ca-sha256>". The last part pins the
// authority, so the first connection already verifies whom it talks to.
struct JoinToken {
  std::string id, secret, ca_sha256;
  static Result<JoinToken> parse(std::string_view text);
  std::string to_string() const;
};

struct MintedJoinToken {
  JoinToken token;         // shown once
  JoinTokenRecord record;  // kept
};
MintedJoinToken mint_join_token(std::string site, std::string node_pattern, api::CapacityType capacity_type,
                                WallTime expires_at, std::string ca_sha256);

struct JoinClaim {
  std::string site, node;
  api::CapacityType capacity_type = api::CapacityType::kOwned;
};

// Open join tokens. check() leaves the token usable, so that the caller can first record its use
// durably; redeem() is check() and erase in one.
class JoinTokenTable {
 public:
  void add(JoinTokenRecord record);
  bool erase(std::string_view id);
  // kUnauthenticated "auth.join.unknown" (wrong, used or never made: not told apart),
  // "auth.join.expired"; kPermissionDenied "auth.join.scope" when site, node or capacity differ.
  Result<JoinTokenRecord> check(std::string_view token, const JoinClaim& claim, WallTime now) const;
  Result<JoinTokenRecord> redeem(std::string_view token, const JoinClaim& claim, WallTime now);
  std::size_t erase_expired(WallTime now);
  const std::map<std::string, JoinTokenRecord, std::less<>>& records() const { return by_id_; }

 private:
  std::map<std::string, JoinTokenRecord, std::less<>> by_id_;
};

// Compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037): short-lived tokens of service accounts.
struct TokenClaims {
  std::string subject;  // "system:serviceaccount:NS:NAME"
  std::vector<std::string> groups;
  std::string audience;
  WallTime issued_at{}, expires_at{};
  std::string uid = {};                   // of the ServiceAccount object: a token dies with it
  std::optional<BoundObject> bound = {};  // and with this one
};
// `key` must be Ed25519 (asserted).
std::string sign_token(const crypto::PrivateKey& key, std::string_view issuer, const TokenClaims& claims);
// kUnauthenticated: auth.jwt.syntax, .algorithm (only EdDSA is taken), .signature, .issuer, .audience,
// .expired, .not_yet_valid (a minute of skew is allowed).
Result<Identity> verify_token(const crypto::PublicKey& key, std::string_view issuer,
                              std::string_view audience, std::string_view token, WallTime now);

}  // namespace neap::auth
