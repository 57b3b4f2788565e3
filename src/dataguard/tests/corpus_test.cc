// Public development data: verdicts of an independent oracle, and labelled English text.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "neap/base/json.h"
#include "neap/dataguard/scanner.h"
#include "neap/dataguard/validators.h"

namespace neap::dataguard {
namespace {

std::string read_data(const std::string& name) {
  const char* root = std::getenv("NEAP_DATA");
  if (root == nullptr) return {};
  std::ifstream in(std::string(root) + "/pii/" + name, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<Json> read_lines(const std::string& text) {
  std::vector<Json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (auto value = parse_json(line)) out.push_back(*value);
  return out;
}

std::string compact(std::string_view value) {
  std::string out;
  for (char c : value)
    if (c != ' ' && c != '-') out += c;
  return out;
}

// Byte offset of each code point, and one past the end.
std::vector<std::size_t> code_points(std::string_view text) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) out.push_back(i);
  out.push_back(text.size());
  return out;
}

TEST(Corpus, checksum_verdicts_agree_with_an_independent_oracle) {
  const std::string text = read_data("stdnum/vectors.jsonl");
  if (text.empty()) GTEST_SKIP() << "NEAP_DATA is not set or has no pii/stdnum";
  const std::map<std::string, bool (*)(std::string_view)> checks{{"CN_RESIDENT_ID", is_cn_resident_id},
                                                                 {"CN_USCC", is_cn_uscc},
                                                                 {"LUHN", is_luhn},
                                                                 {"US_SSN", is_us_ssn},
                                                                 {"MOD_11_2", is_mod_11_2},
                                                                 {"MOD_97_10", is_mod_97_10},
                                                                 {"IBAN", is_iban}};
  std::map<std::string, int> seen;
  for (const Json& row : read_lines(text)) {
    const std::string type(get_string(row, "type"));
    const auto check = checks.find(type);
    if (check == checks.end()) continue;
    ++seen[type];
    std::string value = compact(get_string(row, "value"));
    // The oracle accepts hyphens of an SSN only where they belong.
    static const std::regex kSsnShape("[0-9]{3}-?[0-9]{2}-?[0-9]{4}");
    if (type == "US_SSN" && !std::regex_match(std::string(get_string(row, "value")), kSsnShape))
      value.clear();
    EXPECT_EQ(check->second(value), get_bool(row, "valid")) << to_text(row);
  }
  EXPECT_EQ(seen.size(), checks.size());
}

TEST(Corpus, recognizer_cases_of_the_implemented_types_pass) {
  const std::string text = read_data("presidio-recognizer-cases/cases.jsonl");
  if (text.empty()) GTEST_SKIP() << "NEAP_DATA is not set or has no pii/presidio-recognizer-cases";
  const std::map<std::string, std::set<EntityType>> recognizers{
      {"credit_card_recognizer", {EntityType::kBankCard}},
      {"email_recognizer", {EntityType::kEmail}},
      {"ip_recognizer", {EntityType::kIpAddress}},
      {"iban_recognizer", {EntityType::kIban}},
      {"phone_recognizer", {EntityType::kPhone, EntityType::kCnMobile}}};
  int total = 0;
  int right = 0;
  std::string wrong;
  for (const Json& row : read_lines(text)) {
    const auto wanted = recognizers.find(std::string(get_string(row, "recognizer")));
    const Json* spans = find_path(row, {"spans"});
    if (wanted == recognizers.end() || spans == nullptr || !spans->is_array()) continue;
    ++total;
    ScanOptions only;
    only.types = 0;
    for (EntityType type : wanted->second) only.types |= 1U << static_cast<unsigned>(type);
    const std::string sample(get_string(row, "text"));
    const auto points = code_points(sample);
    std::set<std::pair<std::size_t, std::size_t>> expected;
    for (const Json& span : spans->as_array())
      expected.emplace(points[span.at(0).to_number<std::size_t>()],
                       points[span.at(1).to_number<std::size_t>()]);
    std::set<std::pair<std::size_t, std::size_t>> found;
    for (const Finding& f : scan(sample, only)) found.emplace(f.offset, f.offset + f.length);
    if (found == expected) {
      ++right;
    } else {
      wrong += "\n  " + wanted->first + ": " + sample + "  expected " + to_text(*spans);
      for (auto [a, b] : found) wrong += " got [" + std::to_string(a) + "," + std::to_string(b) + "]";
    }
  }
  RecordProperty("right", right);
  RecordProperty("total", total);
  // The misses are phone numbers without any context, which cost more false hits than they find.
  EXPECT_GE(right * 1000, total * 970) << right << " of " << total << wrong;
}

TEST(Corpus, structured_types_of_labelled_english_reach_the_promised_score) {
  const std::string text = read_data("presidio-research/generated_large.json");
  if (text.empty()) GTEST_SKIP() << "NEAP_DATA is not set or has no pii/presidio-research";
  const std::map<std::string, EntityType> types{{"CREDIT_CARD", EntityType::kBankCard},
                                                {"PHONE_NUMBER", EntityType::kPhone},
                                                {"EMAIL_ADDRESS", EntityType::kEmail},
                                                {"US_SSN", EntityType::kUsSsn},
                                                {"IBAN_CODE", EntityType::kIban},
                                                {"IP_ADDRESS", EntityType::kIpAddress},
                                                {"US_DRIVER_LICENSE", EntityType::kDriverLicense}};
  int hits = 0;
  int misses = 0;
  int extra = 0;
  std::string wrong;
  const auto all = parse_json(text);
  ASSERT_TRUE(all);
  for (const Json& row : all->as_array()) {
    const std::string sample(get_string(row, "full_text"));
    const auto points = code_points(sample);
    std::vector<Finding> found = scan(sample);
    for (const Json& span : find_path(row, {"spans"})->as_array()) {
      const auto type = types.find(std::string(get_string(span, "entity_type")));
      if (type == types.end()) continue;
      const std::size_t a = points[static_cast<std::size_t>(get_int(span, "start_position"))];
      const std::size_t b = points[static_cast<std::size_t>(get_int(span, "end_position"))];
      const auto match = std::ranges::find_if(found, [&](const Finding& f) {
        const bool same =
            f.type == type->second || (f.type == EntityType::kCnMobile && type->second == EntityType::kPhone);
        const std::size_t overlap = std::min(b, f.offset + f.length) -
                                    std::min(std::min(b, f.offset + f.length), std::max(a, f.offset));
        return same && overlap * 2 >= std::max(b, f.offset + f.length) - std::min(a, f.offset);
      });
      if (match != found.end()) {
        ++hits;
        found.erase(match);
      } else {
        ++misses;
        wrong += "\n  missed " + type->first + ": " + sample.substr(a > 24 ? a - 24 : 0, b - a + 40);
      }
    }
    for (const Finding& f : found) {
      ++extra;
      wrong += "\n  extra " + std::string(entity_name(f.type)) + ": " +
               sample.substr(f.offset > 24 ? f.offset - 24 : 0, f.length + 40);
    }
  }
  const double f1 = 2.0 * hits / (2.0 * hits + misses + extra);
  RecordProperty("f1", std::to_string(f1));
  EXPECT_GE(f1, 0.985) << "hits " << hits << " misses " << misses << " extra " << extra << wrong;
}

}  // namespace
}  // namespace neap::dataguard
