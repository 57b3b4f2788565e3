#include <fmt/format.h>

#include "internal/jws.h"
#include "neap/auth/tokens.h"
#include "neap/base/assert.h"
#include "neap/crypto/digest.h"

namespace neap::auth {
namespace {

constexpr auto kSkew = std::chrono::minutes(1);
constexpr std::size_t kTokenBytesMax = 8192;

std::int64_t unix_seconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}
}  // namespace

std::string sign_token(const crypto::PrivateKey& key, std::string_view issuer, const TokenClaims& claims) {
  NEAP_ASSERT(key.kind() == crypto::KeyKind::kEd25519);
  const Json header = JsonObject{{"alg", "EdDSA"}, {"typ", "JWT"}, {"kid", key.key_id()}};
  JsonArray groups;
  for (const auto& group : claims.groups) groups.emplace_back(group);
  JsonObject body{{"iss", issuer},
                  {"sub", claims.subject},
                  {"aud", claims.audience},
                  {"iat", unix_seconds(claims.issued_at)},
                  {"exp", unix_seconds(claims.expires_at)},
                  {"groups", std::move(groups)},
                  {"uid", claims.uid}};
  if (claims.bound)
    body["bound"] =
        JsonObject{{"kind", claims.bound->kind}, {"name", claims.bound->name}, {"uid", claims.bound->uid}};
  auto text = crypto::to_base64url(to_text(header)) + '.' + crypto::to_base64url(to_text(body));
  text += '.' + crypto::to_base64url(key.sign(text));
  return text;
}

Result<Identity> verify_token(const crypto::PublicKey& key, std::string_view issuer,
                              std::string_view audience, std::string_view token, WallTime now) {
  NEAP_TRY(const auto jws, split_jws(token, kTokenBytesMax));
  const auto& body = jws.body;
  // The algorithm is ours to choose, never the token's.
  if (get_string(jws.header, "alg") != "EdDSA")
    return refuse_token("algorithm",
                        "the token is not signed with EdDSA, which is the only algorithm taken here");
  if (!key.verify(jws.covered, jws.signature))
    return refuse_token("signature",
                        "the token's signature is not from this installation's key; ask for a new one");
  if (get_string(body, "iss") != issuer)
    return refuse_token("issuer", fmt::format("the token comes from another issuer than \"{}\"", issuer));
  const auto* aud = find_path(body, {"aud"});
  bool is_for_us = get_string(body, "aud") == audience;
  if (aud && aud->is_array())
    for (const auto& one : aud->get_array())
      if (one.is_string() && std::string_view(one.get_string()) == audience) is_for_us = true;
  if (!is_for_us) return refuse_token("audience", fmt::format("the token is not meant for \"{}\"", audience));
  if (now >= numeric_date(body, "exp", WallTime{}))
    return refuse_token("expired", "the token has expired; ask for a new one");
  if (now + kSkew < numeric_date(body, "iat", WallTime{}))
    return refuse_token("not_yet_valid",
                        "the token was issued in the future: a clock is wrong, here or at the issuer");
  Identity out{.user = std::string(get_string(body, "sub")), .groups = {}, .node = {}, .authenticated = true};
  out.uid = get_string(body, "uid");
  if (out.user.empty()) return refuse_token("syntax", "the token names no subject");
  if (const auto* groups = find_path(body, {"groups"}); groups && groups->is_array())
    for (const auto& group : groups->get_array())
      if (group.is_string()) out.groups.emplace_back(std::string_view(group.get_string()));
  if (!is_member(out, kAuthenticatedGroup)) out.groups.emplace_back(kAuthenticatedGroup);
  if (const auto* bound = find_path(body, {"bound"}))
    out.bound = {std::string(get_string(*bound, "kind")), std::string(get_string(*bound, "name")),
                 std::string(get_string(*bound, "uid"))};
  return out;
}

}  // namespace neap::auth
