#include "neap/base/draw.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace neap {
namespace {

TEST(Draw, follows_the_published_sequence) {
  Draw draw(1234567);
  EXPECT_EQ(draw.bits(), 6457827717110365317u);
  EXPECT_EQ(draw.bits(), 3203168211198807973u);
}

TEST(Draw, shuffles_every_order_about_equally_often) {
  Draw draw(7);
  std::array<int, 3> first{};
  for (int round = 0; round < 6000; ++round) {
    std::vector<int> items{0, 1, 2};
    draw.shuffle(std::span(items));
    ++first[static_cast<std::size_t>(items[0])];
  }
  for (const int count : first) EXPECT_NEAR(count, 2000, 200);
}

}  // namespace
}  // namespace neap
