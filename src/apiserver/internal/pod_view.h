// Allocations as v1 Pods: what kubectl, logs and dashboards expect of running work.
#pragma once

#include "neap/api/kind.h"
#include "neap/base/json.h"

namespace neap::apiserver {

// The one container of such a Pod.
inline constexpr std::string_view kMainContainer = "main";

// The kind whose objects `kind` shows; `kind` itself when it is stored.
const api::KindEntry& stored_kind(const api::KindTable& kinds, const api::KindEntry& kind);
// `stored` as an object of `kind`; unchanged when the kind is stored.
Json shown_as(const api::KindEntry& kind, Json stored);

}  // namespace neap::apiserver
