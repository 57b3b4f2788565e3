#include "neap/simulation/sample.h"

#include <gtest/gtest.h>

#include <vector>

namespace neap::simulation {
namespace {

TEST(Sample, mean_and_deviation_of_a_known_sample) {
  const std::vector<double> values{2, 4, 4, 4, 5, 5, 7, 9};
  EXPECT_DOUBLE_EQ(mean(values), 5);
  EXPECT_NEAR(standard_deviation(values), 2.138, 0.001);
  EXPECT_EQ(standard_deviation({}), 0);
}

}  // namespace
}  // namespace neap::simulation
