#include "neap/dataguard/mask.h"

#include <gtest/gtest.h>

#include <random>

#include "neap/dataguard/validators.h"

namespace neap::dataguard {
namespace {

std::string masked(std::string_view text, const MaskPolicy& policy = {}) {
  auto result = mask(text, scan(text), policy);
  return result ? result->text : result.error().to_string();
}

TEST(Mask, replaces_by_operator) {
  EXPECT_EQ(masked("call 13812345678."), "call <CN_MOBILE>.");
  EXPECT_EQ(masked("call 13812345678.", {.fallback = MaskOperator::kRedact}), "call  .");
  EXPECT_EQ(masked("card 4012888888881881.", {.fallback = MaskOperator::kKeepLast}),
            "card ************1881.");
  MaskPolicy mixed;
  mixed.with(EntityType::kEmail, MaskOperator::kRedact);
  EXPECT_EQ(masked("a@b.com 13812345678", mixed), "  <CN_MOBILE>");
}

TEST(Mask, tokens_are_equal_for_equal_values_of_one_salt_only) {
  MaskPolicy one{.fallback = MaskOperator::kToken, .salt = "0123456789abcdef"};
  MaskPolicy two{.fallback = MaskOperator::kToken, .salt = "0123456789abcdeg"};
  EXPECT_EQ(masked("13812345678", one), masked("13812345678", one));
  EXPECT_NE(masked("13812345678", one), masked("13812345679", one));
  EXPECT_NE(masked("13812345678", one), masked("13812345678", two));
  EXPECT_EQ(mask("13812345678", scan("13812345678"), {.fallback = MaskOperator::kToken}).error().reason,
            "dataguard.mask.salt");
}

TEST(Mask, refuses_findings_of_another_text) {
  const std::vector<Finding> wrong{{EntityType::kEmail, 90, 10, 1.0F}};
  EXPECT_EQ(mask("short", wrong, {}).error().reason, "dataguard.mask.findings");
  const std::vector<Finding> huge{{EntityType::kEmail, 1, ~std::size_t{0}, 1.0F}};
  EXPECT_EQ(mask("short", huge, {}).error().reason, "dataguard.mask.findings");
}

// Whatever stands around it and whichever operator is used, no checksum-valid identifier survives.
TEST(Mask, no_valid_identifier_survives_masking) {
  std::mt19937_64 random(3);
  const auto digits = [&](std::size_t n) {
    std::string out;
    while (out.size() < n) out += static_cast<char>('0' + random() % 10);
    return out;
  };
  const auto resident = [&] {
    std::string id = "110105" + std::to_string(1950 + random() % 60) + "0" +
                     std::to_string(1 + random() % 9) + std::to_string(10 + random() % 18) + digits(3);
    for (char c : std::string_view("0123456789X"))
      if (is_cn_resident_id(id + c)) return id + c;
    return id;
  };
  const auto card = [&] {
    std::string number = "4" + digits(14);
    for (char c = '0'; c <= '9'; ++c)
      if (is_bank_card(number + c)) return number + c;
    return number;
  };
  const MaskOperator operators[] = {MaskOperator::kReplace, MaskOperator::kRedact, MaskOperator::kKeepLast,
                                    MaskOperator::kToken};
  const std::string_view glue = " ,;-.:/()\n\"京手机a";
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    std::vector<std::string> planted;
    for (int k = 0; k < 4; ++k) {
      planted.push_back(random() % 2   ? resident()
                        : random() % 2 ? card()
                                       : "1" + std::to_string(3 + random() % 7) + digits(9));
      text += std::string(1, " ,;\n\""[random() % 5]) + planted.back() + " ";
      for (std::uint64_t n = random() % 6; n > 0; --n) text += glue[random() % glue.size()];
      text += " " + digits(random() % 5);
    }
    MaskPolicy policy{.fallback = operators[round % 4], .salt = "0123456789abcdef"};
    const auto result = mask(text, scan(text), policy);
    ASSERT_TRUE(result) << result.error().to_string() << text;
    for (const std::string& value : planted)
      ASSERT_EQ(result->text.find(value), std::string::npos) << text << " -> " << result->text;
    ASSERT_TRUE(scan(result->text).empty());
  }
}

}  // namespace
}  // namespace neap::dataguard
