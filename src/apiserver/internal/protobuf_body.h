// Bodies in Kubernetes' protobuf envelope, decoded to the JSON the rest of the server speaks.
//
// kubectl from 1.32 on sends the writes of its typed clients that way and does not fall back. A table of
// field numbers (k8s.io/api, generated.proto) covers the kinds it creates; answers are always JSON.
#pragma once

#include <string_view>

#include "neap/base/json.h"
#include "neap/base/result.h"

namespace neap::apiserver {

bool is_protobuf_content(std::string_view content_type);
// kInvalidArgument for a body that is not the envelope or breaks its rules, kUnimplemented for a kind that
// is not in the table.
Result<Json> decode_protobuf_body(std::string_view body);

}  // namespace neap::apiserver
