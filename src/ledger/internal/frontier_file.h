// Where a ledger stands, as a file beside it: enough to append, to read and to know the root without reading
// what comes before. It says nothing that the entries do not say, too: whoever finds it absent, damaged or at
// odds with them reads them instead.
//
// Text lines: a title, the origin, "size bytes last_at", then in base64 the last entry's leaf, the tree's
// peaks, the index (differences, as varints), and an Ed25519 signature over all lines before it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/crypto/sign.h"
#include "neap/ledger/merkle.h"

namespace neap::ledger::internal {

inline constexpr std::uint64_t kFrontierFileBytesMax = 256u << 20;

struct Frontier {
  MerkleFrontier tree;
  std::vector<std::uint64_t> index;  // offset of every kIndexStep-th entry
  std::uint64_t bytes = 0;           // of these entries in the file
  std::uint64_t last_at = 0;         // where the last of them begins
  Digest last_leaf;
};

// Of at least one entry.
std::string encode_frontier(const Frontier& frontier, std::string_view origin, const crypto::PrivateKey& key);
// kInvalidArgument "ledger.frontier.bad".
Result<Frontier> decode_frontier(std::string_view text, std::string_view origin,
                                 const crypto::PublicKey& key);

}  // namespace neap::ledger::internal
