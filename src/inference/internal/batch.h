// Joining requests along the first dimension and cutting the response apart again. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "neap/inference/api/engine.h"

namespace neap::inference {

// All inputs and outputs have a variable first dimension and elements of a fixed size.
bool can_batch(const ModelMetadata& metadata);
// Common first dimension of the inputs; 0 when they differ or one is empty.
std::uint64_t rows_of(const InferRequest& request);
// Same inputs with the same shapes behind the first dimension. Both have passed check_request.
bool can_join(const InferRequest& a, const InferRequest& b);
// Inputs in the order of the first request; asks for all outputs.
InferRequest join(const std::vector<const InferRequest*>& requests);
// One response a request, with the outputs it asked for. kInternal when an output's first dimension is not
// the sum of the rows: the model does not treat its rows one by one.
Result<std::vector<InferResponse>> split(const InferResponse& joined,
                                         const std::vector<const InferRequest*>& requests);

}  // namespace neap::inference
