// Which class a model chose: the index of the largest value in each row of its first output. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "neap/inference/api/engine.h"

namespace neap::gateway {

// One index a row; rank 2 and above: rows along the first dimension; below: one row. nullopt for types
// without an order and for empty rows.
std::optional<std::vector<std::int64_t>> argmax_rows(const inference::Tensor& tensor);
// A whole number for every row, or a list with one a row; empty when the parameter is neither.
std::vector<std::int64_t> labels_of(const Json& parameter, std::size_t rows);

}  // namespace neap::gateway
