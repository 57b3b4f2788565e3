#include "forwarded_claim.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "neap/base/json.h"
#include "neap/crypto/digest.h"

namespace neap::app {
namespace {

const WallTime kNow = parse_rfc3339("2026-03-01T10:00:00Z").value();
constexpr auto kTarget = "/api/v1/namespaces/team-a/pods/job-0/exec?command=ls";

class Forwarded : public testing::Test {
 protected:
  ForwardedClaim claim(std::string nonce = "n1", WallTime at = kNow) {
    return {.who = {.user = "alice",
                    .groups = {"dev"},
                    .node = {},
                    .authenticated = true,
                    .uid = "u-1",
                    .bound = auth::BoundObject{"Secret", "s", "u-2"}},
            .method = "POST",
            .target = kTarget,
            .to = "b:8443",
            .life = "l1",
            .nonce = std::move(nonce),
            .at = at};
  }
  Result<auth::Identity> take(const std::string& header, WallTime now = kNow,
                              std::string_view method = "POST", std::string_view target = kTarget,
                              std::string_view own = "b:8443") {
    return desk_.take(header, method, target, {own, "l1"}, now);
  }
  std::string reason(const std::string& header, WallTime now = kNow) {
    const auto who = take(header, now);
    return who ? "taken" : who.error().reason;
  }
  crypto::PrivateKey key_ = crypto::PrivateKey::generate(crypto::KeyKind::kEd25519).value();
  ForwardedClaimDesk desk_{key_.public_key()};
};

TEST_F(Forwarded, a_claim_is_who_it_says_for_one_request_at_one_server) {
  const auto who = take(sign_forwarded(key_, claim()));
  ASSERT_TRUE(who) << who.error().to_string();
  EXPECT_EQ(who->user, "alice");
  EXPECT_EQ(who->uid, "u-1");
  ASSERT_TRUE(who->bound) << "the token ends with it, also where the work is";
  EXPECT_EQ(who->bound->uid, "u-2");
  EXPECT_EQ(who->groups, std::vector<std::string>{"dev"});
  EXPECT_TRUE(who->authenticated && who->node.empty());
  const auto other = sign_forwarded(key_, claim("n2"));
  EXPECT_FALSE(take(other, kNow, "GET"));
  EXPECT_FALSE(take(other, kNow, "POST", "/api/v1/namespaces/team-b/pods/job-0/exec"));
  EXPECT_FALSE(take(other, kNow, "POST", kTarget, "c:8443"));
  EXPECT_FALSE(take(other, kNow, "POST", kTarget, "")) << "a server that is not announced is nobody's target";
  EXPECT_TRUE(take(other));
}

TEST_F(Forwarded, a_claim_is_taken_once) {
  const auto header = sign_forwarded(key_, claim());
  EXPECT_EQ(reason(header), "taken");
  EXPECT_EQ(reason(header), "server.forwarded.again");
  // As long as its time would let it pass, and afterwards for its time.
  EXPECT_EQ(reason(header, kNow + ForwardedClaimDesk::kSkewMax), "server.forwarded.again");
  EXPECT_EQ(reason(header, kNow + ForwardedClaimDesk::kSkewMax + 1s), "server.forwarded.clock");
  EXPECT_EQ(reason(sign_forwarded(key_, claim(""))), "server.forwarded.again") << "a nonce is needed";
}

TEST_F(Forwarded, a_claim_that_was_used_is_not_taken_by_a_later_life_of_its_server_whatever_the_clocks_say) {
  for (const auto skew : {-115s, -1s, 0s, 1s, 115s}) {
    const auto header = sign_forwarded(key_, claim(fmt::format("n{}", skew.count()), kNow + skew));
    ASSERT_EQ(reason(header), "taken");
    ForwardedClaimDesk restarted(key_.public_key());
    const auto again = restarted.take(header, "POST", kTarget, {"b:8443", "l2"}, kNow + 1s);
    ASSERT_FALSE(again) << "a desk that has forgotten what it took";
    EXPECT_EQ(again.error().reason, "server.forwarded.restarted");
    EXPECT_EQ(again.error().code, Code::kUnavailable) << "the user's credentials are good";
    EXPECT_FALSE(restarted.take(header, "POST", kTarget, {"b:8443", ""}, kNow + 1s)) << "not announced yet";
    auto anew = claim("anew", kNow + skew);
    anew.life = "l2";
    EXPECT_TRUE(restarted.take(sign_forwarded(key_, anew), "POST", kTarget, {"b:8443", "l2"}, kNow + 1s));
  }
}

TEST_F(Forwarded, clocks_may_differ_by_minutes_and_beyond_that_the_refusal_says_so) {
  EXPECT_EQ(reason(sign_forwarded(key_, claim("a", kNow - 115s))), "taken");
  EXPECT_EQ(reason(sign_forwarded(key_, claim("b", kNow + 115s))), "taken");
  for (const auto& [at, word] : {std::pair{kNow - 125s, "behind"}, {kNow + 125s, "ahead of"}}) {
    const auto refused = take(sign_forwarded(key_, claim("c", at)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, "server.forwarded.clock");
    EXPECT_NE(refused.error().message.find(word), std::string::npos) << refused.error().message;
    EXPECT_NE(refused.error().message.find("2m5s"), std::string::npos) << refused.error().message;
  }
}

TEST_F(Forwarded, what_the_key_signs_for_anything_else_is_no_claim) {
  const auto header = sign_forwarded(key_, claim());
  const auto text = crypto::from_base64url(header.substr(0, header.find('.'))).value();
  // As before there was a prefix, and as a token's text would be signed.
  EXPECT_EQ(reason(crypto::to_base64url(text) + "." + crypto::to_base64url(key_.sign(text))),
            "server.forwarded");
  const auto other = crypto::PrivateKey::generate(crypto::KeyKind::kEd25519).value();
  EXPECT_EQ(reason(sign_forwarded(other, claim())), "server.forwarded");
  EXPECT_EQ(reason("no-dot"), "server.forwarded");
  EXPECT_EQ(reason(header), "taken");
}

}  // namespace
}  // namespace neap::app
