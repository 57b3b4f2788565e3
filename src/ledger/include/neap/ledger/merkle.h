// The Merkle tree of RFC 6962 section 2.1 (and RFC 9162 section 2.1.3 for checking proofs), over SHA-256.
//
// Pure functions and one value type; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "neap/crypto/digest.h"

namespace neap::ledger {

using crypto::Digest;
using Proof = std::vector<Digest>;

Digest leaf_hash(std::string_view entry);
Digest node_hash(const Digest& left, const Digest& right);

// What must be kept to append and to know the root: one hash per set bit of the size.
class MerkleFrontier {
 public:
  MerkleFrontier() = default;
  // As another one was: as many peaks as `size` has bits (asserted).
  MerkleFrontier(std::uint64_t size, std::vector<Digest> peaks);
  void append(const Digest& leaf);
  std::uint64_t size() const { return size_; }
  // SHA-256 of nothing for an empty tree.
  Digest root() const;
  // Roots of the complete subtrees it consists of, the largest first.
  const std::vector<Digest>& peaks() const { return peaks_; }

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> peaks_;
};

Digest compute_root(std::span<const Digest> leaves);
// index < leaves.size() (asserted).
Proof compute_inclusion_proof(std::span<const Digest> leaves, std::uint64_t index);
// 0 < old_size <= leaves.size() (asserted).
Proof compute_consistency_proof(std::span<const Digest> leaves, std::uint64_t old_size);

// kUnauthenticated "ledger.proof.bad".
Status verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size, const Proof& proof,
                        const Digest& root);
Status verify_consistency(std::uint64_t old_size, const Digest& old_root, std::uint64_t new_size,
                          const Digest& new_root, const Proof& proof);

}  // namespace neap::ledger
