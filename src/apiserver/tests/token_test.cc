// TokenReview, and tokens bound to an object: what they say, when they end, and what is refused.
#include <fmt/format.h>

#include "neap/crypto/digest.h"
#include "tests/world.h"

namespace neap::apiserver {
namespace {

constexpr std::string_view kReviews = "/apis/authentication.k8s.io/v1/tokenreviews";
constexpr std::string_view kCore = "/api/v1/namespaces/default/";
constexpr std::string_view kAllocations = "/apis/neap.dev/v1/namespaces/default/allocations";

class Tokens : public ::testing::Test {
 protected:
  void SetUp() override {
    EXPECT_EQ(world_.post(std::string(kCore) + "serviceaccounts", R"({"metadata":{"name":"robot"}})").status,
              201);
  }
  Answer ask(std::string spec) {
    return world_.post(std::string(kCore) + "serviceaccounts/robot/token",
                       fmt::format(R"({{"spec":{}}})", spec));
  }
  std::string token(std::string spec = "{}") {
    const auto issued = ask(std::move(spec));
    EXPECT_EQ(issued.status, 201) << issued.text;
    const auto* status = find_path(issued.body, {"status"});
    return status ? std::string(get_string(*status, "token")) : std::string();
  }
  Json review(std::string_view token, std::string_view audiences = "[]") {
    JsonObject spec{{"token", token}, {"audiences", json(audiences)}};
    const auto answer = world_.post(std::string(kReviews), to_text(JsonObject{{"spec", std::move(spec)}}));
    EXPECT_EQ(answer.status, 201) << answer.text;
    const bool is_name = token.size() < 10;  // the tables' tokens are called as their users
    if (!is_name) EXPECT_EQ(answer.text.find(token), std::string::npos) << "the token came back";
    const auto* status = find_path(answer.body, {"status"});
    return status ? *status : Json(JsonObject());
  }
  std::string error_of(const Json& status) {
    EXPECT_FALSE(get_bool(status, "authenticated")) << to_text(status);
    EXPECT_FALSE(find_path(status, {"user"}));
    return std::string(get_string(status, "error"));
  }
  void make_allocation(std::string_view name) {
    const auto made = world_.post(
        std::string(kAllocations),
        fmt::format(R"({{"apiVersion":"neap.dev/v1","kind":"Allocation","metadata":{{"name":"{}"}},"spec":{{
          "node":"n","site":"s","ownerKind":"TrainingJob","ownerName":"t","epoch":1}}}})",
                    name));
    EXPECT_EQ(made.status, 201) << made.text;
  }
  int status_with(const std::string& token) {
    return world_.call("GET", std::string(kCore) + "configmaps", "", token).status;
  }
  World world_;
};

TEST_F(Tokens, a_review_says_whose_a_token_is) {
  const auto status = review(token());
  EXPECT_TRUE(get_bool(status, "authenticated")) << to_text(status);
  const auto* user = find_path(status, {"user"});
  ASSERT_TRUE(user);
  EXPECT_EQ(get_string(*user, "username"), "system:serviceaccount:default:robot");
  EXPECT_FALSE(get_string(*user, "uid").empty());
  EXPECT_NE(to_text(*user).find("system:serviceaccounts:default"), std::string::npos);
  EXPECT_EQ(to_text(*find_path(status, {"audiences"})), R"(["neap"])");
  EXPECT_EQ(get_string(*find_path(review("alice"), {"user"}), "username"), "alice");
}

TEST_F(Tokens, a_review_is_for_the_audiences_asked_about) {
  const auto vault = token(R"({"audiences":["vault"]})");
  EXPECT_NE(error_of(review(vault)).find("not meant for \"neap\""), std::string::npos);
  const auto status = review(vault, R"(["registry","vault"])");
  EXPECT_TRUE(get_bool(status, "authenticated")) << to_text(status);
  EXPECT_EQ(to_text(*find_path(status, {"audiences"})), R"(["vault"])");
  EXPECT_EQ(status_with(vault), 401) << "a token for another service opens nothing here";
  // Tokens without an audience of their own are this server's.
  EXPECT_FALSE(error_of(review("alice", R"(["vault"])")).empty());
  EXPECT_TRUE(get_bool(review("alice", R"(["vault","neap"])"), "authenticated"));
}

TEST_F(Tokens, a_review_of_what_is_no_token_says_no) {
  const auto good = token();
  auto tampered = good;
  tampered[good.find('.') + 5] = tampered[good.find('.') + 5] == 'A' ? 'B' : 'A';
  const auto none = crypto::to_base64url(R"({"alg":"none"})") +
                    good.substr(good.find('.'), good.rfind('.') - good.find('.')) + ".";
  for (const auto& text : {tampered, none, good + "A", std::string("x"), std::string("...."),
                           std::string("a.b.c"), std::string(100'000, 'A'),
                           std::string("a.") + std::string(100'000, 'b') + ".c", std::string("\0a.b.c", 6),
                           std::string("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")})
    EXPECT_FALSE(error_of(review(text)).empty()) << text.substr(0, 60);
  for (const auto* body :
       {R"({})", R"({"spec":{}})", R"({"spec":{"token":""}})", R"({"spec":[]})", R"({"spec":{"token":5}})"})
    EXPECT_EQ(world_.post(std::string(kReviews), body).status, 400) << body;
  JsonArray many;
  for (int i = 0; i < 1000; ++i) many.emplace_back(fmt::format("a{}", i));
  const Json flood = JsonObject{{"spec", JsonObject{{"token", good}, {"audiences", std::move(many)}}}};
  EXPECT_EQ(world_.post(std::string(kReviews), to_text(flood)).status, 400);
}

TEST_F(Tokens, who_has_no_right_to_review_learns_nothing) {
  const auto body = fmt::format(R"({{"spec":{{"token":"{}"}}}})", token());
  EXPECT_EQ(world_.call("POST", std::string(kReviews), body, "alice").status, 403);
}

TEST_F(Tokens, a_review_ends_with_the_account_and_with_the_time) {
  const auto first = token(R"({"expirationSeconds":600})");
  EXPECT_TRUE(get_bool(review(first), "authenticated"));
  world_.settle(11min);
  EXPECT_NE(error_of(review(first)).find("expired"), std::string::npos);
  const auto second = token();
  world_.remove(std::string(kCore) + "serviceaccounts/robot");
  EXPECT_NE(error_of(review(second)).find("ServiceAccount"), std::string::npos);
}

TEST_F(Tokens, one_bound_to_an_allocation_ends_with_it) {
  for (const auto* kind :
       {R"("kind":"Pod","apiVersion":"v1")", R"("kind":"Allocation","apiVersion":"neap.dev/v1")"}) {
    make_allocation("a");
    const auto bound = token(fmt::format(R"({{"boundObjectRef":{{{},"name":"a"}}}})", kind));
    EXPECT_EQ(status_with(bound), 403) << "known, and without rights";
    const auto status = review(bound);
    EXPECT_TRUE(get_bool(status, "authenticated")) << to_text(status);
    EXPECT_NE(to_text(status).find(R"("authentication.kubernetes.io/pod-name":["a"])"), std::string::npos);
    world_.remove(std::string(kAllocations) + "/a");
    EXPECT_EQ(status_with(bound), 401);
    EXPECT_NE(error_of(review(bound)).find("is gone"), std::string::npos);
    // One of the same name is another one.
    make_allocation("a");
    EXPECT_EQ(status_with(bound), 401);
    world_.remove(std::string(kAllocations) + "/a");
  }
}

TEST_F(Tokens, one_bound_to_work_ends_when_the_work_has_ended) {
  make_allocation("a");
  const auto bound = token(R"({"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"a"}})");
  const auto phase = [&](std::string_view name) {
    return world_
        .merge(std::string(kAllocations) + "/a/status", fmt::format(R"({{"status":{{"phase":"{}"}}}})", name))
        .status;
  };
  ASSERT_EQ(phase("Running"), 200);
  EXPECT_EQ(status_with(bound), 403);
  ASSERT_EQ(phase("Succeeded"), 200);
  EXPECT_EQ(status_with(bound), 401);
  EXPECT_EQ(ask(R"({"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"a"}})").status, 400);
}

TEST_F(Tokens, what_a_token_cannot_be_bound_to) {
  make_allocation("a");
  const auto refused = [&](std::string ref) {
    return ask(fmt::format(R"({{"boundObjectRef":{}}})", ref)).status;
  };
  EXPECT_EQ(refused(R"({"kind":"Pod","apiVersion":"v1","name":"nothing"})"), 404);
  EXPECT_EQ(refused(R"({"kind":"Pod","apiVersion":"v1","name":"a","uid":"of-another"})"), 409);
  EXPECT_EQ(refused(R"({"kind":"Node","apiVersion":"v1","name":"a"})"), 400);
  EXPECT_EQ(refused(R"({"kind":"Pod","apiVersion":"neap.dev/v1","name":"a"})"), 400);
  EXPECT_EQ(refused(R"({"kind":"Pod","apiVersion":"v1"})"), 400);
  EXPECT_EQ(refused(R"({"kind":"Pod","apiVersion":"v1","name":"../../secrets/x"})"), 400);
  EXPECT_EQ(refused(R"(5)"), 400);
  EXPECT_EQ(refused(R"([{"kind":"Pod","name":"a"}])"), 400);
}

// A client that is told 401 throws its credentials away.
TEST_F(Tokens, a_store_that_is_away_is_not_taken_for_a_token_that_is_wrong) {
  const auto good = token();
  const auto asked_at = [&] { return world_.runtime().clock().now(); };
  const auto get = [&] { return world_.call("GET", std::string(kCore) + "configmaps", "", good); };
  const auto denied = get().status;
  EXPECT_EQ(denied, 403) << "the account is known and has no rights";
  world_.gate().fail_gets(Code::kUnavailable);
  auto answer = get();
  EXPECT_EQ(answer.status, 503) << answer.text;
  EXPECT_EQ(answer.headers.get("Retry-After"), "1");
  EXPECT_EQ(answer.headers.get("WWW-Authenticate"), "");
  EXPECT_EQ(answer.message().find("Unauthorized"), std::string::npos) << answer.message();
  EXPECT_NE(answer.message().find("try again"), std::string::npos) << answer.message();
  EXPECT_EQ(std::ranges::count(world_.audit(), 401, &AuditRecord::status), 0) << "no attack is on record";
  world_.gate().answer_gets();
  world_.gate().hang_gets();
  const auto before = asked_at();
  answer = get();
  EXPECT_EQ(answer.status, 503) << answer.text;
  EXPECT_LE(asked_at() - before, 11s) << "in the world's time";
  world_.gate().answer_gets();
  EXPECT_EQ(get().status, denied);
  EXPECT_EQ(world_.remove(std::string(kCore) + "serviceaccounts/robot").status, 200);
  EXPECT_EQ(get().status, 401);
  answer = world_.call("GET", std::string(kCore) + "configmaps", "", good + "x");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.headers.get("Retry-After"), "") << "a wrong token does not become right";
}

}  // namespace
}  // namespace neap::apiserver
