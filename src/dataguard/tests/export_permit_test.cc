#include <gtest/gtest.h>

#include <type_traits>

#include "neap/dataguard/dataguard.h"

namespace neap::dataguard {
namespace {

static_assert(!std::is_default_constructible_v<ExportPermit>);
static_assert(!std::is_copy_constructible_v<ExportPermit>);
static_assert(std::is_move_constructible_v<ExportPermit>);
static_assert(!std::is_constructible_v<ExportPermit, ExportRequest, std::string>);

const Place kPlant{SiteName("plant"), api::Tier::kEdge, "CN", "acme"};
const Place kHq{SiteName("hq"), api::Tier::kPrivate, "CN", "acme"};
const Place kCloud{SiteName("cloud-eu"), api::Tier::kPublic, "DE", "rented"};

ExportRequest request(Level level, const Place& to) {
  ExportRequest r;
  r.source = kPlant;
  r.destination = to;
  r.data.level = level;
  r.purpose = "train";
  r.encrypted = true;
  r.logged = true;
  r.bytes_max = Bytes{1000};
  r.expires = WallTime(100s);
  return r;
}

TEST(DataPolicy, a_strict_rule_is_asked_before_all_others_and_is_no_policy_by_itself) {
  api::DataRule open{.name = "open", .level = Level::kL3, .effect = "allow"};
  api::DataRule strict{
      .name = "plant-strict", .level = Level::kL3, .fromSites = {"plant"}, .effect = "strict"};
  DataPolicyTable own({open, strict});
  EXPECT_EQ(own.judge(kPlant, kHq, {.level = Level::kL3}, "infer").rule, "plant-strict");
  EXPECT_TRUE(own.judge(kPlant, kPlant, {.level = Level::kL1}, "infer").allowed);
  EXPECT_TRUE(own.judge(kHq, kPlant, {.level = Level::kL3}, "store").allowed);
  EXPECT_TRUE(own.is_strict(SiteName("plant")));
  EXPECT_FALSE(own.is_strict(SiteName("hq")));

  DataPolicyTable strict_only({strict});
  EXPECT_TRUE(strict_only.rules().empty());
  api::DataRule l2{.name = "l2", .level = Level::kL2, .effect = "allow"};
  strict_only.inherit(DataPolicyTable({l2}));
  EXPECT_TRUE(strict_only.judge(kHq, kCloud, {.level = Level::kL2}, "store").allowed)
      << "a project with nothing but strict rules follows the default's others";
  EXPECT_FALSE(strict_only.judge(kPlant, kCloud, {.level = Level::kL2}, "store").allowed);
}

DataPolicyTable table() {
  api::DataRule everything{.name = "l1-wish", .level = Level::kL1, .effect = "allow"};
  api::DataRule home{.name = "l2-home",
                     .level = Level::kL2,
                     .toSites = {"hq"},
                     .purposes = {"train", "store"},
                     .effect = "allow"};
  api::DataRule away{.name = "l2-away",
                     .level = Level::kL2,
                     .toTiers = {"public"},
                     .effect = "deny",
                     .declassify = "mask-identifiers-v1"};
  api::DataRule no_de{
      .name = "l3-not-there", .level = Level::kL3, .toJurisdictions = {"XX"}, .effect = "deny"};
  return DataPolicyTable({everything, home, away, no_de});
}

TEST(ExportPermit, is_never_given_for_l1_whatever_the_rules_say) {
  const auto refused = permit_export(request(Level::kL1, kHq), table());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "dataguard.export.l1");
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
}

TEST(ExportPermit, is_given_for_l2_only_where_a_rule_allows_encrypted_and_logged) {
  const auto granted = permit_export(request(Level::kL2, kHq), table());
  ASSERT_TRUE(granted) << granted.error().to_string();
  EXPECT_EQ(granted->rule(), "l2-home");
  ExportRequest plain = request(Level::kL2, kHq);
  plain.encrypted = false;
  EXPECT_EQ(permit_export(plain, table()).error().reason, "dataguard.export.plain");
  ExportRequest silent = request(Level::kL2, kHq);
  silent.logged = false;
  EXPECT_EQ(permit_export(silent, table()).error().reason, "dataguard.export.unlogged");
  ExportRequest other = request(Level::kL2, kHq);
  other.purpose = "serve";
  EXPECT_EQ(permit_export(other, table()).error().reason, "dataguard.export.denied");
  const auto cloud = permit_export(request(Level::kL2, kCloud), table());
  ASSERT_FALSE(cloud);
  EXPECT_NE(cloud.error().message.find("mask-identifiers-v1"), std::string::npos) << cloud.error().message;
  EXPECT_FALSE(permit_export(request(Level::kL2, kHq), DataPolicyTable{}));
}

TEST(ExportPermit, is_given_for_l3_unless_a_rule_denies) {
  EXPECT_TRUE(permit_export(request(Level::kL3, kCloud), table()));
  EXPECT_TRUE(permit_export(request(Level::kL3, kCloud), DataPolicyTable{}));
  Place elsewhere = kCloud;
  elsewhere.jurisdiction = "XX";
  EXPECT_FALSE(permit_export(request(Level::kL3, elsewhere), table()));
}

TEST(ExportPermit, is_never_given_for_what_a_strict_location_made) {
  ExportRequest derived = request(Level::kL3, kHq);
  derived.data = join(derived.data, Classification{.level = Level::kL3, .strict = true});
  derived.data.declassified_by = "mask-identifiers-v1";
  EXPECT_EQ(permit_export(derived, table()).error().reason, "dataguard.export.strict");
}

TEST(ExportPermit, names_its_places_and_its_content) {
  ExportRequest nameless = request(Level::kL3, Place{});
  EXPECT_EQ(permit_export(nameless, table()).error().reason, "dataguard.export.place");
  ExportRequest unbounded = request(Level::kL3, kHq);
  unbounded.bytes_max = {};
  EXPECT_EQ(permit_export(unbounded, table()).error().reason, "dataguard.export.content");
  ExportRequest exact = request(Level::kL3, kHq);
  exact.content = crypto::sha256("model");
  const auto permit = permit_export(exact, table());
  ASSERT_TRUE(permit);
  const WallTime now(50s);
  EXPECT_TRUE(permit->check(now, kHq.site, crypto::sha256("model"), Bytes{5}));
  EXPECT_EQ(permit->check(now, kHq.site, crypto::sha256("other"), Bytes{5}).error().reason,
            "dataguard.permit.content");
  EXPECT_EQ(permit->check(now, kCloud.site, crypto::sha256("model"), Bytes{5}).error().reason,
            "dataguard.permit.destination");
  EXPECT_EQ(permit->check(now, kHq.site, crypto::sha256("model"), Bytes{1001}).error().reason,
            "dataguard.permit.bytes");
  EXPECT_EQ(permit->check(WallTime(100s), kHq.site, crypto::sha256("model"), Bytes{5}).error().reason,
            "dataguard.permit.expired");
}

TEST(Classification, of_what_is_made_from_several_sources_is_the_strictest) {
  for (Level a : {Level::kL1, Level::kL2, Level::kL3}) {
    for (Level b : {Level::kL1, Level::kL2, Level::kL3}) {
      EXPECT_EQ(strictest(a, b), strictest(b, a));
      EXPECT_EQ(strictest(a, strictest(a, b)), strictest(a, b));
      EXPECT_LE(static_cast<int>(strictest(a, b)), static_cast<int>(a));
    }
  }
  EXPECT_FALSE(parse_level("L4"));
  EXPECT_FALSE(parse_level("l1"));
}

}  // namespace
}  // namespace neap::dataguard
