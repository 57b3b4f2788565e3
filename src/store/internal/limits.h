// What every store checks before it takes an operation, and the errors all of them share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/store/store.h"

namespace neap::store::internal {

Status check_ops(const std::vector<Op>& ops);
std::size_t bytes_of(const std::vector<Op>& ops);
// `actual` is the key's mod_revision, 0 when it does not exist.
Status check_expected(const Op& op, Revision actual);
// The smallest string above every string with this prefix; empty = there is none.
std::string prefix_end(std::string_view prefix);

std::unexpected<Error> closed();
std::unexpected<Error> locked(std::string_view directory);
std::unexpected<Error> compacted(Revision asked, Revision compacted);
std::unexpected<Error> future(Revision asked, Revision newest);

}  // namespace neap::store::internal
