#include "neap/crypto/x509.h"

#include <gtest/gtest.h>

namespace neap::crypto {
namespace {

const WallTime kStart = parse_rfc3339("2026-01-01T00:00:00Z").value();
const Validity kTenYears{kStart, kStart + 24h * 3650};

class X509Test : public testing::TestWithParam<KeyKind> {
 protected:
  Authority ca_ = make_ca("neap test authority", kTenYears, GetParam()).value();
};
INSTANTIATE_TEST_SUITE_P(Kinds, X509Test, testing::Values(KeyKind::kEd25519, KeyKind::kEcdsaP256));

TEST_P(X509Test, a_node_certificate_carries_its_names_and_verifies_against_the_authority) {
  const auto made =
      make_key_and_csr({"system:node:hq-1", {"system:nodes", "edge, north"}}, GetParam()).value();
  const auto request = parse_csr(made.request_pem).value();
  EXPECT_EQ(request.subject.common_name, "system:node:hq-1");
  const auto pem = issue_certificate(ca_, {.subject = request.subject,
                                           .public_key_pem = request.public_key_pem,
                                           .dns_names = {"hq-1.example", "*.example"},
                                           .ip_addresses = {"127.0.0.1", "::1"},
                                           .validity = {kStart, kStart + 24h},
                                           .for_server = true,
                                           .for_client = true})
                       .value();
  const auto certificate = parse_certificate(pem).value();
  EXPECT_EQ(certificate.subject.common_name, "system:node:hq-1");
  EXPECT_EQ(certificate.subject.organizations, (std::vector<std::string>{"system:nodes", "edge, north"}));
  EXPECT_EQ(certificate.issuer_common_name, "neap test authority");
  EXPECT_EQ(certificate.dns_names, (std::vector<std::string>{"hq-1.example", "*.example"}));
  EXPECT_EQ(certificate.ip_addresses, (std::vector<std::string>{"127.0.0.1", "0:0:0:0:0:0:0:1"}));
  EXPECT_EQ(certificate.validity.not_after, kStart + 24h);
  EXPECT_EQ(certificate.public_key_pem, request.public_key_pem);
  EXPECT_EQ(certificate.sha256.size(), 64u);
  EXPECT_EQ(certificate.serial.size(), 32u);
  EXPECT_FALSE(certificate.is_ca);
  EXPECT_TRUE(verify_certificate(pem, ca_.certificate_pem, kStart + 1h));
  EXPECT_EQ(verify_certificate(pem, ca_.certificate_pem, kStart + 25h).error().reason,
            "crypto.certificate.untrusted");
  EXPECT_FALSE(verify_certificate(pem, ca_.certificate_pem, kStart - 1h));
  const auto other = make_ca("neap test authority", kTenYears, GetParam()).value();
  EXPECT_FALSE(verify_certificate(pem, other.certificate_pem, kStart + 1h));
  EXPECT_TRUE(parse_certificate(ca_.certificate_pem).value().is_ca);
}

TEST_P(X509Test, an_issued_certificate_cannot_issue_others_and_never_outlives_its_authority) {
  const auto made = make_key_and_csr({"leaf", {}}, GetParam()).value();
  const auto request = parse_csr(made.request_pem).value();
  IssueOptions options{.subject = request.subject,
                       .public_key_pem = request.public_key_pem,
                       .validity = {kStart - 1h, kStart + 24h * 30'000}};
  const auto leaf = issue_certificate(ca_, options).value();
  EXPECT_EQ(parse_certificate(leaf).value().validity.not_after, kTenYears.not_after);
  EXPECT_EQ(parse_certificate(leaf).value().validity.not_before, kStart);
  const auto forged = issue_certificate({leaf, made.private_key_pem}, options).value();
  EXPECT_FALSE(verify_certificate(forged, ca_.certificate_pem, kStart + 1h));
  EXPECT_FALSE(verify_certificate(forged, ca_.certificate_pem + leaf, kStart + 1h));
}

TEST(X509, a_request_signed_by_another_key_is_refused) {
  const auto a = make_key_and_csr({"a", {}}, KeyKind::kEd25519).value();
  auto pem = a.request_pem;
  const auto at = pem.find('\n') + 100;  // inside the body
  int refused = 0, tried = 0;
  for (std::size_t i = at; i < at + 60; ++i) {
    if (!std::isalnum(pem[i])) continue;
    auto bad = pem;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    ++tried;
    refused += !parse_csr(bad);
  }
  EXPECT_EQ(refused, tried);
  EXPECT_GT(tried, 20);
}

TEST(X509, hostile_names_are_refused_with_the_field_that_is_wrong) {
  const auto ca = make_ca("ca", kTenYears).value();
  const auto key = PrivateKey::generate(KeyKind::kEd25519).value().public_key().to_pem();
  const auto reason = [&](IssueOptions options) {
    options.public_key_pem = key;
    if (options.subject.common_name.empty()) options.subject.common_name = "n";
    if (options.validity.not_after == WallTime{}) options.validity = kTenYears;
    auto out = issue_certificate(ca, options);
    return out ? std::string("issued") : out.error().reason;
  };
  EXPECT_EQ(reason({}), "issued");
  EXPECT_EQ(reason({.subject = {std::string(65, 'x'), {}}}), "crypto.subject.length");
  EXPECT_EQ(reason({.subject = {"a\nb", {}}}), "crypto.subject.character");
  EXPECT_EQ(reason({.subject = {std::string("a\0b", 3), {}}}), "crypto.subject.character");
  EXPECT_EQ(reason({.subject = {"\xff\xfe", {}}}), "crypto.subject.character");
  EXPECT_EQ(reason({.subject = {"a", {""}}}), "crypto.subject.length");
  EXPECT_EQ(reason({.dns_names = {"a,DNS:evil"}}), "crypto.san.dns");
  EXPECT_EQ(reason({.dns_names = {""}}), "crypto.san.dns");
  EXPECT_EQ(reason({.ip_addresses = {"300.1.1.1"}}), "crypto.san.ip");
  EXPECT_EQ(reason({.ip_addresses = {std::string("1.1.1.1\0x", 9)}}), "crypto.san.ip");
  EXPECT_EQ(reason({.validity = {kStart + 2h, kStart + 1h}}), "crypto.validity");
  EXPECT_EQ(issue_certificate({ca.certificate_pem, PrivateKey::generate(KeyKind::kEd25519).value().to_pem()},
                              {.subject = {"n", {}}, .public_key_pem = key, .validity = kTenYears})
                .error()
                .reason,
            "crypto.authority.mismatch");
  EXPECT_FALSE(make_ca("", kTenYears));
  for (const std::string& bad :
       {std::string(), std::string("x"), std::string(2'000'000, 'x'),
        std::string("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}) {
    EXPECT_EQ(parse_certificate(bad).error().reason, "crypto.certificate.syntax");
    EXPECT_EQ(parse_csr(bad).error().reason, "crypto.csr.syntax");
    EXPECT_FALSE(verify_certificate(bad, ca.certificate_pem, kStart));
    EXPECT_FALSE(verify_certificate(ca.certificate_pem, bad, kStart));
  }
}

}  // namespace
}  // namespace neap::crypto
