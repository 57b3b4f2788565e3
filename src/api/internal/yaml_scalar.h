// What a plain YAML scalar means; the emitter asks the same question to know what it must quote.
#pragma once

#include <string_view>

#include "neap/base/json.h"
#include "neap/base/result.h"

namespace neap::api::internal {

Result<Json> resolve_yaml_scalar(std::string_view text);

}  // namespace neap::api::internal
