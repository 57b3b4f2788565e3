#include "internal/service_account.h"

#include <fmt/format.h>

#include <algorithm>

#include "internal/object_text.h"
#include "neap/auth/tokens.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kAccountPrefix = "system:serviceaccount:";
constexpr std::int64_t kSecondsMin = 600;  // as Kubernetes demands
constexpr std::int64_t kSecondsDefault = 3600;

Outcome<std::string> audience_of(const TokenIssuer& issuer, const Json& spec) {
  const auto* audiences = find_path(spec, {"audiences"});
  if (!audiences || !audiences->is_array() || audiences->get_array().empty()) return issuer.audience;
  const auto& list = audiences->get_array();
  if (list.size() > 1 || !list.front().is_string())
    return bad_request("auth.token.audiences", "spec.audiences: a token has one audience here; ask for one");
  return std::string(std::string_view(list.front().get_string()));
}

}  // namespace

std::optional<AccountName> account_of(std::string_view user) {
  if (!user.starts_with(kAccountPrefix)) return {};
  user.remove_prefix(kAccountPrefix.size());
  const auto colon = user.find(':');
  if (colon == std::string_view::npos) return {};
  return AccountName{user.substr(0, colon), user.substr(colon + 1)};
}

std::vector<std::string> groups_of_account(std::string_view ns) {
  return {"system:serviceaccounts", fmt::format("system:serviceaccounts:{}", ns),
          std::string(auth::kAuthenticatedGroup)};
}

Outcome<Json> issue_token(const TokenIssuer& issuer, const Json& account, const Json& asked, WallTime now) {
  const Json nothing = JsonObject();
  const auto* given = asked.is_object() ? find_path(asked, {"spec"}) : nullptr;
  const auto& spec = given && given->is_object() ? *given : nothing;
  if (const auto* bound = find_path(spec, {"boundObjectRef"}); bound && !bound->is_null())
    return bad_request("auth.token.bound",
                       "spec.boundObjectRef: tokens are bound to their ServiceAccount only; leave it out");
  NEAP_TRY(const auto audience, audience_of(issuer, spec));
  const auto* wanted = find_path(spec, {"expirationSeconds"});
  auto seconds = wanted && wanted->is_int64() ? wanted->get_int64() : kSecondsDefault;
  if (seconds < kSecondsMin)
    return bad_request(
        "auth.token.lifetime",
        fmt::format("spec.expirationSeconds: must be at least {}, is {}", kSecondsMin, seconds));
  seconds = std::min<std::int64_t>(
      seconds, std::chrono::duration_cast<std::chrono::seconds>(issuer.lifetime_max).count());
  const auto ns = meta_string(account, "namespace");
  const auto name = meta_string(account, "name");
  const auto expires = now + std::chrono::seconds(seconds);
  const auto token = auth::sign_token(issuer.key, issuer.issuer,
                                      {.subject = fmt::format("{}{}:{}", kAccountPrefix, ns, name),
                                       .groups = groups_of_account(ns),
                                       .audience = audience,
                                       .issued_at = now,
                                       .expires_at = expires,
                                       .uid = std::string(meta_string(account, "uid"))});
  return Json(JsonObject{
      {"kind", "TokenRequest"},
      {"apiVersion", "authentication.k8s.io/v1"},
      {"metadata", JsonObject{{"name", name}, {"namespace", ns}, {"creationTimestamp", format_rfc3339(now)}}},
      {"spec", JsonObject{{"audiences", JsonArray{boost::json::string(audience)}},
                          {"expirationSeconds", seconds},
                          {"boundObjectRef", nullptr}}},
      {"status", JsonObject{{"token", token}, {"expirationTimestamp", format_rfc3339(expires)}}}});
}

}  // namespace neap::apiserver
