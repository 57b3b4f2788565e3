#include "neap/auth/oidc.h"

#include <fmt/format.h>

#include <algorithm>

#include "internal/jws.h"
#include "neap/crypto/digest.h"

namespace neap::auth {
namespace {

constexpr std::size_t kTokenBytesMax = 32u << 10;  // groups make them long
constexpr std::size_t kKeysMax = 64;
constexpr std::size_t kGroupsMax = 1024;
constexpr std::string_view kReserved = "system:";

std::optional<JsonWebKeySet::Key> read_key(const Json& jwk) {
  if (const auto use = get_string(jwk, "use"); !use.empty() && use != "sig") return std::nullopt;
  const auto type = get_string(jwk, "kty"), algorithm = get_string(jwk, "alg");
  const auto number = [&](std::string_view name) {
    return crypto::from_base64url(get_string(jwk, name)).value_or(std::string());
  };
  const bool is_rsa = type == "RSA", is_p256 = type == "EC" && get_string(jwk, "crv") == "P-256";
  const std::string_view own = is_rsa ? "RS256" : "ES256";
  if ((!is_rsa && !is_p256) || (!algorithm.empty() && algorithm != own)) return std::nullopt;
  auto key = is_rsa ? crypto::PublicKey::from_rsa(number("n"), number("e"))
                    : crypto::PublicKey::from_p256(number("x"), number("y"));
  if (!key) return std::nullopt;
  return JsonWebKeySet::Key{std::string(get_string(jwk, "kid")), std::string(own), *std::move(key)};
}

bool is_for(const Json& body, std::string_view client) {
  const auto* aud = find_path(body, {"aud"});
  if (!aud) return false;
  if (aud->is_string()) return std::string_view(aud->get_string()) == client;
  if (!aud->is_array()) return false;
  const auto& list = aud->get_array();
  const bool named = std::ranges::any_of(list, [client](const Json& one) {
    return one.is_string() && std::string_view(one.get_string()) == client;
  });
  // One of several audiences: the token was made for the authorized party.
  const auto party = get_string(body, "azp");
  return named && (list.size() == 1 || party.empty() || party == client);
}

Status check_signature(const JsonWebKeySet& keys, const Jws& jws) {
  const auto algorithm = get_string(jws.header, "alg"), id = get_string(jws.header, "kid");
  if (algorithm != "RS256" && algorithm != "ES256")
    return refuse_token("algorithm",
                        "the token is signed with neither RS256 nor ES256, which are what is taken of the "
                        "provider; set the client's id_token_signed_response_alg to one of them");
  // A header that a verifier must understand (RFC 7515, section 4.1.11), and this one does not.
  if (find_path(jws.header, {"crit"}))
    return refuse_token("algorithm", "the token demands extensions (crit) that are not known here");
  bool has_key = false;
  for (const auto& key : keys.keys()) {
    if (key.algorithm != algorithm || (!id.empty() && key.id != id)) continue;
    has_key = true;
    if (key.key.verify(jws.covered, jws.signature, crypto::SignatureForm::kRaw)) return ok();
  }
  if (!has_key)
    return refuse_token("key", "the provider has published no key of the name in the token; sign in again");
  return refuse_token("signature", "the token's signature is not the provider's; sign in again");
}

Status check_times(const Json& body, WallTime now, Duration skew) {
  if (!find_path(body, {"exp"})) return refuse_token("claim", "the token has no end (claim exp)");
  if (now >= numeric_date(body, "exp", WallTime{}) + skew)
    return refuse_token("expired", "the token has expired; sign in again (`neap login`)");
  for (const auto* claim : {"nbf", "iat"})
    if (now + skew < numeric_date(body, claim, WallTime{}))
      return refuse_token("not_yet_valid",
                          fmt::format("the token is of a time to come (claim {}): a clock is wrong, here or "
                                      "at the provider",
                                      claim));
  return ok();
}

bool begins_with_any(std::string_view name, const std::vector<std::string>& prefixes) {
  return std::ranges::any_of(prefixes, [&](const auto& prefix) { return name.starts_with(prefix); });
}

Result<std::string> username_of(const OidcOptions& options, const Json& body) {
  const std::string name(get_string(body, options.username_claim));
  if (name.empty())
    return refuse_token("claim", fmt::format("the token has no claim \"{}\", which names the user here",
                                             options.username_claim));
  const bool is_mail = options.username_claim == "email";
  if (const auto* verified = find_path(body, {"email_verified"}); is_mail && verified)
    if (!verified->is_bool() || !verified->get_bool())
      return refuse_token("claim", "the provider has not verified the user's e-mail address");
  auto prefix = options.username_prefix.value_or(is_mail ? "" : options.issuer_url + "#");
  if (prefix == "-") prefix.clear();
  auto out = prefix + name;
  if (out.starts_with(kReserved))
    return refuse_token("claim", fmt::format("a provider's users are never called {}...; set a prefix with "
                                             "--oidc-username-prefix",
                                             kReserved));
  if (begins_with_any(out, options.foreign_user_prefixes))
    return refuse_token("claim",
                        fmt::format("\"{}\" would be a user of another provider, whose prefix it begins "
                                    "with; give each provider a prefix of its own",
                                    out));
  return out;
}

std::vector<std::string> groups_of(const OidcOptions& options, const Json& body) {
  std::vector<std::string> out;
  const auto* claim = options.groups_claim.empty() ? nullptr : find_path(body, {options.groups_claim});
  const auto add = [&](const Json& value) {
    if (!value.is_string() || out.size() >= kGroupsMax) return;
    auto name = options.groups_prefix + std::string(std::string_view(value.get_string()));
    if (!name.empty() && !name.starts_with(kReserved) &&
        !begins_with_any(name, options.foreign_group_prefixes))
      out.push_back(std::move(name));
  };
  if (claim && claim->is_array())
    for (const auto& value : claim->get_array()) add(value);
  else if (claim)
    add(*claim);
  out.emplace_back(kAuthenticatedGroup);
  return out;
}

bool is_loopback_url(std::string_view url) {
  for (const std::string_view host : {"http://127.0.0.1", "http://localhost", "http://[::1]"})
    if (url.starts_with(host) &&
        (url.size() == host.size() || url[host.size()] == ':' || url[host.size()] == '/'))
      return true;
  return false;
}

}  // namespace

Status check_options(const OidcOptions& options) {
  const std::string_view url = options.issuer_url;
  if ((!url.starts_with("https://") && !is_loopback_url(url)) || url.find_first_of("?# \t\r\n") != url.npos ||
      url.size() > 1024)
    return fail(
        Code::kInvalidArgument, "auth.oidc.issuer",
        fmt::format("the issuer \"{}\" must be an https:// address without query and fragment (http:// "
                    "only for this machine itself); write it as the provider's "
                    "/.well-known/openid-configuration does",
                    url.substr(0, 256)));
  if (options.client_id.empty())
    return fail(Code::kInvalidArgument, "auth.oidc.client_id",
                "an issuer needs a client id; give --oidc-client-id as the provider knows this installation");
  if (options.username_claim.empty())
    return fail(Code::kInvalidArgument, "auth.oidc.claim",
                "the claim that names users is empty; leave --oidc-username-claim out for \"sub\"");
  return ok();
}

Result<JsonWebKeySet> JsonWebKeySet::parse(const Json& document) {
  JsonWebKeySet out;
  const auto* list = document.is_object() ? find_path(document, {"keys"}) : nullptr;
  if (list && list->is_array())
    for (const auto& jwk : list->get_array()) {
      if (out.keys_.size() >= kKeysMax || !jwk.is_object()) break;
      if (auto key = read_key(jwk)) out.keys_.push_back(*std::move(key));
    }
  if (out.keys_.empty())
    return fail(Code::kInvalidArgument, "auth.oidc.keys",
                "the provider's key set has no RSA or P-256 key for signatures; look at its jwks_uri");
  return out;
}

bool JsonWebKeySet::has(std::string_view key_id) const {
  return std::ranges::any_of(keys_, [key_id](const Key& key) { return key.id == key_id; });
}

Result<TokenHead> read_token_head(std::string_view token) {
  NEAP_TRY(const auto jws, split_jws(token, kTokenBytesMax));
  return TokenHead{std::string(get_string(jws.body, "iss")), std::string(get_string(jws.header, "kid")),
                   std::string(get_string(jws.header, "alg"))};
}

Result<Identity> verify_id_token(const OidcOptions& options, const JsonWebKeySet& keys,
                                 std::string_view token, WallTime now, std::string_view nonce) {
  NEAP_TRY(const auto jws, split_jws(token, kTokenBytesMax));
  NEAP_TRY_VOID(check_signature(keys, jws));
  const auto& body = jws.body;
  if (get_string(body, "iss") != options.issuer_url)
    return refuse_token("issuer",
                        fmt::format("the token comes from another issuer than {}", options.issuer_url));
  if (!is_for(body, options.client_id))
    return refuse_token("audience",
                        fmt::format("the token is not meant for the client \"{}\"", options.client_id));
  NEAP_TRY_VOID(check_times(body, now, options.skew));
  if (!nonce.empty() && get_string(body, "nonce") != nonce)
    return refuse_token("claim", "the token answers another sign-in than this one; begin again");
  for (const auto& [claim, value] : options.required_claims)
    if (get_string(body, claim) != value)
      return refuse_token("claim",
                          fmt::format("the token's claim \"{}\" is not what this server requires", claim));
  Identity out;
  NEAP_TRY(out.user, username_of(options, body));
  out.groups = groups_of(options, body);
  out.authenticated = true;
  return out;
}

}  // namespace neap::auth
