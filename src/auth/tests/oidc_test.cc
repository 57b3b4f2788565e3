#include "neap/auth/oidc.h"

#include <gtest/gtest.h>

#include "neap/crypto/digest.h"

namespace neap::auth {
namespace {

using namespace std::chrono_literals;

// A provider with one P-256 key; tokens are made by hand so that each can be wrong in one way.
class Oidc : public testing::Test {
 protected:
  WallTime now_{std::chrono::seconds(1'800'000'000)};
  crypto::PrivateKey key_ = crypto::PrivateKey::generate(crypto::KeyKind::kEcdsaP256).value();
  OidcOptions options_{.issuer_url = "https://id.example", .client_id = "neap", .groups_claim = "groups"};

  static std::string b64(std::string_view bytes) { return crypto::to_base64url(bytes); }
  JsonWebKeySet keys(std::string id = "k1") const {
    // An uncompressed point ends a P-256 SubjectPublicKeyInfo: 04, x, y.
    const auto der = key_.public_key().to_der();
    const auto point = der.substr(der.size() - 64);
    return JsonWebKeySet::parse(Json{{"keys",
                                      {{{"kty", "EC"},
                                        {"crv", "P-256"},
                                        {"kid", id},
                                        {"use", "sig"},
                                        {"x", b64(point.substr(0, 32))},
                                        {"y", b64(point.substr(32))}},
                                       {{"kty", "oct"}, {"k", "c2VjcmV0"}}}}})
        .value();
  }
  JsonObject claims() const {
    return {{"iss", "https://id.example"}, {"sub", "alice"},       {"aud", "neap"},
            {"exp", 1'800'000'600},        {"iat", 1'800'000'000}, {"groups", {"dev", "system:masters"}}};
  }
  std::string signed_with(JsonObject header, const JsonObject& body) const {
    auto text = b64(to_text(Json(std::move(header)))) + "." + b64(to_text(Json(body)));
    return text + "." + b64(key_.sign(text, crypto::SignatureForm::kRaw));
  }
  std::string token(const JsonObject& body) const {
    return signed_with({{"alg", "ES256"}, {"kid", "k1"}}, body);
  }
  std::string reason(const std::string& token, std::string_view nonce = {}) const {
    const auto who = verify_id_token(options_, keys(), token, now_, nonce);
    return who ? "ok " + who->user : who.error().reason;
  }
  std::string with(std::string_view claim, Json value) const {
    auto body = claims();
    if (value.is_null())
      body.erase(claim);
    else
      body[claim] = std::move(value);
    return reason(token(body));
  }
};

TEST_F(Oidc, a_good_token_names_the_user_and_the_groups_but_never_one_of_the_system) {
  const auto who = verify_id_token(options_, keys(), token(claims()), now_);
  ASSERT_TRUE(who) << who.error().to_string();
  EXPECT_EQ(who->user, "https://id.example#alice");
  EXPECT_EQ(who->groups, (std::vector<std::string>{"dev", "system:authenticated"}));
  EXPECT_TRUE(who->authenticated);
  options_.username_prefix = "-";
  EXPECT_EQ(reason(token(claims())), "ok alice");
  options_.groups_prefix = "oidc:";
  EXPECT_EQ(verify_id_token(options_, keys(), token(claims()), now_)->groups[1], "oidc:system:masters")
      << "with a prefix it is a group of the provider";
  EXPECT_EQ(with("sub", "system:node:hq-1"), "auth.jwt.claim");
}

TEST_F(Oidc, each_claim_is_checked) {
  options_.username_prefix = "-";
  EXPECT_EQ(with("iss", "https://id.example/"), "auth.jwt.issuer");
  EXPECT_EQ(with("aud", "other"), "auth.jwt.audience");
  EXPECT_EQ(with("aud", nullptr), "auth.jwt.audience");
  EXPECT_EQ(with("aud", JsonArray{"other", "neap"}), "ok alice");
  EXPECT_EQ(with("exp", nullptr), "auth.jwt.claim");
  EXPECT_EQ(with("exp", "1900000000"), "auth.jwt.expired") << "a date in quotes is no date";
  EXPECT_EQ(with("exp", 1'799'999'900), "auth.jwt.expired");
  EXPECT_EQ(with("exp", 1'799'999'990), "ok alice") << "within the skew";
  EXPECT_EQ(with("nbf", 1'800'000'100), "auth.jwt.not_yet_valid");
  EXPECT_EQ(with("nbf", 1'800'000'030.5), "ok alice");
  EXPECT_EQ(with("iat", 1'900'000'000), "auth.jwt.not_yet_valid");
  EXPECT_EQ(with("sub", nullptr), "auth.jwt.claim");
  EXPECT_EQ(reason(token(claims()), "n1"), "auth.jwt.claim");
  auto several = claims();
  several["aud"] = JsonArray{"other", "neap"};
  several["azp"] = "other";
  EXPECT_EQ(reason(token(several)), "auth.jwt.audience") << "made for another client";
  options_.required_claims = {{"hd", "example"}};
  EXPECT_EQ(with("hd", "elsewhere"), "auth.jwt.claim");
  EXPECT_EQ(with("hd", "example"), "ok alice");
}

TEST_F(Oidc, a_name_that_begins_with_another_provider_s_prefix_is_not_this_one_s) {
  options_.username_prefix = "-";
  options_.foreign_user_prefixes = options_.foreign_group_prefixes = {"partner:"};
  EXPECT_EQ(with("sub", "partner:alice"), "auth.jwt.claim");
  EXPECT_EQ(with("sub", "partners"), "ok partners");
  auto body = claims();
  body["groups"] = {"dev", "partner:dev"};
  EXPECT_EQ(verify_id_token(options_, keys(), token(body), now_)->groups,
            (std::vector<std::string>{"dev", "system:authenticated"}));
}

TEST_F(Oidc, an_address_that_the_provider_did_not_verify_is_nobody) {
  options_.username_claim = "email";
  EXPECT_EQ(with("email", "a@b.c"), "ok a@b.c") << "no prefix where the claim is email";
  auto body = claims();
  body["email"] = "a@b.c";
  body["email_verified"] = false;
  EXPECT_EQ(reason(token(body)), "auth.jwt.claim");
}

TEST_F(Oidc, the_token_does_not_choose_how_it_is_verified) {
  const auto body = claims();
  const auto unsigned_text = b64(R"({"alg":"none"})") + "." + b64(to_text(Json(body))) + ".";
  EXPECT_EQ(reason(unsigned_text), "auth.jwt.algorithm");
  // HMAC under the provider's public key, which everyone knows.
  auto text = b64(R"({"alg":"HS256","kid":"k1"})") + "." + b64(to_text(Json(body)));
  const auto mac = crypto::hmac_sha256(key_.public_key().to_pem(), text);
  text += "." + b64({reinterpret_cast<const char*>(mac.data()), mac.size()});
  EXPECT_EQ(reason(text), "auth.jwt.algorithm");
  EXPECT_EQ(reason(signed_with({{"alg", "RS256"}, {"kid", "k1"}}, body)), "auth.jwt.key")
      << "a P-256 key signs with ES256 and nothing else";
  EXPECT_EQ(reason(signed_with({{"alg", "ES256"}, {"kid", "k2"}}, body)), "auth.jwt.key");
  EXPECT_EQ(reason(signed_with({{"alg", "ES256"}, {"kid", "k1"}, {"crit", {"b64"}}}, body)),
            "auth.jwt.algorithm");
  EXPECT_EQ(reason(signed_with({{"alg", "ES256"}}, body)).substr(0, 2), "ok") << "kid may be left out";
  auto changed = token(body);
  changed[changed.size() - 5] = changed[changed.size() - 5] == 'A' ? 'B' : 'A';
  EXPECT_EQ(reason(changed), "auth.jwt.signature");
  EXPECT_EQ(reason("a.b"), "auth.jwt.syntax");
  EXPECT_EQ(reason(std::string(40'000, 'a') + ".b.c"), "auth.jwt.syntax");
}

TEST_F(Oidc, a_key_set_without_a_usable_key_is_refused) {
  EXPECT_FALSE(JsonWebKeySet::parse(Json{{"keys", {{{"kty", "oct"}, {"k", "AA"}}}}}));
  EXPECT_FALSE(JsonWebKeySet::parse(Json("no")));
  EXPECT_TRUE(keys().has("k1"));
  EXPECT_EQ(keys().keys().size(), 1u);
}

TEST_F(Oidc, options_that_cannot_work_are_refused_at_the_start) {
  const auto status = [this](std::string issuer) {
    options_.issuer_url = std::move(issuer);
    return check_options(options_).has_value();
  };
  EXPECT_TRUE(status("https://id.example/realms/a"));
  EXPECT_TRUE(status("http://127.0.0.1:3000"));
  EXPECT_FALSE(status("http://id.example"));
  EXPECT_FALSE(status("http://127.0.0.1.evil.example"));
  EXPECT_FALSE(status("https://id.example?x=1"));
  options_.issuer_url = "https://id.example";
  options_.client_id.clear();
  EXPECT_FALSE(check_options(options_));
}

}  // namespace
}  // namespace neap::auth
