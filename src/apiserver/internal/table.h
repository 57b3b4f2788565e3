// Objects as kubectl prints them (meta.k8s.io/v1 Table), and the Scale view of one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/api/kind.h"
#include "neap/base/id.h"
#include "neap/base/json.h"
#include "neap/base/time.h"

namespace neap::apiserver {

// `include`: what stands beside each row: None, Metadata or Object.
Json table_of(const api::KindEntry& kind, std::vector<Json> objects, Revision revision,
              std::string_view continue_token, std::string_view include, WallTime now);
Json table_of_bookmark(const Json& bookmark);
// meta.k8s.io/v1 PartialObjectMetadata.
Json partial_of(const Json& object);
// autoscaling/v1 Scale.
Json scale_of(const api::KindEntry& kind, const Json& object);

}  // namespace neap::apiserver
