#include "internal/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "internal/latency_histogram.h"

namespace neap::inference {
namespace {

using ::testing::ElementsAre;

InferRequest rows(std::string id, std::int64_t count, char fill) {
  return {.id = std::move(id),
          .inputs = {
              {"x", DataType::kUint8, {count, 2}, std::string(static_cast<std::size_t>(count) * 2, fill)}}};
}

TEST(Batch, joins_rows_and_cuts_the_answer_where_they_met) {
  const InferRequest a = rows("a", 1, '1');
  InferRequest b = rows("b", 2, '2');
  b.outputs = {{"z", {}}};
  const InferRequest joined = join({&a, &b});
  EXPECT_THAT(joined.inputs[0].shape, ElementsAre(3, 2));
  EXPECT_EQ(joined.inputs[0].bytes, "112222");
  const InferResponse answer{
      .model_version = "4",
      .outputs = {{"y", DataType::kUint8, {3}, "abc"}, {"z", DataType::kUint8, {3, 2}, "AABBCC"}}};
  const auto parts = split(answer, {&a, &b});
  ASSERT_TRUE(parts) << parts.error().to_string();
  EXPECT_EQ((*parts)[0].id, "a");
  EXPECT_EQ((*parts)[0].outputs[0].bytes, "a");
  EXPECT_EQ((*parts)[0].outputs[1].bytes, "AA");
  ASSERT_EQ((*parts)[1].outputs.size(), 1u);
  EXPECT_EQ((*parts)[1].outputs[0].bytes, "BBCC");
  EXPECT_THAT((*parts)[1].outputs[0].shape, ElementsAre(2, 2));
}

TEST(Batch, refuses_to_cut_an_output_that_has_no_row_per_row) {
  const InferRequest a = rows("a", 1, '1');
  const InferRequest b = rows("b", 1, '2');
  EXPECT_FALSE(split({.outputs = {{"y", DataType::kUint8, {1}, "s"}}}, {&a, &b}));
  EXPECT_FALSE(split({.outputs = {{"y", DataType::kUint8, {}, "s"}}}, {&a, &b}));
}

TEST(Batch, joins_only_requests_of_the_same_inner_shape) {
  const InferRequest a = rows("a", 1, '1');
  InferRequest wide = rows("w", 1, '1');
  wide.inputs[0].shape = {1, 3};
  EXPECT_TRUE(can_join(a, rows("b", 7, '1')));
  EXPECT_FALSE(can_join(a, wide));
  EXPECT_EQ(rows_of({}), 0u);
  EXPECT_TRUE(
      can_batch({.inputs = {{"x", DataType::kFp32, {-1, 2}}}, .outputs = {{"y", DataType::kFp32, {-1}}}}));
  EXPECT_FALSE(
      can_batch({.inputs = {{"x", DataType::kFp32, {1, 2}}}, .outputs = {{"y", DataType::kFp32, {-1}}}}));
  EXPECT_FALSE(
      can_batch({.inputs = {{"x", DataType::kBytes, {-1}}}, .outputs = {{"y", DataType::kFp32, {-1}}}}));
}

TEST(LatencyHistogram, tells_quantiles_within_an_eighth) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.quantile(0.5), Duration(0));
  for (int i = 1; i <= 1000; ++i) histogram.add(Duration(i * 1000));
  for (const double q : {0.01, 0.5, 0.99}) {
    const double exact = q * 1'000'000;
    EXPECT_NEAR(static_cast<double>(histogram.quantile(q).count()), exact, exact * 0.13) << q;
  }
  histogram.add(Duration(-5));
  histogram.add(Duration::max());
}

}  // namespace
}  // namespace neap::inference
