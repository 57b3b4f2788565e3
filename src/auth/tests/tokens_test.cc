#include "neap/auth/tokens.h"

#include <gtest/gtest.h>

#include "neap/crypto/digest.h"

namespace neap::auth {
namespace {

const WallTime kNow = parse_rfc3339("2026-06-01T12:00:00Z").value();
const std::string kFingerprint(64, 'a');

TEST(BearerTokens, a_token_is_found_by_its_hash_and_the_table_never_holds_it) {
  BearerTokenTable table;
  const auto token = make_bearer_token();
  EXPECT_EQ(token.size(), 6u + 43u);
  EXPECT_NE(token, make_bearer_token());
  table.add(token, {.user = "alice", .groups = {"team-a"}, .node = {}, .authenticated = false});
  const auto who = table.find(token);
  ASSERT_TRUE(who);
  EXPECT_EQ(who->user, "alice");
  EXPECT_TRUE(who->authenticated);
  EXPECT_TRUE(is_member(*who, kAuthenticatedGroup));
  EXPECT_EQ(table.to_file_text().find(token), std::string::npos);
  EXPECT_EQ(table.find(token + "x").error().reason, "auth.token.unknown");
  EXPECT_EQ(table.find(std::string(100'000, 'x')).error().code, Code::kUnauthenticated);
  EXPECT_TRUE(table.remove_hash(token_hash(token)));
  EXPECT_FALSE(table.find(token));
}

TEST(BearerTokens, a_file_is_read_whole_or_not_at_all) {
  BearerTokenTable table;
  ASSERT_TRUE(table.load("# people\n" + token_hash("secret") + ",bob,dev;ops  # comment\n\n"));
  EXPECT_EQ(table.find("secret")->groups, (std::vector<std::string>{"dev", "ops", "system:authenticated"}));
  const auto bad = table.load(token_hash("other") + ",eve,\nnot-a-hash,mallory\n");
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("line 2"), std::string::npos);
  EXPECT_EQ(table.size(), 1u);
  BearerTokenTable copy;
  ASSERT_TRUE(copy.load(table.to_file_text()));
  EXPECT_EQ(copy.to_file_text(), table.to_file_text());
}

class JoinTokens : public testing::Test {
 protected:
  MintedJoinToken minted_ =
      mint_join_token("factory", "press-*", api::CapacityType::kOwned, kNow + 1h, kFingerprint);
  JoinTokenTable table_;
  void SetUp() override { table_.add(minted_.record); }
  JoinClaim claim(std::string node = "press-7") {
    return {"factory", std::move(node), api::CapacityType::kOwned};
  }
};

TEST_F(JoinTokens, a_join_token_works_once_and_keeps_no_secret) {
  const auto text = minted_.token.to_string();
  EXPECT_EQ(JoinToken::parse(text)->ca_sha256, kFingerprint);
  EXPECT_EQ(to_text(minted_.record.to_json()).find(minted_.token.secret), std::string::npos);
  EXPECT_EQ(JoinTokenRecord::from_json(minted_.record.to_json())->secret_hash, minted_.record.secret_hash);
  ASSERT_TRUE(table_.redeem(text, claim(), kNow));
  EXPECT_EQ(table_.redeem(text, claim(), kNow).error().reason, "auth.join.unknown");
}

TEST_F(JoinTokens, what_a_join_token_refuses) {
  const auto text = minted_.token.to_string();
  auto other_secret = minted_.token;
  other_secret.secret = crypto::to_base64url(crypto::random_bytes(32));
  auto other_id = minted_.token;
  other_id.id = "000000000000";
  struct Case {
    std::string token;
    JoinClaim claim;
    WallTime now;
    std::string reason;
  };
  const std::vector<Case> cases{
      {other_secret.to_string(), claim(), kNow, "auth.join.unknown"},
      {other_id.to_string(), claim(), kNow, "auth.join.unknown"},
      {text, claim(), kNow + 1h, "auth.join.expired"},
      {text, claim("lathe-1"), kNow, "auth.join.scope"},
      {text, {"office", "press-7", api::CapacityType::kOwned}, kNow, "auth.join.scope"},
      {text, {"factory", "press-7", api::CapacityType::kSpot}, kNow, "auth.join.scope"},
      {"neap2" + text.substr(5), claim(), kNow, "auth.join.syntax"},
      {text.substr(0, text.size() - 1), claim(), kNow, "auth.join.syntax"},
      {text + ".x", claim(), kNow, "auth.join.syntax"},
      {"", claim(), kNow, "auth.join.syntax"},
      {std::string(1'000'000, '.'), claim(), kNow, "auth.join.syntax"},
  };
  for (const auto& c : cases) {
    const auto result = table_.redeem(c.token, c.claim, c.now);
    ASSERT_FALSE(result) << c.token.substr(0, 80);
    EXPECT_EQ(result.error().reason, c.reason) << c.token.substr(0, 80);
  }
  EXPECT_TRUE(table_.redeem(text, claim(), kNow)) << "no refusal used the token up";
}

TEST_F(JoinTokens, expired_records_go_away) {
  EXPECT_EQ(table_.erase_expired(kNow), 0u);
  EXPECT_EQ(table_.erase_expired(kNow + 2h), 1u);
  EXPECT_TRUE(table_.records().empty());
}

class SignedTokens : public testing::Test {
 protected:
  crypto::PrivateKey key_ = crypto::PrivateKey::generate(crypto::KeyKind::kEd25519).value();
  TokenClaims claims_{
      "system:serviceaccount:team-a:robot", {"system:serviceaccounts"}, "neap", kNow, kNow + 1h};
};

TEST_F(SignedTokens, a_signed_token_proves_its_subject_until_it_expires) {
  const auto token = sign_token(key_, "neap-1", claims_);
  const auto who = verify_token(key_.public_key(), "neap-1", "neap", token, kNow + 30min);
  ASSERT_TRUE(who) << who.error().to_string();
  EXPECT_EQ(who->user, "system:serviceaccount:team-a:robot");
  EXPECT_TRUE(is_member(*who, "system:serviceaccounts"));
}

TEST_F(SignedTokens, what_a_signed_token_refuses) {
  const auto token = sign_token(key_, "neap-1", claims_);
  const auto first = token.find('.');
  const auto none =
      crypto::to_base64url(R"({"alg":"none"})") + token.substr(first, token.rfind('.') - first) + ".";
  auto tampered = token;
  tampered[first + 5] = tampered[first + 5] == 'A' ? 'B' : 'A';
  const auto reason = [this](std::string_view text, std::string_view issuer, std::string_view audience,
                             WallTime now) {
    const auto result = verify_token(key_.public_key(), issuer, audience, text, now);
    return result ? std::string("accepted") : result.error().reason;
  };
  EXPECT_EQ(reason(token, "other", "neap", kNow), "auth.jwt.issuer");
  EXPECT_EQ(reason(token, "neap-1", "s3", kNow), "auth.jwt.audience");
  EXPECT_EQ(reason(token, "neap-1", "neap", kNow + 1h), "auth.jwt.expired");
  EXPECT_EQ(reason(token, "neap-1", "neap", kNow - 2min), "auth.jwt.not_yet_valid");
  EXPECT_EQ(reason(none, "neap-1", "neap", kNow), "auth.jwt.algorithm");
  EXPECT_NE(reason(tampered, "neap-1", "neap", kNow), "accepted");
  EXPECT_EQ(reason("a.b", "neap-1", "neap", kNow), "auth.jwt.syntax");
  EXPECT_EQ(reason("....", "neap-1", "neap", kNow), "auth.jwt.syntax");
  EXPECT_EQ(reason(std::string(1'000'000, 'A'), "neap-1", "neap", kNow), "auth.jwt.syntax");
  const auto stranger = crypto::PrivateKey::generate(crypto::KeyKind::kEd25519).value();
  EXPECT_EQ(reason(sign_token(stranger, "neap-1", claims_), "neap-1", "neap", kNow), "auth.jwt.signature");
}

}  // namespace
}  // namespace neap::auth
