#include "neap/ledger/merkle.h"

#include <fmt/format.h>

#include <bit>

#include "neap/base/assert.h"

namespace neap::ledger {
namespace {

// The largest power of two below n; n > 1.
std::uint64_t split_of(std::uint64_t n) { return std::bit_floor(n - 1); }

std::unexpected<Error> bad_proof(const char* what) {
  return fail(Code::kUnauthenticated, "ledger.proof.bad",
              fmt::format("the proof does not hold ({}): entry, checkpoint or proof was changed", what));
}

// SUBPROOF of RFC 6962 section 2.1.2.
void consistency_into(Proof& out, std::span<const Digest> leaves, std::uint64_t m, bool complete) {
  if (m == leaves.size()) {
    if (!complete) out.push_back(compute_root(leaves));
    return;
  }
  const auto k = split_of(leaves.size());
  if (m <= k) {
    consistency_into(out, leaves.first(k), m, complete);
    out.push_back(compute_root(leaves.subspan(k)));
  } else {
    consistency_into(out, leaves.subspan(k), m - k, false);
    out.push_back(compute_root(leaves.first(k)));
  }
}

}  // namespace

Digest leaf_hash(std::string_view entry) {
  crypto::Sha256 hash;
  hash.update(std::string_view("\0", 1));
  hash.update(entry);
  return hash.finish();
}
Digest node_hash(const Digest& left, const Digest& right) {
  std::string input(1, '\x01');
  input += left.view();
  input += right.view();
  return crypto::sha256(input);
}

MerkleFrontier::MerkleFrontier(std::uint64_t size, std::vector<Digest> peaks)
    : size_(size), peaks_(std::move(peaks)) {
  NEAP_ASSERT(peaks_.size() == std::size_t(std::popcount(size_)));
}

void MerkleFrontier::append(const Digest& leaf) {
  Digest carry = leaf;
  // As many subtrees of equal size end here as the size has trailing one bits.
  for (std::uint64_t bits = size_; bits & 1; bits >>= 1) {
    carry = node_hash(peaks_.back(), carry);
    peaks_.pop_back();
  }
  peaks_.push_back(carry);
  ++size_;
}
Digest MerkleFrontier::root() const {
  if (peaks_.empty()) return crypto::sha256("");
  Digest out = peaks_.back();
  for (std::size_t i = peaks_.size() - 1; i-- > 0;) out = node_hash(peaks_[i], out);
  return out;
}

Digest compute_root(std::span<const Digest> leaves) {
  MerkleFrontier tree;
  for (const auto& leaf : leaves) tree.append(leaf);
  return tree.root();
}

Proof compute_inclusion_proof(std::span<const Digest> leaves, std::uint64_t index) {
  NEAP_ASSERT(index < leaves.size());
  Proof out;
  // From the root down; the proof is read from the leaf up.
  while (leaves.size() > 1) {
    const auto k = split_of(leaves.size());
    if (index < k) {
      out.push_back(compute_root(leaves.subspan(k)));
      leaves = leaves.first(k);
    } else {
      out.push_back(compute_root(leaves.first(k)));
      leaves = leaves.subspan(k);
      index -= k;
    }
  }
  return {out.rbegin(), out.rend()};
}

Proof compute_consistency_proof(std::span<const Digest> leaves, std::uint64_t old_size) {
  NEAP_ASSERT(old_size > 0 && old_size <= leaves.size());
  Proof out;
  consistency_into(out, leaves, old_size, true);
  return out;
}

Status verify_inclusion(const Digest& leaf, std::uint64_t index, std::uint64_t size, const Proof& proof,
                        const Digest& root) {
  if (index >= size) return bad_proof("the index is not below the size");
  std::uint64_t fn = index, sn = size - 1;
  Digest r = leaf;
  for (const auto& p : proof) {
    if (sn == 0) return bad_proof("it is too long");
    if ((fn & 1) || fn == sn) {
      r = node_hash(p, r);
      while (!(fn & 1) && fn != 0) fn >>= 1, sn >>= 1;
    } else {
      r = node_hash(r, p);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn != 0) return bad_proof("it is too short");
  return r == root ? ok() : bad_proof("it leads to another root");
}

Status verify_consistency(std::uint64_t old_size, const Digest& old_root, std::uint64_t new_size,
                          const Digest& new_root, const Proof& proof) {
  if (old_size == 0 || old_size > new_size) return bad_proof("the sizes are out of order");
  if (old_size == new_size)
    return proof.empty() && old_root == new_root ? ok() : bad_proof("equal sizes have different roots");
  Proof path = proof;
  // A complete old tree is its own first node.
  if (std::has_single_bit(old_size)) path.insert(path.begin(), old_root);
  if (path.empty()) return bad_proof("it is empty");
  std::uint64_t fn = old_size - 1, sn = new_size - 1;
  while (fn & 1) fn >>= 1, sn >>= 1;
  Digest fr = path[0], sr = path[0];
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (sn == 0) return bad_proof("it is too long");
    if ((fn & 1) || fn == sn) {
      fr = node_hash(path[i], fr);
      sr = node_hash(path[i], sr);
      while (!(fn & 1) && fn != 0) fn >>= 1, sn >>= 1;
    } else {
      sr = node_hash(sr, path[i]);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn != 0) return bad_proof("it is too short");
  return fr == old_root && sr == new_root ? ok() : bad_proof("it leads to other roots");
}

}  // namespace neap::ledger
