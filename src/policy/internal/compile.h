// The passes after parsing and checking.
#pragma once

#include "internal/node.h"

namespace neap::policy {

// Replaces what does not depend on variables by its value: duration('20ms'), [1, 2] + [3].
void fold_constants(ProgramImpl& program);
// Precompiles literal patterns. Reason `cel.syntax`.
Status compile_patterns(ProgramImpl& program);
// Worst case in steps of the evaluator, with lists and maps of unknown length counted as
// `size_assumed` elements and unknown strings as that many characters.
std::uint64_t estimate_cost(const ProgramImpl& program, std::uint64_t size_assumed);

}  // namespace neap::policy
