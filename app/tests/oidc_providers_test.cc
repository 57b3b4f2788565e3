#include "oidc_providers.h"

#include <gtest/gtest.h>

namespace neap::app {
namespace {

OidcProviderOptions provider(std::string issuer, std::optional<std::string> prefix, std::string groups = "",
                             std::string groups_prefix = "") {
  OidcProviderOptions out;
  out.claims = {.issuer_url = std::move(issuer), .client_id = "neap"};
  out.claims.username_prefix = std::move(prefix);
  out.claims.groups_claim = std::move(groups);
  out.claims.groups_prefix = std::move(groups_prefix);
  return out;
}

std::string reason_of(const std::vector<OidcProviderOptions>& all) {
  const auto checked = OidcProviders::check(all);
  return checked ? std::string("taken") : checked.error().reason;
}

TEST(OidcProviders, no_two_give_their_users_or_groups_the_same_prefix) {
  const auto a = "https://a.example", b = "https://b.example";
  EXPECT_EQ(reason_of({provider(a, {}), provider(b, {})}), "taken") << "each has its issuer before its users";
  EXPECT_EQ(reason_of({provider(a, "-")}), "taken") << "alone, none is needed";
  EXPECT_EQ(reason_of({provider(a, ""), provider(b, "-")}), "oidc.providers.prefix");
  EXPECT_EQ(reason_of({provider(a, "-"), provider(b, "b:")}), "taken");
  EXPECT_EQ(reason_of({provider(a, "x:"), provider(b, "x:")}), "oidc.providers.prefix");
  EXPECT_EQ(reason_of({provider(a, "a:", "groups"), provider(b, "b:", "roles")}), "oidc.providers.prefix");
  EXPECT_EQ(reason_of({provider(a, "a:", "groups"), provider(b, "b:")}), "taken");
  EXPECT_EQ(reason_of({provider(a, "a:", "groups", "a:"), provider(b, "b:", "groups", "b:")}), "taken");
  EXPECT_EQ(reason_of({provider(a, "a:"), provider(a, "b:")}), "oidc.providers.issuer");
  auto mail = provider(a, {}), other = provider(b, {});
  mail.claims.username_claim = other.claims.username_claim = "email";
  EXPECT_EQ(reason_of({mail, other}), "oidc.providers.prefix")
      << "e-mail addresses have no prefix unless asked for";
  std::vector<OidcProviderOptions> many;
  for (int i = 0; i < 17; ++i) many.push_back(provider("https://p" + std::to_string(i) + ".example", {}));
  EXPECT_EQ(reason_of(many), "oidc.providers.count");
}

constexpr std::string_view kConfig = R"(
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://a.example/x", audiences: [neap], certificateAuthority: PEM}
  claimMappings:
    username: {claim: email, prefix: "a:"}
    groups: {claim: groups, prefix: "a:"}
  claimValidationRules: [{claim: hd, requiredValue: a.example}]
- issuer: {url: "https://b.example", audiences: [other]}
  claimMappings:
    username: {claim: sub, prefix: ""}
)";

TEST(AuthenticationConfig, is_read_as_kubernetes_reads_it) {
  const auto read = parse_authentication_config(kConfig, "auth.yaml");
  ASSERT_TRUE(read) << read.error().to_string();
  ASSERT_EQ(read->size(), 2u);
  const auto& first = read->front();
  EXPECT_EQ(first.claims.issuer_url, "https://a.example/x");
  EXPECT_EQ(first.claims.client_id, "neap");
  EXPECT_EQ(first.ca_pem, "PEM");
  EXPECT_EQ(first.claims.username_claim, "email");
  EXPECT_EQ(first.claims.username_prefix, "a:");
  EXPECT_EQ(first.claims.groups_prefix, "a:");
  EXPECT_EQ(first.claims.required_claims.front().second, "a.example");
  EXPECT_EQ(read->back().claims.username_prefix, "");
  EXPECT_TRUE(OidcProviders::check(*read));
}

TEST(AuthenticationConfig, what_it_cannot_say_is_refused_by_name) {
  const auto refused = [](std::string from, std::string_view to) {
    std::string text(kConfig);
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const auto read = parse_authentication_config(text, "auth.yaml");
    return read ? std::string("taken") : read.error().message;
  };
  const auto has = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(
      has(refused("{claim: email, prefix: \"a:\"}", "{expression: claims.email}"), "username.expression"));
  EXPECT_TRUE(has(refused("{claim: email, prefix: \"a:\"}", "{claim: email}"), "username.prefix"));
  EXPECT_TRUE(has(refused("[neap]", "[neap, other]"), "issuer.audiences"));
  EXPECT_TRUE(has(refused("apiserver.config.k8s.io/v1", "v1"), "AuthenticationConfiguration"));
  EXPECT_TRUE(has(refused("requiredValue: a.example", "requiredValue: 42"), "must be text"));
  EXPECT_TRUE(has(refused("requiredValue: a.example", "expression: x"), "claimValidationRules[].expression"));
  EXPECT_TRUE(has(refused("jwt:", "anonymous: {enabled: true}\njwt:"), "anonymous"));
  EXPECT_TRUE(has(refused("certificateAuthority: PEM", "discoveryURL: x"), "discoveryURL"));
  for (const auto* text :
       {"", "{", "[]", "a: b\n---\nc: d",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: []"})
    EXPECT_FALSE(parse_authentication_config(text, "auth.yaml")) << text;
}

}  // namespace
}  // namespace neap::app
