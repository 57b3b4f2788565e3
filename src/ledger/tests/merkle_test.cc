#include "neap/ledger/merkle.h"

#include <gtest/gtest.h>

namespace neap::ledger {
namespace {

std::vector<Digest> leaves_of(std::size_t count) {
  std::vector<Digest> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(leaf_hash("entry " + std::to_string(i)));
  return out;
}

TEST(Merkle, matches_the_roots_of_the_certificate_transparency_test_tree) {
  std::vector<Digest> leaves;
  const std::pair<const char*, const char*> cases[] = {
      {"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
      {"00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
      {"10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
      {"2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
      {"3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
      {"40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
      {"5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
      {"606162636465666768696a6b6c6d6e6f",
       "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
  };
  for (const auto& [entry, root] : cases) {
    leaves.push_back(leaf_hash(crypto::from_hex(entry).value()));
    EXPECT_EQ(compute_root(leaves).hex(), root);
  }
  EXPECT_EQ(MerkleFrontier().root(), crypto::sha256(""));
}

TEST(Merkle, every_inclusion_proof_verifies_and_every_change_of_it_does_not) {
  for (std::size_t size = 1; size <= 33; ++size) {
    const auto leaves = leaves_of(size);
    const auto root = compute_root(leaves);
    for (std::size_t i = 0; i < size; ++i) {
      const auto proof = compute_inclusion_proof(leaves, i);
      EXPECT_TRUE(verify_inclusion(leaves[i], i, size, proof, root)) << i << " of " << size;
      EXPECT_FALSE(verify_inclusion(leaf_hash("forged"), i, size, proof, root));
      EXPECT_FALSE(verify_inclusion(leaves[i], size, size, proof, root));
      EXPECT_FALSE(verify_inclusion(leaves[i], i, size, proof, leaf_hash("root")));
      if (size > 1) EXPECT_FALSE(verify_inclusion(leaves[i], (i + 1) % size, size, proof, root));
      auto longer = proof;
      longer.push_back(root);
      EXPECT_FALSE(verify_inclusion(leaves[i], i, size, longer, root));
      for (std::size_t at = 0; at < proof.size(); ++at) {
        auto changed = proof;
        changed[at] = leaf_hash("other");
        EXPECT_FALSE(verify_inclusion(leaves[i], i, size, changed, root));
      }
      if (proof.empty()) continue;
      auto shorter = proof;
      shorter.pop_back();
      EXPECT_FALSE(verify_inclusion(leaves[i], i, size, shorter, root));
    }
  }
}

TEST(Merkle, every_consistency_proof_verifies_and_every_change_of_it_does_not) {
  const auto leaves = leaves_of(33);
  const std::span all(leaves);
  for (std::size_t size = 1; size <= leaves.size(); ++size) {
    const auto root = compute_root(all.first(size));
    for (std::size_t old = 1; old <= size; ++old) {
      const auto old_root = compute_root(all.first(old));
      const auto proof = compute_consistency_proof(all.first(size), old);
      EXPECT_TRUE(verify_consistency(old, old_root, size, root, proof)) << old << " to " << size;
      EXPECT_FALSE(verify_consistency(old, leaf_hash("x"), size, root, proof));
      EXPECT_FALSE(verify_consistency(old, old_root, size, leaf_hash("x"), proof));
      EXPECT_FALSE(verify_consistency(0, old_root, size, root, proof));
      EXPECT_FALSE(verify_consistency(size + 1, old_root, size, root, proof));
      auto longer = proof;
      longer.push_back(root);
      EXPECT_FALSE(verify_consistency(old, old_root, size, root, longer));
      for (std::size_t at = 0; at < proof.size(); ++at) {
        auto changed = proof;
        changed[at] = leaf_hash("other");
        EXPECT_FALSE(verify_consistency(old, old_root, size, root, changed));
        changed = proof;
        changed.erase(changed.begin() + std::ptrdiff_t(at));
        EXPECT_FALSE(verify_consistency(old, old_root, size, root, changed));
      }
    }
  }
}

}  // namespace
}  // namespace neap::ledger
