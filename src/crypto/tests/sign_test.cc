#include "neap/crypto/sign.h"

#include <gtest/gtest.h>

#include "neap/crypto/digest.h"

namespace neap::crypto {
namespace {

std::string bytes(std::string_view hex) { return from_hex(hex).value(); }

TEST(Ed25519, matches_rfc_8032_section_7_1) {
  struct Case {
    const char *seed, *key, *message, *signature;
  };
  const Case cases[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf"
       "5f0595b"
       "be24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2"
       "eaeb430"
       "2aeeb00d291612bb0c00"},
  };
  for (const auto& c : cases) {
    const auto key = PrivateKey::from_ed25519_seed(bytes(c.seed)).value();
    EXPECT_EQ(to_hex(key.public_key().raw()), c.key);
    EXPECT_EQ(to_hex(key.sign(bytes(c.message))), c.signature);
    EXPECT_TRUE(PublicKey::from_ed25519(bytes(c.key)).value().verify(bytes(c.message), bytes(c.signature)));
  }
}

TEST(EcdsaP256, verifies_the_rfc_6979_signature_of_sample) {
  const auto key =
      PublicKey::from_p256(bytes("60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"),
                           bytes("7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"))
          .value();
  const auto signature = bytes(
      "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
      "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8");
  EXPECT_TRUE(key.verify("sample", signature, SignatureForm::kRaw));
  EXPECT_FALSE(key.verify("sampl3", signature, SignatureForm::kRaw));
  EXPECT_FALSE(key.verify("sample", signature, SignatureForm::kAsn1));
}

class BothKinds : public testing::TestWithParam<KeyKind> {};
INSTANTIATE_TEST_SUITE_P(Sign, BothKinds, testing::Values(KeyKind::kEd25519, KeyKind::kEcdsaP256));

TEST_P(BothKinds, any_flipped_bit_of_message_or_signature_is_refused) {
  const auto key = PrivateKey::generate(GetParam()).value();
  const std::string message = "to be signed";
  const auto signature = key.sign(message, SignatureForm::kRaw);
  EXPECT_EQ(signature.size(), 64u);
  EXPECT_TRUE(key.public_key().verify(message, signature, SignatureForm::kRaw));
  for (std::size_t i = 0; i < signature.size() * 8; ++i) {
    auto bad = signature;
    bad[i / 8] = char(bad[i / 8] ^ 1 << i % 8);
    EXPECT_FALSE(key.public_key().verify(message, bad, SignatureForm::kRaw)) << i;
  }
  for (std::size_t i = 0; i < message.size(); ++i) {
    auto bad = message;
    bad[i] ^= 1;
    EXPECT_EQ(key.public_key().verify(bad, signature, SignatureForm::kRaw).error().code,
              Code::kUnauthenticated);
  }
  for (const std::string& bad :
       {std::string(), std::string(1, 'x'), signature + "x", std::string(1000, '\xff')})
    EXPECT_FALSE(key.public_key().verify(message, bad));
}

TEST_P(BothKinds, survives_the_way_through_pem_and_keeps_its_id) {
  const auto key = PrivateKey::generate(GetParam()).value();
  const auto again = PrivateKey::from_pem(key.to_pem()).value();
  EXPECT_EQ(again.kind(), GetParam());
  EXPECT_EQ(again.key_id(), key.key_id());
  const auto shown = PublicKey::from_pem(key.public_key().to_pem()).value();
  EXPECT_EQ(shown.key_id(), key.key_id());
  EXPECT_EQ(PublicKey::from_der(shown.to_der()).value().key_id(), sha256(shown.to_der()).hex());
  EXPECT_TRUE(shown.verify("m", again.sign("m")));
  EXPECT_FALSE(PrivateKey::from_pem(key.public_key().to_pem()));
  EXPECT_EQ(key.public_key().to_pem().find("PRIVATE"), std::string::npos);
  EXPECT_FALSE(PrivateKey::generate(GetParam()).value().public_key().verify("m", key.sign("m")));
}

TEST(Keys, hostile_text_is_an_error_and_never_a_question_for_a_passphrase) {
  for (const std::string& bad :
       {std::string(), std::string("-----BEGIN PUBLIC KEY-----\n"), std::string(200'000, 'A'),
        std::string("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        std::string("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n")}) {
    EXPECT_FALSE(PublicKey::from_pem(bad));
    EXPECT_FALSE(PrivateKey::from_pem(bad));
    EXPECT_FALSE(PublicKey::from_der(bad));
    EXPECT_FALSE(PublicKey::from_ed25519(bad));
    EXPECT_FALSE(PublicKey::from_p256(bad, bad));
    EXPECT_FALSE(PublicKey::from_rsa(bad, bad));
  }
  EXPECT_FALSE(PublicKey::from_p256(std::string(32, '\x01'), std::string(32, '\x02')));  // not on the curve
  EXPECT_FALSE(PrivateKey::generate(KeyKind::kRsa));
}

}  // namespace
}  // namespace neap::crypto
