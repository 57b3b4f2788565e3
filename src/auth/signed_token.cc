#include <fmt/format.h>

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
WallTime from_unix_seconds(std::int64_t seconds) {
  // Seconds beyond the range of the clock are as good as its ends.
  const std::int64_t limit = 9'000'000'000;
  return WallTime(std::chrono::seconds(std::clamp(seconds, -limit, limit)));
}
std::unexpected<Error> refuse(std::string_view word, std::string message) {
  return fail(Code::kUnauthenticated, fmt::format("auth.jwt.{}", word), std::move(message));
}

}  // namespace

std::string sign_token(const crypto::PrivateKey& key, std::string_view issuer, const TokenClaims& claims) {
  NEAP_ASSERT(key.kind() == crypto::KeyKind::kEd25519);
  const Json header = JsonObject{{"alg", "EdDSA"}, {"typ", "JWT"}, {"kid", key.key_id()}};
  JsonArray groups;
  for (const auto& group : claims.groups) groups.emplace_back(group);
  const Json body = JsonObject{{"iss", issuer},
                               {"sub", claims.subject},
                               {"aud", claims.audience},
                               {"iat", unix_seconds(claims.issued_at)},
                               {"exp", unix_seconds(claims.expires_at)},
                               {"groups", std::move(groups)},
                               {"uid", claims.uid}};
  auto text = crypto::to_base64url(to_text(header)) + '.' + crypto::to_base64url(to_text(body));
  text += '.' + crypto::to_base64url(key.sign(text));
  return text;
}

Result<Identity> verify_token(const crypto::PublicKey& key, std::string_view issuer,
                              std::string_view audience, std::string_view token, WallTime now) {
  const auto first = token.find('.');
  const auto second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (token.size() > kTokenBytesMax || second == std::string_view::npos ||
      token.find('.', second + 1) != std::string_view::npos)
    return refuse("syntax", "the token is not three base64url parts; ask for a new one");
  const auto header_bytes = crypto::from_base64url(token.substr(0, first));
  const auto body_bytes = crypto::from_base64url(token.substr(first + 1, second - first - 1));
  const auto signature = crypto::from_base64url(token.substr(second + 1));
  if (!header_bytes || !body_bytes || !signature)
    return refuse("syntax", "a part of the token is not base64url; ask for a new one");
  const auto header = parse_json(*header_bytes, {.bytes_max = kTokenBytesMax, .depth_max = 8});
  const auto body = parse_json(*body_bytes, {.bytes_max = kTokenBytesMax, .depth_max = 8});
  if (!header || !body || !body->is_object())
    return refuse("syntax", "a part of the token is not JSON; ask for a new one");
  // The algorithm is ours to choose, never the token's.
  if (get_string(*header, "alg") != "EdDSA")
    return refuse("algorithm", "the token is not signed with EdDSA, which is the only algorithm taken here");
  if (!key.verify(token.substr(0, second), *signature))
    return refuse("signature",
                  "the token's signature is not from this installation's key; ask for a new one");
  if (get_string(*body, "iss") != issuer)
    return refuse("issuer", fmt::format("the token comes from another issuer than \"{}\"", issuer));
  const auto* aud = find_path(*body, {"aud"});
  bool is_for_us = get_string(*body, "aud") == audience;
  if (aud && aud->is_array())
    for (const auto& one : aud->get_array())
      if (one.is_string() && std::string_view(one.get_string()) == audience) is_for_us = true;
  if (!is_for_us) return refuse("audience", fmt::format("the token is not meant for \"{}\"", audience));
  if (now >= from_unix_seconds(get_int(*body, "exp")))
    return refuse("expired", "the token has expired; ask for a new one");
  if (now + kSkew < from_unix_seconds(get_int(*body, "iat")))
    return refuse("not_yet_valid",
                  "the token was issued in the future: a clock is wrong, here or at the issuer");
  Identity out{
      .user = std::string(get_string(*body, "sub")), .groups = {}, .node = {}, .authenticated = true};
  out.uid = get_string(*body, "uid");
  if (out.user.empty()) return refuse("syntax", "the token names no subject");
  if (const auto* groups = find_path(*body, {"groups"}); groups && groups->is_array())
    for (const auto& group : groups->get_array())
      if (group.is_string()) out.groups.emplace_back(std::string_view(group.get_string()));
  if (!is_member(out, kAuthenticatedGroup)) out.groups.emplace_back(kAuthenticatedGroup);
  return out;
}

}  // namespace neap::auth
