// reply_json: a whole exchange whose request and reply are JSON values.
#pragma once

#include "neap/base/json.h"
#include "neap/io/http.h"

namespace neap::io {

// Reads the body (an empty one is {}), lets `act` answer it, and replies: 200 with its value, or
// json_error(). A body that is too large or no JSON is answered without `act`.
Task<void> reply_json(HttpExchange& exchange, std::function<Task<Result<Json>>(Json)> act,
                      std::uint64_t body_bytes_max = 1u << 20);

}  // namespace neap::io
