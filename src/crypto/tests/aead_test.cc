#include "neap/crypto/aead.h"

#include <gtest/gtest.h>

#include "neap/crypto/digest.h"

namespace neap::crypto {
namespace {

std::string bytes(std::string_view hex) { return from_hex(hex).value(); }
Key256 key_of(std::string_view hex) { return key_from_bytes(bytes(hex)).value(); }
Nonce96 nonce_of(std::string_view hex) {
  Nonce96 out;
  const auto raw = bytes(hex);
  std::copy(raw.begin(), raw.end(), out.begin());
  return out;
}

TEST(Aead, matches_the_gcm_specification_cases_13_14_and_16) {
  const Key256 zero{};
  EXPECT_EQ(to_hex(aead_seal(zero, Nonce96{}, "", "")), "530f8afbc74536b9a963b4f1c4cb738b");
  EXPECT_EQ(to_hex(aead_seal(zero, Nonce96{}, "", std::string(16, '\0'))),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
  const auto key = key_of("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const auto nonce = nonce_of("cafebabefacedbaddecaf888");
  const auto aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const auto plain = bytes(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aed"
      "f5aa0de6"
      "57ba637b39");
  const auto sealed = aead_seal(key, nonce, aad, plain);
  EXPECT_EQ(to_hex(sealed),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
            "c5f61e6393"
            "ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
  EXPECT_EQ(aead_open(key, nonce, aad, sealed).value(), plain);
}

TEST(Aead, any_flipped_bit_is_refused) {
  const auto key = random_key();
  const auto nonce = random_nonce();
  const auto sealed = aead_seal(key, nonce, "aad", "some text");
  for (std::size_t i = 0; i < sealed.size() * 8; ++i) {
    auto bad = sealed;
    bad[i / 8] = char(bad[i / 8] ^ 1 << i % 8);
    EXPECT_EQ(aead_open(key, nonce, "aad", bad).error().reason, "crypto.aead.open");
  }
  EXPECT_FALSE(aead_open(key, nonce, "aae", sealed));
  EXPECT_FALSE(aead_open(key, random_nonce(), "aad", sealed));
  EXPECT_FALSE(aead_open(random_key(), nonce, "aad", sealed));
  for (std::size_t n = 0; n < sealed.size(); ++n)
    EXPECT_FALSE(aead_open(key, nonce, "aad", sealed.substr(0, n)));
}

TEST(Hkdf, matches_rfc_5869_appendix_a) {
  const std::string ikm(22, '\x0b');
  EXPECT_EQ(to_hex(hkdf_sha256(ikm, bytes("000102030405060708090a0b0c"), bytes("f0f1f2f3f4f5f6f7f8f9"), 42)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(to_hex(hkdf_sha256(ikm, "", "", 42)),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

std::vector<std::string> seal_all(const Key256& key, std::string_view id,
                                  const std::vector<std::string>& plain) {
  ChunkSealer sealer(key, id, "test");
  std::vector<std::string> out;
  for (std::size_t i = 0; i < plain.size(); ++i)
    out.push_back(sealer.seal(plain[i], i + 1 == plain.size()).value());
  return out;
}

TEST(ChunkStream, brings_every_chunk_back_and_can_resume_in_the_middle) {
  const auto key = random_key();
  const std::vector<std::string> plain{"one", "", "three", std::string(70'000, 'x')};
  const auto sealed = seal_all(key, "stream-1", plain);
  ChunkOpener opener(key, "stream-1", "test");
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(opener.open(sealed[i], i == 3).value(), plain[i]);
  EXPECT_TRUE(opener.finish());

  ChunkSealer later_sealer(key, "stream-1", "test", 2);
  EXPECT_EQ(later_sealer.seal(plain[2], false).value(), sealed[2]);
  ChunkOpener later(key, "stream-1", "test", 2);
  EXPECT_EQ(later.open(sealed[2], false).value(), "three");
}

TEST(ChunkStream, detects_reordering_repetition_loss_truncation_and_trailing_data) {
  const auto key = random_key();
  const auto sealed = seal_all(key, "id", {"a", "b", "c"});
  {
    ChunkOpener opener(key, "id", "test");
    EXPECT_EQ(opener.open(sealed[1], false).error().reason, "crypto.stream.chunk");
    EXPECT_TRUE(opener.open(sealed[0], false));
    EXPECT_FALSE(opener.open(sealed[0], false));
    EXPECT_FALSE(opener.open(sealed[2], true));
    EXPECT_FALSE(opener.open(sealed[1], true));  // not the last one
    EXPECT_TRUE(opener.open(sealed[1], false));
    EXPECT_EQ(opener.finish().error().reason, "crypto.stream.truncated");
    EXPECT_FALSE(opener.open(sealed[2], false));  // is the last one
    EXPECT_TRUE(opener.open(sealed[2], true));
    EXPECT_EQ(opener.open(sealed[2], true).error().reason, "crypto.stream.trailing");
    EXPECT_TRUE(opener.finish());
  }
  ChunkOpener other_stream(key, "id2", "test"), other_use(key, "id", "tesT"),
      other_key(random_key(), "id", "test");
  EXPECT_FALSE(other_stream.open(sealed[0], false));
  EXPECT_FALSE(other_use.open(sealed[0], false));
  EXPECT_FALSE(other_key.open(sealed[0], false));
  ChunkSealer sealer(key, "x");
  EXPECT_TRUE(sealer.seal("", true));
  EXPECT_EQ(sealer.seal("", true).error().reason, "crypto.stream.ended");
}

}  // namespace
}  // namespace neap::crypto
