#include "neap/crypto/digest.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace neap::crypto {
namespace {

TEST(Digest, matches_the_fips_180_4_examples) {
  EXPECT_EQ(sha256("").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Digest, of_pieces_equals_the_digest_of_the_whole_and_starts_over) {
  Sha256 hash;
  hash.update("ab");
  hash.update("");
  hash.update("c");
  EXPECT_EQ(hash.finish(), sha256("abc"));
  hash.update("xyz");
  EXPECT_EQ(hash.finish(), sha256("xyz"));
}

TEST(Digest, parses_its_own_text_and_refuses_every_other_spelling) {
  const auto digest = sha256("abc");
  const auto text = digest.to_string();
  ASSERT_TRUE(Digest::parse(text));
  EXPECT_EQ(*Digest::parse(text), digest);
  std::string upper = text;
  for (auto& c : upper) c = char(std::toupper(c));
  for (const auto& bad :
       {std::string(), upper, text + "0", text.substr(0, 70), digest.hex(), "sha512:" + digest.hex(),
        "sha256:" + std::string(64, 'g'), "sha256:" + std::string(63, 'a') + "A"})
    EXPECT_EQ(Digest::parse(bad).error().reason, "crypto.digest.syntax") << bad;
  std::unordered_set<Digest> set{digest, sha256("x"), digest};
  EXPECT_EQ(set.size(), 2u);
}

TEST(Hmac, matches_rfc_4231_case_2) {
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(hmac_sha256("", "")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(Base64, matches_rfc_4648_section_10_and_goes_both_ways) {
  const std::pair<std::string, std::string> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : cases) {
    EXPECT_EQ(to_base64(plain), text);
    EXPECT_EQ(from_base64(text).value(), plain);
    EXPECT_EQ(from_base64url(to_base64url(plain)).value(), plain);
  }
  EXPECT_EQ(to_base64url("\xfb\xff"), "-_8");
  std::string all;
  for (int i = 0; i < 256; ++i) all += char(i);
  EXPECT_EQ(from_base64(to_base64(all)).value(), all);
}

TEST(Base64, refuses_what_is_not_canonical) {
  for (const char* bad :
       {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm9v====", "-_8="})
    EXPECT_FALSE(from_base64(bad)) << bad;
  for (const char* bad : {"Zg==", "Zh", "Z", "+/8", "Z g"}) EXPECT_FALSE(from_base64url(bad)) << bad;
}

TEST(Hex, goes_both_ways_and_refuses_odd_and_foreign_text) {
  EXPECT_EQ(from_hex("00fFa0").value(), std::string("\x00\xff\xa0", 3));
  EXPECT_EQ(from_hex("").value(), "");
  for (const char* bad : {"0", "0g", "zz", "00 0"}) EXPECT_FALSE(from_hex(bad)) << bad;
}

TEST(ConstantTimeEqual, compares_content) {
  EXPECT_TRUE(constant_time_equal("abc", "abc"));
  EXPECT_TRUE(constant_time_equal("", ""));
  EXPECT_FALSE(constant_time_equal("abc", "abd"));
  EXPECT_FALSE(constant_time_equal("abc", "abcd"));
}

}  // namespace
}  // namespace neap::crypto
