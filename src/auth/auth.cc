#include "neap/auth/auth.h"

#include <algorithm>

namespace neap::auth {

bool is_member(const Identity& who, std::string_view group) {
  return std::ranges::find(who.groups, group) != who.groups.end();
}

Identity identity_of_certificate(std::string_view common_name,
                                 const std::vector<std::string>& organizations) {
  Identity out{.user = std::string(common_name), .groups = organizations, .node = {}, .authenticated = true};
  if (common_name.starts_with(kNodeUserPrefix) && is_member(out, kNodesGroup))
    out.node = std::string(common_name.substr(kNodeUserPrefix.size()));
  if (!is_member(out, kAuthenticatedGroup)) out.groups.emplace_back(kAuthenticatedGroup);
  return out;
}

Identity anonymous() {
  return {.user = "system:anonymous",
          .groups = {std::string(kUnauthenticatedGroup)},
          .node = {},
          .authenticated = false};
}

}  // namespace neap::auth
