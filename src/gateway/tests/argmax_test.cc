#include "internal/argmax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace neap::gateway {
namespace {

using inference::DataType;
using ::testing::ElementsAre;

template <class T>
std::string raw(std::initializer_list<T> list) {
  return std::string(reinterpret_cast<const char*>(list.begin()), list.size() * sizeof(T));
}

TEST(Argmax, finds_the_class_of_each_row) {
  EXPECT_THAT(*argmax_rows({"y", DataType::kFp32, {2, 3}, raw<float>({1, 5, 2, -3, -2, -1})}),
              ElementsAre(1, 2));
  EXPECT_THAT(*argmax_rows({"y", DataType::kInt64, {3}, raw<std::int64_t>({9, 5, 2})}), ElementsAre(0));
  EXPECT_THAT(*argmax_rows({"y", DataType::kFp64, {1, 2, 2}, raw<double>({0, 1, 2, 3})}), ElementsAre(3));
  EXPECT_FALSE(argmax_rows({"y", DataType::kFp32, {0, 3}, ""}));
  EXPECT_FALSE(argmax_rows({"y", DataType::kBytes, {1}, std::string("\0\0\0\0", 4)}));
}

TEST(Argmax, reads_labels_as_one_number_or_one_a_row) {
  EXPECT_THAT(labels_of(Json(3), 2), ElementsAre(3, 3));
  EXPECT_THAT(labels_of(Json({1, 2}), 2), ElementsAre(1, 2));
  EXPECT_TRUE(labels_of(Json({1, 2}), 3).empty());
  EXPECT_TRUE(labels_of(Json({1, "x"}), 2).empty());
  EXPECT_TRUE(labels_of(Json("x"), 1).empty());
}

}  // namespace
}  // namespace neap::gateway
