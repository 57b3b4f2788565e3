// ServiceAccounts as identities: tokens issued for them, and whether the account of a token is still there.
#pragma once

#include <optional>
#include <string_view>

#include "internal/rest.h"

namespace neap::apiserver {

// Error reason where the store does not say whether a token is still good.
inline constexpr std::string_view kTokenUnchecked = "auth.token.unchecked";

struct AccountName {
  std::string_view ns, name;
};
// Of "system:serviceaccount:NS:NAME"; nothing for other users.
std::optional<AccountName> account_of(std::string_view user);
std::vector<std::string> groups_of_account(std::string_view ns);

// A TokenRequest (authentication.k8s.io/v1) for the account that lies at `account`, answered with its token.
// `bound`: what else it is for; it was found.
Outcome<Json> issue_token(const TokenIssuer& issuer, const Json& account, const Json& asked,
                          std::optional<auth::BoundObject> bound, WallTime now);

}  // namespace neap::apiserver
