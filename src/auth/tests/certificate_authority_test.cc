#include "neap/auth/certificate_authority.h"

#include <gtest/gtest.h>

#include "neap/auth/auth.h"

namespace neap::auth {
namespace {

const WallTime kNow = parse_rfc3339("2026-06-01T12:00:00Z").value();

class Authority : public testing::Test {
 protected:
  CertificateAuthority ca_ = CertificateAuthority::create("neap", kNow, 24h * 3650).value();
};

TEST_F(Authority, a_node_certificate_names_the_node_and_becomes_its_identity) {
  const auto made = crypto::make_key_and_csr(node_subject("press-7")).value();
  const auto pem = ca_.issue_node(made.request_pem, "press-7", {"10.0.0.7"}, kNow);
  ASSERT_TRUE(pem) << pem.error().to_string();
  EXPECT_TRUE(crypto::verify_certificate(*pem, ca_.certificate_pem(), kNow));
  EXPECT_FALSE(crypto::verify_certificate(*pem, ca_.certificate_pem(), kNow + 25h))
      << "node certificates are short-lived";
  const auto certificate = crypto::parse_certificate(*pem).value();
  const auto who =
      identity_of_certificate(certificate.subject.common_name, certificate.subject.organizations);
  EXPECT_EQ(who.node, "press-7");
  EXPECT_TRUE(is_member(who, kNodesGroup));
  EXPECT_EQ(certificate.dns_names, std::vector<std::string>{"press-7"});
}

TEST_F(Authority, a_request_cannot_choose_its_own_groups_or_name) {
  const auto greedy = crypto::make_key_and_csr({"system:node:other", {"system:masters"}}).value();
  EXPECT_EQ(ca_.issue_node(greedy.request_pem, "press-7", {}, kNow).error().reason, "auth.csr.subject");
  const auto groups = crypto::make_key_and_csr({"system:node:press-7", {"system:masters"}}).value();
  const auto pem = ca_.issue_node(groups.request_pem, "press-7", {}, kNow).value();
  EXPECT_EQ(crypto::parse_certificate(pem)->subject.organizations, std::vector<std::string>{"system:nodes"});
  EXPECT_EQ(ca_.issue_user(greedy.request_pem, "system:node:other", {}, kNow).error().reason,
            "auth.csr.subject");
  for (const auto* name : {"", "-a", "a-", "A", "a..b", "a/b", "a b", "x\ny"})
    EXPECT_FALSE(ca_.issue_node(groups.request_pem, name, {}, kNow)) << name;
  EXPECT_FALSE(ca_.issue_node("garbage", "press-7", {}, kNow));
}

TEST_F(Authority, a_user_named_like_a_node_outside_the_nodes_group_is_no_node) {
  EXPECT_TRUE(identity_of_certificate("system:node:press-7", {"people"}).node.empty());
  EXPECT_TRUE(identity_of_certificate("press-7", {"system:nodes"}).node.empty());
}

TEST_F(Authority, an_authority_is_loaded_only_with_its_own_key) {
  EXPECT_EQ(CertificateAuthority::load(ca_.certificate_pem(), ca_.private_key_pem())->sha256(), ca_.sha256());
  const auto other = CertificateAuthority::create("neap", kNow, 24h).value();
  EXPECT_EQ(CertificateAuthority::load(ca_.certificate_pem(), other.private_key_pem()).error().reason,
            "auth.ca.mismatch");
  const auto made = crypto::make_key_and_csr({"neap-server", {}}).value();
  const auto leaf = ca_.issue_server(made.request_pem, {"localhost"}, {"127.0.0.1"}, kNow).value();
  EXPECT_EQ(CertificateAuthority::load(leaf, made.private_key_pem).error().reason, "auth.ca.not_authority");
}

}  // namespace
}  // namespace neap::auth
