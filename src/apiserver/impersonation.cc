#include "internal/impersonation.h"

#include <algorithm>

#include "internal/service_account.h"
#include "neap/auth/rbac.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kUser = "Impersonate-User";
constexpr std::string_view kGroup = "Impersonate-Group";
constexpr std::string_view kPrefix = "Impersonate-";

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

Outcome<void> check(const auth::Identity& who, const auth::Authorizer& authorizer, std::string resource,
                    std::string ns, std::string name) {
  auth::Attributes what;
  what.is_resource = true;
  what.verb = "impersonate";
  what.version = "v1";
  what.resource = std::move(resource);
  what.namespace_ = std::move(ns);
  what.name = std::move(name);
  const auto decision = authorizer.authorize(who, what);
  if (!decision.allowed) return forbidden(who, what, decision.reason);
  return {};
}

}  // namespace

Outcome<std::optional<auth::Identity>> impersonated(const io::HttpRequest& request, const auth::Identity& who,
                                                    const auth::Authorizer& authorizer) {
  std::string user;
  std::vector<std::string> groups;
  bool asked = false;
  for (const auto& [name, value] : request.headers.all()) {
    if (!equal_ignoring_case(std::string_view(name).substr(0, kPrefix.size()), kPrefix)) continue;
    asked = true;
    if (equal_ignoring_case(name, kUser)) {
      user = value;
    } else if (equal_ignoring_case(name, kGroup)) {
      groups.push_back(value);
    } else {
      return bad_request("auth.impersonate.header",
                         "only Impersonate-User and Impersonate-Group are taken here; leave the other out");
    }
  }
  if (!asked) return std::optional<auth::Identity>();
  if (user.empty())
    return bad_request("auth.impersonate.user",
                       "impersonation needs Impersonate-User beside the other headers");
  if (user == auth::kControllersUser || user == auth::kUpkeepUser) {
    auth::Attributes what;
    what.is_resource = true;
    what.verb = "impersonate";
    what.version = "v1";
    what.resource = "users";
    what.name = user;
    return forbidden(who, what, "what the server's own loops decide is theirs alone");
  }
  for (const auto& group : groups)
    if (group != auth::kAuthenticatedGroup) NEAP_TRY_VOID(check(who, authorizer, "groups", "", group));
  if (const auto account = account_of(user)) {
    NEAP_TRY_VOID(
        check(who, authorizer, "serviceaccounts", std::string(account->ns), std::string(account->name)));
    if (groups.empty()) groups = groups_of_account(account->ns);
  } else {
    NEAP_TRY_VOID(check(who, authorizer, "users", "", user));
  }
  // A node's name and group together make its agent, with that agent's limits.
  return std::optional(auth::identity_of_certificate(user, groups));
}

}  // namespace neap::apiserver
