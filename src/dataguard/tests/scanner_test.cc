#include "neap/dataguard/scanner.h"

#include <gtest/gtest.h>

#include <random>

#include "internal/prefilter.h"
#include "neap/dataguard/validators.h"

namespace neap::dataguard {
namespace {

std::string shown(std::string_view text, const ScanOptions& options = {}) {
  std::string out;
  for (const Finding& f : scan(text, options)) {
    if (!out.empty()) out += "; ";
    out += std::string(entity_name(f.type)) + "=" + std::string(text.substr(f.offset, f.length));
  }
  return out;
}

struct Case {
  std::string_view text;
  std::string_view expected;
};

TEST(Scanner, finds_each_structured_identifier_where_it_stands) {
  const Case cases[] = {
      {"身份证号11010519491231002X。", "CN_RESIDENT_ID=11010519491231002X"},
      {"id=11010519491231002x,", "CN_RESIDENT_ID=11010519491231002x"},
      {"110105 19491231 002X", "CN_RESIDENT_ID=110105 19491231 002X"},
      {"old id 130503670401001.", "CN_RESIDENT_ID=130503670401001"},
      {"call 13812345678 now", "CN_MOBILE=13812345678"},
      {"手机138 1234 5678", "CN_MOBILE=138 1234 5678"},
      {"+8613812345678", "CN_MOBILE=8613812345678"},
      {"user_13812345678.jpg", "CN_MOBILE=13812345678"},
      {"card 4012-8888-8888-1881 12/25", "BANK_CARD=4012-8888-8888-1881"},
      {"卡号6222021234567890128。", "BANK_CARD=6222021234567890128"},
      {"卡号6222 0212 3456 7890 128。", "BANK_CARD=6222 0212 3456 7890 128"},
      {"卡号6222021234567890129。", ""},
      {"code 91350100M000100Y43 ok", "CN_USCC=91350100M000100Y43"},
      {"mail a.b+c@mail.example.com.", "EMAIL=a.b+c@mail.example.com"},
      {"from 10.1.2.3:80 to fe80::1%eth0", "IP_ADDRESS=10.1.2.3; IP_ADDRESS=fe80::1%eth0"},
      {"dev 00:1a:2b:3c:4d:5e", "MAC_ADDRESS=00:1a:2b:3c:4d:5e"},
      {"iban GB82 WEST 1234 5698 7654 32 paid", "IBAN=GB82 WEST 1234 5698 7654 32"},
      {"iban gb82west12345698765432", "IBAN=gb82west12345698765432"},
      {"ssn 536-90-4399", "US_SSN=536-90-4399"},
      {"(415) 555-0132 or +44 (20) 7123 4567", "PHONE=(415) 555-0132; PHONE=+44 (20) 7123 4567"},
      {"座机 0755-12345678", "PHONE=0755-12345678"},
      {"护照号码E12345678", "PASSPORT=E12345678"},
      {"车牌京A12345,粤B·D12345", "CN_PLATE=京A12345; CN_PLATE=粤B·D12345"},
  };
  for (const Case& c : cases) EXPECT_EQ(shown(c.text), c.expected) << c.text;
}

TEST(Scanner, leaves_numbers_alone_that_only_look_like_identifiers) {
  for (std::string_view text :
       {"110105194912310021", "11010519491331003X", "12813812345678", "4012-8888-8888-1882",
        "2026-11-22 20:50:54.123", "version 1.2.3", "GB82WEST12345698765433", "0.13812345678",
        "pi 3.141592653589793", "part E12345678", "91350100M000100Y44", "a@b", "@@@@", "std::vector",
        "12:34:56", "::::", "1.2.3.4.5.6.7.8x", "000-00-0000"})
    EXPECT_EQ(shown(text, {.min_confidence = 0.5F}).find("CN_"), std::string::npos) << text;
  for (std::string_view text : {"110105194912310021", "4012-8888-8888-1882", "GB82WEST12345698765433",
                                "2026-11-22 20:50:54", "std::vector", "3.141592653589793", "0.13812345678"})
    EXPECT_EQ(shown(text), "") << text;
}

TEST(Scanner, finds_names_behind_labels_only_when_asked) {
  EXPECT_EQ(shown("Inspector: Jane Doe passed it", {.names = true}), "PERSON_NAME=Jane Doe");
  EXPECT_EQ(shown("检验员：王小明，合格", {.names = true}), "PERSON_NAME=王小明");
  EXPECT_EQ(shown("联系人欧阳娜娜", {.names = true}), "PERSON_NAME=欧阳娜娜");
  EXPECT_EQ(shown("Inspector: Jane Doe"), "");
  EXPECT_EQ(shown("the name of the part", {.names = true}), "");
}

TEST(Scanner, resolves_overlaps_towards_the_more_certain_type) {
  // A resident id that also passes Luhn stays a resident id.
  const std::string_view text = "11010519491231002X";
  const auto found = scan(text);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].type, EntityType::kCnResidentId);
}

TEST(Scanner, sees_the_same_with_and_without_vector_instructions_at_every_alignment) {
  if (!scanner_uses_avx2()) GTEST_SKIP() << "this CPU has no AVX2";
  std::mt19937_64 random(7);
  const std::string_view alphabet = "0123456789 -.:@/()+abcXZ\xE4\xBA\xAC\xB7,\"\n";
  for (int round = 0; round < 400; ++round) {
    std::string text(random() % 700, ' ');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    for (std::string_view planted :
         {"11010519491231002X", "13812345678", "a.b@example.com", "4012888888881881"})
      text.insert(random() % (text.size() + 1), " " + std::string(planted) + " ");
    ScanOptions portable{.min_confidence = 0};
    portable.portable = true;
    ASSERT_EQ(scan(text, {.min_confidence = 0}), scan(text, portable)) << text;
  }
  std::string block(64 * 40, '\0');
  for (char& c : block) c = static_cast<char>(random());
  std::array<internal::BlockMarks, 40> a;
  std::array<internal::BlockMarks, 40> b;
  internal::mark_blocks_avx2(block.data(), 40, a.data());
  internal::mark_blocks_portable(block.data(), 40, b.data());
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(a[i].digit, b[i].digit);
    EXPECT_EQ(a[i].at, b[i].at);
    EXPECT_EQ(a[i].colon, b[i].colon);
  }
}

TEST(Scanner, finds_an_identifier_at_every_offset_of_a_block) {
  for (std::size_t before = 0; before < 200; ++before) {
    const std::string text = std::string(before, '.') + " 11010519491231002X " + std::string(before % 7, 'x');
    const auto found = scan(text);
    ASSERT_EQ(found.size(), 1U) << before;
    EXPECT_EQ(found[0].offset, before + 1);
    EXPECT_EQ(found[0].length, 18U);
  }
}

TEST(Scanner, stays_linear_and_safe_on_hostile_bytes) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::string text(random() % 300, '\0');
    for (char& c : text) c = static_cast<char>(random());
    for (const Finding& f : scan(text, {.names = true, .min_confidence = 0})) {
      ASSERT_LE(f.offset + f.length, text.size());
      ASSERT_GT(f.length, 0U);
    }
  }
  for (std::string_view unit :
       {"1", "1 ", "1-", "1.", "@", "a@", ":", "::", "a:", "(1)", "+1", "\xE4", "\xB7", "GB82 ", "name "}) {
    std::string text;
    while (text.size() < (1u << 20)) text += unit;
    scan(text, {.names = true});
  }
}

}  // namespace
}  // namespace neap::dataguard
