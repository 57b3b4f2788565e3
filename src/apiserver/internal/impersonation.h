// Acting as somebody else (`kubectl --as`), for who has the verb `impersonate` on users, groups or
// serviceaccounts.
#pragma once

#include <optional>

#include "internal/request.h"
#include "neap/io/http.h"

namespace neap::apiserver {

// Nothing when the request asks for none; a Failure when `who` may not, or the headers are incomplete.
Outcome<std::optional<auth::Identity>> impersonated(const io::HttpRequest& request, const auth::Identity& who,
                                                    const auth::Authorizer& authorizer);

}  // namespace neap::apiserver
