#include "neap/base/utf8.h"

#include <gtest/gtest.h>

#include "neap/base/json.h"

namespace neap {
namespace {

TEST(Utf8, agrees_with_the_json_parser_on_every_text_of_up_to_three_telling_bytes) {
  constexpr std::string_view kBytes(
      "a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff", 24);
  for (const char a : kBytes)
    for (const char b : kBytes)
      for (const char c : kBytes)
        for (const std::string_view end : {"", "\x80", "\x80z"}) {
          const auto text = std::string{a, b, c} + std::string(end);
          const auto json = "\"" + text + "\"";
          EXPECT_EQ(is_utf8(text), parse_json(json).has_value()) << testing::PrintToString(text);
          EXPECT_TRUE(parse_json(as_utf8(json))) << testing::PrintToString(text);
          if (is_utf8(text)) EXPECT_EQ(as_utf8(text), text);
        }
}

TEST(Utf8, each_byte_of_no_character_is_replaced) {
  EXPECT_EQ(as_utf8("a\xff|\xe2\x82"), "a\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace neap
